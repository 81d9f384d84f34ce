#pragma once

// Memory, as the fleet file names it and as agents read it: what a store may hold, what its tools
// are called, and the form of a kept value in a tool's result. Each such value says where it came
// from, so that the guard, a resumed session and a replay know it from the text alone.
// runtime/memory keeps the values.

#include "agents/ports.h"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace ambit::agents {

// One store of the fleet file.
struct MemorySpec {
  std::string name;
  bool is_shared = false;  // all agents that name it see the same entries; else each has its own
  std::int64_t entries_max = 1000;
  std::int64_t entry_bytes_max = 8 << 10;
  std::int64_t bytes_max = 4 << 20;
  std::int64_t lifetime_ms = 0;  // of an entry, from its last write on; 0: for ever
  friend bool operator==(const MemorySpec&, const MemorySpec&) = default;
};

// Of "memory__notes__put" the store "notes" and the operation "put"; both empty: another tool.
struct MemoryTool {
  std::string_view store;
  std::string_view operation;
};
MemoryTool memory_tool(std::string_view name);
inline constexpr std::string_view memory_prefix = "memory__";

// A kept value as an agent reads it.
struct Remembered {
  std::string key;
  std::string value;
  bool cut = false;  // `value` is its beginning alone
  // How far it could be believed when it was kept, and where it had been read then.
  Trust trust = Trust::untrusted;
  std::vector<std::string> sources;
  bool tainted = true;  // whoever kept it had read something that nobody vouches for
  std::string agent;    // who kept it
  std::string session;
  friend bool operator==(const Remembered&, const Remembered&) = default;
};
// One JSON object; appends it to `out`.
void append_json(std::string& out, const Remembered& value);

// The values in the result of a memory's tool: one object, or the "entries" of one. An error
// (invalid): a text that is no such result, of which nothing is to be believed.
Result<std::vector<Remembered>> read_remembered(std::string_view result);

// Whether a session that reads this result has read something that nobody vouches for.
bool taints(std::string_view tool, std::string_view result);

}  // namespace ambit::agents
