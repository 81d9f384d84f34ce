#pragma once

// The five ports: what the orchestration asks of the rooms. inference implements Model, mcp and
// sandbox (by way of app) Toolbox and Runner, governance Guard and Journal. Everything here is
// plain data and five interfaces; JSON travels as compact text, so that values are comparable and
// cheap to hold.

#include "agents/shared.h"
#include "async/result.h"
#include "async/task.h"

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <iterator>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace ambit::agents {

// ---- what is said
// -----------------------------------------------------------------------------------

enum class Role { system, user, assistant, tool };

struct ToolCall {
  std::string id;         // unique in its session: "call_3"
  std::string name;       // as offered: "grep", "mcp__registry__lookup"
  std::string arguments;  // a JSON object, compact, keys in the order in which they were said
  friend bool operator==(const ToolCall&, const ToolCall&) = default;
};

struct Message {
  Role role = Role::user;
  std::string content;
  std::vector<ToolCall> tool_calls;  // role assistant
  std::string tool_call_id;          // role tool: which call it answers
  std::string tool_name;             // role tool
  friend bool operator==(const Message&, const Message&) = default;
};

// A conversation. Copies of it share the messages until one of them grows.
class Messages {
 public:
  Messages() = default;
  Messages(std::initializer_list<Message> all) : all_(std::vector<Message>(all)) {}
  Messages(std::vector<Message> all) : all_(std::move(all)) {}
  operator const std::vector<Message>&() const { return *all_; }

  void push_back(Message message) { all_.edit().push_back(std::move(message)); }
  [[nodiscard]] auto begin() const { return all_->begin(); }
  [[nodiscard]] auto end() const { return all_->end(); }
  [[nodiscard]] auto rbegin() const { return all_->rbegin(); }
  [[nodiscard]] auto rend() const { return all_->rend(); }
  [[nodiscard]] bool empty() const { return all_->empty(); }
  [[nodiscard]] std::size_t size() const { return all_->size(); }
  [[nodiscard]] const Message& operator[](std::size_t at) const { return (*all_)[at]; }
  [[nodiscard]] const Message& at(std::size_t at) const { return all_->at(at); }
  [[nodiscard]] const Message& front() const { return all_->front(); }
  [[nodiscard]] const Message& back() const { return all_->back(); }
  friend bool operator==(const Messages&, const Messages&) = default;

 private:
  Shared<std::vector<Message>> all_;
};

struct ToolSpec {
  std::string name;
  std::string description;
  std::string input_schema;  // JSON Schema of the arguments, an object, compact text
  // What the tool does to the world, from the fleet file or MCP annotations; unknown means the
  // worst.
  bool read_only = false;
  bool destructive = true;
  bool idempotent = false;
  std::string digest;         // SHA-256 hex of the canonical definition (name, description, schema)
  std::string agent{};        // a call is a delegation to this agent; empty: a tool
  bool ends_session = false;  // a call that succeeds is the last thing its session does
  bool stays_here = false;    // that agent's data never leaves this machine
  friend bool operator==(const ToolSpec&, const ToolSpec&) = default;
};

// ---- Model
// ------------------------------------------------------------------------------------------

struct Sampling {
  double temperature = 0.0;  // 0: the likeliest token, ties to the lowest id
  double top_p = 1.0;
  int top_k = 0;  // 0: all
  double min_p = 0.0;
  double repeat_penalty = 1.0;
  std::uint64_t seed = 0;
  double presence_penalty = 0;   // taken from the logit of every recent token
  double frequency_penalty = 0;  // the same for each time that it was said
  std::vector<std::pair<std::int32_t, double>>
      logit_bias{};  // token id, what is added to its logit
  friend bool operator==(const Sampling&, const Sampling&) = default;
};

enum class ToolChoice { automatic, none, required };

struct Usage;

struct TurnRequest {
  std::string session;  // whose KV pages to go on with
  std::shared_ptr<const std::vector<ToolSpec>> tools;
  Messages messages;  // the whole conversation; the engine finds what it has already
  Sampling sampling;
  std::int64_t tokens_max = 512;
  ToolChoice tool_choice = ToolChoice::automatic;
  std::string output_schema;  // constrains a text answer to JSON of this schema; empty: free text
  int priority = 0;           // higher goes first
  std::vector<std::string> stop{};  // the text ends before the first of these
  int logprobs = -1;  // of each token and of so many likeliest beside it; -1: none are wanted
  // Other bounds of a text answer, at most one of the three: a regular expression that the whole
  // answer matches, a grammar in GBNF.
  std::string output_pattern{};
  std::string output_grammar{};
  // A text to go on with as it stands, without a chat template; then there are no messages.
  std::string text{};
  // Called on the loop's thread with the answer's content while it is decoded: whole characters, in
  // order, in all exactly the content of the turn. Never after generate() has ended or was
  // cancelled. A model that does not stream gives it in one piece.
  std::function<void(const std::string& piece)> on_text{};
  // An attempt has come to nothing and was paid for all the same; `usage` is that of all of them so
  // far. False: there is no budget for another one. Absent: there is.
  std::function<bool(const Usage& usage)> may_retry{};
};

// How likely a token was, before temperature and grammar; natural logarithms.
struct TokenLogprob {
  std::string text;
  double logprob = 0;
  std::vector<std::pair<std::string, double>> likeliest{};
  friend bool operator==(const TokenLogprob&, const TokenLogprob&) = default;
};

struct Usage {
  std::int64_t input_tokens = 0;
  std::int64_t cached_tokens = 0;  // of the input, found in the KV cache
  std::int64_t output_tokens = 0;
  std::int64_t forced_tokens = 0;   // of the output, the only one that the grammar allowed
  std::int64_t drafted_tokens = 0;  // of the output, guessed right and verified with others at once
  std::int64_t queue_us = 0;
  std::int64_t prefill_us = 0;
  std::int64_t decode_us = 0;
  std::int64_t energy_uj = 0;  // its share of what the machine took; 0: nobody measured
  friend bool operator==(const Usage&, const Usage&) = default;
};

enum class FinishReason { stop, tool_calls, length };

struct Turn {
  Message message;  // role assistant
  FinishReason finish = FinishReason::stop;
  Usage usage;
  std::vector<TokenLogprob> logprobs{};  // one a token of the output, where they were asked for
  std::string device{};                  // what computed it: "cpu: ..."; empty: not known
};

struct EmbeddingRequest {
  std::string text;
  int priority = 0;
};
struct Embedding {
  std::vector<float> values;  // of length 1
  std::int64_t tokens = 0;    // of the text
};

// What the orchestrator knows and an engine behind HTTP has to guess.
enum class SessionEvent { call_begins, call_ends_soon, parked, gone };

class Model {
 public:
  virtual ~Model() = default;
  // One turn of the assistant. Cancelling the task frees what it used. Errors: exhausted (the
  // context is full), invalid (the request can never work), unavailable (try again later).
  virtual Task<Result<Turn>> generate(TurnRequest request) = 0;
  // Where a text lies among others. Errors as above; unsupported: this model cannot say.
  virtual Task<Result<Embedding>> embed(EmbeddingRequest request);
  virtual void observe(const std::string& /*session*/, SessionEvent /*event*/) {}
  // While a call runs: its session's conversation so far, of which only the result is missing. A
  // model in this process computes ahead what is certain of the next turn; the answer is the same.
  virtual void foresee(TurnRequest /*request*/) {}
  // "name@sha256:..." and what decodes it: goes into the record.
  [[nodiscard]] virtual std::string identity() const = 0;
};

// ---- Toolbox and Runner
// -----------------------------------------------------------------------------

// How a tool call ended; each way has its own type, recorded as its name.
enum class OutcomeKind {
  ok,
  tool_error,  // it ran and said that it failed
  denied,      // the gate said no
  escalated,   // it waits for a person, or nobody answered
  timeout,     // wall clock
  cpu_limit,
  memory_limit,
  process_limit,
  file_size_limit,
  output_limit,      // cut; what there is, is given
  policy_violation,  // a system call that the jail's filter kills
  crashed,           // ended by a signal
  refused,           // the jail could not be made as asked; nothing ran
  protocol_error,    // an MCP server that spoke nonsense, died or fell silent
  bad_arguments,     // the arguments do not fit the tool's schema; nothing ran
};
std::string_view to_string(OutcomeKind kind);

struct Outcome {
  OutcomeKind kind = OutcomeKind::ok;
  std::string content;  // what the model gets to read
  std::string detail;   // for people and the record: exit status, which limit, which system call
  std::int64_t duration_us = 0;
  bool truncated = false;
  [[nodiscard]] bool is_error() const {
    return kind != OutcomeKind::ok && kind != OutcomeKind::output_limit;
  }
  // What is wrong, as the model reads it.
  static Outcome failed(OutcomeKind kind, std::string why) {
    Outcome outcome;
    outcome.kind = kind;
    outcome.content = "error: " + why;
    outcome.detail = std::move(why);
    return outcome;
  }
};

// A source of tools: the command tools of the fleet file, one MCP server, sub-agents.
class Toolbox {
 public:
  virtual ~Toolbox() = default;
  // Connects, starts what must be started, and lists. Stable order.
  virtual Task<Result<std::vector<ToolSpec>>> list() = 0;
  // Never fails as a task: everything that can go wrong is an Outcome. `session` names the caller.
  virtual Task<Outcome> call(std::string session, ToolCall call) = 0;
};

// One origin that a jail of level "net" may reach, through the runtime's proxy alone.
struct EgressRule {
  std::string origin;                // "https://api.example.com", "https://*.example.com:8443"
  std::vector<std::string> methods;  // empty: GET and HEAD
  std::vector<std::string> secrets;  // names of those that the proxy fills in for this origin
  bool tunnel = false;      // end-to-end TLS by CONNECT: the proxy sees the host, and no method
  bool is_private = false;  // the name may stand for an address that is not public
  friend bool operator==(const EgressRule&, const EgressRule&) = default;
};

// What a jailed call may do, in words; sandbox/profile.h has the presets and the checks.
struct Profile {
  std::string name = "compute";          // as in the fleet file
  std::string level = "compute";         // which system calls: compute < fs-read < fs-write < net
  std::vector<std::string> read_paths;   // absolute, visible read-only under the same name
  std::vector<std::string> write_paths;  // absolute, visible read-write under the same name
  std::int64_t wall_ms = 10'000;
  std::int64_t cpu_ms = 5'000;
  std::int64_t memory_bytes = 256 << 20;
  std::int64_t processes = 16;
  std::int64_t file_bytes = 16 << 20;
  std::int64_t scratch_bytes = 16 << 20;  // the private /tmp
  std::int64_t output_bytes = 64 << 10;
  std::int64_t open_files = 64;
  std::vector<EgressRule> egress{};  // level net: what it may reach; nothing else
  // Where a call's jail comes from. "call": made for it. "pooled": made ahead, used once. "warm":
  // for built-in tools alone, used again by the same agent.
  std::string service = "pooled";
  bool asks = false;  // opening a path that it does not have asks for it at run time
  // "full": a machine that cannot make every layer of a jail refuses the call. "reduced-if-needed":
  // such a machine runs it with Landlock, the system call filter and rlimits alone.
  std::string isolation = "full";
  friend bool operator==(const Profile&, const Profile&) = default;
};

struct JailCall {
  Profile profile;
  std::vector<std::string> command;  // [0] an absolute path or a name searched in /usr/bin:/bin
  std::vector<std::pair<std::string, std::string>> environment;
  std::string directory;  // working directory inside; must be one of the profile's paths or /tmp
  std::string input;      // stdin
  // Name and value. Never in the arguments or the environment: the command reads the value from the
  // descriptor that the variable NAME_FD gives the number of. At most 8, each at most 64 KiB.
  std::vector<std::pair<std::string, std::string>> secrets{};
  // Who makes the call: an agent and its session. Jails of class "warm" are not shared between
  // agents, and what a call asks for at run time is decided and recorded under these names.
  std::string agent{};
  std::string session{};
};

struct JailOutcome {
  OutcomeKind kind = OutcomeKind::ok;  // ok also for exit codes other than 0: see exit_code
  int exit_code = 0;
  int signal = 0;
  std::string output;  // stdout
  std::string errors;  // stderr
  std::string detail;
  bool truncated = false;
  std::int64_t wall_us = 0;
  std::int64_t cpu_us = 0;
  std::int64_t memory_peak_bytes = 0;
  std::string isolation{};  // empty: every layer; else which there were, and why no more
};

class Runner {
 public:
  virtual ~Runner() = default;
  // Cancelling the task kills everything in the jail.
  virtual Task<JailOutcome> run(JailCall call) = 0;
};

// ---- Guard
// ------------------------------------------------------------------------------------------

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

// ---- Approvals
// --------------------------------------------------------------------------------------

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

// ---- Quotas
// -----------------------------------------------------------------------------------------

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

// ---- Identities
// -------------------------------------------------------------------------------------

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

// ---- Journal
// ----------------------------------------------------------------------------------------

struct Payload {
  std::string name;   // "prompt", "arguments", "result"
  std::string bytes;  // kept beside the log; the leaf holds a salted commitment
  friend bool operator==(const Payload&, const Payload&) = default;
};

// One event. Types: run.started, session.started, turn.completed, action.decided, action.outcome,
// approval.requested, approval.answered, session.ended, run.ended, ... `body` holds what the type
// documents, as JSON text.
struct Event {
  std::string type;
  std::string run;
  std::string session;
  std::string agent;
  std::string body = "{}";  // JSON object, at most 48 KiB
  std::vector<Payload> payloads;
  // Whose data the payloads are; they are encrypted under that person's key. Empty: the run's.
  std::string subject{};
  friend bool operator==(const Event&, const Event&) = default;
};

struct StoredEvent {
  std::uint64_t index = 0;  // leaf index in the log
  std::int64_t unix_ns = 0;
  Event event;
};

class Journal {
 public:
  virtual ~Journal() = default;
  // Durable when it returns (group commit). A failure means: not recorded, so nothing may happen.
  virtual Task<Result<std::uint64_t>> append(Event event) = 0;
  // Takes what has happened and nothing waits for: it is durable no later than anything that is
  // appended after it. Should it not be written after all, nothing more of its session is.
  virtual Result<void> post(Event event) = 0;
  // Calls `visit` for the events of one run in order, until it returns false. For recovery and
  // replay.
  virtual Result<void> read(const std::string& run,
                            const std::function<bool(const StoredEvent&)>& visit) = 0;
};

}  // namespace ambit::agents
