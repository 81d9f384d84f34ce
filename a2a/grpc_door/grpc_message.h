#pragma once

// The methods of both versions as their protobuf descriptors have them, and their messages to JSON
// and back. Internal to grpc_door.

#include "a2a/operations.h"

#include <optional>
#include <string>
#include <string_view>

namespace google::protobuf {
class Descriptor;
}

namespace ambit::a2a {

struct GrpcMethod {
  Operation operation = Operation::send;
  Version version = Version::v1_0;
  const google::protobuf::Descriptor* request = nullptr;
  const google::protobuf::Descriptor* response = nullptr;
};

// "/lf.a2a.v1.A2AService/SendMessage"; none: there is no such method.
std::optional<GrpcMethod> find_grpc_method(std::string_view path);

Answer<rpc::Value> request_json(const GrpcMethod& method, const std::string& bytes);
// Members that the message does not have are left out.
Answer<std::string> response_bytes(const GrpcMethod& method, const std::string& json);

// The same for a client.
Answer<std::string> request_bytes(const GrpcMethod& method, const std::string& json);
Answer<std::string> response_json(const GrpcMethod& method, const std::string& bytes);

}  // namespace ambit::a2a
