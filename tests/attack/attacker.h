#pragma once

// What the attempts of the attacker share: how one says that it worked, and what it is aimed at.

#include <cstdint>
#include <span>
#include <type_traits>
#include <unistd.h>

namespace attack {

inline constexpr int refused = 0;
inline constexpr int escaped = 42;
inline constexpr int not_here = 77;  // this machine has no such thing

// A path or a number outside the jail, from the runner.
inline const char* target = "";

template <class... Arguments>
long call(long number, Arguments... arguments) {
  return syscall(number, arguments...);
}
// Of a condition, or of what a system call gave.
template <class T>
int worked(T result) {
  if constexpr (std::is_same_v<T, bool>) {
    return result ? escaped : refused;
  } else {
    return result >= 0 ? escaped : refused;
  }
}

struct Attempt {
  const char* name;
  int (*make)();
};
std::span<const Attempt> kernel_attempts();
std::span<const Attempt> processes_attempts();
std::span<const Attempt> files_attempts();
std::span<const Attempt> sockets_attempts();

}  // namespace attack
