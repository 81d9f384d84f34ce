#pragma once

// Signals of the operating system as something to await (Ctrl-C, a supervisor's SIGTERM). While a
// Signals lives, its numbers do not end the program; they are kept until next() asks for them.

#include "async/task.h"

namespace ambit::io {

class Signals {
 public:
  virtual ~Signals() = default;
  // The number of the next signal; one that came before is given at once. Repeats of one number
  // that nobody has asked for yet count as one.
  virtual Task<int> next() = 0;
};

// Until any of them comes.
inline Task<void> until_signal(Signals& signals) {
  co_await signals.next();
}

}  // namespace ambit::io
