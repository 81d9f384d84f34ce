// Limits: amounts that cannot be overrun, calls that repeat themselves, tools that keep failing.

#include "governance/limits.h"

#include <catch2/catch.hpp>

using namespace ambit;
using namespace ambit::governance;

namespace {

agents::Action call(const std::string& tool, const std::string& arguments = "{}",
                    const std::string& session = "s") {
  agents::Action action;
  action.agent = "clerk";
  action.tool = tool;
  action.arguments = arguments;
  action.session = session;
  action.run = "r";
  action.on_behalf_of = "ada";
  return action;
}

Amounts one(Measure measure = Measure::calls, std::int64_t amount = 1) {
  Amounts amounts;
  amounts[measure] = amount;
  return amounts;
}

Limits make(LimitOptions options) {
  auto limits = Limits::create(std::move(options));
  if (!limits) FAIL(limits.error().message);
  return std::move(*limits);
}

LimitRule rule(std::int64_t most, Reach reach = Reach::run, Measure measure = Measure::calls) {
  LimitRule made;
  made.name = "budget";
  made.reach = reach;
  made.measure = measure;
  made.most = most;
  return made;
}

}  // namespace

TEST_CASE("of 64 calls at once against a budget for 10 exactly 10 run", "[limits]") {
  Limits limits = make({{rule(10)}});
  std::vector<ReservationId> running;
  std::size_t refused = 0;
  for (int i = 0; i < 64; ++i) {
    const auto held = limits.reserve(call("t", std::to_string(i)), one(), 0);
    if (held) {
      running.push_back(*held);
    } else {
      CHECK(held.error().code == Code::exhausted);
      ++refused;
    }
  }
  CHECK(running.size() == 10);
  CHECK(refused == 54);
  for (const ReservationId id : running) CHECK(limits.settle(id, one(), false, 1));
  const auto later = limits.reserve(call("t"), one(), 2);
  REQUIRE_FALSE(later);
  CHECK(later.error().message == "limit \"budget\": 1 calls wanted, 0 of 10 left");
}

TEST_CASE("what was reserved and not spent is given back, and what was overspent is booked",
          "[limits]") {
  Limits limits = make({{rule(100, Reach::run, Measure::tokens)}});
  const auto first = limits.reserve(call("t"), one(Measure::tokens, 80), 0);
  REQUIRE(first);
  CHECK_FALSE(limits.reserve(call("t"), one(Measure::tokens, 30), 0));
  CHECK(limits.settle(*first, one(Measure::tokens, 20), false, 0));
  CHECK_FALSE(limits.settle(*first, one(Measure::tokens, 20), false, 0));
  CHECK(limits.left(0, call("t"), 0) == 80);
  const auto second = limits.reserve(call("t"), one(Measure::tokens, 80), 0);
  REQUIRE(second);
  CHECK(limits.settle(*second, one(Measure::tokens, 500), false, 0));
  CHECK(limits.left(0, call("t"), 0) == 0);
  CHECK_FALSE(limits.reserve(call("t"), one(Measure::tokens, 1), 0));
}

TEST_CASE("a refusal by one limit takes nothing from the others", "[limits]") {
  Limits limits = make({{rule(5), rule(0, Reach::tool, Measure::rows)}});
  Amounts both = one();
  both[Measure::rows] = 1;
  CHECK_FALSE(limits.reserve(call("t"), both, 0));
  CHECK(limits.left(0, call("t"), 0) == 5);
  const auto held = limits.reserve(call("t"), one(), 0);
  REQUIRE(held);
  CHECK(limits.cancel(*held));
  CHECK(limits.left(0, call("t"), 0) == 5);
}

TEST_CASE("each reach counts for itself", "[limits]") {
  Limits limits = make({{rule(1, Reach::session)}});
  CHECK(limits.reserve(call("t", "{}", "a"), one(), 0));
  CHECK(limits.reserve(call("t", "{}", "b"), one(), 0));
  CHECK_FALSE(limits.reserve(call("t", "{}", "a"), one(), 0));
  Limits of_tool = make({{rule(1, Reach::tool)}});
  CHECK(of_tool.reserve(call("t"), one(), 0));
  CHECK(of_tool.reserve(call("u"), one(), 0));
  CHECK_FALSE(of_tool.reserve(call("t", "{}", "b"), one(), 0));
  LimitRule refunds = rule(1, Reach::fleet);
  refunds.tool = "refund";
  Limits of_refunds = make({{refunds}});
  CHECK(of_refunds.reserve(call("refund"), one(), 0));
  CHECK_FALSE(of_refunds.reserve(call("refund"), one(), 0));
  CHECK(of_refunds.reserve(call("look"), one(), 0));
}

TEST_CASE("a rate never lets more through in any window", "[limits]") {
  LimitRule rate = rule(10, Reach::fleet);
  rate.window_ms = 60'000;
  Limits limits = make({{rate}});
  std::vector<std::int64_t> granted;
  for (std::int64_t now = 0; now < 300'000; now += 700) {
    const auto held = limits.reserve(call("t"), one(), now);
    if (!held) continue;
    granted.push_back(now);
    CHECK(limits.settle(*held, one(), false, now));
  }
  for (std::size_t i = 10; i < granted.size(); ++i) {
    REQUIRE(granted[i] - granted[i - 10] >= 60'000);
  }
  CHECK(granted.size() >= 40);
}

TEST_CASE("only so many run at once", "[limits]") {
  LimitRule at_once = rule(1000);
  at_once.at_once_most = 2;
  Limits limits = make({{at_once}});
  const auto a = limits.reserve(call("t"), one(), 0);
  REQUIRE(a);
  REQUIRE(limits.reserve(call("t"), one(), 0));
  CHECK_FALSE(limits.reserve(call("t"), one(), 0));
  CHECK(limits.settle(*a, one(), false, 0));
  CHECK(limits.reserve(call("t"), one(), 0));
}

TEST_CASE("the same call over and over is stopped, another one is not", "[limits]") {
  LimitOptions options;
  options.same_calls_max = 3;
  Limits limits = make(options);
  for (int i = 0; i < 3; ++i) REQUIRE(limits.reserve(call("grep", "{\"a\":1}"), one(), i));
  const auto fourth = limits.reserve(call("grep", "{\"a\":1}"), one(), 4);
  REQUIRE_FALSE(fourth);
  CHECK(fourth.error().code == Code::denied);
  CHECK(fourth.error().message ==
        "the same call of grep was made 3 times in a row; do something else");
  CHECK(limits.reserve(call("grep", "{\"a\":1}", "other"), one(), 4));
  CHECK(limits.reserve(call("grep", "{\"a\":2}"), one(), 5));
  CHECK(limits.reserve(call("grep", "{\"a\":1}"), one(), 6));
}

TEST_CASE("a cycle of calls is stopped", "[limits]") {
  LimitOptions options;
  options.same_cycles_max = 2;
  Limits limits = make(options);
  const std::vector<std::string> cycle = {"look", "think", "look", "write"};
  std::size_t made = 0;
  for (; made < 40; ++made) {
    if (!limits.reserve(call(cycle[made % cycle.size()]), one(), 0)) break;
  }
  CHECK(made == 11);  // twice over, and then all of a third but its last
  limits.forget_session("s");
  CHECK(limits.reserve(call("write"), one(), 0));
}

TEST_CASE("a tool that keeps failing is left alone, then one call may try", "[limits]") {
  LimitOptions options;
  options.failures_max = 3;
  options.cool_down_ms = 1000;
  Limits limits = make(options);
  const auto run = [&](bool failed, std::int64_t now) {
    const auto held = limits.reserve(call("t", std::to_string(now)), one(), now);
    if (held) limits.settle(*held, one(), failed, now);
    return held.has_value();
  };
  CHECK((run(true, 0) && run(true, 1) && run(false, 2)));
  CHECK((run(true, 3) && run(true, 4) && run(true, 5)));
  CHECK_FALSE(run(false, 6));
  CHECK(limits.breaker_open("t", 6));
  CHECK_FALSE(limits.breaker_open("u", 6));
  const auto probe = limits.reserve(call("t"), one(), 1005);
  REQUIRE(probe);
  CHECK_FALSE(run(false, 1006));
  CHECK(limits.settle(*probe, one(), true, 1007));
  CHECK_FALSE(run(false, 1500));
  CHECK(run(false, 2007));
  CHECK(run(false, 2008));
}

TEST_CASE("limits have bounds of their own", "[limits]") {
  CHECK_FALSE(Limits::create({{rule(-1)}}));
  LimitOptions options{{rule(5, Reach::session)}};
  options.counters_max = 10;
  Limits limits = make(options);
  std::vector<ReservationId> held;
  for (int i = 0; i < 10; ++i) {
    held.push_back(*limits.reserve(call("t", "{}", std::to_string(i)), one(), 0));
  }
  CHECK_FALSE(limits.reserve(call("t", "{}", "one more"), one(), 0));
  limits.settle(held[0], Amounts{}, false, 0);
  CHECK(limits.reserve(call("t", "{}", "one more"), one(), 0));
  CHECK_FALSE(limits.reserve(call("t"), one(Measure::calls, -1), 0));
}

TEST_CASE("rows, bytes and amounts are bounded like calls", "[limits]") {
  for (const Measure measure : {Measure::rows, Measure::bytes, Measure::amount}) {
    Limits limits = make({{rule(100, Reach::run, measure)}});
    const auto first = limits.reserve(call("export"), one(measure, 60), 0);
    REQUIRE(first);
    CHECK_FALSE(limits.reserve(call("export"), one(measure, 60), 0));
    CHECK(limits.reserve(call("export"), one(measure, 40), 0));
    // More was touched than was said before: that counts too.
    CHECK(limits.settle(*first, one(measure, 90), false, 0));
    CHECK(limits.left(0, call("export"), 0) == 0);
    CHECK_FALSE(limits.reserve(call("export"), one(measure, 1), 0));
  }
}

TEST_CASE("a breaker that opens and closes, and an agent in a circle, are told once", "[limits]") {
  LimitOptions options;
  options.failures_max = 2;
  options.cool_down_ms = 100;
  options.same_calls_max = 1;
  Limits limits = make(options);
  const auto types = [&limits] {
    std::string all;
    for (const agents::Notice& notice : limits.take_notices()) all += notice.type + " ";
    return all;
  };
  const auto run = [&](const std::string& arguments, bool failed, std::int64_t now_ms) {
    const auto held = limits.reserve(call("t", arguments), one(), now_ms);
    REQUIRE(held);
    limits.settle(*held, one(), failed, now_ms);
  };
  run("1", true, 0);
  CHECK(types().empty());
  run("2", true, 1);
  CHECK(types() == "limit.breaker_opened ");
  CHECK_FALSE(limits.reserve(call("t", "3"), one(), 50));
  run("3", false, 200);
  CHECK(types() == "limit.breaker_closed ");
  CHECK_FALSE(limits.reserve(call("t", "3"), one(), 201));
  const auto told = limits.take_notices();
  REQUIRE(told.size() == 1);
  CHECK(told[0].type == "limit.repeated");
  CHECK_THAT(told[0].body, Catch::Contains("1 times in a row"));
}
