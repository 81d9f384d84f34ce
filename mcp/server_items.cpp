// The half of Server that gives what it has: lists, tool calls, prompts and resources, for clients
// of both eras.

#include "mcp/server.h"
#include "mcp/server_replies.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <charconv>
#include <deque>
#include <utility>

namespace ambit::mcp {
namespace {

using rpc::Json;
using rpc::Reply;

constexpr std::string_view cursor_prefix = "from:";

}  // namespace

bool fits_template(std::string_view pattern, std::string_view uri) {
  while (!pattern.empty()) {
    if (pattern.front() == '{') {
      const std::size_t end = pattern.find('}');
      if (end == std::string_view::npos) return false;
      pattern.remove_prefix(end + 1);
      const std::size_t length = std::min(uri.find('/'), uri.size());
      if (length == 0) return false;
      // The variable ends where the text after it begins.
      const std::string_view next = pattern.substr(0, pattern.find('{'));
      const std::size_t stop = next.empty() ? length : uri.find(next.substr(0, 1), 1);
      if (stop == std::string_view::npos || stop > length) return false;
      uri.remove_prefix(stop);
    } else {
      if (uri.empty() || uri.front() != pattern.front()) return false;
      uri.remove_prefix(1);
      pattern.remove_prefix(1);
    }
  }
  return uri.empty();
}

Task<Reply> Server::answer_common(const rpc::Request& request, Call& call) {
  static const Json none = Json::object();
  const Json& params = request.params.present() ? request.params.json() : none;
  const std::string& method = request.method;
  if (!params.is_object()) co_return invalid("$.params: must be an object");
  if (method == "tools/call") co_return co_await call_tool(params, call);
  if (method == "prompts/get") co_return co_await get_prompt(params, call);
  if (method == "resources/read") co_return co_await read_resource(params, call);
  if (method == "tools/list" || method == "prompts/list" || method == "resources/list" ||
      method == "resources/templates/list" ||
      (method == "skills/list" && (!skills_.empty() || options_.before_list))) {
    co_return co_await list(method, params, call);
  }
  if (method == "skills/get" && !skills_.empty()) co_return get_skill(params, call);
  if (method == "resources/directory/read" && !skills_.empty()) {
    co_return read_directory(params, call);
  }
  if (method != "completion/complete" || !complete_) co_return unknown(method);
  if (!params.contains("ref") || !params.contains("argument")) {
    co_return invalid("$.params: ref and argument are required");
  }
  if (hides_reference(call.principal_, params["ref"])) {
    co_return invalid("$.params.ref: there is no such prompt or resource");
  }
  auto result = co_await complete_(Value(params), call);
  Reply reply;
  if (result) {
    reply.result = std::move(*result);
  } else {
    reply.fault = rpc::to_fault(result.error());
  }
  co_return reply;
}

Task<Reply> Server::list(const std::string& method, const Json& params, Call& call) {
  if (options_.before_list) {
    auto ready = co_await options_.before_list();
    if (!ready) {
      Reply reply;
      reply.fault = rpc::to_fault(ready.error());
      co_return reply;
    }
  }
  std::vector<const Json*> all;
  std::deque<Value> found;      // under templates
  std::deque<Json> with_tasks;  // definitions as legacy clients see them
  std::string key = method.substr(0, method.find('/'));
  if (method == "tools/list" && is_progressive()) {
    for (const Json& tool : meta_definitions()) all.push_back(&tool);
  } else if (method == "tools/list") {
    for (const auto& [name, tool] : tools_) {
      if (!may_see(call.principal_, name)) continue;
      all.push_back(&tool.given.definition.json());
      if (call.era() == Era::modern || tool.given.tasks == TaskSupport::none) continue;
      const bool needs = tool.given.tasks == TaskSupport::required;
      with_tasks.push_back(*all.back());
      with_tasks.back()["execution"] = {{"taskSupport", needs ? "required" : "optional"}};
      all.back() = &with_tasks.back();
    }
  } else if (method == "prompts/list") {
    for (const auto& [name, prompt] : prompts_) {
      if (has_grant(call.principal_, prompt)) all.push_back(&prompt.definition.json());
    }
  } else if (method == "skills/list") {
    all = skill_entries(call);
  } else {
    const bool templates = method == "resources/templates/list";
    if (templates) key = "resourceTemplates";
    for (const auto& [uri, resource] : templates ? templates_ : resources_) {
      if (sees(call.principal_, resource)) all.push_back(&resource.definition.json());
    }
    for (const auto& [pattern, resource] : templates_) {
      if (templates || !resource.listed || !sees(call.principal_, resource)) continue;
      for (Value& one : resource.listed(call.principal_)) found.push_back(std::move(one));
    }
    for (const Value& one : found) all.push_back(&one.json());
  }
  co_return page(key, all, params);
}

bool Server::may_see(const std::string& principal, const std::string& tool) const {
  return tools_.contains(tool) && (!options_.offers || options_.offers(principal, tool));
}

// The items from the cursor on.
Reply Server::page(const std::string& key, const std::vector<const Json*>& all,
                   const Json& params) const {
  std::size_t from = 0;
  if (params.contains("cursor")) {
    const std::string cursor = text_of(params, "cursor");
    const char* last = cursor.data() + cursor.size();
    const bool ours = cursor.starts_with(cursor_prefix);
    const auto read =
        std::from_chars(cursor.data() + (ours ? cursor_prefix.size() : cursor.size()), last, from);
    if (!ours || read.ec != std::errc() || read.ptr != last || from > all.size()) {
      return invalid("$.params.cursor: is not one that this server gave");
    }
  }
  const std::size_t to = std::min(all.size(), from + options_.page_items);
  Json items = Json::array();
  for (std::size_t i = from; i < to; ++i) items.push_back(*all[i]);
  Json result = Json::object();
  result[key] = std::move(items);
  if (to < all.size()) result["nextCursor"] = std::string(cursor_prefix) + std::to_string(to);
  Reply reply;
  reply.result = std::move(result);
  return reply;
}

Task<Reply> Server::call_tool(const Json& given_params, Call& call) {
  // The frame keeps what a call_tool means: the tool's arguments are read from it.
  const bool is_meta = is_meta_tool(text_of(given_params, "name"));
  const Json inner = is_meta ? meant(given_params) : Json();
  const Json& params = is_meta ? inner : given_params;
  const std::string name = text_of(params, "name");
  if (is_meta && is_meta_tool(name)) co_return answer_meta(params, call.principal());
  const auto at = tools_.find(name);
  if (!may_see(call.principal_, name)) {
    co_return invalid("there is no tool \"" + name + "\"");
  }
  if (at->second.given.tasks == TaskSupport::required && !call.takes_tasks()) {
    if (call.era() == Era::legacy) {
      co_return refusal(rpc::method_not_found, "the tool can only be called as a task");
    }
    const Json extension = {{"extensions", {{tasks_extension, Json::object()}}}};
    co_return refusal(missing_client_capability, "the tool needs a client that takes tasks",
                      Value(Json{{"requiredCapabilities", extension}}));
  }
  // The tool may be taken away while it runs.
  const Handler run = at->second.given.run;
  const std::optional<rpc::Schema> output = at->second.output;
  for (const std::string& capability : at->second.given.needs) {
    if (call.client_can(capability)) continue;
    if (call.era() == Era::legacy) {
      co_return invalid("the tool needs a client that offers " + capability);
    }
    const Json needed = {{"requiredCapabilities", {{capability, Json::object()}}}};
    co_return refusal(missing_client_capability,
                      "the tool needs a client that offers " + capability, Value(needed));
  }
  Value arguments = params.contains("arguments") ? Value(params["arguments"]) : Json::object();
  Reply reply;
  auto fits = at->second.input.validate(arguments.json());
  if (!fits) {
    // An error of the tool, so that the model sees it and tries again.
    reply.result = text_result("the arguments do not fit: " + fits.error().message);
    reply.result.edit()["isError"] = true;
    co_return reply;
  }
  auto result = co_await run(std::move(arguments), call);
  if (!result) {
    reply.result = text_result(result.error().message);
    reply.result.edit()["isError"] = true;
    co_return reply;
  }
  const Json& given = result->json();
  const bool is_error = given.contains("isError") && given["isError"] == true;
  if (output && !is_error && call.pending_.json().empty()) {
    const Json structured =
        given.contains("structuredContent") ? given["structuredContent"] : Json();
    fits = output->validate(structured);
    if (!fits) {
      co_return refusal(rpc::internal_error,
                        "the tool's structuredContent: " + fits.error().message);
    }
  }
  reply.result = std::move(*result);
  co_return reply;
}

Task<Reply> Server::get_prompt(const Json& params, Call& call) {
  const std::string name = text_of(params, "name");
  const auto at = prompts_.find(name);
  if (at == prompts_.end() || !has_grant(call.principal_, at->second)) {
    co_return invalid("there is no prompt \"" + name + "\"");
  }
  const Json arguments = params.contains("arguments") ? params["arguments"] : Json::object();
  if (!arguments.is_object()) co_return invalid("$.params.arguments: must be an object");
  const Json& definition = at->second.definition.json();
  if (definition.contains("arguments")) {
    for (const Json& known : definition["arguments"]) {
      const std::string key = text_of(known, "name");
      if (known.contains("required") && known["required"] == true && !arguments.contains(key)) {
        co_return invalid("$.params.arguments." + key + ": is missing");
      }
    }
  }
  const Handler get = at->second.get;
  auto result = co_await get(Value(arguments), call);
  Reply reply;
  if (result) {
    reply.result = std::move(*result);
  } else {
    reply.fault = rpc::to_fault(result.error());
  }
  if (!call.pending_.json().empty()) reply.fault.reset();
  co_return reply;
}

const Handler* Server::reader_of(const std::string& principal, const std::string& uri) const {
  const auto at = resources_.find(uri);
  if (at != resources_.end()) return sees(principal, at->second) ? &at->second.read : nullptr;
  for (const auto& [pattern, resource] : templates_) {
    if (fits_template(pattern, uri) && sees(principal, resource)) return &resource.read;
  }
  return nullptr;
}

bool Server::is_hidden(const std::string& principal, const std::string& uri) const {
  if (reader_of(principal, uri) != nullptr) return false;
  return resources_.contains(uri) ||
         std::any_of(templates_.begin(), templates_.end(),
                     [&](const auto& one) { return fits_template(one.first, uri); });
}

bool Server::hides_reference(const std::string& principal, const Json& ref) const {
  const auto prompt = prompts_.find(text_of(ref, "name"));
  if (prompt != prompts_.end() && !has_grant(principal, prompt->second)) return true;
  const std::string uri = text_of(ref, "uri");
  const auto pattern = templates_.find(uri);
  if (pattern != templates_.end()) return !sees(principal, pattern->second);
  return !uri.empty() && is_hidden(principal, uri);
}

Task<Reply> Server::read_resource(const Json& params, Call& call) {
  const std::string uri = text_of(params, "uri");
  const Handler* found = reader_of(call.principal_, uri);
  if (found == nullptr) {
    co_return no_resource(call.era(), uri);
  }
  const Handler read = *found;
  Value where = Json{{"uri", uri}};
  auto result = co_await read(std::move(where), call);
  Reply reply;
  if (result) {
    reply.result = std::move(*result);
  } else {
    reply.fault = rpc::to_fault(result.error());
  }
  if (!call.pending_.json().empty()) reply.fault.reset();
  co_return reply;
}

}  // namespace ambit::mcp
