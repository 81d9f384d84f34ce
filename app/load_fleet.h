#pragma once

// A fleet file from disk, with what the reader of it needs from the world.

#include "agents/fleet.h"
#include "app/command.h"

#include <string>

namespace ambit::app {

// An error only if the file cannot be read at all; mistakes in it are in FleetFile::problems.
Result<agents::FleetFile> load_fleet(const Context& context, const std::string& path);

// Which fleet file it is, as records name it: the first 16 hex digits of the SHA-256 of its text.
std::string definition_of(const agents::Fleet& fleet);

// "fleet.json:12:7: agents.clerk.toolz: unknown key"
std::string problem_line(const std::string& path, const agents::Problem& problem);

}  // namespace ambit::app
