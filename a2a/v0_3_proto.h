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
// The same for a client, as in v0_3.h. What REST has in its path stays as it is; put_names() makes
// resource names of it, which gRPC takes.
rpc::Json downgrade_params(Operation operation, rpc::Json params);
void put_names(Operation operation, rpc::Json& params);
rpc::Json upgrade_result(Operation operation, rpc::Json result);
rpc::Json upgrade_event(rpc::Json event);

// One message or part, as both directions need it, and {parent, configId, config} or a part of it
// as one push configuration.
rpc::Json upgrade_message(rpc::Json message);
rpc::Json upgrade_part(rpc::Json part);
rpc::Json downgrade_part(rpc::Json part);
rpc::Json upgrade_create_push(const rpc::Json& params);

// The card of 0.3 (CardShape::old) with security as the proto has it.
rpc::Json card_of(rpc::Json card);

}  // namespace ambit::a2a::v0_3_proto
