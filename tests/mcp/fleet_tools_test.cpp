// What MCP clients of an agent are offered, before and after the fleet file is read again.

#include "mcp/fleet_tools.h"

#include "runtime/agents/scripted.h"
#include "served.h"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace ambit::mcp {
namespace {

using agents::CountingTools;
using rpc::Json;

agents::ToolSpec spec_of(const std::string& name, const std::string& about = "A tool") {
  agents::ToolSpec spec;
  spec.name = name;
  spec.description = about;
  spec.input_schema = R"({"type":"object"})";
  return spec;
}

agents::AgentSpec agent_with(std::vector<std::string> tools) {
  agents::AgentSpec agent;
  agent.name = "clerk";
  agent.tools = std::move(tools);
  return agent;
}

// Calls wait until they are let go.
class WaitingTools final : public agents::Toolbox {
 public:
  Task<Result<std::vector<agents::ToolSpec>>> list() override {
    co_return std::vector<agents::ToolSpec>{spec_of("grep")};
  }
  Task<agents::Outcome> call(std::string /*session*/, agents::ToolCall /*call*/) override {
    ++calls;
    co_await released.wait();
    agents::Outcome outcome;
    outcome.content = "waited";
    co_return outcome;
  }
  int calls = 0;
  Waiters released;
};

class BrokenTools final : public agents::Toolbox {
 public:
  Task<Result<std::vector<agents::ToolSpec>>> list() override {
    co_return Err(Code::unavailable, "it is down");
  }
  Task<agents::Outcome> call(std::string /*session*/, agents::ToolCall /*call*/) override {
    co_return agents::Outcome();
  }
};

Task<void> call_into(Client& client, std::string& out) {
  Value none = Json::object();
  auto answer = co_await client.call_tool("grep", std::move(none));
  out = answer && !answer->fault ? answer->result.content.at(0).text : "failed";
}

struct Door {
  io::UvWorld world;
  agents::TableGuard guard;
  agents::MemoryJournal journal;
  CountingTools first{{spec_of("grep"), spec_of("read"), spec_of("other")}};
  std::unique_ptr<FleetTools> tools;
  Server server{world.world().clock, world.world().entropy, options()};
  Served served{server};
  std::vector<std::string> news;

  ServerOptions options() {
    ServerOptions made;
    made.before_list = [this]() { return tools->refresh(); };
    return made;
  }
  Door() {
    FleetToolsOptions made;
    made.run = "run";
    made.session = "mcp-clerk";
    made.agent = agent_with({"grep", "read"});
    made.is_shared = true;
    tools = std::make_unique<FleetTools>(server, std::vector<agents::Toolbox*>{&first},
                                         agents::Ports{guard, journal, {}}, made);
  }
  template <class T>
  T run(Task<T> task) {
    return run_task(world.loop(), std::move(task));
  }
  std::unique_ptr<Client> client(EraChoice era) {
    ClientOptions made;
    made.era = era;
    made.on_change = [this](const std::string& method, const Value&) { news.push_back(method); };
    auto fresh = std::make_unique<Client>(served.connect(), made);
    REQUIRE(run(fresh->connect()).has_value());
    REQUIRE(names(*fresh) == std::vector<std::string>{"grep", "read"});
    Interests wanted;
    wanted.tools = true;
    fresh->hear_of(wanted);
    settle();
    news.clear();
    return fresh;
  }
  std::vector<std::string> names(Client& client) {
    std::vector<std::string> all;
    const auto listed = run(client.list_tools());
    REQUIRE(listed.has_value());
    for (const Tool& tool : listed->tools) all.push_back(tool.name);
    return all;
  }
  // What another reading of the fleet file puts in force; `keeps` may be null.
  void reload(std::vector<std::string> offered, agents::Toolbox* box,
              std::shared_ptr<const void> keeps = nullptr) {
    const auto adopt =
        run(tools->prepare({agent_with(std::move(offered)), {box}, std::move(keeps)}));
    REQUIRE(adopt.has_value());
    settle();
    CHECK(news.empty());  // not yet
    (*adopt)();
    settle();
  }
  void settle() {
    run([]() -> Task<int> {
      co_await delay(std::chrono::milliseconds(20));
      co_return 0;
    }());
  }
  std::string call(Client& client, const std::string& tool) {
    const auto answer = run(client.call_tool(tool, Json::object()));
    if (!answer) return answer.error().message;
    return answer->fault ? answer->fault->message : answer->result.content.at(0).text;
  }
};

}  // namespace

TEST_CASE("clients of both eras are told what a reload has changed, and offered it",
          "[mcp][reload]") {
  for (const EraChoice era : {EraChoice::legacy, EraChoice::modern}) {
    Door door;
    const auto client = door.client(era);
    CountingTools second({spec_of("grep"), spec_of("read"), spec_of("write")});
    door.reload({"grep", "write"}, &second);
    CHECK(std::count(door.news.begin(), door.news.end(), "notifications/tools/list_changed") > 0);
    // Who has not listed again hears what has become of the tool.
    CHECK(door.call(*client, "read") == "there is no tool \"read\"");
    CHECK(door.names(*client) == std::vector<std::string>{"grep", "write"});
    CHECK(door.call(*client, "write") == "result of write");
    CHECK(door.guard.seen.back().tool == "write");
    CHECK(second.ran.size() == 1);
    CHECK(door.first.ran.empty());
  }
}

TEST_CASE("a reload that changes nothing for clients is not told, and holds for their calls",
          "[mcp][reload]") {
  Door door;
  const auto client = door.client(EraChoice::legacy);
  CountingTools second({spec_of("grep"), spec_of("read")});
  door.reload({"grep", "read"}, &second);
  CHECK(door.news.empty());
  CHECK(door.call(*client, "grep") == "result of grep");
  CHECK(door.first.ran.empty());
  CHECK(second.ran.size() == 1);
}

TEST_CASE("a tool that means something else after a reload is another tool", "[mcp][reload]") {
  Door door;
  const auto client = door.client(EraChoice::legacy);
  CountingTools second({spec_of("grep", "Search everything"), spec_of("read")});
  door.reload({"grep", "read"}, &second);
  CHECK_FALSE(door.news.empty());
  CHECK(door.names(*client) == std::vector<std::string>{"grep", "read"});
}

TEST_CASE("a call that has begun ends where it began, which lives that long", "[mcp][reload]") {
  Door door;
  auto second = std::make_shared<WaitingTools>();
  const std::weak_ptr<WaitingTools> alive = second;
  const auto client = door.client(EraChoice::modern);
  door.reload({"grep"}, second.get(), second);
  std::string said;
  Scope scope;
  scope.spawn(call_into(*client, said));
  door.world.loop().run_until([&] { return second->calls == 1; });
  second.reset();
  door.news.clear();
  door.reload({"read"}, &door.first);
  REQUIRE_FALSE(alive.expired());
  alive.lock()->released.wake_all();
  door.world.loop().run_until([&] { return scope.size() == 0; });
  CHECK(said == "waited");
  door.settle();
  CHECK(alive.expired());
  CHECK(door.call(*client, "grep") == "there is no tool \"grep\"");
}

TEST_CASE("a reading whose tools cannot be listed is not put in force", "[mcp][reload]") {
  BrokenTools broken;
  Door door;
  const auto client = door.client(EraChoice::legacy);
  const auto adopt = door.run(door.tools->prepare({agent_with({"grep"}), {&broken}, nullptr}));
  REQUIRE_FALSE(adopt.has_value());
  CHECK(adopt.error().message == "it is down");
  CHECK(door.names(*client) == std::vector<std::string>{"grep", "read"});
}

}  // namespace ambit::mcp
