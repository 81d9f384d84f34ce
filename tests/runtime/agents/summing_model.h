#pragma once

// A model for tests of compaction: it looks so many times, and counts how often it has looked by
// what it reads alone: the results that it sees, and the number in the last summary, which it
// writes itself.

#include "runtime/agents/scripted.h"

#include <algorithm>
#include <charconv>

namespace ambit::agents {

class SummingModel final : public Model {
 public:
  explicit SummingModel(int looks) : looks_(looks) {}
  Task<Result<Turn>> generate(TurnRequest request) override {
    co_await delay(std::chrono::milliseconds(1));
    Turn turn;
    std::int64_t bytes = 0;
    int seen = 0;
    for (const Message& message : request.messages) {
      bytes += static_cast<std::int64_t>(message.content.size());
      for (const ToolCall& call : message.tool_calls) {
        bytes += static_cast<std::int64_t>(call.name.size() + call.arguments.size());
      }
      if (message.role == Role::tool) ++seen;
      const std::size_t at = message.content.rfind("looked ");
      if (message.role != Role::user || at == std::string::npos) continue;
      int before = 0;
      const char* digits = message.content.data() + at + 7;
      std::from_chars(digits, message.content.data() + message.content.size(), before);
      seen += before;
    }
    turn.usage.input_tokens = (bytes + 2) / 3;
    turn.usage.output_tokens = 5;
    widest = std::max(widest, turn.usage.input_tokens + request.tokens_max);
    const bool sums_up = request.messages.back().content == CompactionSpec().instructions;
    if (sums_up) {
      ++summaries;
      if (fails) co_return Err(Code::unavailable, "not now");
      turn.message = says(is_silent ? "" : "looked " + std::to_string(seen) + " times");
    } else if (seen < looks_) {
      turn.message = calls("look", R"({"at":")" + std::string(90, 'x') + R"("})");
      turn.finish = FinishReason::tool_calls;
    } else {
      turn.message = says("done after " + std::to_string(seen));
    }
    requests.push_back(std::move(request));
    co_return turn;
  }
  std::string identity() const override { return "summing"; }

  int summaries = 0;
  bool fails = false;
  bool is_silent = false;
  std::int64_t widest = 0;
  std::vector<TurnRequest> requests;

 private:
  int looks_;
};

// Of small_fleet(): an agent that compacts in a window of 400 tokens.
inline Fleet compacting_fleet() {
  Fleet fleet = small_fleet();
  fleet.models[0].context_max = 400;
  fleet.models[0].tokens_max = 60;
  fleet.agents[0].instructions = "You look.";
  fleet.agents[0].limits.turns = 100;
  fleet.agents[0].limits.tool_calls = 100;
  fleet.agents[0].compaction.emplace();
  fleet.agents[0].compaction->tokens_max = 40;
  return fleet;
}

}  // namespace ambit::agents
