#pragma once

// The other shape of A2A 0.3: the JSON of its proto, which REST and gRPC speak, as a change of
// shape of 1.0's JSON, both ways: `content` for parts, wrapped files and data, resource names
// ("tasks/ID"), one state that is spelled otherwise.

#include "a2a/operations.h"
#include "rpc/value.h"

namespace ambit::a2a::v0_3_proto {

// What is not of this shape stays as it is; reading it as 1.0 then finds the fault. The names that
// REST has in its path are taken as they are.
rpc::Json upgrade_params(Operation operation, rpc::Json params);
rpc::Json downgrade_result(Operation operation, rpc::Json result);
rpc::Json downgrade_event(rpc::Json event);
// The card of 0.3 (CardShape::old) with security as the proto has it.
rpc::Json card_of(rpc::Json card);

}  // namespace ambit::a2a::v0_3_proto
