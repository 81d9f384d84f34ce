#include "inference/template_values.h"

#include "inference/unicode.h"

#include <algorithm>
#include <cmath>

namespace ambit::inference {

std::string python_dumps(const nlohmann::ordered_json& value, int indent) {
  using Json = nlohmann::ordered_json;
  std::string out;
  const std::function<void(const Json&, int)> write = [&](const Json& item, int depth) {
    const bool object = item.is_object();
    if ((!object && !item.is_array()) || item.empty()) {
      out += item.dump(-1, ' ', false, Json::error_handler_t::replace);
      return;
    }
    const auto line = [&](int level) {
      if (indent > 0)
        out.append(1, '\n').append(
            static_cast<std::size_t>(indent) * static_cast<std::size_t>(level), ' ');
    };
    out += object ? '{' : '[';
    bool first = true;
    for (auto it = item.begin(); it != item.end(); ++it) {
      if (!first) out += indent > 0 ? "," : ", ";
      first = false;
      line(depth + 1);
      if (object) out += Json(it.key()).dump(-1, ' ', false, Json::error_handler_t::replace) + ": ";
      write(*it, depth + 1);
    }
    line(depth);
    out += object ? '}' : ']';
  };
  write(value, 0);
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
    default:
      return python_dumps(value);
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

std::vector<std::string> characters_of(std::string_view text) {
  std::vector<std::string> out;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t bytes = decode_utf8(text, at).bytes;
    out.emplace_back(text.substr(at, bytes));
    at += bytes;
  }
  return out;
}

std::size_t length_of(const Json& value) {
  return value.is_string() ? characters_of(text_of(value)).size() : value.size();
}

bool is_real(const Json& value) {
  return value.is_number_float();
}

}  // namespace jinja

}  // namespace ambit::inference
