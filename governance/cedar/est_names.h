#pragma once

// How the JSON form names the operators of two operands, for the reader and the writer of it.

#include "cedar/policy.h"

#include <array>

namespace ambit::cedar {

struct BinaryName {
  const char* name;
  Operator op;
};
inline constexpr std::array<BinaryName, 17> binary_names = {{
    {"==", Operator::equal},
    {"!=", Operator::not_equal},
    {"<", Operator::less},
    {"<=", Operator::less_equal},
    {">", Operator::greater},
    {">=", Operator::greater_equal},
    {"in", Operator::in},
    {"&&", Operator::all},
    {"||", Operator::any},
    {"+", Operator::add},
    {"-", Operator::subtract},
    {"*", Operator::multiply},
    {"contains", Operator::contains},
    {"containsAll", Operator::contains_all},
    {"containsAny", Operator::contains_any},
    {"getTag", Operator::get_tag},
    {"hasTag", Operator::has_tag},
}};

}  // namespace ambit::cedar
