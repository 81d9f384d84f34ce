#include "http/target.h"

#include <algorithm>

namespace ambit::http {
namespace {

int digit_of(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// Calls `take` for each part between separators; false from it ends the walk.
template <class F>
bool each_part(std::string_view text, char separator, F take) {
  while (true) {
    const std::size_t end = std::min(text.find(separator), text.size());
    if (!take(text.substr(0, end))) return false;
    if (end == text.size()) return true;
    text.remove_prefix(end + 1);
  }
}

}  // namespace

std::optional<std::string> decode_escapes(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '%') {
      out += text[i];
      continue;
    }
    if (i + 2 >= text.size()) return std::nullopt;
    const int high = digit_of(text[i + 1]);
    const int low = digit_of(text[i + 2]);
    if (high < 0 || low < 0 || high + low == 0) return std::nullopt;
    out += static_cast<char>(high * 16 + low);
    i += 2;
  }
  return out;
}

std::optional<std::vector<std::string>> split_path(std::string_view path) {
  if (path.starts_with('/')) path.remove_prefix(1);
  std::vector<std::string> parts;
  const bool whole = each_part(path, '/', [&](std::string_view part) {
    auto decoded = decode_escapes(part);
    if (decoded) parts.push_back(std::move(*decoded));
    return decoded.has_value();
  });
  if (!whole) return std::nullopt;
  return parts;
}

std::optional<Query> split_query(std::string_view query) {
  Query pairs;
  if (query.empty()) return pairs;
  std::string blanks(query);
  std::replace(blanks.begin(), blanks.end(), '+', ' ');
  const bool whole = each_part(blanks, '&', [&](std::string_view part) {
    const std::size_t equals = std::min(part.find('='), part.size());
    auto name = decode_escapes(part.substr(0, equals));
    auto value = decode_escapes(part.substr(std::min(equals + 1, part.size())));
    if (!name || !value) return false;
    if (!part.empty()) pairs.emplace_back(std::move(*name), std::move(*value));
    return true;
  });
  if (!whole) return std::nullopt;
  return pairs;
}

}  // namespace ambit::http
