// ambit mcp gateway: the MCP servers of a fleet file behind one endpoint, on stdin and stdout or
// over HTTP, for clients of both eras. What a server offers is pinned when it is first seen; what
// it changes later is withheld until somebody approves it. Policies say who sees and calls what.
// The credentials of the upstreams stay here.

#include "app/callers.h"
#include "app/command.h"
#include "app/gateway_policies.h"
#include "app/load_fleet.h"
#include "app/mcp_connect.h"
#include "http/curl_client.h"
#include "http/server.h"
#include "io/file.h"
#include "io/signals.h"
#include "io/uv_world.h"
#include "mcp/gateway.h"
#include "mcp/hidden_text.h"
#include "mcp/http_endpoint.h"
#include "mcp/stdio_server.h"
#include "sandbox/runner.h"

#include <nlohmann/json.hpp>

#include <csignal>
#include <cstdio>
#include <set>
#include <sstream>
#include <unistd.h>

namespace ambit::app {
namespace {

constexpr std::size_t pins_bytes_max = 16 << 20;

struct GatewayPlan {
  std::string pins;    // file
  std::string listen;  // empty: stdin and stdout
  std::vector<std::string> hosts;
  std::shared_ptr<Callers> callers;
  std::shared_ptr<GatewayPolicies> policies;  // null: who may call may call everything
  std::string principal;
  std::string approve;  // a name to approve, and nothing else
  bool only_shows = false;
  std::map<std::string, std::string> environment;
};

Result<mcp::Pins> read_pins(const std::string& path) {
  mcp::Pins pins;
  auto text = io::read_file(path, pins_bytes_max);
  if (!text && text.error().code == Code::not_found) return pins;
  if (!text) return Err(std::move(text).error());
  auto value = rpc::Value::parse(*text);
  if (!value) return Err(std::move(value).error().context(path));
  auto read = mcp::from_value(*value, pins);
  if (!read) return Err(std::move(read).error().context(path));
  return pins;
}

// The gateway with its pins kept in a file, written whenever they change.
class KeptGateway {
 public:
  KeptGateway(io::UvWorld& world, const agents::Fleet& fleet, sandbox::ZygoteRunner& runner,
              http::Client& http, const GatewayPlan& plan, mcp::Pins pins)
      : pins_path_(plan.pins),
        written_(pins),
        policies_(plan.policies),
        server_(world.world().clock, world.world().entropy, server_options(fleet)) {
    mcp::GatewayOptions options;
    options.pins = std::move(pins);
    if (policies_) {
      options.permits = [this](const std::string& caller, const std::string& name,
                               const rpc::Value& arguments) {
        return policies_->permits(caller, name, arguments);
      };
    }
    gateway_ = std::make_unique<mcp::Gateway>(server_, std::move(options));
    for (const agents::McpServerSpec& spec : fleet.mcp_servers) {
      auto login = login_of(world.world(), spec, http, plan.environment);
      const McpMeans means{fleet, runner, http, world.world().network};
      gateway_->add(spec.name, [&spec, means, login]() { return connect(spec, means, login); });
    }
  }
  KeptGateway(const KeptGateway&) = delete;
  KeptGateway& operator=(const KeptGateway&) = delete;

  Task<Result<void>> refresh() {
    co_await ok(gateway_->refresh());
    for (const mcp::Quarantined& one : gateway_->quarantined()) {
      if (!told_.insert(one.name + one.digest).second) continue;
      std::fprintf(stderr, "ambit: %s of %s is withheld: it %s; see --quarantine, --approve\n",
                   one.name.c_str(), one.upstream.c_str(), one.why.c_str());
    }
    for (const std::string& problem : gateway_->problems()) {
      if (!told_.insert(problem).second) continue;
      std::fprintf(stderr, "ambit: left out: %s\n", mcp::revealed(problem).c_str());
    }
    co_return keep();
  }
  Result<void> keep() {
    if (gateway_->pins() == written_) return {};
    TRY(io::write_file(pins_path_, rpc::compact(mcp::to_value(gateway_->pins()).json()) + "\n",
                       0600));
    written_ = gateway_->pins();
    return {};
  }
  mcp::Server& server() { return server_; }
  mcp::Gateway& gateway() { return *gateway_; }

 private:
  mcp::ServerOptions server_options(const agents::Fleet& fleet) {
    mcp::ServerOptions options;
    options.info = {"ambit-gateway-" + fleet.name, "0.1.0"};
    options.before_list = [this]() { return refresh(); };
    if (policies_) {
      options.offers = [this](const std::string& caller, const std::string& name) {
        return policies_->offers(caller, name);
      };
    }
    return options;
  }
  using Login = Result<std::shared_ptr<mcp::OAuth>>;
  // What is wrong with it, its first connection says.
  static Login login_of(io::World& world, const agents::McpServerSpec& spec, http::Client& http,
                        const std::map<std::string, std::string>& environment) {
    if (!spec.login) return std::shared_ptr<mcp::OAuth>();
    mcp::OAuthOptions options = TRY(login_options(*spec.login, environment));
    return std::make_shared<mcp::OAuth>(http, world.clock, world.entropy, std::move(options));
  }
  static Task<Result<mcp::Connection>> connect(const agents::McpServerSpec& spec, McpMeans means,
                                               Login login) {
    auto auth = co_await ok(std::move(login));
    auto opened = co_await open_mcp_server(spec, means, std::move(auth));
    co_return std::move(opened);
  }

  std::string pins_path_;
  mcp::Pins written_;
  std::set<std::string> told_;
  std::shared_ptr<GatewayPolicies> policies_;  // null: everybody sees everything
  mcp::Server server_;
  std::unique_ptr<mcp::Gateway> gateway_;
};

Task<void> first_refresh(KeptGateway& gateway, Result<void>& out) {
  out = co_await gateway.refresh();
}

Task<void> serve_stdio(mcp::StdioServer& server) {
  co_await server.run();
}

void show_quarantine(const mcp::Gateway& gateway) {
  for (const mcp::Quarantined& one : gateway.quarantined()) {
    print(one.name + "  " + one.why + "  " + one.digest + "\n  " +
          mcp::revealed(rpc::compact(one.definition.json())) + "\n");
  }
  if (gateway.quarantined().empty()) print("nothing is withheld\n");
}

// What needs no client: what is withheld, and letting it through.
Result<void> review(io::UvWorld& world, KeptGateway& gateway, const GatewayPlan& plan) {
  if (plan.approve.empty()) {
    show_quarantine(gateway.gateway());
    return {};
  }
  TRY(gateway.gateway().approve(plan.approve));
  Result<void> result;
  Scope scope;
  scope.spawn(first_refresh(gateway, result));
  world.loop().run_until([&] { return scope.size() == 0; });
  TRY(result);
  TRY(gateway.keep());
  print("approved " + plan.approve + "\n");
  return {};
}

Result<void> serve_http(io::UvWorld& world, KeptGateway& gateway, const GatewayPlan& plan) {
  mcp::HttpEndpointOptions endpoint_options;
  io::Clock& clock = world.world().clock;
  endpoint_options.authenticate = [&](const http::RequestHead& head) -> Result<std::string> {
    auto name = plan.callers->name_of(head, clock.unix_ns() / 1'000'000'000);
    if (!name) return Err(Code::denied, "send a token of this gateway");
    return std::move(*name);
  };
  mcp::HttpEndpoint endpoint(gateway.server(), world.world().entropy, endpoint_options);
  http::ServerOptions options;
  options.address = plan.listen;
  options.hosts = plan.hosts;
  auto server =
      TRY(http::Server::listen(world.world(), std::move(options), [&](http::Exchange& exchange) {
        return endpoint.handle(exchange);
      }));
  auto signals = TRY(world.signals({SIGINT, SIGTERM}));
  std::fprintf(stderr, "ambit: gateway at http://%s/mcp\n", server->address().c_str());
  Scope watching;
  watching.spawn(io::until_signal(*signals));
  world.loop().run_until([&] { return watching.size() == 0; });
  return {};
}

Result<void> serve_pipes(io::UvWorld& world, KeptGateway& gateway, const GatewayPlan& plan) {
  auto in = world.world().network.adopt(STDIN_FILENO);
  auto out = world.world().network.adopt(STDOUT_FILENO);
  if (!in || !out) {
    return Err(Code::invalid,
               "stdin and stdout must be pipes: this command is started by an MCP client; or give "
               "--listen ADDRESS");
  }
  auto signals = TRY(world.signals({SIGINT, SIGTERM}));
  mcp::StdioServer stdio(gateway.server(), **in, **out, plan.principal);
  Scope scope;
  Scope watching;
  watching.spawn(io::until_signal(*signals));
  scope.spawn(serve_stdio(stdio));
  world.loop().run_until([&] { return scope.size() == 0 || watching.size() == 0; });
  return {};
}

Result<void> run_gateway(const GatewayPlan& plan, const agents::Fleet& fleet) {
  if (fleet.mcp_servers.empty()) {
    return Err(Code::invalid, "the fleet names no MCP server; add one under \"mcpServers\"");
  }
  auto pins = TRY(read_pins(plan.pins));
  io::UvWorld world;
  auto runner = TRY(sandbox::ZygoteRunner::open(world.world(), {}));
  http::CurlClient http(world.watcher(), mcp_http_options());
  KeptGateway gateway(world, fleet, *runner, http, plan, std::move(pins));
  Result<void> first;
  {
    Scope scope;
    scope.spawn(first_refresh(gateway, first));
    world.loop().run_until([&] { return scope.size() == 0; });
  }
  if (plan.only_shows || !plan.approve.empty()) {
    TRY(first);
    return review(world, gateway, plan);
  }
  // What fails now fails again, and is told, when a client asks for a list.
  if (!first) std::fprintf(stderr, "ambit: %s\n", first.error().message.c_str());
  return plan.listen.empty() ? serve_pipes(world, gateway, plan) : serve_http(world, gateway, plan);
}

int serve_gateway(const Options& options, const Context& context) {
  const std::string path = options.positional().empty() ? "fleet.json" : options.positional()[0];
  auto file = load_fleet(context, path);
  if (!file) return fail(file.error());
  if (!file->problems.empty()) return fail(problem_line(path, file->problems.front()));
  GatewayPlan plan;
  plan.pins = absolute(context, options.text("pins", "mcp-pins.json"));
  plan.listen = options.text("listen");
  plan.approve = options.text("approve");
  plan.only_shows = options.flag("quarantine");
  plan.environment = context.environment;
  const auto user = context.environment.find("USER");
  plan.principal =
      options.text("principal", user != context.environment.end() ? user->second : "unknown");
  const std::string policies = options.text("policies");
  if (!policies.empty()) {
    auto opened = GatewayPolicies::open(policies, context, file->fleet);
    if (!opened) return fail(opened.error());
    plan.policies = std::move(*opened);
  }
  std::istringstream names(options.text("hosts"));
  for (std::string name; std::getline(names, name, ',');) {
    if (!name.empty()) plan.hosts.push_back(name);
  }
  if (!plan.listen.empty()) {
    auto callers = Callers::read(options, context);
    if (!callers) return fail(callers.error());
    plan.callers = std::make_shared<Callers>(std::move(*callers));
  }
  const auto result = run_gateway(plan, file->fleet);
  return result ? 0 : fail(result.error());
}

}  // namespace

Command mcp_gateway_command() {
  std::vector<OptionSpec> specs = {
      {"listen", "ADDRESS", "serve over HTTP at /mcp there (default: stdin and stdout)"},
      {"hosts", "NAMES", "the names it answers to, with commas; needed beyond loopback"},
      {"policies", "FILES",
       "Cedar policies, with commas: which caller sees and calls what (default: each caller all)"},
      {"pins", "FILE", "where approved definitions are kept (default mcp-pins.json)"},
      {"quarantine", "", "show what is withheld, and end"},
      {"approve", "NAME", "let through what is withheld under this name, and end"},
      {"principal", "NAME", "who asks on stdin (default: $USER)"}};
  const auto callers = Callers::options();
  specs.insert(specs.end(), callers.begin(), callers.end());
  return {"mcp gateway",
          "[FLEET]",
          "the MCP servers of a fleet behind one endpoint, their definitions pinned",
          std::move(specs),
          0,
          1,
          serve_gateway};
}

}  // namespace ambit::app
