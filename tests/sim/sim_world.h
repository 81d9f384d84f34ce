#pragma once

// SimWorld: every part of io::World, made from one seed. Time costs nothing, faults come as the
// seed says, and the same seed gives the same run: trace() is the proof. The whole runtime runs in
// it unchanged.

#include "faults.h"
#include "io/world.h"
#include "random.h"
#include "sim_network.h"
#include "sim_poller.h"
#include "sim_processes.h"

#include <cstdint>
#include <functional>

namespace ambit::sim {

class SimClock final : public io::Clock {
 public:
  explicit SimClock(SimPoller& poller) : poller_(poller) {}
  std::int64_t unix_ns() override { return origin_ns + poller_.now().count() + offset_.count(); }
  // What an operator or a time server may do to a wall clock; deadlines must not care.
  void jump(Duration by) { offset_ += by; }

 private:
  static constexpr std::int64_t origin_ns = 1'800'000'000'000'000'000;
  SimPoller& poller_;
  Duration offset_{};
};

// Work is done at a random later moment, each piece alone, whether anybody waits or not.
class SimWorkers final : public io::Workers {
 public:
  SimWorkers(SimPoller& poller, Random random, Duration work_max)
      : poller_(poller), random_(random), work_max_(work_max) {}
  Task<void> run(std::function<void()> work) override;
  [[nodiscard]] int live() const { return live_; }

 private:
  SimPoller& poller_;
  Random random_;
  Duration work_max_;
  int live_ = 0;
};

class SimEntropy final : public io::Entropy {
 public:
  explicit SimEntropy(Random random) : random_(random) {}
  void fill(std::span<std::uint8_t> bytes) override {
    for (std::uint8_t& byte : bytes) byte = static_cast<std::uint8_t>(random_.next());
  }

 private:
  Random random_;
};

class SimWorld {
 public:
  explicit SimWorld(std::uint64_t seed);
  SimWorld(std::uint64_t seed, Faults faults);
  SimWorld(const SimWorld&) = delete;
  SimWorld& operator=(const SimWorld&) = delete;

  io::World& world() { return world_; }
  Loop& loop() { return loop_; }
  SimPoller& poller() { return poller_; }
  SimClock& clock() { return clock_; }
  SimNetwork& network() { return network_; }
  SimProcesses& processes() { return processes_; }
  SimWorkers& workers() { return workers_; }
  [[nodiscard]] const Faults& faults() const { return faults_; }
  // For the scenario's own choices.
  Random& random() { return random_; }
  Trace& trace() { return poller_.trace(); }

 private:
  SimWorld(Random random, Faults faults);

  Random random_;
  Faults faults_;
  SimPoller poller_;
  Loop loop_{poller_};
  SimClock clock_{poller_};
  SimEntropy entropy_;
  SimNetwork network_;
  SimProcesses processes_;
  SimWorkers workers_;
  io::World world_{loop_, clock_, network_, processes_, workers_, entropy_};
};

}  // namespace ambit::sim
