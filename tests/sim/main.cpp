// sim: runs scenarios from seeds. `sim --seed N` repeats one run that failed.
//   sim [--scenario NAME] [--seed FIRST] [--runs COUNT] [--twice]
// Prints one JSON line a scenario: {"scenario","runs","failed","seconds","digest"}. --twice runs
// every seed a second time and compares the traces. Exit code: 0 nothing failed, 1 something did, 2
// a wrong argument.

#include "scenario.h"

#include <charconv>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <optional>
#include <string_view>

namespace ambit::sim {
namespace {

struct Options {
  std::string scenario;
  std::uint64_t seed = 1;
  std::uint64_t runs = 1;
  bool twice = false;
};

// For the report of a run that aborts (a CHECK, a sanitizer).
char current_run[200];

void report_abort(int /*signal*/) {
  std::fputs(current_run, stderr);
  std::signal(SIGABRT, SIG_DFL);
}

bool parse_number(std::string_view text, std::uint64_t& number) {
  const auto [end, fault] = std::from_chars(text.data(), text.data() + text.size(), number);
  return fault == std::errc() && end == text.data() + text.size();
}

std::optional<Options> parse(int count, char** arguments) {
  Options options;
  for (int i = 1; i < count; ++i) {
    const std::string_view name = arguments[i];
    if (name == "--twice") {
      options.twice = true;
      continue;
    }
    if (i + 1 == count) return std::nullopt;
    const std::string_view value = arguments[++i];
    if (name == "--scenario") {
      options.scenario = value;
    } else if (name == "--seed") {
      if (!parse_number(value, options.seed)) return std::nullopt;
    } else if (name == "--runs") {
      if (!parse_number(value, options.runs)) return std::nullopt;
    } else {
      return std::nullopt;
    }
  }
  return options;
}

std::uint64_t run_seeds(const Scenario& scenario, const Options& options) {
  const auto started = std::chrono::steady_clock::now();
  std::uint64_t failed = 0;
  Trace all;
  for (std::uint64_t seed = options.seed; seed < options.seed + options.runs; ++seed) {
    const std::string again = "--scenario " + scenario.name + " --seed " + std::to_string(seed);
    std::snprintf(current_run, sizeof current_run, "aborted in: sim %s\n", again.c_str());
    RunReport report = run_scenario(scenario, seed);
    all.add(report.digest);
    if (options.twice && report.failure.empty() &&
        run_scenario(scenario, seed).digest != report.digest) {
      report.failure = "the same seed gave another trace";
    }
    if (report.failure.empty()) continue;
    ++failed;
    std::fprintf(stderr, "FAILED: %s\n  repeat: sim %s\n", report.failure.c_str(), again.c_str());
  }
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - started;
  std::printf(
      "{\"scenario\":\"%s\",\"runs\":%llu,\"failed\":%llu,\"seconds\":%.3f,\"digest\":\"%016llx\"}"
      "\n",
      scenario.name.c_str(), static_cast<unsigned long long>(options.runs),
      static_cast<unsigned long long>(failed), took.count(),
      static_cast<unsigned long long>(all.digest()));
  return failed;
}

int run(int count, char** arguments) {
  const auto options = parse(count, arguments);
  if (!options) {
    std::fputs("usage: sim [--scenario NAME] [--seed FIRST] [--runs COUNT] [--twice]\n", stderr);
    return 2;
  }
  std::signal(SIGABRT, report_abort);
  bool found = false;
  std::uint64_t failed = 0;
  for (const Scenario& scenario : scenarios()) {
    if (!options->scenario.empty() && options->scenario != scenario.name) continue;
    found = true;
    Options of = *options;
    const std::uint64_t part = options->scenario.empty() ? scenario.one_seed_in : 1;
    of.runs = (options->runs + part - 1) / part;
    failed += run_seeds(scenario, of);
  }
  if (!found) {
    std::fprintf(stderr, "there is no scenario \"%s\"; there are:", options->scenario.c_str());
    for (const Scenario& scenario : scenarios()) std::fprintf(stderr, " %s", scenario.name.c_str());
    std::fputs("\n", stderr);
    return 2;
  }
  return failed == 0 ? 0 : 1;
}

}  // namespace
}  // namespace ambit::sim

int main(int count, char** arguments) {
  return ambit::sim::run(count, arguments);
}
