// The client that the official conformance suite starts, once a scenario: its last argument is the
// URL, the environment names scenario, protocol version and what to do
// (MCP_CONFORMANCE_SCENARIO, _PROTOCOL_VERSION, _CONTEXT). Ends with 0 if all calls were answered.

#include "http/curl_client.h"
#include "io/uv_world.h"
#include "mcp/client.h"
#include "mcp/http_transport.h"
#include "mcp/oauth.h"
#include "mcp/skill_reader.h"
#include "support/run_task.h"

#include <nlohmann/json.hpp>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <utility>

namespace ambit::mcp {
namespace {

using rpc::Json;

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr ? value : "";
}

// The person in front of a browser: the suite's login page agrees at once and sends us back.
Task<Result<std::string>> browse(http::Client& http, std::string where) {
  http::Request request;
  request.url = std::move(where);
  const auto response = co_await ok(http.send(std::move(request)));
  const auto location = response.headers.find("Location");
  if (!location) co_return Err(Code::denied, "the login page sends us nowhere");
  co_return std::string(*location);
}

// Accepts every form with its defaults, as SEP-1034 asks of clients.
Task<Result<Value>> answer_input(std::string method, Value params) {
  if (method == "roots/list") co_return Value(Json{{"roots", Json::array()}});
  if (method == "sampling/createMessage") {
    co_return Value(Json::parse(
        R"({"role":"assistant","model":"none","content":{"type":"text","text":"Hello"}})"));
  }
  Json content = Json::object();
  const Json& asked = params.json();
  if (asked.contains("requestedSchema") && asked["requestedSchema"].contains("properties")) {
    for (const auto& [name, property] : asked["requestedSchema"]["properties"].items()) {
      if (property.contains("default")) {
        content[name] = property["default"];
      } else if (property.value("type", "") == "boolean") {
        content[name] = true;
      }
    }
  }
  co_return Value(Json{{"action", "accept"}, {"content", std::move(content)}});
}

class Scenario {
 public:
  Scenario(Client& client, std::string name) : client_(client), name_(std::move(name)) {}

  Task<Result<void>> run() {
    co_await ok(client_.connect());
    if (name_ == "initialize") {
      const auto listed = co_await ok(client_.list_tools());
      std::printf("%zu tools\n", listed.tools.size());
      co_return Result<void>();
    }
    if (name_.starts_with("sep-2640-client")) co_return co_await read_skills();
    auto list = co_await ok(client_.list_tools());
    for (const std::string& why : list.rejected)
      std::fprintf(stderr, "left out: %s\n", why.c_str());
    if (name_ == "json-schema-ref-no-deref" || name_ == "request-metadata") {
      co_return Result<void>();
    }
    if (name_ == "json-schema-2020-12-preservation")
      co_return co_await echo_schema(std::move(list));
    const Json context = Json::parse(variable("MCP_CONFORMANCE_CONTEXT"), nullptr, false);
    if (context.is_object() && context.contains("toolCalls")) {
      co_return co_await call_all(context["toolCalls"]);
    }
    if (name_ == "http-standard-headers") co_await ok(read_all());
    for (const Tool& tool : list.tools) co_await ok(call(tool.name, arguments_for(tool)));
    co_return Result<void>();
  }

 private:
  static Json arguments_for(const Tool& tool) {
    Json arguments = Json::object();
    const Json& schema = tool.input_schema.json();
    if (!schema.contains("properties")) return arguments;
    for (const auto& [name, property] : schema["properties"].items()) {
      const std::string type = property.is_object() ? property.value("type", "string") : "";
      if (type == "number" || type == "integer") arguments[name] = 2;
      if (type == "string") arguments[name] = "text";
      if (type == "boolean") arguments[name] = true;
    }
    return arguments;
  }

  Task<Result<void>> call(std::string tool, Json arguments) {
    const auto answer =
        co_await ok(client_.call_tool(std::move(tool), Value(std::move(arguments))));
    if (answer.fault) co_return Err(rpc::to_error(*answer.fault));
    co_return Result<void>();
  }

  Task<Result<void>> call_all(Json calls) {
    for (const Json& wanted : calls) {
      co_await ok(call(wanted["name"].get<std::string>(), wanted["arguments"]));
    }
    co_return Result<void>();
  }

  Task<Result<void>> echo_schema(ToolList list) {
    for (const Tool& tool : list.tools) {
      if (tool.name != "json_schema_2020_12_tool") continue;
      Json arguments = Json::object();
      arguments["schema"] = tool.input_schema.json();
      co_return co_await call("json_schema_echo", std::move(arguments));
    }
    co_return Err(Code::not_found, "there is no json_schema_2020_12_tool");
  }

  Task<Result<void>> ask(std::string method, std::string key, std::string value) {
    Json params = Json::object();
    params[key] = std::move(value);
    const auto reply = co_await ok(client_.request(std::move(method), Value(std::move(params))));
    if (reply.fault) co_return Err(rpc::to_error(*reply.fault));
    co_return Result<void>();
  }

  // Lists them; where the scenario is not about what is read ahead, loads each with all its files.
  Task<Result<void>> read_skills() {
    SkillReader reader(client_);
    const SkillList list = co_await ok(reader.list());
    if (name_ == "sep-2640-client-no-prefetch") co_return Result<void>();
    for (const SkillEntry& skill : list.skills) {
      co_await ok(reader.read(skill, skill.uri));
      for (const SkillResource& file : skill.resources) {
        if (file.uri != skill.uri) co_await ok(reader.read(skill, file.uri));
      }
    }
    co_return Result<void>();
  }

  Task<Result<void>> read_all() {
    const Value resources = co_await ok(client_.list_all("resources/list", "resources"));
    for (const Json& resource : resources.json()) {
      co_await ok(ask("resources/read", "uri", resource["uri"].get<std::string>()));
    }
    const Value prompts = co_await ok(client_.list_all("prompts/list", "prompts"));
    for (const Json& prompt : prompts.json()) {
      co_await ok(ask("prompts/get", "name", prompt["name"].get<std::string>()));
    }
    co_return Result<void>();
  }

  Client& client_;
  std::string name_;
};

// Which of the grants without a person the scenario is about; false: its key cannot be read.
bool choose_grant(const Json& context, const std::string& scenario, OAuthOptions& login) {
  const auto given = [&](const char* name) { return context.value(name, ""); };
  std::string assertion;
  if (scenario.starts_with("auth/client-credentials")) login.grant = Grant::client_credentials;
  if (context.contains("private_key_pem")) {
    auto key = jose::Key::from_pem(given("private_key_pem"), "");
    if (!key) {
      std::fprintf(stderr, "%s\n", key.error().message.c_str());
      return false;
    }
    login.key = std::move(*key);
  }
  if (context.contains("valid_jwt")) {
    login.grant = Grant::jwt_bearer;
    assertion = given("valid_jwt");
  }
  if (context.contains("idp_id_token")) {
    login.grant = Grant::enterprise;
    login.identity = {given("idp_token_endpoint"), given("idp_client_id")};
    assertion = given("idp_id_token");
  }
  if (!assertion.empty()) {
    login.assertion = [assertion]() -> Result<std::string> { return assertion; };
  }
  return true;
}

int run(const std::string& url) {
  io::UvWorld world;
  http::CurlClient http(world.watcher());
  OAuthOptions login;
  login.metadata_url = "https://conformance-test.local/client-metadata.json";
  login.redirect_uri = "http://localhost:3000/callback";
  login.browse = [&http](std::string where) { return browse(http, std::move(where)); };
  const Json context = Json::parse(variable("MCP_CONFORMANCE_CONTEXT"), nullptr, false);
  if (context.is_object()) {
    login.client_id = context.value("client_id", "");
    login.client_secret = context.value("client_secret", "");
    if (!choose_grant(context, variable("MCP_CONFORMANCE_SCENARIO"), login)) return 1;
  }
  auto auth =
      std::make_shared<OAuth>(http, world.world().clock, world.world().entropy, std::move(login));
  auto transport = HttpTransport::make(http, HttpTarget{url, {}, auth});
  if (!transport) {
    std::fprintf(stderr, "%s\n", transport.error().message.c_str());
    return 1;
  }
  const std::string version = variable("MCP_CONFORMANCE_PROTOCOL_VERSION");
  const std::string name = variable("MCP_CONFORMANCE_SCENARIO");
  Connection connection;
  connection.transport = std::move(*transport);
  ClientOptions options;
  // The suite's modern servers need not know server/discover; one scenario is about it.
  options.era = EraChoice::automatic;
  // What a server declares is known only from it, so that scenarios of extensions begin with it.
  const bool asks = name == "request-metadata" || name.starts_with("sep-2640-");
  if (version == modern_version && !asks) {
    options.era = EraChoice::modern_unasked;
  }
  if (is_legacy_version(version)) options.era = EraChoice::legacy;
  options.on_input = answer_input;
  options.capabilities = Json{{"elicitation", {{"form", {{"applyDefaults", true}}}}},
                              {"roots", Json::object()},
                              {"sampling", Json::object()}};
  Client client(std::move(connection), std::move(options));
  Scenario scenario(client, name);
  const auto done = run_task(world.loop(), scenario.run());
  run_task(world.loop(), [](Client& ending) -> Task<int> {
    co_await ending.close();
    co_return 0;
  }(client));
  if (!done) std::fprintf(stderr, "%s\n", done.error().message.c_str());
  return done ? 0 : 1;
}

}  // namespace
}  // namespace ambit::mcp

int main(int count, char** arguments) {
  return count > 1 ? ambit::mcp::run(arguments[count - 1]) : 2;
}
