#include "agents/compaction.h"

#include <algorithm>
#include <utility>

namespace ambit::agents {
namespace {

constexpr std::int64_t bytes_a_token = 3;
constexpr std::string_view before_summary = "\n\nWhat was said and done before, in summary:\n";

std::int64_t size_of(const Message& message) {
  auto bytes = static_cast<std::int64_t>(message.content.size());
  for (const ToolCall& call : message.tool_calls) {
    bytes += static_cast<std::int64_t>(call.name.size() + call.arguments.size());
  }
  return bytes;
}

std::int64_t tokens_of(std::int64_t bytes) {
  return (bytes + bytes_a_token - 1) / bytes_a_token;
}

bool has_instructions(const SessionState& state) {
  return !state.messages.empty() && state.messages.front().role == Role::system;
}

// Where a conversation can be cut: a turn begins there, or what follows the task.
bool is_border(const SessionState& state, std::size_t at) {
  if (at <= state.task_at || at > state.messages.size()) return false;
  return at == state.messages.size() || state.messages[at].role != Role::tool;
}

}  // namespace

std::int64_t context_tokens(const SessionState& state) {
  std::int64_t bytes = 0;
  // A compacted conversation is new to the model from its front.
  for (std::size_t at = state.messages.size(); at-- > 0;) {
    if (state.window_tokens > 0 && state.messages[at].role == Role::assistant) break;
    bytes += size_of(state.messages[at]);
  }
  return state.window_tokens + tokens_of(bytes);
}

std::size_t compaction_due(const SessionState& state, const CompactionSpec& spec,
                           const ModelSpec& model) {
  const auto window = static_cast<double>(model.context_max);
  const auto needed = static_cast<double>(context_tokens(state) + model.tokens_max);
  if (needed <= spec.threshold * window) return 0;
  const auto kept_max = static_cast<std::int64_t>(spec.keep * window);
  // From the newest turn back, as long as it fits; the newest one stays whatever its size.
  std::size_t cut = state.messages.size();
  std::int64_t kept = 0;
  bool has_one = false;
  for (std::size_t at = state.messages.size(); at-- > state.task_at + 1;) {
    kept += size_of(state.messages[at]);
    if (has_one && tokens_of(kept) > kept_max) break;
    if (!is_border(state, at)) continue;
    cut = at;
    has_one = true;
  }
  // The instructions and the task alone are nothing to sum up.
  const std::size_t fixed = (has_instructions(state) ? 1U : 0U) + 1U;
  return cut > fixed ? cut : 0;
}

void ask_for_summary(TurnRequest& request, const SessionState& state, const CompactionSpec& spec,
                     std::size_t cut) {
  std::vector<Message> messages(state.messages.begin(),
                                state.messages.begin() + static_cast<std::ptrdiff_t>(cut));
  // A task that nothing was done about yet is not summed up with what was said before it.
  if (messages.back().role == Role::user) messages.pop_back();
  messages.push_back({Role::user, spec.instructions, {}, "", ""});
  request.messages = Messages(std::move(messages));
  request.tool_choice = ToolChoice::none;
  request.tokens_max = spec.tokens_max;
  request.output_schema.clear();
  request.on_text = nullptr;
}

Result<void> compact(SessionState& state, std::size_t cut, const std::string& summary) {
  const std::size_t first = has_instructions(state) ? 1 : 0;
  if (!is_border(state, cut) || cut <= first + 1 || state.next_call() != nullptr) {
    return Err(Code::internal, "a summary of " + std::to_string(cut) + " messages fits nowhere");
  }
  std::vector<Message> messages(state.messages.begin(),
                                state.messages.begin() + static_cast<std::ptrdiff_t>(first));
  const std::string task = state.task();
  messages.push_back({Role::user, task + std::string(before_summary) + summary, {}, "", ""});
  for (std::size_t at = first; at < cut; ++at) {
    Message message = state.messages[at];
    // The task stands in front of the last summary, which the model wrote.
    if (at == state.task_at && state.compactions > 0) {
      message = {Role::assistant, message.content.substr(state.task_bytes), {}, "", ""};
    }
    state.replaced.push_back(std::move(message));
  }
  messages.insert(messages.end(), state.messages.begin() + static_cast<std::ptrdiff_t>(cut),
                  state.messages.end());
  state.messages = Messages(std::move(messages));
  state.task_at = first;
  state.task_bytes = task.size();
  state.window_tokens = 0;
  state.uncompacted = 0;
  ++state.compactions;
  return {};
}

}  // namespace ambit::agents
