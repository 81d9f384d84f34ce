#pragma once

// Scripted ports for tests of the orchestration: a model that says what it is told to, a guard with
// one rule a tool, a journal in memory that can fail, a toolbox that counts.

#include "agents/fleet_run.h"
#include "agents/ports.h"
#include "runtime/async/fake_poller.h"

#include <map>
#include <string>
#include <vector>

namespace ambit::agents {

inline Message says(std::string text) {
  return {Role::assistant, std::move(text), {}, "", ""};
}
inline Message calls(std::string tool, std::string arguments) {
  return {Role::assistant, "", {{"", std::move(tool), std::move(arguments)}}, "", ""};
}

// Answers turn n of every session with script[n]; past the end with "done".
class ScriptedModel final : public Model {
 public:
  explicit ScriptedModel(std::vector<Message> script) : script_(std::move(script)) {}
  Task<Result<Turn>> generate(TurnRequest request) override {
    co_await delay(thinks);
    ++turns;
    std::size_t said = 0;
    for (const Message& message : request.messages) said += message.role == Role::assistant ? 1 : 0;
    Turn turn;
    turn.message = said < script_.size() ? script_[said] : says("done");
    turn.finish = turn.message.tool_calls.empty() ? FinishReason::stop : FinishReason::tool_calls;
    turn.usage.input_tokens = 10;
    turn.usage.output_tokens = 5;
    co_return turn;
  }
  std::string identity() const override { return "scripted"; }
  int turns = 0;
  Duration thinks = std::chrono::milliseconds(1);

 private:
  std::vector<Message> script_;
};

class TableGuard final : public Guard {
 public:
  Decision decide(const Action& action) override {
    Decision decision;
    const auto at = verdicts.find(action.tool);
    decision.verdict = at != verdicts.end() ? at->second : Verdict::allow;
    decision.reason = "rule of " + action.tool;
    decision.policies = {"table"};
    return decision;
  }
  std::map<std::string, Verdict> verdicts;
};

class MemoryJournal final : public Journal {
 public:
  Task<Result<std::uint64_t>> append(Event event) override {
    co_await delay(std::chrono::microseconds(100));
    if (static_cast<std::int64_t>(events.size()) >= fail_after)
      co_return Err(Code::unavailable, "the disk is full");
    events.push_back(std::move(event));
    co_return events.size() - 1;
  }
  Result<void> read(const std::string& run,
                    const std::function<bool(const StoredEvent&)>& visit) override {
    for (std::size_t i = 0; i < events.size(); ++i) {
      if (events[i].run == run && !visit({i, 0, events[i]})) break;
    }
    return {};
  }
  std::vector<Event> events;
  std::int64_t fail_after = 1'000'000;
};

// One tool that the journal must have allowed before it runs.
class CountingTools final : public Toolbox {
 public:
  explicit CountingTools(std::vector<ToolSpec> specs) : specs_(std::move(specs)) {}
  Task<Result<std::vector<ToolSpec>>> list() override { co_return specs_; }
  Task<Outcome> call(std::string session, ToolCall call) override {
    ran.push_back(session + ":" + call.name + ":" + call.id);
    co_await delay(takes);
    Outcome outcome;
    outcome.content = "result of " + call.name;
    co_return outcome;
  }
  std::vector<std::string> ran;
  Duration takes = std::chrono::milliseconds(2);

 private:
  std::vector<ToolSpec> specs_;
};

inline ToolSpec tool(std::string name, bool idempotent) {
  ToolSpec spec;
  spec.name = std::move(name);
  spec.input_schema = R"({"type":"object"})";
  spec.idempotent = idempotent;
  return spec;
}

inline Fleet small_fleet() {
  Fleet fleet;
  fleet.name = "test";
  fleet.directory = "/fleet";
  fleet.profiles = preset_profiles();
  fleet.models.push_back({"m", "/m.gguf", {}, 64, 1024, "", "", ""});
  AgentSpec agent;
  agent.name = "clerk";
  agent.model = "m";
  agent.owner = "ops@example.com";
  agent.tools = {"*"};
  fleet.agents.push_back(agent);
  fleet.limits = {-1, -1, -1, -1};
  fleet.workflow.agent = "clerk";
  fleet.workflow.prompt = "Report ${id}.";
  return fleet;
}

inline Result<void> any_arguments(const std::string& /*schema*/, const std::string& /*arguments*/) {
  return {};
}

}  // namespace ambit::agents
