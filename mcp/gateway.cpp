#include "mcp/gateway.h"

#include "mcp/catalogue.h"
#include "mcp/digest.h"
#include "mcp/gateway_upstream.h"
#include "mcp/hidden_text.h"
#include "mcp/json_text.h"

#include <algorithm>
#include <utility>

namespace ambit::mcp {
namespace {

using rpc::Json;

constexpr std::string_view prompt_prefix = "prompt:";
constexpr Duration refresh_pause = std::chrono::milliseconds(50);
constexpr Duration refresh_pause_max = std::chrono::minutes(1);

// What a policy calls a resource or a template: beside its server's tools and prompts.
std::string resource_name(const std::string& server, const std::string& uri) {
  return "mcp__" + server + "__" + uri;
}

// Every text inside: what compact JSON would have escaped, too.
bool hides_anywhere(const Json& json) {
  if (json.is_string()) return hides_text(json.get_ref<const std::string&>());
  if (!json.is_structured()) return false;
  for (const auto& [key, value] : json.items()) {
    if ((json.is_object() && hides_text(key)) || hides_anywhere(value)) return true;
  }
  return false;
}

// A legacy tool that is called as a task or not at all.
bool needs_task(const Client& client, const Json& definition) {
  if (client.server().era != Era::legacy || !has_capability(client, "tasks")) return false;
  const Json execution = definition.value("execution", Json::object());
  return text_of(execution, "taskSupport") == "required";
}

}  // namespace

Value to_value(const Pins& pins) {
  Json json = Json::object();
  for (const auto& [upstream, names] : pins) {
    json[upstream] = Json::object();
    for (const auto& [name, digest] : names) json[upstream][name] = digest;
  }
  return json;
}

Result<void> from_value(const Value& value, Pins& out) {
  if (!value.json().is_object()) return Err(Code::invalid, "$: must be an object");
  for (const auto& [upstream, names] : value.json().items()) {
    if (!names.is_object()) return Err(Code::invalid, "$." + upstream + ": must be an object");
    out[upstream];
    for (const auto& [name, digest] : names.items()) {
      if (!digest.is_string()) {
        return Err(Code::invalid, "$." + upstream + "." + name + ": must be a string");
      }
      out[upstream][name] = digest.get<std::string>();
    }
  }
  return {};
}

Gateway::Gateway(Server& server, GatewayOptions options)
    : server_(server), options_(std::move(options)) {
  // Clients may leave the server after the gateway has gone.
  server_.set_on_watched([this, here = std::weak_ptr<int>(here_)]() {
    if (!here.expired()) note_watched();
  });
  server_.set_completion(
      [this](Value params, Call& call) { return complete(std::move(params), call); });
}

Gateway::~Gateway() = default;

void Gateway::add(std::string name, Connect connect) {
  const std::size_t number = upstreams_.size();
  upstreams_.push_back(
      std::make_unique<Upstream>(std::move(name), std::move(connect), options_,
                                 [this, number](const std::string& method, const Value& params) {
                                   heard(*upstreams_[number], method, params);
                                 }));
}

// ---- what upstreams tell
// ---------------------------------------------------------------------------------

void Gateway::heard(Upstream& upstream, const std::string& method, const Value& params) {
  if (method == "notifications/resources/updated") {
    const std::string uri = text_of(params.json(), "uri");
    if (upstream.owns(uri)) server_.resource_updated(uri);
    return;
  }
  if (std::exchange(upstream.is_stale, true)) return;
  scope_.spawn(refresh_later(upstream));
}

// What changes in one go is listed once, who changes all the time ever more rarely.
Task<void> Gateway::refresh_later(Upstream& upstream) {
  const Duration quiet = Loop::current().now() - upstream.refreshed;
  upstream.pause =
      quiet < 2 * upstream.pause ? std::min(2 * upstream.pause, refresh_pause_max) : refresh_pause;
  co_await delay(upstream.pause);
  auto permit = co_await refreshing_.acquire();
  upstream.is_stale = false;
  std::erase_if(quarantined_,
                [&](const Quarantined& one) { return one.upstream == upstream.name(); });
  auto done = co_await refresh_one(upstream);
  upstream.refreshed = Loop::current().now();
  if (!done) co_return;  // who asks for a list is told why
}

void Gateway::note_watched() {
  const std::set<std::string> watched = server_.watched();
  for (const auto& upstream : upstreams_) upstream->watch(watched);
}

// ---- what is offered
// ---------------------------------------------------------------------------------

Task<Result<void>> Gateway::refresh() {
  auto permit = co_await refreshing_.acquire();
  quarantined_.clear();
  problems_.clear();
  for (const auto& upstream : upstreams_) {
    auto done = co_await refresh_one(*upstream);
    if (!done) {
      co_return Err(
          std::move(done).error().context("MCP server \"" + upstream->name() + "\" is not there"));
    }
  }
  co_return Result<void>();
}

// A server that has forgotten our session is listed on a new one.
Task<Result<void>> Gateway::refresh_one(Upstream& upstream) {
  auto client = co_await ok(upstream.client());
  auto done = co_await refresh_with(upstream, client);
  if (done || !client->has_lost_session()) co_return std::move(done);
  client = co_await ok(upstream.client());
  co_return co_await refresh_with(upstream, client);
}

Task<Result<void>> Gateway::refresh_with(Upstream& upstream, std::shared_ptr<Client> client) {
  std::set<std::string> seen;
  // The first sight of a server is taken as it is; afterwards it has pins, be they none.
  const bool is_first = !options_.pins.contains(upstream.name());
  if (has_capability(*client, "tools")) {
    const Value tools = co_await ok(client->list_all("tools/list", "tools"));
    for (const Json& tool : tools.json()) co_await ok(offer_tool(upstream, *client, tool, seen));
  }
  if (has_capability(*client, "prompts")) {
    const Value prompts = co_await ok(client->list_all("prompts/list", "prompts"));
    for (const Json& prompt : prompts.json()) co_await ok(offer_prompt(upstream, prompt, seen));
  }
  co_await ok(refresh_skills(upstream, *client, seen));
  co_await ok(refresh_resources(upstream, *client));
  if (is_first) {
    auto& pins = options_.pins[upstream.name()];
    for (const auto& [name, offer] : upstream.offered) pins[name] = offer.digest;
  }
  for (auto at = upstream.offered.begin(); at != upstream.offered.end();) {
    const std::string name = (at++)->first;
    if (!seen.contains(name)) withdraw(upstream, name);
  }
  co_return Result<void>();
}

Task<Result<void>> Gateway::refresh_resources(Upstream& upstream, Client& client) {
  if (!has_capability(client, "resources")) co_return Result<void>();
  std::set<std::string> seen;
  const Value resources = co_await ok(client.list_all("resources/list", "resources"));
  for (const Json& one : resources.json()) offer_resource(upstream, one, "uri", seen);
  // Templates came later than resources: older servers may not know the list.
  auto templates = co_await client.list_all("resources/templates/list", "resourceTemplates");
  if (templates) {
    for (const Json& one : templates->json()) offer_resource(upstream, one, "uriTemplate", seen);
  } else if (templates.error().code != Code::not_found &&
             templates.error().code != Code::unsupported) {
    co_return Err(std::move(templates).error());
  }
  for (auto at = upstream.resources.begin(); at != upstream.resources.end();) {
    const std::string uri = *at++;
    if (seen.contains(uri)) continue;
    upstream.resources.erase(uri);
    server_.remove_resource(uri);
  }
  upstream.watch(server_.watched());
  co_return Result<void>();
}

void Gateway::withdraw(Upstream& upstream, const std::string& name) {
  const auto at = upstream.offered.find(name);
  if (at == upstream.offered.end()) return;
  switch (at->second.kind) {
    case Kind::tool:
      server_.remove_tool(name);
      break;
    case Kind::prompt:
      server_.remove_prompt(name.substr(prompt_prefix.size()));
      break;
    case Kind::skill:
      server_.remove_skill(name.substr(name.find(':') + 1));
      break;
  }
  upstream.offered.erase(at);
}

bool Gateway::is_approved(Upstream& upstream, const std::string& name, const std::string& digest,
                          const Json& definition) {
  auto pinned = options_.pins.find(upstream.name());
  const bool known = pinned != options_.pins.end() && pinned->second.contains(name);
  if (known && pinned->second.at(name) == digest) return true;
  std::string why = known ? "has changed" : "is new";
  if (pinned == options_.pins.end()) {
    // At first sight there is nothing to compare with, but it can be looked at.
    why = suspicion(definition);
    if (why.empty()) return true;
  }
  quarantined_.push_back(
      {upstream.name(), name, !known, std::move(why), digest, Value(definition)});
  withdraw(upstream, name);
  return false;
}

// What must be seen by a person before a model reads it; empty: nothing.
std::string Gateway::suspicion(const Json& definition) const {
  if (rpc::compact(definition).size() > options_.definition_bytes_max) {
    return "is longer than " + std::to_string(options_.definition_bytes_max) + " bytes";
  }
  if (hides_anywhere(definition)) return "hides characters";
  return {};
}

Result<void> Gateway::approve(const std::string& name) {
  for (const Quarantined& item : quarantined_) {
    if (item.name != name) continue;
    options_.pins[item.upstream][name] = item.digest;
    return {};
  }
  return Err(Code::not_found, "nothing is withheld under the name \"" + name + "\"");
}

Result<void> Gateway::offer_tool(Upstream& upstream, const Client& client, const Json& definition,
                                 std::set<std::string>& seen) {
  const std::string raw = definition.is_object() ? definition.value("name", "") : "";
  if (raw.empty()) return {};  // no tool: there is no name to call it by
  const std::string name = offered_name(upstream.name(), raw);
  const std::string digest = sha256_hex(rpc::canonical(definition));
  seen.insert(name);
  if (!is_approved(upstream, name, digest, definition)) return {};
  const auto at = upstream.offered.find(name);
  if (at != upstream.offered.end() && at->second.digest == digest) return {};
  withdraw(upstream, name);
  ServerTool tool;
  tool.definition = Value(definition);
  tool.definition.edit()["name"] = name;
  // How it is called there is not how it is called here.
  tool.definition.edit().erase("execution");
  tool.tasks = TaskSupport::optional;
  const bool as_task = needs_task(client, definition);
  tool.run = [this, &upstream, name, raw, as_task](Value arguments, Call& call) {
    Json params = {{"name", raw}, {"arguments", arguments.json()}};
    if (as_task) params["task"] = Json::object();
    return pass(upstream, name, "tools/call", std::move(params), call);
  };
  auto added = server_.add(std::move(tool));
  if (!added) {  // left out, the rest stays of use
    problems_.push_back(upstream.name() + ": " + added.error().message);
    return {};
  }
  upstream.offered[name] = {digest, Kind::tool, raw};
  return {};
}

Result<void> Gateway::offer_prompt(Upstream& upstream, const Json& definition,
                                   std::set<std::string>& seen) {
  const std::string raw = definition.is_object() ? definition.value("name", "") : "";
  if (raw.empty()) return {};
  const std::string name = offered_name(upstream.name(), raw);
  const std::string digest = sha256_hex(rpc::canonical(definition));
  // A tool may have the same name.
  const std::string pin_name = std::string(prompt_prefix) + name;
  seen.insert(pin_name);
  if (!is_approved(upstream, pin_name, digest, definition)) return {};
  const auto at = upstream.offered.find(pin_name);
  if (at != upstream.offered.end() && at->second.digest == digest) return {};
  withdraw(upstream, pin_name);
  ServerPrompt prompt;
  prompt.definition = Value(definition);
  prompt.definition.edit()["name"] = name;
  prompt.grant = name;
  prompt.get = [this, &upstream, name, raw](Value arguments, Call& call) {
    Json params = {{"name", raw}, {"arguments", arguments.json()}};
    return pass(upstream, name, "prompts/get", std::move(params), call);
  };
  TRY(server_.add(std::move(prompt)));
  upstream.offered[pin_name] = {digest, Kind::prompt, raw};
  return {};
}

// Resources keep their URI. Where two servers have the same, the first one's counts.
void Gateway::offer_resource(Upstream& upstream, const Json& definition, const char* key,
                             std::set<std::string>& seen) {
  const std::string uri = text_of(definition, key);
  if (uri.empty() || upstream.skill_files.contains(uri)) return;
  const std::string why = suspicion(definition);
  if (!why.empty()) {
    problems_.push_back(upstream.name() + ": the resource " + uri + " " + why);
    return;
  }
  seen.insert(uri);
  if (upstream.resources.contains(uri)) return;
  ServerResource resource;
  resource.definition = Value(definition);
  resource.grant = resource_name(upstream.name(), uri);
  resource.read = [this, &upstream](Value where, Call& call) {
    const std::string name = resource_name(upstream.name(), text_of(where.json(), "uri"));
    return pass(upstream, name, "resources/read", where.json(), call);
  };
  if (server_.add(std::move(resource))) upstream.resources.insert(uri);
}

Task<Result<Value>> Gateway::pass(Upstream& upstream, std::string name, std::string method,
                                  Json params, Call& call) {
  if (options_.permits) {
    Json& said = method == "resources/read" ? params : params["arguments"];
    auto permitted = options_.permits(call.principal(), name, Value(said));
    if (!permitted) co_return Err(std::move(permitted).error());
    said = permitted->json();
  }
  auto result = co_await upstream.pass(std::move(method), std::move(params), call);
  co_return std::move(result);
}

// What an argument of a prompt or of a template may be, the upstream that has it knows.
Task<Result<Value>> Gateway::complete(Value params, Call& call) {
  Json asked = params.json();
  Json none = Json::parse(R"({"completion":{"values":[]}})");
  Json& about = asked["ref"];
  asked.erase("_meta");
  const std::string pin = std::string(prompt_prefix) + text_of(about, "name");
  const std::string uri = text_of(about, "uri");
  for (const auto& upstream : upstreams_) {
    const auto prompt = upstream->offered.find(pin);
    const bool has_prompt = prompt != upstream->offered.end();
    if (!has_prompt && (uri.empty() || !upstream->owns(uri))) continue;
    if (has_prompt) about["name"] = prompt->second.raw;
    const auto client = co_await ok(upstream->client());
    if (!has_capability(*client, "completions")) break;
    co_return co_await upstream->pass("completion/complete", std::move(asked), call);
  }
  co_return Value(std::move(none));
}

}  // namespace ambit::mcp
