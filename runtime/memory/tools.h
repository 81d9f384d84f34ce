#pragma once

// MemoryTools: the memories of a fleet as a Toolbox: memory__STORE__get, list, search, put and
// delete. Each call takes the way of every other tool (policies, budget, record) before it comes
// here; a write is made once however often its call comes. What is kept says how far it could be
// believed and where it had been read, and says so again to whoever reads it.

#include "agents/memory.h"
#include "agents/ports.h"
#include "agents/roster.h"
#include "io/world.h"
#include "memory/store.h"

#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace ambit::memory {

// All is borrowed and outlives the toolbox.
struct ToolsPorts {
  io::Clock& clock;
  io::Workers& workers;
  const agents::Guard& guard;    // knows where values were read
  const agents::Roster& roster;  // knows the sessions
  // Which agent a session is one of that is not in the roster; empty: nobody knows.
  std::function<std::string(const std::string& session)> agent_of;
};

class MemoryTools final : public agents::Toolbox {
 public:
  MemoryTools(ToolsPorts ports, std::vector<agents::MemorySpec> specs,
              std::shared_ptr<Store> store);

  Task<Result<std::vector<agents::ToolSpec>>> list() override;
  Task<agents::Outcome> call(std::string session, agents::ToolCall call) override;

 private:
  struct Caller;
  struct Request;
  [[nodiscard]] Caller caller_of(const std::string& session) const;
  [[nodiscard]] Result<Request> request_of(const std::string& session,
                                           const agents::ToolCall& call) const;
  void trace(Entry& entry, const Caller& caller, const agents::ToolCall& call) const;

  ToolsPorts ports_;
  std::vector<agents::MemorySpec> specs_;
  std::shared_ptr<Store> store_;  // a worker may outlive this object
};

// The tools of one store.
std::vector<agents::ToolSpec> tools_of(const agents::MemorySpec& spec);

}  // namespace ambit::memory
