#include "app/serving.h"

#include "a2a/agent_runner.h"
#include "a2a/door.h"
#include "a2a/push.h"
#include "app/assembly.h"
#include "app/callers.h"
#include "app/command.h"
#include "app/console_people.h"
#include "app/control.h"
#include "app/current_runner.h"
#include "app/exposed.h"
#include "app/fleet_reload.h"
#include "app/kept_tasks.h"
#include "app/mcp_door.h"
#include "app/openai_door.h"
#include "app/serve_metrics.h"
#include "async/check.h"
#include "async/race.h"
#include "console/door.h"
#include "http/curl_client.h"
#include "http/server.h"
#include "io/signals.h"
#include "io/uuid.h"
#include "jose/key.h"
#include "mcp/server_card.h"

#ifdef AMBIT_GRPC
#include "grpc_door/grpc_door.h"
#endif

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <span>

namespace ambit::app {
namespace {

using http::Headers;

// For what webhooks have not taken yet when the program ends.
constexpr Duration push_patience = std::chrono::seconds(5);

http::CurlOptions public_alone() {
  http::CurlOptions options;
  options.connects_to_public_alone = true;
  return options;
}

class Serving {
 public:
  Serving(io::UvWorld& world, Assembly& assembly, const ServeOptions& options)
      : world_(world),
        assembly_(assembly),
        options_(options),
        authenticate_([callers = options.callers,
                       &clock = world.world().clock](const http::RequestHead& head) {
          return callers->name_of(head, clock.unix_ns() / 1'000'000'000);
        }),
        http_(world.watcher(), public_alone()),
        openai_(world.world(), assembly, options.assembly.run),
        control_(assembly.roster(), assembly.journal(),
                 {options.assembly.run, assembly.fleet().name, "serve"}),
        reload_(assembly, options.assembly.run, options.fleet_file, options.read_fleet,
                [this](std::shared_ptr<Generation> next) { return prepare(std::move(next)); }),
        log_(Log::Level::warn, [](std::string_view line) {
          std::fwrite(line.data(), 1, line.size(), stderr);
          std::fputc('\n', stderr);
        }) {
    control_.on_reload(
        [this](std::string by, bool dry_run) { return reload_.reload(std::move(by), dry_run); });
  }

  Task<Result<void>> open() {
    // What this process serves: the fleet file and the policies, as they were read.
    agents::Event started{"serve.started", options_.assembly.run, "", "", "", {}};
    started.body = "{\"fleet\":" + json_text(assembly_.fleet().name) +
                   ",\"policySet\":" + json_text(assembly_.policy_guard().policy_set()) + "}";
    started.payloads = assembly_.sources();
    co_await ok(assembly_.journal().append(std::move(started)));
    auto key = co_await ok(signing_key(options_.assembly.state));
    keys_.push_back(std::move(key));
    http::ServerOptions server;
    server.address = options_.listen;
    server.hosts = options_.hosts;
    auto listening = http::Server::listen(
        world_.world(), std::move(server),
        [this](http::Exchange& exchange) { return handle(exchange); }, log_);
    if (!listening) co_return Err(std::move(listening).error());
    server_ = std::move(*listening);
    co_await ok(listen_grpc());
    url_ = options_.url.empty() ? "http://" + server_->address() : options_.url;
    while (url_.ends_with('/')) url_.pop_back();
    a2a::PushOptions push;
    push.token = a2a::push_signer(world_.world(), keys_.front(), url_);
    push_ = std::make_unique<a2a::PushSender>(http_, std::move(push), log_);
    for (const agents::AgentSpec& agent : assembly_.fleet().agents) {
      if (agent.a2a) co_await ok(expose(agent));
    }
    for (const auto& agent : exposed_) {
      const std::size_t resumed = agent->service->recover();
      if (resumed == 0) continue;
      log_.warn("a2a.tasks_resumed", {{"agent", std::string_view(agent->name)},
                                      {"tasks", static_cast<std::int64_t>(resumed)}});
    }
    if (!options_.console.empty()) co_await ok(open_console());
    exposed_.open_root();
    co_return Result<void>();
  }

  // Ends everything in the order in which nothing is lost.
  Task<void> close() {
    co_await server_->drain(std::chrono::seconds(options_.drain_seconds));
#ifdef AMBIT_GRPC
    grpc_.reset();
#endif
    for (const auto& agent : exposed_) {
      // What is still at work goes on at the next start.
      agent->runner->leave_open();
      agent->service.reset();
      co_await agent->runner->settle();
    }
    co_await race(push_->settle(), delay_task(push_patience));
    console_.reset();
  }

  [[nodiscard]] const std::string& url() const { return url_; }
  ControlDesk& control() { return control_; }
  // Which doors are open, a line each.
  [[nodiscard]] std::string doors() const {
    std::string text;
    for (const auto& agent : exposed_) {
      text += "ambit: agent " + agent->name + " at " + url_ + agent->base + "\n";
    }
    const std::string models = std::to_string(assembly_.fleet().models.size());
    text += "ambit: " + models + (models == "1" ? " model" : " models") + " at " + url_ + "/v1\n";
    if (exposed_.empty()) text += "ambit: " + std::string(ExposedAgents::none) + "\n";
    return text;
  }

 private:
  Task<Result<void>> open_console() {
    console::Access access;
    co_await ok(read_console_tokens(options_.console, access));
    console::DeskOptions desk;
    desk.folder = assembly_.journal_path();
    const std::string state = options_.assembly.state;
    std::error_code unreadable;
    if (std::filesystem::exists(state + "/approvers", unreadable)) {
      desk.approvals = state + "/approvals";
      desk.approvers = state + "/approvers";
    }
    desk.policies = assembly_.fleet().policies;
    desk.reader = [this] { return assembly_.journal().reader(); };
    desk.unix_ns = [this] { return world_.world().clock.unix_ns(); };
    desk.random = [this](std::span<std::uint8_t> bytes) { world_.world().entropy.fill(bytes); };
    auto opened = console::Desk::open(std::move(desk));
    if (!opened) co_return Err(std::move(opened).error());
    console_ = std::make_unique<console::Door>(world_.world(), std::move(*opened),
                                               std::move(access), &assembly_.journal());
    std::fprintf(stderr, "ambit: console at %s/console/\n", url_.c_str());
    co_return Result<void>();
  }

  Task<Result<std::shared_ptr<CurrentRunner::Edition>>> edition_of(
      const agents::Fleet& fleet, const agents::AgentSpec& agent,
      std::vector<agents::Toolbox*> toolboxes) {
    a2a::AgentRunnerOptions runner;
    runner.seed = options_.seed;
    runner.sessions_max = static_cast<std::size_t>(fleet.workflow.concurrency);
    runner.depth_max = static_cast<std::size_t>(fleet.depth_max);
    runner.models = assembly_.models();
    auto made = std::make_shared<CurrentRunner::Edition>();
    made->runner = std::make_unique<a2a::AgentRunner>(fleet, agent, assembly_.model(agent.model),
                                                      assembly_.ports(), std::move(runner));
    co_await ok(made->runner->open(std::move(toolboxes)));
    co_return made;
  }

  // New conversations are of the next reading of the fleet file, and MCP clients are offered its
  // tools.
  Task<Result<std::function<void()>>> prepare(std::shared_ptr<Generation> next) {
    std::vector<std::pair<CurrentRunner*, std::shared_ptr<CurrentRunner::Edition>>> made;
    std::vector<std::function<void()>> offers;
    for (const auto& exposed : exposed_) {
      const agents::AgentSpec* agent = next->fleet.agent(exposed->name);
      INVARIANT(agent != nullptr);
      auto edition = co_await ok(edition_of(next->fleet, *agent, next->toolboxes));
      edition->generation = next;
      made.emplace_back(exposed->runner.get(), std::move(edition));
      co_await exposed->runner->trim();
      auto offer = co_await ok(exposed->mcp->prepare(*agent, next));
      offers.push_back(std::move(offer));
    }
    std::function<void()> adopt = [made = std::move(made), offers = std::move(offers)]() {
      for (const auto& [runner, edition] : made) runner->adopt(edition);
      for (const auto& offer : offers) offer();
    };
    co_return adopt;
  }

  Task<Result<void>> expose(const agents::AgentSpec& agent) {
    auto made = std::make_unique<Exposed>();
    made->name = agent.name;
    made->base = "/agents/" + agent.name;
    made->description = agent.description;
    auto first = co_await ok(edition_of(assembly_.fleet(), agent, assembly_.toolboxes()));
    made->runner = std::make_unique<CurrentRunner>(std::move(first));
    made->store = co_await ok(restored_tasks(assembly_.journal(), agent.name, log_));
    a2a::ServiceOptions service;
    service.card =
        a2a::card_of(assembly_.fleet(), agent, url_ + made->base, options_.speaks_0_3, true);
    service.card.has_push_notifications = true;
    service.rate.per_second = static_cast<double>(options_.calls_per_second);
    service.rate.burst = std::max(service.rate.burst, 2 * service.rate.per_second);
#ifdef AMBIT_GRPC
    if (grpc_) {
      const std::string address = options_.grpc_url.empty() ? grpc_->address() : options_.grpc_url;
      service.card.interfaces.push_back({address, "GRPC", "1.0", agent.name});
      if (options_.speaks_0_3) {
        service.card.interfaces.push_back({address, "GRPC", "0.3", agent.name});
      }
    }
#endif
    service.push = push_.get();
    service.extended_card = a2a::extended_card_of(service.card, made->runner->tools());
    made->service = std::make_unique<a2a::Service>(world_.world(), *made->store, *made->runner,
                                                   std::move(service), log_);
    Exposed* kept = made.get();
    made->store->on_evicted([kept](const a2a::StoredTask& task) {
      if (kept->service) kept->service->forget(task);
    });
    a2a::DoorOptions door;
    door.base = made->base;
    door.speaks_0_3 = options_.speaks_0_3;
    door.keys = keys_;
    door.jwks_url = url_ + made->base + "/.well-known/jwks.json";
    made->door =
        std::make_unique<a2a::Door>(*made->service, world_.world().clock.unix_ns() / 1'000'000'000,
                                    std::move(door), authenticate_);
    made->mcp =
        std::make_unique<McpDoor>(world_, assembly_, agent, options_.assembly.run, authenticate_);
    co_await ok(made->mcp->open(log_));
    made->mcp_endpoint = made->mcp->endpoint(made->base + "/mcp");
    // The workflow's agent, or else the first, is also the one at the root.
    exposed_.add(std::move(made), agent.name == assembly_.fleet().workflow.agent);
    co_return Result<void>();
  }

  Result<void> listen_grpc() {
#ifdef AMBIT_GRPC
    if (options_.grpc.empty()) return {};
    a2a::GrpcOptions grpc;
    grpc.address = options_.grpc;
    grpc.speaks_0_3 = options_.speaks_0_3;
    grpc_ = TRY(a2a::GrpcDoor::listen(
        world_.world(), std::move(grpc),
        [this](std::string& tenant) { return exposed_.service_of(tenant); }, authenticate_, log_));
    return {};
#else
    if (options_.grpc.empty()) return {};
    return Err(Code::unsupported, "this ambit was built without gRPC");
#endif
  }

  Task<void> handle(http::Exchange& exchange) {
    ++requests_;
    const std::string& path = exchange.request().path;
    if (path.starts_with("/v1/")) {
      const auto caller = authenticate_(exchange.request());
      if (caller) {
        co_await openai_.handle(exchange, *caller);
      } else {
        co_await OpenaiDoor::refuse(exchange);
      }
      co_return;
    }
    if (path == "/control") {
      co_await control(exchange);
      co_return;
    }
    if (!exposes_any(assembly_.fleet()) && ExposedAgents::is_place(path)) {
      const Headers headers({{"Content-Type", "application/json"}});
      co_await exchange.respond(404, headers,
                                "{\"error\":" + json_text(ExposedAgents::none) + "}\n");
      co_return;
    }
    if (path == mcp::ai_catalog_path) {
      co_await found(exchange, mcp::server_card_headers(true),
                     mcp::ai_catalog_text(exposed_.mcp_cards(url_)));
      co_return;
    }
    if (const Exposed* agent = exposed_.mcp_card_at(path); agent != nullptr) {
      co_await found(exchange, mcp::server_card_headers(false),
                     mcp::server_card_text(ExposedAgents::mcp_card_of(*agent, url_)));
      co_return;
    }
    if (mcp::HttpEndpoint* endpoint = exposed_.mcp_at(path); endpoint != nullptr) {
      co_await endpoint->handle(exchange);
      co_return;
    }
    if (path == "/healthz") {
      co_await plain(exchange, "ok\n");
    } else if (path == "/metrics" || path == "/agents") {
      const bool is_known = authenticate_(exchange.request()).has_value();
      const std::string text = !is_known           ? ""
                               : path == "/agents" ? exposed_.catalogue(url_)
                                                   : metrics();
      if (is_known) {
        co_await plain(exchange, text);
      } else {
        const Headers headers({{"WWW-Authenticate", "Bearer"}});
        co_await exchange.respond(401, headers, "");
      }
    } else if (console_ && (path == "/console" || path.starts_with("/console/"))) {
      co_await console_->handle(exchange);
    } else if (Exposed* agent = exposed_.agent_at(path); agent != nullptr) {
      co_await agent->door->handle(exchange);
    } else {
      co_await exchange.respond(404, Headers(), "");
    }
  }

  static Task<void> plain(http::Exchange& exchange, std::string text) {
    const bool is_json = text.starts_with('{');
    const Headers headers(
        {{"Content-Type", is_json ? "application/json" : "text/plain; charset=utf-8"}});
    co_await found(exchange, headers, std::move(text));
  }

  static Task<void> found(http::Exchange& exchange, Headers headers, std::string text) {
    const std::string& method = exchange.request().method;
    const bool is_read = method == "GET" || method == "HEAD";
    if (!is_read) text.clear();
    co_await exchange.respond(is_read ? 200 : 405, std::move(headers), std::move(text));
  }

  // An order of ControlDesk, for those who may call; what they may order, the record says.
  Task<void> control(http::Exchange& exchange) {
    const auto caller = authenticate_(exchange.request());
    if (!caller) {
      const Headers headers({{"WWW-Authenticate", "Bearer"}});
      co_await exchange.respond(401, headers, "");
      co_return;
    }
    if (exchange.request().method != "POST") {
      co_await exchange.respond(405, Headers(), "");
      co_return;
    }
    auto order = co_await exchange.read_all();
    if (!order) co_return;
    std::string answer = co_await control_.handle(std::move(*order), *caller);
    const Headers headers({{"Content-Type", "application/json"}});
    const int status = answer.starts_with("{\"error\"") ? 400 : 200;
    co_await exchange.respond(status, headers, answer + "\n");
  }

  [[nodiscard]] std::string metrics() {
    std::vector<TaskCount> tasks;
    for (const auto& agent : exposed_) {
      tasks.push_back({agent->name, agent->store->size(),
                       agent->service ? agent->service->runs() : std::size_t{0}});
    }
    return metrics_text(assembly_, requests_, server_->connections(), tasks);
  }

  io::UvWorld& world_;
  Assembly& assembly_;
  const ServeOptions& options_;
  a2a::Authenticate authenticate_;
  http::CurlClient http_;  // for webhooks, whose URLs come from callers
  OpenaiDoor openai_;
  ControlDesk control_;
  FleetReload reload_;
  Log log_;
  std::string url_;
  std::vector<jose::Key> keys_;
  std::unique_ptr<a2a::PushSender> push_;
  std::uint64_t requests_ = 0;
  ExposedAgents exposed_;
  std::unique_ptr<console::Door> console_;
  std::unique_ptr<http::Server> server_;
#ifdef AMBIT_GRPC
  std::unique_ptr<a2a::GrpcDoor> grpc_;
#endif
};

// Where the record says that it is to: removes what was kept for long enough, and once a day again.
Task<void> keep_record_bounded(log::LogJournal& journal) {
  constexpr auto pause = std::chrono::hours(24);
  co_await become(LatencyClass::batch);
  while (true) {
    const auto expired = co_await journal.expire();
    if (!expired && expired.error().code == Code::closed) co_return;
    if (!expired) {
      std::fprintf(stderr, "ambit: payloads that are old enough stay for now: %s\n",
                   expired.error().message.c_str());
    } else if (*expired && (*expired)->payloads > 0) {
      std::fprintf(stderr, "ambit: %llu payloads were kept for long enough and are removed\n",
                   static_cast<unsigned long long>((*expired)->payloads));
    }
    co_await delay(pause);
  }
}

Task<void> serve_until_signal(Serving& serving, log::LogJournal& journal, io::Signals& signals,
                              Result<void>& result) {
  result = co_await serving.open();
  if (!result) co_return;
  Scope beside;
  beside.spawn(keep_record_bounded(journal));
  std::fprintf(stderr, "%sambit: serving; stop with Ctrl-C\n", serving.doors().c_str());
  while (true) {
    const int signal = co_await signals.next();
    if (signal == SIGINT || signal == SIGTERM) break;
    if (signal == SIGHUP) {
      const std::string reload = R"({"do":"reload"})";
      std::string hangup = "SIGHUP";
      const std::string told = co_await serving.control().handle(reload, std::move(hangup));
      std::fprintf(stderr, "ambit: read again: %s\n", told.c_str());
      continue;
    }
    const std::string order = R"({"do":"stop","reason":"SIGQUIT"})";
    std::string who = "the operator";
    co_await serving.control().handle(order, std::move(who));
  }
  std::fprintf(stderr, "ambit: draining\n");
  co_await serving.close();
}

}  // namespace

Result<void> serve_fleet(const ServeOptions& options, agents::Fleet fleet) {
  io::UvWorld world;
  ServeOptions all = options;
  all.assembly.run = io::uuid_v7(world.world().clock, world.world().entropy);
  auto assembly = TRY(Assembly::open(world, std::move(fleet), all.assembly));
  auto signals = TRY(world.signals({SIGINT, SIGTERM, SIGHUP, SIGQUIT}));
  Result<void> result;
  {
    Serving serving(world, *assembly, all);
    const auto control = TRY(ControlSocket::open(world.world(), serving.control(),
                                                 all.assembly.state, all.assembly.run));
    Scope scope;
    scope.spawn(serve_until_signal(serving, assembly->journal(), *signals, result));
    world.loop().run_until([&] { return scope.size() == 0; });
  }
  const Result<void> closed = close_journal(world, *assembly);
  TRY(result);
  return closed;
}

}  // namespace ambit::app
