// Redaction: what the record never gets to hold, and what it says about that.

#include "governance/redaction.h"

#include "agents/fact.h"
#include "agents/message.h"
#include "agents/session.h"
#include "agents/snapshot.h"
#include "log/writer.h"

#include <catch2/catch.hpp>

using namespace ambit;
using namespace ambit::governance;

namespace {

std::string redacted(std::string text, const std::string& pattern) {
  redact_text(text, {pattern});
  return text;
}

Redaction rules(std::vector<RedactionRule> list) {
  auto made = Redaction::create(std::move(list));
  if (!made) FAIL(made.error().message);
  return std::move(*made);
}

agents::Event decided(const std::string& tool, const std::string& arguments) {
  agents::ActionDecided fact;
  fact.action.edit().id = "r/s/1";
  fact.action.edit().tool = tool;
  fact.action.edit().arguments = arguments;
  fact.call = "call_1_1";
  const std::string run = "r";
  const std::string session = "s";
  const std::string agent = "clerk";
  return agents::to_event(fact, {run, session, agent});
}

std::string payload(const agents::Event& event, const std::string& name) {
  for (const agents::Payload& one : event.payloads) {
    if (one.name == name) return one.bytes;
  }
  return "none";
}

}  // namespace

TEST_CASE("addresses, long numbers and keys are found in a text, and little else", "[redaction]") {
  CHECK(redacted("ask ann.b+c@mail.example.org, or bob@example.org.", "email") ==
        "ask [redacted], or [redacted].");
  CHECK(redacted("no@host and @all and a@b", "email") == "no@host and @all and a@b");
  CHECK(redacted("IBAN 3704 0044 0532 0130 00, call 0049 301 23456", "number") ==
        "IBAN [redacted] 00, call [redacted]");
  CHECK(redacted("on 2026-11-21 at 10:30, room 1234567", "number") ==
        "on 2026-11-21 at 10:30, room 1234567");
  CHECK(redacted("12345678", "number") == "[redacted]");
  CHECK(redacted("use sk-Abc123def456Ghi789jkl now", "secret") == "use [redacted] now");
  CHECK(redacted("an-ordinary-word-that-is-long-enough", "secret") ==
        "an-ordinary-word-that-is-long-enough");
}

TEST_CASE("members of arguments are taken out of a decision, and its body names them",
          "[redaction]") {
  const Redaction redaction = rules({{"arguments", "pay*", {"to.iban", "note"}, {}}});
  agents::Event event = decided("pay_bill", R"({"to":{"iban":"DE1","name":"x"},"note":"n","n":1})");
  redaction.apply(event);
  CHECK(payload(event, "arguments") ==
        R"({"to":{"iban":"[redacted]","name":"x"},"note":"[redacted]","n":1})");
  CHECK(redacted_in(event.body) == std::vector<std::string>{"arguments.note", "arguments.to.iban"});
  // It is still an event that the record takes, and the fact can be read.
  const auto prepared = log::prepare(event, 0, [] { return std::string(32, 's'); });
  REQUIRE(prepared);
  const auto fact = agents::fact_of(prepared->event);
  REQUIRE(fact);
  CHECK(std::get<agents::ActionDecided>(*fact).action->tool == "pay_bill");

  agents::Event other = decided("look", R"({"note":"n"})");
  const agents::Event before = other;
  redaction.apply(other);
  CHECK(other == before);
}

TEST_CASE("the same values are taken out of what the model said", "[redaction]") {
  const Redaction redaction =
      rules({{"arguments", "pay", {"iban"}, {}}, {"message", "*", {}, {"email"}}});
  agents::TurnCompleted fact{"r/s/1", "m", {}};
  fact.turn.message = {
      agents::Role::assistant,
      "I ask eve@example.org",
      {{"call_1_1", "pay", R"({"iban":"DE1","n":2})"}, {"call_1_2", "look", R"({"iban":"DE2"})"}},
      "",
      ""};
  const std::string run = "r";
  const std::string session = "s";
  const std::string agent = "clerk";
  agents::Event event = agents::to_event(fact, {run, session, agent});
  redaction.apply(event);
  const auto read = agents::message_from_json(payload(event, "message"));
  REQUIRE(read);
  CHECK(read->content == "I ask [redacted]");
  CHECK(read->tool_calls.at(0).arguments == R"({"iban":"[redacted]","n":2})");
  CHECK(read->tool_calls.at(1).arguments == R"({"iban":"DE2"})");
  CHECK(redacted_in(event.body) == std::vector<std::string>{"arguments.iban", "message:email"});
}

TEST_CASE("what is taken out of a session is not in its snapshots", "[redaction]") {
  const Redaction redaction = rules({{"arguments", "pay", {"iban"}, {}},
                                     {"result", "look", {"iban"}, {}},
                                     {"prompt", "*", {}, {"email"}},
                                     {"message", "*", {}, {"number"}}});
  const std::string run = "r";
  const std::string session = "s";
  const std::string agent = "clerk";
  const agents::Origin origin{run, session, agent};
  agents::SessionState state;
  agents::SessionStarted started{"ops", "be brief", "for eve@example.org"};
  started.earlier = {{agents::Role::user, "ann@example.org", {}, "", ""},
                     {agents::Role::assistant, "call 12345678", {}, "", ""}};
  REQUIRE(agents::apply(state, agents::Fact(started), origin));
  state.messages = {
      state.messages[0],
      state.messages[1],
      state.messages[2],
      {agents::Role::user, "for eve@example.org, 87654321", {}, "", ""},
      {agents::Role::assistant, "", {{"call_1_1", "pay", R"({"iban":"DE1","n":2})"}}, "", ""},
      {agents::Role::tool, R"({"iban":"DE2"})", {}, "call_1_1", "look"}};
  state.task_bytes = std::string("for eve@example.org").size();
  state.compactions = 1;
  state.replaced = {{agents::Role::user, "joe@example.org", {}, "", ""},
                    {agents::Role::tool, R"({"iban":"DE3","n":3})", {}, "call_0_1", "look"},
                    {agents::Role::tool, R"({"iban":"FR1"})", {}, "call_0_2", "read"}};
  state.calls.emplace_back();
  state.calls.back().call = {"call_1_1", "pay", R"({"iban":"DE4","n":4})"};
  state.calls.back().outcome = agents::OutcomeKind::ok;
  agents::Event event = agents::to_event(agents::snapshot_of(state, {}), origin);
  redaction.apply(event);
  for (const agents::Payload& one : event.payloads) {
    INFO(one.name << ": " << one.bytes);
    for (const char* gone : {"example.org", "12345678", "87654321", "DE"}) {
      CHECK(one.bytes.find(gone) == std::string::npos);
    }
  }
  CHECK(payload(event, "replaced").find("FR1") != std::string::npos);
  CHECK(redacted_in(event.body) == std::vector<std::string>{"arguments.iban", "message:number",
                                                            "prompt:email", "result.iban"});
  // It is a snapshot all the same, and its task ends where the task ended.
  agents::SessionState recovered;
  REQUIRE(agents::apply(recovered, event));
  CHECK(recovered.task() == "for [redacted]");
  CHECK(recovered.messages[3].content == "for [redacted], [redacted]");
  CHECK(recovered.calls.at(0).call.arguments == R"({"iban":"[redacted]","n":4})");
  CHECK(recovered.messages.size() == state.messages.size());
}

TEST_CASE("numbers in JSON go like numbers in a text, and it stays JSON", "[redaction]") {
  const Redaction redaction = rules({{"result", "*", {}, {"number"}}});
  agents::Event event{"action.outcome",
                      "r",
                      "s",
                      "clerk",
                      R"({"tool":"look"})",
                      {{"result", R"({"account":1234567890123,"n":5,"rows":["x 12345678"]})"}}};
  redaction.apply(event);
  CHECK(payload(event, "result") == R"({"account":"[redacted]","n":5,"rows":["x [redacted]"]})");
  event.payloads = {{"result", "plain 12345678 text"}};
  redaction.apply(event);
  CHECK(payload(event, "result") == "plain [redacted] text");
}

TEST_CASE("what is nested too deep to be looked through is left out as a whole", "[redaction]") {
  const Redaction redaction = rules({{"result", "*", {}, {"email"}}});
  agents::Event event{"action.outcome", "r",  "s",
                      "clerk",          "{}", {{"result", std::string(100'000, '[')}}};
  redaction.apply(event);
  CHECK(payload(event, "result") == "[redacted]");
  CHECK(event.body == R"({"redacted":["result"]})");
}

TEST_CASE("policies and fleet files are no data of a session, and stay", "[redaction]") {
  const Redaction redaction = rules({{"*", "*", {}, {"email"}}});
  agents::Event event{"run.started", "r", "", "", "{}", {{"fleet", "owner: ann@example.org"}}};
  const agents::Event before = event;
  redaction.apply(event);
  CHECK(event == before);
}

TEST_CASE("a rule that means nothing is an error", "[redaction]") {
  CHECK_FALSE(Redaction::create({{"answers", "*", {}, {"email"}}}));
  CHECK_FALSE(Redaction::create({{"result", "*", {}, {"phone"}}}));
  CHECK_FALSE(Redaction::create({{"result", "*", {"a..b"}, {}}}));
}
