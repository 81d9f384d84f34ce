#pragma once

// One running zygote, as the supervisor holds it: has it make jails, hands each report to whoever
// waits for it. Destroying it ends the zygote and with it every jail that it has made. A zygote
// that dies fails all its calls and stays dead; its owner makes another.

#include "agents/ports.h"
#include "async/scope.h"
#include "async/waiters.h"
#include "io/world.h"
#include "sandbox/protocol.h"
#include "sandbox/zygote_link.h"

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>

namespace ambit::sandbox {

// One jail of a zygote and the one call that it is for. Destroying it kills what still runs.
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

  // Has a jail made for a call that may come later; its id is given here, and its port if it has a
  // door and the profile a network. `groups`: cgroups to join, still owned by the caller. `held` is
  // let go when the zygote says that nothing of the jail is left (the lease of its cgroups).
  // Code::closed: the zygote is gone.
  Result<std::unique_ptr<ZygoteCall>> prepare(JailSeen jail, std::span<const int> groups,
                                              std::shared_ptr<void> held);

  // Kills it, and so its jails, now.
  void end();
  // Jails of which something is left.
  [[nodiscard]] std::size_t running() const { return calls_.size(); }
  // Why it is of no use any more.
  [[nodiscard]] const std::optional<std::string>& dead() const { return dead_; }
  // Waits until dead() says why.
  Task<void> death();
  // It was ready once: its death says nothing about the profile.
  [[nodiscard]] bool was_ready() const { return ready_; }
  [[nodiscard]] std::int64_t pid() const { return process_->pid(); }
  // Woken at every report: when a call has ended, a jail is gone or the zygote has died.
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
    ZygoteCall* call = nullptr;  // nullptr: it has ended, or nobody waits for it any more
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
  // Owns `socket`, the way to the jail, and its door (-1: none).
  ZygoteCall(std::shared_ptr<ZygoteProcess> zygote, const JailSeen& jail, int socket, int door)
      : zygote_(std::move(zygote)), id_(jail.id), port_(jail.port), socket_(socket), door_(door) {}
  ZygoteCall(const ZygoteCall&) = delete;
  ZygoteCall& operator=(const ZygoteCall&) = delete;
  ~ZygoteCall();

  // Sends the call, once; `descriptors` are stdin, stdout, stderr and secrets, still owned by the
  // caller. Code::closed: the jail is gone, and the call has not begun.
  Result<void> begin(const agents::JailCall& call, std::span<const int> descriptors);
  // Waits until it has ended: its report, or an error if the zygote died.
  Task<void> wait();
  [[nodiscard]] const std::optional<Result<protocol::Report>>& ended() const { return ended_; }
  // Asks init to wind up and to say what it sees; kill() ends it at once.
  void stop();
  void kill();
  [[nodiscard]] ZygoteProcess& zygote() const { return *zygote_; }
  // Gives the way to a worker, or the door, away for good.
  int take_socket() { return std::exchange(socket_, -1); }
  int take_door() { return std::exchange(door_, -1); }
  [[nodiscard]] std::uint16_t port() const { return port_; }
  // Hears that something waits at the door; nullptr: nobody does any more.
  void on_knock(std::function<void()> knocked) { knocked_ = std::move(knocked); }

 private:
  friend class ZygoteProcess;
  void end(Result<protocol::Report> how);
  void close_sockets();

  std::shared_ptr<ZygoteProcess> zygote_;
  std::uint32_t id_;
  std::uint16_t port_;
  int socket_;
  int door_;
  std::function<void()> knocked_;
  std::optional<Result<protocol::Report>> ended_;
  Waiters waiters_;
};

}  // namespace ambit::sandbox
