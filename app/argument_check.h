#pragma once

// The port ArgumentCheck by way of rpc's JSON Schema: each schema is compiled once.

#include "agents/turn_loop.h"

namespace ambit::app {

agents::ArgumentCheck make_argument_check();

}  // namespace ambit::app
