#pragma once

// The inputs of a run: one a line of a JSON Lines text, each of which the workflow makes a prompt
// of.

#include "agents/fleet.h"

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace ambit::agents {

struct Input {
  std::string id;
  std::string prompt;
  std::string error;      // not empty: this record cannot be used, for this reason
  std::string record{};   // the JSON object that it came from
  std::string subject{};  // whose data it is
};

// One Input per line of a JSON Lines text; a line that is no JSON object, lacks a field that the
// prompt needs, or repeats an id, gives an Input with an error. Blank lines are left out.
std::vector<Input> read_inputs(const Workflow& workflow, std::string_view json_lines);

// Gives the fields of a record (a JSON object), as text; nullopt: it has none of that name.
std::function<std::optional<std::string>(std::string_view)> fields_of(std::string_view record);

}  // namespace ambit::agents
