#include "mcp/skill_box.h"

#include "mcp/digest.h"
#include "mcp/json_text.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <utility>

namespace ambit::mcp {
namespace {

using agents::Outcome;
using agents::OutcomeKind;
using rpc::Json;

constexpr std::size_t content_bytes_max = 64 << 10;
constexpr const char* file_schema =
    R"({"type":"object","properties":{"file":{"type":"string","description":"a file of the skill; SKILL.md if you do not say"}},"additionalProperties":false})";

agents::ToolSpec to_spec(const Skill& skill) {
  agents::ToolSpec spec;
  spec.name = skill_tool_name(skill.entry.name);
  spec.digest = sha256_hex(rpc::canonical(to_value(skill.entry).json()));
  // Pins are of what is said of a tool: they bind the files by these digits.
  spec.description = "Read the skill \"" + skill.entry.name + "\": " + skill.entry.description +
                     " (files " + spec.digest.substr(0, 16) + ")";
  spec.input_schema = file_schema;
  spec.read_only = spec.idempotent = true;
  spec.destructive = false;
  return spec;
}

Outcome refuse(std::string why) {
  return Outcome::failed(OutcomeKind::bad_arguments, std::move(why));
}

Outcome give(const Skill& skill, const std::string& uri) {
  const Json contents = file_contents(skill, uri).json()["contents"][0];
  Outcome outcome;
  if (!contents.contains("text")) {
    outcome.content = "[" + text_of(contents, "mimeType") + ", " +
                      std::to_string(skill.files.at(uri).size()) + " bytes]";
    return outcome;
  }
  outcome.content = contents["text"].get<std::string>();
  if (outcome.content.size() <= content_bytes_max) return outcome;
  outcome.content = rpc::utf8_prefix(outcome.content, content_bytes_max);
  outcome.kind = OutcomeKind::output_limit;
  outcome.truncated = true;
  outcome.detail = "cut to " + std::to_string(content_bytes_max) + " bytes";
  return outcome;
}

}  // namespace

Task<Result<std::vector<agents::ToolSpec>>> SkillBox::list() {
  std::vector<agents::ToolSpec> specs;
  for (const auto& skill : skills_) specs.push_back(to_spec(*skill));
  co_return specs;
}

Task<Outcome> SkillBox::call(std::string /*session*/, agents::ToolCall call) {
  const auto at = std::find_if(skills_.begin(), skills_.end(), [&](const auto& skill) {
    return skill_tool_name(skill->entry.name) == call.name;
  });
  if (at == skills_.end()) co_return refuse("there is no skill \"" + call.name + "\"");
  const auto given = Value::parse(call.arguments.empty() ? "{}" : call.arguments);
  if (!given || !given->json().is_object()) {
    co_return refuse("the arguments must be an object such as {\"file\": \"SKILL.md\"}");
  }
  const std::string file =
      given->json().contains("file") ? text_of(given->json(), "file") : std::string("SKILL.md");
  const std::string uri = skill_uri(**at, file);
  if (!(*at)->files.contains(uri)) {
    std::string known;
    for (const SkillResource& one : (*at)->entry.resources) {
      known += (known.empty() ? "" : ", ") + skill_path(**at, one.uri);
      if (known.size() > 2000) break;
    }
    co_return refuse("the skill has no file \"" + file + "\"; it has: " + known);
  }
  co_return give(**at, uri);
}

}  // namespace ambit::mcp
