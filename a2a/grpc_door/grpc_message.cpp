#include "grpc_door/grpc_message.h"

#include "grpc_door/a2a_v0_3.pb.h"
#include "grpc_door/a2a_v1.pb.h"

#include <nlohmann/json.hpp>

#include <google/protobuf/util/json_util.h>
#include <memory>

namespace ambit::a2a {
namespace {

namespace pb = google::protobuf;

std::unique_ptr<pb::Message> make(const pb::Descriptor& type) {
  return std::unique_ptr<pb::Message>(
      pb::MessageFactory::generated_factory()->GetPrototype(&type)->New());
}

Answer<std::string> bytes_of(const pb::Descriptor& type, const std::string& json) {
  const auto message = make(type);
  pb::util::JsonParseOptions options;
  options.ignore_unknown_fields = true;
  const auto read = pb::util::JsonStringToMessage(json, message.get(), options);
  std::string bytes;
  if (!read.ok() || !message->SerializeToString(&bytes)) {
    return Fail(Fault::internal, "this cannot be written as " + type.full_name());
  }
  return bytes;
}

}  // namespace

std::optional<GrpcMethod> find_grpc_method(std::string_view path) {
  const std::size_t slash = path.rfind('/');
  if (slash == std::string_view::npos || slash == 0) return std::nullopt;
  const std::string_view service = path.substr(1, slash - 1);
  const std::string name(path.substr(slash + 1));
  GrpcMethod method;
  const pb::FileDescriptor* file = nullptr;
  if (service == "lf.a2a.v1.A2AService") {
    file = ::lf::a2a::v1::Task::descriptor()->file();
  } else if (service == "a2a.v1.A2AService") {
    file = ::a2a::v1::Task::descriptor()->file();
    method.version = Version::v0_3_proto;
  } else {
    return std::nullopt;
  }
  const pb::MethodDescriptor* known = file->service(0)->FindMethodByName(name);
  const auto operation = find_method(method.version, name);
  if (known == nullptr || !operation) return std::nullopt;
  method.operation = *operation;
  method.request = known->input_type();
  method.response = known->output_type();
  return method;
}

Answer<rpc::Value> request_json(const GrpcMethod& method, const std::string& bytes) {
  const auto message = make(*method.request);
  if (!message->ParseFromString(bytes)) {
    return Fail(Fault::invalid_params, "the message is no " + method.request->full_name());
  }
  std::string text;
  const auto written = pb::util::MessageToJsonString(*message, &text);
  if (!written.ok()) {
    return Fail(Fault::invalid_params, "the message is no sound " + method.request->full_name());
  }
  auto value = rpc::Value::parse(text);
  if (!value) return Fail(Fault::invalid_params, value.error().message);
  rpc::Json& json = value->edit();
  // Protobuf cannot tell an unset flag from false, and there false means: do not wait.
  if (method.version == Version::v0_3_proto && json.contains("configuration") &&
      !json["configuration"].contains("blocking")) {
    json["configuration"]["blocking"] = false;
  }
  return std::move(*value);
}

Answer<std::string> response_bytes(const GrpcMethod& method, const std::string& json) {
  return bytes_of(*method.response, json);
}

Answer<std::string> request_bytes(const GrpcMethod& method, const std::string& json) {
  return bytes_of(*method.request, json);
}

Answer<std::string> response_json(const GrpcMethod& method, const std::string& bytes) {
  const auto message = make(*method.response);
  std::string text;
  const bool is_read = message->ParseFromString(bytes);
  if (is_read && pb::util::MessageToJsonString(*message, &text).ok()) return text;
  return Fail(Fault::invalid_agent_response, "the answer is no " + method.response->full_name());
}

}  // namespace ambit::a2a
