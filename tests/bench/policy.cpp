// How long one decision takes at 1, 20, 100, 1,000 and 10,000 policies: the policy set alone, and
// the whole guard with its arguments, beside the WebAssembly build of the public engine.

#include "bench/figure.h"
#include "governance/guard.h"

#include <chrono>
#include <cstdio>
#include <functional>
#include <map>

using namespace ambit;
using namespace ambit::cedar;

namespace {

// Each policy speaks of one agent and one tool, as those of a real fleet do; the last one applies.
std::string policies(int count) {
  std::string text;
  for (int i = 1; i < count; ++i) {
    text += "permit(principal == Agent::\"agent-" + std::to_string(i % 97) +
            "\", action == Action::\"tool_call\", " + "resource == Tool::\"tool-" +
            std::to_string(i) + "\") when { context.arguments.path like \"logs/*\" };\n";
  }
  return text +
         "permit(principal in Fleet::\"desk\", action == Action::\"tool_call\", resource == "
         "Tool::\"grep\") "
         "when { context.arguments.path like \"logs/*\" && !context.tainted };\n";
}

struct Times {
  double p50_us = 0;
  double p99_us = 0;
};

Times measure(const std::function<void()>& once) {
  constexpr int rounds = 20'000;
  std::vector<double> times;
  times.reserve(rounds);
  for (int i = 0; i < rounds; ++i) {
    const auto start = std::chrono::steady_clock::now();
    once();
    times.push_back(
        std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - start)
            .count());
  }
  return {bench::quantile(times, 0.5), bench::quantile(times, 0.99)};
}

// What the WebAssembly build of the public engine needs for the same question, by count of
// policies. Empty, and said aloud, where node or the package is missing.
std::map<int, Times> peer_times() {
  const std::string command = std::string("node ") + PEER_SCRIPT + " 2>&1";
  std::map<int, Times> times;
  std::FILE* peer = ::popen(command.c_str(), "r");
  char line[512];
  while (peer != nullptr && std::fgets(line, sizeof line, peer) != nullptr) {
    int count = 0;
    Times one;
    if (std::sscanf(line, "%d %lf %lf", &count, &one.p50_us, &one.p99_us) == 3) {
      times[count] = one;
    } else {
      std::fprintf(stderr, "skipped: cedar-wasm: %s", line);
    }
  }
  if (peer != nullptr) ::pclose(peer);
  return times;
}

void report(const std::string& what, double ours, double theirs, double goal_us) {
  bench::Figure figure{"policy", what, "us", bench::Better::less, ours};
  if (theirs > 0) figure.peer = "cedar-wasm";
  figure.theirs = theirs;
  if (goal_us > 0) figure.goal_on = bench::Goal::ours;
  figure.goal = goal_us;
  bench::print(figure);
}

}  // namespace

int main() {
  const std::map<int, Times> peer = peer_times();
  for (const int count : {1, 20, 100, 1000, 10'000}) {
    governance::GuardOptions options;
    options.fleet = "desk";
    auto guard = governance::PolicyGuard::create({{"bench", policies(count)}}, options);
    auto set = PolicySet::create(*parse_policies(policies(count), "bench"));
    if (!guard || !set) return 1;
    agents::Action action;
    action.agent = "clerk";
    action.tool = "grep";
    action.arguments = R"({"path":"logs/web.log","pattern":"error"})";
    const auto call = governance::to_cedar(action, options);
    if (!call || !set->decide(call->request, call->entities).allowed()) return 1;
    const Times ours =
        measure([&] { static_cast<void>(set->decide(call->request, call->entities)); });
    const Times guarded = measure([&] { static_cast<void>((*guard)->decide(action)); });
    const auto at = peer.find(count);
    const Times theirs = at == peer.end() ? Times{} : at->second;
    const std::string of = std::to_string(count) + " policies, ";
    const double goal_us = count == 100 ? 1 : count == 10'000 ? 2 : 0;
    report(of + "decision p50", ours.p50_us, theirs.p50_us, goal_us);
    report(of + "decision p99", ours.p99_us, theirs.p99_us, 0);
    report(of + "whole guard p50", guarded.p50_us, theirs.p50_us, 0);
    report(of + "whole guard p99", guarded.p99_us, theirs.p99_us, 0);
  }
  return 0;
}
