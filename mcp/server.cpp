#include "mcp/server.h"

#include "mcp/digest.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <charconv>
#include <utility>

namespace ambit::mcp {
namespace {

using rpc::Json;
using rpc::Reply;

constexpr std::int64_t legacy_not_found = -32002;
constexpr std::string_view cursor_prefix = "from:";

Reply refusal(std::int64_t code, std::string message, Value data = {}) {
  Reply reply;
  reply.fault = rpc::Fault{code, std::move(message), std::move(data)};
  return reply;
}

Reply invalid(std::string message) {
  return refusal(rpc::invalid_params, std::move(message));
}

Reply unknown(const std::string& method) {
  return refusal(rpc::method_not_found, "no method \"" + method + "\"");
}

std::string text_of(const Json& object, const char* key) {
  const auto at = object.is_object() ? object.find(key) : object.end();
  return object.is_object() && at != object.end() && at->is_string() ? at->get<std::string>() : "";
}

// "test://template/{id}/data" for "test://template/7/data".
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

// What a request asks for, without what changes from one round of it to the next.
std::string identity_of(const rpc::Request& request, const std::string& principal) {
  Json params = request.params.json();
  if (params.is_object()) {
    for (const char* key : {"_meta", "inputResponses", "requestState"}) params.erase(key);
  }
  return principal + '\0' + request.method + '\0' + sha256_hex(rpc::canonical(params));
}

bool may_need_input(const std::string& method) {
  return method == "tools/call" || method == "prompts/get" || method == "resources/read";
}

bool is_cacheable(const std::string& method) {
  return method == "server/discover" || method == "resources/read" || method.ends_with("/list");
}

std::optional<rpc::Id> token_of(const Json& meta) {
  const auto at = meta.find("progressToken");
  if (at == meta.end()) return std::nullopt;
  if (at->is_string()) return rpc::Id(at->get<std::string>());
  if (at->is_number_integer()) return rpc::Id(at->get<std::int64_t>());
  return std::nullopt;
}

}  // namespace

Server::Server(io::Clock& clock, io::Entropy& entropy, ServerOptions options)
    : options_(std::move(options)), sealer_(clock, entropy, options_.state_lifetime) {}
Server::~Server() = default;

// ---- what is offered
// ------------------------------------------------------------------------------------

Result<void> Server::add(ServerTool tool) {
  const Json& definition = tool.definition.json();
  const std::string name = text_of(definition, "name");
  if (name.empty()) return Err(Code::invalid, "a tool needs a name");
  if (!definition.contains("inputSchema")) {
    return Err(Code::invalid, "tool \"" + name + "\" needs an inputSchema");
  }
  auto input = rpc::Schema::compile(definition["inputSchema"]);
  if (!input) return Err(std::move(input).error().context("tool \"" + name + "\""));
  std::optional<rpc::Schema> output;
  if (definition.contains("outputSchema")) {
    output = TRY(rpc::Schema::compile(definition["outputSchema"]));
  }
  HeaderParameters headers = TRY(header_parameters(definition["inputSchema"]));
  if (tools_.contains(name)) {
    return Err(Code::conflict, "there is a tool \"" + name + "\" already");
  }
  tools_.emplace(name,
                 Tool{std::move(tool), std::move(*input), std::move(output), std::move(headers)});
  changed(&Changes::tools);
  return {};
}

Result<void> Server::add(ServerPrompt prompt) {
  const std::string name = text_of(prompt.definition.json(), "name");
  if (name.empty()) return Err(Code::invalid, "a prompt needs a name");
  if (!prompts_.emplace(name, std::move(prompt)).second) {
    return Err(Code::conflict, "there is a prompt \"" + name + "\" already");
  }
  changed(&Changes::prompts);
  return {};
}

Result<void> Server::add(ServerResource resource) {
  const std::string uri = text_of(resource.definition.json(), "uri");
  const std::string pattern = text_of(resource.definition.json(), "uriTemplate");
  if (uri.empty() == pattern.empty()) {
    return Err(Code::invalid, "a resource needs either a uri or a uriTemplate");
  }
  auto& all = uri.empty() ? templates_ : resources_;
  if (!all.emplace(uri + pattern, std::move(resource)).second) {
    return Err(Code::conflict, "there is a resource \"" + uri + pattern + "\" already");
  }
  changed(&Changes::resources);
  return {};
}

bool Server::remove_tool(const std::string& name) {
  const bool was = tools_.erase(name) > 0;
  if (was) changed(&Changes::tools);
  return was;
}

bool Server::remove_prompt(const std::string& name) {
  const bool was = prompts_.erase(name) > 0;
  if (was) changed(&Changes::prompts);
  return was;
}

void Server::clear() {
  tools_.clear();
  prompts_.clear();
  resources_.clear();
  templates_.clear();
  changed(&Changes::tools);
  changed(&Changes::prompts);
  changed(&Changes::resources);
}

const HeaderParameters* Server::mirrored(const std::string& tool) const {
  const auto at = tools_.find(tool);
  return at == tools_.end() ? nullptr : &at->second.headers;
}

Json Server::capabilities() const {
  Json all = {{"tools", {{"listChanged", true}}},
              {"prompts", {{"listChanged", true}}},
              {"resources", {{"subscribe", true}, {"listChanged", true}}},
              {"logging", Json::object()}};
  if (complete_) all["completions"] = Json::object();
  return all;
}

// ---- the two eras
// ---------------------------------------------------------------------------------------

bool Server::is_modern(const rpc::Request& request) {
  const Json& params = request.params.json();
  const bool has_meta = params.is_object() && params.contains("_meta") &&
                        params["_meta"].is_object() && params["_meta"].contains(meta_version);
  return has_meta || request.method == "server/discover";
}

std::optional<rpc::Fault> Server::fault_of_meta(const rpc::Request& request) {
  const Json& params = request.params.json();
  const auto wrong = [](const std::string& what) {
    return rpc::Fault{rpc::invalid_params, "$.params._meta" + what, {}};
  };
  if (!params.is_object() || !params.contains("_meta") || !params["_meta"].is_object()) {
    return wrong(": is missing; every request says its protocol version and capabilities");
  }
  const Json& meta = params["_meta"];
  const std::string version = text_of(meta, meta_version);
  if (version.empty()) return wrong("." + std::string(meta_version) + ": must be a string");
  if (!meta.contains(meta_client_capabilities) || !meta[meta_client_capabilities].is_object()) {
    return wrong("." + std::string(meta_client_capabilities) + ": must be an object");
  }
  if (version != modern_version) {
    const Json data = {{"supported", Json::array({modern_version})}, {"requested", version}};
    return rpc::Fault{unsupported_protocol_version,
                      "MCP " + version + " without a handshake is not supported", Value(data)};
  }
  return std::nullopt;
}

Task<Answer> Server::answer(rpc::Request request, Session* session, Wire& wire,
                            std::string principal) {
  if (session == nullptr || is_modern(request)) {
    co_return co_await answer_modern(std::move(request), wire, std::move(principal));
  }
  co_return co_await answer_legacy(std::move(request), *session, wire, std::move(principal));
}

Task<Answer> Server::answer_modern(rpc::Request request, Wire& wire, std::string principal) {
  Answer answer;
  if (auto fault = fault_of_meta(request)) {
    answer.reply.fault = std::move(fault);
    answer.status = 400;
    co_return answer;
  }
  const Json& meta = request.params.json()["_meta"];
  Call call(*this, wire, Era::modern, std::move(principal));
  call.client_capabilities_ = Value(meta[meta_client_capabilities]);
  call.log_level_ = text_of(meta, meta_log_level);
  call.progress_token_ = token_of(meta);
  if (request.method == "server/discover") {
    answer.reply.result = discovery();
  } else if (request.method == "subscriptions/listen") {
    answer.reply = co_await listen(request, wire);
  } else {
    auto taken = take_answers(request, call);
    if (taken) {
      answer.reply = co_await answer_common(request, call);
    } else {
      answer.reply = invalid(taken.error().message);
    }
    if (call.fault_) answer.reply.fault = std::move(call.fault_);
    if (!answer.reply.fault && !call.pending_.json().empty()) {
      answer.reply = input_required(request, call);
    }
  }
  stamp(request.method, answer.reply);
  if (answer.reply.fault) {
    const std::int64_t code = answer.reply.fault->code;
    if (code == rpc::method_not_found) answer.status = 404;
    if (code == missing_client_capability) answer.status = 400;
  }
  co_return answer;
}

Task<Answer> Server::answer_legacy(rpc::Request request, Session& session, Wire& wire,
                                   std::string principal) {
  Answer answer;
  const Json& params = request.params.json();
  const std::string& method = request.method;
  if (method == "initialize") {
    answer.reply = initialize(params, session);
    co_return answer;
  }
  if (method == "ping") {
    answer.reply.result = Json::object();
    co_return answer;
  }
  if (session.version.empty()) {
    answer.reply = refusal(rpc::invalid_request,
                           "\"" + method + "\" before initialize, and without the _meta of MCP " +
                               std::string(modern_version));
    co_return answer;
  }
  Call call(*this, wire, Era::legacy, std::move(principal));
  call.client_capabilities_ = session.client_capabilities;
  call.log_level_ = session.log_level;
  if (params.is_object() && params.contains("_meta") && params["_meta"].is_object()) {
    call.progress_token_ = token_of(params["_meta"]);
  }
  if (method == "logging/setLevel") {
    session.log_level = text_of(params, "level");
    answer.reply.result = Json::object();
  } else if (method == "resources/subscribe" || method == "resources/unsubscribe") {
    answer.reply = subscribe(params, session, method == "resources/subscribe");
  } else {
    answer.reply = co_await answer_common(request, call);
    if (call.fault_) answer.reply.fault = std::move(call.fault_);
  }
  co_return answer;
}

Reply Server::initialize(const Json& params, Session& session) {
  const std::string wanted = text_of(params, "protocolVersion");
  if (wanted.empty()) return invalid("$.params.protocolVersion: must be a string");
  session.version = is_legacy_version(wanted) ? wanted : std::string(legacy_version);
  if (params.contains("capabilities")) session.client_capabilities = Value(params["capabilities"]);
  InitializeResult result;
  result.protocol_version = session.version;
  result.capabilities = capabilities();
  result.server_info = options_.info;
  result.instructions = options_.instructions;
  Reply reply;
  reply.result = to_value(result);
  return reply;
}

Json Server::discovery() const {
  DiscoverResult result;
  result.supported_versions = {std::string(modern_version)};
  result.capabilities = capabilities();
  result.instructions = options_.instructions;
  result.caching = options_.caching;
  return to_value(result).json();
}

Reply Server::subscribe(const Json& params, Session& session, bool on) {
  const std::string uri = text_of(params, "uri");
  if (uri.empty()) return invalid("$.params.uri: must be a string");
  std::set<std::string>& watched = session.watcher.wanted.uris;
  if (!on) watched.erase(uri);
  if (on && watched.size() >= options_.watched_max && !watched.contains(uri)) {
    return refusal(rpc::to_fault_code(Code::exhausted),
                   "more than " + std::to_string(options_.watched_max) + " subscriptions");
  }
  if (on) watched.insert(uri);
  Reply reply;
  reply.result = Json::object();
  return reply;
}

// What every modern result carries beside its own members.
void Server::stamp(const std::string& method, Reply& reply) const {
  if (reply.fault) return;
  Json& result = reply.result.edit();
  if (!result.is_object()) result = Json::object();
  if (!result.contains("resultType")) result["resultType"] = "complete";
  if (is_cacheable(method) && result["resultType"] == "complete") {
    if (!result.contains("ttlMs")) result["ttlMs"] = options_.caching.ttl_ms;
    if (!result.contains("cacheScope")) result["cacheScope"] = options_.caching.scope;
  }
  result["_meta"][meta_server_info] = {{"name", options_.info.name},
                                       {"version", options_.info.version}};
}

// ---- questions to the client
// ------------------------------------------------------------------------------

Result<void> Server::take_answers(const rpc::Request& request, Call& call) const {
  const Json& params = request.params.json();
  if (!may_need_input(request.method)) return {};
  if (params.contains("requestState")) {
    if (!params["requestState"].is_string()) {
      return Err(Code::invalid, "$.params.requestState: must be a string");
    }
    call.answers_ = TRY(sealer_.open(params["requestState"].get_ref<const std::string&>(),
                                     identity_of(request, call.principal_)));
  }
  if (!params.contains("inputResponses")) return {};
  if (!params["inputResponses"].is_object()) {
    return Err(Code::invalid, "$.params.inputResponses: must be an object");
  }
  // An answer that was given and sealed stays: only what is still open can be answered.
  for (const auto& [key, answer] : params["inputResponses"].items()) {
    if (!call.answers_.json().contains(key)) call.answers_.edit()[key] = answer;
  }
  return {};
}

Reply Server::input_required(const rpc::Request& request, Call& call) {
  Json kept = call.answers_.json();
  for (const auto& [key, question] : call.pending_.json().items()) kept.erase(key);
  Reply reply;
  reply.result = Json{{"resultType", "input_required"},
                      {"inputRequests", call.pending_.json()},
                      {"requestState", sealer_.seal(Value(std::move(kept)),
                                                    identity_of(request, call.principal_))}};
  return reply;
}

// ---- what both eras have
// ----------------------------------------------------------------------------------

Task<Reply> Server::answer_common(const rpc::Request& request, Call& call) {
  static const Json none = Json::object();
  const Json& params = request.params.present() ? request.params.json() : none;
  const std::string& method = request.method;
  if (!params.is_object()) co_return invalid("$.params: must be an object");
  if (method == "tools/call") co_return co_await call_tool(params, call);
  if (method == "prompts/get") co_return co_await get_prompt(params, call);
  if (method == "resources/read") co_return co_await read_resource(params, call);
  if (method == "tools/list" || method == "prompts/list" || method == "resources/list" ||
      method == "resources/templates/list") {
    co_return co_await list(method, params, call);
  }
  if (method != "completion/complete" || !complete_) co_return unknown(method);
  if (!params.contains("ref") || !params.contains("argument")) {
    co_return invalid("$.params: ref and argument are required");
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
  std::string key = method.substr(0, method.find('/'));
  if (method == "tools/list") {
    for (const auto& [name, tool] : tools_) {
      if (!options_.offers || options_.offers(call.principal_, name))
        all.push_back(&tool.given.definition.json());
    }
  } else if (method == "prompts/list") {
    for (const auto& [name, prompt] : prompts_) all.push_back(&prompt.definition.json());
  } else {
    const bool templates = method == "resources/templates/list";
    if (templates) key = "resourceTemplates";
    for (const auto& [uri, resource] : templates ? templates_ : resources_) {
      all.push_back(&resource.definition.json());
    }
  }
  std::size_t from = 0;
  if (params.contains("cursor")) {
    const std::string cursor = text_of(params, "cursor");
    const char* last = cursor.data() + cursor.size();
    const bool ours = cursor.starts_with(cursor_prefix);
    const auto read =
        std::from_chars(cursor.data() + (ours ? cursor_prefix.size() : cursor.size()), last, from);
    if (!ours || read.ec != std::errc() || read.ptr != last || from > all.size()) {
      co_return invalid("$.params.cursor: is not one that this server gave");
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
  co_return reply;
}

Task<Reply> Server::call_tool(const Json& params, Call& call) {
  const std::string name = text_of(params, "name");
  const auto at = tools_.find(name);
  if (at == tools_.end() || (options_.offers && !options_.offers(call.principal_, name))) {
    co_return invalid("there is no tool \"" + name + "\"");
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
  if (at == prompts_.end()) co_return invalid("there is no prompt \"" + name + "\"");
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

Task<Reply> Server::read_resource(const Json& params, Call& call) {
  const std::string uri = text_of(params, "uri");
  Handler read;
  const auto at = resources_.find(uri);
  if (at != resources_.end()) read = at->second.read;
  for (auto known = templates_.begin(); !read && known != templates_.end(); ++known) {
    if (fits_template(known->first, uri)) read = known->second.read;
  }
  if (!read) {
    const bool modern = call.era() == Era::modern;
    co_return refusal(modern ? rpc::invalid_params : legacy_not_found,
                      "there is no resource \"" + uri + "\"", Value(Json{{"uri", uri}}));
  }
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
