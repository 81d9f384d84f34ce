#pragma once

// Facts: what can happen to a session, each as a plain struct, and its form in the journal. A live
// run makes a fact, records it as an Event and applies it; a recovery reads the Event back to the
// same fact: fact_of(to_event(fact)) says what `fact` says.

#include "agents/ports.h"
#include "async/result.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace ambit::agents {

enum class SessionEnd {
  running,
  completed,  // the agent gave its final answer; nothing was refused
  escalated,  // it came to its end, but an action waits for a person
  denied,     // it came to its end, but policy refused an action
  limit,      // a budget was used up
  failed,     // the model or the runtime failed
  stopped,    // a person, or whoever runs the fleet, stopped it
};
std::string_view to_string(SessionEnd end);

struct SessionStarted {
  std::string principal;
  std::string instructions;
  std::string prompt;
  // What was said in its conversation before: messages of user and assistant, without calls.
  std::vector<Message> earlier{};
  bool tainted = false;         // some of it was said after reading what nobody vouches for
  std::string parent{};         // the session that delegated to this one; empty: none
  std::string output_schema{};  // its answers are held to it instead of the agent's own
  std::string definition{};     // which fleet file its agent is from; empty: it is not said
};

struct ActionDecided {
  Shared<Action> action;
  Shared<Decision> decision;
  std::string call;  // id of the tool call; empty: the action is a model call
  // A person answered the action `supersedes` with other arguments: this one is done instead, under
  // the approval that stands for it.
  std::string supersedes{};
  std::string approval{};
  // Allowed by policy and denied all the same: "budget" (the session's or the run's) or "quota".
  std::string bound{};
};

// It waits for people.
struct ApprovalRequested {
  std::string action;  // id
  std::string request;
  std::int64_t expires_unix_ms = 0;
};

struct ApprovalAnswered {
  std::string action;  // id
  std::string request;
  ApprovalAnswer answer;
};

struct TurnCompleted {
  std::string action;  // id
  std::string model;   // identity
  Turn turn;
  std::int64_t cost_micros = 0;  // by the price in the fleet file
  // It is a summary in the place of so many of the first messages; 0: it is a turn of the
  // conversation. An empty one replaces nothing.
  std::size_t compacts = 0;
  std::string route{};  // why this model took it; empty: it is the agent's
};

// The model could not answer; what that has cost all the same, as far as it is known.
struct TurnFailed {
  std::string action;  // id
  std::string model;   // identity
  Usage usage;
  std::int64_t cost_micros = 0;
  std::string error;
};

struct ActionOutcome {
  std::string action;  // id
  std::string call;
  std::string tool;
  Outcome outcome;
};

struct SessionEnded {
  SessionEnd end = SessionEnd::failed;
  std::int64_t turns = 0;
  std::int64_t tool_calls = 0;
  Usage usage;
  std::string error;
  std::string answer;
};

struct SessionState;

// The whole session as it stands between two steps, as snapshot_of() makes it (snapshot.h): who
// folds from here on needs nothing that was before.
struct SessionSnapshot {
  std::shared_ptr<SessionState> state;
};

using Fact = std::variant<SessionStarted, ActionDecided, TurnCompleted, ActionOutcome, SessionEnded,
                          ApprovalRequested, ApprovalAnswered, TurnFailed, SessionSnapshot>;

// Whose fact it is.
struct Origin {
  const std::string& run;
  const std::string& session;
  const std::string& agent;
  std::string_view subject{};  // whose data its payloads are
};

// "run/session/12" -> 12: actions are numbered in their session. 0: it has no number.
std::int64_t step_of(std::string_view action);

// Brings the texts of a fact into the form that the record keeps (well-formed UTF-8, bounded
// lengths), so that live and recovered state are the same. To be called once, before to_event().
void settle_texts(Fact& fact);
// The body is canonical JSON.
Event to_event(const Fact& fact, const Origin& origin);
// Errors (internal): an event that is none of ours, or damaged.
Result<Fact> fact_of(const Event& event);

}  // namespace ambit::agents
