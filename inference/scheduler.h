#pragma once

// Continuous batching: each step runs one token of every decoding sequence and as much of the
// waiting prompts as fits, in one forward pass. With a lane for prompts (lane.h) their passes go on
// beside the steps, one at a time: a step then has rows of those who decode, and of prompts only
// the short rest that costs it nothing. Admission is by priority, then by deadline, then by
// arrival, and so are the prompts of one step; now and then whoever has waited longest goes first.
// A request waits until all pages that it may need can be promised, and waiting costs a step
// nothing.
// Which requests share a step changes nothing in their tokens. While few rows decode, each sequence
// may draft: what followed the last time its latest tokens were said is run along and kept as far
// as it is what would have been chosen anyway, so drafts change no token either. Synchronous, for
// one thread; the engine and the tools drive it.

#include "agents/ports.h"
#include "async/result.h"
#include "inference/energy.h"
#include "inference/forward.h"
#include "inference/grammar.h"
#include "inference/kv_cache.h"
#include "inference/sampler.h"

#include <cstdint>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

namespace ambit::inference {

// What is wanted of a prompt instead of an answer: its tokens' last states in one vector, or
// nothing but that its keys and values are there (`prefill`), which gives way to everything else.
enum class Pooling { none, mean, last, prefill };

struct Generation {
  std::string session;  // whose pages to keep; empty: nobody's
  std::vector<TokenId> prompt;
  agents::Sampling sampling;
  std::size_t tokens_max = 512;
  int priority = 0;
  // Of one priority the earliest goes first. Whoever submits keeps it within a bound (Waiters), so
  // that a later one, or none, is not overtaken for ever.
  std::int32_t due_s = Urgency::never_s;
  std::shared_ptr<Grammar> grammar;  // null: anything may be said
  ExpressionId start = Automaton::nothing;
  std::vector<std::string> stop;  // texts that end it; the tokens that spell one are in the result
  int logprobs = -1;              // how many beside each token's own; -1: none at all
  Pooling pooling = Pooling::none;
  std::function<void(TokenId)> on_token;  // each token of the answer as it is chosen; may be empty
};

struct Generated {
  std::uint64_t id = 0;
  std::vector<TokenId> tokens;                    // without the end of the turn
  std::vector<std::vector<Likelihood>> logprobs;  // one a token, where asked for
  std::vector<float> pooled;                      // [width], of length 1, where it was asked for
  bool ended = false;  // false: it was cut at tokens_max or at the end of the context
  std::optional<Error> error;
  agents::Usage usage;
};

struct SchedulerOptions {
  std::size_t batch_max = 64;         // sequences at once
  std::size_t step_tokens_max = 256;  // rows of one forward pass
  std::size_t context_max = 0;        // tokens of one sequence; 0: what the model was made for
  std::size_t waiting_max = 1U << 20U;
  std::function<std::int64_t()> clock_us;  // for usage and stats alone; none: times are 0
  std::size_t draft_max = 6;               // tokens that one sequence may draft in a step; 0: none
  std::size_t draft_rows_max = 16;  // no drafts beyond so many rows: they would cost time then
  // With a lane for prompts: the rows of prompts in a step, and of one sequence's forced tokens. A
  // step that lives off its weights takes so many more for nothing, and nobody waits for a long
  // prompt's pass to end because a tool has said a word.
  std::size_t ride_rows_max = 16;
};

class Scheduler {
 public:
  struct Stats {
    std::uint64_t steps = 0;          // passes of any lane
    std::uint64_t prompt_passes = 0;  // of these, of the prompts' own lane
    std::uint64_t prompt_tokens = 0;  // computed, not found
    std::uint64_t cached_tokens = 0;  // found
    std::uint64_t output_tokens = 0;
    std::uint64_t forced_tokens = 0;
    std::uint64_t drafted_tokens = 0;   // run along
    std::uint64_t accepted_tokens = 0;  // of these, kept
    std::uint64_t rows = 0;             // rows / steps: how full the steps were
    std::int64_t prompt_us = 0;         // of the steps' time what the prompts' rows took
    std::size_t active = 0;
    std::size_t prompts = 0;                // of these, whose prompt is not computed yet
    std::size_t prompt_tokens_left = 0;     // of theirs, with those under way
    std::size_t prompt_rows_under_way = 0;  // in the prompts' own lane
    std::size_t waiting = 0;
  };
  struct Computed {
    std::size_t begin = 0;  // of its tokens, the first that was computed
    std::size_t end = 0;    // and the one after the last
    std::int64_t moved_bytes = 0;
    std::int64_t energy_uj = 0;
  };
  // Sees the logits of every position that asked for them.
  using Observer =
      std::function<void(std::uint64_t id, std::size_t position, std::span<const float> logits)>;

  Scheduler(const Tokenizer& tokenizer, const Config& config, Forward& forward, KvCache& cache,
            SchedulerOptions options, Lane* prompts = nullptr);
  // Waits for the prompts' lane: it writes to pages.
  ~Scheduler();
  Scheduler(const Scheduler&) = delete;
  Scheduler& operator=(const Scheduler&) = delete;

  // exhausted: it can never fit, or too many wait.
  Result<std::uint64_t> submit(Generation request);
  // Gives what was done for it. What the prompts' lane is at stays until that is done.
  Computed cancel(std::uint64_t id);
  // KvCache::forget, of what is under way as well.
  void forget(const std::string& session);
  [[nodiscard]] bool idle() const { return active_.empty() && waiting_.empty(); }
  // One step of those who decode, or what the prompts' lane has under way if nobody does; appends
  // what has ended.
  void step(std::vector<Generated>& ended);
  // Waits for what the prompts' lane has under way: afterwards nothing needs the weights.
  void end_passes(std::vector<Generated>& ended);
  // Ends everybody with this reason.
  void fail_all(const std::string& reason, std::vector<Generated>& ended);
  // Of the most urgent request; without one that of what nobody waits for.
  [[nodiscard]] int priority() const;
  [[nodiscard]] Stats stats() const;
  // Where to open the counters whose energy its requests shall be told.
  [[nodiscard]] EngineEnergy& energy() { return energy_; }
  void set_observer(Observer observer) { observer_ = std::move(observer); }

 private:
  using Order = std::tuple<int, std::int32_t, std::uint64_t>;  // -priority, due_s, id
  struct Running {
    std::uint64_t id = 0;
    Order order;
    Generation request;
    KvCache::Sequence kv;
    std::vector<TokenId> tokens;  // prompt and output
    std::size_t tokens_max = 0;   // prompt and output
    ExpressionId state = Automaton::nothing;
    std::int64_t grammar_work = 0;  // that it may still ask of the automaton
    Lane* on = nullptr;             // whose pass has rows of it
    bool is_cancelled = false;      // while a pass has
    bool is_forgotten = false;      // with its session
    std::size_t first_row = 0;      // of that pass
    std::size_t rows = 0;           // in that pass, without the draft
    std::size_t logits = 0;         // which of the pass's logits are its first
    std::size_t states = 0;         // which of the pass's states are its first
    std::vector<double> pooled;
    std::vector<TokenId> draft;
    std::vector<RowChoice> choices;         // of its rows with logits, where the back end chooses
    std::size_t drafted = 0, accepted = 0;  // of late: drafts that do not pay are left out
    std::size_t draft_again = 0;            // once it has so many tokens
    std::string text;                       // where there are texts that end it
    double moved_bytes = 0;
    TurnEnergy energy;
    Generated result;
    std::int64_t arrived_us = 0, admitted_us = 0, first_token_us = 0;
  };
  struct Waiting {
    std::uint64_t id;
    Generation request;
    std::int64_t arrived_us;
  };
  struct Pass {
    Lane* lane = nullptr;
    std::vector<StepRow> rows;
    std::vector<KvCache::NextPage> begun;  // pages that it computes
    std::size_t logits = 0;                // that it is asked for
    std::size_t states = 0;
    std::int64_t begun_us = 0;
    bool is_under_way = false;
    void clear();
  };

  using Queue = std::map<Order, Waiting>;
  Queue::iterator next_waiting();
  void admit();
  void plan();
  // Of those that are lined up as many as fit.
  void plan_prompts(Pass& pass, std::size_t& left);
  void plan_prompt(Pass& pass, Running& running, std::size_t& left);
  void take(Pass& pass, Running& running, std::size_t count);
  // Which prompts may be computed now, and in which order; into prompts_.
  void line_up(bool prefills, std::uint64_t turn);
  // Whether a pass computes the same page.
  [[nodiscard]] bool is_begun(const KvCache::NextPage& page) const;
  // What goes along with a step where prompts have a lane of their own.
  void plan_rides(std::size_t left);
  void start_prompts();
  void begin_pass(Pass& pass);
  void end_pass(Pass& pass, std::vector<Generated>& ended);
  void close_cancelled(Running& running);
  [[nodiscard]] std::string failure() const;
  // Adds the pass's states, in the order of their positions, so that no chunking shows.
  void pool(Running& running) const;
  void draft(Running& running, std::size_t most);
  // Chooses along the draft as far as it holds; true when the sequence has ended. Gives how many
  // tokens are computed now.
  bool verify(Running& running, std::size_t& length);
  // Chooses tokens until one must be computed; true when the sequence has ended.
  bool choose(Running& running, std::size_t row);
  // What the back end must know to choose after each row of a pass; shortens a draft that the
  // grammar forbids.
  void prepare_choices(Running& running);
  // What the pass has moved and taken goes to those whose rows it had.
  void account(const Pass& pass);
  void settle_energy();
  [[nodiscard]] bool is_chosen_there(const Running& running) const;
  bool append(Running& running, TokenId token, bool forced, std::size_t row);
  [[nodiscard]] bool is_stopped(Running& running, TokenId token) const;
  void finish(Running& running, std::vector<Generated>& ended);
  [[nodiscard]] std::int64_t now() const { return options_.clock_us ? options_.clock_us() : 0; }

  const Tokenizer& tokenizer_;
  Forward& forward_;
  KvCache& cache_;
  SchedulerOptions options_;
  Sampler sampler_;
  EngineEnergy energy_;
  bool energy_is_settled_ = false;  // in this step
  Observer observer_;
  Queue waiting_;
  std::map<std::uint64_t, Order> waiting_order_;  // the longest wait first
  std::uint64_t admitted_ = 0;
  std::list<Running> active_;  // in the order of admission
  std::vector<Running*> prompts_;
  Pass decoding_;
  Pass prefilling_;  // without a lane: there is none
  std::uint64_t last_id_ = 0;
  Stats stats_;
};

}  // namespace ambit::inference
