// The models and the MCP servers of a fleet file.

#include "agents/fleet_parser.h"

#include <algorithm>

namespace ambit::agents {
namespace {

constexpr std::string_view unix_scheme = "unix:";

bool is_device(std::string_view name) {
  if (name == "cpu" || name == "auto" || name == "cuda") return true;
  constexpr std::string_view numbered = "cuda:";
  if (!name.starts_with(numbered)) return false;
  name.remove_prefix(numbered.size());
  return !name.empty() && name.size() <= 3 &&
         std::all_of(name.begin(), name.end(), [](char c) { return c >= '0' && c <= '9'; });
}

}  // namespace

void FleetParser::model(Reader& reader, const std::string& name) {
  ModelSpec spec;
  spec.name = name;
  const std::string provider = reader.text("provider", "embedded");
  reader.known("provider", provider, {"embedded", "openai", "scripted"}, "provider");
  reader.require("model");
  if (const Node* node = reader.get("model", Node::Kind::string)) {
    std::string value = environment(reader, *node, reader.at("model"), node->string);
    if (provider == "openai") {
      spec.remote_name = std::move(value);
    } else if (provider == "scripted") {
      spec.script = existing(reader, "model", *node, value);
    } else {
      spec.file = existing(reader, "model", *node, value);
    }
  }
  if (provider == "openai") {
    endpoint(reader, spec);
  } else {
    for (const char* key : {"baseUrl", "apiKeyEnv"}) {
      const Node* node = reader.get(key);
      if (node != nullptr) {
        reader.report(*node, reader.at(key), R"(only a model of "provider": "openai" has one)");
      }
    }
  }
  spec.sampling.temperature = reader.real("temperature", 0.0, 0.0, 10.0);
  spec.sampling.top_p = reader.real("topP", 1.0, 0.0, 1.0);
  spec.sampling.min_p = reader.real("minP", 0.0, 0.0, 1.0);
  spec.sampling.top_k = static_cast<int>(reader.integer("topK", 0, 0, 1'000'000));
  spec.sampling.repeat_penalty = reader.real("repeatPenalty", 1.0, 0.1, 10.0);
  spec.tokens_max = reader.integer("maxTokens", spec.tokens_max, 1, 1'000'000);
  spec.at_once_max = reader.integer("maxAtOnce", 0, 1, 1'000'000);
  if (reader.get("maxAtOnce") == nullptr) spec.at_once_max = 0;
  fallbacks(reader, spec);
  if (const Node* node = reader.get("price", Node::Kind::object)) {
    Reader price(file_.problems, *node, reader.at("price"));
    spec.price.input = price.real("input", 0, 0, 1e6);
    spec.price.cached_input = price.real("cachedInput", spec.price.input, 0, 1e6);
    spec.price.output = price.real("output", 0, 0, 1e6);
    price.done();
  }
  spec.context_max = reader.integer("contextLength", spec.context_max, 16, 16'000'000);
  computing(reader, spec, provider == "embedded");
  reader.done();
  file_.fleet.models.push_back(std::move(spec));
}

// What computes an embedded model, and where its sessions are kept.
void FleetParser::computing(Reader& reader, ModelSpec& spec, bool is_embedded) {
  for (const char* key : {"device", "prefillDevice", "weights", "parking"}) {
    const Node* node = reader.get(key);
    if (node != nullptr && !is_embedded)
      reader.report(*node, reader.at(key), "only an embedded model is computed here");
  }
  spec.device = reader.text("device", spec.device);
  if (!is_device(spec.device))
    reader.report(*reader.get("device"), reader.at("device"),
                  "there is no device \"" + spec.device +
                      "\"; there are cpu, cuda (cuda:1 is the second) and auto");
  spec.prefill_device = reader.text("prefillDevice", spec.prefill_device);
  if (const Node* node = reader.get("prefillDevice"); node != nullptr) {
    if (!is_device(spec.prefill_device) || !spec.prefill_device.starts_with("cuda"))
      reader.report(*node, reader.at("prefillDevice"),
                    "there is no GPU \"" + spec.prefill_device + "\"; cuda:1 is the second");
    else if (spec.device == "cpu")
      reader.report(*node, reader.at("prefillDevice"),
                    "prompts go to a GPU only if a GPU decodes: say \"device\": \"cuda\"");
  }
  spec.weights = reader.text("weights", spec.weights);
  reader.known("weights", spec.weights, {"file", "fp8"}, "type of weights");
  spec.parks = reader.flag("parking", spec.parks);
  if (const Node* node = reader.get("parking"); node != nullptr && spec.device == "cpu")
    reader.report(
        *node, reader.at("parking"),
        "weights of the CPU are in host memory anyway: this is for a \"device\": \"cuda\"");
  if (const Node* node = reader.get("kvCache", Node::Kind::object)) {
    constexpr std::int64_t bytes_max = std::int64_t{1} << 46U;
    Reader cache(file_.problems, *node, reader.at("kvCache"));
    spec.kv_type = cache.text("type", spec.kv_type);
    cache.known("type", spec.kv_type, {"f16", "q8", "fp8"}, "type of keys and values");
    spec.kv_memory = cache.quantity("memory", spec.kv_memory, false, bytes_max);
    spec.kv_host = cache.quantity("host", spec.kv_host, false, bytes_max);
    spec.kv_disk = cache.quantity("disk", spec.kv_disk, false, bytes_max);
    cache.done();
    if (spec.kv_host > 0 && spec.device == "cpu")
      reader.report(
          *node, reader.at("kvCache.host"),
          "pages of the CPU are in host memory already: this is for a \"device\": \"cuda\"");
    else if (spec.kv_host == 0 && spec.kv_disk > 0 && spec.device.starts_with("cuda"))
      reader.report(*node, reader.at("kvCache.disk"),
                    "a GPU's pages go to disk by way of host memory: \"host\" is missing");
    if (!is_embedded)
      reader.report(*node, reader.at("kvCache"), "only an embedded model keeps keys and values");
  }
  if (spec.device == "cpu" && (spec.weights == "fp8" || spec.kv_type == "fp8"))
    reader.report(*reader.get(spec.weights == "fp8" ? "weights" : "kvCache"),
                  reader.at(spec.weights == "fp8" ? "weights" : "kvCache.type"),
                  "8-bit floats are for GPUs: say \"device\": \"cuda\"");
}

// Models to go to, in order, when this one cannot answer.
void FleetParser::fallbacks(Reader& reader, ModelSpec& spec) {
  std::vector<std::string> names;
  if (const Node* models = root_.find("models")) {
    for (const Node::Member& member : models->members) names.push_back(member.key);
  }
  spec.fallback = reader.texts("fallback");
  const Node* node = reader.get("fallback");
  for (std::size_t i = 0; i < spec.fallback.size() && i < node->items.size(); ++i) {
    const std::string path = reader.at("fallback") + "[" + std::to_string(i) + "]";
    reader.known(node->items[i], path, spec.fallback[i], names, "model");
    if (spec.fallback[i] == spec.name) {
      reader.report(node->items[i], path, "a model cannot be its own fallback");
    }
  }
}

// Members that are strings, with ${VAR} replaced.
void FleetParser::string_map(Reader& reader, const std::string& key,
                             std::vector<std::pair<std::string, std::string>>& out) {
  const Node* node = reader.get(key, Node::Kind::object);
  if (node == nullptr) return;
  for (const Node::Member& member : node->members) {
    const std::string path = reader.at(key) + "." + member.key;
    if (member.value.kind == Node::Kind::string) {
      out.emplace_back(member.key, environment(reader, member.value, path, member.value.string));
    } else {
      reader.report(
          member.value, path,
          "expected a string but found " + std::string(agents::to_string(member.value.kind)));
    }
  }
}

// How the server is reached: a program that is started, a Unix socket, or a URL over HTTP.
void FleetParser::mcp_transport(Reader& reader, McpServerSpec& spec) {
  const Node* type = reader.get("type", Node::Kind::string);
  const Node* url = reader.get("url", Node::Kind::string);
  const Node* user = reader.get("user", Node::Kind::string);
  if (user != nullptr) spec.user = user->string;
  const std::string text =
      url != nullptr ? environment(reader, *url, reader.at("url"), url->string) : "";
  const bool on_socket = text.starts_with(unix_scheme);
  const std::string usual = url == nullptr || on_socket ? "stdio" : "http";
  const std::string kind = type != nullptr ? type->string : usual;
  if (kind != "stdio" && kind != "http" && kind != "streamable-http") {
    reader.report(*type, reader.at("type"),
                  R"(there is no such transport; there are: "stdio", "http", "streamable-http")");
    return;
  }
  if (kind == "stdio" && url != nullptr && !on_socket) {
    reader.report(*url, reader.at("url"),
                  R"(a server of type "stdio" has no URL but that of a socket: unix:///path)");
    return;
  }
  if (kind != "stdio" && on_socket) {
    reader.report(*type, reader.at("type"),
                  R"(on a Unix socket messages are framed as on stdio: leave "type" out)");
    return;
  }
  const bool is_started = kind == "stdio" && url == nullptr;
  reader.require(is_started ? "command" : "url");
  for (const char* key : {"command", "args", "env", "cwd", "profile", "jail", "sha256"}) {
    const Node* other = is_started ? nullptr : reader.get(key);
    if (other != nullptr) {
      reader.report(*other, reader.at(key),
                    std::string(on_socket ? "a server on a socket" : "a server over HTTP") +
                        " is not started: leave this out");
    }
  }
  const Node* headers = kind == "stdio" ? reader.get("headers") : nullptr;
  if (headers != nullptr) {
    reader.report(*headers, reader.at("headers"), "only servers over HTTP get headers");
  }
  if (user != nullptr && !on_socket) {
    reader.report(*user, reader.at("user"),
                  "only of a server on a Unix socket is it asked whose it is");
  }
  if (on_socket) {
    auto path = socket_path(text);
    if (path) spec.socket = std::move(*path);
    if (!path) reader.report(*url, reader.at("url"), path.error().message);
  } else if (url != nullptr) {
    spec.url = text;
    if (!text.starts_with("http://") && !text.starts_with("https://")) {
      reader.report(*url, reader.at("url"),
                    "expected a URL that begins with http://, https:// or unix:///");
    }
  }
}

Result<std::string> socket_path(std::string_view url) {
  const std::string_view path = url.substr(std::min(url.size(), unix_scheme.size()));
  if (!url.starts_with(unix_scheme) || !path.starts_with("///") || path.size() == 3) {
    return Err(Code::invalid, "expected an absolute path such as unix:///run/server.sock");
  }
  // A socket's name has 108 bytes, one of them the zero at its end.
  constexpr std::size_t path_bytes_max = 107;
  if (path.size() - 2 > path_bytes_max) {
    return Err(Code::invalid, "a socket's path has at most 107 bytes");
  }
  if (path.find('\0') != std::string_view::npos) {
    return Err(Code::invalid, "the path holds a zero byte");
  }
  return std::string(path.substr(2));
}

void FleetParser::endpoint(Reader& reader, ModelSpec& spec) {
  reader.require("baseUrl");
  const Node* url = reader.get("baseUrl", Node::Kind::string);
  if (url != nullptr) {
    spec.base_url = environment(reader, *url, reader.at("baseUrl"), url->string);
    while (spec.base_url.ends_with('/')) spec.base_url.pop_back();
    spec.is_local = spec.base_url.starts_with("http://") && is_loopback(spec.base_url);
    if (!spec.base_url.starts_with("https://") && !spec.base_url.starts_with("http://")) {
      reader.report(*url, reader.at("baseUrl"),
                    R"(expected an http or https URL such as "https://api.example.com/v1")");
    }
  }
  const Node* key = reader.get("apiKeyEnv", Node::Kind::string);
  if (key == nullptr) return;
  spec.key_variable = key->string;
  if (context_.environment && !context_.environment(spec.key_variable)) {
    reader.report(
        *key, reader.at("apiKeyEnv"),
        "the environment has no variable " + spec.key_variable + "; set it to the endpoint's key");
  }
  if (url != nullptr && spec.base_url.starts_with("http://") && !is_loopback(spec.base_url)) {
    reader.report(*url, reader.at("baseUrl"),
                  "a key would cross the network unencrypted; use https");
  }
}

// Of a URL that begins with "http://".
bool FleetParser::is_loopback(std::string_view url) {
  const std::string_view authority = url.substr(7, url.find('/', 7) - 7);
  const auto is_host = [&](std::string_view host) {
    return authority == host ||
           (authority.starts_with(host) && authority.substr(host.size()).starts_with(':') &&
            authority.find('@') == std::string_view::npos);
  };
  return is_host("localhost") || is_host("127.0.0.1") || is_host("[::1]");
}

// "oauth" of a server over HTTP.
void FleetParser::mcp_login(Reader& server, McpServerSpec& spec) {
  const Node* node = server.get("oauth", Node::Kind::object);
  if (node == nullptr) return;
  if (spec.url.empty()) {
    server.report(*node, server.at("oauth"), "only servers over HTTP are logged in to");
  }
  Reader reader(server.problems(), *node, server.at("oauth"));
  McpLoginSpec login;
  reader.require("grant");
  login.grant = reader.text("grant");
  reader.known("grant", login.grant, {"client_credentials", "jwt_bearer", "enterprise"}, "grant");
  login.client_id = reader.text("clientId");
  login.secret_variable = reader.text("clientSecretEnv");
  login.identity_endpoint = reader.text("identityTokenEndpoint");
  login.identity_client = reader.text("identityClientId");
  for (const auto& [key, file] : {std::pair("keyFile", &McpLoginSpec::key_file),
                                  std::pair("assertionFile", &McpLoginSpec::assertion_file)}) {
    const Node* named = reader.get(key, Node::Kind::string);
    if (named != nullptr) login.*file = existing(reader, key, *named, named->string);
  }
  const bool asserts = login.grant != "client_credentials";
  if (asserts) reader.require("assertionFile");
  if (login.grant == "enterprise") {
    reader.require("identityTokenEndpoint");
    reader.require("identityClientId");
  }
  if (!asserts || login.grant == "enterprise") reader.require("clientId");
  if (!asserts && login.secret_variable.empty() == login.key_file.empty()) {
    reader.report(*node, server.at("oauth"),
                  R"(say how we prove to be "clientId": "clientSecretEnv" or "keyFile")");
  }
  const Node* secret = reader.get("clientSecretEnv", Node::Kind::string);
  if (secret != nullptr && context_.environment && !context_.environment(secret->string)) {
    reader.report(*secret, reader.at("clientSecretEnv"),
                  "the environment has no variable " + secret->string + "; set it to the secret");
  }
  reader.done();
  spec.login = std::move(login);
}

// "sha256": what the server's files must be for it to be started.
void FleetParser::file_pins(Reader& reader, McpServerSpec& spec) {
  const Node* node = reader.get("sha256", Node::Kind::object);
  if (node == nullptr) return;
  for (const Node::Member& member : node->members) {
    const std::string path = reader.at("sha256") + "." + member.key;
    const std::string& digest = member.value.string;
    const bool is_digest = member.value.kind == Node::Kind::string && digest.size() == 64 &&
                           digest.find_first_not_of("0123456789abcdef") == std::string::npos;
    if (!is_digest) {
      reader.report(member.value, path, "expected a SHA-256: 64 lower-case hex digits");
    }
    spec.file_pins.emplace_back(existing(reader, "sha256." + member.key, member.value, member.key),
                                digest);
  }
}

void FleetParser::mcp_server(Reader& reader, const std::string& name) {
  McpServerSpec spec;
  spec.name = name;
  spec.profile = reader.text("profile", "fs-read");
  reader.known("profile", spec.profile, names_of(file_.fleet.profiles), "profile");
  mcp_transport(reader, spec);
  const Node* command = reader.get("command", Node::Kind::string);
  if (command != nullptr) {
    spec.command = environment(reader, *command, reader.at("command"), command->string);
    if (spec.command.empty()) reader.report(*command, reader.at("command"), "the command is empty");
    if (spec.command.find('/') != std::string::npos) spec.command = absolute(spec.command);
  }
  if (const Node* node = reader.get("args")) {
    for (const std::string& argument : reader.texts("args")) {
      spec.arguments.push_back(environment(reader, *node, reader.at("args"), argument));
    }
  }
  string_map(reader, "env", spec.environment);
  string_map(reader, "headers", spec.headers);
  mcp_login(reader, spec);
  file_pins(reader, spec);
  spec.directory = absolute(reader.text("cwd", "."));
  spec.jail = reader.text("jail", "shared");
  reader.known("jail", spec.jail, {"shared", "agent", "call"}, "way to share a jail");
  reader.done();
  file_.fleet.mcp_servers.push_back(std::move(spec));
}

}  // namespace ambit::agents
