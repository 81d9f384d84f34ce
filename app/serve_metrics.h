#pragma once

// What `ambit serve` says at /metrics, in the text form that Prometheus reads.

#include "app/assembly.h"

#include <cstdint>
#include <string>
#include <vector>

namespace ambit::app {

// Of one exposed agent.
struct TaskCount {
  std::string agent;
  std::size_t tasks = 0;
  std::size_t at_work = 0;
};

std::string metrics_text(Assembly& assembly, std::uint64_t requests, std::size_t connections,
                         const std::vector<TaskCount>& tasks);

}  // namespace ambit::app
