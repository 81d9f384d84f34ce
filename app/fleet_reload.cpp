#include "app/fleet_reload.h"

#include "app/load_fleet.h"
#include "io/file.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <utility>

namespace ambit::app {
namespace {

using nlohmann::json;

constexpr std::size_t policy_bytes_max = 4 << 20;
constexpr std::size_t changes_told_max = 100;

Result<std::vector<governance::PolicySource>> read_policies(const agents::Fleet& fleet) {
  std::vector<governance::PolicySource> sources;
  for (const std::string& path : fleet.policies) {
    sources.push_back({path, TRY(io::read_file(path, policy_bytes_max))});
  }
  return sources;
}

std::string text_of(const json& body) {
  return body.dump(-1, ' ', false, json::error_handler_t::replace);
}

json words_of(const std::vector<agents::FleetChange>& changes) {
  json words = json::array();
  for (const agents::FleetChange& one : changes) {
    if (words.size() == changes_told_max) {
      words.push_back("and " + std::to_string(changes.size() - changes_told_max) + " more");
      break;
    }
    words.push_back(one.path + ": " + one.words);
  }
  return words;
}

}  // namespace

// What would be in force.
struct FleetReload::Next {
  std::vector<agents::FleetChange> changes;
  std::vector<governance::PolicySource> policies;
  agents::Notice announced;
  std::shared_ptr<Generation> generation;  // null: the fleet file says what it said
  std::function<void()> adopt;
  Error refused{Code::internal, ""};  // why not, where there is a message
  bool by_policies = false;           // they are what was refused
};

class FleetReload::Busy {
 public:
  explicit Busy(bool& flag) : flag_(flag) { flag_ = true; }
  ~Busy() { flag_ = false; }
  Busy(const Busy&) = delete;
  Busy& operator=(const Busy&) = delete;

 private:
  bool& flag_;
};

Result<agents::Fleet> FleetReload::read_fleet() const {
  agents::FleetFile file = TRY(read_());
  if (file.problems.empty()) return std::move(file.fleet);
  const std::size_t more = file.problems.size() - 1;
  return Err(Code::invalid, problem_line(path_, file.problems.front()) +
                                (more > 0 ? " (and " + std::to_string(more) +
                                                " more: ambit fleet check " + path_ + ")"
                                          : ""));
}

Result<void> FleetReload::check(const std::vector<agents::FleetChange>& changes) const {
  std::string names;
  std::size_t count = 0;
  for (const agents::FleetChange& one : changes) {
    if (one.restart_for.empty()) continue;
    if (++count <= 3)
      names += (names.empty() ? "" : "; ") + one.path + " (" + one.restart_for + ")";
  }
  if (count == 0) return {};
  return Err(Code::conflict, "this needs a restart: " + names +
                                 (count > 3 ? "; and " + std::to_string(count - 3) + " more" : ""));
}

Task<Result<FleetReload::Next>> FleetReload::prepare() {
  Next next;
  auto fleet = read_fleet();
  if (!fleet) {
    next.refused = std::move(fleet).error().context("the fleet stays as it was");
    co_return next;
  }
  auto changes = agents::fleet_difference(assembly_.current().source, fleet->source);
  if (!changes) co_return Err(std::move(changes).error());
  next.changes = std::move(*changes);
  const auto possible = check(next.changes);
  if (!possible) {
    Error why = possible.error();
    next.refused = std::move(why).context("the fleet stays as it was");
    co_return next;
  }
  auto policies = read_policies(*fleet);
  Result<agents::Notice> announced = policies ? assembly_.policy_guard().announce(*policies)
                                              : Result<agents::Notice>(Err(policies.error()));
  if (!announced) {
    next.refused = std::move(announced).error().context("the policies stay as they were");
    next.by_policies = true;
    co_return next;
  }
  next.policies = std::move(*policies);
  next.announced = std::move(*announced);
  if (next.changes.empty()) co_return next;
  auto generation = assembly_.next(std::move(*fleet));
  if (!generation) {
    next.refused = std::move(generation).error().context("the fleet stays as it was");
    co_return next;
  }
  next.generation = std::move(*generation);
  auto adopt = co_await prepare_(next.generation);
  if (adopt) {
    next.adopt = std::move(*adopt);
  } else {
    next.refused = std::move(adopt).error().context("the fleet stays as it was");
  }
  co_return next;
}

Task<Result<void>> FleetReload::refuse(std::string type, std::string by, std::string reason) {
  agents::Event event{std::move(type), run_, "", "", "", {}};
  event.body = text_of({{"by", by},
                        {"inForce", assembly_.policy_guard().policy_set()},
                        {"definition", assembly_.definition()},
                        {"reason", reason}});
  co_await ok(assembly_.journal().append(std::move(event)));
  co_return Result<void>();
}

// The record comes first: nothing is decided or begun by what it does not hold.
Task<Result<void>> FleetReload::record(const Next& next, const std::string& by) {
  if (next.generation) {
    agents::Event event{"fleet.reloaded", run_, "", "", "", {}};
    event.body = text_of({{"by", by},
                          {"before", assembly_.definition()},
                          {"definition", next.generation->definition()},
                          {"changes", words_of(next.changes)}});
    event.payloads.push_back({"fleet", next.generation->fleet.source});
    co_await ok(assembly_.journal().append(std::move(event)));
  }
  agents::Event event{next.announced.type, run_, "", "", "", {}};
  json said = json::parse(next.announced.body, nullptr, false);
  said["by"] = by;
  event.body = text_of(said);
  for (const governance::PolicySource& source : next.policies) {
    event.payloads.push_back(
        {"policy " + source.name.substr(source.name.rfind('/') + 1), source.text});
  }
  co_await ok(assembly_.journal().append(std::move(event)));
  co_return Result<void>();
}

Task<Result<std::string>> FleetReload::reload(std::string by, bool dry_run) {
  if (is_busy_) co_return Err(Code::conflict, "the fleet is being read again already; ask later");
  const Busy busy(is_busy_);
  auto told = co_await reload_now(std::move(by), dry_run);
  co_return told;
}

Task<Result<std::string>> FleetReload::reload_now(std::string by, bool dry_run) {
  Next next = co_await ok(prepare());
  if (!next.refused.message.empty()) {
    std::string reason = next.refused.message;
    if (!dry_run) {
      std::string type = next.by_policies ? "policy.refused" : "fleet.refused";
      co_await ok(refuse(std::move(type), std::move(by), std::move(reason)));
    }
    co_return Err(std::move(next.refused));
  }
  json told = json::parse(next.announced.body, nullptr, false);
  told["by"] = by;
  told["changes"] = words_of(next.changes);
  told["definition"] = next.generation ? next.generation->definition() : assembly_.definition();
  told["dryRun"] = dry_run;
  if (dry_run) co_return text_of(told);
  co_await ok(record(next, by));
  auto loaded = assembly_.policy_guard().reload(next.policies);
  if (!loaded) co_return Err(std::move(loaded).error());
  if (next.generation) {
    next.adopt();
    assembly_.adopt(std::move(next.generation));
  }
  co_return text_of(told);
}

}  // namespace ambit::app
