#pragma once

// Members: the top-level members of a canonical JSON object in one pass, without a document. For
// what looks at many records: bodies are canonical (the log takes no others), so a member is found
// by its bytes.

#include "log/canonical_json.h"

#include <charconv>
#include <cstdint>
#include <string>
#include <string_view>

namespace ambit::evidence {

// visit(name, value): the name without its quotes, the value as it stands. False where `object` is
// not a canonical object; what was visited until then was one's beginning.
template <class Visit>
bool for_each_member(std::string_view object, const Visit& visit) {
  if (!object.starts_with('{')) return false;
  object.remove_prefix(1);
  if (object.starts_with('}')) return object.size() == 1;
  for (;;) {
    const std::size_t quoted = log::canonical_string_length(object);
    if (quoted == 0) return false;
    const std::string_view name = object.substr(1, quoted - 2);
    object.remove_prefix(quoted);
    if (!object.starts_with(':')) return false;
    object.remove_prefix(1);
    const std::size_t length = log::canonical_value_length(object);
    if (length == 0) return false;
    visit(name, object.substr(0, length));
    object.remove_prefix(length);
    if (object == "}") return true;
    if (!object.starts_with(',')) return false;
    object.remove_prefix(1);
  }
}

// Of a canonical array.
template <class Visit>
void for_each_element(std::string_view array, const Visit& visit) {
  while (array.size() > 2 && (array.front() == '[' || array.front() == ',')) {
    array.remove_prefix(1);
    const std::size_t length = log::canonical_value_length(array);
    if (length == 0) return;
    visit(array.substr(0, length));
    array.remove_prefix(length);
  }
}

// Empty for what is no string.
inline std::string text_of(std::string_view value) {
  if (value.size() < 2 || value.front() != '"') return {};
  value = value.substr(1, value.size() - 2);
  return value.find('\\') == std::string_view::npos ? std::string(value)
                                                    : log::unescape_canonical(value);
}

// 0 for what is no whole number.
inline std::int64_t integer_of(std::string_view value) {
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
  return error == std::errc() && end == value.data() + value.size() ? number : 0;
}

}  // namespace ambit::evidence
