#include "agents/memory.h"

#include "agents/json_writer.h"

#include <nlohmann/json.hpp>

#include <array>
#include <utility>

namespace ambit::agents {
namespace {

using nlohmann::json;

constexpr std::array<Trust, 4> trust_levels = {Trust::user, Trust::trusted, Trust::unknown,
                                               Trust::untrusted};

// A member of that type, or an error.
template <class T>
Result<T> kept_member(const json& object, const char* name, bool (json::*is)() const noexcept) {
  const auto at = object.find(name);
  if (at == object.end() || !((*at).*is)()) {
    return Err(Code::invalid, std::string("a kept value has no ") + name);
  }
  return at->get<T>();
}

Result<Remembered> remembered_of(const json& object) {
  Remembered value;
  if (!object.is_object()) return Err(Code::invalid, "a kept value is an object");
  value.key = TRY(kept_member<std::string>(object, "key", &json::is_string));
  value.value = TRY(kept_member<std::string>(object, "value", &json::is_string));
  value.tainted = TRY(kept_member<bool>(object, "tainted", &json::is_boolean));
  value.cut = object.contains("cut");
  value.agent = TRY(kept_member<std::string>(object, "agent", &json::is_string));
  value.session = TRY(kept_member<std::string>(object, "session", &json::is_string));
  const std::string trust = TRY(kept_member<std::string>(object, "trust", &json::is_string));
  for (const Trust one : trust_levels) {
    if (trust == to_string(one)) value.trust = one;
  }
  const auto sources = object.find("sources");
  if (sources == object.end() || !sources->is_array()) {
    return Err(Code::invalid, "a kept value has no sources");
  }
  for (const json& source : *sources) {
    if (source.is_string()) value.sources.push_back(source.get<std::string>());
  }
  return value;
}

}  // namespace

MemoryTool memory_tool(std::string_view name) {
  if (!name.starts_with(memory_prefix)) return {};
  name.remove_prefix(memory_prefix.size());
  const std::size_t at = name.rfind("__");
  if (at == std::string_view::npos || at == 0) return {};
  return {name.substr(0, at), name.substr(at + 2)};
}

void append_json(std::string& out, const Remembered& value) {
  JsonWriter writer(out);
  writer.begin_object().key("key").text(value.key).key("value").text(value.value);
  if (value.cut) writer.key("cut").boolean(true);
  writer.key("trust").text(to_string(value.trust)).key("sources").begin_array();
  for (const std::string& source : value.sources) writer.text(source);
  writer.end_array().key("tainted").boolean(value.tainted);
  writer.key("agent").text(value.agent).key("session").text(value.session).end_object();
}

Result<std::vector<Remembered>> read_remembered(std::string_view result) {
  const json parsed = json::parse(result, nullptr, false);
  if (!parsed.is_object()) return Err(Code::invalid, "it is no JSON object");
  std::vector<Remembered> values;
  const auto entries = parsed.find("entries");
  if (entries == parsed.end()) {
    if (parsed.contains("value")) values.push_back(TRY(remembered_of(parsed)));
    return values;
  }
  if (!entries->is_array()) return Err(Code::invalid, "its entries are no array");
  for (const json& entry : *entries) {
    // A listing names keys without their values.
    if (entry.is_object() && !entry.contains("value")) continue;
    values.push_back(TRY(remembered_of(entry)));
  }
  return values;
}

bool taints(std::string_view tool, std::string_view result) {
  const MemoryTool of = memory_tool(tool);
  if (of.store.empty()) return true;
  // What it wrote, it knew before. The names of keys were chosen by whoever kept them.
  if (of.operation == "put" || of.operation == "delete") return false;
  const json parsed = json::parse(result, nullptr, false);
  if (!parsed.is_object()) return true;
  const auto said = parsed.find("tainted");
  return said == parsed.end() || !said->is_boolean() || said->get<bool>();
}

}  // namespace ambit::agents
