#include "inference/cuda/schedule.h"

#include <algorithm>
#include <string>
#include <utility>

namespace ambit::inference::cuda {

Result<Schedule> schedule_named(std::string_view name) {
  Schedule schedule;
  if (name.empty() || name == "invariant") return schedule;
  std::string_view rest = name;
  if (rest.starts_with("free")) {
    schedule.is_free = true;
    rest.remove_prefix(4);
    for (const auto& [text, segments] :
         {std::pair("-1", 1U), std::pair("-2", 2U), std::pair("-4", 4U), std::pair("-8", 8U)}) {
      if (!rest.starts_with(text)) continue;
      schedule.segments = segments;
      rest.remove_prefix(2);
      break;
    }
    if (rest == "-sync") {
      schedule.warpgroups = false;
      rest = {};
    }
    if (rest.empty()) return schedule;
  }
  return Err(Code::invalid, "there is no schedule \"" + std::string(name) +
                                "\"; there are invariant, and free, free-1, free-2, free-4 or "
                                "free-8, each with -sync after it where wanted");
}

WeightView cut(const Schedule& schedule, WeightView weight, unsigned rows, unsigned processors) {
  // Floats have a warp a segment for any number of rows, and no other kernel.
  if (!schedule.is_free || weight.type == WeightType::f32) return weight;
  constexpr unsigned busy_warps = 16;  // of a processor, with all their loads under way
  unsigned segments = schedule.segments;
  if (rows > few_rows_most) {
    segments = 1;  // its blocks walk all segments anyway: this saves the additions between them
  } else if (segments == 0) {
    segments = 1;
    while (segments < segments_max && weight.panel_count * segments < processors * busy_warps)
      segments *= 2;
  }
  segments = std::min(segments, weight.blocks);
  weight.segment_blocks = (weight.blocks + segments - 1) / segments;
  weight.segments = (weight.blocks + weight.segment_blocks - 1) / weight.segment_blocks;
  return weight;
}

}  // namespace ambit::inference::cuda
