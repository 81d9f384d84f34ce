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
    {Fault::exhausted, -32603, 503, "RESOURCE_EXHAUSTED", ""},
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

}  // namespace ambit::a2a
