#pragma once

// StateSealer: what a server hands to its client to be handed back (requestState, MCP 2026-07-28)
// and must not be read, changed, given to somebody else, used for another request, or kept. Sealed
// with AES-256-GCM under a key that lives as long as the process.

#include "io/world.h"
#include "rpc/value.h"

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace ambit::mcp {

class StateSealer {
 public:
  StateSealer(io::Clock& clock, io::Entropy& entropy, Duration lifetime);

  // `about` says what the state belongs to: the principal and the digest of the request.
  std::string seal(const rpc::Value& state, std::string_view about);
  // Code::denied if it is not ours, not for this, or too old.
  [[nodiscard]] Result<rpc::Value> open(std::string_view sealed, std::string_view about) const;

 private:
  io::Clock& clock_;
  io::Entropy& entropy_;
  std::int64_t lifetime_ms_;
  std::array<std::uint8_t, 32> key_{};
};

}  // namespace ambit::mcp
