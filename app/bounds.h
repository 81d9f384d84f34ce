#pragma once

// The bounds that have a memory, wired from governance to the ports of runtime/agents: quotas, and
// tool definitions as a person has pinned them.

#include "agents/fleet.h"
#include "agents/gate.h"
#include "agents/ports.h"
#include "governance/limits.h"
#include "io/world.h"

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace ambit::app {

class LimitQuotas final : public agents::Quotas {
 public:
  // Errors: a bound that cannot be.
  static Result<std::unique_ptr<LimitQuotas>> create(io::Clock& clock, const agents::Fleet& fleet);

  Result<std::uint64_t> reserve(const agents::Action& action,
                                const agents::Spending& most) override;
  void settle(std::uint64_t id, const agents::Spending& spent, bool failed) override;
  void cancel(std::uint64_t id) override;
  void session_gone(const std::string& session) override;
  std::vector<agents::Notice> take_notices() override;

 private:
  // Turns of models and calls of tools are counted apart: a turn between two calls must not hide
  // that they are the same.
  LimitQuotas(io::Clock& clock, governance::Limits calls, governance::Limits turns)
      : clock_(clock), calls_(std::move(calls)), turns_(std::move(turns)) {}
  [[nodiscard]] std::int64_t now_ms() { return clock_.unix_ns() / 1'000'000; }

  io::Clock& clock_;
  governance::Limits calls_;
  governance::Limits turns_;
};

// Reads the file of pins. Null: the fleet has none.
Result<agents::ToolCheck> pinned_tools(const std::string& path);

}  // namespace ambit::app
