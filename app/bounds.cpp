#include "app/bounds.h"

#include "governance/pins.h"
#include "io/file.h"

namespace ambit::app {
namespace {

using governance::Amounts;
using governance::Measure;

constexpr std::size_t pins_bytes_max = 16 << 20;

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

std::vector<agents::Notice> LimitQuotas::take_notices() {
  std::vector<agents::Notice> all = calls_.take_notices();
  for (agents::Notice& notice : turns_.take_notices()) all.push_back(std::move(notice));
  return all;
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
