#include "rpc/message.h"

#include "rpc/fields.h"

#include <nlohmann/json.hpp>

#include <utility>

namespace ambit::rpc {
namespace {

// What is shown of another side's words.
constexpr std::size_t fault_bytes_max = 4000;

struct Row {
  Code code;
  std::int64_t fault_code;
};
// From us to the wire the first row of a Code counts, from the wire to us the row of the number.
// The numbers -32000 ... -32019 are free for implementations and mean nothing to others.
constexpr Row code_rows[] = {
    {Code::invalid, invalid_params},  {Code::unsupported, method_not_found},
    {Code::internal, internal_error}, {Code::invalid, parse_error},
    {Code::invalid, invalid_request}, {Code::not_found, invalid_params},
    {Code::denied, -32001},           {Code::unavailable, -32003},
    {Code::exhausted, -32004},        {Code::timeout, -32005},
    {Code::conflict, -32006},         {Code::closed, -32007},
    {Code::invalid, -32020},          {Code::unsupported, -32021},
    {Code::unsupported, -32022},
};

Result<Id> to_id(const Json& json) {
  if (json.is_string()) return Id(json.get<std::string>());
  if (json.is_number_unsigned() && json.get<std::uint64_t>() > std::uint64_t{INT64_MAX}) {
    return Err(Code::invalid, "$.id: must be a string or an integer of 64 bits");
  }
  if (json.is_number_integer()) return Id(json.get<std::int64_t>());
  return Err(Code::invalid, "$.id: must be a string or an integer");
}

// As JSON text. A message is put together from texts: its parts need not be copied first.
std::string id_text(const std::optional<Id>& id) {
  if (!id) return "null";
  if (const auto* number = std::get_if<std::int64_t>(&*id)) return std::to_string(*number);
  return compact(Json(std::get<std::string>(*id)));
}

// `json` is taken apart.
Result<Value> to_params(Json& json) {
  const auto at = json.find("params");
  if (at == json.end()) return Value();
  if (!at->is_structured()) return Err(Code::invalid, "$.params: must be an object or an array");
  return Value(std::move(*at));
}

Result<Message> to_call(Json& json) {
  Fields fields(json, "$");
  std::string method;
  fields.read("method", method);
  TRY(fields.result());
  Value params = TRY(to_params(json));
  const Json* id = fields.find("id");
  if (id == nullptr) return Message(Notification{std::move(method), std::move(params)});
  Id request_id = TRY(to_id(*id));
  return Message(Request{std::move(request_id), std::move(method), std::move(params)});
}

Result<Message> to_reply(Json& json) {
  Fields fields(json, "$");
  Reply reply;
  const Json* error = fields.find_object("error", false);
  TRY(fields.result());
  if (error != nullptr) {
    if (json.contains("result")) {
      return Err(Code::invalid, "$: holds both result and error; a reply has one of them");
    }
    Fields inner(*error, "$.error");
    Fault fault;
    inner.read("code", fault.code);
    inner.read("message", fault.message);
    inner.maybe("data", fault.data);
    TRY(inner.result());
    reply.fault = std::move(fault);
  } else {
    const auto result = json.find("result");
    if (result == json.end()) return Err(Code::invalid, "$.result: is missing");
    reply.result = Value(std::move(*result));
  }
  const Json* id = fields.find("id");
  const bool no_id = id == nullptr || id->is_null();
  if (no_id && !reply.fault) return Err(Code::invalid, "$.id: is missing");
  if (!no_id) reply.id = TRY(to_id(*id));
  return Message(std::move(reply));
}

}  // namespace

std::string to_string(const Id& id) {
  if (const auto* number = std::get_if<std::int64_t>(&id)) return std::to_string(*number);
  return '"' + std::get<std::string>(id) + '"';
}

std::int64_t to_fault_code(Code code) {
  for (const Row& row : code_rows) {
    if (row.code == code) return row.fault_code;
  }
  return internal_error;
}

Code to_code(std::int64_t fault_code) {
  for (const Row& row : code_rows) {
    if (row.fault_code == fault_code) return row.code;
  }
  return Code::internal;
}

Fault to_fault(const Error& error) {
  return Fault{to_fault_code(error.code), error.message, {}};
}

Error to_error(const Fault& fault) {
  const bool is_long = fault.message.size() > fault_bytes_max;
  std::string said(utf8_prefix(fault.message, fault_bytes_max));
  return Error{to_code(fault.code), said + (is_long ? "..." : "") + " (JSON-RPC error " +
                                        std::to_string(fault.code) + ")"};
}

Result<Message> decode(std::string_view text, const ParseLimits& limits) {
  Value value = TRY(Value::parse(text, limits));
  Json& json = value.edit();
  if (json.is_array())
    return Err(Code::unsupported, "$: a JSON-RPC batch; send one message at a time");
  if (!json.is_object()) return Err(Code::invalid, "$: must be an object");
  const auto version = json.find("jsonrpc");
  if (version == json.end() || *version != "2.0") {
    return Err(Code::invalid, "$.jsonrpc: must be \"2.0\"");
  }
  if (json.contains("method")) return to_call(json);
  return to_reply(json);
}

std::string encode(const Request& request) {
  std::string text = R"({"jsonrpc":"2.0","id":)" + id_text(request.id) + R"(,"method":)" +
                     compact(Json(request.method));
  if (request.params.present()) text += ",\"params\":" + request.params.text();
  return text + "}";
}

std::string encode(const Notification& notification) {
  std::string text = R"({"jsonrpc":"2.0","method":)" + compact(Json(notification.method));
  if (notification.params.present()) text += ",\"params\":" + notification.params.text();
  return text + "}";
}

std::string encode(const Reply& reply) {
  const std::string head = R"({"jsonrpc":"2.0","id":)" + id_text(reply.id);
  if (!reply.fault) return head + ",\"result\":" + reply.result.text() + "}";
  const Fault& fault = *reply.fault;
  std::string text = head + R"(,"error":{"code":)" + std::to_string(fault.code) + R"(,"message":)" +
                     compact(Json(fault.message));
  if (fault.data.present()) text += ",\"data\":" + fault.data.text();
  return text + "}}";
}

}  // namespace ambit::rpc
