#pragma once

// World: everything outside the program that can differ from run to run (clock, network, processes,
// threads, randomness), handed down from main. Tests hand down one made from a seed instead
// (tests/sim), and the whole runtime runs under it, unchanged.

#include "async/loop.h"
#include "async/result.h"
#include "async/task.h"
#include "io/process.h"
#include "io/stream.h"

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>

namespace ambit::io {

class Clock {
 public:
  virtual ~Clock() = default;
  // Nanoseconds since 1970 UTC: for records and expiry dates. For waiting use delay() and
  // Loop::now().
  virtual std::int64_t unix_ns() = 0;
};

class Network {
 public:
  virtual ~Network() = default;
  // Address: "127.0.0.1:80", "[::1]:80", "host:80" or "unix:/path".
  virtual Task<Result<std::unique_ptr<Stream>>> connect(std::string address) = 0;
  virtual Result<std::unique_ptr<Listener>> listen(const std::string& address) = 0;
  // Takes over a connected socket or a pipe end (the other side of a jail's stdio); owns
  // `descriptor`.
  virtual Result<std::unique_ptr<Stream>> adopt(int descriptor) = 0;
};

class Processes {
 public:
  virtual ~Processes() = default;
  virtual Result<std::unique_ptr<Process>> spawn(ProcessOptions options) = 0;
};

// Blocking work (fsync, file reads, hashing of large files) away from the loop. The work runs to
// its end even if nobody waits for it any more.
class Workers {
 public:
  virtual ~Workers() = default;
  virtual Task<void> run(std::function<void()> work) = 0;
};

class Entropy {
 public:
  virtual ~Entropy() = default;
  virtual void fill(std::span<std::uint8_t> bytes) = 0;
};

struct World {
  Loop& loop;
  Clock& clock;
  Network& network;
  Processes& processes;
  Workers& workers;
  Entropy& entropy;
};

}  // namespace ambit::io
