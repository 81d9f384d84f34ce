#include "rpc/value.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

namespace ambit::rpc {
namespace {

// Counts, before anything is built, what building would cost. It trusts nothing about the text's
// grammar: the parser proper refuses what is not JSON.
Result<void> check_shape(std::string_view text, const ParseLimits& limits) {
  if (text.size() > limits.bytes_max) {
    return Err(Code::exhausted, "JSON of " + std::to_string(text.size()) + " bytes; at most " +
                                    std::to_string(limits.bytes_max) + " are accepted");
  }
  std::vector<std::size_t> members;
  std::size_t values = 1;
  bool in_string = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') ++i;
      if (c == '"') in_string = false;
      continue;
    }
    if (c == '"') in_string = true;
    if (c == '{' || c == '[') {
      if (members.size() >= limits.depth_max) {
        return Err(Code::exhausted, "JSON nested deeper than " + std::to_string(limits.depth_max) +
                                        " levels at byte " + std::to_string(i));
      }
      members.push_back(0);
      ++values;
    }
    if ((c == '}' || c == ']') && !members.empty()) members.pop_back();
    if (c == ',' && ++values > limits.values_max) {
      return Err(Code::exhausted,
                 "JSON of more than " + std::to_string(limits.values_max) + " values");
    }
    if (c == ':' && !members.empty() && ++members.back() > limits.members_max) {
      return Err(Code::exhausted, "a JSON object of more than " +
                                      std::to_string(limits.members_max) + " members at byte " +
                                      std::to_string(i));
    }
  }
  return {};
}

const Json& null_json() {
  static const Json null;
  return null;
}

void write_canonical(const Json& json, std::string& out) {
  if (json.is_object()) {
    std::vector<Json::const_iterator> members;
    for (auto at = json.begin(); at != json.end(); ++at) members.push_back(at);
    std::sort(members.begin(), members.end(),
              [](const auto& a, const auto& b) { return a.key() < b.key(); });
    out += '{';
    for (std::size_t i = 0; i < members.size(); ++i) {
      if (i > 0) out += ',';
      out += compact(Json(members[i].key()));
      out += ':';
      write_canonical(members[i].value(), out);
    }
    out += '}';
  } else if (json.is_array()) {
    out += '[';
    for (std::size_t i = 0; i < json.size(); ++i) {
      if (i > 0) out += ',';
      write_canonical(json[i], out);
    }
    out += ']';
  } else if (json.is_number_float()) {
    const double number = json.get<double>();
    // Whole numbers up to 2^53 have one spelling, however they were said.
    const bool whole = std::trunc(number) == number && std::abs(number) <= 9007199254740992.0;
    out += whole ? std::to_string(static_cast<std::int64_t>(number)) : json.dump();
  } else {
    out += compact(json);
  }
}

bool same_object(const Json& a, const Json& b) {
  for (auto at = a.begin(); at != a.end(); ++at) {
    const auto other = b.find(at.key());
    if (other == b.end() || !same(at.value(), other.value())) return false;
  }
  return true;
}

}  // namespace

Value::Value() = default;
Value::Value(Json json) : json_(std::make_unique<Json>(std::move(json))) {}
Value::Value(const Value& other)
    : json_(other.json_ ? std::make_unique<Json>(*other.json_) : nullptr) {}
Value& Value::operator=(const Value& other) {
  if (this != &other) json_ = other.json_ ? std::make_unique<Json>(*other.json_) : nullptr;
  return *this;
}
Value::Value(Value&& other) noexcept = default;
Value& Value::operator=(Value&& other) noexcept = default;
Value::~Value() = default;

Result<Value> Value::parse(std::string_view text, const ParseLimits& limits) {
  TRY(check_shape(text, limits));
  try {
    return Value(Json::parse(text));
  } catch (const Json::parse_error& error) {
    return Err(Code::invalid, "not JSON: wrong at byte " + std::to_string(error.byte));
  } catch (const Json::exception& error) {
    return Err(Code::invalid, std::string("not JSON: ") + error.what());
  }
}

const Json& Value::json() const {
  return json_ ? *json_ : null_json();
}

Json& Value::edit() {
  if (!json_) json_ = std::make_unique<Json>();
  return *json_;
}

std::string Value::text() const {
  return compact(json());
}

bool operator==(const Value& a, const Value& b) {
  return a.present() == b.present() && same(a.json(), b.json());
}

std::string canonical(const Json& json) {
  std::string out;
  write_canonical(json, out);
  return out;
}

bool same(const Json& a, const Json& b) {
  if (a.is_object() && b.is_object()) return a.size() == b.size() && same_object(a, b);
  if (a.is_array() && b.is_array()) {
    return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin(), same);
  }
  if (a.is_structured() || b.is_structured()) return false;
  // Wide enough for every 64-bit integer, signed or not; the library's own comparison wraps round.
  if (a.is_number() && b.is_number()) return a.get<long double>() == b.get<long double>();
  return a == b;
}

std::string compact(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string_view utf8_prefix(std::string_view text, std::size_t bytes_max) {
  if (text.size() <= bytes_max) return text;
  std::size_t end = bytes_max;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0U) == 0x80U) --end;
  return text.substr(0, end);
}

}  // namespace ambit::rpc
