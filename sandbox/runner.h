#pragma once

// The port Runner: every call in a jail of its own, cloned by a zygote that was isolated once for
// the call's profile. Zygotes are pooled by profile, bounded, made anew when they die. Nothing that
// a call started outlives it; cancelling run() or destroying the runner kills at once.

#include "agents/ports.h"
#include "async/waiters.h"
#include "io/world.h"
#include "sandbox/image.h"
#include "sandbox/seccomp.h"
#include "sandbox/zygote_process.h"

#include <chrono>
#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace ambit::sandbox {

class CgroupPool;

struct RunnerOptions {
  std::vector<std::string> forbidden;  // paths that no jail may ever see: keys, the journal
  std::size_t zygotes_max = 32;
  std::size_t calls_max = 128;  // at once, over all zygotes; more wait
  bool cgroups = true;          // use cgroups where this process may; false: rlimits alone
};

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

  [[nodiscard]] std::size_t zygotes() const { return pool_.size(); }
  // What bounds memory and processes here: "cgroup v1", "cgroup v2" or "rlimits".
  [[nodiscard]] std::string limits_by() const;

 private:
  struct Pooled {
    agents::Profile key;  // what two calls must share to share a zygote
    std::shared_ptr<ZygoteProcess> zygote;
    std::uint64_t used = 0;   // a counter: the least recent goes first
    std::size_t claimed = 0;  // calls between being given this zygote and their end
  };
  struct Backoff {
    agents::Profile key;
    int failures = 0;
    Instant not_before{};
  };
  class Claim;
  class Server;

  ZygoteRunner(io::World& world, RunnerOptions options, ZygoteImage image);
  Result<void> check(const agents::Profile& profile) const;
  [[nodiscard]] agents::Profile key_of(agents::Profile profile) const;
  Result<std::shared_ptr<ZygoteProcess>> start_zygote(const agents::Profile& profile, bool server);
  Task<void> take_turn();
  Task<Result<std::unique_ptr<Claim>>> claim(const agents::Profile& profile);
  std::unique_ptr<Claim> find(const agents::Profile& key);
  bool make_room();
  void prune();
  Duration backoff(const agents::Profile& key) const;
  // Hands the call to the claimed zygote, or to a new one if that has died meanwhile.
  Task<Result<std::unique_ptr<ZygoteCall>>> begin(std::unique_ptr<Claim>& claimed,
                                                  const agents::JailCall& call,
                                                  const std::vector<int>& descriptors,
                                                  std::shared_ptr<void> held);
  Task<agents::JailOutcome> run_in_turn(const agents::JailCall& call);

  io::World& world_;
  RunnerOptions options_;
  ZygoteImage image_;
  std::unique_ptr<CgroupPool> cgroups_;
  std::list<Pooled> pool_;
  std::list<Backoff> backoff_;
  std::map<seccomp::Tier, seccomp::Filters> filters_;  // built once a tier
  std::size_t running_ = 0;
  std::uint64_t clock_ = 0;
  std::size_t servers_ = 0;
  Waiters turn_;
  Waiters room_;
};

}  // namespace ambit::sandbox
