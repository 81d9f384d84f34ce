#pragma once

// SkillBox: the skills of a fleet file as a Toolbox. Each is a tool "skill__NAME" that gives one of
// its files, so that an agent learns what a skill is for from the list of its tools and reads it
// when it needs it; policies, record and pins hold for it as for any tool. The digest of the tool
// covers every file: a skill that has changed is not the one that was pinned.

#include "agents/ports.h"
#include "mcp/skill.h"

#include <memory>
#include <string>
#include <vector>

namespace ambit::mcp {

using Skills = std::vector<std::shared_ptr<const Skill>>;

class SkillBox final : public agents::Toolbox {
 public:
  explicit SkillBox(Skills skills) : skills_(std::move(skills)) {}

  Task<Result<std::vector<agents::ToolSpec>>> list() override;
  // Arguments: {"file": "references/FORMS.md"}; without one, SKILL.md. 64 KiB of it at most.
  Task<agents::Outcome> call(std::string session, agents::ToolCall call) override;
  [[nodiscard]] const Skills& skills() const { return skills_; }

 private:
  Skills skills_;
};

}  // namespace ambit::mcp
