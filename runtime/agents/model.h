#pragma once

// The port Model, implemented by inference and inference/remote, and what is said to it and by it:
// messages, tools, turns.

#include "agents/shared.h"
#include "async/event.h"
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
  std::int32_t due_s = Urgency::never_s;  // of one priority the earliest; as in Urgency
  std::vector<std::string> stop{};        // the text ends before the first of these
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
  std::int64_t energy_uj = 0;    // its share of what the machine took; 0: nobody measured
  std::int64_t moved_bytes = 0;  // its share of the weights, keys and values that steps moved
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
  std::int32_t due_s = Urgency::never_s;
};
struct Embedding {
  std::vector<float> values;  // of length 1
  std::int64_t tokens = 0;    // of the text
};

// What the orchestrator knows and an engine behind HTTP has to guess. Ended: another session may go
// on with what was said in it; gone: none will.
enum class SessionEvent { call_begins, call_ends_soon, parked, ended, gone };

class Model {
 public:
  virtual ~Model() = default;
  // One turn of the assistant. Cancelling the task frees what it used. Errors: exhausted (the
  // context is full), invalid (the request can never work), unavailable (try again later).
  virtual Task<Result<Turn>> generate(TurnRequest request) = 0;
  // Where a text lies among others. Errors as above; unsupported: this model cannot say.
  virtual Task<Result<Embedding>> embed(EmbeddingRequest request);
  virtual void observe(const std::string& /*session*/, SessionEvent /*event*/) {}
  // Whether foresee() is of any use.
  [[nodiscard]] virtual bool foresees() const { return false; }
  // While a call runs: its session's conversation so far, of which only the result is missing, and
  // how that begins as far as the call has told it. A model in this process computes ahead what is
  // certain of the next turn; the answer is the same, also to a result that begins otherwise.
  virtual void foresee(TurnRequest /*request*/, std::string /*result*/) {}
  // "name@sha256:..." and what decodes it: goes into the record.
  [[nodiscard]] virtual std::string identity() const = 0;
};

}  // namespace ambit::agents
