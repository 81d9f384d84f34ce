#pragma once

// Prompts in a lane of their own, for the tests of both kinds of back end: a lane whose passes end
// when they like, an eye on the pages that passes share, and a random mix of requests that must
// come out the same whichever lanes there are.

#include "inference/model_file.h"
#include "inference/scheduler.h"
#include "wrapped_backend.h"

#include <algorithm>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace ambit::inference {

class MixDice {
 public:
  explicit MixDice(std::uint64_t seed) : seed_(seed) {}
  std::size_t roll(std::size_t least, std::size_t most) {
    const double u = uniform(seed_, ++count_, 0);
    return least + static_cast<std::size_t>(u * static_cast<double>(most - least + 1));
  }

 private:
  std::uint64_t seed_;
  std::uint64_t count_ = 0;
};

// Knows which pages the prompts' pass reads and fills, and blames whoever gets in its way.
class PageWatch {
 public:
  void begin(std::span<const StepRow> rows) {
    is_under_way_ = true;
    touch(rows, read_, filled_);
  }
  void end() {
    is_under_way_ = false;
    read_.clear();
    filled_.clear();
  }
  // A step of those who decode.
  void step(std::span<const StepRow> rows) {
    std::set<const std::byte*> read;
    std::set<const std::byte*> filled;
    touch(rows, read, filled);
    for (const std::byte* page : read)
      if (filled_.contains(page)) blame("a step reads a page that the prompts' pass fills");
    for (const std::byte* page : filled)
      if (read_.contains(page)) blame("a step fills a page that the prompts' pass reads");
    if (is_under_way_) ++steps_beside;
    std::map<std::uint64_t, std::size_t> stretches;
    for (const StepRow& row : rows) {
      std::size_t& stretch = ++stretches[row.sequence];
      longest_stretch = std::max(longest_stretch, stretch);
    }
  }
  void copy(const std::byte* to, const std::byte* from) {
    if (read_.contains(to)) blame("a page that the prompts' pass uses is written over");
    if (filled_.contains(from)) blame("a page that the prompts' pass fills is copied");
    ++copies;
  }
  [[nodiscard]] bool is_under_way() const { return is_under_way_; }

  std::string fault;
  std::size_t steps_beside = 0;     // steps while a pass was under way
  std::size_t longest_stretch = 0;  // rows of one sequence in a step
  std::size_t copies = 0;

 private:
  void touch(std::span<const StepRow> rows, std::set<const std::byte*>& read,
             std::set<const std::byte*>& filled) {
    std::map<const std::byte*, std::uint64_t> by;
    for (const StepRow& row : rows) {
      const std::byte* page = row.pages[row.position / page_tokens];
      filled.insert(page);
      if (by.emplace(page, row.sequence).first->second != row.sequence)
        blame("two sequences fill one page");
    }
    for (const StepRow& row : rows)
      for (std::size_t i = 0; i <= row.position / page_tokens; ++i) {
        read.insert(row.pages[i]);
        const auto at = by.find(row.pages[i]);
        if (at != by.end() && at->second != row.sequence)
          blame("a sequence reads a page that another one fills");
      }
  }
  void blame(const std::string& what) {
    if (fault.empty()) fault = what;
  }

  bool is_under_way_ = false;
  std::set<const std::byte*> read_;
  std::set<const std::byte*> filled_;
};

// The steps of those who decode, and what is copied between them, go past the watch.
class WatchedBackend final : public WrappedBackend, private PageMemory {
 public:
  WatchedBackend(std::unique_ptr<Backend> wrapped, PageWatch& watch)
      : WrappedBackend(std::move(wrapped)), watch_(watch) {}

  PageMemory& pages() override { return *this; }
  void begin(std::span<const StepRow> rows) override {
    watch_.step(rows);
    inner().begin(rows);
  }

 private:
  std::byte* make_page(std::size_t bytes) override { return inner().pages().make_page(bytes); }
  void copy_page(std::byte* to, const std::byte* from, std::size_t bytes) override {
    watch_.copy(to, from);
    inner().pages().copy_page(to, from, bytes);
  }

  PageWatch& watch_;
};

// Another lane, with the watch told of its passes. `late`: a pass is computed as a whole after
// some polls, or when it is waited for, on a back end that knows no later.
class WatchedLane final : public Lane {
 public:
  WatchedLane(Lane& inner, PageWatch& watch, bool late, std::uint64_t seed)
      : inner_(inner), watch_(watch), late_(late), dice_(seed) {}

  [[nodiscard]] std::size_t rows_max() const override { return inner_.rows_max(); }
  [[nodiscard]] std::size_t sequences_max() const override { return inner_.sequences_max(); }
  void start(std::span<const StepRow> rows) override {
    watch_.begin(rows);
    rows_ = rows;
    polls_ = late_ ? dice_.roll(0, 5) : 0;
    if (!late_) inner_.start(rows);
  }
  bool is_done() override {
    if (polls_ > 0) {
      --polls_;
      return false;
    }
    if (!late_ && !inner_.is_done()) return false;
    wait();
    return true;
  }
  void wait() override {
    if (late_ && watch_.is_under_way()) inner_.start(rows_);
    inner_.wait();
    watch_.end();
  }
  [[nodiscard]] std::string failure() const override {
    return failure_.empty() ? inner_.failure() : failure_;
  }
  [[nodiscard]] std::span<const float> logits(std::size_t i) const override {
    return inner_.logits(i);
  }
  [[nodiscard]] std::span<const float> state(std::size_t i) const override {
    return inner_.state(i);
  }
  TokenId chosen(std::size_t i) override { return inner_.chosen(i); }
  [[nodiscard]] const TrafficCount& traffic() const override { return inner_.traffic(); }
  void fail(std::string why) { failure_ = std::move(why); }

 private:
  Lane& inner_;
  PageWatch& watch_;
  bool late_;
  MixDice dice_;
  std::span<const StepRow> rows_;
  std::size_t polls_ = 0;
  std::string failure_;
};

// A request of a mix: what it is, when it comes, and when it is taken back.
struct MixedRequest {
  Generation generation;
  std::size_t arrives = 0;
  std::size_t cancelled = 0;  // so many steps later; 0: never
  bool is_gone = false;       // its session is forgotten, too
};

struct MixShape {
  std::size_t requests = 16;
  std::size_t shared_most = 150;  // tokens of the beginnings that requests share
  std::size_t own_most = 90;
  std::size_t answer_most = 12;
  std::size_t steps_between = 3;
};

inline std::vector<MixedRequest> random_mix(std::uint64_t seed, const MixShape& shape) {
  MixDice dice(seed);
  std::vector<MixedRequest> mix;
  std::size_t step = 0;
  for (std::size_t i = 0; i < shape.requests; ++i) {
    MixedRequest made;
    step += dice.roll(0, shape.steps_between);
    made.arrives = step;
    Generation& of = made.generation;
    const std::size_t family = dice.roll(0, 2);
    const std::size_t shared = dice.roll(0, shape.shared_most);
    const std::size_t own = dice.roll(0, 3) == 0 ? dice.roll(1, 12) : dice.roll(1, shape.own_most);
    for (std::size_t t = 0; t < shared; ++t)
      of.prompt.push_back(static_cast<TokenId>(uniform(1000 + family, t, 1) * 250));
    for (std::size_t t = 0; t < own; ++t)
      of.prompt.push_back(static_cast<TokenId>(uniform(seed, i * 1000 + t, 2) * 250));
    // It goes on with what another one has asked, or asks the same at the same time.
    if (i > 0 && dice.roll(0, 3) == 0) {
      const auto& before = mix[dice.roll(0, i - 1)].generation.prompt;
      of.prompt.insert(of.prompt.begin(), before.begin(), before.end());
      if (of.prompt.size() > 400) of.prompt.resize(400);
    } else if (i > 0 && dice.roll(0, 5) == 0) {
      of.prompt = mix[i - 1].generation.prompt;
    }
    of.session = "s" + std::to_string(dice.roll(0, shape.requests / 2));
    of.tokens_max = dice.roll(1, shape.answer_most);
    of.priority = static_cast<int>(dice.roll(0, 2));
    of.sampling.temperature = i % 2 == 0 ? 0.0 : 0.9;
    of.sampling.seed = i;
    constexpr Pooling kinds[] = {Pooling::none, Pooling::none, Pooling::none,
                                 Pooling::mean, Pooling::last, Pooling::prefill};
    of.pooling = kinds[dice.roll(0, 5)];
    if (dice.roll(0, 3) == 0) made.cancelled = dice.roll(1, 6);
    made.is_gone = dice.roll(0, 1) == 0;
    mix.push_back(std::move(made));
  }
  return mix;
}

struct MixOutcome {
  std::map<std::size_t, std::vector<TokenId>> tokens;  // by the request's place in the mix
  std::map<std::size_t, std::vector<float>> pooled;
  std::map<std::pair<std::size_t, std::size_t>, std::vector<float>> logits;  // with the position
  std::set<std::size_t> failed;
  Scheduler::Stats stats;
  KvCache::Stats kv;
};

inline MixOutcome play(const std::vector<MixedRequest>& mix, Scheduler& scheduler, KvCache& cache) {
  MixOutcome outcome;
  std::map<std::uint64_t, std::size_t> places;
  std::map<std::size_t, std::uint64_t> ids;
  scheduler.set_observer(
      [&](std::uint64_t id, std::size_t position, std::span<const float> logits) {
        outcome.logits[{places.at(id), position}].assign(logits.begin(), logits.end());
      });
  std::vector<Generated> ended;
  std::size_t next = 0;
  for (std::size_t step = 0; next < mix.size() || !scheduler.idle(); ++step) {
    for (; next < mix.size() && mix[next].arrives <= step; ++next) {
      const auto id = scheduler.submit(mix[next].generation);
      if (!id) {
        outcome.failed.insert(next);
        continue;
      }
      places[*id] = next;
      ids[next] = *id;
    }
    for (std::size_t i = 0; i < next; ++i) {
      if (mix[i].cancelled == 0 || mix[i].arrives + mix[i].cancelled != step) continue;
      if (ids.contains(i)) scheduler.cancel(ids.at(i));
      if (mix[i].is_gone) scheduler.forget(mix[i].generation.session);
    }
    scheduler.step(ended);
    for (Generated& each : ended) {
      const std::size_t place = places.at(each.id);
      if (each.error) outcome.failed.insert(place);
      outcome.tokens[place] = std::move(each.tokens);
      outcome.pooled[place] = std::move(each.pooled);
    }
    ended.clear();
  }
  outcome.stats = scheduler.stats();
  outcome.kv = cache.stats();
  return outcome;
}

// How many logits, tokens and pooled values both have; nothing: some differ, or one that nobody
// took back is missing.
inline std::optional<std::size_t> equal_outcomes(const std::vector<MixedRequest>& mix,
                                                 const MixOutcome& one, const MixOutcome& other) {
  std::size_t equal = 0;
  for (std::size_t i = 0; i < mix.size(); ++i) {
    const bool both = one.tokens.contains(i) && other.tokens.contains(i);
    if (!both && mix[i].cancelled == 0) return std::nullopt;
    if (!both) continue;
    if (one.tokens.at(i) != other.tokens.at(i) || one.pooled.at(i) != other.pooled.at(i))
      return std::nullopt;
    equal += one.tokens.at(i).size() + one.pooled.at(i).size();
  }
  for (const auto& [at, logits] : one.logits) {
    const auto theirs = other.logits.find(at);
    if (theirs == other.logits.end()) continue;
    if (theirs->second != logits) return std::nullopt;
    equal += logits.size();
  }
  return equal;
}

}  // namespace ambit::inference
