#include "inference/json_words.h"

#include "inference/code_points.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

namespace ambit::inference {
namespace {

constexpr std::int64_t integer_max = 999'999'999'999'999'999;
constexpr int places_max = 8;          // behind the point, of bounds
constexpr double scaled_max = 9.0e17;  // of a bound, in units of the last place

ExpressionId range(Automaton& a, unsigned char first, unsigned char last) {
  ByteSet set;
  for (unsigned c = first; c <= last; ++c) set.set(c);
  return a.bytes(set);
}

ExpressionId any_of(Automaton& a, std::string_view characters) {
  ByteSet set;
  for (const char c : characters) set.set(static_cast<unsigned char>(c));
  return a.bytes(set);
}

std::int64_t power_of_ten(int exponent) {
  std::int64_t power = 1;
  while (exponent-- > 0) power *= 10;
  return power;
}

std::string padded(std::int64_t value, std::size_t width) {
  std::string digits = std::to_string(value);
  return std::string(width - std::min(width, digits.size()), '0') + digits;
}

// Bounds in whole units of 10^-places, both in.
struct Whole {
  std::int64_t low, high;
};
Whole whole(const NumberBounds& bounds, int places) {
  const auto scale = static_cast<double>(power_of_ten(places));
  const double limit = std::min(scaled_max, static_cast<double>(integer_max));
  const double least = std::clamp(bounds.least.value_or(-limit) * scale, -limit, limit);
  const double most = std::clamp(bounds.most.value_or(limit) * scale, -limit, limit);
  double low = std::ceil(least);
  double high = std::floor(most);
  // What was written in decimals is a hair off in binary.
  if (std::round(least) != low && std::abs(least - std::round(least)) < 1e-6)
    low = std::round(least);
  if (std::round(most) != high && std::abs(most - std::round(most)) < 1e-6) high = std::round(most);
  if (bounds.least && bounds.above && low == std::round(least) && std::abs(low - least) < 1e-6)
    ++low;
  if (bounds.most && bounds.below && high == std::round(most) && std::abs(high - most) < 1e-6)
    --high;
  return {static_cast<std::int64_t>(low), static_cast<std::int64_t>(high)};
}

int places_of(double value) {
  double scaled = std::abs(value);
  for (int places = 0; places < places_max; ++places, scaled *= 10)
    if (std::abs(scaled - std::round(scaled)) < 1e-9 * std::max(1.0, scaled)) return places;
  return places_max;
}

}  // namespace

ExpressionId JsonWords::comma() {
  return a_.sequence(a_.text(","), a_.optional(a_.text(" ")));
}

ExpressionId JsonWords::colon() {
  return a_.sequence(a_.text(":"), a_.optional(a_.text(" ")));
}

ExpressionId JsonWords::character() {
  const ExpressionId plain =
      one_of(a_, {{0x20, '!'}, {'#', '['}, {']', 0x10FFFF}}, Spelling::plain);
  const ExpressionId hex = any_of(a_, "0123456789abcdefABCDEF");
  const ExpressionId other_than_surrogate =
      a_.either({a_.sequence({any_of(a_, "0123456789abcefABCEF"), hex, hex, hex}),
                 a_.sequence({any_of(a_, "dD"), range(a_, '0', '7'), hex, hex})});
  const ExpressionId pair =
      a_.sequence({any_of(a_, "dD"), any_of(a_, "89abAB"), hex, hex, a_.text("\\u"),
                   any_of(a_, "dD"), any_of(a_, "cdefCDEF"), hex, hex});
  return a_.either({plain, a_.sequence(a_.text("\\"), any_of(a_, "\"\\/bfnrt")),
                    a_.sequence(a_.text("\\u"), a_.either({other_than_surrogate, pair}))});
}

ExpressionId JsonWords::quoted(ExpressionId content) {
  return a_.sequence({a_.text("\""), content, a_.text("\"")});
}

ExpressionId JsonWords::string(std::uint32_t least, std::uint32_t most) {
  return quoted(a_.repeat(character(), least, most));
}

// Without leading zeros, one length after the other.
ExpressionId JsonWords::magnitudes(std::int64_t low, std::int64_t high) {
  std::vector<ExpressionId> choices;
  for (std::size_t width = 1; width <= 18; ++width) {
    const std::int64_t least = width == 1 ? 0 : power_of_ten(static_cast<int>(width) - 1);
    const std::int64_t most = power_of_ten(static_cast<int>(width)) - 1;
    const std::int64_t from = std::max(low, least);
    const std::int64_t to = std::min(high, most);
    if (from <= to)
      choices.push_back(texts_between(a_, padded(from, width), padded(to, width), '0', '9'));
  }
  return a_.either(choices);
}

// From `low` to `high` units of 10^-places, not negative, written with so many places.
ExpressionId JsonWords::decimals(std::int64_t low, std::int64_t high, int places) {
  if (low > high) return Automaton::never;
  if (places == 0) return magnitudes(low, high);
  const std::int64_t unit = power_of_ten(places);
  const auto width = static_cast<std::size_t>(places);
  const auto with = [&](ExpressionId front, std::int64_t from, std::int64_t to) {
    return a_.sequence(
        {front, a_.text("."), texts_between(a_, padded(from, width), padded(to, width), '0', '9')});
  };
  const std::int64_t first = low / unit;
  const std::int64_t last = high / unit;
  if (first == last) return with(magnitudes(first, first), low % unit, high % unit);
  return a_.either({with(magnitudes(first, first), low % unit, unit - 1),
                    with(magnitudes(first + 1, last - 1), 0, unit - 1),
                    with(magnitudes(last, last), 0, high % unit)});
}

ExpressionId JsonWords::integer(const NumberBounds& bounds) {
  if (!bounds.any()) {
    const ExpressionId digits =
        a_.sequence(range(a_, '1', '9'), a_.repeat(range(a_, '0', '9'), 0, 17));
    return a_.sequence(a_.optional(a_.text("-")), a_.either({a_.text("0"), digits}));
  }
  const auto [low, high] = whole(bounds, 0);
  const ExpressionId positive = magnitudes(std::max<std::int64_t>(low, 0), high);
  const ExpressionId negative =
      low < 0 ? magnitudes(std::max<std::int64_t>(-high, 1), -low) : Automaton::never;
  return a_.either({positive, a_.sequence(a_.text("-"), negative)});
}

ExpressionId JsonWords::number(const NumberBounds& bounds) {
  const ExpressionId digit = range(a_, '0', '9');
  if (!bounds.any()) {
    const ExpressionId fraction = a_.sequence(a_.text("."), a_.repeat(digit, 1, 17));
    const ExpressionId exponent =
        a_.sequence({any_of(a_, "eE"), a_.optional(any_of(a_, "+-")), a_.repeat(digit, 1, 2)});
    return a_.sequence({integer(), a_.optional(fraction), a_.optional(exponent)});
  }
  // Numbers with up to `places` digits behind the point by their bounds; with more digits, those
  // whose next neighbours of `places` digits are both in.
  const int places = std::min(places_max, 1 + std::max(places_of(bounds.least.value_or(0)),
                                                       places_of(bounds.most.value_or(0))));
  std::vector<ExpressionId> choices;
  const ExpressionId minus = a_.text("-");
  for (int each = 0; each <= places; ++each) {
    const auto [low, high] = whole(bounds, each);
    choices.push_back(decimals(std::max<std::int64_t>(low, 0), high, each));
    if (low < 0)
      choices.push_back(a_.sequence(minus, decimals(std::max<std::int64_t>(-high, 1), -low, each)));
  }
  const auto [low, high] = whole(bounds, places);
  const ExpressionId more = a_.repeat(digit, 1, 12);
  choices.push_back(a_.sequence(decimals(std::max<std::int64_t>(low, 0), high - 1, places), more));
  if (low < 0)
    choices.push_back(
        a_.sequence({minus, decimals(std::max<std::int64_t>(-high, 0), -low - 1, places), more}));
  return a_.either(choices);
}

ExpressionId JsonWords::separated(ExpressionId item, std::uint32_t least, std::uint32_t most) {
  if (most == 0) return Automaton::nothing;
  const ExpressionId rest = a_.repeat(a_.sequence(comma(), item), least > 0 ? least - 1 : 0,
                                      most == Automaton::unbounded ? most : most - 1);
  const ExpressionId some = a_.sequence(item, rest);
  return least == 0 ? a_.optional(some) : some;
}

ExpressionId JsonWords::list(ExpressionId item, std::uint32_t least, std::uint32_t most) {
  return a_.sequence({a_.text("["), separated(item, least, most), a_.text("]")});
}

ExpressionId JsonWords::map(ExpressionId member, std::uint32_t least, std::uint32_t most) {
  return a_.sequence({a_.text("{"), separated(member, least, most), a_.text("}")});
}

ExpressionId JsonWords::literal(const nlohmann::ordered_json& value) {
  using Json = nlohmann::ordered_json;
  if (!value.is_array() && !value.is_object())
    return a_.text(value.dump(-1, ' ', false, Json::error_handler_t::replace));
  const bool object = value.is_object();
  std::vector<ExpressionId> parts;
  for (auto it = value.begin(); it != value.end(); ++it) {
    if (!parts.empty()) parts.push_back(comma());
    if (object) parts.push_back(a_.sequence(literal(Json(it.key())), colon()));
    parts.push_back(literal(*it));
  }
  ExpressionId tail = a_.text(object ? "}" : "]");
  for (auto part = parts.rbegin(); part != parts.rend(); ++part) tail = a_.sequence(*part, tail);
  return a_.sequence(a_.text(object ? "{" : "["), tail);
}

}  // namespace ambit::inference
