#include "agents/session.h"

#include <catch2/catch.hpp>

namespace ambit::agents {
namespace {

Action action(const std::string& id, ActionKind kind, const std::string& tool) {
  Action made;
  made.id = id;
  made.kind = kind;
  made.run = "r";
  made.session = "s";
  made.agent = "clerk";
  made.tool = tool;
  return made;
}
Decision decided(Verdict verdict) {
  return {verdict, "because", {"p1"}, {}, {}, "hash"};
}

SessionState with_open_call() {
  SessionState state;
  REQUIRE(apply(state, session_started("r", "s", "clerk", "be brief", "hello", "ops")));
  Turn turn;
  turn.message = {Role::assistant, "I look.", {{"call_1_1", "grep", R"({"b":1,"a":2})"}}, "", ""};
  turn.usage.output_tokens = 7;
  REQUIRE(apply(state, turn_completed(action("r/s/1", ActionKind::model_call, "m"), turn)));
  return state;
}

}  // namespace

TEST_CASE("a session is folded from its events", "[agents]") {
  SessionState state = with_open_call();
  CHECK(state.messages.size() == 3);
  CHECK(state.usage.output_tokens == 7);
  REQUIRE(state.next_call() != nullptr);
  CHECK(state.next_call()->arguments == R"({"b":1,"a":2})");
  CHECK(state.in_doubt() == nullptr);
  const Action call = action("r/s/2", ActionKind::tool_call, "grep");
  REQUIRE(apply(state, action_decided(call, decided(Verdict::allow), "call_1_1")));
  REQUIRE(state.in_doubt() != nullptr);
  CHECK(state.in_doubt()->action == "r/s/2");
  Outcome outcome;
  outcome.content = "3: pool exhausted";
  REQUIRE(apply(state, action_outcome(call, "call_1_1", outcome)));
  CHECK(state.next_call() == nullptr);
  CHECK(state.in_doubt() == nullptr);
  CHECK(state.messages.back().content == "3: pool exhausted");
  CHECK(state.tainted);
  CHECK(earned_end(state) == SessionEnd::completed);
  REQUIRE(apply(state, session_ended("r", state, SessionEnd::completed, "all good", "")));
  CHECK(state.end == SessionEnd::completed);
  CHECK(state.answer == "all good");
}

TEST_CASE("events that do not follow from the state are refused", "[agents]") {
  SessionState state = with_open_call();
  SessionState empty;
  CHECK_FALSE(apply(empty, session_ended("r", state, SessionEnd::completed, "", "")));
  Turn turn;
  CHECK_FALSE(apply(state, turn_completed(action("r/s/3", ActionKind::model_call, "m"), turn)));
  const Action call = action("r/s/2", ActionKind::tool_call, "grep");
  CHECK_FALSE(apply(state, action_outcome(call, "call_1_1", Outcome{})));
  CHECK_FALSE(apply(state, action_decided(call, decided(Verdict::allow), "call_9_9")));
  Event broken{"action.decided", "r", "s", "clerk", "[1]", {}};
  CHECK_FALSE(apply(state, broken));
  broken.body = R"({"kind":5})";
  CHECK_FALSE(apply(state, broken));
  Event unknown{"action.imagined", "r", "s", "clerk", "{}", {}};
  CHECK_FALSE(apply(state, unknown));
}

TEST_CASE("what was denied or escalated shows in how the session ends", "[agents]") {
  SessionState state = with_open_call();
  const Action call = action("r/s/2", ActionKind::tool_call, "grep");
  REQUIRE(apply(state, action_decided(call, decided(Verdict::deny), "call_1_1")));
  CHECK(earned_end(state) == SessionEnd::denied);
  state.calls.back().verdict = Verdict::escalate;
  CHECK(earned_end(state) == SessionEnd::escalated);
}

TEST_CASE("messages survive the way through JSON", "[agents]") {
  const Message message{
      Role::assistant, "a \"b\"\n\xC3\xA9", {{"call_1", "t", R"({"x":"\u0001"})"}}, "", ""};
  CHECK(message_from_json(to_json(message)).value() == message);
  const Message result{Role::tool, "ok", {}, "call_1", "t"};
  CHECK(message_from_json(to_json(result)).value() == result);
  CHECK_FALSE(message_from_json("[]"));
  CHECK_FALSE(message_from_json(R"({"role":"robot"})"));
  CHECK_FALSE(message_from_json(R"({"role":7})"));
}

}  // namespace ambit::agents
