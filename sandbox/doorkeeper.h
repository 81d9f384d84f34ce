#pragma once

// The supervisor's side of a jail's door (door.h): connections of the jail's go to the proxy of its
// call, paths that it wants to open go to the gate and, if granted, are opened here and handed in.
// One a call; destroying it closes the door and everything that came through it.

#include "async/scope.h"
#include "sandbox/egress.h"
#include "sandbox/pipes.h"
#include "sandbox/protocol.h"
#include "sandbox/zygote_process.h"

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

namespace ambit::sandbox {

struct DoorOptions {
  io::World& world;
  Gate& gate;
  const EgressOptions& egress;
  const std::vector<std::string>& forbidden;  // paths that no jail may ever see
};

class Doorkeeper {
 public:
  // Owns `door`. The options and what they name outlive it.
  Doorkeeper(DoorOptions options, const agents::JailCall& call, egress::Secrets secrets, int door);
  // What waits there; to be called at every knock.
  void knocked();
  // Waits, for a moment, until what the jail had begun is recorded.
  Task<void> finish();

 private:
  void take(std::span<char> frame, Descriptor passed);
  void take_connection(Descriptor connection);
  Task<void> answer_open(std::uint64_t cookie, std::uint32_t flags, std::string path);
  Task<Result<int>> open_path(std::uint32_t flags, std::string path);

  DoorOptions options_;
  std::string agent_;
  std::string session_;
  std::string profile_;
  bool asks_;
  bool has_network_;
  Urgency urgency_;  // of the call; a knock is of nobody's
  Descriptor door_;
  std::unique_ptr<EgressProxy> proxy_;
  std::size_t connections_ = 0;
  std::size_t opens_ = 0;
  Scope scope_;
};

}  // namespace ambit::sandbox
