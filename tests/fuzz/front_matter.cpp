// Any bytes as a text with front matter: what is read of it is a JSON object that can be written,
// and whoever reads it again gets the same.

#include "async/check.h"
#include "mcp/skill.h"
#include "rpc/yaml.h"

#include <nlohmann/json.hpp>

#include <cstdint>
#include <map>
#include <string>

using namespace ambit;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string bytes(reinterpret_cast<const char*>(data), size);
  const auto front = rpc::parse_front_matter(bytes);
  if (!front) return 0;
  INVARIANT(front->head.json().is_object());
  const auto again = rpc::parse_front_matter(bytes);
  INVARIANT(again && again->head == front->head && again->body == front->body);
  const auto skill = mcp::make_skill({{"SKILL.md", bytes}});
  if (!skill) return 0;
  INVARIANT(mcp::verify_file(skill->entry, skill->entry.uri, bytes).has_value());
  mcp::SkillEntry entry;
  // What is no UTF-8 is replaced where it is written.
  const auto sent = rpc::Value::parse(mcp::to_value(skill->entry).text());
  INVARIANT(sent.has_value());
  static_cast<void>(mcp::from_value(*sent, entry));
  return 0;
}
