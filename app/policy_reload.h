#pragma once

// Policies read again while a fleet runs (SIGHUP, `ambit reload`): the files that the fleet file
// names. A set that is sound is recorded with its hash and its texts, and decides from then on; one
// that is not is recorded as refused, and the old one goes on.

#include "app/assembly.h"

#include <string>

namespace ambit::app {

// What became of it, as a JSON object: {"policySet", "before", "policies"}. Errors: the set that
// was refused, or a record that failed.
Task<Result<std::string>> reload_policies(Assembly& assembly, std::string run, std::string by);

}  // namespace ambit::app
