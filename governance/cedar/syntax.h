#pragma once

// What the text form and the JSON form share: the tables of functions and methods, the reserved
// words, the checks of a policy's parts, and the one way to put a node together (which bounds the
// depth).

#include "cedar/policy.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ambit::cedar {

// A function (`ip("...")`) or a method (`x.isIpv4()`); `arguments` counts those in the parentheses.
struct Callable {
  Operator op = Operator::call;
  Function function = Function::decimal;
  std::size_t arguments = 0;
};

std::optional<Callable> find_function(std::string_view name);
std::optional<Callable> find_method(std::string_view name);
// The name of a function or a method, as policies write it.
std::string_view callable_name(Operator op, Function function);
// A function of its own (`ip(...)`) and no method.
bool is_function(Function function);
bool is_reserved(std::string_view word);
// A letter or underscore, then letters, digits, underscores; not reserved.
bool is_identifier(std::string_view text);
// Identifiers joined by `::`.
bool is_path(std::string_view text);
// Whether the last part of the type is `Action`, as that of every action must be.
bool is_action_type(std::string_view type);

// A node over `operands`. Fails if the tree would be deeper than the limit.
Result<Expression> make_node(Operator op, Position where, std::vector<Expression> operands,
                             const Limits& limits);

// Sorts the fields of a record literal; the name of a field given twice, or empty.
std::optional<std::string> sort_fields(Expression& record);

}  // namespace ambit::cedar
