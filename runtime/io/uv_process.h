#pragma once

// Child processes by uv_spawn as io::Processes. Each leads a session and a process group of its
// own; when the leader ends, or its Process is destroyed, the rest of the group is killed.

#include "io/world.h"

#include <uv.h>

#include <memory>

namespace ambit::io {

class UvProcesses final : public Processes {
 public:
  explicit UvProcesses(uv_loop_t* loop) : loop_(loop) {}
  Result<std::unique_ptr<Process>> spawn(ProcessOptions options) override;

 private:
  uv_loop_t* loop_;
};

}  // namespace ambit::io
