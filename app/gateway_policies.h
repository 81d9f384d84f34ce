#pragma once

// Who may see and use what behind `ambit mcp gateway`, by Cedar policies as everywhere: the
// principal is Agent::"gateway", whoever asks stands in context.onBehalfOf, and the resource is the
// tool, prompt, skill or resource under the name that it is offered by, in its server's Toolbox.
// No person can be asked here: what needs an approval is refused. Who was refused what goes to
// stderr, a line of JSON each.

#include "agents/fleet.h"
#include "app/command.h"
#include "async/log.h"
#include "governance/guard.h"
#include "rpc/value.h"

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace ambit::app {

class GatewayPolicies {
 public:
  // `files` with commas between them; the fleet file says what its tools are (toolFacts).
  static Result<std::unique_ptr<GatewayPolicies>> open(const std::string& files,
                                                       const Context& context,
                                                       const agents::Fleet& fleet);

  // For lists: whether some call of it could be let through.
  [[nodiscard]] bool offers(const std::string& caller, const std::string& name) const;
  // For a call: its arguments as obligations leave them, or why not.
  Result<rpc::Value> permits(const std::string& caller, const std::string& name,
                             const rpc::Value& arguments);

 private:
  explicit GatewayPolicies(std::unique_ptr<governance::PolicyGuard> guard);
  [[nodiscard]] agents::Action action_of(const std::string& caller, const std::string& name) const;

  std::unique_ptr<governance::PolicyGuard> guard_;
  std::int64_t actions_ = 0;
  Log log_;
};

}  // namespace ambit::app
