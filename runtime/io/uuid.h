#pragma once

// UUIDs of RFC 9562 as lower-case text: v4 is all random, v7 begins with the time in milliseconds,
// so that names made later sort later. Both come from the World, so a simulated run makes the same
// ones again.

#include "io/world.h"

#include <string>

namespace ambit::io {

std::string uuid_v4(Entropy& entropy);
std::string uuid_v7(Clock& clock, Entropy& entropy);

}  // namespace ambit::io
