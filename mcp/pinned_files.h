#pragma once

// The files that a server is made of, pinned by their content: a program that was changed is not
// started.

#include "async/result.h"

#include <string>
#include <utility>
#include <vector>

namespace ambit::mcp {

using FilePins = std::vector<std::pair<std::string, std::string>>;  // absolute path, SHA-256 hex

// Code::denied: one of them is not what it was, or is not there. Blocks while it reads them.
Result<void> check_files(const FilePins& pins);

}  // namespace ambit::mcp
