#include "agents/command_tools.h"

#include "agents/json_writer.h"
#include "async/scope.h"
#include "scripted.h"

#include <catch2/catch.hpp>

namespace ambit::agents {
namespace {

Fleet with_tool() {
  Fleet fleet = small_fleet();
  Profile profile;
  profile.name = profile.level = "fs-write";
  profile.name = "desk";
  profile.read_paths = {"/fleet/logs"};
  profile.write_paths = {"${workdir}"};
  fleet.profiles.push_back(profile);
  CommandToolSpec tool;
  tool.spec.name = "ticket";
  tool.spec.input_schema =
      R"({"type":"object","properties":{"id":{"type":"string"},"count":{"type":"integer"}},"required":["id"]})";
  tool.command = {"ticket", "${workdir}", "--", "${id}", "n=${count}"};
  tool.input = "${arguments}";
  tool.profile = "desk";
  fleet.tools.push_back(tool);
  return fleet;
}

// A command that writes these pieces and ends.
class WritingRunner final : public Runner {
 public:
  explicit WritingRunner(std::vector<std::string> pieces) : pieces_(std::move(pieces)) {}
  Task<JailOutcome> run(JailCall call) override {
    JailOutcome outcome;
    for (const std::string& piece : pieces_) {
      co_await delay(std::chrono::milliseconds(1));
      outcome.output += piece;
      if (call.on_output) call.on_output(piece);
    }
    outcome.exit_code = exit_code;
    co_return outcome;
  }
  int exit_code = 0;

 private:
  std::vector<std::string> pieces_;
};

struct Heard {
  Outcome outcome;
  std::vector<std::string> pieces;
  [[nodiscard]] std::string all() const {
    std::string text;
    for (const std::string& piece : pieces) text += piece;
    return text;
  }
};

Heard call_ticket(WritingRunner& runner) {
  FakePoller poller;
  Loop loop{poller};
  const Fleet fleet = with_tool();
  CommandTools tools(fleet, runner,
                     [](const std::string&) { return Result<std::string>("/work/s1"); });
  Heard heard;
  Scope scope;
  scope.spawn([](CommandTools& of, Heard& into) -> Task<void> {
    OnOutput on_output = [&into](std::string_view piece) { into.pieces.emplace_back(piece); };
    ToolCall call{"call_1", "ticket", R"({"id":"a"})"};
    into.outcome = co_await of.call_aloud("s1", std::move(call), std::move(on_output));
  }(tools, heard));
  loop.run_until([&] { return scope.size() == 0; });
  return heard;
}

}  // namespace

TEST_CASE("what a command writes is told as its result begins", "[agents]") {
  WritingRunner runner({"one\n", "two\n\n", "\n", "three", "\n", "\n"});
  const Heard heard = call_ticket(runner);
  CHECK(heard.outcome.content == "one\ntwo\n\n\nthree");
  CHECK(heard.pieces == std::vector<std::string>{"one", "\ntwo", "\n\n\nthree"});
}

TEST_CASE("no piece of a command's output ends within a character", "[agents]") {
  const std::string text = "caf\xC3\xA9 \xE2\x82\xAC \xF0\x9F\xA6\x99 \xFF\xE2\x82 \xC3";
  std::vector<std::string> bytes;
  for (const char byte : text) bytes.emplace_back(1, byte);
  WritingRunner runner(bytes);
  const Heard heard = call_ticket(runner);
  CHECK(heard.outcome.content == text);
  CHECK(text.starts_with(heard.all()));
  CHECK(heard.all().size() == text.size() - 1);
  std::string mended;
  for (const std::string& piece : heard.pieces) mended += mended_utf8(piece);
  CHECK(mended_utf8(text).starts_with(mended));
}

TEST_CASE("a command that fails was told nothing else than it wrote", "[agents]") {
  WritingRunner runner({"half of it"});
  runner.exit_code = 3;
  const Heard heard = call_ticket(runner);
  CHECK(heard.outcome.kind == OutcomeKind::tool_error);
  CHECK(heard.all() == "half of it");
  CHECK(heard.outcome.content == "error: half of it");
}

TEST_CASE("a tool call becomes one command line, one argument a placeholder", "[agents]") {
  const Fleet fleet = with_tool();
  const std::string arguments = R"({"id":"INC 7; rm -rf /","count":3})";
  const auto call = jail_call(fleet, fleet.tools[0], arguments, "/work/s1");
  REQUIRE(call);
  CHECK(call->command ==
        std::vector<std::string>{"ticket", "/work/s1", "--", "INC 7; rm -rf /", "n=3"});
  CHECK(call->input == arguments);
  CHECK(call->profile.write_paths == std::vector<std::string>{"/work/s1"});
  CHECK(call->directory == "/work/s1");
}

TEST_CASE("an argument that was left out is empty, a broken one is refused", "[agents]") {
  const Fleet fleet = with_tool();
  CHECK(jail_call(fleet, fleet.tools[0], R"({"id":"a"})", "/w")->command.back() == "n=");
  CHECK_FALSE(jail_call(fleet, fleet.tools[0], "[]", "/w"));
  CHECK_FALSE(jail_call(fleet, fleet.tools[0], R"({"id":"a\u0000b"})", "/w"));
}

}  // namespace ambit::agents
