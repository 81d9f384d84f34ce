#include "agents/json_writer.h"

#include <algorithm>
#include <charconv>
#include <cstring>

namespace ambit::agents {
namespace {

constexpr std::size_t room_bytes_min = 256;

// Length of the well-formed sequence at `at` (Unicode 15, table 3-7), 0 if there is none.
std::size_t sequence_length(std::string_view text, std::size_t at) {
  const auto byte = [&](std::size_t i) -> unsigned {
    return at + i < text.size() ? static_cast<unsigned char>(text[at + i]) : 0U;
  };
  const auto follows = [&](std::size_t i, unsigned least = 0x80, unsigned most = 0xBF) {
    return byte(i) >= least && byte(i) <= most;
  };
  const unsigned first = byte(0);
  if (first < 0x80) return 1;
  if (first >= 0xC2 && first <= 0xDF) return follows(1) ? 2 : 0;
  if (first >= 0xE0 && first <= 0xEF) {
    const unsigned least = first == 0xE0 ? 0xA0 : 0x80;
    const unsigned most = first == 0xED ? 0x9F : 0xBF;
    return follows(1, least, most) && follows(2) ? 3 : 0;
  }
  if (first >= 0xF0 && first <= 0xF4) {
    const unsigned least = first == 0xF0 ? 0x90 : 0x80;
    const unsigned most = first == 0xF4 ? 0x8F : 0xBF;
    return follows(1, least, most) && follows(2) && follows(3) ? 4 : 0;
  }
  return 0;
}

// Where the first byte lies that is in no well-formed sequence; size() if there is none.
std::size_t malformed_at(std::string_view text) {
  std::size_t at = 0;
  while (at < text.size()) {
    std::uint64_t eight = 0;
    if (at + sizeof eight <= text.size()) {
      std::memcpy(&eight, text.data() + at, sizeof eight);
      if ((eight & 0x8080808080808080ULL) == 0) {
        at += sizeof eight;
        continue;
      }
    }
    const std::size_t length = sequence_length(text, at);
    if (length == 0) return at;
    at += length;
  }
  return at;
}

bool is_plain(char c) {
  return static_cast<unsigned char>(c) >= 0x20 && c != '"' && c != '\\';
}

// Whether a text stands in JSON as it is, and is ASCII: most texts are, and eight bytes of them are
// seen at once.
bool is_plain_ascii(std::string_view text) {
  constexpr std::uint64_t ones = 0x0101010101010101ULL;
  constexpr std::uint64_t highs = 0x8080808080808080ULL;
  const auto has_zero = [](std::uint64_t x) { return (x - ones) & ~x; };
  std::uint64_t odd = 0;
  std::size_t at = 0;
  for (; at + sizeof(std::uint64_t) <= text.size(); at += sizeof(std::uint64_t)) {
    std::uint64_t eight = 0;
    std::memcpy(&eight, text.data() + at, sizeof eight);
    // Below 0x20: a zero remains where the upper three bits of a byte are gone.
    odd |= eight | has_zero(eight & (ones * 0xE0)) | has_zero(eight ^ (ones * '"')) |
           has_zero(eight ^ (ones * '\\'));
  }
  if ((odd & highs) != 0) return false;
  for (; at < text.size(); ++at) {
    if (!is_plain(text[at]) || static_cast<unsigned char>(text[at]) >= 0x80) return false;
  }
  return true;
}

constexpr std::size_t escape_bytes_max = 6;

char* write_escape(char c, char* out) {
  constexpr std::string_view hex = "0123456789abcdef";
  constexpr std::string_view named = "\b\t\n\f\r\"\\";
  constexpr std::string_view letters = "btnfr\"\\";
  *out++ = '\\';
  const std::size_t at = named.find(c);
  if (at != std::string_view::npos) {
    *out++ = letters[at];
    return out;
  }
  for (const char part : {'u', '0', '0', hex[static_cast<unsigned char>(c) >> 4],
                          hex[static_cast<unsigned char>(c) & 0xF]}) {
    *out++ = part;
  }
  return out;
}

char* copied(std::string_view text, char* out) {
  std::memcpy(out, text.data(), text.size());
  return out + text.size();
}

}  // namespace

bool is_utf8(std::string_view text) {
  return malformed_at(text) == text.size();
}

std::string mended_utf8(std::string text) {
  std::size_t bad = malformed_at(text);
  if (bad == text.size()) return text;
  std::string out;
  std::string_view rest = text;
  while (true) {
    out += rest.substr(0, bad);
    if (bad == rest.size()) return out;
    out += "\xEF\xBF\xBD";
    rest.remove_prefix(bad + 1);
    bad = malformed_at(rest);
  }
}

std::size_t whole_characters(std::string_view text) {
  for (std::size_t back = 1; back <= 3 && back <= text.size(); ++back) {
    const auto byte = static_cast<unsigned char>(text[text.size() - back]);
    if ((byte & 0xC0U) == 0x80U) continue;
    const std::size_t length = byte >= 0xF0U ? 4 : byte >= 0xE0U ? 3 : byte >= 0xC0U ? 2 : 1;
    return length > back ? text.size() - back : text.size();
  }
  return text.size();
}

// Where `bytes` more can be written, after a comma where one is due.
char* JsonWriter::room(std::size_t bytes) {
  if (used_ + bytes + 1 > out_.size()) {
    out_.resize(std::max(out_.capacity(), 2 * used_ + bytes + room_bytes_min));
  }
  char* at = out_.data() + used_;
  if (!first_) *at++ = ',';
  return at;
}

// All before `end` is written.
void JsonWriter::took(const char* end) {
  used_ = static_cast<std::size_t>(end - out_.data());
  first_ = false;
  if (depth_ == 0) out_.resize(used_);
}

JsonWriter& JsonWriter::open(char bracket) {
  char* at = room(1);
  *at++ = bracket;
  ++depth_;
  took(at);
  first_ = true;
  return *this;
}

JsonWriter& JsonWriter::close(char bracket) {
  first_ = true;
  char* at = room(1);
  *at++ = bracket;
  --depth_;
  took(at);
  return *this;
}

JsonWriter& JsonWriter::begin_object() {
  return open('{');
}

JsonWriter& JsonWriter::end_object() {
  return close('}');
}

JsonWriter& JsonWriter::begin_array() {
  return open('[');
}

JsonWriter& JsonWriter::end_array() {
  return close(']');
}

JsonWriter& JsonWriter::key(std::string_view name) {
  char* at = room(name.size() + 3);
  *at++ = '"';
  at = copied(name, at);
  *at++ = '"';
  *at++ = ':';
  took(at);
  first_ = true;
  return *this;
}

JsonWriter& JsonWriter::foreign_key(std::string_view name) {
  quoted(name);
  char* at = out_.data() + used_;
  *at++ = ':';
  took(at);
  first_ = true;
  return *this;
}

JsonWriter& JsonWriter::text(std::string_view value) {
  if (is_plain_ascii(value)) {
    char* at = room(value.size() + 2);
    *at++ = '"';
    at = copied(value, at);
    *at++ = '"';
    took(at);
  } else if (is_utf8(value)) {
    quoted(value);
  } else {
    quoted(mended_utf8(std::string(value)));
  }
  return *this;
}

JsonWriter& JsonWriter::integer(std::int64_t value) {
  constexpr std::size_t digits_max = 20;
  char* at = room(digits_max);
  took(std::to_chars(at, at + digits_max, value).ptr);
  return *this;
}

JsonWriter& JsonWriter::raw(std::string_view json) {
  took(copied(json, room(json.size())));
  return *this;
}

JsonWriter& JsonWriter::boolean(bool value) {
  const std::string_view name = value ? "true" : "false";
  took(copied(name, room(name.size())));
  return *this;
}

// Leaves room for one byte more.
void JsonWriter::quoted(std::string_view value) {
  const auto plain = std::count_if(value.begin(), value.end(), is_plain);
  const std::size_t escapes = value.size() - static_cast<std::size_t>(plain);
  char* at = room(value.size() + (escape_bytes_max - 1) * escapes + 3);
  *at++ = '"';
  for (const char c : value) {
    if (is_plain(c)) {
      *at++ = c;
    } else {
      at = write_escape(c, at);
    }
  }
  *at++ = '"';
  took(at);
}

}  // namespace ambit::agents
