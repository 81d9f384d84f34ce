#pragma once

// One figure of a benchmark: one JSON line, {bench, case, unit, ours, peer, theirs, ratio, goal,
// met}. A ratio above 1 means that we are better, whether less or more of the unit is better.

#include <algorithm>
#include <cstdio>
#include <string>
#include <vector>

namespace ambit::bench {

enum class Better { less, more };
enum class Goal { none, ratio, ours };  // what the goal is set on

struct Figure {
  std::string bench;
  std::string what;
  std::string unit;
  Better better = Better::less;
  double ours = 0;
  std::string peer{};  // empty: there is nothing to compare with
  double theirs = 0;
  Goal goal_on = Goal::none;
  double goal = 0;
};

inline double ratio(const Figure& figure) {
  return figure.better == Better::less ? figure.theirs / figure.ours : figure.ours / figure.theirs;
}

inline bool met(const Figure& figure) {
  if (figure.goal_on == Goal::ratio) return ratio(figure) >= figure.goal;
  return figure.better == Better::less ? figure.ours <= figure.goal : figure.ours >= figure.goal;
}

// Prints it at once, so that a long benchmark shows how far it is.
inline void print(const Figure& figure) {
  std::printf("{\"bench\":\"%s\",\"case\":\"%s\",\"unit\":\"%s\",\"ours\":%.6g",
              figure.bench.c_str(), figure.what.c_str(), figure.unit.c_str(), figure.ours);
  if (figure.peer.empty()) {
    std::printf(",\"peer\":null,\"theirs\":null,\"ratio\":null");
  } else {
    std::printf(",\"peer\":\"%s\",\"theirs\":%.6g,\"ratio\":%.3g", figure.peer.c_str(),
                figure.theirs, ratio(figure));
  }
  const bool comparable = figure.goal_on == Goal::ours || !figure.peer.empty();
  if (figure.goal_on == Goal::none || !comparable) {
    std::printf(",\"goal\":null,\"met\":null}\n");
  } else {
    std::printf(
        ",\"goal\":\"%s%g%s\",\"met\":%s}\n",
        figure.goal_on == Goal::ours && figure.better == Better::less ? "<=" : ">=", figure.goal,
        figure.goal_on == Goal::ratio ? "x" : "", met(figure) ? "true" : "false");
  }
  std::fflush(stdout);
}

// The value below which `part` of the values lie; `values` must not be empty.
inline double quantile(std::vector<double> values, double part) {
  std::sort(values.begin(), values.end());
  const auto at = static_cast<std::size_t>(part * static_cast<double>(values.size()));
  return values[std::min(values.size() - 1, at)];
}

}  // namespace ambit::bench
