// Agents somewhere else as tools of ours, over real loopback sockets.

#include "a2a/remote_tools.h"

#include "a2a/agent_runner.h"
#include "agents/budget.h"
#include "async/race.h"
#include "http/curl_client.h"
#include "io/uv_world.h"
#include "runtime/agents/scripted.h"
#include "scripted_runner.h"

#include <catch2/catch.hpp>

namespace ambit::a2a {
namespace {

using agents::OutcomeKind;

struct FarAgent {
  io::UvWorld world;
  ScriptedRunner runner;
  MemoryTaskStore store;
  std::unique_ptr<Service> service;
  std::unique_ptr<Door> door;
  std::unique_ptr<http::Server> server;
  http::CurlClient http{world.watcher()};
  std::unique_ptr<RemoteTools> tools;

  explicit FarAgent(bool streams = true, RemoteToolsOptions options = {},
                    DoorOptions door_options = {}, std::vector<jose::Key> trusted = {}) {
    server = http::Server::listen(world.world(), {}, [this](http::Exchange& exchange) {
               return door->handle(exchange);
             }).value();
    ServiceOptions service_options = Agent::card_options();
    service_options.card.has_streaming = streams;
    service_options.card.interfaces = {{url() + "/", "JSONRPC", "1.0", ""}};
    service = std::make_unique<Service>(world.world(), store, runner, std::move(service_options));
    door = std::make_unique<Door>(*service, 0, std::move(door_options),
                                  bearer_tokens({{"secret", "desk"}}));
    tools = std::make_unique<RemoteTools>(
        http, std::vector<RemoteSpec>{{"far", url(), "secret", std::move(trusted)}},
        std::move(options));
  }
  [[nodiscard]] std::string url() const { return "http://" + server->address(); }
  template <class T>
  T run(Task<T> task) {
    return run_task(world.loop(), std::move(task));
  }
  agents::Outcome ask(const std::string& task, const std::string& id = "call_1") {
    agents::ToolCall call;
    call.id = id;
    call.name = "agent__far";
    call.arguments = Json({{"task", task}}).dump();
    return run(tools->call("INC-7", call));
  }
};

}  // namespace

TEST_CASE("an agent somewhere else is a tool with its card's words", "[a2a][remote]") {
  FarAgent far;
  const auto specs = far.run(far.tools->list()).value();
  REQUIRE(specs.size() == 1);
  CHECK(specs[0].name == "agent__far");
  CHECK(specs[0].description.find("Answers.") != std::string::npos);
  CHECK(specs[0].destructive);
  far.door.reset();
  far.server.reset();
  RemoteTools lost(far.http, {{"lost", "http://127.0.0.1:1/", "", {}}});
  const auto missing = far.run(lost.list());
  REQUIRE_FALSE(missing);
  CHECK(missing.error().code == Code::unavailable);
  CHECK(missing.error().message.find("agent lost") != std::string::npos);
}

TEST_CASE("what a remote task comes to is the outcome of the call", "[a2a][remote]") {
  for (const bool streams : {true, false}) {
    FarAgent far(streams);
    CHECK(far.ask("hi").content == "done: hi");
    CHECK(far.ask("message", "2").content == "just this");
    CHECK(far.ask("fail", "3").kind == OutcomeKind::tool_error);
    const auto rejected = far.ask("reject", "4");
    CHECK(rejected.kind == OutcomeKind::denied);
    CHECK(rejected.content.find("not allowed by policy") != std::string::npos);
    const auto asks = far.ask("input", "5");
    CHECK(asks.kind == OutcomeKind::tool_error);
    CHECK(asks.content.find("which one?") != std::string::npos);
    CHECK(far.runner.runs.front().caller == "desk");
  }
  FarAgent far;
  CHECK(far.ask("stream 5").content == "0 1 2 3 4 ");
}

TEST_CASE("the same call again finds its task and does nothing twice", "[a2a][remote]") {
  FarAgent far;
  CHECK(far.ask("hi").content == "done: hi");
  const agents::Outcome again = far.ask("hi");
  CHECK(again.content == "done: hi");
  CHECK(far.runner.runs.size() == 1);
  CHECK(far.runner.runs[0].message.id == "INC-7.call_1");
}

TEST_CASE("who stands behind a call goes along, to a depth", "[a2a][remote]") {
  RemoteToolsOptions options;
  Delegation delegation{"alice", {"clerk", "desk"}};
  options.delegation_of = [&](const std::string& session) {
    CHECK(session == "INC-7");
    return delegation;
  };
  FarAgent far(true, options);
  CHECK(far.ask("hi").kind == OutcomeKind::ok);
  const rpc::Value& said = far.runner.runs.at(0).message.metadata;
  CHECK(said.json()[Delegation::uri].dump() ==
        R"({"sub":"alice","act":{"sub":"clerk","act":{"sub":"desk"}}})");
  CHECK(read_delegation(said).value() == delegation);
  delegation.actors = {"a", "b", "c", "d", "e"};
  const auto refused = far.ask("hi", "2");
  CHECK(refused.kind == OutcomeKind::denied);
  CHECK(far.runner.runs.size() == 1);
  CHECK_FALSE(read_delegation(rpc::Value(Json::object())).value());
  for (const char* bad : {"1", R"({"act":1})", R"({"act":{}})", R"({"act":{"sub":""}})",
                          R"({"act":{"sub":"a","act":[]}})"}) {
    Json json = Json::object();
    json[Delegation::uri] = Json::parse(bad);
    INFO(bad);
    CHECK_FALSE(read_delegation(rpc::Value(json)));
  }
}

TEST_CASE("a call that is given up cancels the task out there", "[a2a][remote]") {
  FarAgent far;
  agents::ToolCall call;
  call.id = "1";
  call.name = "agent__far";
  call.arguments = R"({"task":"hang"})";
  {
    Scope scope;
    scope.spawn([](RemoteTools& tools, agents::ToolCall what) -> Task<void> {
      co_await tools.call("s", std::move(what));
    }(*far.tools, call));
    far.world.loop().run_until([&] { return far.runner.running == 1; });
    // The client has heard of its task as well.
    far.run(delay_task(std::chrono::milliseconds(50)));
  }
  far.world.loop().run_until([&] { return far.service->runs() == 0; });
  CHECK(far.runner.cancelled == 1);
}

TEST_CASE("bad arguments, long answers and cards of strangers are refused or cut",
          "[a2a][remote]") {
  RemoteToolsOptions options;
  options.answer_bytes_max = 50;
  FarAgent far(true, options);
  agents::ToolCall call;
  call.name = "agent__far";
  for (const char* bad : {"", "[]", "{}", R"({"task":1})"}) {
    call.arguments = bad;
    CHECK(far.run(far.tools->call("s", call)).kind == OutcomeKind::bad_arguments);
  }
  call.name = "agent__nobody";
  CHECK(far.run(far.tools->call("s", call)).kind == OutcomeKind::refused);
  const auto cut = far.ask("stream 100", "9");
  CHECK(cut.kind == OutcomeKind::output_limit);
  CHECK(cut.content.size() == 50);
  const jose::Key key = jose::Key::make(jose::Algorithm::es256, "k").value();
  DoorOptions door;
  door.keys = {key};
  FarAgent signed_one(true, {}, door, {key});
  CHECK(signed_one.ask("hi").content == "done: hi");
  FarAgent stranger(true, {}, {}, {key});
  const auto refused = stranger.ask("hi");
  CHECK(refused.kind == OutcomeKind::protocol_error);
  CHECK(refused.content.find("not signed") != std::string::npos);
}

TEST_CASE("a delegation is one of its session's descendants, names its run, and is bounded",
          "[a2a][remote]") {
  agents::Roster roster;
  RemoteToolsOptions options;
  options.roster = &roster;
  options.fleet = "desk";
  options.depth_max = 3;
  FarAgent far(true, options);
  CHECK(far.ask("hi").kind == OutcomeKind::refused);  // nobody's session
  agents::AgentSpec clerk;
  clerk.name = "clerk";
  clerk.owner = "ops@example.com";
  agents::SessionState state;
  state.id = "INC-7";
  const std::string run = "run-1";
  far.run([](agents::Roster& list, const std::string& of, const agents::AgentSpec& agent,
             const agents::SessionState& session, FarAgent& far_one) -> Task<void> {
    agents::Limits limits;
    limits.descendants = 2;
    agents::Ledger ledger("session INC-7", limits, Loop::current().now(), nullptr);
    agents::Roster::Entry entry{of, agent, session, ledger};
    entry.outside.edit().through = {"other/boss"};
    const agents::Roster::Listing listing(&list, entry);
    agents::ToolCall call;
    call.name = "agent__far";
    call.arguments = R"({"task":"hi"})";
    for (int n = 1; n <= 3; ++n) {
      call.id = std::to_string(n);
      agents::Outcome outcome = co_await far_one.tools->call("INC-7", call);
      CHECK(outcome.kind == (n < 3 ? OutcomeKind::ok : OutcomeKind::refused));
      if (n == 3) CHECK(outcome.content.find("maxDescendants") != std::string::npos);
    }
    CHECK(ledger.spent().descendants == 2);
  }(roster, run, clerk, state, far));
  REQUIRE(far.runner.runs.size() == 2);
  CHECK(far.runner.runs[0].message.id == "run-1/INC-7.1");
  CHECK(far.runner.runs[0].message.metadata.json()[Delegation::uri].dump() ==
        R"({"sub":"ops@example.com","act":{"sub":"desk/clerk","act":{"sub":"other/boss"}}})");
}

TEST_CASE("a session's delegation names its agents, then those outside, then whom it is for",
          "[a2a][remote]") {
  agents::AgentSpec boss;
  boss.name = "boss";
  boss.owner = "ops@example.com";
  agents::AgentSpec clerk = boss;
  clerk.name = "clerk";
  const agents::SessionState state;
  const std::string run = "r";
  agents::Ledger ledger("x", {}, Instant{}, nullptr);
  agents::Roster::Entry root{run, boss, state, ledger};
  root.outside = agents::Outside{"alice", {"x/first", "y/second"}};
  agents::Roster::Entry child{run, clerk, state, ledger};
  child.parent = &root;
  const Delegation named = delegation_of(child, "desk");
  CHECK(named.person == "alice");
  CHECK(named.actors == std::vector<std::string>{"desk/clerk", "desk/boss", "y/second", "x/first"});
  root.outside.edit().person.clear();
  CHECK(delegation_of(root, "desk").person == "ops@example.com");
}

namespace {

// A fleet with one agent, served over real sockets; what its sessions do is scripted.
struct Fleet {
  agents::Fleet spec = agents::small_fleet();
  agents::ScriptedModel model;
  agents::TableGuard guard;
  agents::MemoryJournal journal;
  agents::Roster roster;
  std::unique_ptr<AgentRunner> runner;
  MemoryTaskStore store;
  std::unique_ptr<Service> service;
  std::unique_ptr<Door> door;
  std::unique_ptr<http::Server> server;

  Fleet(io::UvWorld& world, const std::string& name, std::vector<agents::Message> script)
      : model(std::move(script)) {
    spec.name = name;
    spec.agents[0].owner = name + "@example.com";
    spec.agents[0].a2a.emplace();
    server = http::Server::listen(world.world(), {}, [this](http::Exchange& exchange) {
               return door->handle(exchange);
             }).value();
  }
  void serve(io::UvWorld& world, std::vector<agents::Toolbox*> tools) {
    agents::Ports ports{guard, journal, agents::any_arguments, nullptr, nullptr, nullptr, &roster};
    runner = std::make_unique<AgentRunner>(spec, spec.agents[0], model, ports);
    REQUIRE(run_task(world.loop(), runner->open(std::move(tools))));
    ServiceOptions options;
    options.card = card_of(spec, spec.agents[0], url() + "/", true, true);
    service = std::make_unique<Service>(world.world(), store, *runner, std::move(options));
    door = std::make_unique<Door>(*service, 0, DoorOptions(), bearer_tokens({{"secret", "near"}}));
  }
  [[nodiscard]] std::string url() const { return "http://" + server->address(); }
  [[nodiscard]] std::string record() const {
    std::string all;
    for (const agents::Event& event : journal.events) all += event.type + " " + event.body + "\n";
    return all;
  }
};

}  // namespace

TEST_CASE("one fleet gives a task to another: decided, recorded in both, for the same person",
          "[a2a][remote]") {
  io::UvWorld world;
  http::CurlClient http(world.watcher());
  Fleet far(world, "far", {agents::says("it is 324 metres high")});
  far.serve(world, {});
  Fleet near(world, "near",
             {agents::calls("agent__expert", R"({"task":"how high is it?"})"),
              agents::says("the expert says: 324 metres")});
  near.spec.agents[0].tools = {"agent__expert"};
  RemoteToolsOptions options;
  options.roster = &near.roster;
  options.fleet = "near";
  RemoteTools tools(http, {{"expert", far.url(), "secret", {}}}, options);
  near.serve(world, {&tools});
  const auto ask = [&](const std::string& id) {
    SendRequest request;
    request.message.id = id;
    request.message.role = Role::user;
    request.message.parts.push_back(text_part("how high is the tower?"));
    Call call;
    call.caller = "alice";
    auto sent = run_task(world.loop(), near.service->send(call, std::move(request)));
    return std::get<TaskView>(sent.value()).task->record;
  };
  const TaskRecord task = ask("m1");
  CHECK(task.status.state == TaskState::completed);
  CHECK(task.artifacts.at(0).parts.at(0).text == "the expert says: 324 metres");
  // Decided before it was done, as a delegation, and its outcome recorded.
  const agents::Action& action = near.guard.seen.at(1);
  CHECK(action.kind == agents::ActionKind::delegation);
  CHECK(action.tool == "expert");
  const std::string record = near.record();
  CHECK(record.find("\"delegation\"") != std::string::npos);
  CHECK(record.find("action.outcome") > record.find("\"delegation\""));
  // The other fleet knows for whom and through whom, in its record and for its policies.
  CHECK(far.record().find(R"("delegation":{"sub":"alice","act":{"sub":"near/clerk"}})") !=
        std::string::npos);
  CHECK(far.guard.seen.at(0).chain == std::vector<std::string>{"near/clerk"});
  // What the policies forbid goes nowhere.
  near.guard.verdicts["expert"] = agents::Verdict::deny;
  const std::size_t before = far.store.size();
  CHECK(ask("m2").status.state == TaskState::completed);
  CHECK(far.store.size() == before);
  CHECK(near.record().find("denied") != std::string::npos);
}

}  // namespace ambit::a2a
