#include "agents/fact.h"

#include "agents/fact_text.h"
#include "agents/json_writer.h"
#include "agents/message.h"
#include "agents/snapshot.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <charconv>

namespace ambit::agents {
namespace {

using Json = nlohmann::ordered_json;
using fact_text::action_kinds;
using fact_text::approval_ends;
using fact_text::finish_names;
using fact_text::from_name;
using fact_text::mend;
using fact_text::number;
using fact_text::obligations_of;
using fact_text::outcome_kinds;
using fact_text::payload;
using fact_text::text;
using fact_text::texts;
using fact_text::usage_of;
using fact_text::verdicts;
using fact_text::write;

constexpr std::size_t text_bytes_max = 1000;  // of a detail or an error
constexpr std::size_t body_bytes_typical = 512;

constexpr Trust trusts[] = {Trust::user, Trust::trusted, Trust::unknown, Trust::untrusted};
constexpr SessionEnd session_ends[] = {
    SessionEnd::running, SessionEnd::completed, SessionEnd::escalated, SessionEnd::denied,
    SessionEnd::limit,   SessionEnd::failed,    SessionEnd::stopped};

void shorten(std::string& text) {
  if (text.size() <= text_bytes_max) return;
  std::size_t end = text_bytes_max;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) --end;
  text.resize(end);
}

void write(JsonWriter& out, const std::vector<ArgumentOrigin>& origins) {
  out.begin_array();
  for (const ArgumentOrigin& origin : origins) {
    out.begin_object().key("argument").text(origin.argument);
    write(out.key("sources"), origin.sources);
    out.key("trust").text(to_string(origin.trust));
    if (origin.weak) out.key("weak").boolean(true);
    out.end_object();
  }
  out.end_array();
}

// ---- facts to events; the members stand in the order that canonical JSON asks for
// ---------------

void write_body(Event& event, const SessionStarted& fact) {
  event.type = "session.started";
  JsonWriter out(event.body);
  out.begin_object();
  if (!fact.definition.empty()) out.key("definition").text(fact.definition);
  if (!fact.parent.empty()) out.key("parent").text(fact.parent);
  out.key("principal").text(fact.principal);
  if (fact.tainted) out.key("tainted").boolean(true);
  out.end_object();
  if (!fact.instructions.empty()) event.payloads.push_back({"instructions", fact.instructions});
  if (!fact.earlier.empty()) {
    event.payloads.push_back({"earlier", to_json_lines(fact.earlier)});
  }
  if (!fact.output_schema.empty()) event.payloads.push_back({"outputSchema", fact.output_schema});
  event.payloads.push_back({"prompt", fact.prompt});
}

void write_body(Event& event, const ActionDecided& fact) {
  event.type = "action.decided";
  const Action& action = *fact.action;
  const Decision& decision = *fact.decision;
  JsonWriter out(event.body);
  out.begin_object().key("action").text(action.id);
  if (!fact.approval.empty()) out.key("approval").text(fact.approval);
  if (action.autonomy_level > 0) out.key("autonomyLevel").integer(action.autonomy_level);
  if (!fact.bound.empty()) out.key("bound").text(fact.bound);
  if (!fact.call.empty()) out.key("call").text(fact.call);
  if (!action.chain.empty()) write(out.key("chain"), action.chain);
  const bool tool = action.kind != ActionKind::model_call && action.kind != ActionKind::delegation;
  if (tool) out.key("destructive").boolean(action.destructive);
  if (!decision.errors.empty()) write(out.key("errors"), decision.errors);
  if (!action.instance.empty()) out.key("instance").text(action.instance);
  out.key("kind").text(to_string(action.kind));
  out.key("left").begin_object().key("tokens").integer(action.left.tokens);
  out.key("toolCalls").integer(action.left.tool_calls).key("turns").integer(action.left.turns);
  out.key("wallMs").integer(action.left.wall_ms).end_object();
  if (!decision.obligations.empty()) {
    write(out.key("obligations"), decision.obligations);
  }
  out.key("onBehalfOf").text(action.on_behalf_of);
  if (!action.origins.empty()) write(out.key("origins"), action.origins);
  write(out.key("policies"), decision.policies);
  out.key("policySet").text(decision.policy_set);
  if (tool) out.key("readOnly").boolean(action.read_only);
  out.key("reason").text(decision.reason);
  if (!action.requester.empty()) out.key("requester").text(action.requester);
  if (!action.reversibility.empty()) out.key("reversibility").text(action.reversibility);
  if (!action.risk.empty()) out.key("risk").text(action.risk);
  out.key("step").integer(step_of(action.id));
  if (!fact.supersedes.empty()) out.key("supersedes").text(fact.supersedes);
  out.key("tainted").boolean(action.tainted);
  out.key("tool").text(action.tool);
  if (!action.tool_digest.empty()) out.key("toolDigest").text(action.tool_digest);
  out.key("verdict").text(to_string(decision.verdict));
  if (!decision.would.empty()) {
    out.key("would").text(decision.would).key("wouldReason").text(decision.would_reason);
  }
  out.end_object();
  if (!action.arguments.empty()) event.payloads.push_back({"arguments", action.arguments});
  if (!decision.arguments.empty()) event.payloads.push_back({"enforced", decision.arguments});
}

void write_body(Event& event, const TurnCompleted& fact) {
  event.type = "turn.completed";
  JsonWriter out(event.body);
  out.begin_object().key("action").text(fact.action);
  if (fact.compacts > 0) out.key("compacts").integer(static_cast<std::int64_t>(fact.compacts));
  if (fact.cost_micros > 0) out.key("costMicros").integer(fact.cost_micros);
  if (!fact.turn.device.empty()) out.key("device").text(fact.turn.device);
  out.key("finish").text(finish_names[static_cast<std::size_t>(fact.turn.finish)]);
  out.key("model").text(fact.model);
  if (!fact.route.empty()) out.key("route").text(fact.route);
  write(out.key("usage"), fact.turn.usage);
  out.end_object();
  event.payloads.push_back({"message", to_json(fact.turn.message)});
}

void write_body(Event& event, const TurnFailed& fact) {
  event.type = "turn.failed";
  JsonWriter out(event.body);
  out.begin_object().key("action").text(fact.action);
  if (fact.cost_micros > 0) out.key("costMicros").integer(fact.cost_micros);
  out.key("error").text(fact.error).key("model").text(fact.model);
  write(out.key("usage"), fact.usage);
  out.end_object();
}

void write_body(Event& event, const ActionOutcome& fact) {
  event.type = "action.outcome";
  JsonWriter out(event.body);
  out.begin_object().key("action").text(fact.action).key("call").text(fact.call);
  out.key("detail").text(fact.outcome.detail).key("durationUs").integer(fact.outcome.duration_us);
  out.key("outcome").text(to_string(fact.outcome.kind)).key("tool").text(fact.tool);
  out.key("truncated").boolean(fact.outcome.truncated).end_object();
  event.payloads.push_back({"result", fact.outcome.content});
}

void write_body(Event& event, const SessionEnded& fact) {
  event.type = "session.ended";
  JsonWriter out(event.body);
  out.begin_object().key("error").text(fact.error).key("state").text(to_string(fact.end));
  out.key("toolCalls").integer(fact.tool_calls).key("turns").integer(fact.turns);
  write(out.key("usage"), fact.usage);
  out.end_object();
  event.payloads.push_back({"answer", fact.answer});
}

void write_body(Event& event, const ApprovalRequested& fact) {
  event.type = "approval.requested";
  JsonWriter out(event.body);
  out.begin_object().key("action").text(fact.action);
  out.key("expiresUnixMs").integer(fact.expires_unix_ms);
  out.key("request").text(fact.request).end_object();
}

void write_body(Event& event, const ApprovalAnswered& fact) {
  event.type = "approval.answered";
  JsonWriter out(event.body);
  out.begin_object().key("action").text(fact.action);
  out.key("answer").text(to_string(fact.answer.end)).key("by").text(fact.answer.by);
  out.key("request").text(fact.request);
  if (!fact.answer.successor.empty()) out.key("successor").text(fact.answer.successor);
  out.end_object();
  if (!fact.answer.arguments.empty()) {
    event.payloads.push_back({"arguments", fact.answer.arguments});
  }
}

void write_body(Event& event, const SessionSnapshot& fact) {
  write_snapshot(event, *fact.state);
}

// ---- events to facts
// ----------------------------------------------------------------------------

Result<SessionStarted> started_of(const Event& event, const Json& body) {
  SessionStarted fact{text(body, "principal"), payload(event, "instructions"),
                      payload(event, "prompt")};
  fact.tainted = body.value("tainted", false);
  fact.parent = text(body, "parent");
  fact.definition = text(body, "definition");
  fact.output_schema = payload(event, "outputSchema");
  fact.earlier = TRY(messages_from_json_lines(payload(event, "earlier")));
  return fact;
}

std::vector<ArgumentOrigin> origins_of(const Json& body) {
  std::vector<ArgumentOrigin> origins;
  for (const Json& one : body.value("origins", Json::array())) {
    origins.push_back({text(one, "argument"),
                       from_name(text(one, "trust"), trusts, Trust::untrusted),
                       one.value("weak", false), texts(one, "sources")});
  }
  return origins;
}

ActionDecided decided_of(const Event& event, const Json& body) {
  ActionDecided fact;
  Action action;
  action.id = text(body, "action");
  action.kind = from_name(text(body, "kind"), action_kinds, ActionKind::tool_call);
  action.agent = event.agent;
  action.session = event.session;
  action.run = event.run;
  action.on_behalf_of = text(body, "onBehalfOf");
  action.tool = text(body, "tool");
  action.arguments = payload(event, "arguments");
  action.tainted = body.value("tainted", false);
  action.tool_digest = text(body, "toolDigest");
  action.destructive = body.value("destructive", true);
  action.read_only = body.value("readOnly", false);
  action.autonomy_level = number(body, "autonomyLevel");
  action.origins = origins_of(body);
  action.chain = texts(body, "chain");
  action.requester = text(body, "requester");
  action.instance = text(body, "instance");
  action.reversibility = text(body, "reversibility");
  action.risk = text(body, "risk");
  const Json left = body.value("left", Json::object());
  action.left = {number(left, "turns"), number(left, "toolCalls"), number(left, "tokens"),
                 number(left, "wallMs")};
  Decision decision;
  decision.verdict = from_name(text(body, "verdict"), verdicts, Verdict::deny);
  decision.reason = text(body, "reason");
  decision.policies = texts(body, "policies");
  decision.errors = texts(body, "errors");
  decision.obligations = obligations_of(body);
  decision.policy_set = text(body, "policySet");
  decision.arguments = payload(event, "enforced");
  decision.would = text(body, "would");
  decision.would_reason = text(body, "wouldReason");
  fact.action = std::move(action);
  fact.decision = std::move(decision);
  fact.call = text(body, "call");
  fact.supersedes = text(body, "supersedes");
  fact.approval = text(body, "approval");
  fact.bound = text(body, "bound");
  return fact;
}

Result<TurnCompleted> turn_of(const Event& event, const Json& body) {
  TurnCompleted fact{text(body, "action"), text(body, "model"), {}};
  const std::string finish = text(body, "finish");
  const auto* at = std::find(std::begin(finish_names), std::end(finish_names), finish);
  if (at == std::end(finish_names)) return Err(Code::internal, "an unknown finish");
  fact.turn.finish = static_cast<FinishReason>(at - std::begin(finish_names));
  fact.turn.usage = usage_of(body);
  fact.turn.device = text(body, "device");
  fact.turn.message = TRY(message_from_json(payload(event, "message")));
  fact.cost_micros = number(body, "costMicros");
  fact.route = text(body, "route");
  fact.compacts = static_cast<std::size_t>(std::max<std::int64_t>(0, number(body, "compacts")));
  return fact;
}

ActionOutcome outcome_of(const Event& event, const Json& body) {
  ActionOutcome fact{text(body, "action"), text(body, "call"), text(body, "tool"), {}};
  fact.outcome.kind = from_name(text(body, "outcome"), outcome_kinds, OutcomeKind::refused);
  fact.outcome.content = payload(event, "result");
  fact.outcome.detail = text(body, "detail");
  fact.outcome.duration_us = number(body, "durationUs");
  fact.outcome.truncated = body.value("truncated", false);
  return fact;
}

ApprovalAnswered answered_of(const Event& event, const Json& body) {
  ApprovalAnswered fact{text(body, "action"), text(body, "request"), {}};
  fact.answer.end = from_name(text(body, "answer"), approval_ends, ApprovalEnd::denied);
  fact.answer.by = text(body, "by");
  fact.answer.successor = text(body, "successor");
  fact.answer.arguments = payload(event, "arguments");
  return fact;
}

Result<Fact> read_fact(const Event& event, const Json& body) {
  if (event.type == "session.started") return TRY(started_of(event, body));
  if (event.type == "action.decided") return decided_of(event, body);
  if (event.type == "turn.completed") return TRY(turn_of(event, body));
  if (event.type == "turn.failed") {
    return TurnFailed{text(body, "action"), text(body, "model"), usage_of(body),
                      number(body, "costMicros"), text(body, "error")};
  }
  if (event.type == "action.outcome") return outcome_of(event, body);
  if (event.type == "approval.requested") {
    return ApprovalRequested{text(body, "action"), text(body, "request"),
                             number(body, "expiresUnixMs")};
  }
  if (event.type == "approval.answered") return answered_of(event, body);
  if (event.type == "session.ended") {
    return SessionEnded{from_name(text(body, "state"), session_ends, SessionEnd::failed),
                        number(body, "turns"),
                        number(body, "toolCalls"),
                        usage_of(body),
                        text(body, "error"),
                        payload(event, "answer")};
  }
  if (event.type == snapshot_type) return TRY(read_snapshot(event));
  return Err(Code::internal, "an unknown type");
}

tl::unexpected<Error> damaged(const Event& event, const std::string& why) {
  return Err(Code::internal, "the record of session " + event.session +
                                 " does not fit together: " + event.type + ": " + why);
}

}  // namespace

std::string_view to_string(SessionEnd end) {
  switch (end) {
    case SessionEnd::running:
      return "running";
    case SessionEnd::completed:
      return "completed";
    case SessionEnd::escalated:
      return "escalated";
    case SessionEnd::denied:
      return "denied";
    case SessionEnd::limit:
      return "limit";
    case SessionEnd::failed:
      return "failed";
    case SessionEnd::stopped:
      return "stopped";
  }
  return "failed";
}

std::int64_t step_of(std::string_view action) {
  const std::string_view digits = action.substr(action.rfind('/') + 1);
  std::int64_t step = 0;
  std::from_chars(digits.data(), digits.data() + digits.size(), step);
  return step;
}

void settle_texts(Fact& fact) {
  if (auto* started = std::get_if<SessionStarted>(&fact)) {
    for (Message& message : started->earlier) mend(message);
  } else if (auto* decided = std::get_if<ActionDecided>(&fact)) {
    const bool good = is_utf8(decided->decision->reason) &&
                      is_utf8(decided->decision->would_reason) &&
                      is_utf8(decided->action->arguments);
    if (good) return;
    mend(decided->decision.edit().reason);
    mend(decided->decision.edit().would_reason);
    mend(decided->action.edit().arguments);
  } else if (auto* completed = std::get_if<TurnCompleted>(&fact)) {
    mend(completed->turn.message);
  } else if (auto* failed = std::get_if<TurnFailed>(&fact)) {
    shorten(failed->error);
    mend(failed->error);
  } else if (auto* outcome = std::get_if<ActionOutcome>(&fact)) {
    shorten(outcome->outcome.detail);
    mend(outcome->outcome.detail);
  } else if (auto* ended = std::get_if<SessionEnded>(&fact)) {
    shorten(ended->error);
    mend(ended->error);
  }
}

Event to_event(const Fact& fact, const Origin& origin) {
  Event event{"", origin.run, origin.session, origin.agent, "", {}};
  event.subject = origin.subject;
  event.body.reserve(body_bytes_typical);
  std::visit([&](const auto& one) { write_body(event, one); }, fact);
  return event;
}

Result<Fact> fact_of(const Event& event) {
  const Json body = Json::parse(event.body, nullptr, false);
  if (!body.is_object()) return damaged(event, "its body is not a JSON object");
  try {
    auto fact = read_fact(event, body);
    if (!fact) return damaged(event, fact.error().message);
    return fact;
  } catch (const Json::exception& error) {
    return damaged(event, error.what());
  }
}

}  // namespace ambit::agents
