// The part of Gateway that offers its upstreams' skills: below the upstream's name
// ("skill://desk/refunds/SKILL.md"), every file with the digest that the upstream says, and read
// only when a client reads it. What is read and is not what the entry says is not passed on.

#include "mcp/digest.h"
#include "mcp/gateway_upstream.h"
#include "mcp/json_text.h"
#include "mcp/skill_reader.h"

#include <utility>

namespace ambit::mcp {
namespace {

using rpc::Json;

constexpr std::string_view skill_prefix = "skill:";
constexpr std::string_view bridged_scheme = "skill://";

// "skill://desk/refunds/a.md" for "skill://refunds/a.md" of the upstream "desk". Of a URI that has
// another scheme everything after it stays.
std::string below(const std::string& upstream, const std::string& uri) {
  const std::size_t path = uri.find("://") + 3;
  return std::string(bridged_scheme) + upstream + "/" + uri.substr(path);
}

SkillEntry renamed(const std::string& upstream, SkillEntry entry) {
  entry.uri = below(upstream, entry.uri);
  for (SkillResource& one : entry.resources) one.uri = below(upstream, one.uri);
  return entry;
}

}  // namespace

// The upstream's bytes, held against its entry, as a file of ours.
Task<Result<Value>> Gateway::read_skill_file(Upstream& upstream, SkillEntry entry,
                                             std::string theirs, std::string principal) {
  if (options_.permits) {
    const std::string name = offered_name(upstream.name(), skill_tool_name(entry.name));
    Value where = Json{{"uri", below(upstream.name(), theirs)}};
    auto permitted = options_.permits(principal, name, std::move(where));
    if (!permitted) co_return Err(std::move(permitted).error());
  }
  const auto client = co_await ok(upstream.client());
  SkillReader reader(*client);
  auto bytes = co_await reader.read(entry, theirs);
  if (!bytes) {
    co_return Err(std::move(bytes).error().context("MCP server \"" + upstream.name() + "\""));
  }
  Skill shown;
  shown.entry = renamed(upstream.name(), std::move(entry));
  const std::string ours = below(upstream.name(), theirs);
  shown.files.emplace(ours, std::move(*bytes));
  co_return file_contents(shown, ours);
}

Task<Result<void>> Gateway::refresh_skills(Upstream& upstream, Client& client,
                                           std::set<std::string>& seen) {
  SkillReader reader(client);
  if (!reader.is_offered()) co_return Result<void>();
  auto list = co_await ok(reader.list());
  for (const std::string& why : list.rejected) {
    problems_.push_back(upstream.name() + ": a skill: " + why);
  }
  upstream.skill_files.clear();
  for (const SkillEntry& entry : list.skills) {
    for (const SkillResource& one : entry.resources) upstream.skill_files.insert(one.uri);
    offer_skill(upstream, entry, seen);
  }
  co_return Result<void>();
}

void Gateway::offer_skill(Upstream& upstream, const SkillEntry& entry,
                          std::set<std::string>& seen) {
  if (entry.is_dynamic) {
    problems_.push_back(upstream.name() + ": the skill \"" + entry.name +
                        "\" has no digests: nothing vouches for what it says");
    return;
  }
  const Value definition = to_value(entry);
  const std::string digest = sha256_hex(rpc::canonical(definition.json()));
  auto shown = std::make_shared<Skill>();
  shown->entry = renamed(upstream.name(), entry);
  const std::string pin = std::string(skill_prefix) + shown->entry.uri;
  seen.insert(pin);
  if (!is_approved(upstream, pin, digest, definition.json())) return;
  const auto at = upstream.offered.find(pin);
  if (at != upstream.offered.end() && at->second.digest == digest) return;
  withdraw(upstream, pin);
  ServerSkill skill;
  skill.skill = shown;
  skill.grant = offered_name(upstream.name(), skill_tool_name(entry.name));
  const std::string name = upstream.name();
  skill.read = [this, &upstream, entry, name](Value where, Call& call) {
    const std::string ours = text_of(where.json(), "uri");
    std::string theirs;
    for (const SkillResource& one : entry.resources) {
      if (below(name, one.uri) == ours) theirs = one.uri;
    }
    return read_skill_file(upstream, entry, std::move(theirs), call.principal());
  };
  auto added = server_.add(std::move(skill));
  if (!added) {
    problems_.push_back(upstream.name() + ": " + added.error().message);
    return;
  }
  upstream.offered[pin] = {digest, Kind::skill, entry.uri};
}

}  // namespace ambit::mcp
