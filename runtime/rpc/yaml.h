#pragma once

// The part of YAML that agent files are written in, as JSON: block mappings and sequences, plain
// and quoted scalars, block texts (| and >), flow lists and mappings, comments. No anchors, tags or
// documents; those are errors, never guesses.

#include "rpc/value.h"

#include <string>
#include <string_view>

namespace ambit::rpc {

// Errors name the line. Mappings keep their order.
Result<Json> parse_yaml(std::string_view text);

// A text that begins with YAML between two lines of "---", as agent and skill files do.
struct FrontMatter {
  Value head;        // an object
  std::string body;  // what follows, without the line breaks before it
};
// A byte order mark before it is passed over. Code::invalid: there is none, it is not closed, it is
// not a mapping, or not of the part of YAML that is read.
Result<FrontMatter> parse_front_matter(std::string_view text);

}  // namespace ambit::rpc
