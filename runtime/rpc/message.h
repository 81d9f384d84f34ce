#pragma once

// The three JSON-RPC 2.0 messages as plain structs, and their text. decode() accepts one message of
// bounded size and depth; a batch (an array) is refused, as MCP since 2025-06-18 and A2A ask for.
// The table between our Codes and JSON-RPC's numbers stands here and nowhere else.

#include "rpc/value.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

namespace ambit::rpc {

using Id = std::variant<std::int64_t, std::string>;
std::string to_string(const Id& id);  // 7, "abc"

struct Request {
  Id id;
  std::string method;
  Value params;  // an object or array, or not present
  friend bool operator==(const Request&, const Request&) = default;
};

struct Notification {
  std::string method;
  Value params;
  friend bool operator==(const Notification&, const Notification&) = default;
};

// What the other side says went wrong.
struct Fault {
  std::int64_t code = 0;
  std::string message;
  Value data;
  friend bool operator==(const Fault&, const Fault&) = default;
};

struct Reply {
  std::optional<Id> id;  // absent only where the peer could not tell what it answers
  Value result;
  std::optional<Fault> fault;  // then there is no result
  friend bool operator==(const Reply&, const Reply&) = default;
};

using Message = std::variant<Request, Notification, Reply>;

constexpr std::int64_t parse_error = -32700;
constexpr std::int64_t invalid_request = -32600;
constexpr std::int64_t method_not_found = -32601;
constexpr std::int64_t invalid_params = -32602;
constexpr std::int64_t internal_error = -32603;

std::int64_t to_fault_code(Code code);
Code to_code(std::int64_t fault_code);
Fault to_fault(const Error& error);
Error to_error(const Fault& fault);

// Errors name the member that is wrong ("$.id: must be a string or an integer").
Result<Message> decode(std::string_view text, const ParseLimits& limits = {});
// One line: JSON text holds no raw line break.
std::string encode(const Request& request);
std::string encode(const Notification& notification);
std::string encode(const Reply& reply);

}  // namespace ambit::rpc
