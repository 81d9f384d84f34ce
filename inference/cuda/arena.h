#pragma once

// Memory of a device that can be taken away and given back: what was in it is there again, to the
// bit and at the same addresses, so that whatever holds such an address (views of weights, recorded
// steps) stays true. Meanwhile it lies in pinned memory of the host: one copy, made once, in the
// order of the device, so that coming back is a stream of bulk copies. Once the copy is made nobody
// writes to the memory, and while it is away nobody reads it. Calls may come from any thread, one
// at a time.

#include "async/result.h"

#include <cstddef>

namespace ambit::inference::cuda {

class Arena {
 public:
  Arena() = default;
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;
  virtual ~Arena() = default;

  // What add() would take of the device for so many bytes more.
  [[nodiscard]] virtual std::size_t growth(std::size_t bytes) const = 0;
  // Not zeroed. Null: there is no more.
  virtual std::byte* add(std::size_t bytes) = 0;

  // Makes the copy, where there is none yet. exhausted: the host gives no memory for it;
  // unavailable: the device did not copy.
  virtual Result<void> keep_copy() = 0;
  // Takes the memory away; there is a copy.
  virtual void leave() = 0;
  // Gives it back. exhausted: the device has no room; unavailable: it did not copy. In either case
  // it is still away.
  virtual Result<void> come() = 0;
};

}  // namespace ambit::inference::cuda
