#pragma once

// FramePool: the memory of coroutine frames. They come and go by the million in a few sizes, so a
// thread keeps those that it is done with, by size, and gives the last one, which is still in the
// cache, out first. Bounded; what is beyond goes back to the heap. With a sanitizer every frame is
// the heap's, so that one that is used after its end is found.

#include <cstddef>

namespace ambit::detail {

class FramePool {
 public:
  static void* take(std::size_t bytes);
  static void give(void* frame, std::size_t bytes) noexcept;
};

}  // namespace ambit::detail
