#include "agents/artifacts.h"

#include "scripted.h"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include <algorithm>

namespace ambit::agents {
namespace {

// Stands for a hash: the same for the same bytes.
std::string hash_of(std::string_view bytes) {
  return std::to_string(bytes.size()) + "-" + std::to_string(std::hash<std::string_view>()(bytes));
}

class BigTools final : public Toolbox {
 public:
  Task<Result<std::vector<ToolSpec>>> list() override {
    std::vector<ToolSpec> specs{tool("read", true)};
    co_return specs;
  }
  Task<Outcome> call(std::string /*session*/, ToolCall /*call*/) override {
    Outcome outcome;
    outcome.content = content;
    co_return outcome;
  }
  std::string content;
};

// Reads something large, then goes on in what was kept of it, by the id that its result ends with.
struct Desk {
  explicit Desk(std::string content, ArtifactSpec spec = {})
      : model([this](const TurnRequest& request) { return say(request); }),
        artifacts({journal, roster, hash_of}, spec) {
    tools.content = std::move(content);
    fleet.agents[0].tools = {"read", "artifact__read"};
  }

  Message say(const TurnRequest& request) {
    std::size_t said = 0;
    for (const Message& message : request.messages) said += message.role == Role::assistant ? 1 : 0;
    if (said == 0) return calls("read", "{}");
    if (said - 1 >= reads.size()) return says("done");
    nlohmann::json arguments = reads[said - 1];
    const std::string& first = request.messages[2].content;
    const std::size_t at = first.rfind("sha256:");
    if (at != std::string::npos) arguments["artifact"] = first.substr(at, first.size() - at - 1);
    return calls("artifact__read", arguments.dump());
  }
  void run(const std::string& name = "r") {
    Ports ports{guard, journal, any_arguments};
    ports.roster = &roster;
    ports.artifacts = &artifacts;
    fleet_run.emplace(fleet, RunOptions{name, "ops", 1, 1},
                      std::map<std::string, Model*>{{"m", &model}},
                      std::vector<Toolbox*>{&tools, &artifacts}, ports);
    Scope scope;
    scope.spawn([](FleetRun& r, std::vector<Input> in, Result<void>& out) -> Task<void> {
      out = co_await r.run(std::move(in));
    }(*fleet_run, {{"a", "hi", "", "{}", "ada"}}, result));
    loop.run_until([&] { return scope.size() == 0; });
  }
  std::vector<Event> kept() const {
    std::vector<Event> events;
    for (const Event& event : journal.events) {
      if (event.type == artifact_event) events.push_back(event);
    }
    return events;
  }
  const std::string& heard(std::size_t at) {
    return fleet_run->sessions().at(0)->state.messages.at(at).content;
  }

  FakePoller poller;
  Loop loop{poller};
  Fleet fleet = small_fleet();
  std::vector<nlohmann::json> reads;
  SayingModel model;
  TableGuard guard;
  MemoryJournal journal;
  BigTools tools;
  Roster roster;
  Artifacts artifacts;
  Result<void> result;
  std::optional<FleetRun> fleet_run;
};

constexpr std::size_t shown_max = 32 << 10;

}  // namespace

TEST_CASE("a result that is too large is kept whole before its outcome, and read on", "[agents]") {
  std::string content;
  while (content.size() < 80'000) content += std::to_string(content.size()) + "\xc3\xa9 ";
  Desk desk(content);
  desk.reads = {{{"offset", 30'000}}, {{"offset", 60'000}, {"bytes", 11}}, {{"offset", 90'000}}};
  desk.run();
  REQUIRE(desk.result);
  const std::vector<Event> kept = desk.kept();
  REQUIRE(kept.size() == 1);
  CHECK(kept[0].payloads.at(0) == Payload{"result", content});
  CHECK(kept[0].subject == "ada");
  const auto facts = artifact_of(kept[0].type, kept[0].body);
  REQUIRE(facts);
  CHECK(facts->id == "sha256:" + hash_of(content));
  CHECK(facts->bytes == static_cast<std::int64_t>(content.size()));
  CHECK(facts->tool == "read");
  const auto at = [&](const std::string& type) {
    return std::find_if(desk.journal.events.begin(), desk.journal.events.end(),
                        [&](const Event& event) { return event.type == type; });
  };
  CHECK(at("artifact.kept") < at("action.outcome"));
  const std::string& first = desk.heard(2);
  CHECK(first.size() <= shown_max);
  CHECK(first.find("bytes; artifact sha256:") != std::string::npos);
  const std::string& part = desk.heard(4);
  CHECK(content.substr(30'000, 1000) == part.substr(0, 1000));
  CHECK(part.find(" of " + std::to_string(content.size()) + " bytes]") != std::string::npos);
  CHECK(part.size() <= shown_max);
  CHECK(desk.heard(6).find(content.substr(60'000, 9)) == 0);
  CHECK(desk.heard(8) == "error: the artifact has " + std::to_string(content.size()) + " bytes");
}

TEST_CASE("the same bytes are kept once in a run, and are of that run alone", "[agents]") {
  Desk desk(std::string(40'000, 'x'));
  desk.run();
  desk.run();
  CHECK(desk.kept().size() == 1);
  desk.run("s");
  CHECK(desk.kept().size() == 2);
  // Another process knows it from the record.
  Artifacts fresh({desk.journal, desk.roster, hash_of}, {});
  ArtifactSource source;
  source.run = "s";
  const auto kept = fresh.keep(source, std::string(40'000, 'x'));
  REQUIRE(kept);
  CHECK(kept->id == "sha256:" + hash_of(std::string(40'000, 'x')));
  CHECK(desk.kept().size() == 2);
  // The wrong run: nothing is found.
  desk.tools.content = std::string(40'001, 'y');
  desk.reads = {{{"artifact", "sha256:40000"}}};
  desk.run("t");
  CHECK(desk.heard(4).size() > 1000);
  desk.tools.content = "short";
  desk.reads = {{{"artifact", kept->id}}};
  desk.run("u");
  CHECK(desk.heard(4) == "error: this run keeps no artifact \"" + kept->id + "\"");
}

TEST_CASE("the person who asked for a session finds what it kept, by agent, up to a bound",
          "[agents]") {
  Desk desk(std::string(40'000, 'x'));
  desk.run();
  const auto ids = [&](const std::string& agent, const std::string& person) {
    std::vector<std::string> all;
    for (const auto& one : desk.artifacts.shelf_of(agent, person)) all.push_back(one.id);
    return all;
  };
  const std::string id = "sha256:" + hash_of(std::string(40'000, 'x'));
  CHECK(ids("clerk", "ops") == std::vector<std::string>{id});
  CHECK(ids("clerk", "ada").empty());
  CHECK(ids("", "ops").empty());
  CHECK(artifact_of(desk.kept().at(0).type, desk.kept().at(0).body)->requester == "ops");
  const auto found = desk.artifacts.on_shelf("clerk", "ops", id);
  REQUIRE(found);
  CHECK(desk.artifacts.whole(*found).value() == std::string(40'000, 'x'));
  CHECK_FALSE(desk.artifacts.on_shelf("other", "ops", id));
  // The oldest goes; what was kept once more is not the oldest.
  desk.artifacts.shelve("clerk", "eve", {"first", 1, "read", "r"});
  desk.artifacts.shelve("clerk", "eve", {"second", 1, "read", "r"});
  desk.artifacts.shelve("clerk", "ops", {id, 40'000, "read", "s"});
  for (int i = 0; i < 9'998; ++i) {
    desk.artifacts.shelve("clerk", "max", {std::to_string(i), 1, "read", "r"});
  }
  CHECK(ids("clerk", "eve") == std::vector<std::string>{"second"});
  CHECK(desk.artifacts.on_shelf("clerk", "ops", id)->run == "s");
  desk.artifacts.shelve("clerk", "max", {"one more", 1, "read", "r"});
  CHECK(ids("clerk", "eve").empty());
  CHECK(ids("clerk", "ops").size() == 1);
}

TEST_CASE("what passes the bounds of artifacts is cut as ever, and says why", "[agents]") {
  Desk large(std::string(50'000, 'x'), ArtifactSpec{49'999, 1'000'000});
  large.run();
  CHECK(large.kept().empty());
  CHECK(large.heard(2).find("not kept: longer than maxBytes = 49999 of artifacts]") !=
        std::string::npos);
  CHECK(large.heard(2).size() <= shown_max);
  Desk many(std::string(50'000, 'x'), ArtifactSpec{1'000'000, 99'999});
  many.run();
  many.tools.content = std::string(50'000, 'y');
  many.run();
  CHECK(many.kept().size() == 1);
  CHECK(many.heard(2).find("maxTotal = 99999 of artifacts]") != std::string::npos);
}

TEST_CASE("a result is not told where the record did not take it", "[agents]") {
  Desk desk(std::string(50'000, 'x'));
  desk.run();
  const auto at = std::find_if(desk.journal.events.begin(), desk.journal.events.end(),
                               [](const Event& event) { return event.type == artifact_event; });
  REQUIRE(at != desk.journal.events.end());
  Desk failing(std::string(50'000, 'x'));
  failing.journal.fail_after = at - desk.journal.events.begin();
  failing.run();
  CHECK_FALSE(failing.result);
  CHECK(failing.model.prompts.size() == 1);
}

}  // namespace ambit::agents
