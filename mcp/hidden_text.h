#pragma once

// Characters that a person does not see and a model reads: controls, text that runs the other way,
// tags, fillers. Servers hide instructions in them; in what they define and in what their tools
// answer they are shown for what they are.

#include <string>
#include <string_view>

namespace ambit::mcp {

// Whether there is anything that revealed() would change. `text` is UTF-8. Joiners, direction marks
// and variation selectors are letters to some scripts and emoji: alone they stay, two in a row do
// not.
bool hides_text(std::string_view text);
// The same with "<U+202E>" in the place of each such character. Up to three times as long.
std::string revealed(std::string_view text);

}  // namespace ambit::mcp
