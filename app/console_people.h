#pragma once

// Who may use the console: from a file of tokens, or a list of names and roles.

#include "async/result.h"
#include "console/access.h"

#include <string>
#include <vector>

namespace ambit::app {

// "TOKEN NAME ROLE" a line; '#' begins a comment.
Result<void> read_console_tokens(const std::string& path, console::Access& access);
// "ann:reviewer,olga:owner".
Result<std::vector<console::Person>> parse_people(const std::string& text);

}  // namespace ambit::app
