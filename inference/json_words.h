#pragma once

// The words of JSON as byte languages: strings, numbers between bounds, lists, literals. After each
// "," and ":" there is one space or none, nothing elsewhere (json.dumps, and the compact form).

#include "inference/automaton.h"

#include <nlohmann/json_fwd.hpp>

#include <cstdint>
#include <optional>

namespace ambit::inference {

struct NumberBounds {
  std::optional<double> least;
  std::optional<double> most;
  bool above = false;  // `least` itself is not in
  bool below = false;  // `most` itself is not in
  [[nodiscard]] bool any() const { return least || most; }
};

class JsonWords {
 public:
  explicit JsonWords(Automaton& automaton) : a_(automaton) {}

  ExpressionId comma();
  ExpressionId colon();
  // One character inside a string: valid UTF-8, or an escape that is no half of a surrogate pair.
  ExpressionId character();
  ExpressionId string(std::uint32_t least = 0, std::uint32_t most = Automaton::unbounded);
  ExpressionId quoted(ExpressionId content);
  // At most 18 digits: every reader takes them.
  ExpressionId integer(const NumberBounds& bounds = {});
  // With bounds there is no exponent.
  ExpressionId number(const NumberBounds& bounds = {});
  ExpressionId list(ExpressionId item, std::uint32_t least = 0,
                    std::uint32_t most = Automaton::unbounded);
  // An object of such members ("key": value).
  ExpressionId map(ExpressionId member, std::uint32_t least = 0,
                   std::uint32_t most = Automaton::unbounded);
  ExpressionId literal(const nlohmann::ordered_json& value);

 private:
  ExpressionId separated(ExpressionId item, std::uint32_t least, std::uint32_t most);
  ExpressionId magnitudes(std::int64_t low, std::int64_t high);
  ExpressionId decimals(std::int64_t low, std::int64_t high, int places);

  Automaton& a_;
};

}  // namespace ambit::inference
