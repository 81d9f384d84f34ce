#pragma once

// The ports of governance that stand before an action: Guard, Approvals, Quotas, Identities; and
// the action that they decide on.

#include "agents/toolbox.h"
#include "async/result.h"
#include "async/task.h"

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ambit::agents {

enum class ActionKind { model_call, tool_call, delegation, message, memory_write, spawn, egress };
std::string_view to_string(ActionKind kind);

struct Budget {
  std::int64_t turns = 0;
  std::int64_t tool_calls = 0;
  std::int64_t tokens = 0;
  std::int64_t wall_ms = 0;
  std::int64_t money_micros = -1;  // millionths of a dollar
  friend bool operator==(const Budget&, const Budget&) = default;
};

// How far a value can be believed, by where it was read; the later the less.
enum class Trust {
  user,       // a person said it in this session
  trusted,    // instructions, and records that the operator vouches for
  unknown,    // found nowhere: the model made it up, or worked it out
  untrusted,  // read in what nobody vouches for
};
std::string_view to_string(Trust trust);

// Who a text comes from that a session reads.
enum class Speaker { user, instructions, tool, agent };

// Where one argument of an action comes from. An argument with several values counts as its least
// trusted one.
struct ArgumentOrigin {
  std::string argument;  // a member of the arguments
  Trust trust = Trust::unknown;
  bool weak = false;                 // short enough to be found by chance
  std::vector<std::string> sources;  // "user", "tool:read_file", ...: where it, or a part, was read
  friend bool operator==(const ArgumentOrigin&, const ArgumentOrigin&) = default;
};

// One effect that an agent wants to have. What the Guard decides on, the Journal keeps and people
// approve.
struct Action {
  std::string id;  // run/session/step: unique
  ActionKind kind = ActionKind::tool_call;
  std::string agent;  // name in the fleet file
  std::string session;
  std::string run;
  std::string on_behalf_of;  // the principal who is answerable
  std::string tool;          // or the model, or the agent delegated to
  std::string arguments;     // JSON object
  bool read_only = false;
  bool destructive = true;
  bool tainted = false;  // said after reading something that nobody vouches for
  std::string tool_digest;
  Budget left;                            // before this action
  std::vector<ArgumentOrigin> origins{};  // what Guard::trace found
  std::int64_t autonomy_level = 0;        // of the agent, by Guard::trace; 0: not said
  std::vector<std::string> chain{};       // agents that delegated to this one, the first one first
  // The person who asked for the session; he approves none of its actions. Empty: the principal.
  std::string requester{};
  std::string instance{};  // the key of the agent's instance, by its thumbprint
  // What the operator says of the tool, by Guard::trace; empty: it is no tool's effect.
  std::string reversibility{};
  std::string risk{};
};

// Of the texts that one session has read, a guard keeps so many bytes at most, the first ones.
inline constexpr std::size_t heard_bytes_max = 8U << 20;

enum class Verdict { allow, deny, escalate };
std::string_view to_string(Verdict verdict);

struct Decision {
  Verdict verdict = Verdict::deny;
  std::string reason;                 // one sentence for the agent and for people
  std::vector<std::string> policies;  // ids of those that determined it
  std::vector<std::string> errors;    // policies that failed while they were evaluated
  std::vector<std::pair<std::string, std::string>> obligations;
  std::string policy_set;  // SHA-256 hex of the whole set
  // Obligations changed the arguments: the action is done with these, and approved with these.
  // Empty: as they were said.
  std::string arguments{};
  // Policies that only watch (evaluate-only): the verdict with them, where it is another one.
  std::string would{};
  std::string would_reason{};
  friend bool operator==(const Decision&, const Decision&) = default;
};

// What the guard has to say after an action, for the journal: a type of event and its body (JSON).
struct Notice {
  std::string type;
  std::string body;
  friend bool operator==(const Notice&, const Notice&) = default;
};

class Guard {
 public:
  virtual ~Guard() = default;
  // Fast; never throws. Without a policy that permits: deny.
  virtual Decision decide(const Action& action) = 0;

  // A session has read a text: a prompt, a tool's result, an agent's message. `name` is the tool or
  // the agent. To be called for every message of a session, and again for those of one that is
  // taken up after a crash.
  virtual void heard(const std::string& /*session*/, Speaker /*speaker*/,
                     const std::string& /*name*/, const std::string& /*text*/) {}
  // It has read more than can be told again: what is found nowhere may have been in it.
  virtual void missed(const std::string& /*session*/) {}
  // Fills action.origins by what its session has read, the agent's autonomy level, and what the
  // operator says of the tool, its kind of effect among it. To be called before decide().
  virtual void trace(Action& /*action*/) const {}
  // An action has ended, or was refused (its outcome says so). Lowers autonomy where that is due;
  // what comes back belongs into the journal.
  virtual std::vector<Notice> done(const Action& /*action*/, const Decision& /*decision*/,
                                   const Outcome& /*outcome*/) {
    return {};
  }
  // The session has ended.
  virtual void forget(const std::string& /*session*/) {}
};

// done: it is done already, by hand or before a crash, and must not be done again.
enum class ApprovalEnd { approved, denied, expired, modified, done };
std::string_view to_string(ApprovalEnd end);

struct ApprovalTicket {
  std::string id;
  std::int64_t expires_unix_ms = 0;  // no answer by then is a no
};

struct ApprovalAnswer {
  ApprovalEnd end = ApprovalEnd::denied;
  std::string by;         // who answered, with commas
  std::string successor;  // modified: the request for the action with other arguments
  std::string arguments;  // modified: these
  friend bool operator==(const ApprovalAnswer&, const ApprovalAnswer&) = default;
};

// People who answer for actions that the policies escalate. A request outlives the process.
class Approvals {
 public:
  virtual ~Approvals() = default;
  // Durable when it returns. The same action asked about again, still open, is the same request.
  virtual Task<Result<ApprovalTicket>> ask(Action action, Decision decision) = 0;
  // Waits for the answer or the deadline, whichever comes first.
  virtual Task<Result<ApprovalAnswer>> answered(std::string id) = 0;
  // Once, just before the action is done. False: it was used before, so nobody knows whether the
  // action was done. An error: it may not be done; for one, because `decision`, the last one, asks
  // for more people than have said yes.
  virtual Task<Result<bool>> use(std::string id, Action action, Decision decision) = 0;
};

struct Spending {
  std::int64_t calls = 0;
  std::int64_t tokens = 0;
  std::int64_t money_micros = 0;
};

// Bounds with a memory, over tools, agents, people and spans of time; a session's own budget is
// budget.h. Pure and fast, like the Guard.
class Quotas {
 public:
  virtual ~Quotas() = default;
  // Errors: exhausted, denied (the agent repeats itself), unavailable (the tool keeps failing).
  virtual Result<std::uint64_t> reserve(const Action& action, const Spending& most) = 0;
  virtual void settle(std::uint64_t id, const Spending& spent, bool failed) = 0;
  // Nothing was done: gives all of it back.
  virtual void cancel(std::uint64_t id) = 0;
  virtual void session_gone(const std::string& /*session*/) {}
  // What has happened since the last call (a breaker opened, an agent went round in circles), for
  // the journal.
  virtual std::vector<Notice> take_notices() { return {}; }
};

// What an instance of an agent may do, and for whom.
struct Charge {
  std::string run;
  std::string session;
  std::string agent;
  std::string parent;     // the session that delegated to it; empty: none
  std::string requester;  // the person
  Budget left;            // when it begins
};

struct Identity {
  std::string key;         // thumbprint (RFC 7638) of its public key
  std::string public_key;  // JWK
  std::string claims;      // of the token that it acts under, JSON
  std::string token_hash;  // SHA-256 hex of the token, which is kept nowhere
};

// Each instance of an agent has a key of its own, and acts under a token that can only be narrower
// than the one of who delegated to it.
class Identities {
 public:
  virtual ~Identities() = default;
  // An error (denied): it would be wider.
  virtual Result<Identity> begin(const Charge& charge) = 0;
  virtual void end(const std::string& run, const std::string& session) = 0;
};

}  // namespace ambit::agents
