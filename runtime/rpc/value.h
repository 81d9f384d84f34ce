#pragma once

// Value: a JSON value (or none) that other structs can hold while their headers see only
// json_fwd.hpp. Objects keep the order in which their members were said: models read tool schemas
// in that order. parse() is the one door for text from outside: bounded in bytes, depth and members
// before anything is built. canonical() is the form for digests and comparisons.

#include "async/result.h"

#include <nlohmann/json_fwd.hpp>

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>

namespace ambit::rpc {

using Json = nlohmann::ordered_json;

struct ParseLimits {
  std::size_t bytes_max = 16 << 20;
  std::size_t depth_max = 64;        // arrays and objects inside each other
  std::size_t members_max = 1024;    // of one object; looking a member up is linear
  std::size_t values_max = 1 << 20;  // of the whole text
};

class Value {
 public:
  Value();
  Value(Json json);  // NOLINT(google-explicit-constructor): a Value is JSON
  Value(const Value& other);
  Value& operator=(const Value& other);
  Value(Value&& other) noexcept;
  Value& operator=(Value&& other) noexcept;
  ~Value();

  // Errors say at which byte the text is wrong, or which bound it passes.
  static Result<Value> parse(std::string_view text, const ParseLimits& limits = {});

  [[nodiscard]] bool present() const { return json_ != nullptr; }
  // JSON null when not present.
  [[nodiscard]] const Json& json() const;
  // Makes the value present.
  Json& edit();
  // Compact text; bytes that are not UTF-8 become U+FFFD. "null" when not present.
  [[nodiscard]] std::string text() const;

  // Equal as JSON: the order of members does not matter, 1 equals 1.0.
  friend bool operator==(const Value& a, const Value& b);

 private:
  std::unique_ptr<Json> json_;
};

// Compact text with sorted members and integers without a fraction: one text for equal values.
std::string canonical(const Json& json);
bool same(const Json& a, const Json& b);
std::string compact(const Json& json);

// The largest prefix of `text` with at most `bytes_max` bytes that ends between two UTF-8
// characters.
std::string_view utf8_prefix(std::string_view text, std::size_t bytes_max);

}  // namespace ambit::rpc
