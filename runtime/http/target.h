#pragma once

// The parts of a request's target: escapes undone, a query as pairs. Pure.

#include "async/result.h"

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ambit::http {

// None if an escape is broken or stands for a zero byte.
std::optional<std::string> decode_escapes(std::string_view text);

// "/a%20b/c" -> {"a b", "c"}. None if an escape is broken.
std::optional<std::vector<std::string>> split_path(std::string_view path);

using Query = std::vector<std::pair<std::string, std::string>>;
// "a=1&b" -> {{"a", "1"}, {"b", ""}}; '+' is a blank. None if an escape is broken.
std::optional<Query> split_query(std::string_view query);

}  // namespace ambit::http
