// 2,000 sessions of some hundred tokens each that wait for a call, more than memory may hold, and
// go on in a random order: what is found of each conversation, how long it takes until its pages
// are there (in steps, too) and until its next token, and what lies where; with a tier below (disk,
// of a GPU host memory) and, on the first 200 of them, without one.
// AMBIT_BENCH_SHAPES and AMBIT_BENCH_TYPES name the model (one each), or AMBIT_BENCH_FILE its file;
// AMBIT_BENCH_SESSIONS how many sessions, AMBIT_BENCH_DEVICE what computes, AMBIT_BENCH_BESIDE how
// many others decode while the second half goes on.

#include "bench/figure.h"
#include "bench/models.h"
#include "inference/decoder.h"

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <numeric>
#include <optional>
#include <set>
#include <thread>

using namespace ambit;
using namespace ambit::inference;
using bench::Better;
using bench::Goal;

namespace {

constexpr std::size_t kv_bytes = std::size_t{256} << 20U;
constexpr std::size_t disk_bytes = std::size_t{8} << 30U;
// Of a GPU: not all sessions fit into the one, all of a model of a billion weights into the other.
constexpr std::size_t gpu_bytes = std::size_t{4} << 30U;
constexpr std::size_t host_bytes = std::size_t{32} << 30U;

std::int64_t now_us() {
  return std::chrono::duration_cast<std::chrono::microseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

const char* setting(const char* variable, const char* fallback) {
  const char* given = std::getenv(variable);
  return given != nullptr ? given : fallback;
}

agents::TurnRequest first_turn(std::size_t session) {
  agents::TurnRequest request;
  request.session = "parked-" + std::to_string(session);
  std::string story;
  for (std::size_t line = 0; line < 4; ++line)
    story += "Line " + std::to_string(session * 131 + line * 17) +
             " of the log says that the printer is on fire again. ";
  request.messages = {{agents::Role::system, "You work the desk of the second floor.", {}, "", ""},
                      {agents::Role::user, story, {}, "", ""}};
  request.tokens_max = 4;
  return request;
}

// Of sessions that go on under the same circumstances.
struct Resumed {
  std::vector<double> ms;       // until the next token
  std::vector<double> wait_ms;  // of these, until all pages are there
  std::vector<double> step_ms;  // of steps in which nobody goes on
};

struct Tally {
  Resumed alone, beside;
  double input = 0;
  double found = 0;
  double again = 0;  // tokens of the old part of a conversation that had to be computed again
};

// Turns of nobody's that decode all the time; for each that has ended another one begins.
class Others {
 public:
  Others(Decoder& decoder, std::size_t count) : decoder_(decoder), count_(count) {}

  // One step of all, and of the turn that was asked for besides; gives that once it has ended.
  Result<std::optional<agents::Turn>> step(std::uint64_t besides = 0) {
    for (; open_.size() < count_; ++begun_) {
      agents::TurnRequest request = first_turn(others_from + begun_);
      request.session.clear();
      request.tokens_max = 256;
      request.sampling.temperature = 0.8;
      request.sampling.seed = begun_;
      open_.insert(TRY(decoder_.submit(request)));
    }
    progress_.clear();
    decoder_.step(progress_);
    std::optional<agents::Turn> found;
    for (Decoder::Ended& ended : progress_.ended) {
      open_.erase(ended.first);
      agents::Turn turn = TRY(std::move(ended.second));
      if (ended.first == besides) found = std::move(turn);
    }
    return found;
  }

 private:
  static constexpr std::size_t others_from = 1'000'000;
  Decoder& decoder_;
  std::size_t count_;
  std::size_t begun_ = 0;
  std::set<std::uint64_t> open_;
  Decoder::Progress progress_;
};

double ms_since(std::int64_t began_us) {
  return static_cast<double>(now_us() - began_us) * 1e-3;
}

// A call of the session ends, and its turn is asked for: alone at once, beside others a step later,
// as the result is recorded before it is told.
Result<void> resume(Decoder& decoder, const agents::TurnRequest& talk, Others* others,
                    Tally& tally) {
  Resumed& resumed = others != nullptr ? tally.beside : tally.alone;
  decoder.observe(talk.session, agents::SessionEvent::call_ends_soon);
  if (others != nullptr) {
    const std::int64_t began = now_us();
    TRY(others->step());
    resumed.step_ms.push_back(ms_since(began));
  }
  const std::int64_t began = now_us();
  std::optional<agents::Turn> turn;
  if (others == nullptr) {
    turn = TRY(decoder.complete(talk));
  } else {
    const std::uint64_t id = TRY(decoder.submit(talk));
    while (!turn) turn = TRY(others->step(id));
  }
  const agents::Usage& usage = turn->usage;
  resumed.ms.push_back(ms_since(began));
  resumed.wait_ms.push_back(static_cast<double>(usage.queue_us) * 1e-3);
  // What the new message and the words around it have.
  constexpr std::int64_t news = 40;
  tally.input += static_cast<double>(usage.input_tokens);
  tally.found += static_cast<double>(usage.cached_tokens);
  const std::int64_t missing = usage.input_tokens - usage.cached_tokens - news;
  tally.again += static_cast<double>(std::max<std::int64_t>(0, missing));
  return {};
}

Result<void> play(Decoder& decoder, std::size_t sessions, std::size_t beside, Tally& tally) {
  std::vector<agents::TurnRequest> talks;
  for (std::size_t i = 0; i < sessions; ++i) {
    talks.push_back(first_turn(i));
    const agents::Turn turn = TRY(decoder.complete(talks[i]));
    if (turn.usage.output_tokens > 1)
      tally.alone.step_ms.push_back(static_cast<double>(turn.usage.decode_us) * 1e-3 /
                                    static_cast<double>(turn.usage.output_tokens - 1));
    talks[i].messages.push_back(turn.message);
    talks[i].messages.push_back({agents::Role::user, "And what is to be done?", {}, "", ""});
    talks[i].tokens_max = 1;
    decoder.observe(talks[i].session, agents::SessionEvent::parked);
  }
  std::vector<std::size_t> order(sessions);
  std::iota(order.begin(), order.end(), std::size_t{0});
  for (std::size_t i = sessions; i-- > 1;)
    std::swap(order[i],
              order[static_cast<std::size_t>(uniform(5, i, 0) * static_cast<double>(i + 1))]);
  const std::size_t alone = beside > 0 ? sessions / 2 : sessions;
  for (std::size_t i = 0; i < alone; ++i) TRY(resume(decoder, talks[order[i]], nullptr, tally));
  if (alone == sessions) return {};
  Others others(decoder, beside);
  for (int step = 0; step < 16; ++step) TRY(others.step());  // until all of them decode
  for (std::size_t i = alone; i < sessions; ++i)
    TRY(resume(decoder, talks[order[i]], &others, tally));
  return {};
}

void print(const std::string& what, const char* unit, Better better, double ours) {
  bench::print({"parked", what, unit, better, ours});
}

// `wants`: on a GPU its pages are to be there before the next step ends.
void print(const std::string& what, const Resumed& resumed, bool wants) {
  if (resumed.ms.empty() || resumed.step_ms.empty()) return;
  const double step = bench::quantile(resumed.step_ms, 0.5);
  const double wait = bench::quantile(resumed.wait_ms, 0.99);
  print(what + "resume p50", "ms", Better::less, bench::quantile(resumed.ms, 0.5));
  print(what + "resume p99", "ms", Better::less, bench::quantile(resumed.ms, 0.99));
  print(what + "pages are there p99", "ms", Better::less, wait);
  print(what + "step p50", "ms", Better::less, step);
  bench::Figure steps{"parked", what + "pages are there p99", "steps", Better::less, wait / step};
  if (wants) {
    steps.goal_on = Goal::ours;
    steps.goal = 1;
  }
  bench::print(steps);
}

Result<void> measure(const std::string& path, std::size_t sessions, bool has_tier) {
  const auto file = TRY(ModelFile::open(path));
  EngineOptions options;
  options.threads = std::max(1U, std::thread::hardware_concurrency());
  options.device = setting("AMBIT_BENCH_DEVICE", "cpu");
  const bool on_gpu = options.device != "cpu";
  options.kv_bytes = on_gpu && has_tier ? gpu_bytes : kv_bytes;
  options.clock_us = now_us;
  options.kv_disk_folder = std::filesystem::current_path().string() + "/build";
  (on_gpu ? options.kv_host_bytes : options.kv_disk_bytes) = !has_tier ? 0
                                                             : on_gpu  ? host_bytes
                                                                       : disk_bytes;
  const auto decoder = TRY(Decoder::make(file, options));
  const std::size_t beside = std::strtoull(setting("AMBIT_BENCH_BESIDE", "0"), nullptr, 10);
  Tally tally;
  TRY(play(*decoder, sessions, has_tier ? beside : 0, tally));
  const EngineStats stats = decoder->stats();
  const std::string of = std::to_string(sessions) + " sessions, memory " +
                         (!has_tier ? "alone: "
                          : on_gpu  ? "and the host's: "
                                    : "and disk: ");
  const auto mib = [&](std::size_t pages) {
    return static_cast<double>(pages * stats.page_bytes) / 1048576.0;
  };
  bench::Figure again{"parked", of + "tokens computed again", "tokens", Better::less, tally.again};
  if (has_tier) {
    again.goal_on = Goal::ours;
    again.goal = 0;
  }
  bench::print(again);
  print(of + "found of the prompts", "part", Better::more, tally.found / tally.input);
  print(of + "pages lost", "pages", Better::less, static_cast<double>(stats.kv.evicted));
  print(of, tally.alone, on_gpu && has_tier);
  print(of + "beside " + std::to_string(beside) + ", ", tally.beside, on_gpu);
  print(of + "in memory", "MiB", Better::less, mib(stats.kv.pages_peak));
  print(of + "below", "MiB", Better::less, mib(stats.kv.host.pages + stats.kv.disk.pages));
  return {};
}

}  // namespace

int main() {
  const std::size_t sessions = std::strtoull(setting("AMBIT_BENCH_SESSIONS", "2000"), nullptr, 10);
  std::string path = setting("AMBIT_BENCH_FILE", "");
  if (path.empty())
    path = bench::model_file(setting("AMBIT_BENCH_SHAPES", "llama-15m"),
                             setting("AMBIT_BENCH_TYPES", "Q8_0"));
  if (path.empty() || sessions < 1 || sessions > 100'000) {
    std::fprintf(stderr, "parked: no such model, or no such number of sessions\n");
    return 1;
  }
  for (const bool has_tier : {true, false}) {
    const auto done =
        measure(path, has_tier ? sessions : std::min<std::size_t>(sessions, 200), has_tier);
    if (done) continue;
    std::fprintf(stderr, "parked: %s\n", done.error().message.c_str());
    return 1;
  }
  return 0;
}
