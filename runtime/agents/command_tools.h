#pragma once

// The command tools of a fleet file as a Toolbox: a call's arguments are put into the command line
// and the standard input, and the Runner does the rest in a jail. No shell is involved: one
// placeholder, one argument, whatever bytes it holds.

#include "agents/fleet.h"
#include "agents/ports.h"

#include <functional>
#include <string>
#include <vector>

namespace ambit::agents {

class CommandTools final : public Toolbox {
 public:
  // Gives the absolute path of a session's own work directory, made when it is first asked for.
  using WorkDirectory = std::function<Result<std::string>(const std::string& session)>;

  // Which agent a session is one of.
  using AgentOf = std::function<std::string(const std::string& session)>;

  // All is borrowed and outlives the toolbox.
  CommandTools(const Fleet& fleet, Runner& runner, WorkDirectory work_directory,
               AgentOf agent_of = nullptr);

  Task<Result<std::vector<ToolSpec>>> list() override;
  Task<Outcome> call(std::string session, ToolCall call) override;
  Task<Outcome> call_aloud(std::string session, ToolCall call, OnOutput on_output) override;

 private:
  const Fleet& fleet_;
  Runner& runner_;
  WorkDirectory work_directory_;
  AgentOf agent_of_;
};

// The jail call that a tool call becomes. Errors: arguments that are no object, a placeholder whose
// argument is missing, a NUL byte. Arguments left out that the schema does not require become "".
Result<JailCall> jail_call(const Fleet& fleet, const CommandToolSpec& tool,
                           const std::string& arguments, const std::string& work_directory);

}  // namespace ambit::agents
