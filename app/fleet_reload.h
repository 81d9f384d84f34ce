#pragma once

// The fleet file and its policies read again while a fleet runs (SIGHUP, `ambit reload`). What
// changed is told by its path. All of it is taken over, or nothing: a file with a mistake, policies
// that are not sound, or a change that needs a restart are refused by name, and recorded as
// refused. Sessions that live keep what they began with; those that begin later have the new agents
// and tools. The record has the new file and the new policies before anything is done by them.

#include "agents/fleet_difference.h"
#include "app/assembly.h"

#include <functional>
#include <string>
#include <vector>

namespace ambit::app {

class FleetReload {
 public:
  using Read = std::function<Result<agents::FleetFile>()>;
  // Makes all that new sessions need; what it gives then puts it in force, and cannot fail.
  using Prepare =
      std::function<Task<Result<std::function<void()>>>(std::shared_ptr<Generation> next)>;

  // The assembly outlives it. `path` of the fleet file, for messages.
  FleetReload(Assembly& assembly, std::string run, std::string path, Read read, Prepare prepare)
      : assembly_(assembly),
        run_(std::move(run)),
        path_(std::move(path)),
        read_(std::move(read)),
        prepare_(std::move(prepare)) {}

  // What becomes of it, as a JSON object: {"policySet", "before", "policies", "definition",
  // "changes": ["agents.clerk.limits.maxTurns: 8 -> 12"]}. `dry_run`: what would; nothing is
  // changed or recorded. Errors: what was refused, or a record that failed.
  Task<Result<std::string>> reload(std::string by, bool dry_run);

 private:
  struct Next;
  class Busy;
  Task<Result<std::string>> reload_now(std::string by, bool dry_run);
  Task<Result<Next>> prepare();
  Result<agents::Fleet> read_fleet() const;
  Result<void> check(const std::vector<agents::FleetChange>& changes) const;
  Task<Result<void>> record(const Next& next, const std::string& by);
  Task<Result<void>> refuse(std::string type, std::string by, std::string reason);

  Assembly& assembly_;
  std::string run_;
  std::string path_;
  Read read_;
  Prepare prepare_;
  bool is_busy_ = false;
};

}  // namespace ambit::app
