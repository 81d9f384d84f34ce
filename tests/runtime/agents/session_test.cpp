#include "agents/session.h"

#include "agents/json_writer.h"
#include "agents/message.h"

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
Decision verdict(Verdict verdict) {
  return {verdict, "because", {"p1"}, {}, {}, "hash"};
}

const std::string run_id = "r";
const std::string session_id = "s";
const std::string agent_name = "clerk";
const Origin origin{run_id, session_id, agent_name};

Result<void> happens(SessionState& state, Fact fact) {
  return apply(state, std::move(fact), origin);
}

TurnCompleted turn_with_call() {
  TurnCompleted fact{"r/s/1", "m", {}};
  fact.turn.message = {
      Role::assistant, "I look.", {{"call_1_1", "grep", R"({"b":1,"a":2})"}}, "", ""};
  fact.turn.finish = FinishReason::tool_calls;
  fact.turn.usage.output_tokens = 7;
  return fact;
}

ActionDecided decided(Verdict said, const std::string& call) {
  return {action("r/s/2", ActionKind::tool_call, "grep"), verdict(said), call};
}

ActionOutcome outcome(const std::string& content) {
  ActionOutcome fact{"r/s/2", "call_1_1", "grep", {}};
  fact.outcome.content = content;
  return fact;
}

SessionState with_open_call() {
  SessionState state;
  REQUIRE(happens(state, SessionStarted{"ops", "be brief", "hello"}));
  REQUIRE(happens(state, turn_with_call()));
  return state;
}

}  // namespace

TEST_CASE("a session is folded from its facts", "[agents]") {
  SessionState state = with_open_call();
  CHECK(state.messages.size() == 3);
  CHECK(state.usage.output_tokens == 7);
  REQUIRE(state.next_call() != nullptr);
  CHECK(state.next_call()->arguments == R"({"b":1,"a":2})");
  CHECK(state.in_doubt() == nullptr);
  REQUIRE(happens(state, decided(Verdict::allow, "call_1_1")));
  REQUIRE(state.in_doubt() != nullptr);
  CHECK(state.in_doubt()->action == "r/s/2");
  CHECK(state.actions == 2);
  REQUIRE(happens(state, outcome("3: pool exhausted")));
  CHECK(state.next_call() == nullptr);
  CHECK(state.in_doubt() == nullptr);
  CHECK(state.messages.back().content == "3: pool exhausted");
  CHECK(state.tainted);
  CHECK(earned_end(state) == SessionEnd::completed);
  REQUIRE(happens(state, SessionEnded{SessionEnd::completed, 1, 1, {}, "", "all good"}));
  CHECK(state.end == SessionEnd::completed);
  CHECK(state.answer == "all good");
}

TEST_CASE("facts that do not follow from the state are refused", "[agents]") {
  SessionState state = with_open_call();
  SessionState empty;
  CHECK(happens(empty, SessionEnded{}).error().message ==
        "the record of session s does not fit together: session.ended: it has not started");
  CHECK_FALSE(happens(state, SessionStarted{}));
  CHECK_FALSE(happens(state, turn_with_call()));
  CHECK_FALSE(happens(state, outcome("x")));
  CHECK_FALSE(happens(state, decided(Verdict::allow, "call_9_9")));
  Event broken{"action.decided", "r", "s", "clerk", "[1]", {}};
  CHECK_FALSE(apply(state, broken));
  broken.body = R"({"kind":5})";
  CHECK_FALSE(apply(state, broken));
  Event unknown{"action.imagined", "r", "s", "clerk", "{}", {}};
  CHECK_FALSE(apply(state, unknown));
}

TEST_CASE("what was denied or escalated shows in how the session ends", "[agents]") {
  SessionState state = with_open_call();
  REQUIRE(happens(state, decided(Verdict::deny, "call_1_1")));
  CHECK(earned_end(state) == SessionEnd::denied);
  state.calls.back().verdict = Verdict::escalate;
  CHECK(earned_end(state) == SessionEnd::escalated);
}

TEST_CASE("a fact that went through the journal is the same fact", "[agents]") {
  ActionDecided rich = decided(Verdict::escalate, "call_1_1");
  rich.action.edit().arguments = R"({"b":1,"a":"\u00e9"})";
  rich.action.edit().on_behalf_of = "ops@example.com";
  rich.action.edit().tainted = true;
  rich.action.edit().tool_digest = "ab";
  rich.action.edit().left = {1, -1, 3, 4};
  rich.decision.edit().reason = "a \"quoted\"\nreason \xC3\xA9";
  rich.decision.edit().errors = {"p2: no such attribute"};
  rich.decision.edit().obligations = {{"redact", "to"}, {"warn", "yes"}};
  ActionOutcome failed = outcome("raw \xff bytes stay in the payload");
  failed.outcome.kind = OutcomeKind::timeout;
  failed.outcome.detail = std::string(998, 'x') + "\xC3\xA9\xC3\xA9";
  failed.outcome.duration_us = 12;
  failed.outcome.truncated = true;
  SessionStarted later{"ops", "be brief", "and now?"};
  later.earlier = {{Role::user, "what is it?\n\"7\"?", {}, "", ""},
                   {Role::assistant, "half \xC3", {}, "", ""}};
  later.tainted = true;
  TurnCompleted broken = turn_with_call();
  broken.turn.message.content = "half a character \xC3";
  broken.turn.usage = {1, 2, 3, 4, 5, 6, 7, 8};
  std::vector<Fact> facts = {
      SessionStarted{"ops", "", "hello"},
      later,
      rich,
      broken,
      failed,
      TurnFailed{"r/s/1", "m", {1, 2, 3, 4, 5, 6, 7, 8}, 9, "no answer \xff"},
      SessionEnded{SessionEnd::limit, 3, 2, {1, 2, 3, 4, 5, 6, 7, 8}, "wall \xff time", "cut"}};
  for (Fact& fact : facts) {
    settle_texts(fact);
    const Event event = to_event(fact, origin);
    const Result<Fact> read = fact_of(event);
    REQUIRE(read);
    CHECK(read->index() == fact.index());
    CHECK(to_event(*read, origin) == event);
    Fact twice = *read;
    settle_texts(twice);
    CHECK(to_event(twice, origin) == event);
  }
}

TEST_CASE("live and recovered states are the same", "[agents]") {
  SessionState live;
  SessionState recovered;
  ActionOutcome odd = outcome("3: \xff");
  odd.outcome.detail = "exit \xff";
  const std::vector<Fact> facts = {SessionStarted{"ops", "be brief", "hello"},
                                   turn_with_call(),
                                   decided(Verdict::allow, "call_1_1"),
                                   odd,
                                   TurnFailed{"r/s/3", "m", {7, 1, 2}, 40, "down \xff"},
                                   SessionEnded{SessionEnd::completed, 1, 1, {}, "", "all good"}};
  for (Fact fact : facts) {
    settle_texts(fact);
    REQUIRE(apply(recovered, to_event(fact, origin)));
    REQUIRE(happens(live, std::move(fact)));
    CHECK(live.messages == recovered.messages);
    CHECK(live.usage == recovered.usage);
    CHECK(live.cost_micros == recovered.cost_micros);
    CHECK(live.actions == recovered.actions);
    CHECK(live.tainted == recovered.tainted);
    CHECK(live.calls.size() == recovered.calls.size());
    if (!live.calls.empty()) CHECK(live.calls.back().detail == recovered.calls.back().detail);
  }
}

TEST_CASE("a session knows what was said before it, and that it is tainted", "[agents]") {
  SessionStarted started{"ops", "be brief", "and now?"};
  started.earlier = {{Role::user, "what is it?", {}, "", ""},
                     {Role::assistant, "seven \xff", {}, "", ""}};
  started.tainted = true;
  Fact fact = started;
  settle_texts(fact);
  const Event event = to_event(fact, origin);
  CHECK(event.body == R"({"principal":"ops","tainted":true})");
  REQUIRE(event.payloads.size() == 3);
  CHECK(event.payloads[1].name == "earlier");
  SessionState live;
  SessionState recovered;
  REQUIRE(happens(live, fact));
  REQUIRE(apply(recovered, event));
  REQUIRE(live.messages.size() == 4);
  CHECK(live.messages[0].role == Role::system);
  CHECK(live.messages[2].content == "seven \xEF\xBF\xBD");
  CHECK(live.messages[3].content == "and now?");
  CHECK(live.messages == recovered.messages);
  CHECK(live.tainted);
  CHECK(recovered.tainted);
  // Nothing of it is written where there is nothing of it; a damaged line is refused.
  const Event plain = to_event(SessionStarted{"ops", "", "hello"}, origin);
  CHECK(plain.body == R"({"principal":"ops"})");
  CHECK(plain.payloads.size() == 1);
  Event damaged = event;
  damaged.payloads[1].bytes += "{\"role\":\"us";
  SessionState none;
  CHECK_FALSE(apply(none, damaged));
}

TEST_CASE("text that is no UTF-8 is mended, other text stays", "[agents]") {
  for (const char* good : {"", "plain ascii text", "\xC3\xA9", "\xED\x9F\xBF", "\xEF\xBF\xBF",
                           "\xF4\x8F\xBF\xBF", "eight by\xE2\x82\xAC"}) {
    CHECK(mended_utf8(good) == good);
  }
  const std::string mark = "\xEF\xBF\xBD";
  CHECK(mended_utf8("a\xff"
                    "b") == "a" + mark + "b");
  CHECK(mended_utf8("\xC0\x80") == mark + mark);                        // overlong
  CHECK(mended_utf8("\xED\xA0\x80") == mark + mark + mark);             // a surrogate
  CHECK(mended_utf8("\xF4\x90\x80\x80") == mark + mark + mark + mark);  // beyond U+10FFFF
  CHECK(mended_utf8("cut \xE2\x82") == "cut " + mark + mark);
}

TEST_CASE("written JSON escapes what must be escaped and nothing else", "[agents]") {
  std::string out;
  JsonWriter writer(out);
  writer.begin_object().key("a").begin_array().integer(-5).text(
      "\"\\/\b\f\n\r\t\x01\x1f\x7f\xC3\xA9");
  writer.begin_object().end_object().begin_array().end_array().end_array();
  writer.foreign_key("k\"").boolean(true).end_object();
  CHECK(out ==
        "{\"a\":[-5,\"\\\"\\\\/\\b\\f\\n\\r\\t\\u0001\\u001f\x7f\xC3\xA9\",{},[]],\"k\\\"\":true}");
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
