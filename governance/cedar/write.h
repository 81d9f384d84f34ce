#pragma once

// Policies and expressions as text again: canonical spacing, parentheses only where they are
// needed, and the same policy when it is read.

#include "cedar/policy.h"

#include <string>

namespace ambit::cedar {

std::string to_text(const Expression& expression);
// The scope's part after the variable's name: ` == User::"ada"`; empty for anything.
std::string to_text(const Scope& scope, std::string_view variable);
// From the first annotation to the semicolon.
std::string to_text(const Policy& policy);
std::string to_text(const Pattern& pattern);

}  // namespace ambit::cedar
