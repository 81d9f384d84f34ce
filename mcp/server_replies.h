#pragma once

// The refusals that Server's two sources share. Internal to mcp.

#include "mcp/json_text.h"
#include "mcp/server.h"

#include <nlohmann/json.hpp>

#include <string>
#include <string_view>
#include <utility>

namespace ambit::mcp {

inline rpc::Reply refusal(std::int64_t code, std::string message, Value data = {}) {
  rpc::Reply reply;
  reply.fault = rpc::Fault{code, std::move(message), std::move(data)};
  return reply;
}

inline rpc::Reply invalid(std::string message) {
  return refusal(rpc::invalid_params, std::move(message));
}

inline rpc::Reply unknown(const std::string& method) {
  return refusal(rpc::method_not_found, "no method \"" + method + "\"");
}

// An answer that the protocol allows for this question; the values of a form fit what was asked.
bool is_answer(const rpc::Json& question, const rpc::Json& answer);

// "test://template/{id}/data" for "test://template/7/data".
bool fits_template(std::string_view pattern, std::string_view uri);

// Also of one that this caller may not see: nobody learns by it that it is there.
inline rpc::Reply no_resource(Era era, const std::string& uri) {
  constexpr std::int64_t legacy_not_found = -32002;
  return refusal(era == Era::modern ? rpc::invalid_params : legacy_not_found,
                 "there is no resource \"" + uri + "\"", Value(rpc::Json{{"uri", uri}}));
}

}  // namespace ambit::mcp
