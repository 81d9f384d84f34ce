#include "mcp/server.h"

#include "mcp/digest.h"
#include "mcp/live_call.h"
#include "mcp/server_replies.h"

#include <nlohmann/json.hpp>

#include <utility>

namespace ambit::mcp {
namespace {

using rpc::Json;
using rpc::Reply;

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
  return method == "server/discover" || method == "resources/read" || method == "skills/get" ||
         method.ends_with("/list");
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
    : clock_(clock),
      entropy_(entropy),
      options_(std::move(options)),
      sealer_(clock, entropy, options_.state_lifetime) {}
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
  search_.add(definition);
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
  if (was) search_.remove(name);
  if (was) changed(&Changes::tools);
  return was;
}

bool Server::remove_prompt(const std::string& name) {
  const bool was = prompts_.erase(name) > 0;
  if (was) changed(&Changes::prompts);
  return was;
}

bool Server::remove_resource(const std::string& uri) {
  const bool was = resources_.erase(uri) + templates_.erase(uri) > 0;
  if (was) changed(&Changes::resources);
  return was;
}

void Server::clear() {
  tools_.clear();
  search_.clear();
  prompts_.clear();
  resources_.clear();
  templates_.clear();
  skills_.clear();
  changed(&Changes::tools);
  changed(&Changes::prompts);
  changed(&Changes::resources);
}

const HeaderParameters* Server::mirrored(const std::string& tool) const {
  const auto at = tools_.find(tool);
  return at == tools_.end() ? nullptr : &at->second.headers;
}

Json Server::capabilities(Era era) const {
  Json all = {{"tools", {{"listChanged", true}}},
              {"prompts", {{"listChanged", true}}},
              {"resources", {{"subscribe", true}, {"listChanged", true}}},
              {"logging", Json::object()}};
  if (complete_) all["completions"] = Json::object();
  if (era == Era::modern) {
    all["extensions"] = {{tasks_extension, Json::object()}};
  } else {
    all["tasks"] = Json::parse(R"({"list":{},"cancel":{},"requests":{"tools":{"call":{}}}})");
  }
  if (!skills_.empty()) all["extensions"][skills_extension] = {{"directoryRead", true}};
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

void Server::read_meta(const Json& meta, Call& call) {
  call.client_capabilities_ = Value(meta[meta_client_capabilities]);
  call.log_level_ = text_of(meta, meta_log_level);
  call.progress_token_ = token_of(meta);
}

bool Server::may_become_task(const rpc::Request& request, const Call& call) const {
  if (request.method != "tools/call" || !call.takes_tasks()) return false;
  const std::string name = text_of(request.params.json(), "name");
  const auto at =
      tools_.find(is_meta_tool(name) ? text_of(meant(request.params.json()), "name") : name);
  return at != tools_.end() && at->second.given.tasks != TaskSupport::none;
}

Task<Answer> Server::answer_modern(rpc::Request request, Wire& wire, std::string principal) {
  Answer answer;
  if (auto fault = fault_of_meta(request)) {
    answer.reply.fault = std::move(fault);
    answer.status = 400;
    co_return answer;
  }
  Call call(*this, wire, Era::modern, std::move(principal));
  read_meta(request.params.json()["_meta"], call);
  if (request.method == "server/discover") {
    answer.reply.result = discovery();
  } else if (request.method == "subscriptions/listen") {
    answer.reply = co_await listen(request, call);
  } else if (request.method.starts_with("tasks/")) {
    answer.reply = co_await answer_task(request, call);
  } else if (may_become_task(request, call)) {
    auto live = std::make_shared<LiveCall>(*this, std::move(request), call.principal_);
    read_meta(live->request.params.json()["_meta"], live->call);
    answer.reply = co_await answer_live(live, wire);
    request.method = "tools/call";
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
  } else if (method.starts_with("tasks/")) {
    answer.reply = co_await answer_legacy_task(request, call);
  } else if (method == "tools/call" && params.is_object() && params.contains("task")) {
    answer.reply = co_await start_legacy_task(std::move(request), call);
  } else if (method == "resources/subscribe" || method == "resources/unsubscribe") {
    if (is_hidden(call.principal_, text_of(params, "uri"))) {
      answer.reply = invalid("$.params.uri: there is no such resource");
    } else {
      answer.reply = subscribe(params, session, method == "resources/subscribe");
    }
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
  result.capabilities = capabilities(Era::legacy);
  result.server_info = options_.info;
  result.instructions = options_.instructions;
  Reply reply;
  reply.result = to_value(result);
  return reply;
}

Json Server::discovery() const {
  DiscoverResult result;
  result.supported_versions = {std::string(modern_version)};
  result.capabilities = capabilities(Era::modern);
  result.instructions = options_.instructions;
  result.caching = options_.caching;
  return to_value(result).json();
}

Reply Server::subscribe(const Json& params, Session& session, bool on) {
  const std::string uri = text_of(params, "uri");
  if (uri.empty()) return invalid("$.params.uri: must be a string");
  std::set<std::string>& watched = session.watcher.wanted.uris;
  if (!on && watched.erase(uri) > 0) note_watched();
  if (on && watched.size() >= options_.watched_max && !watched.contains(uri)) {
    return refusal(rpc::to_fault_code(Code::exhausted),
                   "more than " + std::to_string(options_.watched_max) + " subscriptions");
  }
  if (on && watched.insert(uri).second) note_watched();
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
    const Value state = TRY(sealer_.open(params["requestState"].get_ref<const std::string&>(),
                                         identity_of(request, call.principal_)));
    call.answers_ = Value(state.json().at("answers"));
    call.kept_ = text_of(state.json(), "kept");
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
  Json state = {{"answers", std::move(kept)}, {"kept", call.kept_}};
  Reply reply;
  reply.result = Json{{"resultType", "input_required"},
                      {"inputRequests", call.pending_.json()},
                      {"requestState", sealer_.seal(Value(std::move(state)),
                                                    identity_of(request, call.principal_))}};
  return reply;
}

}  // namespace ambit::mcp
