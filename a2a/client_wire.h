#pragma once

// How a client's request is written for each binding and version, and what its answer says, in
// 1.0's shape. gRPC looks like HTTP here: a request to HOST/SERVICE/METHOD with the JSON of its
// message, which grpc_door/grpc_client.h carries.

#include "a2a/card.h"
#include "a2a/codec.h"
#include "a2a/operations.h"
#include "http/message.h"

#include <optional>

namespace ambit::a2a {

// The version of an interface, if it is one that we speak over its binding.
std::optional<Version> version_of(const Interface& interface);
inline bool is_rpc(const Interface& interface) {
  return interface.binding == "JSONRPC";
}

// `params` in 1.0's shape. Fault::unsupported_operation: that version has no such operation.
Answer<http::Request> wire_request(const Interface& interface, Operation operation,
                                   rpc::Json params, std::int64_t number);
Answer<rpc::Value> wire_result(const Interface& interface, Operation operation,
                               const http::Response& response, const rpc::ParseLimits& limits);
// One event of a stream.
Answer<StreamEvent> wire_event(const Interface& interface, const std::string& data,
                               const rpc::ParseLimits& limits);

}  // namespace ambit::a2a
