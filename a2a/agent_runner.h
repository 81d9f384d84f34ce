#pragma once

// AgentRunner: the port to our own agents. Each message of a task becomes a session of one agent of
// the fleet, gated, budgeted and recorded like any other, in the run that has the task's id; what
// the session comes to becomes the task's state. Its words are told while they are decoded. An
// action that waits for a person's approval shows as AUTH_REQUIRED.

#include "a2a/card.h"
#include "a2a/runner.h"
#include "agents/turn_loop.h"
#include "async/channel.h"
#include "async/scope.h"

#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace ambit::a2a {

struct AgentRunnerOptions {
  std::uint64_t seed = 0;
  std::size_t sessions_max = 256;                  // at once; further tasks wait as SUBMITTED
  std::size_t conversations_max = 1000;            // that are remembered, by context
  std::size_t conversation_bytes_max = 64 << 10;   // a longer one loses its oldest messages
  std::size_t depth_max = 4;                       // of agents that call agents
  std::map<std::string, agents::Model*> models{};  // by name, for those that a model falls back to
};

class SessionWords;

class AgentRunner final : public TaskRunner {
 public:
  // All is borrowed and outlives the runner, which outlives the Service.
  AgentRunner(const agents::Fleet& fleet, const agents::AgentSpec& agent, agents::Model& model,
              agents::Ports ports, AgentRunnerOptions options = {});
  ~AgentRunner() override;

  // Lists the tools that the agent is offered. Before the first run.
  Task<Result<void>> open(std::vector<agents::Toolbox*> toolboxes);
  // Waits until the record has the end of every session that was cut off.
  Task<void> settle();
  // From now on a session that is cut off stays open in the record: the next start goes on with it.
  void leave_open() { leaves_open_ = true; }

  Task<Result<std::optional<Message>>> answer(Run run) override;
  Task<Result<void>> run(Run run, RunEvents& events) override;
  // Goes on where the record of the message's session ends.
  Task<Result<void>> resume(Run run, TaskRecord so_far, RunEvents& events) override;

  [[nodiscard]] const std::vector<agents::ToolSpec>& tools() const { return *catalogue_.specs; }

 private:
  class Ending;
  struct Conversation {
    std::vector<agents::Message> messages;
    bool tainted = false;
    std::list<std::string>::iterator recent;
  };

  [[nodiscard]] Result<void> check_depth(const Run& run) const;
  Result<agents::SessionState> recorded(const Run& run);
  Result<std::string> prompt_of(const Message& message) const;
  Task<Result<void>> keep_files(Run& run);
  Task<Result<void>> append(agents::Event event);
  agents::SessionStarted started_by(const Run& run, const std::string& prompt) const;
  Task<Result<void>> work(Run run, std::string prompt, agents::SessionState& state,
                          SessionWords& words);
  static Task<Result<void>> run_aloud(agents::TurnLoop& loop, agents::SessionState& state,
                                      SessionWords& words);
  Task<Result<void>> tell(const agents::SessionState& state, SessionWords& words,
                          RunEvents& events);
  void remember(const std::string& key, const std::string& prompt,
                const agents::SessionState& state);
  Task<void> record_end(agents::Event ended);

  const agents::Fleet& fleet_;
  const agents::AgentSpec& agent_;
  agents::Model& model_;
  agents::Ports ports_;
  AgentRunnerOptions options_;
  agents::Catalogue catalogue_;
  std::map<std::string, Conversation> conversations_;  // by caller, tenant and context
  std::list<std::string> recent_;                      // their keys, the latest in front
  Semaphore places_;
  bool leaves_open_ = false;
  Scope endings_;
};

// What everybody may know of the agent, and what its callers may: there each tool is a skill.
AgentCard card_of(const agents::Fleet& fleet, const agents::AgentSpec& agent,
                  const std::string& url, bool speaks_0_3, bool needs_bearer_token);
AgentCard extended_card_of(AgentCard card, const std::vector<agents::ToolSpec>& tools);

}  // namespace ambit::a2a
