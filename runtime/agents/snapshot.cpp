#include "agents/snapshot.h"

#include "agents/fact_text.h"
#include "agents/json_writer.h"
#include "agents/message.h"
#include "agents/session.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <iterator>
#include <memory>
#include <utility>
#include <vector>

namespace ambit::agents {
namespace {

using Json = nlohmann::ordered_json;

// What stands around the texts of a message and of a call when they are written.
constexpr std::size_t message_bytes = 80;
constexpr std::size_t call_bytes = 256;
constexpr std::size_t figures_bytes = 1024;

// Nothing that the model has said is a source of anything.
bool is_heard(const Message& message) {
  return message.role != Role::assistant;
}

std::size_t bytes_of(const Message& message) {
  std::size_t bytes = message_bytes + message.content.size();
  for (const ToolCall& call : message.tool_calls) {
    bytes += message_bytes + call.name.size() + call.arguments.size();
  }
  return bytes;
}

std::size_t bytes_of(const CallRecord& record) {
  return call_bytes + record.call.arguments.size() + record.reason.size() + record.detail.size();
}

// Which calls a snapshot keeps: the newest ones, and the newest of those that were not allowed, so
// that whoever asks hears why.
std::vector<bool> kept_calls(const std::vector<CallRecord>& calls, std::size_t most) {
  std::vector<bool> kept(calls.size());
  std::size_t refused = 0;
  for (std::size_t at = calls.size(); at-- > 0;) {
    if (calls.size() - at <= most) {
      kept[at] = true;
    } else if (refused < most && (is_escalated(calls[at]) || is_denied(calls[at]))) {
      kept[at] = true;
      ++refused;
    }
  }
  return kept;
}

// About what a snapshot takes.
std::size_t size_of(const SessionState& state, const SnapshotLimits& limits) {
  std::size_t bytes = 0;
  for (const Message& message : state.replaced) {
    if (is_heard(message)) bytes += bytes_of(message);
  }
  bytes = std::min(bytes, limits.heard_bytes_max) + figures_bytes;
  for (const Message& message : state.messages) bytes += bytes_of(message);
  const std::vector<bool> kept = kept_calls(state.calls, limits.calls_max);
  for (std::size_t at = 0; at < kept.size(); ++at) {
    if (kept[at]) bytes += bytes_of(state.calls[at]);
  }
  return bytes;
}

void keep_heard(SessionState& state, std::size_t bytes_max) {
  std::vector<Message> kept;
  std::size_t bytes = 0;
  for (Message& message : state.replaced) {
    if (!is_heard(message)) continue;
    bytes += bytes_of(message);
    if (bytes > bytes_max) {
      state.has_read_more = true;
      break;
    }
    kept.push_back(std::move(message));
  }
  state.replaced = std::move(kept);
}

void keep_calls(SessionState& state, std::size_t most) {
  const std::vector<bool> is_kept = kept_calls(state.calls, most);
  std::vector<CallRecord> kept;
  EarlierCalls& earlier = state.earlier_calls;
  for (std::size_t at = 0; at < is_kept.size(); ++at) {
    CallRecord& record = state.calls[at];
    if (is_kept[at]) {
      // What people made of it is what was done.
      if (record.asked.answer) record.asked.answer->arguments.clear();
      kept.push_back(std::move(record));
      continue;
    }
    ++earlier.count;
    earlier.spent += is_spent(record) ? 1 : 0;
    earlier.escalated += is_escalated(record) ? 1 : 0;
    earlier.denied += is_denied(record) ? 1 : 0;
  }
  state.calls = std::move(kept);
}

void write_call(JsonWriter& out, const CallRecord& record) {
  out.begin_object().key("action").text(record.action);
  if (record.asked.answer) {
    const ApprovalAnswer& answer = *record.asked.answer;
    out.key("answer").begin_object().key("answer").text(to_string(answer.end));
    out.key("by").text(answer.by).key("successor").text(answer.successor).end_object();
  }
  out.key("arguments").text(record.call.arguments);
  if (!record.asked.asked_as.empty()) out.key("askedAs").text(record.asked.asked_as);
  out.key("call").text(record.call.id).key("detail").text(record.detail);
  if (!record.obligations.empty()) fact_text::write(out.key("obligations"), record.obligations);
  if (record.outcome) out.key("outcome").text(to_string(*record.outcome));
  fact_text::write(out.key("policies"), record.policies);
  out.key("reason").text(record.reason);
  if (!record.asked.request.empty()) out.key("request").text(record.asked.request);
  out.key("tool").text(record.call.name).key("verdict").text(to_string(record.verdict));
  out.end_object();
}

CallRecord call_of(const Json& in) {
  using fact_text::from_name;
  using fact_text::text;
  CallRecord record;
  record.action = text(in, "action");
  record.call = {text(in, "call"), text(in, "tool"), text(in, "arguments")};
  record.verdict = from_name(text(in, "verdict"), fact_text::verdicts, Verdict::deny);
  record.reason = text(in, "reason");
  record.policies = fact_text::texts(in, "policies");
  record.obligations = fact_text::obligations_of(in);
  if (in.contains("outcome")) {
    record.outcome = from_name(text(in, "outcome"), fact_text::outcome_kinds, OutcomeKind::refused);
  }
  record.detail = text(in, "detail");
  record.asked.request = text(in, "request");
  record.asked.asked_as = text(in, "askedAs");
  if (in.contains("answer")) {
    const Json& answer = in["answer"];
    record.asked.answer = ApprovalAnswer{
        from_name(text(answer, "answer"), fact_text::approval_ends, ApprovalEnd::denied),
        text(answer, "by"), text(answer, "successor"), ""};
  }
  return record;
}

// All that is no text of the conversation.
std::string figures_of(const SessionState& state) {
  std::string figures;
  JsonWriter out(figures);
  const EarlierCalls& earlier = state.earlier_calls;
  out.begin_object().key("actions").integer(state.actions);
  out.key("compactions").integer(state.compactions).key("costMicros").integer(state.cost_micros);
  out.key("earlierCalls").begin_object().key("count").integer(earlier.count);
  out.key("denied").integer(earlier.denied).key("escalated").integer(earlier.escalated);
  out.key("spent").integer(earlier.spent).end_object();
  out.key("finish").text(fact_text::finish_names[static_cast<std::size_t>(state.finish)]);
  out.key("hasReadMore").boolean(state.has_read_more).key("parent").text(state.parent);
  out.key("requester").text(state.requester).key("tainted").boolean(state.tainted);
  out.key("taskAt").integer(static_cast<std::int64_t>(state.task_at));
  out.key("turns").integer(state.turns);
  out.key("uncompacted").integer(static_cast<std::int64_t>(state.uncompacted));
  fact_text::write(out.key("usage"), state.usage);
  out.key("windowTokens").integer(state.window_tokens).end_object();
  return figures;
}

Result<SessionState> read_figures(const Json& in) {
  using fact_text::number;
  const auto count = [&in](const char* name) {
    return static_cast<std::size_t>(std::max<std::int64_t>(0, number(in, name)));
  };
  SessionState state;
  state.actions = number(in, "actions");
  state.compactions = number(in, "compactions");
  state.cost_micros = number(in, "costMicros");
  const Json earlier = in.value("earlierCalls", Json::object());
  state.earlier_calls = {number(earlier, "count"), number(earlier, "spent"),
                         number(earlier, "escalated"), number(earlier, "denied")};
  const std::string finish = fact_text::text(in, "finish");
  const auto* at =
      std::find(std::begin(fact_text::finish_names), std::end(fact_text::finish_names), finish);
  if (at == std::end(fact_text::finish_names)) return Err(Code::internal, "an unknown finish");
  state.finish = static_cast<FinishReason>(at - std::begin(fact_text::finish_names));
  state.has_read_more = in.value("hasReadMore", true);
  state.parent = fact_text::text(in, "parent");
  state.requester = fact_text::text(in, "requester");
  state.tainted = in.value("tainted", true);
  state.task_at = count("taskAt");
  state.turns = number(in, "turns");
  state.uncompacted = count("uncompacted");
  state.usage = fact_text::usage_of(in);
  state.window_tokens = number(in, "windowTokens");
  return state;
}

}  // namespace

bool snapshot_due(const SessionState& state, const SnapshotLimits& limits) {
  if (state.recorded_bytes < limits.bytes_min || state.end != SessionEnd::running) return false;
  if (state.answered() || state.next_call() != nullptr) return false;
  return state.recorded_bytes >= size_of(state, limits);
}

SessionSnapshot snapshot_of(const SessionState& state, const SnapshotLimits& limits) {
  auto held = std::make_shared<SessionState>(state);
  keep_heard(*held, limits.heard_bytes_max);
  keep_calls(*held, limits.calls_max);
  for (Message& message : held->replaced) fact_text::mend(message);
  std::vector<Message> messages = held->messages;
  for (Message& message : messages) fact_text::mend(message);
  held->messages = Messages(std::move(messages));
  return {std::move(held)};
}

// The task and the summary behind it stand apart: what is redacted of one does not move the other.
void write_snapshot(Event& event, const SessionState& state) {
  event.type = snapshot_type;
  event.body.clear();
  JsonWriter(event.body).begin_object().key("turns").integer(state.turns).end_object();
  event.payloads.push_back({"prompt", state.task()});
  std::vector<Message> messages = state.messages;
  std::string& first = messages.at(state.task_at).content;
  const std::string summary = first.substr(state.task_bytes);
  first.clear();
  if (!summary.empty()) event.payloads.push_back({"summary", summary});
  event.payloads.push_back({"messages", to_json_lines(messages)});
  if (!state.replaced.empty()) {
    event.payloads.push_back({"replaced", to_json_lines(state.replaced)});
  }
  if (!state.calls.empty()) {
    std::string lines;
    for (const CallRecord& record : state.calls) {
      std::string line;
      JsonWriter out(line);
      write_call(out, record);
      lines += line + "\n";
    }
    event.payloads.push_back({"calls", std::move(lines)});
  }
  event.payloads.push_back({"state", figures_of(state)});
}

Result<SessionSnapshot> read_snapshot(const Event& event) {
  using fact_text::payload;
  const Json figures = Json::parse(payload(event, "state"), nullptr, false);
  if (!figures.is_object()) return Err(Code::internal, "its state is not a JSON object");
  SessionState held = TRY(read_figures(figures));
  auto state = std::make_shared<SessionState>(std::move(held));
  std::vector<Message> messages = TRY(messages_from_json_lines(payload(event, "messages")));
  if (state->task_at >= messages.size()) return Err(Code::internal, "it has no task");
  const std::string task = payload(event, "prompt");
  messages[state->task_at].content = task + payload(event, "summary");
  state->task_bytes = task.size();
  state->messages = Messages(std::move(messages));
  if (state->next_call() != nullptr) return Err(Code::internal, "a call is open");
  state->replaced = TRY(messages_from_json_lines(payload(event, "replaced")));
  const std::string lines = payload(event, "calls");
  for (std::size_t at = 0; at < lines.size();) {
    const std::size_t end = std::min(lines.find('\n', at), lines.size());
    const Json line = Json::parse(lines.begin() + static_cast<std::ptrdiff_t>(at),
                                  lines.begin() + static_cast<std::ptrdiff_t>(end), nullptr, false);
    if (!line.is_object()) return Err(Code::internal, "a call is not a JSON object");
    state->calls.push_back(call_of(line));
    at = end + 1;
  }
  return SessionSnapshot{std::move(state)};
}

}  // namespace ambit::agents
