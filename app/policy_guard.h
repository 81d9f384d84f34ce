#pragma once

// The guard that the commands of `ambit policy` decide with.

#include "app/command.h"
#include "governance/guard.h"

#include <memory>
#include <string>

namespace ambit::app {

// Of a fleet file, or of one policy file (.cedar, or .cedar.json in Cedar's JSON form).
Result<std::unique_ptr<governance::PolicyGuard>> open_guard(const Options& options,
                                                            const Context& context,
                                                            const std::string& path);

inline const OptionSpec fleet_option = {"fleet", "NAME",
                                        "with a policy file: the fleet that the agents are in"};

}  // namespace ambit::app
