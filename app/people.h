#pragma once

// FolderApprovals: the port Approvals. People answer in a folder of files that other processes
// write (`ambit approve`, the console), read away from the loop. What becomes of a request goes
// into the record, refusals too, and to a webhook where the fleet file names one. The owner of an
// agent may answer at once, others from the time on that the fleet file says.

#include "agents/fleet.h"
#include "agents/ports.h"
#include "async/channel.h"
#include "async/scope.h"
#include "async/waiters.h"
#include "governance/approval_folder.h"
#include "governance/approval_webhook.h"
#include "http/service.h"
#include "io/world.h"

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace ambit::app {

struct PeopleOptions {
  std::string folder;     // of the requests
  std::string approvers;  // the file with the people's public keys
  std::int64_t lifetime_ms = 15 * 60'000;
  std::vector<agents::ApprovalLevelSpec> levels{};  // after the owner; empty: all may, at once
  std::string webhook{};                            // URL; empty: nobody is told
  std::string secret{};                             // of the webhook
  http::Client* client = nullptr;                   // for the webhook
  agents::Journal* journal = nullptr;               // null: it is not recorded (tests)
};

// Who may answer for an action, and from when on: those whom the policy names; else the owner, then
// the fleet's levels, where there are any. The requester is none of them.
std::vector<governance::ApprovalLevel> levels_for(
    const agents::Action& action, const std::vector<std::string>& named,
    const std::vector<agents::ApprovalLevelSpec>& levels,
    const std::vector<log::VerifierKey>& approvers);

class FolderApprovals final : public agents::Approvals {
 public:
  // Blocks; for the start of the program. All that the options point to outlives it.
  static Result<std::unique_ptr<FolderApprovals>> open(io::World& world, PeopleOptions options);

  Task<Result<agents::ApprovalTicket>> ask(agents::Action action,
                                           agents::Decision decision) override;
  Task<Result<agents::ApprovalAnswer>> answered(std::string id) override;
  Task<Result<bool>> use(std::string id, agents::Action action, agents::Decision decision) override;

 private:
  // What the workers work on; one of them at a time, and it may outlive this object.
  struct Shared {
    Shared(std::string at, governance::ApprovalFolder opened)
        : path(std::move(at)), folder(std::move(opened)) {}
    std::string path;
    governance::ApprovalFolder folder;
    std::int64_t changed_ns = -1;             // the folder's time when it was read last
    std::vector<agents::Event> events;        // for the record
    std::map<std::string, std::string> told;  // by request: the last message's id
    std::vector<governance::WebhookMessage> messages;
    void take_notices();
    void make_messages(const std::string& secret, std::int64_t now_ms);
  };
  FolderApprovals(io::World& world, PeopleOptions options, std::shared_ptr<Shared> shared)
      : world_(world), options_(std::move(options)), shared_(std::move(shared)) {}
  [[nodiscard]] std::int64_t now_ms() { return world_.clock.unix_ns() / 1'000'000; }
  Task<Result<void>> refresh();
  Task<void> watch();
  Task<Result<void>> tell();
  Task<void> post(governance::WebhookMessage message);

  io::World& world_;
  PeopleOptions options_;
  std::shared_ptr<Shared> shared_;
  Semaphore turn_{1};
  Waiters changed_;
  std::size_t waiting_ = 0;
  Scope posting_;
  Scope watching_;
};

}  // namespace ambit::app
