#include "mcp/gateway.h"

#include "async/race.h"
#include "mcp/catalogue.h"
#include "mcp/digest.h"
#include "mcp/hidden_text.h"
#include "mcp/questions.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <utility>

namespace ambit::mcp {
namespace {

using rpc::Json;

constexpr std::size_t progress_waiting_max = 64;
constexpr std::string_view prompt_prefix = "prompt:";
constexpr std::size_t fault_bytes_max = 4000;
constexpr std::size_t fault_data_bytes_max = 64 << 10;

// What an upstream says went wrong, at a length that a client can bear.
rpc::Fault bounded(rpc::Fault fault) {
  if (fault.message.size() > fault_bytes_max) {
    fault.message = std::string(rpc::utf8_prefix(fault.message, fault_bytes_max)) + "...";
  }
  if (fault.data.present() && fault.data.text().size() > fault_data_bytes_max) fault.data = {};
  return fault;
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

Task<void> pass_progress(Channel<ProgressParams>& news, Call& call) {
  while (true) {
    auto progress = co_await news.receive();
    if (!progress) co_return;
    co_await call.progress(progress->progress, progress->total, progress->message);
  }
}

bool has_capability(const Client& client, const char* name) {
  const Json& all = client.server().capabilities.json();
  return all.is_object() && all.contains(name);
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

// One upstream server and its client, which is made anew when the connection has ended.
class Gateway::Upstream {
 public:
  Upstream(std::string name, Connect connect, const GatewayOptions& options)
      : name_(std::move(name)), connect_(std::move(connect)), options_(options) {}

  [[nodiscard]] const std::string& name() const { return name_; }
  std::map<std::string, Offer> offered;  // names of tools and prompts
  std::set<std::string> resources;       // URIs and templates that are ours

  Task<Result<std::shared_ptr<Client>>> client() {
    auto permit = co_await connecting_.acquire();
    if (client_ && !client_->ended()) co_return client_;
    auto connection = co_await ok(connect_());
    ClientOptions options = options_.client;
    options.capabilities = Json::parse(R"({"elicitation":{},"sampling":{},"roots":{}})");
    options.on_input = [this](std::string method, Value params) {
      return pass_question(std::move(method), std::move(params));
    };
    auto fresh = std::make_shared<Client>(std::move(connection), std::move(options));
    co_await ok(fresh->connect());
    client_ = fresh;
    co_return fresh;
  }

  // The upstream's answer as it is; `call` hears of its progress and answers its questions.
  Task<Result<Value>> pass(std::string method, Json params, Call& call) {
    Active active(*this, call);
    const auto to = co_await ok(client());
    Channel<ProgressParams> news(progress_waiting_max);
    CallOptions options = options_.call;
    // Progress that nobody takes in time is old by then.
    options.on_progress = [&news](const ProgressParams& progress) { news.try_send(progress); };
    auto request = to->request(std::move(method), Value(std::move(params)), std::move(options));
    auto outcome = co_await race(std::move(request), pass_progress(news, call));
    Result<rpc::Reply> reply = std::get<0>(std::move(outcome));
    while (auto late = news.try_receive()) {
      co_await call.progress(late->progress, late->total, late->message);
    }
    if (!reply) co_return Err(std::move(reply).error().context("MCP server \"" + name_ + "\""));
    // The client must answer first; what the upstream made of our silence does not count.
    if (active.waits) co_return Err(Code::unavailable, "waits for an answer of the client");
    if (reply->fault) {
      call.refuse(bounded(std::move(*reply->fault)));
      co_return Err(Code::internal, "refused");
    }
    if (reply->result.text().size() > options_.result_bytes_max) {
      co_return Err(Code::exhausted, "MCP server \"" + name_ + "\" answers with more than " +
                                         std::to_string(options_.result_bytes_max) + " bytes");
    }
    // How the upstream's era marks its results is not the client's business.
    Json& result = reply->result.edit();
    for (const char* key : {"resultType", "ttlMs", "cacheScope"}) {
      if (result.is_object()) result.erase(key);
    }
    co_return std::move(reply->result);
  }

 private:
  // A call under way, and whether its client has been asked and has not answered yet.
  struct Active {
    Upstream& upstream;
    Call& call;
    bool waits = false;
    std::size_t questions = 0;
    Active(Upstream& owner, Call& made) : upstream(owner), call(made) {
      upstream.active_.push_back(this);
    }
    Active(const Active&) = delete;
    Active& operator=(const Active&) = delete;
    ~Active() { std::erase(upstream.active_, this); }
  };

  // The protocol does not say whose call a question belongs to: with several it is nobody's.
  Task<Result<Value>> pass_question(std::string method, Value params) {
    if (active_.size() != 1) {
      co_return Err(Code::unsupported,
                    "the question belongs to no one call; ask in a quiet moment");
    }
    if (const auto why = why_not_ask(method, params)) {
      co_return Err(Code::denied,
                    "MCP server \"" + name_ + "\" may not ask this (" + method + "): " + *why);
    }
    if (++active_.front()->questions > options_.questions_max) {
      co_return Err(Code::exhausted, "MCP server \"" + name_ + "\" asks more than " +
                                         std::to_string(options_.questions_max) +
                                         " questions in one call");
    }
    const std::string key = method + ":" + sha256_hex(rpc::canonical(params.json())).substr(0, 16);
    Call& call = active_.front()->call;
    auto answer = co_await call.ask(key, std::move(method), std::move(params));
    const bool waits = !answer && answer.error().code == Code::unavailable;
    if (waits && active_.size() == 1) active_.front()->waits = true;
    co_return std::move(answer);
  }

  std::string name_;
  Connect connect_;
  const GatewayOptions& options_;
  std::shared_ptr<Client> client_;
  std::vector<Active*> active_;
  Semaphore connecting_{1};
};

Gateway::Gateway(Server& server, GatewayOptions options)
    : server_(server), options_(std::move(options)) {}
Gateway::~Gateway() = default;

void Gateway::add(std::string name, Connect connect) {
  upstreams_.push_back(std::make_unique<Upstream>(std::move(name), std::move(connect), options_));
}

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

Task<Result<void>> Gateway::refresh_one(Upstream& upstream) {
  const auto client = co_await ok(upstream.client());
  std::set<std::string> seen;
  // The first sight of a server is taken as it is; afterwards it has pins, be they none.
  const bool is_first = !options_.pins.contains(upstream.name());
  if (has_capability(*client, "tools")) {
    const Value tools = co_await ok(client->list_all("tools/list", "tools"));
    for (const Json& tool : tools.json()) co_await ok(offer_tool(upstream, tool, seen));
  }
  if (has_capability(*client, "prompts")) {
    const Value prompts = co_await ok(client->list_all("prompts/list", "prompts"));
    for (const Json& prompt : prompts.json()) co_await ok(offer_prompt(upstream, prompt, seen));
  }
  if (has_capability(*client, "resources")) {
    const Value resources = co_await ok(client->list_all("resources/list", "resources"));
    co_await ok(offer_resources(upstream, resources.json()));
  }
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

void Gateway::withdraw(Upstream& upstream, const std::string& name) {
  const auto at = upstream.offered.find(name);
  if (at == upstream.offered.end()) return;
  if (at->second.is_prompt) {
    server_.remove_prompt(name.substr(prompt_prefix.size()));
  } else {
    server_.remove_tool(name);
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

Result<void> Gateway::offer_tool(Upstream& upstream, const Json& definition,
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
  tool.run = [&upstream, raw](Value arguments, Call& call) {
    Json params = {{"name", raw}, {"arguments", arguments.json()}};
    return upstream.pass("tools/call", std::move(params), call);
  };
  auto added = server_.add(std::move(tool));
  if (!added) {  // left out, the rest stays of use
    problems_.push_back(upstream.name() + ": " + added.error().message);
    return {};
  }
  upstream.offered[name] = {digest, false};
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
  prompt.get = [&upstream, raw](Value arguments, Call& call) {
    Json params = {{"name", raw}, {"arguments", arguments.json()}};
    return upstream.pass("prompts/get", std::move(params), call);
  };
  TRY(server_.add(std::move(prompt)));
  upstream.offered[pin_name] = {digest, true};
  return {};
}

// Resources keep their URI. Where two servers have the same, the first one's counts.
Result<void> Gateway::offer_resources(Upstream& upstream, const Json& all) {
  for (const Json& definition : all) {
    const std::string uri = definition.is_object() ? definition.value("uri", "") : "";
    if (uri.empty() || upstream.resources.contains(uri)) continue;
    ServerResource resource;
    resource.definition = Value(definition);
    resource.read = [&upstream](Value where, Call& call) {
      return upstream.pass("resources/read", where.json(), call);
    };
    if (server_.add(std::move(resource))) upstream.resources.insert(uri);
  }
  return {};
}

}  // namespace ambit::mcp
