#include "inference/template_values.h"

#include "inference/unicode.h"

#include <algorithm>
#include <cmath>

namespace ambit::inference {

namespace {

using Json = nlohmann::ordered_json;

std::string plain_json(const Json& value, bool ensure_ascii) {
  return value.dump(-1, ' ', ensure_ascii, Json::error_handler_t::replace);
}

void write_json(std::string& out, const Json& value, const JsonStyle& style, std::size_t depth) {
  if (!value.is_structured() || value.empty()) {
    out += plain_json(value, style.ensure_ascii);
    return;
  }
  const auto line = [&](std::size_t level) {
    if (style.indent > 0) out.append(1, '\n').append(style.indent * level, ' ');
  };
  const bool object = value.is_object();
  std::vector<Json::const_iterator> items;
  for (auto it = value.begin(); it != value.end(); ++it) items.push_back(it);
  if (object && style.sort_keys)
    std::sort(items.begin(), items.end(),
              [](const auto& a, const auto& b) { return a.key() < b.key(); });
  out += object ? '{' : '[';
  for (std::size_t i = 0; i < items.size(); ++i) {
    if (i > 0 && !style.item_separator.empty())
      out += style.item_separator;
    else if (i > 0)
      out += style.indent > 0 ? "," : ", ";
    line(depth + 1);
    if (object) out += plain_json(items[i].key(), style.ensure_ascii) + style.key_separator;
    write_json(out, *items[i], style, depth + 1);
  }
  line(depth);
  out += object ? '}' : ']';
}

// As Python's repr writes a string; what has no sign of its own in ASCII is escaped.
std::string python_quoted(std::string_view text) {
  const bool doubled =
      text.find('\'') != std::string_view::npos && text.find('"') == std::string_view::npos;
  const char quote = doubled ? '"' : '\'';
  std::string out(1, quote);
  for (const char c : text) {
    if (c == quote || c == '\\') {
      out.append(1, '\\').append(1, c);
    } else if (c == '\n' || c == '\r' || c == '\t') {
      out += c == '\n' ? "\\n" : c == '\r' ? "\\r" : "\\t";
    } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) {
      constexpr std::string_view digits = "0123456789abcdef";
      const auto byte = static_cast<unsigned char>(c);
      out.append("\\x").append(1, digits[byte >> 4U]).append(1, digits[byte & 15U]);
    } else {
      out += c;
    }
  }
  return out.append(1, quote);
}

// As Python's repr.
void write_python(std::string& out, const Json& value) {
  if (value.is_string()) {
    out += python_quoted(value.get_ref<const std::string&>());
    return;
  }
  if (!value.is_structured()) {
    out += jinja::to_text(value);
    return;
  }
  const bool object = value.is_object();
  out += object ? '{' : '[';
  for (auto it = value.begin(); it != value.end(); ++it) {
    if (it != value.begin()) out += ", ";
    if (object) out += python_quoted(it.key()) + ": ";
    write_python(out, *it);
  }
  out += object ? '}' : ']';
}

}  // namespace

std::string python_dumps(const Json& value, const JsonStyle& style) {
  std::string out;
  write_json(out, value, style, 0);
  return out;
}

namespace jinja {

bool truth(const Json& value) {
  switch (value.type()) {
    case Json::value_t::boolean:
      return value.get<bool>();
    case Json::value_t::number_integer:
    case Json::value_t::number_unsigned:
      return value.get<std::int64_t>() != 0;
    case Json::value_t::number_float:
      return value.get<double>() != 0;
    case Json::value_t::string:
      return !value.get_ref<const std::string&>().empty();
    case Json::value_t::array:
    case Json::value_t::object:
      return !value.empty();
    default:
      return false;
  }
}

std::string to_text(const Json& value) {
  switch (value.type()) {
    case Json::value_t::string:
      return value.get<std::string>();
    case Json::value_t::boolean:
      return value.get<bool>() ? "True" : "False";
    case Json::value_t::null:
      return "None";
    case Json::value_t::discarded:
      return "";
    case Json::value_t::array:
    case Json::value_t::object: {
      std::string out;
      write_python(out, value);
      return out;
    }
    default:
      return plain_json(value, false);
  }
}

const std::string& text_of(const Json& value) {
  return value.get_ref<const std::string&>();
}

std::string strip(std::string_view text, std::string_view characters, bool left, bool right) {
  if (characters.empty()) characters = " \t\n\r\f\v";
  while (left && !text.empty() && characters.find(text.front()) != std::string_view::npos)
    text.remove_prefix(1);
  while (right && !text.empty() && characters.find(text.back()) != std::string_view::npos)
    text.remove_suffix(1);
  return std::string(text);
}

std::string replaced(std::string_view text, std::string_view from, std::string_view to) {
  if (from.empty()) return std::string(text);
  std::string out;
  for (std::size_t next = 0; (next = text.find(from)) != std::string_view::npos;
       text.remove_prefix(next + from.size()))
    out.append(text.substr(0, next)).append(to);
  return out.append(text);
}

std::string cased(std::string text, bool upper) {
  for (char& c : text) {
    if (upper && c >= 'a' && c <= 'z') c = static_cast<char>(c - 32);
    if (!upper && c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
  }
  return text;
}

std::string capitalized(std::string text) {
  text = cased(std::move(text), false);
  if (!text.empty()) text[0] = cased(text.substr(0, 1), true)[0];
  return text;
}

std::string titled(std::string text) {
  text = cased(std::move(text), false);
  bool start = true;
  for (char& c : text) {
    if (start) c = cased(std::string(1, c), true)[0];
    start = (c < 'a' || c > 'z') && (c < 'A' || c > 'Z');
  }
  return text;
}

std::string shown(std::string_view text) {
  constexpr std::size_t bytes_max = 500;
  return valid_utf8(text.substr(0, bytes_max)) + (text.size() > bytes_max ? " ..." : "");
}

std::vector<std::uint32_t> character_starts(std::string_view text) {
  std::vector<std::uint32_t> starts;
  starts.reserve(text.size() + 1);
  for (std::size_t at = 0; at < text.size(); at += decode_utf8(text, at).bytes)
    starts.push_back(static_cast<std::uint32_t>(at));
  starts.push_back(static_cast<std::uint32_t>(text.size()));
  return starts;
}

std::size_t length_of(const Json& value) {
  return value.is_string() ? character_starts(text_of(value)).size() - 1 : value.size();
}

bool is_real(const Json& value) {
  return value.is_number_float();
}

}  // namespace jinja

}  // namespace ambit::inference
