#include "io/uv_world.h"

#include "async/check.h"
#include "io/uv_network.h"
#include "io/uv_poller.h"
#include "io/uv_process.h"
#include "io/uv_watch.h"
#include "io/uv_workers.h"

#include <sys/random.h>

#include <cerrno>
#include <csignal>
#include <ctime>

namespace ambit::io {
namespace {

class SystemClock final : public Clock {
 public:
  std::int64_t unix_ns() override {
    timespec now{};
    INVARIANT(clock_gettime(CLOCK_REALTIME, &now) == 0);
    return std::int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec;
  }
};

class SystemEntropy final : public Entropy {
 public:
  void fill(std::span<std::uint8_t> bytes) override {
    while (!bytes.empty()) {
      const ssize_t count = getrandom(bytes.data(), bytes.size(), 0);
      INVARIANT(count > 0 || errno == EINTR);
      if (count > 0) bytes = bytes.subspan(static_cast<std::size_t>(count));
    }
  }
};

// A peer that went away is an error of write(), not the end of the program.
class NoSigpipe {
 public:
  NoSigpipe() {
    struct sigaction ignore{};
    ignore.sa_handler = SIG_IGN;
    INVARIANT(sigaction(SIGPIPE, &ignore, &before_) == 0);
  }
  ~NoSigpipe() { sigaction(SIGPIPE, &before_, nullptr); }
  NoSigpipe(const NoSigpipe&) = delete;
  NoSigpipe& operator=(const NoSigpipe&) = delete;

 private:
  struct sigaction before_{};
};

}  // namespace

struct UvWorld::Parts {
  NoSigpipe no_sigpipe;
  UvPoller poller;
  Loop loop{poller};
  SystemClock clock;
  SystemEntropy entropy;
  UvNetwork network{poller.loop()};
  UvProcesses processes{poller.loop()};
  UvWorkers workers{poller.loop()};
  UvFdWatcher watcher{poller.loop()};
  World world{loop, clock, network, processes, workers, entropy};
};

UvWorld::UvWorld() : parts_(std::make_unique<Parts>()) {}
// While the Loop and the Workers still live: ending operations wake tasks and give their places
// back.
UvWorld::~UvWorld() {
  parts_->poller.shut_down();
}

World& UvWorld::world() {
  return parts_->world;
}
Loop& UvWorld::loop() {
  return parts_->loop;
}
FdWatcher& UvWorld::watcher() {
  return parts_->watcher;
}

Result<std::unique_ptr<Signals>> UvWorld::signals(const std::vector<int>& numbers) {
  return make_signals(parts_->poller.loop(), numbers);
}

}  // namespace ambit::io
