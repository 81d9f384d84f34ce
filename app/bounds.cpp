#include "app/bounds.h"

#include "governance/pins.h"
#include "io/file.h"
#include "io/uuid.h"

#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <charconv>

namespace ambit::app {
namespace {

using agents::ApprovalAnswer;
using agents::ApprovalEnd;
using governance::Amounts;
using governance::ApprovalState;
using governance::Measure;

// How soon an answer is heard.
constexpr Duration poll_every = std::chrono::milliseconds(200);
constexpr std::size_t pins_bytes_max = 16 << 20;

std::int64_t changed_ns(const std::string& path) {
  struct stat found{};
  if (::stat(path.c_str(), &found) != 0) return -1;
  return std::int64_t{found.st_mtim.tv_sec} * 1'000'000'000 + found.st_mtim.tv_nsec;
}

std::string random_id(io::Entropy& entropy) {
  std::array<std::uint8_t, 16> bytes{};
  entropy.fill(bytes);
  std::string id;
  for (const std::uint8_t byte : bytes) {
    id += "0123456789abcdef"[byte >> 4];
    id += "0123456789abcdef"[byte & 15];
  }
  return id;
}

// How many people a policy wants: the obligation "approvers" of the decision; 1 if it says nothing.
std::int64_t needed_by(const agents::Decision& decision) {
  std::int64_t needed = 1;
  for (const auto& [name, value] : decision.obligations) {
    if (name == "approvers") {
      std::from_chars(value.data(), value.data() + value.size(), needed);
    }
  }
  return std::max<std::int64_t>(1, needed);
}

std::string joined(const std::vector<std::string>& names) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : ", ") + name;
  return text;
}

// Nullopt: it waits.
std::optional<Result<ApprovalAnswer>> answer_of(const governance::ApprovalDesk& desk,
                                                const std::string& id, std::int64_t now_ms) {
  const auto state = desk.state(id, now_ms);
  if (!state) {
    return Result<ApprovalAnswer>(Err(Code::not_found, "there is no approval " + id + " any more"));
  }
  ApprovalAnswer answer;
  answer.by = joined(desk.answered(id));
  switch (*state) {
    case ApprovalState::pending:
      return std::nullopt;
    case ApprovalState::approved:
    case ApprovalState::used:
      answer.end = ApprovalEnd::approved;
      break;
    case ApprovalState::denied:
      answer.end = ApprovalEnd::denied;
      break;
    case ApprovalState::expired:
      answer.end = ApprovalEnd::expired;
      break;
    case ApprovalState::superseded: {
      const auto next = desk.successor(id);
      const auto* request = next ? desk.request(*next) : nullptr;
      if (request == nullptr) {
        return Result<ApprovalAnswer>(Err(Code::not_found, "the modified action is not there"));
      }
      answer.end = ApprovalEnd::modified;
      answer.successor = *next;
      answer.arguments = request->action.arguments;
      break;
    }
  }
  return Result<ApprovalAnswer>(std::move(answer));
}

}  // namespace

Result<std::unique_ptr<FolderApprovals>> FolderApprovals::open(io::World& world,
                                                               const std::string& folder,
                                                               const std::string& approvers,
                                                               std::int64_t lifetime_ms) {
  governance::ApprovalDesk::Options options;
  options.lifetime_ms = lifetime_ms;
  auto opened = TRY(governance::ApprovalFolder::open(folder, approvers,
                                                     world.clock.unix_ns() / 1'000'000, options));
  return std::unique_ptr<FolderApprovals>(
      new FolderApprovals(world, std::make_shared<Shared>(folder, std::move(opened))));
}

Task<Result<agents::ApprovalTicket>> FolderApprovals::ask(agents::Action action,
                                                          agents::Decision decision) {
  const auto turn = co_await turn_.acquire();
  auto asked = std::make_shared<Result<governance::ApprovalRequest>>(
      Err(Code::internal, "the question was not asked"));
  const std::string id = random_id(world_.entropy);
  const std::int64_t now = now_ms();
  const std::int64_t needed = needed_by(decision);
  std::function<void()> work = [shared = shared_, asked, action = std::move(action), id, now,
                                needed, reason = decision.reason] {
    // From before a crash: the question stands already.
    for (const auto& open : shared->folder.desk().pending(now)) {
      if (open.action.id == action.id && open.action.arguments == action.arguments) {
        *asked = open;
        return;
      }
    }
    *asked = shared->folder.ask(action, reason, needed, id, now);
  };
  co_await world_.workers.run(std::move(work));
  if (!*asked) co_return Err(std::move(*asked).error());
  co_return agents::ApprovalTicket{(*asked)->id, (*asked)->expires_ms};
}

// Takes in what other processes have written; looks at the folder's time first.
Task<Result<void>> FolderApprovals::refresh() {
  const auto turn = co_await turn_.acquire();
  auto done = std::make_shared<Result<void>>();
  const std::int64_t now = now_ms();
  std::function<void()> work = [shared = shared_, done, now] {
    const std::int64_t changed = changed_ns(shared->path);
    if (changed == shared->changed_ns) return;
    *done = shared->folder.refresh(now);
    // A change within the clock's grain would be missed if the folder's time were believed at once.
    constexpr std::int64_t grain_ns = 50'000'000;
    const bool settled = changed + grain_ns < now * 1'000'000;
    shared->changed_ns = *done && settled ? changed : -1;
  };
  co_await world_.workers.run(std::move(work));
  co_return std::move(*done);
}

Task<void> FolderApprovals::watch() {
  while (waiting_ > 0) {
    co_await refresh();
    changed_.wake_all();
    co_await delay(poll_every);
  }
}

Task<Result<ApprovalAnswer>> FolderApprovals::answered(std::string id) {
  struct Waiting {
    explicit Waiting(std::size_t& of) : count(of) { ++count; }
    Waiting(const Waiting&) = delete;
    Waiting& operator=(const Waiting&) = delete;
    ~Waiting() { --count; }
    std::size_t& count;
  };
  const Waiting waiting(waiting_);
  if (watching_.size() == 0) watching_.spawn(watch());
  while (true) {
    co_await changed_.wait();
    const auto turn = co_await turn_.acquire();
    auto answer = answer_of(shared_->folder.desk(), id, now_ms());
    if (answer) co_return std::move(*answer);
  }
}

Task<Result<bool>> FolderApprovals::use(std::string id, agents::Action action) {
  const auto turn = co_await turn_.acquire();
  auto used = std::make_shared<Result<bool>>(Err(Code::internal, "the approval was not taken"));
  const std::int64_t now = now_ms();
  std::function<void()> work = [shared = shared_, used, id, action = std::move(action), now] {
    const auto fresh = shared->folder.refresh(now);
    if (!fresh) {
      *used = Err(Error(fresh.error()));
      return;
    }
    if (shared->folder.desk().state(id, now) == ApprovalState::used) {
      *used = false;
      return;
    }
    const auto taken = shared->folder.use(id, action, now);
    if (taken) {
      *used = true;
    } else {
      *used = Err(Error(taken.error()));
    }
  };
  co_await world_.workers.run(std::move(work));
  co_return std::move(*used);
}

namespace {

governance::Reach reach_of(const std::string& per) {
  if (per == "session") return governance::Reach::session;
  if (per == "agent") return governance::Reach::agent;
  if (per == "tool") return governance::Reach::tool;
  if (per == "principal") return governance::Reach::principal;
  return per == "fleet" ? governance::Reach::fleet : governance::Reach::run;
}

Amounts amounts_of(const agents::Spending& spending) {
  Amounts amounts;
  amounts[Measure::calls] = spending.calls;
  amounts[Measure::tokens] = spending.tokens;
  amounts[Measure::money_micros] = spending.money_micros;
  return amounts;
}

}  // namespace

Result<std::unique_ptr<LimitQuotas>> LimitQuotas::create(io::Clock& clock,
                                                         const agents::Fleet& fleet) {
  governance::LimitOptions calls;
  governance::LimitOptions turns;
  calls.same_calls_max = fleet.guards.same_calls_max;
  calls.same_cycles_max = fleet.guards.same_cycles_max;
  calls.failures_max = turns.failures_max = fleet.guards.failures_max;
  calls.cool_down_ms = turns.cool_down_ms = fleet.guards.cool_down_ms;
  for (const agents::QuotaSpec& quota : fleet.quotas) {
    governance::LimitRule rule;
    rule.name = quota.name;
    rule.reach = reach_of(quota.per);
    rule.measure = quota.measure == "tokens"  ? Measure::tokens
                   : quota.measure == "money" ? Measure::money_micros
                                              : Measure::calls;
    rule.most = quota.most;
    rule.window_ms = quota.window_ms;
    rule.at_once_most = quota.at_once_most;
    rule.tool = quota.tool;
    rule.agent = quota.agent;
    (rule.measure == Measure::calls ? calls : turns).rules.push_back(std::move(rule));
  }
  auto of_calls = TRY(governance::Limits::create(std::move(calls)));
  auto of_turns = TRY(governance::Limits::create(std::move(turns)));
  return std::unique_ptr<LimitQuotas>(
      new LimitQuotas(clock, std::move(of_calls), std::move(of_turns)));
}

// Ids of turns are odd.
Result<std::uint64_t> LimitQuotas::reserve(const agents::Action& action,
                                           const agents::Spending& most) {
  const bool is_turn = action.kind == agents::ActionKind::model_call;
  auto id = (is_turn ? turns_ : calls_).reserve(action, amounts_of(most), now_ms());
  if (!id) return Err(std::move(id).error());
  return *id * 2 + (is_turn ? 1 : 0);
}

void LimitQuotas::settle(std::uint64_t id, const agents::Spending& spent, bool failed) {
  (id % 2 == 1 ? turns_ : calls_).settle(id / 2, amounts_of(spent), failed, now_ms());
}

void LimitQuotas::cancel(std::uint64_t id) {
  (id % 2 == 1 ? turns_ : calls_).cancel(id / 2);
}

void LimitQuotas::session_gone(const std::string& session) {
  calls_.forget_session(session);
  turns_.forget_session(session);
}

Result<agents::ToolCheck> pinned_tools(const std::string& path) {
  if (path.empty()) return agents::ToolCheck();
  auto pins = governance::ToolPins::from_json(TRY(io::read_file(path, pins_bytes_max)));
  if (!pins) return Err(std::move(pins).error().context(path));
  const auto kept = std::make_shared<const governance::ToolPins>(std::move(*pins));
  return agents::ToolCheck([kept](const agents::ToolSpec& tool) -> Result<void> {
    // Other agents are the fleet file's own words.
    if (!tool.agent.empty()) return {};
    return kept->check(tool);
  });
}

}  // namespace ambit::app
