// The memories of a fleet file, and which agents have them.

#include "agents/fleet_parser.h"

#include <algorithm>

namespace ambit::agents {

void FleetParser::memory(Reader& reader, const std::string& name) {
  MemorySpec spec;
  spec.name = name;
  // Its tools' names must begin those of no other store.
  if (name.find("__") != std::string::npos || name.ends_with('_')) {
    reader.report(reader.node(), reader.path(),
                  "a memory's name holds no \"__\" and does not end in '_'");
  }
  const std::string scope = reader.text("scope", "agent");
  reader.known("scope", scope, {"agent", "shared"}, "scope");
  spec.is_shared = scope == "shared";
  spec.entries_max = reader.integer("maxEntries", spec.entries_max, 1, 1'000'000);
  // A result that is read whole must hold it.
  spec.entry_bytes_max = reader.quantity("maxEntryBytes", spec.entry_bytes_max, false, kib * 24);
  spec.bytes_max = reader.quantity("maxBytes", spec.bytes_max, false, kib * kib * kib);
  spec.lifetime_ms = reader.quantity("timeToLive", 0, true, 86'400'000LL * 3650);
  reader.done();
  file_.fleet.memories.push_back(std::move(spec));
}

// The stores that an agent has; their tools come with them.
void FleetParser::own_memory(Reader& reader, AgentSpec& spec) {
  spec.memory = reader.texts("memory");
  const Node* node = reader.get("memory");
  for (std::size_t i = 0; i < spec.memory.size() && i < node->items.size(); ++i) {
    reader.known(node->items[i], reader.at("memory") + "[" + std::to_string(i) + "]",
                 spec.memory[i], names_of(file_.fleet.memories), "memory");
    spec.tools.push_back(std::string(memory_prefix) + spec.memory[i] + "__*");
  }
}

// Results that are too large for a conversation are kept, within these bounds.
void FleetParser::artifacts(Reader& top) {
  const Node* node = top.get("artifacts", Node::Kind::object);
  if (node == nullptr) return;
  Reader reader(file_.problems, *node, "artifacts");
  ArtifactSpec spec;
  spec.bytes_max = reader.quantity("maxBytes", spec.bytes_max, false, kib * kib * 16);
  spec.total_max = reader.quantity("maxTotal", spec.total_max, false, kib * kib * kib * 64);
  reader.done();
  file_.fleet.artifacts = spec;
}

void append_memory_tools(const Fleet& fleet, std::vector<std::string>& names) {
  for (const MemorySpec& memory : fleet.memories) {
    for (const char* operation : {"get", "list", "search", "put", "delete"}) {
      names.push_back(std::string(memory_prefix) + memory.name + "__" + operation);
    }
  }
}

}  // namespace ambit::agents
