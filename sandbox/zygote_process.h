#pragma once

// One running zygote, as the supervisor holds it: sends it calls, hands each report to whoever
// waits for it. Destroying it ends the zygote and with it every jail that it has made. A zygote
// that dies fails all its calls and stays dead; its owner makes another.

#include "agents/ports.h"
#include "async/scope.h"
#include "async/waiters.h"
#include "io/world.h"
#include "sandbox/protocol.h"

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>

namespace ambit::sandbox {

// One call's place in a zygote. Destroying it kills the call, if it still runs.
class ZygoteCall;

class ZygoteProcess final : public std::enable_shared_from_this<ZygoteProcess> {
 public:
  // `program` is the zygote's path, `spec` its first frame; whether that worked is heard later, as
  // the end of the first call or by dead().
  static Result<std::shared_ptr<ZygoteProcess>> start(io::World& world, const std::string& program,
                                                      const std::string& spec,
                                                      const agents::Profile& profile);
  ZygoteProcess(const ZygoteProcess&) = delete;
  ZygoteProcess& operator=(const ZygoteProcess&) = delete;
  ~ZygoteProcess();

  // Sends a call; `descriptors` are stdin, stdout, stderr and cgroups to join, still owned by the
  // caller. `held` is let go when the zygote says that nothing of the call is left (the lease of
  // its cgroups). Code::closed: it is gone, and the call has not begun.
  Result<std::unique_ptr<ZygoteCall>> begin(const agents::JailCall& call,
                                            std::span<const int> descriptors,
                                            std::shared_ptr<void> held);

  // Kills it, and so its jails, now.
  void end();
  [[nodiscard]] std::size_t running() const { return calls_.size(); }
  // Why it is of no use any more.
  [[nodiscard]] const std::optional<std::string>& dead() const { return dead_; }
  // Waits until dead() says why.
  Task<void> death();
  // It was ready once: its death says nothing about the profile.
  [[nodiscard]] bool was_ready() const { return ready_; }
  [[nodiscard]] std::int64_t pid() const { return process_->pid(); }
  // Woken when a call has ended or the zygote has died.
  Waiters& changed() { return changed_; }

 private:
  friend class ZygoteCall;
  ZygoteProcess(const agents::Profile& profile, int requests, std::unique_ptr<io::Process> process);
  void signal(protocol::Kind kind, std::uint32_t id);
  Task<void> read_reports();
  void take(const protocol::Report& report);
  void die(std::string why);

  agents::Profile profile_;
  int requests_;
  std::unique_ptr<io::Process> process_;
  struct Running {
    ZygoteCall* call = nullptr;  // nullptr: nobody waits for it any more
    std::shared_ptr<void> held;
  };
  std::map<std::uint32_t, Running> calls_;
  std::uint32_t next_id_ = 1;
  bool ready_ = false;
  std::optional<std::string> dead_;
  Waiters changed_;
  Scope scope_;
};

class ZygoteCall final {
 public:
  ZygoteCall(std::shared_ptr<ZygoteProcess> zygote, std::uint32_t id)
      : zygote_(std::move(zygote)), id_(id) {}
  ZygoteCall(const ZygoteCall&) = delete;
  ZygoteCall& operator=(const ZygoteCall&) = delete;
  ~ZygoteCall();

  // Waits until it has ended: its report, or an error if the zygote died.
  Task<void> wait();
  [[nodiscard]] const std::optional<Result<protocol::Report>>& ended() const { return ended_; }
  // Asks init to wind up and to say what it sees; kill() ends it at once.
  void stop();
  void kill();

 private:
  friend class ZygoteProcess;
  void end(Result<protocol::Report> how);

  std::shared_ptr<ZygoteProcess> zygote_;
  std::uint32_t id_;
  std::optional<Result<protocol::Report>> ended_;
  Waiters waiters_;
};

}  // namespace ambit::sandbox
