// Any bytes as the requestState of an MCP request: nothing opens but what was sealed here, for the
// same request and principal, and a sealed state that differs in one byte does not.

#include "async/check.h"
#include "mcp/request_state.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cstdint>
#include <string>

using namespace ambit;

namespace {

class FixedClock final : public io::Clock {
 public:
  std::int64_t unix_ns() override { return 1'700'000'000'000'000'000; }
};
class FixedEntropy final : public io::Entropy {
 public:
  void fill(std::span<std::uint8_t> bytes) override {
    for (std::uint8_t& byte : bytes) byte = ++last_;
  }

 private:
  std::uint8_t last_ = 0;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string bytes(reinterpret_cast<const char*>(data), size);
  FixedClock clock;
  FixedEntropy entropy;
  mcp::StateSealer sealer(clock, entropy, std::chrono::minutes(15));
  const rpc::Value state = rpc::Json{{"answers", size}};
  const std::string sealed = sealer.seal(state, "ann");
  INVARIANT(bytes == sealed || !sealer.open(bytes, "ann"));
  const auto opened = sealer.open(sealed, "ann");
  INVARIANT(opened && *opened == state);
  INVARIANT(!sealer.open(sealed, "eve"));
  if (size < 2) return 0;
  // One byte of it changed.
  std::string other = sealed;
  char& changed = other[data[0] % other.size()];
  if (static_cast<std::uint8_t>(changed) == data[1]) return 0;
  changed = static_cast<char>(data[1]);
  INVARIANT(!sealer.open(other, "ann"));
  // Cut, and with something behind it.
  INVARIANT(!sealer.open(sealed.substr(0, data[0] % sealed.size()), "ann"));
  INVARIANT(!sealer.open(sealed + bytes, "ann"));
  return 0;
}
