#include "governance/action_schema.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <map>

namespace ambit::governance {
namespace {

using nlohmann::json;

constexpr std::size_t depth_max = 16;

constexpr std::string_view head =
    R"(// What the policies of an Ambit fleet see. POLICY.md says what each attribute means.

entity Fleet;
entity Toolbox;

entity Agent in [Fleet] {
  name: String,
  autonomyLevel: Long,
  onBehalfOf: String,
};
entity Tool in [Toolbox, Memory] {
  name: String,
  readOnly: Bool,
  destructive: Bool,
  reversibility: String,
  risk: String,
  digest?: String,
  server?: String,
};
entity Model { name: String };
entity Memory { name: String };
entity Host { name: String };

type Budget = {
  turns?: Long,
  toolCalls?: Long,
  tokens?: Long,
  wallMs?: Long,
};
type Origin = {
  trust: String,
  weak: Bool,
  sources: Set<String>,
};
)";

constexpr std::string_view context = R"(
type Context = {
  arguments: Arguments,
  provenance: Provenance,
  unvouched: Set<String>,
  untrusted: Set<String>,
  tainted: Bool,
  budgetLeft: Budget,
  onBehalfOf: String,
  session: String,
  chain: Set<String>,
  depth: Long,
};

action effect;
action model_call in [effect] appliesTo { principal: [Agent], resource: [Model], context: Context };
action tool_call in [effect] appliesTo { principal: [Agent], resource: [Tool], context: Context };
action delegation in [effect] appliesTo { principal: [Agent], resource: [Agent], context: Context };
action message, spawn in [effect]
  appliesTo { principal: [Agent], resource: [Agent, Tool], context: Context };
action memory_write in [effect]
  appliesTo { principal: [Agent], resource: [Memory, Tool], context: Context };
action egress in [effect] appliesTo { principal: [Agent], resource: [Host, Tool], context: Context };
)";

std::string record_of(const json& schema, std::size_t depth, const std::string& margin);

// Empty: Cedar has no one type for it.
std::string type_of(const json& schema, std::size_t depth, const std::string& margin) {
  if (!schema.is_object() || depth > depth_max) return {};
  const json kind = schema.value("type", json());
  if (kind == "string") return "String";
  if (kind == "integer") return "Long";
  if (kind == "boolean") return "Bool";
  if (kind == "array") {
    const std::string of = type_of(schema.value("items", json()), depth + 1, margin);
    return of.empty() ? "" : "Set<" + of + ">";
  }
  if (kind == "object") return record_of(schema, depth + 1, margin + "  ");
  return {};
}

std::string record_of(const json& schema, std::size_t depth, const std::string& margin) {
  std::string text = "{\n";
  const json members = schema.value("properties", json::object());
  for (const auto& [name, member] : members.items()) {
    const std::string type = type_of(member, depth, margin);
    if (!type.empty()) text += margin + "  " + cedar::quote(name) + "?: " + type + ",\n";
  }
  return text + margin + "}";
}

}  // namespace

std::string action_schema(const std::vector<agents::ToolSpec>& tools) {
  std::map<std::string, std::string> types;  // by argument; empty: it has several
  for (const agents::ToolSpec& tool : tools) {
    const json schema = json::parse(tool.input_schema, nullptr, false);
    if (!schema.is_object()) continue;
    const json members = schema.value("properties", json::object());
    for (const auto& [name, member] : members.items()) {
      const std::string type = type_of(member, 0, "  ");
      const auto [at, fresh] = types.emplace(name, type);
      if (!fresh && at->second != type) at->second.clear();
    }
  }
  std::string arguments;
  std::string provenance;
  for (const auto& [name, type] : types) {
    provenance += "  " + cedar::quote(name) + "?: Origin,\n";
    if (!type.empty()) arguments += "  " + cedar::quote(name) + "?: " + type + ",\n";
  }
  return std::string(head) + "type Arguments = {\n" + arguments + "};\ntype Provenance = {\n" +
         provenance + "};\n" + std::string(context);
}

Result<void> check_action(const agents::Action& action, const GuardOptions& options,
                          const cedar::Schema& schema) {
  const CedarCall call = TRY(to_cedar(action, options));
  const auto* uid = call.request.action.as<cedar::EntityUid>();
  const cedar::ActionType* type = schema.action(*uid);
  if (type == nullptr) return Err(Code::not_found, "there is no action " + cedar::to_text(*uid));
  for (const cedar::Value* of : {&call.request.principal, &call.request.resource}) {
    const auto* entity = call.entities.find(*of->as<cedar::EntityUid>());
    const auto& allowed = of == &call.request.principal ? type->principals : type->resources;
    const bool fits = std::find(allowed.begin(), allowed.end(), entity->uid.type) != allowed.end();
    if (!fits) return Err(Code::invalid, cedar::to_text(entity->uid) + " does not take part in it");
    TRY(cedar::conforms(cedar::Value(entity->attributes),
                        schema.entity_type(entity->uid.type)->attributes, schema));
  }
  cedar::Record seen = *call.request.context.as<cedar::Record>();
  seen.set("arguments", cedar::Value(cedar::Record{}));
  seen.set("provenance", cedar::Value(cedar::Record{}));
  return cedar::conforms(cedar::Value(std::move(seen)), type->context, schema);
}

}  // namespace ambit::governance
