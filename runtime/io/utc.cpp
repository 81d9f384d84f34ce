#include "io/utc.h"

#include <array>
#include <cstdio>
#include <ctime>

namespace ambit::io {

std::string utc_text(std::int64_t unix_ns) {
  const std::time_t seconds = unix_ns / 1'000'000'000;
  const auto ms = static_cast<int>(unix_ns / 1'000'000 % 1000);
  std::tm parts{};
  gmtime_r(&seconds, &parts);
  std::array<char, 40> text{};
  const int length = std::snprintf(text.data(), text.size(), "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ",
                                   parts.tm_year + 1900, parts.tm_mon + 1, parts.tm_mday,
                                   parts.tm_hour, parts.tm_min, parts.tm_sec, ms);
  return std::string(text.data(), static_cast<std::size_t>(length));
}

}  // namespace ambit::io
