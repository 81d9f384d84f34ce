#pragma once

// A Failure as gRPC tells it: a status code, the message, and the same google.rpc details that the
// other bindings give. Internal to grpc_door.

#include "a2a/failure.h"

#include <grpcpp/grpcpp.h>

namespace ambit::a2a {

grpc::Status to_status(const Failure& failure);

}  // namespace ambit::a2a
