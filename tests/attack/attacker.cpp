// The attacker: a static program that makes one attempt by name and says by its exit status how it
// went. 0: refused; 42: it worked; 77: this machine has no such thing. The runner starts it in a
// jail and, as a positive control, outside or in a box that holds nothing back: an attempt that
// fails there too proves nothing.

#include "attacker.h"

#include "bombs.h"

#include <cstdlib>
#include <cstring>

namespace {

// Ends the program in a jail, so reaching the end is the escape.
int wire(const char* number) {
  return attack::call(std::atol(number), 0, 0, 0, 0, 0, 0), attack::escaped;
}

}  // namespace

int main(int count, char** words) {
  if (count < 2) return 2;
  if (count > 2) attack::target = words[2];
  if (std::strcmp(words[1], "wire") == 0) return wire(attack::target);
  if (std::strcmp(words[1], "bomb") == 0) return attack::bomb(attack::target);
  for (const auto attempts : {attack::kernel_attempts(), attack::processes_attempts(),
                              attack::files_attempts(), attack::sockets_attempts()})
    for (const attack::Attempt& attempt : attempts)
      if (std::strcmp(attempt.name, words[1]) == 0) return attempt.make();
  return 2;
}
