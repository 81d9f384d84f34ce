#include "mcp/skill.h"

#include "mcp/base64.h"
#include "mcp/digest.h"
#include "mcp/json_text.h"
#include "rpc/yaml.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <set>
#include <utility>

namespace ambit::mcp {
namespace {

using rpc::Json;

constexpr std::string_view skill_file = "SKILL.md";
constexpr std::string_view skill_scheme = "skill://";
constexpr std::string_view digest_prefix = "sha256:";
constexpr std::size_t skill_name_bytes_max = 64;
constexpr std::size_t description_bytes_max = 4 * 1024;  // 1,024 characters

bool is_letter_or_digit(char c) {
  return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

bool is_digest(std::string_view text) {
  if (!text.starts_with(digest_prefix)) return false;
  text.remove_prefix(digest_prefix.size());
  return text.size() == 64 && std::all_of(text.begin(), text.end(), [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
         });
}

// As a segment of a path may hold them (RFC 3986, pchar).
std::string escaped(std::string_view path) {
  static constexpr std::string_view hex = "0123456789ABCDEF";
  static constexpr std::string_view plain = "-._~!$&'()*+,;=:@/";
  std::string out;
  for (const char c : path) {
    const auto byte = static_cast<unsigned char>(c);
    if (is_letter_or_digit(c) || (c >= 'A' && c <= 'Z') || plain.find(c) != plain.npos) {
      out += c;
    } else {
      out += {'%', hex[byte >> 4], hex[byte & 15]};
    }
  }
  return out;
}

// UTF-8 without NUL, and not so long that JSON text could not hold it.
bool is_text(const std::string& bytes) {
  if (bytes.find('\0') != std::string::npos) return false;
  const auto back = Value::parse(Value(Json(bytes)).text());
  return back && back->json() == bytes;
}

std::string media_type(std::string_view uri, bool is_text) {
  static constexpr std::array<std::pair<std::string_view, std::string_view>, 14> known = {
      {{".md", "text/markdown"},
       {".txt", "text/plain"},
       {".json", "application/json"},
       {".yaml", "application/yaml"},
       {".yml", "application/yaml"},
       {".csv", "text/csv"},
       {".html", "text/html"},
       {".py", "text/x-python"},
       {".sh", "application/x-sh"},
       {".js", "text/javascript"},
       {".png", "image/png"},
       {".jpg", "image/jpeg"},
       {".svg", "image/svg+xml"},
       {".pdf", "application/pdf"}}};
  for (const auto& [ending, type] : known) {
    if (uri.ends_with(ending)) return std::string(type);
  }
  return is_text ? "text/plain" : "application/octet-stream";
}

tl::unexpected<Error> wrong(std::string what) {
  return Err(Code::invalid, std::move(what));
}

Result<std::vector<SkillResource>> read_resources(const Json& list, const std::string& root) {
  if (list.size() > skill_files_max) {
    return Err(Code::exhausted, "$.resources: more than " + std::to_string(skill_files_max));
  }
  std::vector<SkillResource> all;
  std::set<std::string> seen;
  std::int64_t bytes = 0;
  for (std::size_t i = 0; i < list.size(); ++i) {
    const std::string at = "$.resources[" + std::to_string(i) + "]";
    SkillResource one{text_of(list[i], "uri"), text_of(list[i], "digest"), 0};
    if (!one.uri.starts_with(root + "/")) {
      return wrong(at + ".uri: must be of a file below " + root);
    }
    if (!seen.insert(one.uri).second) return wrong(at + ".uri: is there twice");
    if (!is_digest(one.digest)) {
      return wrong(at + ".digest: must be sha256: and 64 lower-case hex digits");
    }
    const auto size = list[i].find("size");
    if (size == list[i].end() || !size->is_number_integer() || *size < 0 ||
        *size > skill_bytes_max) {
      return wrong(at + ".size: must be a number of bytes up to " +
                   std::to_string(skill_bytes_max));
    }
    one.size = size->get<std::int64_t>();
    bytes += one.size;
    if (bytes > skill_bytes_max) {
      return Err(Code::exhausted,
                 "$.resources: more than " + std::to_string(skill_bytes_max) + " bytes");
    }
    all.push_back(std::move(one));
  }
  if (!seen.contains(root + "/" + std::string(skill_file))) {
    return wrong("$.resources: does not list the SKILL.md");
  }
  return all;
}

Result<void> read_front(const Value& front, SkillEntry& out) {
  if (!front.json().is_object()) return wrong("$.frontmatter: must be an object");
  out.name = text_of(front.json(), "name");
  out.description = text_of(front.json(), "description");
  if (!is_skill_name(out.name)) {
    return wrong("$.frontmatter.name: must be 1 to 64 of a-z, 0-9 and single hyphens inside");
  }
  if (out.description.empty() || out.description.size() > description_bytes_max) {
    return wrong("$.frontmatter.description: must be a text of 1 to 1024 letters");
  }
  out.frontmatter = front;
  return {};
}

}  // namespace

std::string skill_root(std::string_view uri) {
  const std::size_t scheme = uri.find("://");
  const std::string ending = "/" + std::string(skill_file);
  if (scheme == uri.npos || !uri.ends_with(ending)) return {};
  uri.remove_suffix(ending.size());
  return uri.size() > scheme + 3 ? std::string(uri) : "";
}

bool is_skill_name(std::string_view name) {
  if (name.empty() || name.size() > skill_name_bytes_max) return false;
  if (name.front() == '-' || name.back() == '-' || name.find("--") != name.npos) return false;
  return std::all_of(name.begin(), name.end(),
                     [](char c) { return is_letter_or_digit(c) || c == '-'; });
}

std::string skill_tool_name(std::string_view name) {
  return "skill__" + std::string(name);
}

Result<void> from_value(const Value& value, SkillEntry& out) {
  const Json& json = value.json();
  if (!json.is_object()) return wrong("$: must be an object");
  out.uri = text_of(json, "uri");
  const std::string root = skill_root(out.uri);
  if (root.empty()) return wrong("$.uri: must be the URI of a SKILL.md");
  TRY(read_front(json.contains("frontmatter") ? Value(json["frontmatter"]) : Value(), out));
  if (root.substr(root.rfind('/') + 1) != out.name) {
    return wrong("$.uri: its folder must be called \"" + out.name + "\"");
  }
  const auto listed = json.find("resources");
  out.is_dynamic = listed != json.end() && *listed == "dynamic";
  if (out.is_dynamic) return {};
  if (listed == json.end() || !listed->is_array()) {
    return wrong("$.resources: must be an array or \"dynamic\"");
  }
  out.resources = TRY(read_resources(*listed, root));
  return {};
}

Value to_value(const SkillEntry& entry) {
  Json resources = "dynamic";
  if (!entry.is_dynamic) {
    resources = Json::array();
    for (const SkillResource& one : entry.resources) {
      resources.push_back({{"uri", one.uri}, {"digest", one.digest}, {"size", one.size}});
    }
  }
  return Json{{"uri", entry.uri},
              {"frontmatter", entry.frontmatter.json()},
              {"resources", std::move(resources)}};
}

Result<Skill> make_skill(std::map<std::string, std::string> files) {
  const auto main = files.find(std::string(skill_file));
  if (main == files.end()) return Err(Code::invalid, "there is no SKILL.md");
  auto head = rpc::parse_front_matter(main->second);
  if (!head) return Err(std::move(head).error().context("SKILL.md"));
  Skill skill;
  auto front = read_front(head->head, skill.entry);
  if (!front) return Err(std::move(front).error().context("SKILL.md"));
  skill.entry.uri = skill_uri(skill, skill_file);
  std::int64_t bytes = 0;
  for (auto& [path, content] : files) {
    SkillResource one{skill_uri(skill, path), std::string(digest_prefix) + sha256_hex(content),
                      static_cast<std::int64_t>(content.size())};
    bytes += one.size;
    skill.files.emplace(one.uri, std::move(content));
    skill.paths.emplace(one.uri, path);
    skill.entry.resources.push_back(std::move(one));
  }
  if (skill.files.size() > skill_files_max || bytes > skill_bytes_max) {
    return Err(Code::exhausted,
               "a skill has " + std::to_string(skill_files_max) + " files and " +
                   std::to_string(skill_bytes_max) + " bytes at most; this one has " +
                   std::to_string(skill.files.size()) + " and " + std::to_string(bytes));
  }
  return skill;
}

std::string skill_uri(const Skill& skill, std::string_view path) {
  return std::string(skill_scheme) + skill.entry.name + "/" + escaped(path);
}

std::string skill_path(const Skill& skill, const std::string& uri) {
  return skill.paths.at(uri);
}

Value file_definition(const Skill& skill, const std::string& uri) {
  const auto held = skill.files.find(uri);
  const bool is_main = uri == skill.entry.uri;
  // Of a file that lies elsewhere its name says the type.
  const bool readable = held == skill.files.end() || is_text(held->second);
  Json definition = {{"uri", uri},
                     {"name", is_main ? skill.entry.name : uri.substr(uri.rfind('/') + 1)},
                     {"mimeType", media_type(uri, readable)}};
  for (const SkillResource& one : skill.entry.resources) {
    if (one.uri == uri) definition["size"] = one.size;
  }
  if (is_main) definition["description"] = skill.entry.description;
  return definition;
}

Value file_contents(const Skill& skill, const std::string& uri) {
  return resource_contents(uri, skill.files.at(uri));
}

Value resource_contents(const std::string& uri, const std::string& bytes) {
  const bool readable = is_text(bytes);
  Json contents = {{"uri", uri}, {"mimeType", media_type(uri, readable)}};
  contents[readable ? "text" : "blob"] = readable ? bytes : to_base64(bytes);
  return Json{{"contents", Json::array({std::move(contents)})}};
}

Result<void> verify_file(const SkillEntry& entry, const std::string& uri, std::string_view bytes) {
  if (entry.is_dynamic) {
    return Err(Code::denied, "the skill has no digests (\"dynamic\"): nothing vouches for " + uri);
  }
  const auto at = std::find_if(entry.resources.begin(), entry.resources.end(),
                               [&](const SkillResource& one) { return one.uri == uri; });
  if (at == entry.resources.end()) {
    return Err(Code::denied, uri + " is not listed in the skill's entry; ask for the entry anew");
  }
  if (static_cast<std::int64_t>(bytes.size()) != at->size) {
    return Err(Code::denied, uri + " has " + std::to_string(bytes.size()) +
                                 " bytes, the skill's entry says " + std::to_string(at->size));
  }
  if (std::string(digest_prefix) + sha256_hex(bytes) != at->digest) {
    return Err(Code::denied, uri + " is not what the skill's entry says: another digest");
  }
  if (uri != entry.uri) return {};
  auto head = rpc::parse_front_matter(bytes);
  if (!head) return Err(Code::denied, uri + ": " + head.error().message);
  if (!rpc::same(head->head.json(), entry.frontmatter.json())) {
    return Err(Code::denied, uri + ": its front matter is not that of the skill's entry");
  }
  return {};
}

}  // namespace ambit::mcp
