#pragma once

// Import: agent files of other hosts, as a fleet file. What cannot be taken over is named, never
// guessed. Pure: files are read and written by whoever calls.

#include "async/result.h"

#include <string>
#include <vector>

namespace ambit::app {

struct ImportOptions {
  std::string name;   // of the source file, for its kind and for names
  std::string model;  // the model of agents whose own cannot be used here: a .gguf or a script
  std::string prompt = "${text}";
};

struct Imported {
  std::string kind;      // "mcpServers", "Claude agent", "Open Agent Spec", "Docker Agent"
  std::string fleet;     // the fleet file, JSON
  std::string policies;  // a Cedar file for it: read freely, ask before anything else
  std::vector<std::string> left_out;  // what was not taken over, and why
};

// Errors (invalid): none of the kinds that are known.
Result<Imported> import_agents(const std::string& text, const ImportOptions& options);

}  // namespace ambit::app
