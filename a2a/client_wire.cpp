#include "a2a/client_wire.h"

#include "a2a/v0_3.h"
#include "a2a/v0_3_proto.h"
#include "http/url.h"

#include <nlohmann/json.hpp>

#include <cctype>

namespace ambit::a2a {
namespace {

using http::Request;
using http::Response;
using rpc::Json;

constexpr std::size_t words_max = 300;  // of a message that is no JSON, in our error

std::string escaped(std::string_view text) {
  constexpr std::string_view digits = "0123456789ABCDEF";
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (std::isalnum(byte) != 0 || c == '-' || c == '.' || c == '_' || c == '~') {
      out += c;
    } else {
      out += '%';
      out += digits[byte >> 4];
      out += digits[byte & 15];
    }
  }
  return out;
}

std::string member(Json& params, const char* key) {
  const auto at = params.find(key);
  if (at == params.end()) return "";
  std::string text = at->is_string() ? at->get<std::string>() : at->dump();
  params.erase(key);
  return text;
}

std::string query_of(const Json& params) {
  std::string query;
  for (const auto& [name, value] : params.items()) {
    query += (query.empty() ? "?" : "&") + escaped(name) + "=" +
             escaped(value.is_string() ? value.get<std::string>() : value.dump());
  }
  return query;
}

// The path of what is done with push configurations.
void put_push(Operation operation, Json& params, Request& request) {
  request.url += "/tasks/" + escaped(member(params, "taskId")) + "/pushNotificationConfigs";
  if (operation == Operation::create_push) {
    request.method = "POST";
    // The proto of 0.3 has the configuration alone as the body.
    request.body = rpc::compact(params.contains("config") ? params["config"] : params);
    return;
  }
  if (operation == Operation::delete_push) request.method = "DELETE";
  if (operation != Operation::list_push) request.url += "/" + escaped(member(params, "id"));
  request.url += query_of(params);
}

// The path of REST, and what of the parameters is left for the body.
void put_rest(Operation operation, Version version, Json& params, Request& request) {
  const bool is_old = version != Version::v1_0;
  const std::string tenant = member(params, "tenant");
  if (is_old) {
    request.url += "/v1";
  } else if (!tenant.empty()) {
    request.url += "/" + escaped(tenant);
  }
  request.method = "GET";
  switch (operation) {
    case Operation::send:
    case Operation::stream:
      request.method = "POST";
      request.url += operation == Operation::send ? "/message:send" : "/message:stream";
      request.body = rpc::compact(params);
      return;
    case Operation::cancel:
      request.method = "POST";
      request.url += "/tasks/" + escaped(member(params, "id")) + ":cancel";
      request.body = "{}";
      return;
    case Operation::subscribe:
      // Of 1.0 the proto says GET, the text of the specification POST; agents of both kinds take
      // POST or say so, and most take both.
      request.method = is_old ? "GET" : "POST";
      request.url += "/tasks/" + escaped(member(params, "id")) + ":subscribe";
      if (!is_old) request.body = "{}";
      return;
    case Operation::get:
      request.url += "/tasks/" + escaped(member(params, "id"));
      break;
    case Operation::extended_card:
      request.url += is_old ? "/card" : "/extendedAgentCard";
      break;
    case Operation::create_push:
    case Operation::get_push:
    case Operation::list_push:
    case Operation::delete_push:
      put_push(operation, params, request);
      return;
    default:
      request.url += "/tasks";
      break;
  }
  request.url += query_of(params);
}

Failure failure_of_body(const Response& response) {
  const auto value = rpc::Value::parse(response.body);
  if (value && value->json().is_object()) {
    const Json& json = value->json();
    const auto error = json.find("error");
    if (error != json.end() && error->is_object()) {
      std::string message;
      if (error->contains("message") && (*error)["message"].is_string()) {
        message = (*error)["message"].get<std::string>();
      }
      const char* key = error->contains("details") ? "details" : "data";
      const Json details = error->contains(key) ? (*error)[key] : Json();
      const auto code = error->find("code");
      if (code != error->end() && code->is_number_integer() && code->get<std::int64_t>() < 0) {
        return failure_of_rpc(code->get<std::int64_t>(), message, details);
      }
      return failure_of_http(response.status, message, details);
    }
  }
  std::string words(rpc::utf8_prefix(response.body, words_max));
  if (words.empty()) words = "the agent answered " + std::to_string(response.status);
  return failure_of_http(response.status, words, Json());
}

std::string_view service_name(Version version) {
  return version == Version::v1_0 ? "/lf.a2a.v1.A2AService/" : "/a2a.v1.A2AService/";
}

Json upgraded(Version version, Operation operation, Json json) {
  if (version == Version::v0_3) return v0_3::upgrade_result(operation, std::move(json));
  if (version == Version::v0_3_proto) return v0_3_proto::upgrade_result(operation, std::move(json));
  return json;
}

}  // namespace

std::optional<Version> version_of(const Interface& interface) {
  const std::string& version = interface.protocol_version;
  const bool is_1_0 = version == "1.0" || version.starts_with("1.0.");
  const bool is_0_3 = version == "0.3" || version.starts_with("0.3.");
  const bool is_proto = interface.binding == "HTTP+JSON" || interface.binding == "GRPC";
  if (!is_rpc(interface) && !is_proto) return std::nullopt;
  if (is_1_0) return Version::v1_0;
  if (!is_0_3) return std::nullopt;
  return is_proto ? Version::v0_3_proto : Version::v0_3;
}

Answer<Request> wire_request(const Interface& interface, Operation operation, Json params,
                             std::int64_t number) {
  Request request;
  request.url = interface.url;
  while (!is_rpc(interface) && request.url.ends_with('/')) request.url.pop_back();
  request.headers.set("Accept", is_streaming(operation) ? "text/event-stream, application/json"
                                                        : "application/json, application/a2a+json");
  const Version version = *version_of(interface);
  const std::string_view method = method_name(operation, version);
  if (method.empty()) {
    return Fail(Fault::unsupported_operation,
                "A2A 0.3 has no such operation, and the agent speaks nothing newer there");
  }
  if (version == Version::v0_3) params = v0_3::downgrade_params(operation, std::move(params));
  if (version == Version::v0_3_proto) {
    params = v0_3_proto::downgrade_params(operation, std::move(params));
  }
  if (interface.binding == "HTTP+JSON") {
    put_rest(operation, version, params, request);
  } else if (interface.binding == "GRPC") {
    if (version == Version::v0_3_proto) v0_3_proto::put_names(operation, params);
    request.method = "POST";
    request.url += service_name(version);
    request.url += method;
    request.body = rpc::compact(params);
  } else {
    Json message = {{"jsonrpc", "2.0"}, {"id", number}, {"method", method}};
    message["params"] = std::move(params);
    request.method = "POST";
    request.body = rpc::compact(message);
  }
  if (!request.body.empty()) request.headers.set("Content-Type", "application/json");
  return request;
}

Answer<rpc::Value> wire_result(const Interface& interface, Operation operation,
                               const Response& response, const rpc::ParseLimits& limits) {
  if (!response.is_success()) return tl::unexpected<Failure>(failure_of_body(response));
  // Who deletes has nothing to say.
  if (operation == Operation::delete_push && response.body.empty()) {
    return rpc::Value(Json::object());
  }
  auto value = rpc::Value::parse(response.body, limits);
  const bool is_bare_list = value && interface.binding != "JSONRPC" && value->json().is_array();
  if (!value || (!value->json().is_object() && !is_bare_list)) {
    return Fail(Fault::invalid_agent_response,
                "the agent's answer is no JSON object" +
                    (value ? std::string() : ": " + value.error().message));
  }
  Json json = std::move(value->edit());
  if (is_rpc(interface)) {
    if (json.contains("error")) return tl::unexpected<Failure>(failure_of_body(response));
    const auto result = json.find("result");
    if (result == json.end()) {
      return Fail(Fault::invalid_agent_response,
                  "the agent's answer holds neither result nor error");
    }
    Json inner = std::move(*result);
    json = std::move(inner);
  }
  if (operation != Operation::extended_card) {
    json = upgraded(*version_of(interface), operation, std::move(json));
  }
  return rpc::Value(std::move(json));
}

Answer<StreamEvent> wire_event(const Interface& interface, const std::string& data,
                               const rpc::ParseLimits& limits) {
  auto value = rpc::Value::parse(data, limits);
  if (!value || !value->json().is_object()) {
    return Fail(Fault::invalid_agent_response, "an event of the agent's stream is no JSON object");
  }
  Json json = std::move(value->edit());
  if (json.contains("error")) {
    Response response;
    response.status = 200;
    response.body = data;
    return tl::unexpected<Failure>(failure_of_body(response));
  }
  if (is_rpc(interface)) {
    if (!json.contains("result")) {
      return Fail(Fault::invalid_agent_response, "an event holds neither result nor error");
    }
    Json inner = std::move(json["result"]);
    json = std::move(inner);
  }
  const Version version = *version_of(interface);
  if (version == Version::v0_3) json = v0_3::upgrade_event(std::move(json));
  if (version == Version::v0_3_proto) json = v0_3_proto::upgrade_event(std::move(json));
  return read_stream_event(json);
}

}  // namespace ambit::a2a
