// The part of Server that gives skills (mcp/skill.h) and reads directories, which are those of
// skills: what a caller may see of them hangs on the tool that stands for the skill.

#include "mcp/server_replies.h"

#include <set>
#include <utility>

namespace ambit::mcp {
namespace {

using rpc::Json;
using rpc::Reply;

constexpr const char* directory_type = "inode/directory";

Task<Result<Value>> give(std::shared_ptr<const Skill> skill, std::string uri) {
  co_return file_contents(*skill, uri);
}

}  // namespace

Result<void> Server::add(ServerSkill skill) {
  const SkillEntry& entry = skill.skill->entry;
  if (skills_.contains(entry.uri)) {
    return Err(Code::conflict, "there is a skill \"" + entry.name + "\" already");
  }
  OfferedSkill offered{to_value(entry), skill.tool, skill.grant, {}};
  for (const SkillResource& one : entry.resources) {
    ServerResource file;
    file.definition = file_definition(*skill.skill, one.uri);
    file.tool = skill.tool;
    file.grant = skill.grant;
    file.read = skill.read;
    if (!file.read) {
      file.read = [given = skill.skill, asked = one.uri](Value /*where*/, Call& /*call*/) {
        return give(given, asked);
      };
    }
    auto added = add(std::move(file));
    if (!added) {
      for (const std::string& uri : offered.files) remove_resource(uri);
      return added;
    }
    offered.files.push_back(one.uri);
  }
  skills_.emplace(entry.uri, std::move(offered));
  return {};
}

bool Server::remove_skill(const std::string& uri) {
  const auto at = skills_.find(uri);
  if (at == skills_.end()) return false;
  for (const std::string& file : at->second.files) remove_resource(file);
  skills_.erase(at);
  return true;
}

std::vector<const Json*> Server::skill_entries(const Call& call) const {
  std::vector<const Json*> all;
  for (const auto& [uri, skill] : skills_) {
    if (sees(call.principal_, skill)) all.push_back(&skill.entry.json());
  }
  return all;
}

Reply Server::get_skill(const Json& params, const Call& call) const {
  const std::string uri = text_of(params, "uri");
  const auto at = skills_.find(uri);
  if (at == skills_.end() || !sees(call.principal_, at->second))
    return invalid("there is no skill \"" + uri + "\"");
  Json result = Json::object();
  result["skill"] = at->second.entry.json();
  Reply reply;
  reply.result = std::move(result);
  return reply;
}

// The direct children: folders are only there because files lie below them.
Reply Server::read_directory(const Json& params, const Call& call) const {
  const std::string uri = text_of(params, "uri");
  const auto is_root_of = [&](const auto& skill) {
    const std::string root = skill_root(skill.first);
    return uri == root || uri.starts_with(root + "/");
  };
  if (std::find_if(skills_.begin(), skills_.end(), is_root_of) == skills_.end()) {
    return invalid("\"" + uri + "\" is no directory of a skill");
  }
  const std::string inside = uri + "/";
  std::vector<Json> folders;
  std::vector<const Json*> children;
  std::set<std::string> known;
  for (auto at = resources_.lower_bound(inside);
       at != resources_.end() && at->first.starts_with(inside); ++at) {
    if (!sees(call.principal_, at->second)) continue;
    const std::size_t slash = at->first.find('/', inside.size());
    if (slash == std::string::npos) continue;
    const std::string folder = at->first.substr(0, slash);
    if (!known.insert(folder).second) continue;
    folders.push_back(
        {{"uri", folder}, {"name", folder.substr(inside.size())}, {"mimeType", directory_type}});
  }
  for (auto at = resources_.lower_bound(inside);
       at != resources_.end() && at->first.starts_with(inside); ++at) {
    if (!sees(call.principal_, at->second)) continue;
    if (at->first.find('/', inside.size()) == std::string::npos) {
      children.push_back(&at->second.definition.json());
    }
  }
  for (const Json& folder : folders) children.push_back(&folder);
  if (children.empty()) return invalid("\"" + uri + "\" is no directory of a skill");
  return page("resources", children, params);
}

}  // namespace ambit::mcp
