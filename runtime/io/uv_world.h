#pragma once

// UvWorld: the real world, by libuv. main makes one, before everything else, on the thread that
// will run the loop, and hands down world(). Its destructor closes what is still open, kills
// children that still run, waits for work on threads, and CHECKs that libuv holds nothing any more.
// Tasks that use it, and threads that post to its loop, must be gone by then. While it lives,
// SIGPIPE is ignored.

#include "async/loop.h"
#include "io/fd_watch.h"
#include "io/signals.h"
#include "io/world.h"

#include <memory>
#include <vector>

namespace ambit::io {

class UvWorld {
 public:
  UvWorld();
  ~UvWorld();
  UvWorld(const UvWorld&) = delete;
  UvWorld& operator=(const UvWorld&) = delete;

  World& world();
  Loop& loop();
  // For a library that does its own I/O and only needs to know when (http's libcurl).
  FdWatcher& watcher();
  // Catches these signals from now on: `signals({SIGINT, SIGTERM})`, then `co_await
  // signals->next()`.
  Result<std::unique_ptr<Signals>> signals(const std::vector<int>& numbers);

 private:
  struct Parts;
  std::unique_ptr<Parts> parts_;
};

}  // namespace ambit::io
