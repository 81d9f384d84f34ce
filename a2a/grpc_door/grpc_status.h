#pragma once

// A Failure as gRPC tells it: a status code, the message, and the same google.rpc details that the
// other bindings give; and back. Internal to grpc_door.

#include "a2a/failure.h"

#include <grpcpp/grpcpp.h>

namespace ambit::a2a {

grpc::Status to_status(const Failure& failure);

// What REST says of the same: {"error": {"code": HTTP status, "message", "details"}}.
rpc::Json to_rest_error(const grpc::Status& status);

}  // namespace ambit::a2a
