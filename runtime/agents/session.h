#pragma once

// Session: one conversation of one agent, folded from its facts. The live run and the recovery
// after a crash apply the same facts with the same function, so what is in the journal is all there
// is. SessionState decides what comes next; turn_loop.h does it.

#include "agents/fact.h"
#include "agents/ports.h"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace ambit::agents {

// Where an escalated action stands with the people who must approve it.
struct Asked {
  std::string request;                   // empty: nobody was asked yet
  std::string asked_as;                  // the action's id when they were asked; empty: its own
  std::optional<ApprovalAnswer> answer;  // absent: it waits
  friend bool operator==(const Asked&, const Asked&) = default;
};

// One gated tool call as it stands in the record.
struct CallRecord {
  std::string action;  // id
  ToolCall call;       // with the arguments that count: a person may have changed them
  Verdict verdict = Verdict::deny;
  std::string reason;
  std::vector<std::string> policies;
  std::vector<std::pair<std::string, std::string>> obligations;
  std::optional<OutcomeKind> outcome;  // absent: decided, not yet done (in doubt after a crash)
  std::string detail;
  Asked asked;
  friend bool operator==(const CallRecord&, const CallRecord&) = default;
};

// Whether the call's budget was taken: it was performed, or may have been.
bool is_spent(const CallRecord& record);
// What it means for how its session ends: it waits or waited for people in vain; it was refused.
bool is_escalated(const CallRecord& record);
bool is_denied(const CallRecord& record);

// Calls of which a snapshot keeps no more than this.
struct EarlierCalls {
  std::int64_t count = 0;
  std::int64_t spent = 0;
  std::int64_t escalated = 0;
  std::int64_t denied = 0;
  friend bool operator==(const EarlierCalls&, const EarlierCalls&) = default;
};

struct SessionState {
  std::string id;
  std::string agent;
  std::string subject;    // whose data it works on; empty: nobody's in particular
  std::string parent;     // the session that delegated to it
  std::string requester;  // the person who asked for it
  Messages messages;
  EarlierCalls earlier_calls;
  std::vector<CallRecord> calls;  // since then, and of those what snapshot_of() keeps
  Usage usage;
  std::int64_t cost_micros = 0;
  std::int64_t turns = 0;
  FinishReason finish = FinishReason::stop;  // of the last turn
  std::int64_t actions = 0;                  // numbers the action ids
  bool tainted = false;  // a tool result was read, or was before in its conversation
  // Of a conversation whose beginning gave way to summaries: what stood there, in its order, and
  // where the task stands now, in front of the last summary. A snapshot keeps of it what was read,
  // and not more than a guard does.
  std::vector<Message> replaced;
  bool has_read_more = false;  // than that
  std::int64_t compactions = 0;
  std::size_t task_at = 0;
  std::size_t task_bytes = 0;
  std::int64_t window_tokens = 0;  // that the last turn read and said; 0: not known
  std::size_t uncompacted = 0;     // with so many messages a summary came to nothing
  std::size_t recorded_bytes = 0;  // of its story since it began, or since its last snapshot
  SessionEnd end = SessionEnd::running;
  std::string answer;
  std::string error;

  [[nodiscard]] std::string task() const {
    return messages.at(task_at).content.substr(0, task_bytes);
  }
  // The next call of the last assistant message that has no answer yet.
  [[nodiscard]] const ToolCall* next_call() const;
  // The record of that call, if it is decided but not done.
  [[nodiscard]] const CallRecord* in_doubt() const;
  // The agent has said its last word; only the end is not recorded.
  [[nodiscard]] bool answered() const;
  // The record of that call, if people were asked and have not answered.
  [[nodiscard]] const CallRecord* waits() const;
  // How many calls it has made so far.
  [[nodiscard]] std::int64_t call_count() const {
    return earlier_calls.count + static_cast<std::int64_t>(calls.size());
  }
  friend bool operator==(const SessionState&, const SessionState&) = default;
};

// What SessionEnd a session has earned when its agent gives the final answer.
SessionEnd earned_end(const SessionState& state);

// What an event takes in the record, about.
std::size_t bytes_of(const Event& event);

// The only way to change a state; the fact takes `bytes` in the record. Errors (internal): a fact
// that does not follow from the state: the journal is not ours or damaged.
Result<void> apply(SessionState& state, Fact fact, const Origin& origin, std::size_t bytes = 0);
// The same, of a recorded fact; events that tell nothing of the conversation change nothing.
Result<void> apply(SessionState& state, const Event& event);

}  // namespace ambit::agents
