#pragma once

// The port Runner: every call in a jail of its own, cloned by a zygote that was isolated once for
// the call's profile, most often before the call came (pool.h). Nothing that a call started
// outlives it; cancelling run() or destroying the runner kills at once.

#include "agents/ports.h"
#include "async/channel.h"
#include "io/world.h"
#include "sandbox/pool.h"
#include "sandbox/tool_workers.h"

#include <cstddef>
#include <memory>
#include <string>

namespace ambit::sandbox {

// A server that lives in a jail: an MCP server on stdio. Destroying it kills everything in the
// jail.
class JailedProcess {
 public:
  virtual ~JailedProcess() = default;
  virtual io::Stream& input() = 0;   // its stdin
  virtual io::Stream& output() = 0;  // its stdout
  virtual io::Stream& errors() = 0;  // its stderr
  // How it ended; output and errors of the outcome are empty. One waiter at a time.
  virtual Task<agents::JailOutcome> wait() = 0;
  virtual void kill() = 0;
};

class ZygoteRunner final : public agents::Runner {
 public:
  // Everything in `world` must outlive the runner, and the runner its tasks and JailedProcesses.
  static Result<std::unique_ptr<ZygoteRunner>> open(io::World& world, RunnerOptions options);
  ~ZygoteRunner() override;

  Task<agents::JailOutcome> run(agents::JailCall call) override;
  // Starts a server with a zygote of its own and a /proc that shows its own processes. Its
  // profile's wall_ms and output_bytes do not apply; cpu_ms 0 is no limit. What goes wrong later is
  // heard from wait().
  Result<std::unique_ptr<JailedProcess>> start(agents::JailCall call);

  [[nodiscard]] std::size_t zygotes() const { return pool_.zygotes(); }
  // Jails that wait for a call.
  [[nodiscard]] std::size_t spares() const { return pool_.spares(); }
  // Jails of built-in tools that wait for the next call of their agent.
  [[nodiscard]] std::size_t warm() const { return workers_.idle(); }
  // What bounds memory and processes here: "cgroup v1", "cgroup v2" or "rlimits".
  [[nodiscard]] std::string limits_by() const;

 private:
  class Server;

  ZygoteRunner(io::World& world, RunnerOptions options, ZygoteImage image, Descriptor nothing);
  Result<void> check(agents::JailCall& call);
  Result<void> send(JailPool::Jail& jail, agents::JailCall& call);
  Result<void> open_door(JailPool::Jail& jail, agents::JailCall& call);
  Task<Result<std::unique_ptr<JailPool::Jail>>> begin(agents::JailCall& call);
  Task<agents::JailOutcome> run_in_turn(agents::JailCall& call);

  io::World& world_;
  RunnerOptions options_;
  Descriptor nothing_;  // /dev/null
  std::size_t servers_ = 0;
  Semaphore places_;  // of calls
  JailPool pool_;
  ToolWorkers workers_;
};

}  // namespace ambit::sandbox
