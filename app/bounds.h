#pragma once

// The bounds that have a memory, wired from governance to the ports of runtime/agents: people who
// approve (a folder of files that other processes write, read away from the loop), quotas, and tool
// definitions as a person has pinned them.

#include "agents/fleet.h"
#include "agents/gate.h"
#include "agents/ports.h"
#include "async/channel.h"
#include "async/scope.h"
#include "async/waiters.h"
#include "governance/approval_folder.h"
#include "governance/limits.h"
#include "io/world.h"

#include <cstdint>
#include <map>
#include <memory>
#include <string>

namespace ambit::app {

class FolderApprovals final : public agents::Approvals {
 public:
  // Blocks; for the start of the program. `approvers` is the file with the people's public keys.
  static Result<std::unique_ptr<FolderApprovals>> open(io::World& world, const std::string& folder,
                                                       const std::string& approvers,
                                                       std::int64_t lifetime_ms);

  Task<Result<agents::ApprovalTicket>> ask(agents::Action action,
                                           agents::Decision decision) override;
  Task<Result<agents::ApprovalAnswer>> answered(std::string id) override;
  Task<Result<bool>> use(std::string id, agents::Action action) override;

 private:
  // What the workers work on; one of them at a time, and it may outlive this object.
  struct Shared {
    Shared(std::string at, governance::ApprovalFolder opened)
        : path(std::move(at)), folder(std::move(opened)) {}
    std::string path;
    governance::ApprovalFolder folder;
    std::int64_t changed_ns = -1;  // the folder's time when it was read last
  };
  FolderApprovals(io::World& world, std::shared_ptr<Shared> shared)
      : world_(world), shared_(std::move(shared)) {}
  [[nodiscard]] std::int64_t now_ms() { return world_.clock.unix_ns() / 1'000'000; }
  Task<Result<void>> refresh();
  Task<void> watch();

  io::World& world_;
  std::shared_ptr<Shared> shared_;
  Semaphore turn_{1};
  Waiters changed_;
  std::size_t waiting_ = 0;
  Scope watching_;
};

class LimitQuotas final : public agents::Quotas {
 public:
  // Errors: a bound that cannot be.
  static Result<std::unique_ptr<LimitQuotas>> create(io::Clock& clock, const agents::Fleet& fleet);

  Result<std::uint64_t> reserve(const agents::Action& action,
                                const agents::Spending& most) override;
  void settle(std::uint64_t id, const agents::Spending& spent, bool failed) override;
  void cancel(std::uint64_t id) override;
  void session_gone(const std::string& session) override;

 private:
  // Turns of models and calls of tools are counted apart: a turn between two calls must not hide
  // that they are the same.
  LimitQuotas(io::Clock& clock, governance::Limits calls, governance::Limits turns)
      : clock_(clock), calls_(std::move(calls)), turns_(std::move(turns)) {}
  [[nodiscard]] std::int64_t now_ms() { return clock_.unix_ns() / 1'000'000; }

  io::Clock& clock_;
  governance::Limits calls_;
  governance::Limits turns_;
};

// Reads the file of pins. Null: the fleet has none.
Result<agents::ToolCheck> pinned_tools(const std::string& path);

}  // namespace ambit::app
