#pragma once

// A regular expression (rpc/pattern_tree.h says which) as a byte language.

#include "async/result.h"
#include "inference/automaton.h"
#include "inference/code_points.h"

#include <string_view>

namespace ambit::inference {

enum class Match {
  whole,     // the text is what the expression says
  anywhere,  // a part of the text is, as JSON Schema's `pattern` has it
};

// Anchors are understood at the ends of alternatives; elsewhere they, and \b, are
// Code::unsupported.
Result<ExpressionId> pattern_language(Automaton& automaton, std::string_view expression,
                                      Match match, Spelling spelling);

}  // namespace ambit::inference
