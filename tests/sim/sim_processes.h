#pragma once

// Processes in memory: a program is a coroutine registered under the path that spawn() is given. It
// reads and writes the pipes of a real process, ends with a code, or is killed (its frame is
// destroyed) by signals, by the end of its Process, or by chance.

#include "async/scope.h"
#include "faults.h"
#include "io/world.h"
#include "sim_network.h"
#include "sim_poller.h"

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace ambit::sim {

// What a program sees of the world. Lives as long as the program runs.
struct SimProcessIo {
  io::ProcessOptions options;
  std::unique_ptr<io::Stream> input;
  std::unique_ptr<io::Stream> output;
  std::unique_ptr<io::Stream> errors;
};

using SimProgram = std::function<Task<int>(SimProcessIo& io)>;

class SimProcesses final : public io::Processes {
 public:
  SimProcesses(SimPoller& poller, SimNetwork& network, Random random, Faults faults)
      : poller_(poller), network_(network), random_(random), faults_(faults) {}
  void register_program(std::string path, SimProgram program) {
    programs_[std::move(path)] = std::move(program);
  }
  Result<std::unique_ptr<io::Process>> spawn(io::ProcessOptions options) override;
  // Programs that run.
  [[nodiscard]] int live() const { return live_; }

 private:
  class Child;
  class SimProcess;

  SimPoller& poller_;
  SimNetwork& network_;
  Random random_;
  Faults faults_;
  std::map<std::string, SimProgram> programs_;
  std::int64_t next_pid_ = 1000;
  int live_ = 0;
};

}  // namespace ambit::sim
