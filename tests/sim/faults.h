#pragma once

// What may go wrong in a simulated world, and how often. From a seed, each run gets its own mix:
// some runs are nearly clean, some are terrible, so that rare faults also meet long clean
// stretches.

#include "async/loop.h"
#include "random.h"

#include <cstddef>
#include <cstdint>

namespace ambit::sim {

struct Faults {
  Duration latency_min = std::chrono::microseconds(10);
  Duration latency_max = std::chrono::milliseconds(5);
  std::size_t chunk_max = 4096;    // bytes that arrive together
  std::size_t window_max = 65536;  // bytes under way and unread in one direction
  double refuse = 0;               // of a connection, for no good reason
  double reset = 0;                // of a connection, per chunk delivered
  double stall = 0;                // a chunk that takes seconds
  double process_death = 0;        // a program that dies by a signal, per spawn
  double spawn_failure = 0;
  Duration work_max = std::chrono::milliseconds(50);  // of one piece of work on a thread

  static Faults from(Random& random) {
    const double harshness[] = {0, 0.001, 0.01, 0.1};
    const auto some = [&] { return harshness[random.below(4)]; };
    Faults faults;
    faults.latency_max = std::chrono::microseconds(random.between(20, 200'000));
    faults.chunk_max = std::size_t{1} << random.below(14);
    faults.window_max = std::size_t{64} << random.below(11);
    faults.refuse = some();
    faults.reset = some();
    faults.stall = some();
    faults.process_death = some();
    faults.spawn_failure = some();
    faults.work_max = std::chrono::microseconds(random.between(1, 2'000'000));
    return faults;
  }
};

}  // namespace ambit::sim
