#include "mcp/oauth_form.h"

#include "jose/base64url.h"
#include "jose/key.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cctype>

namespace ambit::mcp {

using rpc::Json;

namespace {

std::string unescaped(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto digit = [](char c) {
      const std::size_t at =
          std::string_view("0123456789abcdef")
              .find(static_cast<char>(std::tolower(static_cast<unsigned char>(c))));
      return at == std::string_view::npos ? -1 : static_cast<int>(at);
    };
    if (text[i] == '%' && i + 2 < text.size() && digit(text[i + 1]) >= 0 &&
        digit(text[i + 2]) >= 0) {
      out += static_cast<char>(digit(text[i + 1]) * 16 + digit(text[i + 2]));
      i += 2;
    } else {
      out += text[i] == '+' ? ' ' : text[i];
    }
  }
  return out;
}

}  // namespace

std::string escaped(std::string_view text) {
  constexpr std::string_view hex = "0123456789ABCDEF";
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (std::isalnum(byte) != 0 || std::string_view("-._~").find(c) != std::string_view::npos) {
      out += c;
    } else {
      out += '%';
      out += hex[byte >> 4U];
      out += hex[byte & 15U];
    }
  }
  return out;
}

std::string to_query(const Form& form) {
  std::string text;
  for (const auto& [key, value] : form) {
    text += (text.empty() ? "" : "&") + escaped(key) + "=" + escaped(value);
  }
  return text;
}

Form from_query(std::string_view query) {
  Form form;
  while (!query.empty()) {
    const std::string_view pair = query.substr(0, query.find('&'));
    const std::size_t equals = std::min(pair.find('='), pair.size());
    form.emplace(unescaped(pair.substr(0, equals)),
                 unescaped(pair.substr(std::min(equals + 1, pair.size()))));
    query.remove_prefix(std::min(pair.size() + 1, query.size()));
  }
  return form;
}

std::string text_in(const Json& json, const char* key) {
  return json.is_object() && json.contains(key) && json[key].is_string()
             ? json[key].get<std::string>()
             : "";
}

bool lists(const Json& json, const char* key, std::string_view wanted) {
  if (!json.is_object() || !json.contains(key) || !json[key].is_array()) return false;
  return std::any_of(json[key].begin(), json[key].end(),
                     [&](const Json& item) { return item.is_string() && item == wanted; });
}

std::string sha256_base64url(std::string_view text) {
  return jose::to_base64url(jose::sha256(text));
}

}  // namespace ambit::mcp
