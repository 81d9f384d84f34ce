#pragma once

// How the sums of products are cut. The engine has one answer: as the weight's shape has it
// (WeightView), so that a session's bits are its own. A free schedule cuts them as this step's rows
// like it best, as engines without that promise do: bits then depend on who shares a step. For
// measuring what the promise costs (`ambit model bench --schedule`), and for nothing else: no fleet
// can ask for it.

#include "async/result.h"
#include "inference/cuda/jobs.h"

#include <string_view>

namespace ambit::inference::cuda {

// Beyond so many rows a product is one of many rows (launches.h).
inline constexpr unsigned few_rows_most = 64;

struct Schedule {
  bool is_free = false;
  unsigned segments = 0;   // of products of few rows; 0: as few as keep all processors busy
  bool warpgroups = true;  // where the device has their products; false: mma.sync for all rows
};

// "invariant", or "free" with "-1", "-2", "-4" or "-8" (segments) and "-sync" (mma.sync) after it,
// as wanted.
Result<Schedule> schedule_named(std::string_view name);

// The weight as a product of so many rows shall cut it.
WeightView cut(const Schedule& schedule, WeightView weight, unsigned rows, unsigned processors);

}  // namespace ambit::inference::cuda
