#pragma once

// JsonWriter: JSON text made by appending to a string, for what is written thousands of times a
// second. Strings come out as RFC 8785 (canonical JSON) wants them; the order of the members is the
// caller's. Text that is no UTF-8 is mended. The string holds the value once it is whole; before,
// it may end in bytes that mean nothing.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace ambit::agents {

[[nodiscard]] bool is_utf8(std::string_view text);
// `text` with U+FFFD in the place of every byte that belongs to no well-formed UTF-8 sequence.
std::string mended_utf8(std::string text);
// How many bytes of a text stand for themselves whatever follows: all but a character that is begun
// at its end.
[[nodiscard]] std::size_t whole_characters(std::string_view text);

class JsonWriter {
 public:
  // Appends one value to `out`.
  explicit JsonWriter(std::string& out) : out_(out), used_(out.size()) {}

  JsonWriter& begin_object();
  JsonWriter& end_object();
  JsonWriter& begin_array();
  JsonWriter& end_array();
  // Names are ours: plain ASCII without quotes.
  JsonWriter& key(std::string_view name);
  // A name that somebody else chose.
  JsonWriter& foreign_key(std::string_view name);
  JsonWriter& text(std::string_view value);
  JsonWriter& integer(std::int64_t value);
  JsonWriter& boolean(bool value);
  // One value that is JSON already.
  JsonWriter& raw(std::string_view json);

 private:
  char* room(std::size_t bytes);
  void took(const char* end);
  JsonWriter& open(char bracket);
  JsonWriter& close(char bracket);
  void quoted(std::string_view value);

  std::string& out_;
  std::size_t used_;
  int depth_ = 0;
  bool first_ = true;  // no comma before what comes next
};

}  // namespace ambit::agents
