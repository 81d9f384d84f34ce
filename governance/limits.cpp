#include "governance/limits.h"

#include "log/sha256.h"

#include <nlohmann/json.hpp>

#include <algorithm>

namespace ambit::governance {
namespace {

using agents::Action;

constexpr std::size_t cycle_max = 8;
constexpr std::size_t recent_max = 64;
constexpr std::size_t notices_max = 1000;  // that nobody has taken yet
constexpr std::int64_t slice_count = 60;   // of a window: an amount counts until its slice is over

std::string digest_of(const Action& action) {
  const auto hash = log::sha256(
      {to_string(action.kind), "\n", action.agent, "\n", action.tool, "\n", action.arguments});
  return std::string(log::bytes_of(hash).substr(0, 16));
}

std::int64_t slice_ms(const LimitRule& rule) {
  return std::max<std::int64_t>(1, rule.window_ms / slice_count);
}

std::int64_t sum_of(std::int64_t a, std::int64_t b) {
  std::int64_t sum = 0;
  return __builtin_add_overflow(a, b, &sum) ? INT64_MAX : sum;
}

}  // namespace

std::string_view to_string(Measure measure) {
  constexpr std::array<std::string_view, measures> names = {
      "calls", "tokens", "millionths of money", "steps", "rows", "bytes", "amount"};
  return names[static_cast<std::size_t>(measure)];
}

Result<Limits> Limits::create(LimitOptions options) {
  for (const LimitRule& rule : options.rules) {
    if (rule.most < 0 || rule.window_ms < 0) {
      return Err(Code::invalid, "limit \"" + rule.name + "\": a bound must not be negative");
    }
  }
  const bool negative = options.same_calls_max < 0 || options.same_cycles_max < 0 ||
                        options.failures_max < 0 || options.cool_down_ms < 0;
  if (negative) return Err(Code::invalid, "limits must not be negative");
  const auto longest = static_cast<std::int64_t>(recent_max / cycle_max);
  if (options.same_calls_max > static_cast<std::int64_t>(recent_max) ||
      options.same_cycles_max > longest) {
    return Err(Code::invalid, "at most " + std::to_string(recent_max) + " equal calls and " +
                                  std::to_string(longest) + " equal cycles can be told");
  }
  return Limits(std::move(options));
}

bool Limits::applies(const LimitRule& rule, const Action& action) const {
  return (rule.tool.empty() || rule.tool == action.tool) &&
         (rule.agent.empty() || rule.agent == action.agent);
}

std::string Limits::key_of(const LimitRule& rule, const Action& action) {
  switch (rule.reach) {
    case Reach::session:
      return action.session;
    case Reach::agent:
      return action.agent;
    case Reach::tool:
      return action.tool;
    case Reach::run:
      return action.run;
    case Reach::principal:
      return action.on_behalf_of;
    case Reach::fleet:
      break;
  }
  return {};
}

std::int64_t Limits::used(const LimitRule& rule, const Counter& counter,
                          std::int64_t now_ms) const {
  std::int64_t sum = sum_of(counter.spent, counter.reserved);
  for (const auto& [start, amount] : counter.slices) {
    if (start + slice_ms(rule) + rule.window_ms > now_ms) sum = sum_of(sum, amount);
  }
  return sum;
}

Result<void> Limits::check_rules(const Action& action, const Amounts& most, std::int64_t now_ms,
                                 std::vector<Key>& keys) const {
  for (std::size_t i = 0; i < options_.rules.size(); ++i) {
    const LimitRule& rule = options_.rules[i];
    if (!applies(rule, action)) continue;
    Key key{i, key_of(rule, action)};
    const std::int64_t wanted = most[rule.measure];
    const auto at = counters_.find(key);
    const Counter none;
    const Counter& counter = at == counters_.end() ? none : at->second;
    const std::int64_t so_far = used(rule, counter, now_ms);
    const std::string of = "limit \"" + rule.name + "\"";
    if (sum_of(so_far, wanted) > rule.most) {
      return Err(Code::exhausted,
                 of + ": " + std::to_string(wanted) + " " + std::string(to_string(rule.measure)) +
                     " wanted, " + std::to_string(std::max<std::int64_t>(0, rule.most - so_far)) +
                     " of " + std::to_string(rule.most) + " left");
    }
    if (rule.at_once_most >= 0 && counter.at_once >= rule.at_once_most) {
      return Err(Code::exhausted, of + ": " + std::to_string(counter.at_once) +
                                      " are under way and no more may be at once");
    }
    keys.push_back(std::move(key));
  }
  return {};
}

Result<void> Limits::check_repeats(const Action& action, const std::string& call) const {
  const auto found = recent_.find(action.session);
  if (found == recent_.end()) return {};
  const auto& calls = found->second;
  const auto at_end = [&](std::size_t back) {
    return back == 0 ? call : calls[calls.size() - back];
  };
  // How often the last `length` calls, this one with them, stand at the end.
  const auto runs = [&](std::size_t length) {
    std::size_t equal = 0;
    while (equal + length <= calls.size() && at_end(equal) == at_end(equal + length)) ++equal;
    return static_cast<std::int64_t>((equal + length) / length);
  };
  if (options_.same_calls_max > 0 && runs(1) > options_.same_calls_max) {
    return Err(Code::denied, "the same call of " + action.tool + " was made " +
                                 std::to_string(options_.same_calls_max) +
                                 " times in a row; do something else");
  }
  for (std::size_t length = 2; options_.same_cycles_max > 0 && length <= cycle_max; ++length) {
    if (runs(length) <= options_.same_cycles_max) continue;
    return Err(Code::denied, "the same " + std::to_string(length) + " calls were made " +
                                 std::to_string(options_.same_cycles_max) +
                                 " times over; do something else");
  }
  return {};
}

// True: this call tries whether the tool works again.
Result<bool> Limits::check_breaker(const std::string& tool, std::int64_t now_ms) const {
  const auto found = breakers_.find(tool);
  if (found == breakers_.end() || options_.failures_max == 0) return false;
  const Breaker& breaker = found->second;
  if (breaker.failures < options_.failures_max) return false;
  if (now_ms < breaker.open_until_ms || breaker.probing) {
    const std::int64_t rest = std::max<std::int64_t>(0, breaker.open_until_ms - now_ms);
    return Err(Code::unavailable, tool + " failed " + std::to_string(breaker.failures) +
                                      " times in a row and is left alone for another " +
                                      std::to_string(rest) + " ms");
  }
  return true;
}

// Drops counters that say nothing any more; too many that do are an error, never forgotten.
Result<void> Limits::make_room(std::size_t more, std::int64_t now_ms) {
  if (recent_.size() > options_.counters_max) {
    return Err(Code::exhausted, "more than " + std::to_string(options_.counters_max) +
                                    " sessions are watched at once");
  }
  if (counters_.size() + more <= options_.counters_max) return {};
  for (auto at = counters_.begin(); at != counters_.end();) {
    const LimitRule& rule = options_.rules[at->first.first];
    const bool idle = at->second.at_once == 0 && used(rule, at->second, now_ms) == 0;
    at = idle ? counters_.erase(at) : std::next(at);
  }
  if (counters_.size() + more <= options_.counters_max) return {};
  return Err(Code::exhausted, "more than " + std::to_string(options_.counters_max) +
                                  " sessions, agents and tools are counted at once");
}

Result<ReservationId> Limits::reserve(const Action& action, const Amounts& most,
                                      std::int64_t now_ms) {
  if (std::any_of(most.of.begin(), most.of.end(), [](std::int64_t one) { return one < 0; })) {
    return Err(Code::invalid, "an amount to reserve must not be negative");
  }
  Held held;
  held.most = most;
  held.session = action.session;
  held.tool = action.tool;
  held.probe = TRY(check_breaker(action.tool, now_ms));
  held.call = digest_of(action);
  if (auto fresh = check_repeats(action, held.call); !fresh) {
    note("limit.repeated", action.tool, fresh.error().message);
    return Err(std::move(fresh).error());
  }
  TRY(check_rules(action, most, now_ms, held.keys));
  TRY(make_room(held.keys.size(), now_ms));
  for (const Key& key : held.keys) {
    Counter& counter = counters_[key];
    counter.reserved = sum_of(counter.reserved, most[options_.rules[key.first].measure]);
    ++counter.at_once;
  }
  if (held.probe) breakers_[action.tool].probing = true;
  if (options_.same_calls_max > 0 || options_.same_cycles_max > 0) {
    auto& calls = recent_[action.session];
    calls.push_back(held.call);
    if (calls.size() > recent_max) calls.pop_front();
  }
  const ReservationId id = next_++;
  held_.emplace(id, std::move(held));
  return id;
}

void Limits::release(const Held& held) {
  for (const Key& key : held.keys) {
    const auto at = counters_.find(key);
    if (at == counters_.end()) continue;
    at->second.reserved -= held.most[options_.rules[key.first].measure];
    --at->second.at_once;
  }
  if (held.probe) breakers_[held.tool].probing = false;
}

void Limits::book(const Key& key, std::int64_t amount, std::int64_t now_ms) {
  const auto at = counters_.find(key);
  if (at == counters_.end() || amount <= 0) return;
  const LimitRule& rule = options_.rules[key.first];
  Counter& counter = at->second;
  if (rule.window_ms == 0) {
    counter.spent = sum_of(counter.spent, amount);
    return;
  }
  const std::int64_t start = now_ms - now_ms % slice_ms(rule);
  auto& slices = counter.slices;
  while (!slices.empty() && slices.front().first + slice_ms(rule) + rule.window_ms <= now_ms) {
    slices.pop_front();
  }
  if (slices.empty() || slices.back().first != start) slices.emplace_back(start, 0);
  slices.back().second = sum_of(slices.back().second, amount);
}

bool Limits::settle(ReservationId id, const Amounts& spent, bool failed, std::int64_t now_ms) {
  const auto at = held_.find(id);
  if (at == held_.end()) return false;
  release(at->second);
  for (const Key& key : at->second.keys) {
    book(key, spent[options_.rules[key.first].measure], now_ms);
  }
  if (options_.failures_max > 0) {
    Breaker& breaker = breakers_[at->second.tool];
    breaker.failures = failed ? breaker.failures + 1 : 0;
    if (breaker.failures >= options_.failures_max) {
      breaker.open_until_ms = sum_of(now_ms, options_.cool_down_ms);
      note("limit.breaker_opened", at->second.tool,
           "it failed " + std::to_string(breaker.failures) +
               " times in a row; it is left alone for " + std::to_string(options_.cool_down_ms) +
               " ms");
    }
    if (!failed) {
      if (at->second.probe) {
        note("limit.breaker_closed", at->second.tool, "a call that tried it went well");
      }
      breakers_.erase(at->second.tool);
    }
  }
  held_.erase(at);
  return true;
}

void Limits::note(const std::string& type, const std::string& tool, const std::string& why) {
  if (notices_.size() >= notices_max) return;
  const nlohmann::json body = {{"reason", why}, {"tool", tool}};
  notices_.push_back({type, body.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace)});
}

bool Limits::cancel(ReservationId id) {
  const auto at = held_.find(id);
  if (at == held_.end()) return false;
  release(at->second);
  const auto calls = recent_.find(at->second.session);
  if (calls != recent_.end()) {
    const auto last = std::find(calls->second.rbegin(), calls->second.rend(), at->second.call);
    if (last != calls->second.rend()) calls->second.erase(std::next(last).base());
  }
  held_.erase(at);
  return true;
}

void Limits::forget_session(const std::string& session) {
  recent_.erase(session);
  std::erase_if(counters_, [&](const auto& one) {
    return options_.rules[one.first.first].reach == Reach::session && one.first.second == session &&
           one.second.at_once == 0;
  });
}

void Limits::forget_run(const std::string& run) {
  std::erase_if(counters_, [&](const auto& one) {
    return options_.rules[one.first.first].reach == Reach::run && one.first.second == run &&
           one.second.at_once == 0;
  });
}

std::int64_t Limits::left(std::size_t rule, const Action& action, std::int64_t now_ms) const {
  const LimitRule& of = options_.rules.at(rule);
  const auto at = counters_.find(Key{rule, key_of(of, action)});
  if (at == counters_.end()) return of.most;
  return std::max<std::int64_t>(0, of.most - used(of, at->second, now_ms));
}

bool Limits::breaker_open(const std::string& tool, std::int64_t now_ms) const {
  return !check_breaker(tool, now_ms).has_value();
}

}  // namespace ambit::governance
