#pragma once

// Grammars in GBNF, the notation of llama.cpp's grammar files, as byte languages:
//   root  ::= "yes" | "no" ws note?      rules; the text is what `root` says
//   note  ::= [^\n]{1,80} | ( "(" note ")" )
// Literals with escapes (\n \r \t \\ \" \[ \] \xHH \uHHHH \UHHHHHHHH), classes, ".", groups,
// * + ? {n} {n,} {n,m}, alternatives, comments from #. Rules may refer to each other and to
// themselves, but not begin with themselves.

#include "async/result.h"
#include "inference/automaton.h"

#include <string_view>

namespace ambit::inference {

// Errors say the line. invalid: it is not such a grammar, a rule is missing or begins with itself,
// or no text fits; exhausted: it is too large.
Result<ExpressionId> gbnf_language(Automaton& automaton, std::string_view grammar);

}  // namespace ambit::inference
