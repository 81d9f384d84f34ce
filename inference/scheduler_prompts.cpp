// Which prompts are computed when, and what goes on in the lane that they may have.

#include "inference/scheduler.h"

#include <algorithm>
#include <limits>

namespace ambit::inference {

void Scheduler::Pass::clear() {
  rows.clear();
  begun.clear();
  logits = states = 0;
}

Scheduler::~Scheduler() {
  if (prefilling_.is_under_way) prefilling_.lane->wait();
}

std::string Scheduler::failure() const {
  std::string broken = forward_.failure();
  return broken.empty() && prefilling_.lane != nullptr ? prefilling_.lane->failure() : broken;
}

// The most urgent first, and now and then the one that was admitted first, so that none stands
// still.
void Scheduler::line_up(bool prefills, std::uint64_t turn) {
  constexpr std::uint64_t turns_between = 32;
  prompts_.clear();
  for (Running& running : active_) {
    const bool is_prefill = running.request.pooling == Pooling::prefill;
    if (running.on == nullptr && is_prefill == prefills) prompts_.push_back(&running);
  }
  if (turn % turns_between == turns_between - 1) return;
  std::sort(prompts_.begin(), prompts_.end(),
            [](const Running* one, const Running* other) { return one->order < other->order; });
}

bool Scheduler::is_begun(const KvCache::NextPage& page) const {
  const auto is_same = [&](const KvCache::NextPage& other) {
    return other.parent == page.parent &&
           std::equal(other.tokens.begin(), other.tokens.end(), page.tokens.begin());
  };
  return std::any_of(decoding_.begun.begin(), decoding_.begun.end(), is_same) ||
         std::any_of(prefilling_.begun.begin(), prefilling_.begun.end(), is_same);
}

void Scheduler::plan_prompts(Pass& pass, std::size_t& left) {
  std::size_t sequences = pass.lane->sequences_max();
  for (Running* running : prompts_) {
    if (left == 0 || sequences == 0) return;
    plan_prompt(pass, *running, left);
    if (running->on != nullptr) --sequences;
  }
}

void Scheduler::plan_prompt(Pass& pass, Running& running, std::size_t& left) {
  const bool at_border =
      running.kv.length % page_tokens == 0 && running.kv.pages.size() == running.kv.nodes.size();
  if (at_border && running.request.pooling != Pooling::mean) {
    cache_.adopt(running.kv, running.tokens);
    // Somebody in this very step computes the same page: wait for it.
    if (running.tokens.size() - running.kv.length > page_tokens) {
      const KvCache::NextPage page = KvCache::next_page(running.kv, running.tokens);
      if (is_begun(page)) return;
      pass.begun.push_back(page);
    }
  }
  const std::size_t count = std::min(running.tokens.size() - running.kv.length, left);
  take(pass, running, count);
  left -= count;
}

void Scheduler::plan_rides(std::size_t left) {
  line_up(false, stats_.steps);
  std::size_t prompts_left = options_.ride_rows_max;
  for (Running* running : prompts_) {
    const bool answers = !running->result.tokens.empty();  // what is left is forced
    const std::size_t rows = running->tokens.size() - running->kv.length;
    std::size_t most = std::min(left, answers ? options_.ride_rows_max : prompts_left);
    if (most == 0 || (!answers && rows > most)) continue;
    const std::size_t before = most;
    plan_prompt(decoding_, *running, most);
    left -= before - most;
    if (!answers) prompts_left -= before - most;
  }
}

void Scheduler::start_prompts() {
  Pass& pass = prefilling_;
  pass.clear();
  std::size_t left = pass.lane->rows_max();
  for (const bool prefills : {false, true}) {
    line_up(prefills, stats_.prompt_passes);
    std::erase_if(prompts_, [](const Running* running) { return !running->result.tokens.empty(); });
    plan_prompts(pass, left);
  }
  if (pass.rows.empty()) return;
  begin_pass(pass);
  pass.is_under_way = true;
  pass.lane->start(pass.rows);
}

void Scheduler::end_passes(std::vector<Generated>& ended) {
  if (!prefilling_.is_under_way) return;
  prefilling_.lane->wait();
  end_pass(prefilling_, ended);
}

int Scheduler::priority() const {
  int most = std::numeric_limits<int>::min();
  if (!waiting_.empty()) most = waiting_.begin()->second.request.priority;
  for (const Running& running : active_) most = std::max(most, running.request.priority);
  return most;
}

// A turn of the same session that goes on keeps what it needs itself; it may have begun since.
void Scheduler::close_cancelled(Running& running) {
  const std::string& session = running.request.session;
  const bool goes_on = std::any_of(active_.begin(), active_.end(), [&](const Running& other) {
    return &other != &running && other.request.session == session;
  });
  cache_.close(std::move(running.kv), running.tokens,
               goes_on && !running.is_forgotten ? std::string() : session);
  if (running.is_forgotten) cache_.forget(session);
}

void Scheduler::forget(const std::string& session) {
  cache_.forget(session);
  for (Running& running : active_)
    if (running.is_cancelled && running.request.session == session) running.is_forgotten = true;
}

Scheduler::Stats Scheduler::stats() const {
  Stats stats = stats_;
  stats.active = active_.size();
  stats.waiting = waiting_.size();
  for (const Running& running : active_) {
    if (!running.result.tokens.empty()) continue;
    ++stats.prompts;
    stats.prompt_tokens_left += running.tokens.size() - running.kv.length;
  }
  if (prefilling_.is_under_way) stats.prompt_rows_under_way = prefilling_.rows.size();
  return stats;
}

}  // namespace ambit::inference
