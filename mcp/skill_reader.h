#pragma once

// SkillReader: the skills of a server, over a Client that has connected. Nothing is read ahead of
// need; what is read counts only if it is what the skill's entry says (size, digest, front matter),
// and a file that the entry does not list is not asked for.

#include "mcp/client.h"
#include "mcp/skill.h"

#include <string>
#include <vector>

namespace ambit::mcp {

struct SkillList {
  std::vector<SkillEntry> skills;     // in the server's order
  std::vector<std::string> rejected;  // entries left out, and why
};

class SkillReader {
 public:
  // The client is borrowed and outlives it.
  explicit SkillReader(Client& client) : client_(client) {}

  // What the server has declared. Without it every call below is Code::unsupported.
  [[nodiscard]] bool is_offered() const;
  [[nodiscard]] bool reads_directories() const;

  Task<Result<SkillList>> list();
  // A listing may leave a skill out: whoever knows its URI can ask.
  Task<Result<SkillEntry>> get(std::string uri);
  // The bytes of a file of the skill, verified. Code::denied: they are not what the entry says.
  Task<Result<std::string>> read(SkillEntry held, std::string uri);
  // The direct children of a directory as Resources: a live view, which extends no entry.
  Task<Result<Value>> directory(std::string uri);

 private:
  [[nodiscard]] Result<void> check_offered() const;
  Task<Result<Value>> ask(std::string method, std::string uri);
  Client& client_;
};

}  // namespace ambit::mcp
