#include "agents/fleet.h"

#include <algorithm>
#include <cctype>
#include <cmath>

namespace ambit::agents {

std::int64_t Price::micros_of(const Usage& usage) const {
  const auto fresh = static_cast<double>(usage.input_tokens - usage.cached_tokens);
  const double sum = fresh * input + static_cast<double>(usage.cached_tokens) * cached_input +
                     static_cast<double>(usage.output_tokens) * output;
  return static_cast<std::int64_t>(std::ceil(sum));
}

std::optional<std::string> suggestion(std::string_view wrong,
                                      const std::vector<std::string>& known) {
  std::optional<std::string> best;
  // Of one letter, any other letter would be a guess.
  std::size_t best_distance =
      wrong.size() < 2 ? 1
                       : std::max<std::size_t>(1, std::min<std::size_t>(3, wrong.size() / 3)) + 1;
  for (const std::string& candidate : known) {
    // Levenshtein, upper and lower case alike.
    std::vector<std::size_t> row(candidate.size() + 1);
    for (std::size_t j = 0; j < row.size(); ++j) row[j] = j;
    for (std::size_t i = 1; i <= wrong.size(); ++i) {
      std::size_t diagonal = row[0];
      row[0] = i;
      for (std::size_t j = 1; j < row.size(); ++j) {
        const bool same = std::tolower(static_cast<unsigned char>(wrong[i - 1])) ==
                          std::tolower(static_cast<unsigned char>(candidate[j - 1]));
        const std::size_t replaced = diagonal + (same ? 0 : 1);
        diagonal = row[j];
        row[j] = std::min({row[j] + 1, row[j - 1] + 1, replaced});
      }
    }
    if (row.back() < best_distance) {
      best_distance = row.back();
      best = candidate;
    }
  }
  return best;
}

Result<std::string> expand(
    std::string_view text,
    const std::function<std::optional<std::string>(std::string_view)>& value) {
  std::string out;
  std::size_t at = 0;
  while (at < text.size()) {
    if (text.substr(at).starts_with("$${")) {
      out += "${";
      at += 3;
    } else if (text.substr(at).starts_with("${")) {
      const std::size_t end = text.find('}', at);
      if (end == std::string_view::npos)
        return Err(Code::invalid, "\"${\" without \"}\"; write \"$${\" for the text itself");
      const std::string_view name = text.substr(at + 2, end - at - 2);
      auto found = value(name);
      if (!found) return Err(Code::not_found, "nothing is known as ${" + std::string(name) + "}");
      out += *found;
      at = end + 1;
    } else {
      out += text[at++];
    }
  }
  return out;
}

}  // namespace ambit::agents
