#pragma once

// What every soak of jails does: waits until nothing is left or for some seconds, kills supervisors
// with jails running, runs its parts on a program of a name that nothing else has.

#include "left.h"

#include <functional>
#include <string>

namespace ambit::sandbox {

// How many processes of `program` run once none does, or after ten seconds.
int processes_left(const std::string& program);
// What is left once it equals `before`, or after some seconds: the last process of a group dies
// slowly.
Left look_again(const Left& before);
// kill -9 of `rounds` supervisors (this program with "--supervise PROGRAM") at random moments.
// Prints the line of soak `name`; false if anything of them is left.
bool soak_supervisors(const char* name, const std::string& program, int rounds, unsigned seed);

struct Soaks {
  const char* usage;                                           // after the program's name
  int least;                                                   // starts or calls
  std::function<void(const std::string&)> supervise;           // the program: for ever
  std::function<bool(const std::string&, int, unsigned)> all;  // the program, how many, the seed
};
// main() of a soak: "PROGRAM [HOW MANY [SEED]]".
int soak(int count, char** words, const Soaks& soaks);

}  // namespace ambit::sandbox
