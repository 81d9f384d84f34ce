#pragma once

// Skills (the extension io.modelcontextprotocol/skills, SEP-2640): a folder with a SKILL.md, given
// to clients as resources, and the entry that lists each of its files with size and digest. Both
// sides of it: a skill of ours is made from its files, what a server sends is held against the
// entry before anybody believes it. Pure: no I/O.

#include "mcp/protocol.h"

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace ambit::mcp {

constexpr const char* skills_extension = "io.modelcontextprotocol/skills";
// What every host accepts (specification, "Limits").
constexpr std::size_t skill_files_max = 512;
constexpr std::int64_t skill_bytes_max = 16 << 20;

struct SkillResource {
  std::string uri;
  std::string digest;     // "sha256:" and 64 hex digits
  std::int64_t size = 0;  // bytes
  friend bool operator==(const SkillResource&, const SkillResource&) = default;
};

// A skill as skills/list and skills/get show it.
struct SkillEntry {
  std::string uri;  // of its SKILL.md
  std::string name;
  std::string description;
  Value frontmatter;                     // all of it
  std::vector<SkillResource> resources;  // every file, SKILL.md too
  bool is_dynamic = false;               // its content has no digests; then there are no resources
  friend bool operator==(const SkillEntry&, const SkillEntry&) = default;
};
// Errors: what the specification demands of an entry and this one lacks, by its path; the limits.
Result<void> from_value(const Value& value, SkillEntry& out);
Value to_value(const SkillEntry& entry);

// "skill://refunds" of "skill://refunds/SKILL.md"; empty if the URI is of no SKILL.md.
std::string skill_root(std::string_view uri);
// Agent Skills: 1 to 64 of a-z, 0-9 and single '-' inside.
bool is_skill_name(std::string_view name);
// What agents and policies call a skill of this fleet: "skill__refunds".
std::string skill_tool_name(std::string_view name);

// A skill of ours, as it was read.
struct Skill {
  SkillEntry entry;
  std::map<std::string, std::string> files;  // their bytes, by URI
  std::map<std::string, std::string> paths;  // below the folder, by URI
};
// From its files, by their paths below the folder ("SKILL.md", "references/FORMS.md").
Result<Skill> make_skill(std::map<std::string, std::string> files);
// The URI of a file of this skill, and the path of one that it has.
std::string skill_uri(const Skill& skill, std::string_view path);
std::string skill_path(const Skill& skill, const std::string& uri);
// What resources/list shows of a file, and resources/read gives: {"contents": [...]}.
Value file_definition(const Skill& skill, const std::string& uri);
Value file_contents(const Skill& skill, const std::string& uri);
// A resource that has these bytes, as resources/read gives it: text where it is some.
Value resource_contents(const std::string& uri, const std::string& bytes);

// Whether these bytes are what the entry says of this URI; of a SKILL.md its front matter too.
// Code::denied: they are not, or the entry lists no such file.
Result<void> verify_file(const SkillEntry& entry, const std::string& uri, std::string_view bytes);

}  // namespace ambit::mcp
