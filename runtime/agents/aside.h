#pragma once

// Aside: the gate for what happens beside a session's own story: what its jail asks for while a
// call runs, and sessions that begin on an agent's word. Like every other action it is decided and
// recorded before it happens, and people are asked where the policies say so. Its records are
// called FAMILY.decided, FAMILY.requested and FAMILY.answered, so that no session is folded from
// them.

#include "agents/ports.h"

#include <string>

namespace ambit::agents {

class Aside {
 public:
  // All outlive it. Without approvals what the policies escalate is refused.
  Aside(Guard& guard, Journal& journal, Approvals* approvals)
      : guard_(guard), journal_(journal), approvals_(approvals) {}

  // Empty: it may go on. Else why not. An error: the record failed, and nothing may happen.
  Task<Result<std::string>> pass(Action action, std::string family);
  // Records an event of the action's run, session and agent.
  Task<Result<void>> append(const Action& action, std::string type, std::string body);

 private:
  Task<Result<std::string>> ask_people(const Action& action, const Decision& decision,
                                       const std::string& family);

  Guard& guard_;
  Journal& journal_;
  Approvals* approvals_;
};

}  // namespace ambit::agents
