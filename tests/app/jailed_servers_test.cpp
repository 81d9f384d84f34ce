// Whose MCP server a call meets: one for each agent, or one that was started ahead and serves this
// call alone; how many there are, and what happens when that is too few.

#include "app/jailed_servers.h"

#include "async/race.h"
#include "io/uv_world.h"
#include "support/run_task.h"

#include <catch2/catch.hpp>

#include <set>
#include <string>
#include <utility>
#include <vector>

namespace ambit::app {
namespace {

// What the servers of one test have in common.
struct Yard {
  io::UvWorld world;
  int made = 0;
  int started = 0;
  int alive = 0;
  int alive_most = 0;
  Duration takes = Duration::zero();  // a call

  template <class T>
  T run(Task<T> task) {
    return run_task(world.loop(), std::move(task));
  }
};

// A server with a memory: it says its number and which call of its life this is.
class Numbered final : public agents::Toolbox {
 public:
  explicit Numbered(Yard& yard) : yard_(yard), number_(++yard.made) {
    yard_.alive_most = std::max(yard_.alive_most, ++yard_.alive);
  }
  Numbered(const Numbered&) = delete;
  Numbered& operator=(const Numbered&) = delete;
  ~Numbered() override { --yard_.alive; }

  Task<Result<std::vector<agents::ToolSpec>>> list() override {
    start();
    std::vector<agents::ToolSpec> tools(1);
    tools[0].name = "mcp__one__tool";
    co_return tools;
  }
  Task<agents::Outcome> call(std::string /*session*/, agents::ToolCall /*call*/) override {
    const bool was_ahead = started_;
    start();
    agents::Outcome outcome;
    outcome.content = std::to_string(number_) + "." + std::to_string(++calls_) +
                      (was_ahead ? " started" : " cold");
    co_await delay(yard_.takes);
    co_return outcome;
  }

 private:
  void start() {
    if (!std::exchange(started_, true)) ++yard_.started;
  }
  Yard& yard_;
  int number_;
  int calls_ = 0;
  bool started_ = false;
};

ServerPerCaller::Make maker(Yard& yard) {
  return [&yard]() { return std::make_unique<Numbered>(yard); };
}
std::string agent_of(const std::string& session) {
  return session.substr(0, session.find('.'));
}
std::string ask(Yard& yard, ServerPerCaller& servers, const std::string& session) {
  return yard.run(servers.call(session, {})).content;
}
Task<int> several(ServerPerCaller& servers, std::vector<std::string> sessions,
                  std::vector<agents::Outcome>& out) {
  std::vector<Task<agents::Outcome>> calls;
  for (const std::string& session : sessions) calls.push_back(servers.call(session, {}));
  out = co_await join(std::move(calls));
  co_return 0;
}
Task<int> wait(Duration time) {
  co_await delay(time);
  co_return 0;
}

}  // namespace

TEST_CASE("each agent has a server of its own, and meets it again", "[app][isolation]") {
  Yard yard;
  ServerPerCaller servers(maker(yard), agent_of);
  CHECK(ask(yard, servers, "clerk.1") == "1.1 cold");
  CHECK(ask(yard, servers, "clerk.2") == "1.2 started");
  CHECK(ask(yard, servers, "guard.1") == "2.1 cold");
  CHECK(ask(yard, servers, "clerk.1") == "1.3 started");
  CHECK(yard.alive == 2);
}

TEST_CASE("each call has a server of its own, started before the call came", "[app][isolation]") {
  Yard yard;
  ServerPerCaller servers(maker(yard), nullptr);
  REQUIRE(yard.run(servers.list()).has_value());
  yard.run(wait(std::chrono::milliseconds(1)));
  // The one that lists, and two ahead.
  CHECK(yard.started == 3);
  std::set<std::string> seen;
  for (int i = 0; i < 10; ++i) {
    const std::string said = ask(yard, servers, "clerk.1");
    INFO(said);
    CHECK(said.find(".1 started") != std::string::npos);
    seen.insert(said);
    yard.run(wait(std::chrono::milliseconds(1)));
  }
  CHECK(seen.size() == 10);
  // Whoever has served its call is gone.
  CHECK(yard.alive == 3);
}

TEST_CASE("calls beyond the bound of servers wait for their turn", "[app][isolation]") {
  Yard yard;
  yard.takes = std::chrono::milliseconds(2);
  ServerPerCaller servers(maker(yard), nullptr, {4, 2});
  std::vector<agents::Outcome> outcomes;
  yard.run(several(servers, std::vector<std::string>(20, "clerk.1"), outcomes));
  REQUIRE(outcomes.size() == 20);
  for (const agents::Outcome& one : outcomes) CHECK_FALSE(one.is_error());
  CHECK(yard.alive_most <= 4 + 2);
}

TEST_CASE("of agents' servers the idle one makes room; where all are at work the call is refused",
          "[app][isolation]") {
  Yard yard;
  ServerPerCaller servers(maker(yard), agent_of, {2, 0});
  CHECK(ask(yard, servers, "one.1") == "1.1 cold");
  CHECK(ask(yard, servers, "two.1") == "2.1 cold");
  CHECK(ask(yard, servers, "three.1") == "3.1 cold");
  CHECK(yard.alive == 2);
  CHECK(ask(yard, servers, "one.1") == "4.1 cold");
  yard.takes = std::chrono::milliseconds(5);
  std::vector<agents::Outcome> outcomes;
  yard.run(several(servers, {"one.1", "three.1", "four.1"}, outcomes));
  REQUIRE(outcomes.size() == 3);
  CHECK_FALSE(outcomes[0].is_error());
  CHECK_FALSE(outcomes[1].is_error());
  CHECK(outcomes[2].kind == agents::OutcomeKind::protocol_error);
  CHECK(outcomes[2].detail.find("at work") != std::string::npos);
}

}  // namespace ambit::app
