// An action as Cedar sees it: principal, action, resource and context. POLICY.md is the manual.

#include "governance/cedar_call.h"

#include "agents/memory.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <charconv>
#include <utility>

namespace ambit::governance {
namespace {

using agents::Action;
using agents::ActionKind;
using cedar::Entity;
using cedar::Record;
using cedar::Value;
using nlohmann::json;

// A number with a fraction: a decimal where four digits after the point hold it exactly, else its
// text.
Value fraction_value(double number) {
  std::array<char, 400> buffer{};
  const auto end =
      std::to_chars(buffer.data(), buffer.data() + buffer.size(), number, std::chars_format::fixed);
  std::string text(buffer.data(), end.ptr);
  if (text.find('.') == std::string::npos) text += ".0";
  const auto decimal = cedar::parse_decimal(text);
  if (decimal) return Value(*decimal);
  return Value(json(number).dump());
}

// Null has no counterpart and is left out. Nothing in the arguments can become an entity: they are
// said by the model.
std::optional<Value> argument_value(const json& value) {
  switch (value.type()) {
    case json::value_t::boolean:
      return Value(value.get<bool>());
    case json::value_t::string:
      return Value(value.get<std::string>());
    case json::value_t::number_integer:
      return Value(value.get<std::int64_t>());
    case json::value_t::number_unsigned:
      if (value.get<std::uint64_t>() > INT64_MAX) return Value(value.dump());
      return Value(value.get<std::int64_t>());
    case json::value_t::number_float:
      return fraction_value(value.get<double>());
    case json::value_t::array: {
      std::vector<Value> elements;
      for (const json& element : value) {
        auto made = argument_value(element);
        if (made) elements.push_back(std::move(*made));
      }
      return Value(cedar::make_set(std::move(elements)));
    }
    case json::value_t::object: {
      Record record;
      for (const auto& [name, field] : value.items()) {
        auto made = argument_value(field);
        if (made) record.set(name, std::move(*made));
      }
      return Value(std::move(record));
    }
    default:
      return std::nullopt;
  }
}

Result<Value> arguments_value(const Action& action, const GuardOptions& options) {
  if (action.arguments.empty()) return Value(Record{});
  if (action.arguments.size() > options.argument_bytes_max) {
    return Err(Code::invalid, "the arguments have " + std::to_string(action.arguments.size()) +
                                  " bytes, more than " +
                                  std::to_string(options.argument_bytes_max));
  }
  if (nesting(action.arguments) > options.argument_depth_max) {
    return Err(Code::invalid, "the arguments are nested deeper than " +
                                  std::to_string(options.argument_depth_max) + " levels");
  }
  const json parsed = json::parse(action.arguments, nullptr, false);
  if (!parsed.is_object()) return Err(Code::invalid, "the arguments are not a JSON object");
  return *argument_value(parsed);
}

// What a tool does is of the tool, whatever kind of effect it is.
std::string_view resource_type(const Action& action) {
  const bool by_tool = !action.reversibility.empty();
  if (by_tool && action.kind != ActionKind::model_call && action.kind != ActionKind::delegation) {
    return "Tool";
  }
  switch (action.kind) {
    case ActionKind::model_call:
      return "Model";
    case ActionKind::tool_call:
      return "Tool";
    case ActionKind::delegation:
    case ActionKind::message:
    case ActionKind::spawn:
      return "Agent";
    case ActionKind::memory_write:
      return "Memory";
    case ActionKind::egress:
      return "Host";
  }
  return "Tool";
}

// Of "mcp__registry__lookup" the "registry"; empty for other tools.
std::string server_of(const std::string& tool) {
  constexpr std::string_view prefix = "mcp__";
  if (!tool.starts_with(prefix)) return {};
  const std::size_t end = tool.find("__", prefix.size());
  return end == std::string::npos ? std::string() : tool.substr(prefix.size(), end - prefix.size());
}

Entity agent_entity(const std::string& name, const Action& action, const GuardOptions& options,
                    const AutonomyLevels* levels) {
  Entity agent;
  agent.uid = {"Agent", name};
  const auto facts = options.agents.find(name);
  const AgentFacts known = facts == options.agents.end() ? AgentFacts{} : facts->second;
  agent.attributes.set("name", Value(name));
  // What the action says is what held when it was proposed: a replay of it decides by that.
  const bool said = name == action.agent && action.autonomy_level > 0;
  const std::int64_t held = levels != nullptr ? levels->of(name) : known.autonomy_level;
  agent.attributes.set("autonomyLevel", Value(said ? action.autonomy_level : held));
  agent.attributes.set("onBehalfOf", Value(action.on_behalf_of));
  agent.parents.push_back({"Fleet", options.fleet});
  return agent;
}

Entity resource_entity(const Action& action, const GuardOptions& options,
                       const AutonomyLevels* levels) {
  const std::string type(resource_type(action));
  if (type == "Agent") return agent_entity(action.tool, action, options, levels);
  Entity resource;
  resource.uid = {type, action.tool};
  resource.attributes.set("name", Value(action.tool));
  if (type != "Tool") return resource;
  const ToolFacts& facts = facts_of(options, action.tool);
  resource.attributes.set("readOnly", Value(action.read_only));
  resource.attributes.set("destructive", Value(action.destructive));
  resource.attributes.set(
      "reversibility",
      Value(action.reversibility.empty() ? reversibility_of(action, facts) : action.reversibility));
  resource.attributes.set("risk", Value(action.risk.empty() ? facts.risk : action.risk));
  if (!action.tool_digest.empty()) resource.attributes.set("digest", Value(action.tool_digest));
  const agents::MemoryTool memory = agents::memory_tool(action.tool);
  if (!memory.store.empty()) resource.parents.push_back({"Memory", std::string(memory.store)});
  const std::string server = server_of(action.tool);
  if (server.empty()) return resource;
  resource.attributes.set("server", Value(server));
  resource.parents.push_back({"Toolbox", server});
  return resource;
}

Value text_set(const std::vector<std::string>& texts) {
  std::vector<Value> values;
  values.reserve(texts.size());
  for (const std::string& text : texts) values.emplace_back(text);
  return Value(cedar::make_set(std::move(values)));
}

// Nothing that could carry a value: it needs no origin.
bool is_empty(const Value& value) {
  const auto* text = value.as<std::string>();
  const auto* set = value.as<cedar::Set>();
  const auto* record = value.as<Record>();
  return (text != nullptr && text->empty()) || (set != nullptr && set->elements.empty()) ||
         (record != nullptr && record->fields.empty());
}

// `provenance`, and the names of the arguments that nobody vouches for. An argument without an
// origin was never looked up, so it counts among them.
void add_provenance(const Action& action, const Record& arguments, Record& context) {
  Record provenance;
  std::vector<std::string> unvouched;
  std::vector<std::string> untrusted;
  for (const auto& [name, value] : arguments.fields) {
    const auto at = std::find_if(action.origins.begin(), action.origins.end(),
                                 [&](const auto& one) { return one.argument == name; });
    if (at == action.origins.end()) {
      if (!is_empty(value)) unvouched.push_back(name);
      continue;
    }
    Record origin;
    origin.set("trust", Value(std::string(to_string(at->trust))));
    origin.set("weak", Value(at->weak));
    origin.set("sources", text_set(at->sources));
    provenance.set(name, Value(std::move(origin)));
    if (at->trust > agents::Trust::trusted) unvouched.push_back(name);
    if (at->trust == agents::Trust::untrusted) untrusted.push_back(name);
  }
  context.set("provenance", Value(std::move(provenance)));
  context.set("unvouched", text_set(unvouched));
  context.set("untrusted", text_set(untrusted));
}

// What may still be spent. A budget without limit (-1) has no field, so that no policy takes it for
// spent.
Value budget_value(const agents::Budget& left) {
  Record record;
  const auto add = [&record](const char* name, std::int64_t amount) {
    if (amount >= 0) record.set(name, Value(amount));
  };
  add("turns", left.turns);
  add("toolCalls", left.tool_calls);
  add("tokens", left.tokens);
  add("wallMs", left.wall_ms);
  return Value(std::move(record));
}

}  // namespace

std::size_t nesting(std::string_view text) {
  std::size_t depth = 0;
  std::size_t deepest = 0;
  bool in_string = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string && c == '\\') {
      ++i;
    } else if (c == '"') {
      in_string = !in_string;
    } else if (!in_string && (c == '[' || c == '{')) {
      deepest = std::max(deepest, ++depth);
    } else if (!in_string && (c == ']' || c == '}') && depth > 0) {
      --depth;
    }
  }
  return deepest;
}

const ToolFacts* find_facts(const GuardOptions& options, const std::string& tool) {
  const auto at = options.tools.find(tool);
  if (at != options.tools.end()) return &at->second;
  const ToolFacts* found = nullptr;
  std::size_t longest = 0;
  for (const auto& [name, facts] : options.tools) {
    if (!name.ends_with('*') || name.size() <= longest) continue;
    if (!tool.starts_with(std::string_view(name).substr(0, name.size() - 1))) continue;
    found = &facts;
    longest = name.size();
  }
  return found;
}

const ToolFacts& facts_of(const GuardOptions& options, const std::string& tool) {
  static const ToolFacts unsaid{};
  const ToolFacts* found = find_facts(options, tool);
  return found == nullptr ? unsaid : *found;
}

std::string reversibility_of(const Action& action, const ToolFacts& facts) {
  if (!facts.reversibility.empty()) return facts.reversibility;
  if (action.read_only) return "none";
  return action.destructive ? "irreversible" : "reversible";
}

Result<CedarCall> to_cedar(const Action& action, const GuardOptions& options,
                           const AutonomyLevels* levels) {
  CedarCall call;
  Entity principal = agent_entity(action.agent, action, options, levels);
  Entity resource = resource_entity(action, options, levels);
  Entity effect;
  effect.uid = {"Action", std::string(to_string(action.kind))};
  effect.parents.push_back({"Action", "effect"});
  Record context;
  Value arguments = TRY(arguments_value(action, options));
  add_provenance(action, *arguments.as<Record>(), context);
  context.set("arguments", std::move(arguments));
  context.set("tainted", Value(action.tainted));
  context.set("budgetLeft", budget_value(action.left));
  context.set("onBehalfOf", Value(action.on_behalf_of));
  context.set("session", Value(action.session));
  context.set("chain", text_set(action.chain));
  context.set("depth", Value(static_cast<std::int64_t>(action.chain.size())));
  call.request = cedar::Request::make(principal.uid, effect.uid, resource.uid, std::move(context));
  std::vector<Entity> entities;
  entities.reserve(3);
  // An agent that acts on itself is one entity, not two.
  const bool same = principal.uid == resource.uid;
  entities.push_back(std::move(principal));
  entities.push_back(std::move(effect));
  if (!same) entities.push_back(std::move(resource));
  call.entities = TRY(cedar::Entities::create(std::move(entities)));
  return call;
}

}  // namespace ambit::governance
