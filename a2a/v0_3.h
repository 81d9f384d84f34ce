#pragma once

// A2A 0.3 as a change of shape of 1.0's JSON, both ways, so that one server speaks both: `kind` on
// everything, short names of states and roles, parts by kind, bare results, `blocking` for
// `returnImmediately`, wrapped push configurations.

#include "a2a/operations.h"
#include "rpc/value.h"

#include <string>

namespace ambit::a2a::v0_3 {

// What is not 0.3 stays as it is; reading it as 1.0 then finds the fault.
rpc::Json upgrade_params(Operation operation, rpc::Json params);
rpc::Json downgrade_result(Operation operation, rpc::Json result);
// Of a stream: {"statusUpdate": ...} becomes {"kind": "status-update", ..., "final": ...}.
rpc::Json downgrade_event(rpc::Json event);

// The same for a client: its requests to an agent of 0.3, and that agent's answers. What is not 0.3
// becomes something that reading it as 1.0 refuses.
rpc::Json downgrade_params(Operation operation, rpc::Json params);
rpc::Json upgrade_result(Operation operation, rpc::Json result);
rpc::Json upgrade_event(rpc::Json event);

// One state, message or part, as both directions need it. A state that is none stays as it is.
std::string upgrade_state(std::string state);
rpc::Json upgrade_message(rpc::Json message);
rpc::Json upgrade_part(rpc::Json part);
rpc::Json downgrade_part(rpc::Json part);

}  // namespace ambit::a2a::v0_3
