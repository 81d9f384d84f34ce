#pragma once

// Readiness of a descriptor that somebody else owns (a library with its own I/O, like libcurl). The
// callback runs on the loop's thread, outside of all tasks; it should only note what happened and
// arm events. It may destroy its own watch. Destroy the watch before its descriptor is closed.

#include "async/result.h"

#include <functional>
#include <memory>

namespace ambit::io {

struct Readiness {
  bool readable = false;
  bool writable = false;
  friend bool operator==(const Readiness&, const Readiness&) = default;
};

class FdWatch {
 public:
  virtual ~FdWatch() = default;
  // What to wait for from now on; nothing set: pause.
  virtual Result<void> want(Readiness wanted) = 0;
};

class FdWatcher {
 public:
  virtual ~FdWatcher() = default;
  // `ready` hears what is ready; both are set when the descriptor is broken.
  virtual Result<std::unique_ptr<FdWatch>> watch(int descriptor,
                                                 std::function<void(Readiness)> ready) = 0;
};

}  // namespace ambit::io
