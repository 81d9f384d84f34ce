#pragma once

// A fleet file from disk, with what the reader of it needs from the world.

#include "agents/fleet.h"
#include "app/command.h"

#include <string>

namespace ambit::app {

// An error only if the file cannot be read at all; mistakes in it are in FleetFile::problems.
Result<agents::FleetFile> load_fleet(const Context& context, const std::string& path);

// "fleet.json:12:7: agents.clerk.toolz: unknown key"
std::string problem_line(const std::string& path, const agents::Problem& problem);

}  // namespace ambit::app
