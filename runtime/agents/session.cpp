#include "agents/session.h"

#include <nlohmann/json.hpp>

#include <algorithm>

namespace ambit::agents {
namespace {

using json = nlohmann::ordered_json;

constexpr std::string_view role_names[] = {"system", "user", "assistant", "tool"};

template <class E, std::size_t N>
std::optional<E> from_name(std::string_view name, const E (&all)[N]) {
  for (const E value : all) {
    if (to_string(value) == name) return value;
  }
  return std::nullopt;
}

constexpr OutcomeKind outcome_kinds[] = {
    OutcomeKind::ok,           OutcomeKind::tool_error,       OutcomeKind::denied,
    OutcomeKind::escalated,    OutcomeKind::timeout,          OutcomeKind::cpu_limit,
    OutcomeKind::memory_limit, OutcomeKind::process_limit,    OutcomeKind::file_size_limit,
    OutcomeKind::output_limit, OutcomeKind::policy_violation, OutcomeKind::crashed,
    OutcomeKind::refused,      OutcomeKind::protocol_error,   OutcomeKind::bad_arguments};
constexpr Verdict verdicts[] = {Verdict::allow, Verdict::deny, Verdict::escalate};
constexpr SessionEnd session_ends[] = {SessionEnd::running,   SessionEnd::completed,
                                       SessionEnd::escalated, SessionEnd::denied,
                                       SessionEnd::limit,     SessionEnd::failed};

json usage_json(const Usage& usage) {
  return {{"inputTokens", usage.input_tokens},   {"cachedTokens", usage.cached_tokens},
          {"outputTokens", usage.output_tokens}, {"forcedTokens", usage.forced_tokens},
          {"queueUs", usage.queue_us},           {"prefillUs", usage.prefill_us},
          {"decodeUs", usage.decode_us}};
}

void add_usage(Usage& sum, const json& body) {
  const json usage = body.value("usage", json::object());
  sum.input_tokens += usage.value("inputTokens", std::int64_t{0});
  sum.cached_tokens += usage.value("cachedTokens", std::int64_t{0});
  sum.output_tokens += usage.value("outputTokens", std::int64_t{0});
  sum.forced_tokens += usage.value("forcedTokens", std::int64_t{0});
  sum.queue_us += usage.value("queueUs", std::int64_t{0});
  sum.prefill_us += usage.value("prefillUs", std::int64_t{0});
  sum.decode_us += usage.value("decodeUs", std::int64_t{0});
}

std::string payload(const Event& event, std::string_view name) {
  for (const Payload& item : event.payloads) {
    if (item.name == name) return item.bytes;
  }
  return "";
}

tl::unexpected<Error> out_of_order(const Event& event, const std::string& why) {
  return Err(Code::internal, "the record of session " + event.session +
                                 " does not fit together: " + event.type + ": " + why);
}

Result<void> apply_decided(SessionState& state, const Event& event, const json& body) {
  const std::int64_t number = body.value("step", std::int64_t{0});
  state.actions = std::max(state.actions, number);
  if (body.value("kind", "") != "tool_call") return {};
  const ToolCall* call = state.next_call();
  if (call == nullptr) return out_of_order(event, "no call is open");
  if (call->id != body.value("call", "")) return out_of_order(event, "another call is open");
  CallRecord record;
  record.action = body.value("action", "");
  record.call = *call;
  record.verdict = from_name(body.value("verdict", ""), verdicts).value_or(Verdict::deny);
  record.reason = body.value("reason", "");
  record.policies = body.value("policies", std::vector<std::string>{});
  state.calls.push_back(std::move(record));
  return {};
}

Result<void> apply_outcome(SessionState& state, const Event& event, const json& body) {
  const ToolCall* call = state.next_call();
  if (call == nullptr || state.calls.empty() || state.calls.back().call.id != call->id) {
    return out_of_order(event, "no decided call is open");
  }
  CallRecord& record = state.calls.back();
  record.outcome =
      from_name(body.value("outcome", ""), outcome_kinds).value_or(OutcomeKind::refused);
  record.detail = body.value("detail", "");
  Message message;
  message.role = Role::tool;
  message.tool_call_id = call->id;
  message.tool_name = call->name;
  message.content = payload(event, "result");
  state.messages.push_back(std::move(message));
  const bool ran =
      *record.outcome != OutcomeKind::denied && *record.outcome != OutcomeKind::escalated &&
      *record.outcome != OutcomeKind::bad_arguments && *record.outcome != OutcomeKind::refused;
  state.tainted = state.tainted || ran;
  return {};
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
  }
  return "failed";
}

const ToolCall* SessionState::next_call() const {
  std::size_t answered = 0;
  for (auto at = messages.rbegin(); at != messages.rend(); ++at) {
    if (at->role == Role::tool) {
      ++answered;
    } else if (at->role == Role::assistant && answered < at->tool_calls.size()) {
      return &at->tool_calls[answered];
    } else {
      return nullptr;
    }
  }
  return nullptr;
}

const CallRecord* SessionState::in_doubt() const {
  const ToolCall* call = next_call();
  if (call == nullptr || calls.empty()) return nullptr;
  const CallRecord& last = calls.back();
  return last.call.id == call->id && !last.outcome ? &last : nullptr;
}

SessionEnd earned_end(const SessionState& state) {
  bool escalated = false;
  bool denied = false;
  for (const CallRecord& record : state.calls) {
    escalated = escalated || record.verdict == Verdict::escalate ||
                record.outcome == OutcomeKind::escalated;
    denied = denied || record.verdict == Verdict::deny;
  }
  if (escalated) return SessionEnd::escalated;
  return denied ? SessionEnd::denied : SessionEnd::completed;
}

Event session_started(const std::string& run, const std::string& session, const std::string& agent,
                      const std::string& system, const std::string& prompt,
                      const std::string& principal) {
  Event event{"session.started", run, session, agent, "{}", {}};
  event.body = json{{"principal", principal}}.dump();
  if (!system.empty()) event.payloads.push_back({"instructions", system});
  event.payloads.push_back({"prompt", prompt});
  return event;
}

Event action_decided(const Action& action, const Decision& decision, const std::string& call_id) {
  Event event{"action.decided", action.run, action.session, action.agent, "{}", {}};
  json body = {{"action", action.id},
               {"step", std::stoll(action.id.substr(action.id.rfind('/') + 1))},
               {"kind", to_string(action.kind)},
               {"onBehalfOf", action.on_behalf_of},
               {"tool", action.tool},
               {"verdict", to_string(decision.verdict)},
               {"reason", decision.reason},
               {"policies", decision.policies},
               {"policySet", decision.policy_set},
               {"tainted", action.tainted},
               {"left",
                {{"turns", action.left.turns},
                 {"toolCalls", action.left.tool_calls},
                 {"tokens", action.left.tokens},
                 {"wallMs", action.left.wall_ms}}}};
  if (!call_id.empty()) body["call"] = call_id;
  if (!action.tool_digest.empty()) body["toolDigest"] = action.tool_digest;
  if (!decision.errors.empty()) body["errors"] = decision.errors;
  for (const auto& [name, value] : decision.obligations) body["obligations"][name] = value;
  event.body = body.dump();
  if (!action.arguments.empty()) event.payloads.push_back({"arguments", action.arguments});
  return event;
}

Event turn_completed(const Action& action, const Turn& turn) {
  Event event{"turn.completed", action.run, action.session, action.agent, "{}", {}};
  constexpr std::string_view finish_names[] = {"stop", "tool_calls", "length"};
  event.body = json{{"action", action.id},
                    {"model", action.tool},
                    {"finish", finish_names[static_cast<std::size_t>(turn.finish)]},
                    {"usage", usage_json(turn.usage)}}
                   .dump();
  event.payloads.push_back({"message", to_json(turn.message)});
  return event;
}

Event action_outcome(const Action& action, const std::string& call_id, const Outcome& outcome) {
  Event event{"action.outcome", action.run, action.session, action.agent, "{}", {}};
  event.body = json{{"action", action.id},
                    {"call", call_id},
                    {"tool", action.tool},
                    {"outcome", to_string(outcome.kind)},
                    {"detail", outcome.detail.substr(0, 1000)},
                    {"truncated", outcome.truncated},
                    {"durationUs", outcome.duration_us}}
                   .dump(-1, ' ', false, json::error_handler_t::replace);
  event.payloads.push_back({"result", outcome.content});
  return event;
}

Event session_ended(const std::string& run, const SessionState& state, SessionEnd end,
                    const std::string& answer, const std::string& error) {
  Event event{"session.ended", run, state.id, state.agent, "{}", {}};
  event.body = json{{"state", to_string(end)},
                    {"turns", state.turns},
                    {"toolCalls", state.calls.size()},
                    {"usage", usage_json(state.usage)},
                    {"error", error.substr(0, 1000)}}
                   .dump(-1, ' ', false, json::error_handler_t::replace);
  event.payloads.push_back({"answer", answer});
  return event;
}

namespace {

Result<void> apply_parsed(SessionState& state, const Event& event) {
  const json body = json::parse(event.body, nullptr, false);
  if (!body.is_object()) return out_of_order(event, "its body is not a JSON object");
  if (event.type == "session.started") {
    if (!state.id.empty()) return out_of_order(event, "it has started already");
    state.id = event.session;
    state.agent = event.agent;
    const std::string system = payload(event, "instructions");
    if (!system.empty()) state.messages.push_back({Role::system, system, {}, "", ""});
    state.messages.push_back({Role::user, payload(event, "prompt"), {}, "", ""});
    return {};
  }
  if (state.id != event.session) return out_of_order(event, "it has not started");
  if (state.end != SessionEnd::running) return out_of_order(event, "it has ended");
  if (event.type == "action.decided") return apply_decided(state, event, body);
  if (event.type == "action.outcome") return apply_outcome(state, event, body);
  if (event.type == "turn.completed") {
    if (state.next_call() != nullptr) return out_of_order(event, "a call is open");
    state.messages.push_back(TRY(message_from_json(payload(event, "message"))));
    ++state.turns;
    add_usage(state.usage, body);
    return {};
  }
  if (event.type == "session.ended") {
    state.end = from_name(body.value("state", ""), session_ends).value_or(SessionEnd::failed);
    state.answer = payload(event, "answer");
    state.error = body.value("error", "");
    return {};
  }
  return out_of_order(event, "an unknown type");
}

}  // namespace

Result<void> apply(SessionState& state, const Event& event) {
  try {
    return apply_parsed(state, event);
  } catch (const json::exception& error) {
    return out_of_order(event, error.what());
  }
}

std::string to_json(const Message& message) {
  json out = {{"role", role_names[static_cast<std::size_t>(message.role)]},
              {"content", message.content}};
  for (const ToolCall& call : message.tool_calls) {
    out["tool_calls"].push_back(
        {{"id", call.id},
         {"type", "function"},
         {"function", {{"name", call.name}, {"arguments", call.arguments}}}});
  }
  if (message.role == Role::tool) {
    out["tool_call_id"] = message.tool_call_id;
    out["name"] = message.tool_name;
  }
  return out.dump(-1, ' ', false, json::error_handler_t::replace);
}

namespace {

Result<Message> message_from(const json& in) {
  Message message;
  const std::string role = in.value("role", "");
  const auto* at = std::find(std::begin(role_names), std::end(role_names), role);
  if (at == std::end(role_names))
    return Err(Code::invalid, "a message of the unknown role \"" + role + "\"");
  message.role = static_cast<Role>(at - std::begin(role_names));
  if (in.contains("content") && in["content"].is_string())
    message.content = in["content"].get<std::string>();
  const json calls = in.value("tool_calls", json::array());
  for (const json& item : calls) {
    const json function = item.value("function", json::object());
    ToolCall call;
    call.id = item.value("id", "");
    call.name = function.value("name", "");
    // Arguments come as text (OpenAI) or as an object (templates, data sets).
    if (function.contains("arguments")) {
      const json& arguments = function["arguments"];
      call.arguments = arguments.is_string() ? arguments.get<std::string>() : arguments.dump();
    }
    message.tool_calls.push_back(std::move(call));
  }
  message.tool_call_id = in.value("tool_call_id", "");
  message.tool_name = in.value("name", "");
  return message;
}

}  // namespace

Result<Message> message_from_json(const std::string& text) {
  const json in = json::parse(text, nullptr, false);
  if (!in.is_object()) return Err(Code::invalid, "a message that is not a JSON object");
  try {
    return message_from(in);
  } catch (const json::exception& error) {
    return Err(Code::invalid, std::string("a message of the wrong shape: ") + error.what());
  }
}

}  // namespace ambit::agents
