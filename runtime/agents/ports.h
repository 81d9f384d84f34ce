#pragma once

// The ports: what the orchestration asks of the rooms. inference implements Model, mcp and sandbox
// (by way of app) Toolbox and Runner, governance Guard, Approvals, Quotas, Identities and Journal.
// Everything here is plain data and interfaces; JSON travels as compact text, so that values are
// comparable and cheap to hold.

#include "agents/guard.h"
#include "agents/journal.h"
#include "agents/model.h"
#include "agents/toolbox.h"
