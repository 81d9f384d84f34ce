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
    const char* const names[] = {"call begins", "call ends soon", "parked", "ended", "gone"};
    heard.emplace_back(names[static_cast<int>(event)]);
  }
  bool foresees() const override { return is_near; }
  void foresee(TurnRequest request, std::string result) override {
    heard.push_back("foresee " + std::to_string(request.messages.size()));
    foreseen.push_back(std::move(request));
    results.push_back(std::move(result));
  }
  std::string identity() const override { return "listening"; }

  std::vector<std::string> heard;
  std::vector<TurnRequest> foreseen;
  std::vector<std::string> results;  // as far as they were told, one a time that it foresaw
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

// Says its result piece by piece.
class TellingTools final : public Toolbox {
 public:
  explicit TellingTools(std::vector<std::string> pieces) : pieces_(std::move(pieces)) {}
  Task<Result<std::vector<ToolSpec>>> list() override {
    co_return std::vector<ToolSpec>{tool("look", true)};
  }
  Task<Outcome> call(std::string session, ToolCall call) override {
    return call_aloud(std::move(session), std::move(call), nullptr);
  }
  Task<Outcome> call_aloud(std::string, ToolCall, OnOutput on_output) override {
    is_heard = on_output != nullptr;
    Outcome outcome;
    for (const std::string& piece : pieces_) {
      co_await delay(std::chrono::milliseconds(1));
      outcome.content += piece;
      if (on_output) on_output(piece);
    }
    co_await delay(takes);
    ended = true;
    co_return outcome;
  }
  bool is_heard = false;
  bool ended = false;
  Duration takes = std::chrono::milliseconds(1);

 private:
  std::vector<std::string> pieces_;
};

class ObligingGuard final : public Guard {
 public:
  Decision decide(const Action& action) override {
    Decision decision;
    decision.verdict = Verdict::allow;
    decision.policies = {"obliging"};
    if (action.kind == ActionKind::tool_call) decision.obligations = {{"redact", "result.name"}};
    return decision;
  }
};

void run_one(ListeningModel& model, Guard& guard, Toolbox& tools, FakeApprovals* approvals,
             Fleet fleet = small_fleet()) {
  FakePoller poller;
  Loop loop{poller};
  MemoryJournal journal;
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
}

std::vector<std::string> told(ListeningModel& model, TableGuard& guard, FakeApprovals* approvals) {
  CountingTools tools{{tool("look", true), tool("pay", false)}};
  run_one(model, guard, tools, approvals);
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

TEST_CASE("what a call tells of its result is foreseen, not more often than it pays", "[agents]") {
  ListeningModel model({calls("look", "{}"), says("found it")});
  TableGuard guard;
  TellingTools tools({std::string(500, 'a'), std::string(11, 'b'), "c", std::string(100, 'd'),
                      std::string(2000, 'e'), std::string(511, 'f')});
  run_one(model, guard, tools, nullptr);
  REQUIRE(model.results.size() == 3);
  CHECK(model.results[0].empty());
  CHECK(model.results[1] == std::string(500, 'a') + std::string(11, 'b') + "c");
  CHECK(model.results[2] == model.results[1] + std::string(100, 'd') + std::string(2000, 'e'));
  CHECK(model.foreseen[2].messages == model.foreseen[0].messages);
  CHECK(model.heard.back() == "gone");
}

TEST_CASE("of a long result no more is foreseen than its conversation will hold", "[agents]") {
  ListeningModel model({calls("look", "{}"), says("found it")});
  TableGuard guard;
  std::vector<std::string> pieces(400, "\xE2\x82\xAC" + std::string(300, 'x'));
  TellingTools tools(pieces);
  run_one(model, guard, tools, nullptr);
  REQUIRE(model.results.size() > 10);
  CHECK(model.results.size() < 64);
  const std::string& last = model.results.back();
  CHECK(last.size() > 30'000);
  CHECK(last.size() <= 31 << 10);
  std::string whole;
  for (const std::string& piece : pieces) whole += piece;
  CHECK(whole.starts_with(last));
}

TEST_CASE("a bound on what is foreseen cuts no character", "[agents]") {
  ListeningModel model({calls("look", "{}"), says("found it")});
  TableGuard guard;
  std::string euros = "xx";
  while (euros.size() < 40'000) euros += "\xE2\x82\xAC";
  TellingTools tools({euros, "more"});
  run_one(model, guard, tools, nullptr);
  REQUIRE(model.results.size() == 2);
  CHECK(model.results[1].size() % 3 == 2);
  CHECK(euros.starts_with(model.results[1]));
}

TEST_CASE("nothing is told of a result that an obligation may change", "[agents]") {
  ListeningModel model({calls("look", "{}"), says("found it")});
  ObligingGuard guard;
  TellingTools tools({std::string(5000, 'a')});
  run_one(model, guard, tools, nullptr);
  CHECK(model.results == std::vector<std::string>{""});
  CHECK_FALSE(tools.is_heard);
}

TEST_CASE("nothing is told of a call that people answer for", "[agents]") {
  ListeningModel model({calls("look", "{}"), says("found it")});
  TableGuard guard;
  guard.verdicts["look"] = Verdict::escalate;
  FakeApprovals approvals;
  TellingTools tools({std::string(5000, 'a')});
  run_one(model, guard, tools, &approvals);
  CHECK(tools.ended);
  CHECK(model.results == std::vector<std::string>{""});
}

TEST_CASE("a model that computes nothing ahead hears no result", "[agents]") {
  ListeningModel model({calls("look", "{}"), says("found it")});
  model.is_near = false;
  TableGuard guard;
  TellingTools tools({std::string(5000, 'a')});
  run_one(model, guard, tools, nullptr);
  CHECK_FALSE(tools.is_heard);
  CHECK(model.results.empty());
}

TEST_CASE("a call that runs out of time was heard until then", "[agents]") {
  ListeningModel model({calls("look", "{}"), says("found it")});
  TableGuard guard;
  TellingTools tools({std::string(600, 'a'), std::string(600, 'b')});
  tools.takes = std::chrono::hours(1);
  Fleet fleet = small_fleet();
  fleet.agents[0].limits.wall_ms = 10'000;
  run_one(model, guard, tools, nullptr, std::move(fleet));
  CHECK_FALSE(tools.ended);
  REQUIRE(model.results.size() == 3);
  CHECK(model.results[2] == std::string(600, 'a') + std::string(600, 'b'));
  CHECK(model.heard.back() == "gone");
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

namespace {

FleetFile parsed(const std::string& model) {
  FleetContext context;
  context.directory = "/fleet";
  return parse_fleet(R"({"models": {"m": )" + model +
                         R"(}, "agents": {"clerk": {"model": "m"}}, "policies": ["open.cedar"],
                         "workflow": {"prompt": "hi", "agent": "clerk"}})",
                     context);
}

std::string problem(const std::string& model) {
  const FleetFile file = parsed(model);
  return file.problems.empty() ? "" : file.problems[0].path + ": " + file.problems[0].message;
}

}  // namespace

TEST_CASE("a fleet file bounds what a model keeps in memory and on disk", "[fleet]") {
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
  CHECK_THAT(problem(R"({"model": "m.gguf", "kvCache": {"disk": "much"}})"),
             Catch::Contains("models.m.kvCache.disk"));
  CHECK_THAT(problem(R"({"model": "m.gguf", "kvCache": {"type": "q7"}})"),
             Catch::Contains("models.m.kvCache.type"));
  CHECK_THAT(problem(R"({"model": "m.gguf", "kvCache": {"disc": "1GiB"}})"),
             Catch::Contains("models.m.kvCache.disc"));
  CHECK_THAT(problem(R"({"provider": "scripted", "model": "s.json", "kvCache": {}})"),
             Catch::Contains("only an embedded model"));
  const FleetFile gpu = parsed(
      R"({"model": "m.gguf", "device": "cuda", "kvCache": {"host": "8GiB", "disk": "20GiB"}})");
  REQUIRE(gpu.problems.empty());
  CHECK(gpu.fleet.models[0].kv_host == std::int64_t{8} << 30U);
  CHECK(both.fleet.models[0].kv_host == 0);
  CHECK_THAT(problem(R"({"model": "m.gguf", "kvCache": {"host": "8GiB"}})"),
             Catch::Contains("models.m.kvCache.host: pages of the CPU"));
  CHECK_THAT(problem(R"({"model": "m.gguf", "device": "cuda", "kvCache": {"disk": "8GiB"}})"),
             Catch::Contains("models.m.kvCache.disk: a GPU's pages"));
}

TEST_CASE("a fleet file says what computes a model", "[fleet]") {
  const FleetFile plain = parsed(R"({"model": "m.gguf"})");
  REQUIRE(plain.problems.empty());
  CHECK(plain.fleet.models[0].device == "cpu");
  CHECK(plain.fleet.models[0].weights == "file");
  const FleetFile fast = parsed(
      R"({"model": "m.gguf", "device": "cuda:1", "weights": "fp8", "kvCache": {"type": "fp8"}})");
  REQUIRE(fast.problems.empty());
  CHECK(fast.fleet.models[0].device == "cuda:1");
  CHECK(fast.fleet.models[0].weights == "fp8");
  CHECK(fast.fleet.models[0].kv_type == "fp8");
  for (const char* device : {"gpu", "cuda:", "cuda:x", "cuda:1234", ""})
    CHECK_THAT(problem(R"({"model": "m.gguf", "device": ")" + std::string(device) + R"("})"),
               Catch::Contains("models.m.device: there is no device"));
  CHECK_THAT(problem(R"({"model": "m.gguf", "weights": "fp8"})"),
             Catch::Contains("models.m.weights: 8-bit floats are for GPUs"));
  CHECK_THAT(problem(R"({"model": "m.gguf", "kvCache": {"type": "fp8"}})"),
             Catch::Contains("models.m.kvCache.type: 8-bit floats are for GPUs"));
  CHECK_THAT(problem(R"({"provider": "scripted", "model": "s.json", "device": "cuda"})"),
             Catch::Contains("models.m.device: only an embedded model"));
  const FleetFile apart =
      parsed(R"({"model": "m.gguf", "device": "cuda", "prefillDevice": "cuda:1"})");
  REQUIRE(apart.problems.empty());
  CHECK(apart.fleet.models[0].prefill_device == "cuda:1");
  for (const char* device : {"cpu", "auto", "cuda:", "cuda:x"})
    CHECK_THAT(problem(R"({"model": "m.gguf", "device": "cuda", "prefillDevice": ")" +
                       std::string(device) + R"("})"),
               Catch::Contains("models.m.prefillDevice: there is no GPU"));
  CHECK_THAT(problem(R"({"model": "m.gguf", "prefillDevice": "cuda:1"})"),
             Catch::Contains("models.m.prefillDevice: prompts go to a GPU only if a GPU decodes"));
  CHECK(apart.fleet.models[0].parks);
  const auto stays = parsed(R"({"model": "m.gguf", "device": "cuda", "parking": false})");
  CHECK(stays.problems.empty());
  CHECK_FALSE(stays.fleet.models[0].parks);
  CHECK_THAT(problem(R"({"model": "m.gguf", "parking": false})"),
             Catch::Contains("models.m.parking: weights of the CPU are in host memory anyway"));
}

}  // namespace ambit::agents
