#pragma once

// The zygote's program, carried inside this library. It is executed from a sealed piece of memory,
// so no file can be found, replaced or written through /proc/self/exe.

#include "async/result.h"

#include <string>

namespace ambit::sandbox {

// Owns the descriptor of the sealed image.
class ZygoteImage {
 public:
  static Result<ZygoteImage> open();
  ZygoteImage(ZygoteImage&& other) noexcept;
  ZygoteImage& operator=(ZygoteImage&&) = delete;
  ~ZygoteImage();
  // To be executed by a child of this process.
  [[nodiscard]] std::string path() const { return "/proc/self/fd/" + std::to_string(descriptor_); }

 private:
  explicit ZygoteImage(int descriptor) : descriptor_(descriptor) {}
  int descriptor_;
};

}  // namespace ambit::sandbox
