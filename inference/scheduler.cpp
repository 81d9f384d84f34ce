#include "inference/scheduler.h"

#include "async/check.h"

#include <algorithm>
#include <cmath>

namespace ambit::inference {

namespace {

// Steps of the automaton that one text may take, so that a grammar whose states multiply ends its
// own text and holds up the others for a moment at most: some at first, some more with each token.
// A mask that is new takes some thousand, the costliest of public schemas 150,000; see
// Automaton::allow().
constexpr std::int64_t grammar_work_first = 1 << 20;
constexpr std::int64_t grammar_work_token = 1 << 15;

// While it lives, a text's grammar works on the text's account.
class GrammarAccount {
 public:
  GrammarAccount(Grammar* grammar, std::int64_t& left) : grammar_(grammar), left_(left) {
    if (grammar_ != nullptr) grammar_->automaton().allow(left_);
  }
  GrammarAccount(const GrammarAccount&) = delete;
  GrammarAccount& operator=(const GrammarAccount&) = delete;
  ~GrammarAccount() {
    if (grammar_ != nullptr) left_ -= grammar_->automaton().work_done();
  }
  [[nodiscard]] bool is_overdrawn() const {
    return grammar_ != nullptr && (left_ < 0 || grammar_->automaton().is_overrun());
  }

 private:
  Grammar* grammar_;
  std::int64_t& left_;
};

}  // namespace

Scheduler::Scheduler(const Tokenizer& tokenizer, const Config& config, Forward& forward,
                     KvCache& cache, SchedulerOptions options, Lane* prompts)
    : tokenizer_(tokenizer), forward_(forward), cache_(cache), options_(std::move(options)) {
  if (options_.context_max == 0 || options_.context_max > config.context)
    options_.context_max = config.context;
  options_.step_tokens_max = std::min(options_.step_tokens_max, forward.rows_max());
  options_.batch_max = std::clamp<std::size_t>(options_.batch_max, 1, options_.step_tokens_max);
  decoding_.lane = &forward;
  decoding_.rows.reserve(options_.step_tokens_max);
  prefilling_.lane = prompts;
}

Result<std::uint64_t> Scheduler::submit(Generation request) {
  const std::size_t prompt = request.prompt.size();
  if (const std::string broken = failure(); !broken.empty()) return Err(Code::unavailable, broken);
  if (prompt == 0) return Err(Code::invalid, "the prompt is empty");
  if (request.pooling != Pooling::none)
    request.tokens_max = 0;
  else if (request.tokens_max == 0)
    return Err(Code::invalid, "no token may be generated: tokens_max is 0");
  if (prompt >= options_.context_max)
    return Err(Code::exhausted, "the context is full: the prompt has " + std::to_string(prompt) +
                                    " tokens, the context " + std::to_string(options_.context_max));
  const std::size_t capacity = prompt + std::min(request.tokens_max, options_.context_max - prompt);
  if (!cache_.fits(capacity))
    return Err(Code::exhausted, "the KV cache is too small for " + std::to_string(capacity) +
                                    " tokens: give it more memory or ask for fewer tokens");
  if (waiting_.size() >= options_.waiting_max)
    return Err(Code::exhausted, "too many requests wait");
  const std::uint64_t id = ++last_id_;
  const Order order = {-request.priority, request.due_s, id};
  if (request.pooling != Pooling::mean) cache_.expect(request.prompt);
  waiting_.emplace(order, Waiting{id, std::move(request), now()});
  waiting_order_.emplace(id, order);
  return id;
}

Scheduler::Computed Scheduler::cancel(std::uint64_t id) {
  if (const auto at = waiting_order_.find(id); at != waiting_order_.end()) {
    waiting_.erase(at->second);
    waiting_order_.erase(at);
    return {};
  }
  for (auto running = active_.begin(); running != active_.end(); ++running) {
    if (running->id != id) continue;
    const Computed computed = {running->kv.cached, running->kv.length,
                               std::llround(running->moved_bytes),
                               energy_.end_turn(running->energy)};
    if (running->on != nullptr) {  // its pages are written
      running->is_cancelled = true;
      return {computed.begin, computed.end + running->rows, computed.moved_bytes,
              computed.energy_uj};
    }
    cache_.close(std::move(running->kv), running->tokens, running->request.session);
    active_.erase(running);
    return computed;
  }
  return {};
}

// The most urgent, and once in a while whoever has waited longest, so that nobody waits for ever
// (what is only computed ahead may).
Scheduler::Queue::iterator Scheduler::next_waiting() {
  constexpr std::uint64_t admissions_between = 32;
  if (admitted_ % admissions_between == admissions_between - 1) {
    for (const auto& [id, order] : waiting_order_) {
      const auto at = waiting_.find(order);
      if (at->second.request.pooling != Pooling::prefill) return at;
    }
  }
  return waiting_.begin();
}

void Scheduler::admit() {
  while (!waiting_.empty() && active_.size() < options_.batch_max) {
    const auto head = next_waiting();
    Generation& request = head->second.request;
    const std::size_t prompt = request.prompt.size();
    const std::size_t tokens_max =
        prompt + std::min(request.tokens_max, options_.context_max - prompt);
    // A mean is over states that the cache does not have.
    auto kv = cache_.open(request.prompt, tokens_max, request.pooling != Pooling::mean);
    if (!kv && cache_.awaits_pages() && active_.empty()) {  // nobody has anything else to do
      cache_.wait_for_pages();
      continue;
    }
    if (!kv) return;
    Running running;
    running.id = head->second.id;
    running.order = head->first;
    running.kv = std::move(*kv);
    running.tokens = std::move(request.prompt);
    running.tokens.reserve(tokens_max);
    running.tokens_max = tokens_max;
    running.request = std::move(request);
    running.state = running.request.start;
    running.grammar_work = grammar_work_first;
    running.result.id = running.id;
    running.result.usage.input_tokens = static_cast<std::int64_t>(prompt);
    running.arrived_us = head->second.arrived_us;
    running.admitted_us = now();
    waiting_order_.erase(running.id);
    waiting_.erase(head);
    ++admitted_;
    active_.push_back(std::move(running));
  }
}

// Rows of this step: every decoding sequence and its draft, then prompts, at last what is computed
// ahead; where prompts have a lane of their own, only what may go along.
void Scheduler::plan() {
  decoding_.clear();
  std::size_t left = options_.step_tokens_max;
  std::size_t decoding = 0;
  const auto decodes = [](const Running& running) {
    return running.on == nullptr && running.tokens.size() - running.kv.length == 1;
  };
  for (Running& running : active_) {
    if (running.on != nullptr) continue;
    running.rows = 0;
    running.draft.clear();
    if (decodes(running)) ++decoding;
  }
  left -= decoding;
  const std::size_t most = std::min(left + decoding, options_.draft_rows_max);
  std::size_t spare = most > decoding ? most - decoding : 0;
  for (Running& running : active_) {
    if (!decodes(running)) continue;
    draft(running, std::min(spare, options_.draft_max));
    take(decoding_, running, 1);  // may shorten the draft
    spare -= running.draft.size();
    left -= running.draft.size();
  }
  if (prefilling_.lane != nullptr) return plan_rides(left);
  for (const bool prefills : {false, true}) {
    line_up(prefills, stats_.steps);
    plan_prompts(decoding_, left);
  }
}

// What followed when the last few tokens were said before, the latest such place first.
void Scheduler::draft(Running& running, std::size_t most) {
  const std::vector<TokenId>& tokens = running.tokens;
  most = std::min(most, running.tokens_max - tokens.size());
  if (most == 0 || tokens.size() < running.draft_again) return;
  constexpr std::size_t looked_at_max = 1U << 14U;
  const std::size_t oldest = tokens.size() > looked_at_max ? tokens.size() - looked_at_max : 0;
  for (const std::size_t known : {std::size_t{4}, std::size_t{2}}) {
    if (tokens.size() < oldest + known + 1) continue;
    const auto tail = tokens.end() - static_cast<std::ptrdiff_t>(known);
    for (std::size_t end = tokens.size() - 1; end >= oldest + known; --end) {
      const auto after = tokens.begin() + static_cast<std::ptrdiff_t>(end);
      if (!std::equal(tail, tokens.end(), after - static_cast<std::ptrdiff_t>(known))) continue;
      const std::size_t sure = known > 2 ? most : std::min<std::size_t>(most, 2);
      const std::size_t count = std::min(sure, tokens.size() - end);
      running.draft.assign(after, after + static_cast<std::ptrdiff_t>(count));
      return;
    }
  }
}

bool Scheduler::is_chosen_there(const Running& running) const {
  const agents::Sampling& how = running.request.sampling;
  const bool is_plain = how.top_k <= 0 && how.top_p >= 1.0 && !(how.min_p > 0) &&
                        how.logit_bias.empty() && how.presence_penalty == 0 &&
                        how.frequency_penalty == 0 &&
                        (how.repeat_penalty == 1.0 || !(how.repeat_penalty > 0));
  return is_plain && forward_.backend().chooses() && running.request.logprobs < 0 &&
         running.request.pooling == Pooling::none;
}

void Scheduler::prepare_choices(Running& running) {
  running.choices.clear();
  if (!is_chosen_there(running)) return;
  Grammar* grammar = running.request.grammar.get();
  const GrammarAccount account(grammar, running.grammar_work);
  ExpressionId state = running.state;
  for (std::size_t i = 0; i <= running.draft.size(); ++i) {
    if (i > 0 && grammar != nullptr) {
      const TokenId token = running.draft[i - 1];
      const bool ends = tokenizer_.ends_turn(token);
      state = ends ? Automaton::never : grammar->advance(state, token);
      if (state == Automaton::never || state == Automaton::nothing) {
        running.draft.resize(i - 1);
        return;
      }
    }
    RowChoice choice = {running.request.sampling.seed,
                        running.tokens.size() + i,
                        running.request.sampling.temperature,
                        {}};
    if (grammar != nullptr) choice.mask = grammar->shared_mask(state);
    running.choices.push_back(std::move(choice));
  }
}

void Scheduler::take(Pass& pass, Running& running, std::size_t count) {
  const bool decodes = running.kv.length + count == running.tokens.size();
  running.choices.clear();
  if (decodes) prepare_choices(running);
  const auto choice = [&](std::size_t i) {
    return i < running.choices.size() ? &running.choices[i] : nullptr;
  };
  cache_.extend(running.kv, count + running.draft.size());
  running.on = pass.lane;
  running.first_row = pass.rows.size();
  running.rows = count;
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t position = running.kv.length + i;
    const bool last = position + 1 == running.tokens.size();
    const Pooling pooling = running.request.pooling;
    const bool state = pooling == Pooling::mean || (pooling == Pooling::last && last);
    const bool logits = pooling == Pooling::none && last;
    if (logits) running.logits = pass.logits++;
    if (state && (i == 0 || pooling == Pooling::last)) running.states = pass.states;
    if (state) ++pass.states;
    pass.rows.push_back({running.tokens[position], position, running.kv.pages.data(), logits, state,
                         logits ? choice(0) : nullptr, running.id});
  }
  std::size_t position = running.kv.length + count;
  for (std::size_t i = 0; i < running.draft.size(); ++i) {
    pass.rows.push_back({running.draft[i], position++, running.kv.pages.data(), true, false,
                         choice(i + 1), running.id});
    ++pass.logits;
  }
}

void Scheduler::step(std::vector<Generated>& ended) {
  cache_.tend();
  if (prefilling_.is_under_way && prefilling_.lane->is_done()) end_pass(prefilling_, ended);
  admit();
  if (active_.empty()) return;
  plan();
  if (prefilling_.lane != nullptr && !prefilling_.is_under_way) start_prompts();
  if (decoding_.rows.empty() && prefilling_.is_under_way) {  // nobody has anything else to do
    prefilling_.lane->wait();
    return end_pass(prefilling_, ended);
  }
  begin_pass(decoding_);
  forward_.run(decoding_.rows);
  end_pass(decoding_, ended);
}

void Scheduler::begin_pass(Pass& pass) {
  pass.begun_us = now();
  if (!prefilling_.is_under_way) energy_.begin_step(pass.begun_us);
}

void Scheduler::end_pass(Pass& pass, std::vector<Generated>& ended) {
  pass.is_under_way = false;
  pass.begun.clear();  // of texts that may be gone from here on
  const std::int64_t took_us = now() - pass.begun_us;
  if (const std::string broken = failure(); !broken.empty()) {
    energy_.end_step(now());
    return fail_all(broken, ended);
  }
  ++stats_.steps;
  if (&pass == &prefilling_) ++stats_.prompt_passes;
  stats_.rows += pass.rows.size();
  account(pass);
  const std::uint64_t prompt_before = stats_.prompt_tokens;
  for (auto running = active_.begin(); running != active_.end();) {
    const auto current = running++;
    if (current->on != pass.lane) continue;
    std::size_t length = current->kv.length + current->rows;
    if (current->result.tokens.empty()) stats_.prompt_tokens += current->rows;
    bool is_over = current->is_cancelled;
    if (!is_over) {
      const bool is_pooled = current->request.pooling != Pooling::none;
      if (is_pooled) pool(*current);
      is_over = length == current->tokens.size() && (is_pooled || verify(*current, length));
    }
    current->on = nullptr;
    cache_.commit(current->kv, current->tokens, length);
    if (!is_over) continue;
    if (current->is_cancelled)
      close_cancelled(*current);
    else
      finish(*current, ended);
    active_.erase(current);
  }
  stats_.prompt_us += took_us * static_cast<std::int64_t>(stats_.prompt_tokens - prompt_before) /
                      static_cast<std::int64_t>(std::max<std::size_t>(pass.rows.size(), 1));
  if (!energy_.measures()) return;
  const std::int64_t ended_us = now();
  if (!prefilling_.is_under_way) energy_.end_step(ended_us);
  if (!energy_is_settled_ && energy_.is_due(ended_us)) settle_energy();
}

void Scheduler::pool(Running& running) const {
  if (running.request.pooling == Pooling::prefill) return;
  const std::size_t end = running.kv.length + running.rows;
  const Lane& lane = *running.on;
  const bool mean = running.request.pooling == Pooling::mean;
  const std::size_t count = mean ? running.rows : end == running.tokens.size() ? 1 : 0;
  for (std::size_t i = 0; i < count; ++i) {
    const std::span<const float> state = lane.state(running.states + i);
    running.pooled.resize(state.size());
    for (std::size_t d = 0; d < state.size(); ++d) running.pooled[d] += double{state[d]};
  }
  if (end != running.tokens.size()) return;
  double squares = 0;
  for (const double value : running.pooled) squares += value * value;
  const double scale = squares > 0 ? 1 / std::sqrt(squares) : 0;
  for (const double value : running.pooled)
    running.result.pooled.push_back(static_cast<float>(value * scale));
  running.result.ended = true;
  running.first_token_us = now();
}

bool Scheduler::verify(Running& running, std::size_t& length) {
  const std::size_t base = length;  // the first token that is not computed: draft[0], if it holds
  const std::size_t drafted = running.draft.size();
  std::size_t held = 0;
  bool is_over = false;
  for (std::size_t row = 0;;) {
    is_over = choose(running, running.logits + row);
    while (held < drafted && base + held < running.tokens.size() &&
           running.tokens[base + held] == running.draft[held])
      ++held;
    // The row of the last token has the next logits, if all before it was drafted rightly.
    row = running.tokens.size() - base;
    if (is_over || row > held) break;
  }
  length = base + held;
  stats_.drafted_tokens += drafted;
  stats_.accepted_tokens += held;
  running.result.usage.drafted_tokens += static_cast<std::int64_t>(held);
  running.drafted += drafted;
  running.accepted += held;
  if (running.drafted >= 24) {
    // Rows are not quite free: less than half of them kept does not pay.
    constexpr std::size_t pause_tokens = 48;
    if (running.accepted * 2 < running.drafted)
      running.draft_again = running.tokens.size() + pause_tokens;
    running.drafted = running.accepted = 0;
  }
  return is_over;
}

void Scheduler::fail_all(const std::string& reason, std::vector<Generated>& ended) {
  const auto tell = [&](std::uint64_t id) {
    Generated failed;
    failed.id = id;
    failed.error = Error{Code::unavailable, reason};
    ended.push_back(std::move(failed));
  };
  if (prefilling_.is_under_way) prefilling_.lane->wait();
  prefilling_.is_under_way = false;
  prefilling_.begun.clear();
  for (Running& running : active_) {
    if (!running.is_cancelled) tell(running.id);
    cache_.close(std::move(running.kv), running.tokens, "");
  }
  for (const auto& [order, waiting] : waiting_) tell(waiting.id);
  active_.clear();
  waiting_.clear();
  waiting_order_.clear();
}

bool Scheduler::choose(Running& running, std::size_t row) {
  if (observer_) observer_(running.id, running.tokens.size() - 1, running.on->logits(row));
  if (running.result.tokens.empty()) running.first_token_us = now();
  Grammar* grammar = running.request.grammar.get();
  const GrammarAccount account(grammar, running.grammar_work);
  const auto is_overdrawn = [&] {
    if (account.is_overdrawn() || (grammar != nullptr && grammar->automaton().is_full()))
      running.result.error = Error{Code::exhausted,
                                   "what the answer must be has too many states: make its schema, "
                                   "pattern or grammar simpler"};
    return running.result.error.has_value();
  };
  const TokenMask* mask = grammar == nullptr ? nullptr : &grammar->mask(running.state);
  if (is_overdrawn()) return true;
  TokenId token = mask == nullptr ? -1 : mask->single();
  bool forced = token >= 0;
  if (!forced)
    token = running.choices.empty() ? sampler_.sample(running.on->logits(row), mask, running.tokens,
                                                      running.request.sampling)
                                    : running.on->chosen(row);
  for (;;) {
    if (token < 0) {
      running.result.error =
          Error{Code::internal, "the grammar allows no token of this vocabulary here"};
      return true;
    }
    if (append(running, token, forced, row)) return true;
    if (grammar == nullptr) return false;
    if (is_overdrawn()) return true;
    // Tokens that are the only possible ones need no logits: they go through with the next step.
    // Whoever wants to know how likely they were has to wait for them.
    if (running.request.logprobs >= 0) return false;
    const TokenMask& next = grammar->mask(running.state);
    if (is_overdrawn()) return true;
    token = next.single();
    forced = true;
    if (token < 0) return false;
  }
}

bool Scheduler::append(Running& running, TokenId token, bool forced, std::size_t row) {
  if (tokenizer_.ends_turn(token)) {
    running.result.ended = true;
    return true;
  }
  running.tokens.push_back(token);
  running.result.tokens.push_back(token);
  if (running.request.on_token) running.request.on_token(token);
  if (running.request.logprobs >= 0)
    running.result.logprobs.push_back(likelihoods(
        running.on->logits(row), token, static_cast<std::size_t>(running.request.logprobs)));
  ++stats_.output_tokens;
  if (forced) {
    ++stats_.forced_tokens;
    ++running.result.usage.forced_tokens;
  }
  if (Grammar* grammar = running.request.grammar.get()) {
    running.grammar_work = std::min(running.grammar_work + grammar_work_token, grammar_work_first);
    running.state = grammar->advance(running.state, token);
    if (running.state == Automaton::nothing) {  // only the end of the turn could follow
      running.result.ended = true;
      return true;
    }
  }
  if (is_stopped(running, token)) {
    running.result.ended = true;
    return true;
  }
  return running.tokens.size() >= running.tokens_max;
}

// Only a text that this token completes can be new.
bool Scheduler::is_stopped(Running& running, TokenId token) const {
  const auto& stops = running.request.stop;
  if (stops.empty()) return false;
  const std::size_t before = running.text.size();
  running.text += tokenizer_.bytes(token);
  return std::any_of(stops.begin(), stops.end(), [&](const std::string& stop) {
    const std::size_t from = before >= stop.size() ? before - stop.size() + 1 : 0;
    return !stop.empty() && running.text.find(stop, from) != std::string::npos;
  });
}

}  // namespace ambit::inference
