// ambit mcp list, call, read, prompt, skills, inspect, ping: one MCP server, asked by a person.
// SERVER is a URL (of a Unix socket: unix:///path), or the name of a server in a fleet file.

#include "app/command.h"
#include "app/load_fleet.h"
#include "app/login.h"
#include "app/mcp_connect.h"
#include "io/uv_world.h"
#include "mcp/client.h"
#include "mcp/content.h"
#include "mcp/skill_reader.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cstdio>
#include <map>
#include <memory>
#include <utility>

namespace ambit::app {
namespace {

using rpc::Json;
using rpc::Value;

constexpr std::size_t arguments_bytes_max = 1 << 20;
constexpr std::size_t text_bytes_max = 16 << 20;
constexpr std::size_t summary_width = 90;

struct Asked {
  std::string verb;
  std::vector<std::string> words;  // after SERVER
  bool json = false;
};

// "key=value" words, or one JSON object. A value that is JSON is taken as such, else as text.
Result<Value> read_arguments(const std::vector<std::string>& words, std::size_t from) {
  rpc::ParseLimits limits;
  limits.bytes_max = arguments_bytes_max;
  if (words.size() == from + 1 && words[from].starts_with('{')) {
    return Value::parse(words[from], limits);
  }
  Json arguments = Json::object();
  for (std::size_t i = from; i < words.size(); ++i) {
    const std::size_t equals = words[i].find('=');
    if (equals == std::string::npos || equals == 0) {
      return Err(Code::invalid, "\"" + words[i] +
                                    "\": give arguments as name=value, or all of them "
                                    "as one JSON object");
    }
    const std::string text = words[i].substr(equals + 1);
    const auto value = Value::parse(text, limits);
    arguments[words[i].substr(0, equals)] = value ? value->json() : Json(text);
  }
  return Value(std::move(arguments));
}

std::string first_line(std::string text) {
  text = text.substr(0, text.find('\n'));
  if (text.size() > summary_width)
    text = std::string(rpc::utf8_prefix(text, summary_width)) + "...";
  return text;
}

void print_rows(const std::string& title, const Json& items, const char* name) {
  if (items.empty()) return;
  print(title + "\n");
  std::size_t width = 0;
  for (const Json& item : items) width = std::max(width, item.value(name, "").size());
  for (const Json& item : items) {
    std::string line = "  " + item.value(name, "");
    line.resize(std::max(line.size(), std::min<std::size_t>(width, 48) + 2), ' ');
    const std::string about = first_line(item.value("description", item.value("title", "")));
    print(line + (about.empty() ? "" : "  " + about) + "\n");
  }
}

Result<Value> result_of(Result<rpc::Reply> reply) {
  if (!reply) return Err(std::move(reply).error());
  if (reply->fault) return Err(rpc::to_error(*reply->fault));
  return std::move(reply->result);
}

bool offers(const mcp::Client& client, const char* capability) {
  const Json& all = client.server().capabilities.json();
  return all.is_object() && all.contains(capability);
}

Json facts_of(const mcp::Client& client) {
  const mcp::ServerFacts& server = client.server();
  Json facts = {{"era", server.era == mcp::Era::modern ? "modern" : "legacy"},
                {"protocolVersion", server.protocol_version}};
  if (server.info) {
    facts["serverInfo"] = {{"name", server.info->name}, {"version", server.info->version}};
  }
  facts["capabilities"] = server.capabilities.json();
  if (!server.instructions.empty()) facts["instructions"] = server.instructions;
  return facts;
}

// Everything that the server says it has.
Task<Result<Value>> list_everything(mcp::Client& client) {
  Json all = Json::object();
  const std::pair<const char*, std::pair<const char*, const char*>> lists[] = {
      {"tools", {"tools/list", "tools"}},
      {"prompts", {"prompts/list", "prompts"}},
      {"resources", {"resources/list", "resources"}},
      {"resources", {"resources/templates/list", "resourceTemplates"}}};
  for (const auto& [capability, list] : lists) {
    if (!offers(client, capability)) continue;
    const Value items = co_await ok(client.list_all(list.first, list.second));
    all[list.second] = items.json();
  }
  co_return Value(std::move(all));
}

void print_lists(const Json& all) {
  print_rows("Tools", all.value("tools", Json::array()), "name");
  print_rows("Prompts", all.value("prompts", Json::array()), "name");
  print_rows("Resources", all.value("resources", Json::array()), "uri");
  print_rows("Resource templates", all.value("resourceTemplates", Json::array()), "uriTemplate");
}

Task<Result<int>> list(mcp::Client& client, Asked asked) {
  const Value all = co_await ok(list_everything(client));
  if (asked.json) {
    print(all.text() + "\n");
  } else {
    print_lists(all.json());
  }
  co_return 0;
}

Task<Result<int>> inspect(mcp::Client& client, Asked asked) {
  Json facts = facts_of(client);
  const Value all = co_await ok(list_everything(client));
  if (asked.json) {
    for (const auto& [key, items] : all.json().items()) facts[key] = items;
    print(rpc::compact(facts) + "\n");
    co_return 0;
  }
  const std::string name = facts.contains("serverInfo")
                               ? facts["serverInfo"]["name"].get<std::string>() + " " +
                                     facts["serverInfo"]["version"].get<std::string>()
                               : "a server that does not say its name";
  print(name + ", MCP " + client.server().protocol_version + "\n");
  std::string capabilities;
  for (const auto& [key, value] : facts["capabilities"].items()) capabilities += " " + key;
  print("offers:" + capabilities + "\n");
  if (!client.server().instructions.empty()) print(client.server().instructions + "\n");
  print_lists(all.json());
  co_return 0;
}

Task<Result<int>> call(mcp::Client& client, Asked asked) {
  Value arguments = co_await ok(read_arguments(asked.words, 1));
  Json params = {{"name", asked.words[0]}, {"arguments", arguments.json()}};
  // Tools whose arguments go into headers must be known before they are called.
  if (client.server().era == mcp::Era::modern) co_await ok(client.list_tools());
  auto reply = co_await client.request("tools/call", Value(std::move(params)));
  const Value result = co_await ok(result_of(std::move(reply)));
  mcp::CallToolResult read;
  co_await ok(mcp::from_value(result, read));
  if (asked.json) {
    print(result.text() + "\n");
  } else {
    print(mcp::flatten(read, text_bytes_max).text + "\n");
  }
  co_return read.is_error ? 1 : 0;
}

Task<Result<int>> read(mcp::Client& client, Asked asked) {
  Value params = Json{{"uri", asked.words[0]}};
  auto reply = co_await client.request("resources/read", std::move(params));
  const Value result = co_await ok(result_of(std::move(reply)));
  if (asked.json) {
    print(result.text() + "\n");
    co_return 0;
  }
  for (const Json& part : result.json().value("contents", Json::array())) {
    if (part.contains("text")) {
      print(part["text"].get<std::string>() + "\n");
    } else {
      print("[" + part.value("mimeType", "binary") + ", " +
            std::to_string(part.value("blob", "").size() / 4 * 3) + " bytes; use --json]\n");
    }
  }
  co_return 0;
}

// All skills; with a name or URI, one skill's entry and its SKILL.md; with a file too, that file.
Task<Result<int>> skills(mcp::Client& client, Asked asked) {
  mcp::SkillReader reader(client);
  if (asked.words.empty()) {
    const mcp::SkillList list = co_await ok(reader.list());
    for (const std::string& why : list.rejected) {
      std::fprintf(stderr, "ambit: left out: %s\n", why.c_str());
    }
    Json all = Json::array();
    for (const mcp::SkillEntry& entry : list.skills) all.push_back(mcp::to_value(entry).json());
    if (asked.json) {
      print(rpc::compact(Json{{"skills", std::move(all)}}) + "\n");
      co_return 0;
    }
    for (const mcp::SkillEntry& entry : list.skills) {
      print(entry.uri + "  " + first_line(entry.description) + "\n");
      for (const mcp::SkillResource& file : entry.resources) {
        print("  " + file.digest.substr(0, 19) + "  " + std::to_string(file.size) + "  " +
              file.uri + "\n");
      }
    }
    if (list.skills.empty()) print("the server lists no skills\n");
    co_return 0;
  }
  std::string uri = asked.words[0];
  if (uri.find("://") == std::string::npos) uri = "skill://" + uri + "/SKILL.md";
  const mcp::SkillEntry entry = co_await ok(reader.get(uri));
  if (asked.words.size() > 1) uri = mcp::skill_root(entry.uri) + "/" + asked.words[1];
  const std::string bytes = co_await ok(reader.read(entry, uri));
  if (asked.json) {
    Json out = mcp::to_value(entry).json();
    out["read"] = {{"uri", uri}, {"text", bytes}};
    print(rpc::Value(std::move(out)).text() + "\n");
  } else {
    print(bytes);
  }
  co_return 0;
}

Task<Result<int>> prompt(mcp::Client& client, Asked asked) {
  Value arguments = co_await ok(read_arguments(asked.words, 1));
  Json params = {{"name", asked.words[0]}, {"arguments", arguments.json()}};
  auto reply = co_await client.request("prompts/get", Value(std::move(params)));
  const Value result = co_await ok(result_of(std::move(reply)));
  if (asked.json) {
    print(result.text() + "\n");
    co_return 0;
  }
  for (const Json& message : result.json().value("messages", Json::array())) {
    const Json content = message.value("content", Json::object());
    const std::string text = content.contains("text") ? content["text"].get<std::string>()
                                                      : "[" + content.value("type", "") + "]";
    print(message.value("role", "") + ": " + text + "\n");
  }
  co_return 0;
}

Task<Result<int>> ping(mcp::Client& client, Asked asked) {
  const Instant started = Loop::current().now();
  const bool modern = client.server().era == mcp::Era::modern;
  Value no_params;
  auto reply = co_await client.request(modern ? "server/discover" : "ping", std::move(no_params));
  co_await ok(result_of(std::move(reply)));
  const auto us =
      std::chrono::duration_cast<std::chrono::microseconds>(Loop::current().now() - started)
          .count();
  if (asked.json) {
    Json line = facts_of(client);
    line["microseconds"] = us;
    print(rpc::compact(line) + "\n");
  } else {
    print("answered in " + std::to_string(us) + " us (MCP " + client.server().protocol_version +
          ")\n");
  }
  co_return 0;
}

Task<Result<int>> talk(mcp::Client& client, Asked asked) {
  if (asked.verb == "list") co_return co_await list(client, std::move(asked));
  if (asked.verb == "inspect") co_return co_await inspect(client, std::move(asked));
  if (asked.verb == "call") co_return co_await call(client, std::move(asked));
  if (asked.verb == "read") co_return co_await read(client, std::move(asked));
  if (asked.verb == "skills") co_return co_await skills(client, std::move(asked));
  if (asked.verb == "prompt") co_return co_await prompt(client, std::move(asked));
  co_return co_await ping(client, std::move(asked));
}

// How a server is reached and spoken to.
struct Reach {
  const agents::McpServerSpec& server;
  McpMeans means;
  mcp::ClientOptions options;
  std::shared_ptr<mcp::OAuth> auth;
};

Task<Result<int>> converse_once(Reach& reach, Asked asked, bool& died) {
  mcp::Connection connection = co_await ok(open_mcp_server(reach.server, reach.means, reach.auth));
  mcp::Client client(std::move(connection), reach.options);
  auto connected = co_await client.connect();
  died = !connected && client.died_at_discovery();
  if (!connected) co_return Err(std::move(connected).error());
  auto code = co_await talk(client, std::move(asked));
  co_await client.close();
  co_return std::move(code);
}

// Older servers end at a message that they do not know: then they are not asked for their era.
Task<void> converse(Reach& reach, Asked asked, Result<int>& out) {
  bool died = false;
  out = co_await converse_once(reach, asked, died);
  if (!died || reach.options.era != mcp::EraChoice::automatic) co_return;
  reach.options.era = mcp::EraChoice::legacy;
  out = co_await converse_once(reach, std::move(asked), died);
}

Result<mcp::EraChoice> era_of(const Options& options) {
  const std::string era = options.text("era", "automatic");
  if (era == "automatic") return mcp::EraChoice::automatic;
  if (era == "legacy") return mcp::EraChoice::legacy;
  if (era == "modern") return mcp::EraChoice::modern;
  return Err(Code::invalid, "--era must be automatic, legacy or modern, not \"" + era + "\"");
}

// The server that is meant, from a fleet file or as a URL.
Result<agents::McpServerSpec> find_server(const Options& options, const Context& context,
                                          agents::Fleet& fleet) {
  const std::string& wanted = options.positional()[0];
  agents::McpServerSpec spec;
  if (wanted.starts_with("http://") || wanted.starts_with("https://")) {
    spec.name = wanted;
    spec.url = wanted;
    const std::string header = options.text("header");
    const std::size_t colon = header.find(':');
    if (!header.empty() && colon == std::string::npos) {
      return Err(Code::invalid, "--header must be \"Name: value\"");
    }
    if (!header.empty()) {
      const std::size_t value = header.find_first_not_of(' ', colon + 1);
      spec.headers.emplace_back(header.substr(0, colon),
                                value == std::string::npos ? "" : header.substr(value));
    }
    return spec;
  }
  if (wanted.starts_with("unix:")) {
    spec.name = wanted;
    spec.socket = TRY(agents::socket_path(wanted));
    spec.user = options.text("user");
    return spec;
  }
  const std::string path = options.text("fleet", "fleet.json");
  auto file = load_fleet(context, path);
  if (!file) {
    return Err(std::move(file).error().context("\"" + wanted + "\" is no URL, and the fleet file"));
  }
  if (!file->problems.empty()) return Err(Code::invalid, problem_line(path, file->problems[0]));
  fleet = std::move(file->fleet);
  std::vector<std::string> names;
  for (const agents::McpServerSpec& server : fleet.mcp_servers) {
    if (server.name == wanted) return server;
    names.push_back(server.name);
  }
  const auto near = agents::suggestion(wanted, names);
  return Err(Code::not_found, "there is no MCP server \"" + wanted + "\" in " + path +
                                  (near ? "; did you mean \"" + *near + "\"?" : ""));
}

Result<int> ask(const std::string& verb, const Options& options, const Context& context) {
  agents::Fleet fleet;
  const agents::McpServerSpec server = TRY(find_server(options, context, fleet));
  mcp::ClientOptions client_options;
  client_options.era = TRY(era_of(options));
  Asked asked{verb, options.positional(), options.flag("json")};
  asked.words.erase(asked.words.begin());
  io::UvWorld world;
  http::CurlClient http(world.watcher(), mcp_http_options());
  auto runner = TRY(sandbox::ZygoteRunner::open(world.world(), {}));
  Result<int> result = 1;
  std::unique_ptr<Login> login;
  std::shared_ptr<mcp::OAuth> auth;
  if (!server.url.empty()) {
    login = TRY(Login::open(world.world()));
    mcp::OAuthOptions oauth;
    if (server.login) {
      oauth = TRY(login_options(*server.login, context.environment));
    } else {
      oauth.redirect_uri = login->redirect_uri();
      oauth.browse = [&login](std::string url) { return login->browse(std::move(url)); };
    }
    auth = std::make_shared<mcp::OAuth>(http, world.world().clock, world.world().entropy,
                                        std::move(oauth));
  }
  Reach reach{server, {fleet, *runner, http, world.world().network}, client_options, auth};
  Scope scope;
  scope.spawn(converse(reach, std::move(asked), result));
  world.loop().run_until([&] { return scope.size() == 0; });
  if (!result) return Err(std::move(result).error().context("MCP server \"" + server.name + "\""));
  return *result;
}

Command command(const std::string& verb, const std::string& arguments, const std::string& summary,
                std::size_t least, std::size_t most) {
  return {"mcp " + verb,
          arguments,
          summary,
          {{"fleet", "FILE",
            "where SERVER is named (default fleet.json); SERVER may be a URL too, or unix:///PATH"},
           {"header", "TEXT", "\"Name: value\", sent with every request to a URL"},
           {"user", "NAME", "whose the server at unix:///PATH must be (default: yours, or root's)"},
           {"era", "ERA", "automatic (default), legacy or modern"},
           {"json", "", "print what the server said as JSON"}},
          least,
          most,
          [verb](const Options& options, const Context& context) {
            const auto code = ask(verb, options, context);
            return code ? *code : fail(code.error());
          }};
}

}  // namespace

std::vector<Command> mcp_commands() {
  constexpr std::size_t words_max = 64;
  return {command("list", "SERVER", "what an MCP server offers", 1, 1),
          command("call", "SERVER TOOL [NAME=VALUE ...]", "call a tool", 2, words_max),
          command("read", "SERVER URI", "read a resource", 2, 2),
          command("skills", "SERVER [SKILL [FILE]]",
                  "list a server's skills, or read a file of one; what is read is held against its "
                  "digest",
                  1, 3),
          command("prompt", "SERVER NAME [NAME=VALUE ...]", "get a prompt", 2, words_max),
          command("inspect", "SERVER", "what a server says of itself, and all it offers", 1, 1),
          command("ping", "SERVER", "see that a server answers, and how fast", 1, 1)};
}

}  // namespace ambit::app
