// What a model is told while a session's calls run, and where a fleet file lets it keep sessions.

#include "scripted.h"

#include <catch2/catch.hpp>

namespace ambit::agents {
namespace {

// Writes down what it hears of a session, and otherwise says its script.
class ListeningModel final : public Model {
 public:
  explicit ListeningModel(std::vector<Message> script) : model_(std::move(script)) {}
  Task<Result<Turn>> generate(TurnRequest request) override {
    heard.push_back("asked");
    if (!foreseen.empty()) asked_like_foreseen = begins_with(request, foreseen.back());
    auto turn = co_await model_.generate(std::move(request));
    co_return turn;
  }
  void observe(const std::string& /*session*/, SessionEvent event) override {
    const char* const names[] = {"call begins", "call ends soon", "parked", "gone"};
    heard.emplace_back(names[static_cast<int>(event)]);
  }
  bool foresees() const override { return is_near; }
  void foresee(TurnRequest request) override {
    heard.push_back("foresee " + std::to_string(request.messages.size()));
    foreseen.push_back(std::move(request));
  }
  std::string identity() const override { return "listening"; }

  std::vector<std::string> heard;
  std::vector<TurnRequest> foreseen;
  bool asked_like_foreseen = false;
  bool is_near = true;

 private:
  // The same session and tools, and all messages that were foreseen.
  static bool begins_with(const TurnRequest& request, const TurnRequest& foreseen) {
    if (request.session != foreseen.session || request.tools != foreseen.tools) return false;
    for (std::size_t i = 0; i < foreseen.messages.size(); ++i)
      if (i >= request.messages.size() || request.messages[i] != foreseen.messages[i]) return false;
    return true;
  }

  ScriptedModel model_;
};

std::vector<std::string> told(ListeningModel& model, TableGuard& guard, FakeApprovals* approvals) {
  FakePoller poller;
  Loop loop{poller};
  Fleet fleet = small_fleet();
  MemoryJournal journal;
  CountingTools tools{{tool("look", true), tool("pay", false)}};
  Ports ports{guard, journal, any_arguments};
  ports.approvals = approvals;
  FleetRun run(fleet, RunOptions{"r", "ops@example.com", 1, 1},
               std::map<std::string, Model*>{{"m", &model}}, std::vector<Toolbox*>{&tools}, ports);
  Result<void> result;
  Scope scope;
  scope.spawn([](FleetRun& r, std::vector<Input> in, Result<void>& out) -> Task<void> {
    out = co_await r.run(std::move(in));
  }(run, read_inputs(fleet.workflow, "{\"id\":\"a\"}\n"), result));
  loop.run_until([&] { return scope.size() == 0; });
  REQUIRE(result);
  return model.heard;
}

}  // namespace

TEST_CASE("while a call runs its model is given what is certain of the next turn", "[agents]") {
  ListeningModel model({calls("look", "{}"), says("found it")});
  TableGuard guard;
  const auto heard = told(model, guard, nullptr);
  REQUIRE(model.foreseen.size() == 1);
  const std::string all = std::to_string(model.foreseen[0].messages.size());
  CHECK(heard == std::vector<std::string>{"asked", "call begins", "foresee " + all,
                                          "call ends soon", "asked", "gone"});
  CHECK(model.foreseen[0].messages.back().tool_calls.size() == 1);
  CHECK(model.asked_like_foreseen);
}

TEST_CASE("a model that computes nothing ahead is given nothing", "[agents]") {
  ListeningModel model({calls("look", "{}"), says("found it")});
  model.is_near = false;
  TableGuard guard;
  CHECK(told(model, guard, nullptr) ==
        std::vector<std::string>{"asked", "call begins", "call ends soon", "asked", "gone"});
}

TEST_CASE("a call that was refused is no time to compute ahead", "[agents]") {
  ListeningModel model({calls("pay", "{}"), says("so be it")});
  TableGuard guard;
  guard.verdicts["pay"] = Verdict::deny;
  CHECK(told(model, guard, nullptr) == std::vector<std::string>{"asked", "asked", "gone"});
}

TEST_CASE("a session that waits for a person is parked, and called back with the answer",
          "[agents]") {
  ListeningModel model({calls("pay", "{}"), says("paid")});
  TableGuard guard;
  guard.verdicts["pay"] = Verdict::escalate;
  FakeApprovals approvals;
  const auto heard = told(model, guard, &approvals);
  REQUIRE(heard.size() >= 4);
  CHECK(heard[1] == "parked");
  CHECK(heard[2] == "call ends soon");
  CHECK(heard[3] == "call begins");
}

TEST_CASE("a fleet file bounds what a model keeps in memory and on disk", "[fleet]") {
  const auto parsed = [](const std::string& model) {
    FleetContext context;
    context.directory = "/fleet";
    return parse_fleet(R"({"models": {"m": )" + model +
                           R"(}, "agents": {"clerk": {"model": "m"}}, "policies": ["open.cedar"],
                           "workflow": {"prompt": "hi", "agent": "clerk"}})",
                       context);
  };
  const FleetFile plain = parsed(R"({"model": "m.gguf"})");
  REQUIRE(plain.problems.empty());
  CHECK(plain.fleet.models[0].kv_memory == std::int64_t{1} << 30U);
  CHECK(plain.fleet.models[0].kv_disk == 0);
  const FleetFile both = parsed(
      R"({"model": "folder", "kvCache": {"type": "q8", "memory": "512MiB", "disk": "20GiB"}})");
  REQUIRE(both.problems.empty());
  CHECK(plain.fleet.models[0].kv_type == "f16");
  CHECK(both.fleet.models[0].kv_type == "q8");
  CHECK(both.fleet.models[0].kv_memory == std::int64_t{512} << 20U);
  CHECK(both.fleet.models[0].kv_disk == std::int64_t{20} << 30U);
  const auto problem = [&](const std::string& model) {
    const FleetFile file = parsed(model);
    return file.problems.empty() ? "" : file.problems[0].path + ": " + file.problems[0].message;
  };
  CHECK_THAT(problem(R"({"model": "m.gguf", "kvCache": {"disk": "much"}})"),
             Catch::Contains("models.m.kvCache.disk"));
  CHECK_THAT(problem(R"({"model": "m.gguf", "kvCache": {"type": "q7"}})"),
             Catch::Contains("models.m.kvCache.type"));
  CHECK_THAT(problem(R"({"model": "m.gguf", "kvCache": {"disc": "1GiB"}})"),
             Catch::Contains("models.m.kvCache.disc"));
  CHECK_THAT(problem(R"({"provider": "scripted", "model": "s.json", "kvCache": {}})"),
             Catch::Contains("only an embedded model"));
}

}  // namespace ambit::agents
