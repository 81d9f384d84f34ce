// How long one decision takes at 1, 20, 100, 1,000 and 10,000 policies: the policy set alone, and
// the whole guard with its arguments. One JSON object a line.

#include "governance/guard.h"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <functional>

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

void measure(const char* what, int count, const std::function<void()>& once) {
  constexpr int rounds = 20'000;
  std::vector<std::int64_t> times;
  times.reserve(rounds);
  for (int i = 0; i < rounds; ++i) {
    const auto start = std::chrono::steady_clock::now();
    once();
    times.push_back(std::chrono::duration_cast<std::chrono::nanoseconds>(
                        std::chrono::steady_clock::now() - start)
                        .count());
  }
  std::sort(times.begin(), times.end());
  std::printf("{\"bench\":\"%s\",\"policies\":%d,\"p50_ns\":%lld,\"p99_ns\":%lld}\n", what, count,
              static_cast<long long>(times[rounds / 2]),
              static_cast<long long>(times[rounds * 99 / 100]));
}

}  // namespace

int main() {
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
    measure("policy set", count,
            [&] { static_cast<void>(set->decide(call->request, call->entities)); });
    measure("guard", count, [&] { static_cast<void>((*guard)->decide(action)); });
  }
  return 0;
}
