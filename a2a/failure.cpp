#include "a2a/failure.h"

#include <nlohmann/json.hpp>

namespace ambit::a2a {
namespace {

constexpr FaultRow table[] = {
    {Fault::parse_error, -32700, 400, "INVALID_ARGUMENT", ""},
    {Fault::invalid_request, -32600, 400, "INVALID_ARGUMENT", ""},
    {Fault::method_not_found, -32601, 404, "NOT_FOUND", ""},
    {Fault::invalid_params, -32602, 400, "INVALID_ARGUMENT", ""},
    {Fault::internal, -32603, 500, "INTERNAL", ""},
    {Fault::task_not_found, -32001, 404, "NOT_FOUND", "TASK_NOT_FOUND"},
    {Fault::task_not_cancelable, -32002, 400, "FAILED_PRECONDITION", "TASK_NOT_CANCELABLE"},
    {Fault::push_not_supported, -32003, 400, "FAILED_PRECONDITION",
     "PUSH_NOTIFICATION_NOT_SUPPORTED"},
    {Fault::unsupported_operation, -32004, 400, "FAILED_PRECONDITION", "UNSUPPORTED_OPERATION"},
    {Fault::content_type_not_supported, -32005, 400, "INVALID_ARGUMENT",
     "CONTENT_TYPE_NOT_SUPPORTED"},
    {Fault::invalid_agent_response, -32006, 500, "INTERNAL", "INVALID_AGENT_RESPONSE"},
    {Fault::extended_card_not_configured, -32007, 400, "FAILED_PRECONDITION",
     "EXTENDED_AGENT_CARD_NOT_CONFIGURED"},
    {Fault::extension_required, -32008, 400, "FAILED_PRECONDITION", "EXTENSION_SUPPORT_REQUIRED"},
    {Fault::version_not_supported, -32009, 400, "FAILED_PRECONDITION", "VERSION_NOT_SUPPORTED"},
    {Fault::unauthenticated, -32603, 401, "UNAUTHENTICATED", ""},
    {Fault::permission_denied, -32603, 403, "PERMISSION_DENIED", ""},
    {Fault::exhausted, -32603, 503, "RESOURCE_EXHAUSTED", ""},
    {Fault::unreachable, -32603, 503, "UNAVAILABLE", ""},
};

}  // namespace

const FaultRow& row_of(Fault fault) {
  for (const FaultRow& row : table) {
    if (row.fault == fault) return row;
  }
  return row_of(Fault::internal);
}

rpc::Json details_of(const Failure& failure) {
  rpc::Json details = rpc::Json::array();
  const FaultRow& row = row_of(failure.fault);
  if (!row.reason.empty()) {
    details.push_back({{"@type", "type.googleapis.com/google.rpc.ErrorInfo"},
                       {"reason", row.reason},
                       {"domain", "a2a-protocol.org"}});
  }
  if (!failure.field.empty()) {
    rpc::Json violation = {{"field", failure.field}, {"description", failure.message}};
    details.push_back({{"@type", "type.googleapis.com/google.rpc.BadRequest"},
                       {"fieldViolations", rpc::Json::array({std::move(violation)})}});
  }
  return details;
}

namespace {

const FaultRow* row_of_reason(const rpc::Json& details) {
  if (!details.is_array()) return nullptr;
  for (const rpc::Json& detail : details) {
    if (!detail.is_object()) continue;
    const auto reason = detail.find("reason");
    if (reason == detail.end() || !reason->is_string()) continue;
    for (const FaultRow& row : table) {
      if (!row.reason.empty() && *reason == row.reason) return &row;
    }
  }
  return nullptr;
}

}  // namespace

Failure failure_of_rpc(std::int64_t code, const std::string& message, const rpc::Json& details) {
  if (const FaultRow* row = row_of_reason(details)) return {row->fault, message, ""};
  for (const FaultRow& row : table) {
    if (row.rpc_code == code) return {row.fault, message, ""};
  }
  return {Fault::internal, message + " (code " + std::to_string(code) + ")", ""};
}

Failure failure_of_http(int status, const std::string& message, const rpc::Json& details) {
  if (const FaultRow* row = row_of_reason(details)) return {row->fault, message, ""};
  switch (status) {
    case 400:
      return {Fault::invalid_params, message, ""};
    case 401:
      return {Fault::unauthenticated, message, ""};
    case 403:
      return {Fault::permission_denied, message, ""};
    case 404:
      return {Fault::task_not_found, message, ""};
    case 429:
    case 503:
      return {Fault::exhausted, message, ""};
    default:
      return {Fault::internal, message + " (HTTP " + std::to_string(status) + ")", ""};
  }
}

Error to_error(const Failure& failure) {
  const auto code = [&] {
    switch (failure.fault) {
      case Fault::task_not_found:
      case Fault::method_not_found:
        return Code::not_found;
      case Fault::unauthenticated:
      case Fault::permission_denied:
        return Code::denied;
      case Fault::invalid_params:
      case Fault::invalid_request:
      case Fault::parse_error:
        return Code::invalid;
      case Fault::unreachable:
        return Code::unavailable;
      case Fault::exhausted:
        return Code::exhausted;
      case Fault::internal:
      case Fault::invalid_agent_response:
        return Code::internal;
      case Fault::task_not_cancelable:
        return Code::conflict;
      default:
        return Code::unsupported;
    }
  };
  return Error{code(), failure.message};
}

}  // namespace ambit::a2a
