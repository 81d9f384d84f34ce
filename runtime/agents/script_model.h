#pragma once

// ScriptModel: a model that says what a file tells it to. For trying a fleet, its policies and
// its workflow without a model, and for tests of both. The file is a JSON array of rules; the first
// whose conditions all hold is what is said:
//   {"system": "text in the instructions", "when": "text in the last message",
//    "turn": 2, "say": "...", "call": {"name": "look", "arguments": {...}}, "fail": "why",
//    "latencyMs": [200, 800]}
// In `say`, ${last} is the last message. An answer takes some time between the two of latencyMs,
// by the session's seed.

#include "agents/ports.h"

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace ambit::agents {

class ScriptModel final : public Model {
 public:
  // `name` is its identity. Errors name the rule.
  static Result<std::unique_ptr<ScriptModel>> parse(std::string name, const std::string& text);

  // invalid: no rule holds. unavailable: the rule says "fail".
  Task<Result<Turn>> generate(TurnRequest request) override;
  [[nodiscard]] std::string identity() const override { return name_; }

 private:
  struct Rule {
    std::string system;     // in the instructions
    std::string when;       // in the last message
    std::int64_t turn = 0;  // of the session, from 1; 0: any
    std::string say;
    std::vector<ToolCall> calls;
    std::string fail;
    std::int64_t latency_least_ms = 0;
    std::int64_t latency_most_ms = 0;
  };
  ScriptModel(std::string name, std::vector<Rule> rules)
      : name_(std::move(name)), rules_(std::move(rules)) {}

  std::string name_;
  std::vector<Rule> rules_;
};

}  // namespace ambit::agents
