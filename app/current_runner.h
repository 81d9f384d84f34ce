#pragma once

// CurrentRunner: the tasks of one exposed agent, each run by the agent as the fleet file said when
// its conversation began. A reload gives new conversations the new agent; the older ones go on with
// theirs, the most recent of them.

#include "a2a/agent_runner.h"
#include "app/assembly.h"

#include <cstddef>
#include <deque>
#include <list>
#include <memory>
#include <string>
#include <unordered_map>

namespace ambit::app {

class CurrentRunner final : public a2a::TaskRunner {
 public:
  // One reading of the fleet file; the runner points into it.
  struct Edition {
    std::shared_ptr<Generation> generation;  // null: the first reading, which the assembly has
    std::unique_ptr<a2a::AgentRunner> runner;
  };

  explicit CurrentRunner(std::shared_ptr<Edition> first) : now_(std::move(first)) {}

  // For new conversations, from now on.
  void adopt(std::shared_ptr<Edition> next);
  // Lets go of editions that are too many, once nothing of them is left to record.
  Task<void> trim();

  Task<Result<std::optional<a2a::Message>>> answer(a2a::Run run) override;
  Task<Result<void>> run(a2a::Run run, a2a::RunEvents& events) override;
  Task<Result<void>> resume(a2a::Run run, a2a::TaskRecord so_far, a2a::RunEvents& events) override;

  // Of all editions; see AgentRunner.
  Task<void> settle();
  void leave_open();
  [[nodiscard]] const std::vector<agents::ToolSpec>& tools() const { return now_->runner->tools(); }

 private:
  struct Conversation {
    std::shared_ptr<Edition> edition;
    std::list<std::string>::iterator recent;
  };
  std::shared_ptr<Edition> edition_of(const a2a::Run& run);
  void forget(const Edition& edition);

  std::shared_ptr<Edition> now_;
  std::deque<std::shared_ptr<Edition>> older_;  // the oldest first
  std::unordered_map<std::string, Conversation> conversations_;
  std::list<std::string> recent_;  // the newest first
};

}  // namespace ambit::app
