#pragma once

// Scripted ports for tests of the orchestration: a model that says what it is told to, a guard with
// one rule a tool, a journal in memory that can fail, a toolbox that counts.

#include "agents/fleet_run.h"
#include "agents/ports.h"
#include "runtime/async/fake_poller.h"

#include <map>
#include <set>
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
    due_s = request.due_s;
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
  std::int32_t due_s = 0;  // of the latest
  Duration thinks = std::chrono::milliseconds(1);

 private:
  std::vector<Message> script_;
};

// Says what `say` makes of the request.
class SayingModel final : public Model {
 public:
  explicit SayingModel(std::function<Message(const TurnRequest&)> say) : say_(std::move(say)) {}
  Task<Result<Turn>> generate(TurnRequest request) override {
    co_await delay(thinks);
    prompts.push_back(request.messages.back().content);
    Turn turn;
    turn.message = say_(request);
    if (turn.message.content == "FAIL") co_return Err(Code::unavailable, "it is down");
    turn.finish = turn.message.tool_calls.empty() ? FinishReason::stop : FinishReason::tool_calls;
    turn.usage.input_tokens = 10;
    turn.usage.output_tokens = 5;
    co_return turn;
  }
  std::string identity() const override { return name; }
  std::vector<std::string> prompts;
  std::string name = "saying";
  Duration thinks = std::chrono::milliseconds(1);

 private:
  std::function<Message(const TurnRequest&)> say_;
};

class TableGuard final : public Guard {
 public:
  Decision decide(const Action& action) override {
    Decision decision;
    const auto at = verdicts.find(action.tool);
    decision.verdict = at != verdicts.end() ? at->second : Verdict::allow;
    decision.reason = "rule of " + action.tool;
    decision.policies = {"table"};
    seen.push_back(action);
    return decision;
  }
  std::map<std::string, Verdict> verdicts;
  std::vector<Action> seen;
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
  Result<void> post(Event event) override {
    if (static_cast<std::int64_t>(events.size()) >= fail_after)
      return Err(Code::unavailable, "the disk is full");
    events.push_back(std::move(event));
    return {};
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

// People who answer as they are told, after a while. What is asked and used outlives a crash.
class FakeApprovals final : public Approvals {
 public:
  Task<Result<ApprovalTicket>> ask(Action action, Decision decision) override {
    co_await delay(std::chrono::milliseconds(1));
    for (const auto& [id, known] : asked) {
      if (known.id == action.id && !used.contains(id)) co_return ApprovalTicket{id, 0};
    }
    const std::string id = "request-" + std::to_string(asked.size() + 1);
    reasons.push_back(decision.reason);
    last_obligations = decision.obligations;
    asked.emplace(id, std::move(action));
    co_return ApprovalTicket{id, 1000};
  }
  Task<Result<ApprovalAnswer>> answered(std::string id) override {
    ++waiting;
    co_await delay(takes);
    --waiting;
    const auto known = answers.find(id);
    ApprovalAnswer answer = known != answers.end() ? known->second : standard;
    if (answer.end == ApprovalEnd::modified) {
      Action next = asked.at(id);
      next.arguments = answer.arguments;
      answer.successor = id + "-changed";
      asked.emplace(answer.successor, std::move(next));
      answers[answer.successor] = {ApprovalEnd::approved, answer.by, "", ""};
    }
    co_return answer;
  }
  Task<Result<bool>> use(std::string id, Action action, Decision decision) override {
    co_await delay(std::chrono::milliseconds(1));
    used_by.push_back(std::move(decision));
    const Action& approved = asked.at(id);
    if (approved.id != action.id || approved.arguments != action.arguments) {
      co_return Err(Code::denied, "approval_action_mismatch");
    }
    if (!used.insert(id).second) co_return false;
    co_return true;
  }
  std::map<std::string, Action> asked;
  std::map<std::string, ApprovalAnswer> answers;
  ApprovalAnswer standard{ApprovalEnd::approved, "eve", "", ""};
  std::vector<std::string> reasons;
  std::vector<std::pair<std::string, std::string>> last_obligations;
  std::set<std::string> used;
  std::vector<Decision> used_by;
  Duration takes = std::chrono::seconds(60);
  int waiting = 0;
};

// So many calls of tools in all.
class CallQuota final : public Quotas {
 public:
  explicit CallQuota(std::int64_t most) : most_(most) {}
  Result<std::uint64_t> reserve(const Action& action, const Spending& most) override {
    if (held_ + spent + most.calls > most_) {
      return Err(Code::exhausted, "the quota of " + action.tool + " is used up");
    }
    held_ += most.calls;
    holds_[++last_] = most.calls;
    return last_;
  }
  void settle(std::uint64_t id, const Spending& now, bool /*failed*/) override {
    cancel(id);
    spent += now.calls;
  }
  void cancel(std::uint64_t id) override {
    held_ -= holds_.at(id);
    holds_.erase(id);
  }
  std::int64_t spent = 0;

 private:
  std::int64_t most_;
  std::int64_t held_ = 0;
  std::uint64_t last_ = 0;
  std::map<std::uint64_t, std::int64_t> holds_;
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
