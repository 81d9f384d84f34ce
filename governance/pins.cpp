#include "governance/pins.h"

#include "log/canonical_json.h"
#include "log/sha256.h"

#include <nlohmann/json.hpp>

#include <set>

namespace ambit::governance {

using agents::ToolSpec;
using nlohmann::json;

std::string_view to_string(PinChange::Kind kind) {
  switch (kind) {
    case PinChange::Kind::added:
      return "added";
    case PinChange::Kind::changed:
      return "changed";
    case PinChange::Kind::removed:
      return "removed";
  }
  return "changed";
}

Result<std::string> definition_hash(const ToolSpec& tool) {
  // The schema as canonical text: its numbers may be larger than canonical JSON takes as numbers.
  std::string schema = tool.input_schema;
  const auto canonical = log::canonical_json(std::string_view(schema));
  if (canonical) schema = *canonical;
  if (!canonical && json::parse(schema, nullptr, false).is_discarded()) {
    return Err(Code::invalid, "tool " + tool.name + ": its schema is no JSON");
  }
  const json definition = {{"name", tool.name},
                           {"description", tool.description},
                           {"inputSchema", schema},
                           {"readOnly", tool.read_only},
                           {"destructive", tool.destructive},
                           {"idempotent", tool.idempotent}};
  auto text = log::canonical_json(definition);
  if (!text) return Err(std::move(text).error().context("tool " + tool.name));
  return log::to_hex(log::sha256(*text));
}

Result<ToolPins> ToolPins::from_json(std::string_view text) {
  // Canonical form first: it refuses names that are given twice.
  const std::string canonical = TRY(log::canonical_json(text));
  const json parsed = json::parse(canonical, nullptr, false);
  const bool shape = parsed.is_object() && parsed.size() == 1 && parsed.contains("tools") &&
                     parsed["tools"].is_object();
  if (!shape) return Err(Code::invalid, "tool pins are {\"tools\": {\"name\": \"hash\"}}");
  ToolPins pins;
  for (const auto& [name, hash] : parsed["tools"].items()) {
    const auto bytes = hash.is_string() ? log::from_hex(hash.get<std::string>())
                                        : Result<std::string>(std::string());
    if (!bytes || bytes->size() != 32) {
      return Err(Code::invalid, "the pin of " + name + " is no SHA-256 in hex");
    }
    pins.hashes_.emplace(name, hash.get<std::string>());
  }
  return pins;
}

std::string ToolPins::to_json() const {
  json tools = json::object();
  for (const auto& [name, hash] : hashes_) tools[name] = hash;
  return json{{"tools", tools}}.dump(2) + "\n";
}

Result<std::vector<PinChange>> ToolPins::compare(const std::vector<ToolSpec>& tools) const {
  std::vector<PinChange> changes;
  std::set<std::string> seen;
  for (const ToolSpec& tool : tools) {
    if (!seen.insert(tool.name).second) {
      return Err(Code::invalid, "two tools have the name " + tool.name);
    }
    const std::string found = TRY(definition_hash(tool));
    const auto pin = hashes_.find(tool.name);
    if (pin == hashes_.end()) {
      changes.push_back({PinChange::Kind::added, tool.name, "", found});
    } else if (pin->second != found) {
      changes.push_back({PinChange::Kind::changed, tool.name, pin->second, found});
    }
  }
  for (const auto& [name, hash] : hashes_) {
    if (!seen.contains(name)) changes.push_back({PinChange::Kind::removed, name, hash, ""});
  }
  return changes;
}

Result<void> ToolPins::check(const ToolSpec& tool) const {
  const std::string found = TRY(definition_hash(tool));
  const auto pin = hashes_.find(tool.name);
  if (pin != hashes_.end() && pin->second == found) return {};
  const std::string what =
      pin == hashes_.end() ? " was never approved" : " has changed since it was approved";
  return Err(Code::denied, "the tool " + tool.name + what + " (now " + found.substr(0, 16) +
                               "); a person must look at its definition and pin it");
}

Result<void> ToolPins::pin(const ToolSpec& tool) {
  hashes_[tool.name] = TRY(definition_hash(tool));
  return {};
}

}  // namespace ambit::governance
