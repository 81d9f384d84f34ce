#include "agents/flow.h"

#include "agents/plan.h"
#include "agents/sub_agents.h"
#include "scripted.h"

#include <catch2/catch.hpp>

#include <algorithm>

namespace ambit::agents {
namespace {

using Say = std::function<Message(const std::string& agent, const std::string& prompt,
                                  const TurnRequest& request)>;

// A fleet of the named agents, each with its name for instructions, and a workflow as in a file.
Fleet fleet_of(const std::vector<std::string>& agents, const std::string& workflow) {
  std::string text =
      R"({"models": {"m": {"model": "m.gguf"}}, "policies": ["p.cedar"], "agents": {)";
  for (std::size_t i = 0; i < agents.size(); ++i) {
    text += (i > 0 ? ", " : "") + json_quoted(agents[i]) + R"(: {"model": "m", "instructions": )" +
            json_quoted(agents[i]) + "}";
  }
  text += "}, \"workflow\": " + workflow + "}";
  FleetContext context;
  context.directory = "/fleet";
  FleetFile file = parse_fleet(text, context);
  for (const Problem& problem : file.problems) {
    FAIL(problem.path << ": " << problem.message << " in " << text);
  }
  return std::move(file.fleet);
}

struct House {
  House(const std::vector<std::string>& agents, const std::string& workflow, const Say& say)
      : fleet(fleet_of(agents, workflow)), model([say](const TurnRequest& request) {
          return say(request.messages.front().content, request.messages.back().content, request);
        }) {}

  FleetRun& run(const std::string& record = R"({"id":"x","text":"go"})") {
    ports.emplace(Ports{guard, journal, any_arguments});
    ports->roster = &roster;
    roster.restored.clear();
    const std::map<std::string, Model*> models = {{"m", &model}};
    sub_agents.emplace(fleet, models, *ports, std::vector<Toolbox*>{&tools});
    fleet_run.emplace(fleet, RunOptions{"r", "ops", 1, 1}, models,
                      std::vector<Toolbox*>{&tools, &*sub_agents}, *ports);
    if (resume) REQUIRE(fleet_run->restore(journal));
    Scope scope;
    scope.spawn([](FleetRun& r, std::vector<Input> in, Result<void>& out) -> Task<void> {
      out = co_await r.run(std::move(in));
    }(*fleet_run, read_inputs(fleet.workflow, record), result));
    loop.run_until([&] { return scope.size() == 0; });
    REQUIRE(result);
    return *fleet_run;
  }
  const FlowAnswer& answer() { return *fleet_run->flows().at(0)->answer; }
  std::vector<std::string> sessions() const {
    std::vector<std::string> names;
    for (const auto& session : fleet_run->sessions()) names.push_back(session->id);
    return names;
  }

  FakePoller poller;
  Loop loop{poller};
  Fleet fleet;
  SayingModel model;
  TableGuard guard;
  MemoryJournal journal;
  Roster roster;
  CountingTools tools{{tool("look", true)}};
  std::optional<Ports> ports;
  std::optional<SubAgents> sub_agents;
  std::optional<FleetRun> fleet_run;
  Result<void> result;
  bool resume = false;
};

Message echo(const std::string& agent, const std::string& prompt, const TurnRequest& /*request*/) {
  return says(agent + "(" + prompt + ")");
}

}  // namespace

TEST_CASE("in sequence each agent hears what the one before it said", "[flow]") {
  House house({"a", "b", "c"},
              R"({"pattern": "sequential", "prompt": "${text}",
                  "steps": ["a", {"agent": "b", "prompt": "more: ${previous} / ${input}"}, "c"]})",
              echo);
  house.run();
  CHECK(house.answer().answer == "c(b(more: a(go) / go))");
  CHECK(house.sessions() == std::vector<std::string>{"x.a", "x.b", "x.c"});
}

TEST_CASE("a step that fails leaves out what follows, unless an edge waits for just that",
          "[flow]") {
  const Say say = [](const std::string& agent, const std::string& prompt,
                     const TurnRequest& request) {
    return agent == "b" ? says("FAIL") : echo(agent, prompt, request);
  };
  House house({"a", "b", "c"},
              R"({"pattern": "sequential", "prompt": "${text}", "steps": ["a", "b", "c"]})", say);
  house.run();
  CHECK(house.answer().end == SessionEnd::failed);
  CHECK(house.sessions() == std::vector<std::string>{"x.a", "x.b"});
  House mended({"a", "b", "c"},
               R"({"pattern": "graph", "prompt": "${text}",
                   "nodes": {"b": {"agent": "b"}, "c": "c", "a": {"agent": "a", "join": "any"}},
                   "edges": [{"from": "b", "to": "c", "when": "failed"}, {"from": "b", "to": "a"},
                             {"from": "c", "to": "a"}]})",
               say);
  mended.run();
  CHECK(mended.answer().answer == "a(c())");
}

TEST_CASE("branches run side by side and are joined in the order of the file", "[flow]") {
  House house({"a", "b", "c"},
              R"({"pattern": "parallel", "prompt": "${text}", "branches": ["a", "b"],
                  "then": {"agent": "c", "prompt": "${a}+${b}"}})",
              echo);
  house.run();
  CHECK(house.answer().answer == "c(a(go)+b(go))");
  // Both branches took one step of time.
  CHECK(house.poller.now() < std::chrono::milliseconds(10));
}

TEST_CASE("in a race the first answer counts and the others are stopped", "[flow]") {
  House house({"slow", "fast", "end"},
              R"({"pattern": "parallel", "prompt": "${text}", "branches": ["slow", "fast"],
                  "join": "race", "then": "end"})",
              [](const std::string& agent, const std::string& prompt, const TurnRequest& request) {
                const bool calls_on = agent == "slow" && request.messages.back().role == Role::user;
                return calls_on ? calls("look", "{}") : echo(agent, prompt, request);
              });
  house.fleet.agents[0].tools = {"look"};
  house.tools.takes = std::chrono::hours(1);
  house.run();
  CHECK(house.answer().answer == "end(fast(go))");
  CHECK(house.poller.now() < std::chrono::seconds(1));
  const auto& sessions = house.fleet_run->sessions();
  const auto slow = std::find_if(sessions.begin(), sessions.end(),
                                 [](const auto& one) { return one->id == "x.slow"; });
  CHECK((*slow)->state.end == SessionEnd::stopped);
}

TEST_CASE("one session an item, and their answers as an array", "[flow]") {
  House house({"w", "sum"},
              R"({"pattern": "parallel", "prompt": "all", "forEach": "${items}", "agent": "w",
                  "itemPrompt": "do ${item}", "then": "sum"})",
              echo);
  house.run(R"({"id":"x","items":["p","q",3]})");
  CHECK(house.answer().answer == R"x(sum(["w(do p)","w(do q)","w(do 3)"]))x");
  CHECK(house.sessions() == std::vector<std::string>{"x.sum", "x.w.1", "x.w.2", "x.w.3"});
  house.run(R"({"id":"x","items":"none"})");
  CHECK(house.answer().error == "forEach: ${items} is not a JSON array");
}

TEST_CASE("an agent hands the conversation over, and the next one hears it", "[flow]") {
  House house(
      {"triage", "billing", "tech"},
      R"({"pattern": "handoff", "prompt": "${text}", "agents": ["triage", "billing", "tech"]})",
      [](const std::string& agent, const std::string& /*prompt*/, const TurnRequest& request) {
        if (agent == "triage") return calls("handoff__billing", R"({"message":"an invoice"})");
        return says(agent + " heard " + request.messages.at(1).content + ", then " +
                    request.messages.at(2).content);
      });
  house.run();
  CHECK(house.answer().answer == "billing heard go, then triage: an invoice");
  CHECK(house.sessions() == std::vector<std::string>{"x.billing", "x.triage"});
  const auto handed = std::find_if(house.guard.seen.begin(), house.guard.seen.end(),
                                   [](const Action& a) { return a.tool == "billing"; });
  REQUIRE(handed != house.guard.seen.end());
  CHECK(handed->kind == ActionKind::delegation);
}

TEST_CASE("agents that hand over in circles are bounded", "[flow]") {
  House house(
      {"a", "b"},
      R"({"pattern": "handoff", "prompt": "${text}", "agents": ["a", "b"], "maxHandoffs": 3})",
      [](const std::string& agent, const std::string&, const TurnRequest&) {
        return calls(agent == "a" ? "handoff__b" : "handoff__a", "{}");
      });
  house.run();
  CHECK(house.sessions().size() == 7);
}

TEST_CASE("a supervisor gives tasks to workers and hears their answers", "[flow]") {
  House house(
      {"boss", "worker"},
      R"({"pattern": "supervisor", "prompt": "${text}", "agent": "boss", "workers": ["worker"]})",
      [](const std::string& agent, const std::string& prompt, const TurnRequest& request) {
        const bool begins = request.messages.back().role == Role::user;
        if (agent == "boss" && begins) return calls("agent__worker", R"({"task":"dig"})");
        return echo(agent, prompt, request);
      });
  house.run();
  CHECK(house.fleet_run->sessions()[0]->state.answer == "boss(worker(dig))");
  const auto child = std::find_if(
      house.journal.events.begin(), house.journal.events.end(),
      [](const Event& event) { return event.type == "session.started" && event.session != "x"; });
  REQUIRE(child != house.journal.events.end());
  CHECK(child->session == "x.call_1_1");
  CHECK(child->body.find(R"("parent":"x")") != std::string::npos);
}

TEST_CASE("delegation is bounded in depth, in number and by the caller's budget", "[flow]") {
  const Say deeper = [](const std::string& agent, const std::string&, const TurnRequest& request) {
    if (request.messages.back().role == Role::user) {
      return calls("agent__" + agent, R"({"task":"deeper"})");
    }
    return says("back: " + request.messages.back().content);
  };
  const std::string workflow =
      R"({"pattern": "supervisor", "prompt": "${text}", "agent": "a", "workers": ["a"]})";
  House deep({"a"}, workflow, deeper);
  deep.run();
  CHECK(deep.fleet_run->sessions()[0]->state.answer.find("the limit maxDepth = 4") !=
        std::string::npos);
  House many({"a"}, workflow, deeper);
  many.fleet.agents[0].limits.descendants = 2;
  many.run();
  CHECK(many.fleet_run->sessions()[0]->state.answer.find("maxDescendants = 2") !=
        std::string::npos);
  House poor({"a"}, workflow, deeper);
  poor.fleet.agents[0].limits.turns = 3;
  poor.run();
  // Every turn of a child is a turn of its caller's budget too.
  CHECK(poor.model.prompts.size() == 3);
}

TEST_CASE("a group talks in turns until the word is said, or the rounds are over", "[flow]") {
  int turns = 0;
  const Say say = [&turns](const std::string& agent, const std::string&, const TurnRequest&) {
    return says(++turns == 5 ? "DONE by " + agent : agent + std::to_string(turns));
  };
  const std::string workflow = R"({"pattern": "group-chat", "prompt": "${text}",
      "agents": ["a", "b"], "rounds": 10, "until": "DONE"})";
  House house({"a", "b"}, workflow, say);
  house.run();
  CHECK(house.answer().answer == "DONE by a");
  CHECK(house.model.prompts.back() == "go\n\nSo far:\na: a1\nb: b2\na: a3\nb: b4");
  turns = 100;
  House silent({"a", "b"}, R"({"pattern": "group-chat", "prompt": "${text}",
      "agents": ["a", "b"], "rounds": 3, "until": "DONE"})",
               say);
  silent.run();
  CHECK(silent.sessions().size() == 6);
}

TEST_CASE("a reviewer sends work back as often as the edge allows", "[flow]") {
  int reviews = 0;
  House house({"writer", "reviewer", "editor"},
              R"({"pattern": "graph", "prompt": "${text}", "answer": "editor",
                  "nodes": {"writer": {"agent": "writer"}, "reviewer": "reviewer", "editor": "editor"},
                  "edges": [{"from": "writer", "to": "reviewer"},
                            {"from": "reviewer", "to": "writer", "when": {"contains": "AGAIN"}, "times": 5},
                            {"from": "reviewer", "to": "editor", "when": "otherwise"}]})",
              [&](const std::string& agent, const std::string& prompt, const TurnRequest& request) {
                if (agent != "reviewer") return echo(agent, prompt, request);
                return says(++reviews < 3 ? "AGAIN" : "good");
              });
  house.run();
  CHECK(house.answer().answer == "editor(good)");
  CHECK(house.sessions() == std::vector<std::string>{"x.editor", "x.reviewer", "x.reviewer~2",
                                                     "x.reviewer~3", "x.writer", "x.writer~2",
                                                     "x.writer~3"});
}

TEST_CASE("a planner's plan is checked, carried out, and planned anew after a failure", "[flow]") {
  int plans = 0;
  House house(
      {"chief", "hand"},
      R"({"pattern": "plan-execute", "prompt": "${text}", "planner": "chief", "executors": ["hand"]})",
      [&](const std::string& agent, const std::string& prompt, const TurnRequest& request) {
        if (agent == "hand") return prompt == "b" ? says("FAIL") : echo(agent, prompt, request);
        ++plans;
        CHECK(request.output_schema.find("\"steps\"") != std::string::npos);
        if (plans == 1) return says(R"({"steps": [{"id": "1", "agent": "nobody", "task": "a"}]})");
        if (plans == 2) {
          return says(R"(My plan: {"steps": [{"id": "1", "agent": "hand", "task": "a", "after": []},
                        {"id": "2", "agent": "hand", "task": "b", "after": []}]})");
        }
        CHECK(prompt.find("1 done: hand(a)") != std::string::npos);
        CHECK(prompt.find("2 failed") != std::string::npos);
        return says(R"({"steps": [{"id": "3", "agent": "hand", "task": "c", "after": []}]})");
      });
  house.run();
  CHECK(plans == 3);
  CHECK(house.answer().answer == "hand(c)");
  CHECK(house.sessions() == std::vector<std::string>{"x.plan", "x.plan~2", "x.plan~2.do.1",
                                                     "x.plan~2.do.2", "x.plan~3", "x.plan~3.do"});
}

TEST_CASE("plans that cannot be carried out are refused with the reason", "[flow]") {
  const PlanSpec spec{{"hand"}, 2, 2};
  const auto why = [&](const std::string& text) { return parse_plan(text, spec).error().message; };
  CHECK(why("no") == "the plan is not a JSON object with an array \"steps\"");
  CHECK(why(R"({"steps":[]})") == "the plan has no steps");
  CHECK(why(R"({"steps":[{"id":"1","agent":"hand"}]})") == "a step needs the text \"task\"");
  CHECK(why(R"({"steps":[{"id":"1","agent":"hand","task":"","after":["2"]}]})") ==
        "step 1: there is no step \"2\"");
  CHECK(why(R"({"steps":[{"id":"1","agent":"hand","task":"","after":["2"]},
                         {"id":"2","agent":"hand","task":"","after":["1"]}]})") ==
        "the steps wait for each other in a circle");
  CHECK(why(R"({"steps":[1,2,3]})") == "the plan has 3 steps, more than 2");
  CHECK(why(R"({"steps":[{"id":"../x","agent":"hand","task":""}]})")
            .starts_with("a step's id has 1 to 32"));
}

TEST_CASE("what a model writes in a plan or an answer is never a placeholder", "[flow]") {
  House house({"a", "b"}, R"({"pattern": "sequential", "prompt": "${text}", "steps": ["a", "b"]})",
              [](const std::string& agent, const std::string& prompt, const TurnRequest& request) {
                return agent == "a" ? says("${secret}") : echo(agent, prompt, request);
              });
  house.run();
  CHECK(house.answer().answer == "b(${secret})");
  const auto steps =
      parse_plan(R"({"steps":[{"id":"1","agent":"hand","task":"${input} ${x}","after":[]}]})",
                 PlanSpec{{"hand"}, 0, 5});
  REQUIRE(steps);
  CHECK(graph_of(*steps, {}).nodes[0].prompt == "$${input} $${x}");
}

TEST_CASE("a planner names the goal and does not repeat it", "[flow]") {
  const char* plan =
      R"({"steps":[{"id":"all","agent":"hand","task":"Work ${goal}, not ${input}.","after":[]}]})";
  House house({"head", "hand"},
              R"({"pattern": "plan-execute", "prompt": "the ${text} ${x}", "planner": "head",
                  "executors": ["hand"]})",
              [&](const std::string& agent, const std::string& prompt, const TurnRequest& request) {
                return agent == "head" ? says(plan) : echo(agent, prompt, request);
              });
  house.run(R"({"id":"x","text":"report","x":"${goal}"})");
  CHECK(house.answer().answer == "hand(Work the report ${goal}, not ${input}.)");
}

TEST_CASE("a flow that was cut off anywhere goes on and comes to the same answer", "[flow]") {
  const std::string workflow = R"({"pattern": "graph", "prompt": "${text}", "answer": "end",
      "nodes": {"a": {"agent": "a"}, "b": "b", "end": "boss"},
      "edges": [{"from": "a", "to": "end"}, {"from": "b", "to": "end"}]})";
  const Say say = [](const std::string& agent, const std::string& prompt,
                     const TurnRequest& request) {
    const bool begins = request.messages.back().role == Role::user;
    if (agent == "boss" && begins) return calls("agent__worker", R"({"task":"dig"})");
    return echo(agent, prompt, request);
  };
  const std::vector<std::string> agents = {"a", "b", "boss", "worker"};
  House whole(agents, workflow, say);
  whole.fleet.agents[2].tools = {"agent__worker"};
  whole.run();
  const FlowAnswer wanted = whole.answer();
  const std::size_t turns = whole.model.prompts.size();
  const std::vector<Event> events = whole.journal.events;
  for (std::size_t cut = 1; cut < events.size(); ++cut) {
    House house(agents, workflow, say);
    house.fleet.agents[2].tools = {"agent__worker"};
    house.journal.events.assign(events.begin(), events.begin() + static_cast<std::ptrdiff_t>(cut));
    house.resume = true;
    house.run();
    INFO("cut after " << cut << " events, the last of them " << events[cut - 1].type);
    CHECK(house.answer().answer == wanted.answer);
    const auto before =
        std::count_if(events.begin(), events.begin() + static_cast<std::ptrdiff_t>(cut),
                      [](const Event& e) { return e.type == "turn.completed"; });
    CHECK(house.model.prompts.size() == turns - static_cast<std::size_t>(before));
  }
}

TEST_CASE("graphs that cannot be run are refused", "[flow]") {
  Graph graph;
  graph.nodes = {{"a", "x", "", GraphNode::Join::all, "", false, {}},
                 {"b", "x", "", GraphNode::Join::all, "", false, {}}};
  graph.edges = {{"a", "b", {}, 0}, {"b", "a", {}, 0}};
  CHECK(check_graph(graph).error().message ==
        "the edges form a circle through \"a\"; give the one that goes back a bound: \"times\": 3");
  graph.edges[1].times = 3;
  CHECK(check_graph(graph));
  graph.edges[1].to = "c";
  CHECK(check_graph(graph).error().message == "there is no node \"c\"");
}

}  // namespace ambit::agents
