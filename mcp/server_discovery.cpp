// The fourth part of Server: catalogues that are too large to be shown whole. Instead of thousands
// of definitions a client gets three tools, with which it searches, reads one definition, and calls
// it; every tool can be called by its own name as well. Who may see what is as it always is.

#include "mcp/server_replies.h"

#include <algorithm>
#include <array>

namespace ambit::mcp {
namespace {

using rpc::Json;

constexpr const char* search_name = "search_tools";
constexpr const char* describe_name = "describe_tool";
constexpr const char* call_name = "call_tool";
constexpr std::int64_t found_max = 20;
constexpr std::int64_t found_default = 5;

const Json& meta_tools() {
  static const Json tools = Json::parse(R"([
    {"name": "search_tools",
     "description": "Find tools by what you want to do. Gives names and descriptions, the best first. This server has many more tools than it lists.",
     "inputSchema": {"type": "object", "required": ["query"], "properties": {
       "query": {"type": "string", "description": "what you want to do, in a few words"},
       "limit": {"type": "integer", "minimum": 1, "maximum": 20, "description": "how many; 5 if you do not say"}}},
     "annotations": {"readOnlyHint": true}},
    {"name": "describe_tool",
     "description": "The whole definition of one tool: its description and the schema of its arguments.",
     "inputSchema": {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}},
     "annotations": {"readOnlyHint": true}},
    {"name": "call_tool",
     "description": "Call a tool that search_tools has found, with arguments as describe_tool says.",
     "inputSchema": {"type": "object", "required": ["name"], "properties": {
       "name": {"type": "string"}, "arguments": {"type": "object"}}}}])");
  return tools;
}

std::string first_line(const std::string& text) {
  return text.substr(0, std::min(text.find('\n'), text.size()));
}

}  // namespace

bool Server::is_progressive() const {
  return options_.progressive_above > 0 && tools_.size() > options_.progressive_above;
}

const Json& Server::meta_definitions() {
  return meta_tools();
}

bool Server::is_meta_tool(const std::string& name) const {
  if (!is_progressive() || tools_.contains(name)) return false;
  return name == search_name || name == describe_name || name == call_name;
}

// What a call is of: the tool that it names, or the one that its call_tool names.
Json Server::meant(const Json& params) const {
  if (!is_meta_tool(text_of(params, "name")) || params["name"] != call_name) return params;
  Json inner = params;
  const Json given = params.contains("arguments") ? params["arguments"] : Json::object();
  inner["name"] = text_of(given, "name");
  inner["arguments"] =
      given.is_object() && given.contains("arguments") ? given["arguments"] : Json::object();
  return inner;
}

rpc::Reply Server::answer_meta(const Json& params, const std::string& principal) const {
  const Json arguments = params.contains("arguments") ? params["arguments"] : Json::object();
  const auto failed = [](const std::string& why) {
    rpc::Reply reply;
    reply.result = text_result(why);
    reply.result.edit()["isError"] = true;
    return reply;
  };
  rpc::Reply reply;
  if (params["name"] == describe_name) {
    const std::string name = text_of(arguments, "name");
    if (!may_see(principal, name))
      return failed("there is no tool \"" + name + "\"; search_tools finds names");
    const Json& definition = tools_.at(name).given.definition.json();
    reply.result = text_result(rpc::compact(definition));
    return reply;
  }
  const std::string query = text_of(arguments, "query");
  if (query.empty()) return failed("$.query: must be a string that says what you want to do");
  std::int64_t limit = found_default;
  if (arguments.contains("limit") && arguments["limit"].is_number_integer()) {
    limit = std::clamp(arguments["limit"].get<std::int64_t>(), std::int64_t{1}, found_max);
  }
  Json found = Json::array();
  // More than asked for: some may not be this caller's to see.
  for (const std::string& name : search_.find(query, tools_.size())) {
    if (static_cast<std::int64_t>(found.size()) == limit) break;
    if (!may_see(principal, name)) continue;
    const Json& definition = tools_.at(name).given.definition.json();
    found.push_back(
        {{"name", name}, {"description", first_line(text_of(definition, "description"))}});
  }
  if (found.empty()) return failed("no tool has to do with \"" + query + "\"; try other words");
  reply.result = text_result(rpc::compact(found));
  return reply;
}

}  // namespace ambit::mcp
