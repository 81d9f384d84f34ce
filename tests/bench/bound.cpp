// What it costs 256 agents that decode at once to be bound by a JSON Schema: masks are made by the
// automaton and applied where tokens are chosen, against the same agents who may say anything; as
// many tokens each, random weights, no drafts. Counted in the steps in which all of them decode.
// AMBIT_BENCH_SHAPES and AMBIT_BENCH_TYPES name the model (one each), or AMBIT_BENCH_FILE its file;
// AMBIT_BENCH_DEVICE what computes, AMBIT_BENCH_BATCH how many agents, AMBIT_BENCH_TOKENS how many
// tokens each says, AMBIT_BENCH_REPEATS how many runs the medians are of (5).

#include "bench/figure.h"
#include "bench/models.h"
#include "inference/decoder.h"

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <numeric>
#include <thread>
#include <unordered_map>

using namespace ambit;
using namespace ambit::inference;
using bench::Better;
using bench::Goal;

namespace {

using Clock = std::chrono::steady_clock;

// Texts, more of them than the tokens are enough for, so that nobody is done before; few of their
// tokens are forced, because what is forced is gained and would hide what masks cost.
constexpr const char* schema =
    R"({"type":"array","minItems":64,"items":{"type":"string","minLength":4,"maxLength":48}})";

const char* setting(const char* variable, const char* fallback) {
  const char* given = std::getenv(variable);
  return given != nullptr ? given : fallback;
}
std::size_t number(const char* variable, const char* fallback, std::size_t most) {
  return std::clamp<std::size_t>(std::strtoull(setting(variable, fallback), nullptr, 10), 1, most);
}

agents::TurnRequest request_of(std::size_t agent, std::uint64_t seed, bool bound,
                               std::size_t tokens) {
  agents::TurnRequest request;
  request.messages = {
      {agents::Role::system, "You work the desk of the second floor.", {}, "", ""},
      {agents::Role::user, "Desk " + std::to_string(agent) + ": the tickets?", {}, "", ""}};
  request.tokens_max = static_cast<std::int64_t>(tokens);
  request.sampling.temperature = 0.8;
  request.sampling.seed = seed;
  if (bound) request.output_schema = schema;
  return request;
}

struct Run {
  std::vector<std::size_t> said;  // tokens of each agent
  double tokens = 0;              // of the steps in which all decode
  double seconds = 0;
  std::vector<double> step_ms;
  double forced = 0;
};

Result<Run> run(Decoder& decoder, const std::vector<std::uint64_t>& seeds, bool bound,
                std::size_t tokens) {
  Run made;
  made.said.resize(seeds.size());
  std::unordered_map<std::uint64_t, std::size_t> open;
  for (std::size_t i = 0; i < seeds.size(); ++i)
    open[TRY(decoder.submit(request_of(i, seeds[i], bound, tokens)))] = i;
  const Scheduler::Stats first = decoder.stats().scheduler;
  Decoder::Progress progress;
  const auto all_decode = [&](const Scheduler::Stats& stats) {
    return stats.active == seeds.size() && stats.prompts == 0 && stats.waiting == 0;
  };
  while (!decoder.idle()) {
    const Scheduler::Stats before = decoder.stats().scheduler;
    const Clock::time_point began = Clock::now();
    decoder.step(progress);
    const double seconds = std::chrono::duration<double>(Clock::now() - began).count();
    const Scheduler::Stats after = decoder.stats().scheduler;
    if (!all_decode(before) || !all_decode(after)) continue;
    made.tokens += static_cast<double>(after.output_tokens - before.output_tokens);
    made.seconds += seconds;
    made.step_ms.push_back(seconds * 1e3);
  }
  for (Decoder::Ended& ended : progress.ended) {
    const agents::Turn turn = TRY(std::move(ended.second));
    made.said[open.at(ended.first)] = static_cast<std::size_t>(turn.usage.output_tokens);
  }
  made.forced = static_cast<double>(decoder.stats().scheduler.forced_tokens - first.forced_tokens) /
                static_cast<double>(std::max<std::size_t>(
                    std::accumulate(made.said.begin(), made.said.end(), std::size_t{0}), 1));
  if (made.step_ms.empty())
    return Err(Code::invalid, "no step had all agents: ask for more tokens");
  return made;
}

// Luck with which nobody ends by chance before all has been said. The engine gives the same answers
// again, so that the measured runs are as long.
Result<std::vector<std::uint64_t>> lasting_seeds(Decoder& decoder, std::size_t batch, bool bound,
                                                 std::size_t tokens) {
  constexpr int tries = 20;
  std::vector<std::uint64_t> seeds(batch);
  std::iota(seeds.begin(), seeds.end(), std::uint64_t{1});
  for (int i = 0; i < tries; ++i) {
    const Run tried = TRY(run(decoder, seeds, bound, tokens));
    std::size_t early = 0;
    for (std::size_t agent = 0; agent < batch; ++agent) {
      if (tried.said[agent] == tokens) continue;
      seeds[agent] += batch;
      ++early;
    }
    if (early == 0) return seeds;
  }
  return Err(Code::exhausted, "some agents end early whatever their luck is");
}

struct Side {
  std::vector<std::uint64_t> seeds;
  std::vector<double> tokens_per_s, step_ms;
  double forced = 0;
};

Result<void> measure(const std::string& path, std::size_t batch, std::size_t tokens) {
  EngineOptions options;
  options.threads = std::max(1U, std::thread::hardware_concurrency());
  options.device = setting("AMBIT_BENCH_DEVICE", "cpu");
  options.batch_max = batch;
  options.step_tokens_max = 2 * batch;
  options.draft_max = 0;
  options.clock_us = [] {
    return std::chrono::duration_cast<std::chrono::microseconds>(Clock::now().time_since_epoch())
        .count();
  };
  const auto file = TRY(ModelFile::open(path));
  options.context_max = std::min<std::size_t>(file->model().config.context, 512 + tokens);
  options.kv_bytes = std::size_t{8} << 30U;
  const auto decoder = TRY(Decoder::make(file, options));
  Side sides[2];
  for (const bool bound : {false, true})
    sides[bound ? 1 : 0].seeds = TRY(lasting_seeds(*decoder, batch, bound, tokens));
  const std::size_t repeats = number("AMBIT_BENCH_REPEATS", "5", 100);
  for (std::size_t i = 0; i < repeats; ++i) {
    for (const bool bound : {false, true}) {
      Side& side = sides[bound ? 1 : 0];
      const Run once = TRY(run(*decoder, side.seeds, bound, tokens));
      side.tokens_per_s.push_back(once.tokens / once.seconds);
      side.step_ms.push_back(bench::quantile(once.step_ms, 0.5));
      side.forced = once.forced;
      for (const std::size_t said : once.said)
        if (said != tokens) return Err(Code::internal, "an answer changed its length");
    }
  }
  const std::string of =
      file->model().config.name + ", " + std::to_string(batch) + " agents, grammar ";
  double rate[2] = {};
  double step[2] = {};
  for (const bool bound : {false, true}) {
    const Side& side = sides[bound ? 1 : 0];
    const std::string which = of + (bound ? "on: " : "off: ");
    rate[bound ? 1 : 0] = bench::quantile(side.tokens_per_s, 0.5);
    step[bound ? 1 : 0] = bench::quantile(side.step_ms, 0.5);
    bench::print({"bound", which + "decode", "tokens/s", Better::more, rate[bound ? 1 : 0]});
    bench::print({"bound", which + "step p50", "ms", Better::less, step[bound ? 1 : 0]});
    bench::print(
        {"bound", which + "tokens", "tokens", Better::more, static_cast<double>(batch * tokens)});
    bench::print({"bound", which + "forced tokens", "part", Better::more, side.forced});
  }
  bench::print({"bound", of + "on against off: tokens/s", "ratio", Better::more, rate[1] / rate[0],
                "", 0, Goal::ours, 0.97});
  bench::print({"bound", of + "on against off: time of a step", "ratio", Better::less,
                step[1] / step[0], "", 0, Goal::ours, 1.03});
  return {};
}

}  // namespace

int main() {
  std::string path = setting("AMBIT_BENCH_FILE", "");
  if (path.empty())
    path = bench::model_file(setting("AMBIT_BENCH_SHAPES", "llama-15m"),
                             setting("AMBIT_BENCH_TYPES", "BF16"));
  const auto done = path.empty() ? Result<void>(Err(Code::not_found, "there is no such model"))
                                 : measure(path, number("AMBIT_BENCH_BATCH", "256", 1024),
                                           number("AMBIT_BENCH_TOKENS", "96", 1024));
  if (done) return 0;
  std::fprintf(stderr, "bound: %s\n", done.error().message.c_str());
  return 1;
}
