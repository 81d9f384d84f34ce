#pragma once

// HTTP messages as values: Request, Response and their Headers, whose names compare without regard
// to case and keep their order. Nothing here knows a socket.

#include "async/result.h"

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace ambit::http {

// Of an ASCII letter, whatever the locale.
constexpr char lower(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

struct Header {
  std::string name;
  std::string value;
  friend bool operator==(const Header&, const Header&) = default;
};

class Headers {
 public:
  Headers() = default;
  Headers(std::initializer_list<Header> headers) : all_(headers) {}

  // The first value under this name.
  [[nodiscard]] std::optional<std::string_view> find(std::string_view name) const;
  [[nodiscard]] bool has(std::string_view name) const { return find(name).has_value(); }
  [[nodiscard]] std::size_t count(std::string_view name) const;
  // Beside others of the same name.
  void add(std::string name, std::string value);
  // Instead of others of the same name.
  void set(std::string name, std::string value);
  void remove(std::string_view name);

  [[nodiscard]] auto begin() const { return all_.begin(); }
  [[nodiscard]] auto end() const { return all_.end(); }
  [[nodiscard]] std::size_t size() const { return all_.size(); }
  [[nodiscard]] bool empty() const { return all_.empty(); }
  friend bool operator==(const Headers&, const Headers&) = default;

 private:
  std::vector<Header> all_;
};

struct Request {
  std::string method = "GET";
  std::string url;  // absolute, http or https
  Headers headers;
  std::string body;
  friend bool operator==(const Request&, const Request&) = default;
};

struct Response {
  int status = 0;
  Headers headers;
  std::string body;
  [[nodiscard]] bool is_success() const { return status >= 200 && status < 300; }
  friend bool operator==(const Response&, const Response&) = default;
};

// Letters, digits and !#$%&'*+-.^_`|~ (RFC 9110, 5.6.2): methods and header names.
bool is_token(std::string_view text);
// No control characters but tab, no blank at either end (RFC 9110, 5.5).
bool is_header_value(std::string_view text);
bool same_name(std::string_view a, std::string_view b);
// The media type without parameters, in lower case: "text/event-stream"; empty if there is none.
std::string media_type(const Headers& headers);

}  // namespace ambit::http
