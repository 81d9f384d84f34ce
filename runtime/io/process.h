#pragma once

// A child process with pipes. Destroying a Process kills its whole process group and reaps it;
// nothing is left over. Only trusted helpers of our own (the zygote of a jail) are started this
// way.

#include "io/stream.h"

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace ambit::io {

struct ProcessOptions {
  std::vector<std::string> command;  // [0] is the program's path
  std::vector<std::pair<std::string, std::string>>
      environment;        // the whole of it; nothing is inherited
  std::string directory;  // empty: ours
  std::vector<int>
      inherit;  // open descriptors given to the child as 3, 4, ...; still owned by the caller
};

struct ExitStatus {
  int code = 0;    // of a normal end
  int signal = 0;  // 0: it ended normally
  friend bool operator==(const ExitStatus&, const ExitStatus&) = default;
};

class Process {
 public:
  virtual ~Process() = default;
  virtual Stream& input() = 0;   // its stdin
  virtual Stream& output() = 0;  // its stdout
  virtual Stream& errors() = 0;  // its stderr
  virtual Task<ExitStatus> wait() = 0;
  virtual void signal(int number) = 0;
  [[nodiscard]] virtual std::int64_t pid() const = 0;
};

}  // namespace ambit::io
