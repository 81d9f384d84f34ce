#pragma once

// The attacks on limits: each tries to take more than its share until it is stopped. Part of the
// attacker.

namespace attack {

// Does not return if the jail ends it; 0: it was held to its share, 42: it was not, 2: no such
// bomb.
int bomb(const char* name);

}  // namespace attack
