#pragma once

// What an A2A operation answers when it fails, and the one table from that to the numbers of the
// bindings (A2A 1.0.1, section 5.4): JSON-RPC code, HTTP status, google.rpc status, ErrorInfo
// reason.

#include "async/result.h"
#include "rpc/value.h"

#include <cstdint>
#include <string>
#include <string_view>

namespace ambit::a2a {

enum class Fault {
  parse_error,
  invalid_request,
  method_not_found,
  invalid_params,
  internal,
  task_not_found,
  task_not_cancelable,
  push_not_supported,
  unsupported_operation,
  content_type_not_supported,
  invalid_agent_response,
  extended_card_not_configured,
  extension_required,
  version_not_supported,
  unauthenticated,
  permission_denied,
  exhausted,    // a limit of this server: later it may work
  unreachable,  // a client's: there was no answer, or half of one
};

struct Failure {
  Fault fault = Fault::internal;
  std::string message;  // for a person: what is wrong, and what to do
  std::string field;    // of the request, where it is one field's fault: "message.parts[0]"
  friend bool operator==(const Failure&, const Failure&) = default;
};

template <class T>
using Answer = tl::expected<T, Failure>;

inline tl::unexpected<Failure> Fail(Fault fault, std::string message, std::string field = "") {
  return tl::unexpected<Failure>(Failure{fault, std::move(message), std::move(field)});
}

struct FaultRow {
  Fault fault;
  std::int64_t rpc_code;
  int http_status;
  std::string_view status;  // google.rpc.Code
  std::string_view reason;  // of ErrorInfo; empty: no A2A error
};
const FaultRow& row_of(Fault fault);

// The google.rpc details: ErrorInfo for the errors of A2A, BadRequest where a field is at fault. An
// array, maybe empty.
rpc::Json details_of(const Failure& failure);

// What a client makes of an error that an agent sent: by the ErrorInfo's reason in `details` where
// there is one, else by the number. `message` is the agent's.
Failure failure_of_rpc(std::int64_t code, const std::string& message, const rpc::Json& details);
Failure failure_of_http(int status, const std::string& message, const rpc::Json& details);
// For those who speak in errors of ours.
Error to_error(const Failure& failure);

}  // namespace ambit::a2a
