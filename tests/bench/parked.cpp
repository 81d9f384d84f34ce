// 2,000 sessions of some hundred tokens each that wait for a call, more than memory may hold, and
// go on in a random order: what is found of each conversation, how long it takes until its next
// token, and what lies where; with a disk tier and, on the first 200 of them, without one.
// AMBIT_BENCH_SHAPES and AMBIT_BENCH_TYPES name the model (one each), AMBIT_BENCH_SESSIONS how many
// sessions, AMBIT_BENCH_DEVICE what computes.

#include "bench/figure.h"
#include "bench/models.h"
#include "inference/decoder.h"

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <numeric>
#include <thread>

using namespace ambit;
using namespace ambit::inference;
using bench::Better;
using bench::Goal;

namespace {

constexpr std::size_t kv_bytes = std::size_t{256} << 20U;
constexpr std::size_t disk_bytes = std::size_t{8} << 30U;

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

struct Tally {
  std::vector<double> resume_ms;
  double input = 0;
  double found = 0;
  double again = 0;  // tokens of the old part of a conversation that had to be computed again
};

bool play(Decoder& decoder, std::size_t sessions, Tally& tally) {
  std::vector<agents::TurnRequest> talks;
  for (std::size_t i = 0; i < sessions; ++i) {
    talks.push_back(first_turn(i));
    const auto turn = decoder.complete(talks[i]);
    if (!turn) {
      std::fprintf(stderr, "parked: %s\n", turn.error().message.c_str());
      return false;
    }
    talks[i].messages.push_back(turn->message);
    talks[i].messages.push_back({agents::Role::user, "And what is to be done?", {}, "", ""});
    decoder.observe(talks[i].session, agents::SessionEvent::parked);
  }
  std::vector<std::size_t> order(sessions);
  std::iota(order.begin(), order.end(), std::size_t{0});
  for (std::size_t i = sessions; i-- > 1;)
    std::swap(order[i],
              order[static_cast<std::size_t>(uniform(5, i, 0) * static_cast<double>(i + 1))]);
  // What the new message and the words around it have.
  constexpr std::int64_t news = 40;
  for (const std::size_t i : order) {
    const std::int64_t began = now_us();
    decoder.observe(talks[i].session, agents::SessionEvent::call_ends_soon);
    talks[i].tokens_max = 1;
    const auto turn = decoder.complete(talks[i]);
    if (!turn) return false;
    tally.resume_ms.push_back(static_cast<double>(now_us() - began) * 1e-3);
    tally.input += static_cast<double>(turn->usage.input_tokens);
    tally.found += static_cast<double>(turn->usage.cached_tokens);
    const std::int64_t missing = turn->usage.input_tokens - turn->usage.cached_tokens - news;
    tally.again += static_cast<double>(std::max<std::int64_t>(0, missing));
  }
  return true;
}

void print(const std::string& what, const char* unit, Better better, double ours) {
  bench::print({"parked", what, unit, better, ours});
}

bool measure(const std::string& path, std::size_t sessions, bool with_disk) {
  const auto file = ModelFile::open(path);
  if (!file) {
    std::fprintf(stderr, "parked: %s\n", file.error().message.c_str());
    return false;
  }
  EngineOptions options;
  options.threads = std::max(1U, std::thread::hardware_concurrency());
  options.device = setting("AMBIT_BENCH_DEVICE", "cpu");
  options.kv_bytes = kv_bytes;
  options.clock_us = now_us;
  options.kv_disk_folder = std::filesystem::current_path().string() + "/build";
  options.kv_disk_bytes = with_disk ? disk_bytes : 0;
  const auto decoder = Decoder::make(*file, options);
  if (!decoder) {
    std::fprintf(stderr, "parked: %s\n", decoder.error().message.c_str());
    return false;
  }
  Tally tally;
  if (!play(**decoder, sessions, tally)) return false;
  const EngineStats stats = (*decoder)->stats();
  const std::string of = std::to_string(sessions) + " sessions, " +
                         (with_disk ? "memory and disk: " : "memory alone: ");
  const auto mib = [&](std::size_t pages) {
    return static_cast<double>(pages * stats.page_bytes) / 1048576.0;
  };
  bench::Figure again{"parked", of + "tokens computed again", "tokens", Better::less, tally.again};
  if (with_disk) {
    again.goal_on = Goal::ours;
    again.goal = 0;
  }
  bench::print(again);
  print(of + "found of the prompts", "part", Better::more, tally.found / tally.input);
  print(of + "pages lost", "pages", Better::less, static_cast<double>(stats.kv.evicted));
  print(of + "resume p50", "ms", Better::less, bench::quantile(tally.resume_ms, 0.5));
  print(of + "resume p99", "ms", Better::less, bench::quantile(tally.resume_ms, 0.99));
  print(of + "in memory", "MiB", Better::less, mib(stats.kv.pages_peak));
  print(of + "on disk", "MiB", Better::less, mib(stats.kv.disk.pages));
  return true;
}

}  // namespace

int main() {
  const std::size_t sessions = std::strtoull(setting("AMBIT_BENCH_SESSIONS", "2000"), nullptr, 10);
  const std::string shape = setting("AMBIT_BENCH_SHAPES", "llama-15m");
  const std::string path = bench::model_file(shape, setting("AMBIT_BENCH_TYPES", "Q8_0"));
  if (path.empty() || sessions < 1 || sessions > 100'000) {
    std::fprintf(stderr, "parked: no such model, or no such number of sessions\n");
    return 1;
  }
  const bool done =
      measure(path, sessions, true) && measure(path, std::min<std::size_t>(sessions, 200), false);
  return done ? 0 : 1;
}
