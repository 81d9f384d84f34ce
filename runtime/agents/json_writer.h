#pragma once

// JsonWriter: JSON text made by appending to a string, for what is written thousands of times a
// second. Strings come out as RFC 8785 (canonical JSON) wants them; the order of the members is the
// caller's. Text that is no UTF-8 is mended.

#include <cstdint>
#include <string>
#include <string_view>

namespace ambit::agents {

// `text` with U+FFFD in the place of every byte that belongs to no well-formed UTF-8 sequence.
std::string mended_utf8(std::string text);

class JsonWriter {
 public:
  explicit JsonWriter(std::string& out) : out_(out) {}

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

 private:
  void separate();
  void quoted(std::string_view value);

  std::string& out_;
  bool first_ = true;  // no comma before what comes next
};

}  // namespace ambit::agents
