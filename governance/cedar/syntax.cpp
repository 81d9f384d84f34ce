#include "cedar/syntax.h"

#include <algorithm>
#include <array>
#include <numeric>

namespace ambit::cedar {
namespace {

struct Named {
  std::string_view name;
  Callable callable;
};

constexpr std::array<Named, 4> functions = {{
    {"decimal", {Operator::call, Function::decimal, 1}},
    {"ip", {Operator::call, Function::ip, 1}},
    {"datetime", {Operator::call, Function::datetime, 1}},
    {"duration", {Operator::call, Function::duration, 1}},
}};

constexpr std::array<Named, 24> methods = {{
    {"contains", {Operator::contains, Function::decimal, 1}},
    {"containsAll", {Operator::contains_all, Function::decimal, 1}},
    {"containsAny", {Operator::contains_any, Function::decimal, 1}},
    {"isEmpty", {Operator::is_empty, Function::decimal, 0}},
    {"getTag", {Operator::get_tag, Function::decimal, 1}},
    {"hasTag", {Operator::has_tag, Function::decimal, 1}},
    {"lessThan", {Operator::call, Function::less_than, 1}},
    {"lessThanOrEqual", {Operator::call, Function::less_than_or_equal, 1}},
    {"greaterThan", {Operator::call, Function::greater_than, 1}},
    {"greaterThanOrEqual", {Operator::call, Function::greater_than_or_equal, 1}},
    {"isIpv4", {Operator::call, Function::is_ipv4, 0}},
    {"isIpv6", {Operator::call, Function::is_ipv6, 0}},
    {"isLoopback", {Operator::call, Function::is_loopback, 0}},
    {"isMulticast", {Operator::call, Function::is_multicast, 0}},
    {"isInRange", {Operator::call, Function::is_in_range, 1}},
    {"offset", {Operator::call, Function::offset, 1}},
    {"durationSince", {Operator::call, Function::duration_since, 1}},
    {"toDate", {Operator::call, Function::to_date, 0}},
    {"toTime", {Operator::call, Function::to_time, 0}},
    {"toMilliseconds", {Operator::call, Function::to_milliseconds, 0}},
    {"toSeconds", {Operator::call, Function::to_seconds, 0}},
    {"toMinutes", {Operator::call, Function::to_minutes, 0}},
    {"toHours", {Operator::call, Function::to_hours, 0}},
    {"toDays", {Operator::call, Function::to_days, 0}},
}};

template <std::size_t N>
std::optional<Callable> find(const std::array<Named, N>& table, std::string_view name) {
  for (const Named& entry : table) {
    if (entry.name == name) return entry.callable;
  }
  return std::nullopt;
}

}  // namespace

std::optional<Callable> find_function(std::string_view name) {
  return find(functions, name);
}
std::optional<Callable> find_method(std::string_view name) {
  return find(methods, name);
}

std::string_view callable_name(Operator op, Function function) {
  for (const Named& entry : functions) {
    if (op == Operator::call && entry.callable.function == function) return entry.name;
  }
  for (const Named& entry : methods) {
    const bool same = entry.callable.op == op;
    if (same && (op != Operator::call || entry.callable.function == function)) return entry.name;
  }
  return "?";
}
bool is_function(Function function) {
  return function == Function::decimal || function == Function::ip ||
         function == Function::datetime || function == Function::duration;
}

bool is_reserved(std::string_view word) {
  constexpr std::array<std::string_view, 10> words = {"true", "false", "if",   "then", "else",
                                                      "in",   "is",    "like", "has",  "__cedar"};
  return std::find(words.begin(), words.end(), word) != words.end();
}

bool is_identifier(std::string_view text) {
  if (text.empty() || is_reserved(text)) return false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
    if (!letter && (i == 0 || c < '0' || c > '9')) return false;
  }
  return true;
}

bool is_path(std::string_view text) {
  for (;;) {
    const std::size_t colons = text.find("::");
    if (colons == std::string_view::npos) return is_identifier(text);
    if (!is_identifier(text.substr(0, colons))) return false;
    text.remove_prefix(colons + 2);
  }
}

bool is_action_type(std::string_view type) {
  return type == "Action" || type.ends_with("::Action");
}

Result<Expression> make_node(Operator op, Position where, std::vector<Expression> operands,
                             const Limits& limits) {
  Expression node;
  node.op = op;
  node.where = where;
  for (const Expression& operand : operands) {
    node.depth = std::max(node.depth, static_cast<std::uint16_t>(operand.depth + 1));
  }
  if (node.depth > limits.depth_max) {
    return Err(Code::invalid, "the expression is nested deeper than " +
                                  std::to_string(limits.depth_max) +
                                  " levels; split it into several when clauses or policies");
  }
  node.operands = std::move(operands);
  return node;
}

std::optional<std::string> sort_fields(Expression& record) {
  std::vector<std::size_t> places(record.names.size());
  std::iota(places.begin(), places.end(), std::size_t{0});
  std::sort(places.begin(), places.end(),
            [&record](std::size_t a, std::size_t b) { return record.names[a] < record.names[b]; });
  std::vector<std::string> names;
  std::vector<Expression> operands;
  for (const std::size_t place : places) {
    if (!names.empty() && names.back() == record.names[place]) return names.back();
    names.push_back(std::move(record.names[place]));
    operands.push_back(std::move(record.operands[place]));
  }
  record.names = std::move(names);
  record.operands = std::move(operands);
  return std::nullopt;
}

}  // namespace ambit::cedar
