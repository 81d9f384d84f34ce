#pragma once

// Session: one conversation of one agent, folded from the journal's events. The live run and the
// recovery after a crash apply the same events with the same function, so what is in the journal is
// all there is. SessionState decides what comes next; turn_loop.h does it.

#include "agents/ports.h"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace ambit::agents {

enum class SessionEnd {
  running,
  completed,  // the agent gave its final answer; nothing was refused
  escalated,  // it came to its end, but an action waits for a person
  denied,     // it came to its end, but policy refused an action
  limit,      // a budget was used up
  failed,     // the model or the runtime failed
};
std::string_view to_string(SessionEnd end);

// One gated tool call as it stands in the record.
struct CallRecord {
  std::string action;  // id
  ToolCall call;
  Verdict verdict = Verdict::deny;
  std::string reason;
  std::vector<std::string> policies;
  std::optional<OutcomeKind> outcome;  // absent: decided, not yet done (in doubt after a crash)
  std::string detail;
};

struct SessionState {
  std::string id;
  std::string agent;
  std::vector<Message> messages;
  std::vector<CallRecord> calls;
  Usage usage;
  std::int64_t turns = 0;
  std::int64_t actions = 0;  // numbers the action ids
  bool tainted = false;      // a tool result was read
  SessionEnd end = SessionEnd::running;
  std::string answer;
  std::string error;

  // The next call of the last assistant message that has no answer yet.
  [[nodiscard]] const ToolCall* next_call() const;
  // The record of that call, if it is decided but not done.
  [[nodiscard]] const CallRecord* in_doubt() const;
};

// What SessionEnd a session has earned when its agent gives the final answer.
SessionEnd earned_end(const SessionState& state);

// The events of a session. Each can be applied by `apply`, which is the only way to change a state.
Event session_started(const std::string& run, const std::string& session, const std::string& agent,
                      const std::string& system, const std::string& prompt,
                      const std::string& principal);
Event action_decided(const Action& action, const Decision& decision, const std::string& call_id);
Event turn_completed(const Action& action, const Turn& turn);
Event action_outcome(const Action& action, const std::string& call_id, const Outcome& outcome);
Event session_ended(const std::string& run, const SessionState& state, SessionEnd end,
                    const std::string& answer, const std::string& error);

// Errors (internal): an event that does not follow from the state: the journal is not ours or
// damaged.
Result<void> apply(SessionState& state, const Event& event);

// Messages as OpenAI-style JSON text, one object; and back.
std::string to_json(const Message& message);
Result<Message> message_from_json(const std::string& text);

}  // namespace ambit::agents
