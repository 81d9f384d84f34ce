#pragma once

// ToolPins: the definition of each tool as a person has approved it, by its hash. A tool that is
// new, or whose name, description or schema has changed since, is not called until a person has
// looked again: descriptions are instructions that the model reads.

#include "agents/ports.h"
#include "async/result.h"

#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace ambit::governance {

struct PinChange {
  enum class Kind : std::uint8_t { added, changed, removed };
  Kind kind = Kind::added;
  std::string tool;
  std::string pinned;  // hash; empty: there is none
  std::string found;
  friend bool operator==(const PinChange&, const PinChange&) = default;
};
std::string_view to_string(PinChange::Kind kind);

// SHA-256 hex over the canonical JSON of name, description, schema and what the tool says of its
// effects. Worked out here, and not taken from the server. Error: a schema that is no JSON.
Result<std::string> definition_hash(const agents::ToolSpec& tool);

class ToolPins {
 public:
  // {"tools": {"name": "hash"}}. Errors: other members, something that is no hash, names twice.
  static Result<ToolPins> from_json(std::string_view text);
  [[nodiscard]] std::string to_json() const;

  // What differs from the pins; empty: all is as it was approved.
  [[nodiscard]] Result<std::vector<PinChange>> compare(
      const std::vector<agents::ToolSpec>& tools) const;
  // Error (denied, with what a person can do) unless the tool is pinned as it is.
  [[nodiscard]] Result<void> check(const agents::ToolSpec& tool) const;
  // A person has looked at it.
  Result<void> pin(const agents::ToolSpec& tool);
  void remove(const std::string& name) { hashes_.erase(name); }
  [[nodiscard]] const std::map<std::string, std::string>& hashes() const { return hashes_; }

 private:
  std::map<std::string, std::string> hashes_;
};

}  // namespace ambit::governance
