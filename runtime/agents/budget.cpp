#include "agents/budget.h"

#include <algorithm>

namespace ambit::agents {
namespace {

std::int64_t elapsed_ms(Instant from, Instant to) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(to - from).count();
}

std::int64_t room(std::int64_t limit, std::int64_t used) {
  return limit < 0 ? -1 : std::max<std::int64_t>(0, limit - used);
}

void add(Cost& sum, const Cost& cost, std::int64_t sign) {
  sum.turns += sign * cost.turns;
  sum.tool_calls += sign * cost.tool_calls;
  sum.tokens += sign * cost.tokens;
  sum.money_micros += sign * cost.money_micros;
  sum.descendants += sign * cost.descendants;
}

// The smaller of two, where -1 is without limit.
std::int64_t least(std::int64_t a, std::int64_t b) {
  if (a < 0) return b;
  return b < 0 ? a : std::min(a, b);
}

}  // namespace

Ledger::Ledger(std::string owner, Limits limits, Instant started, Ledger* parent)
    : owner_(std::move(owner)), limits_(limits), started_(started), parent_(parent) {}

Result<void> Ledger::check(const Cost& cost, Instant now) const {
  auto over = [&](std::int64_t limit, std::int64_t used, std::int64_t wanted,
                  const char* name) -> Result<void> {
    if (limit < 0 || wanted == 0 || used + wanted <= limit) return {};
    return Err(Code::exhausted, "the limit " + std::string(name) + " = " + std::to_string(limit) +
                                    " of " + owner_ + " is used up");
  };
  TRY(over(limits_.turns, spent_.turns + reserved_.turns, cost.turns, "maxTurns"));
  TRY(over(limits_.tool_calls, spent_.tool_calls + reserved_.tool_calls, cost.tool_calls,
           "maxToolCalls"));
  TRY(over(limits_.tokens, spent_.tokens + reserved_.tokens, cost.tokens, "maxTokens"));
  TRY(over(limits_.descendants, spent_.descendants + reserved_.descendants, cost.descendants,
           "maxDescendants"));
  TRY(over(limits_.money_micros, spent_.money_micros + reserved_.money_micros, cost.money_micros,
           "maxCostUsd (in millionths)"));
  if (limits_.wall_ms >= 0 && elapsed_ms(started_, now) >= limits_.wall_ms) {
    return Err(Code::exhausted, "the limit maxWallTime = " + std::to_string(limits_.wall_ms) +
                                    " ms of " + owner_ + " is used up");
  }
  return {};
}

Result<void> Ledger::reserve(const Cost& cost, Instant now) {
  for (const Ledger* ledger = this; ledger != nullptr; ledger = ledger->parent_)
    TRY(ledger->check(cost, now));
  for (Ledger* ledger = this; ledger != nullptr; ledger = ledger->parent_)
    add(ledger->reserved_, cost, 1);
  return {};
}

void Ledger::settle(const Cost& reserved, const Cost& spent) {
  for (Ledger* ledger = this; ledger != nullptr; ledger = ledger->parent_) {
    add(ledger->reserved_, reserved, -1);
    add(ledger->spent_, spent, 1);
  }
}

void Ledger::restore(const Cost& spent) {
  add(spent_, spent, 1);
}

Budget Ledger::left(Instant now) const {
  Budget budget{-1, -1, -1, -1, -1};
  for (const Ledger* ledger = this; ledger != nullptr; ledger = ledger->parent_) {
    const Limits& limits = ledger->limits_;
    budget.turns =
        least(budget.turns, room(limits.turns, ledger->spent_.turns + ledger->reserved_.turns));
    budget.tool_calls =
        least(budget.tool_calls,
              room(limits.tool_calls, ledger->spent_.tool_calls + ledger->reserved_.tool_calls));
    budget.tokens =
        least(budget.tokens, room(limits.tokens, ledger->spent_.tokens + ledger->reserved_.tokens));
    budget.money_micros = least(
        budget.money_micros,
        room(limits.money_micros, ledger->spent_.money_micros + ledger->reserved_.money_micros));
    budget.wall_ms = least(budget.wall_ms, room(limits.wall_ms, elapsed_ms(ledger->started_, now)));
  }
  return budget;
}

}  // namespace ambit::agents
