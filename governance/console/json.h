#pragma once

// What the parts of the desk share: bounds, and small steps between queries, records and JSON.
// Private to this folder.

#include "async/result.h"
#include "http/target.h"

#include <nlohmann/json.hpp>

#include <charconv>
#include <cstdint>
#include <string>
#include <string_view>

namespace ambit::console {

using json = nlohmann::ordered_json;

inline constexpr std::int64_t ms_ns = 1'000'000;
inline constexpr std::size_t catch_up_max = 100'000;  // records taken into the index at a time
inline constexpr std::size_t bodies_max = 200'000;    // bodies searched at a time
inline constexpr std::size_t page_max = 500;
inline constexpr std::size_t page_max_offset = 100'000'000;
inline constexpr std::size_t sessions_max = 20'000;
inline constexpr std::size_t names_max = 200;
inline constexpr std::size_t payload_bytes_max = std::size_t{4} << 20;

inline std::string text_of(const json& value) {
  return value.dump(-1, ' ', false, json::error_handler_t::replace);
}

inline std::string parameter(const http::Query& query, std::string_view name) {
  for (const auto& [key, value] : query) {
    if (key == name) return value;
  }
  return {};
}

// A whole number from 0 to `most`.
inline Result<std::size_t> number(const http::Query& query, std::string_view name,
                                  std::size_t fallback, std::size_t most) {
  const std::string text = parameter(query, name);
  if (text.empty()) return fallback;
  std::size_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value > most) {
    return Err(Code::invalid, std::string(name) + " must be a whole number up to " +
                                  std::to_string(most) + ", not \"" + text.substr(0, 40) + "\"");
  }
  return value;
}

// A string of a JSON object, or empty.
inline std::string member(const nlohmann::json& object, const char* name) {
  const auto at = object.find(name);
  return at != object.end() && at->is_string() ? at->get<std::string>() : std::string();
}

}  // namespace ambit::console
