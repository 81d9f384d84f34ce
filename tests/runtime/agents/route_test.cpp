#include "agents/route.h"

#include "agents/sub_agents.h"
#include "scripted.h"

#include <catch2/catch.hpp>

#include <algorithm>

namespace ambit::agents {
namespace {

constexpr const char* models_text = R"({
  "models": {
    "here": {"model": "m.gguf", "price": {"input": 1, "output": 1}},
    "far": {"provider": "openai", "model": "x", "baseUrl": "https://api.example.com/v1",
            "price": {"input": 10, "output": 10}},
    "cheap": {"provider": "openai", "model": "y", "baseUrl": "https://api.example.com/v1",
              "price": {"input": 2, "output": 2}}},
  "policies": ["p.cedar"],)";

// A file with these roles, agents and workflow.
FleetFile parse_with(const std::string& rest) {
  FleetContext context;
  context.directory = "/fleet";
  return parse_fleet(models_text + rest + "}", context);
}

std::string problems_of(const std::string& rest) {
  std::string text;
  for (const Problem& problem : parse_with(rest).problems) {
    text += problem.path + ": " + problem.message + "\n";
  }
  return text;
}

constexpr const char* single = R"(, "workflow": {"agent": "a", "prompt": "x"})";

ModelSpec priced(const std::string& name, double dollars) {
  ModelSpec spec;
  spec.name = name;
  spec.price.input = spec.price.output = dollars;
  return spec;
}

// Answers after a while, with a price of its own, or is down.
struct Choices {
  std::vector<ModelSpec> specs{priced("large", 30), priced("mid", 3), priced("small", 1)};
  RoleSpec role{"planner", {"large", "mid", "small"}, "price", 0};
  ModelHealth health;
  std::vector<std::int64_t> costs{300, 30, 10};
  std::vector<bool> in_budget{true, true, true};
  std::vector<bool> fits{true, true, true};

  RouteChoice choose(Instant now = {}) {
    std::vector<RouteOffer> offers;
    for (std::size_t i = 0; i < specs.size(); ++i) {
      RouteOffer offer;
      offer.by.spec = &specs[i];
      offer.cost_micros = costs[i];
      offer.in_budget = in_budget[i];
      offer.fits_window = fits[i];
      offers.push_back(offer);
    }
    return choose_route(&role, offers, &health, now);
  }
  std::string names(Instant now = {}) {
    std::string text;
    for (const ModelRoute& by : choose(now).order) text += by.spec->name + " ";
    return text;
  }
};

// Two models of one role under a fleet of one agent.
struct Desk {
  Desk() {
    ModelSpec second = fleet.models[0];
    second.name = "large";
    second.price = {30, 30, 30};
    fleet.models[0].price = {1, 1, 1};
    fleet.models.push_back(second);
    fleet.roles.push_back({"planner", {"large", "m"}, "price", 0});
    fleet.agents[0].role = "planner";
    fleet.agents[0].model = "large";
    large.name = "large-weights";
    small.name = "small-weights";
  }

  void run(const std::vector<Toolbox*>& boxes = {}) {
    Ports ports{guard, journal, any_arguments};
    ports.roster = &roster;
    ports.health = &health;
    fleet_run.emplace(fleet, RunOptions{"r", "ops", 1, 1},
                      std::map<std::string, Model*>{{"m", &small}, {"large", &large}}, boxes,
                      ports);
    Scope scope;
    scope.spawn([](FleetRun& r, std::vector<Input> in, Result<void>& out) -> Task<void> {
      out = co_await r.run(std::move(in));
    }(*fleet_run, {{"a", "hi", ""}}, result));
    loop.run_until([&] { return scope.size() == 0; });
    REQUIRE(result);
  }
  const SessionState& only() { return fleet_run->sessions().at(0)->state; }
  std::string body_of(const std::string& type) const {
    for (const Event& event : journal.events) {
      if (event.type == type) return event.body;
    }
    return "";
  }

  FakePoller poller;
  Loop loop{poller};
  Fleet fleet = small_fleet();
  SayingModel large{[](const TurnRequest&) { return says("by the large one"); }};
  SayingModel small{[](const TurnRequest&) { return says("by the small one"); }};
  TableGuard guard;
  MemoryJournal journal;
  Roster roster;
  ModelHealth health;
  Result<void> result;
  std::optional<FleetRun> fleet_run;
};

// Gives answers that are of no use, each of which has cost 100 tokens, until it may not.
class WastefulModel final : public Model {
 public:
  explicit WastefulModel(int useless, bool gives_up = false)
      : useless_(useless), gives_up_(gives_up) {}
  Task<Result<Turn>> generate(TurnRequest request) override {
    Turn turn;
    turn.message = says("of use at last");
    for (attempts = 1; attempts <= useless_; ++attempts) {
      co_await delay(std::chrono::milliseconds(1));
      turn.usage.output_tokens += 100;
      const bool may = request.may_retry(turn.usage);
      if (!may) co_return Err(Code::exhausted, "no budget is left for another attempt");
    }
    if (gives_up_) co_return Err(Code::unavailable, "no answer was of use");
    turn.usage.output_tokens += 10;
    co_return turn;
  }
  std::string identity() const override { return "wasteful"; }
  int attempts = 0;

 private:
  int useless_;
  bool gives_up_;
};

}  // namespace

TEST_CASE("a role's turn goes to the cheapest model that is well, fits and can be paid",
          "[agents]") {
  Choices choices;
  CHECK(choices.names() == "small mid large ");
  CHECK(choices.choose().reason ==
        "@planner by price; mid costs up to 30 millionths; large costs up to 300 millionths");
  choices.fits = {true, true, false};
  CHECK(choices.names() == "mid large small ");
  CHECK(choices.choose().reason.find("small does not hold the conversation") != std::string::npos);
  choices.in_budget = {true, false, true};
  CHECK(choices.names() == "large small mid ");
  CHECK(choices.choose().reason.find("mid would pass the budget") != std::string::npos);
}

TEST_CASE("a model that failed comes last until it has answered or was left alone for a while",
          "[agents]") {
  Choices choices;
  const Instant start{};
  choices.health.failed("small", start);
  CHECK(choices.names(start) == "mid large small ");
  CHECK(choices.choose(start).reason.find("small failed lately") != std::string::npos);
  CHECK(choices.names(start + std::chrono::seconds(29)) == "mid large small ");
  CHECK(choices.names(start + std::chrono::seconds(30)) == "small mid large ");
  choices.health.answered("small", std::chrono::milliseconds(5));
  CHECK(choices.names(start) == "small mid large ");
}

TEST_CASE("a latency objective puts those who miss it behind those who meet it", "[agents]") {
  Choices choices;
  choices.role.latency_ms = 1000;
  choices.health.answered("small", std::chrono::seconds(3));
  choices.health.answered("mid", std::chrono::milliseconds(900));
  CHECK(choices.names() == "mid large small ");
  CHECK(choices.choose().reason.find("small takes 3000 ms") != std::string::npos);
  // Sooner or later its newer turns count for more.
  for (int i = 0; i < 8; ++i) {
    choices.health.answered("small", std::chrono::milliseconds(100));
  }
  CHECK(choices.names() == "small mid large ");
  choices.role.sort = "latency";
  CHECK(choices.names() == "large small mid ");  // nobody knows the large one yet
  choices.role.sort = "listed";
  choices.role.latency_ms = 0;
  CHECK(choices.names() == "large mid small ");
}

TEST_CASE("the turn's record says which model took it and why", "[agents]") {
  Desk desk;
  desk.run();
  CHECK(desk.only().answer == "by the small one");
  const std::string turn = desk.body_of("turn.completed");
  CHECK(turn.find(R"("model":"small-weights","route":"@planner by price; large costs up to )") !=
        std::string::npos);
  const auto at = std::find_if(desk.journal.events.begin(), desk.journal.events.end(),
                               [](const Event& event) { return event.type == "turn.completed"; });
  REQUIRE(at != desk.journal.events.end());
  const Fact fact = fact_of(*at).value();
  CHECK(std::get<TurnCompleted>(fact).route.starts_with("@planner by price"));
}

TEST_CASE("a model of a role that is down is passed over, by the other agents as well",
          "[agents]") {
  Desk desk;
  int asked = 0;
  desk.small = SayingModel([&asked](const TurnRequest&) {
    ++asked;
    return says("FAIL");
  });
  desk.run();
  CHECK(desk.only().answer == "by the large one");
  CHECK(asked == 1);
  CHECK(desk.body_of("turn.completed").find("; m could not answer") != std::string::npos);
  desk.run();
  CHECK(asked == 1);
  CHECK(desk.journal.events.back().type == "run.ended");
  // Left alone for a while, it is tried again.
  CHECK_FALSE(desk.health.is_well("m", desk.poller.now()));
  CHECK(desk.health.is_well("m", desk.poller.now() + std::chrono::seconds(31)));
}

TEST_CASE("an attempt that was paid for and came to nothing counts, and the next must fit",
          "[agents]") {
  Desk desk;
  WastefulModel model(2);
  desk.fleet.agents[0].role = "";
  desk.fleet.agents[0].model = "m";
  const auto run_with = [&](std::int64_t tokens) {
    desk.fleet.agents[0].limits.tokens = tokens;
    Ports ports{desk.guard, desk.journal, any_arguments};
    desk.fleet_run.emplace(desk.fleet, RunOptions{"r", "ops", 1, 1},
                           std::map<std::string, Model*>{{"m", &model}, {"large", &desk.large}},
                           std::vector<Toolbox*>{}, ports);
    Scope scope;
    scope.spawn([](FleetRun& r, std::vector<Input> in, Result<void>& out) -> Task<void> {
      out = co_await r.run(std::move(in));
    }(*desk.fleet_run, {{"a", "hi", ""}}, desk.result));
    desk.loop.run_until([&] { return scope.size() == 0; });
    REQUIRE(desk.result);
  };
  run_with(1000);
  CHECK(desk.only().end == SessionEnd::completed);
  CHECK(model.attempts == 3);
  CHECK(desk.only().usage.output_tokens == 210);
  // A turn may take 66: after 100 wasted ones there is no room for another attempt of as many.
  run_with(160);
  CHECK(desk.only().end == SessionEnd::limit);
  CHECK(model.attempts == 1);
}

TEST_CASE("what a model was paid that could not answer is recorded, and stays spent", "[agents]") {
  Desk desk;
  WastefulModel model(2, true);
  desk.fleet.agents[0].role = "";
  desk.fleet.agents[0].model = "large";
  desk.fleet.models[1].fallback = {"m"};
  std::optional<Roster> roster;
  const auto run = [&](bool resume) {
    desk.fleet_run.reset();
    roster.emplace();
    Ports ports{desk.guard, desk.journal, any_arguments};
    ports.roster = &*roster;
    desk.fleet_run.emplace(desk.fleet, RunOptions{"r", "ops", 1, 1},
                           std::map<std::string, Model*>{{"m", &desk.small}, {"large", &model}},
                           std::vector<Toolbox*>{}, ports);
    if (resume) REQUIRE(desk.fleet_run->restore(desk.journal));
    Scope scope;
    scope.spawn([](FleetRun& r, std::vector<Input> in, Result<void>& out) -> Task<void> {
      out = co_await r.run(std::move(in));
    }(*desk.fleet_run, {{"a", "hi", ""}}, desk.result));
    desk.loop.run_until([&] { return scope.size() == 0; });
    REQUIRE(desk.result);
  };
  run(false);
  CHECK(desk.only().end == SessionEnd::completed);
  CHECK(desk.only().answer == "by the small one");
  // 200 tokens at 30 millionths, then 10 and 5 at one.
  CHECK(desk.body_of("turn.failed") ==
        R"({"action":"r/a/1","costMicros":6000,"error":"no answer was of use","model":"wasteful",)"
        R"("usage":{"cachedTokens":0,"decodeUs":0,"draftedTokens":0,"forcedTokens":0,)"
        R"("inputTokens":0,"outputTokens":200,"prefillUs":0,"queueUs":0}})");
  CHECK(desk.body_of("turn.completed").find(R"("costMicros":15)") != std::string::npos);
  CHECK(desk.only().cost_micros == 6015);
  CHECK(desk.only().usage.output_tokens == 205);
  CHECK(desk.only().turns == 1);
  // Cut off after it, the session has spent it still.
  const std::vector<Event> events = desk.journal.events;
  const auto failed = std::find_if(events.begin(), events.end(),
                                   [](const Event& event) { return event.type == "turn.failed"; });
  desk.journal.events.assign(events.begin(), failed + 1);
  desk.fleet.agents[0].limits.money_micros = 6000;
  run(true);
  CHECK(desk.only().end == SessionEnd::limit);
  CHECK(desk.only().cost_micros == 6000);
  // Nobody else can answer: the session has failed, and what it cost is on record all the same.
  desk.journal.events.clear();
  desk.fleet.agents[0].limits.money_micros = -1;
  desk.fleet.models[1].fallback = {};
  run(false);
  CHECK(desk.only().end == SessionEnd::failed);
  CHECK(desk.only().cost_micros == 6000);
  CHECK(desk.body_of("session.ended").find(R"("outputTokens":200)") != std::string::npos);
}

TEST_CASE("a local agent asks no model elsewhere, even where it was assembled so", "[agents]") {
  Desk desk;
  desk.fleet.agents[0].local_only = true;
  desk.fleet.agents[0].role = "";
  desk.fleet.models[1].is_local = false;
  desk.fleet.models[1].base_url = "https://api.example.com/v1";
  desk.run();
  CHECK(desk.only().end == SessionEnd::denied);
  CHECK(desk.large.prompts.empty());
  CHECK(desk.body_of("action.decided")
            .find("the data of agent clerk must not leave this machine, and the model large is "
                  "elsewhere") != std::string::npos);
}

TEST_CASE("a role gives a local agent those of its models alone that are here", "[agents]") {
  Desk desk;
  desk.fleet.agents[0].local_only = true;
  desk.fleet.models[1].is_local = false;
  CHECK(desk.fleet.models_of(desk.fleet.agents[0]) == std::vector<std::string>{"m"});
  // Even if it is the only one left, and fails.
  desk.small = SayingModel([](const TurnRequest&) { return says("FAIL"); });
  desk.fleet.agents[0].model = "m";
  desk.run();
  CHECK(desk.only().end == SessionEnd::failed);
  CHECK(desk.large.prompts.empty());
}

TEST_CASE("local agents and others give each other no tasks, also where the file was not asked",
          "[agents]") {
  for (const bool caller_is_local : {true, false}) {
    Desk desk;
    AgentSpec other = desk.fleet.agents[0];
    other.name = "other";
    other.tools = {};
    other.local_only = !caller_is_local;
    desk.fleet.agents[0].local_only = caller_is_local;
    desk.fleet.agents[0].tools = {"agent__other"};
    desk.fleet.agents.push_back(other);
    int turns = 0;
    desk.small = SayingModel([&turns](const TurnRequest&) {
      return ++turns == 1 ? calls("agent__other", R"({"task":"read it"})") : says("done");
    });
    Ports ports{desk.guard, desk.journal, any_arguments};
    ports.roster = &desk.roster;
    SubAgents sub_agents(desk.fleet, {{"m", &desk.small}, {"large", &desk.large}}, ports, {});
    desk.run({&sub_agents});
    CHECK(desk.only().end == SessionEnd::denied);
    CHECK(desk.only().calls.at(0).reason ==
          (caller_is_local
               ? "the data of agent clerk must not leave this machine, and that of agent other may"
               : "the data of agent other must not leave this machine, and that of agent clerk "
                 "may"));
    CHECK(turns == 2);  // the other one was never asked
  }
}

TEST_CASE("a fleet file's roles are checked, and an agent names one", "[agents]") {
  const FleetFile good = parse_with(
      R"("roles": {"planner": {"models": ["far", "here"], "sort": "latency", "latencyObjective": "2s"}},
         "agents": {"a": {"model": "@planner"}, "b": {"model": "@planner", "dataResidency": "local"}})" +
      std::string(single));
  REQUIRE(good.problems.empty());
  CHECK(good.fleet.roles.at(0) == RoleSpec{"planner", {"far", "here"}, "latency", 2000});
  CHECK(good.fleet.agents[0].model == "far");
  CHECK(good.fleet.agents[1].model == "here");
  CHECK(good.fleet.models_of(good.fleet.agents[1]) == std::vector<std::string>{"here"});
  const auto agent = [](const std::string& more) {
    return more + R"(, "agents": {"a": {"model": "@planner"}})" + single;
  };
  CHECK(problems_of(agent(R"("roles": {"planer": {"models": ["here"]}})")) ==
        "agents.a.model: there is no role \"planner\"; did you mean \"planer\"?\n");
  CHECK(problems_of(agent(R"("roles": {"planner": {"models": ["hear"]}})"))
            .starts_with("roles.planner.models[0]: there is no model \"hear\""));
  CHECK(problems_of(agent(R"("roles": {"planner": {"models": []}})")) ==
        "roles.planner.models: name 1 to 16 models\n");
  CHECK(problems_of(agent(R"("roles": {"planner": {"models": ["here"], "sort": "best"}})"))
            .starts_with("roles.planner.sort: there is no order \"best\""));
  CHECK(problems_of(R"("roles": {"planner": {"models": ["far"]}},
                       "agents": {"a": {"model": "@planner", "dataResidency": "local"}})" +
                    std::string(single)) ==
        "agents.a.dataResidency: its data must not leave this machine, and the model \"far\" is "
        "elsewhere: https://api.example.com/v1\n");
}

TEST_CASE("a local agent's words go to no agent that may send them away", "[agents]") {
  const std::string kept = R"("a": {"model": "here", "dataResidency": "local")";
  const std::string free = R"("b": {"model": "far")";
  const auto agents = [&](const std::string& of_a, const std::string& of_b,
                          const std::string& flow) {
    return R"("memory": {"desk": {"scope": "shared"}, "own": {}}, "agents": {)" + kept + of_a +
           "}, " + free + of_b + "}}, \"workflow\": " + flow;
  };
  const std::string alone = R"({"agent": "a", "prompt": "x"})";
  const std::string start = "agents.a.dataResidency: its data must not leave this machine, and ";
  const std::string rest = ": give it \"local\" too\n";
  CHECK(problems_of(agents("", "", alone)).empty());
  CHECK(problems_of(agents(R"(, "subAgents": ["b"])", "", alone)) ==
        start + "it gives the agent \"b\" tasks" + rest);
  CHECK(problems_of(agents(R"(, "handoffs": ["b"])", "", alone)) ==
        start + "it gives the agent \"b\" tasks" + rest);
  CHECK(problems_of(agents("", R"(, "subAgents": ["a"])", alone)) ==
        start + "the agent \"b\" hears its answers" + rest);
  CHECK(problems_of(agents(R"(, "memory": ["desk"])", R"(, "memory": ["desk"])", alone)) ==
        start + "the agent \"b\" reads the memory \"desk\"" + rest);
  CHECK(problems_of(agents(R"(, "memory": ["own"])", R"(, "memory": ["own"])", alone)).empty());
  CHECK(problems_of(agents("", "",
                           R"({"pattern": "plan-execute", "planner": "b", "executors": ["a"],
                               "prompt": "x"})")) ==
        start + "the agent \"b\" works on the same inputs" + rest);
  CHECK(problems_of(
            agents("", "", R"({"pattern": "sequential", "steps": ["a", "b"], "prompt": "x"})")) ==
        start + "the agent \"b\" works on the same inputs" + rest);
}

}  // namespace ambit::agents
