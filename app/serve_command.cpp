// ambit serve FLEET: the agents of a fleet that are exposed, behind one port, until a signal comes.
// Then no new request is taken, those under way are given time, and the record is sealed.

#include "a2a/agent_runner.h"
#include "a2a/door.h"
#include "a2a/push.h"
#include "app/argument_check.h"
#include "app/assembly.h"
#include "app/command.h"
#include "app/console_people.h"
#include "app/load_fleet.h"
#include "app/version.h"
#include "async/race.h"
#include "console/door.h"
#include "http/curl_client.h"
#include "http/server.h"
#include "io/file.h"
#include "io/signals.h"
#include "io/uuid.h"

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <span>
#include <sstream>

namespace ambit::app {
namespace {

using http::Headers;

constexpr std::size_t tokens_bytes_max = 1 << 20;

// For what webhooks have not taken yet when the program ends.
constexpr Duration push_patience = std::chrono::seconds(5);

http::CurlOptions public_alone() {
  http::CurlOptions options;
  options.connects_to_public_alone = true;
  return options;
}

struct ServeOptions {
  std::string listen;
  std::string url;  // as the outside sees it; empty: the address itself
  std::vector<std::string> hosts;
  std::vector<std::pair<std::string, std::string>> callers;  // (token, name)
  bool speaks_0_3 = true;
  std::int64_t drain_seconds = 10;
  std::uint64_t seed = 0;
  std::string console;  // file of the people who may use the console; empty: there is none
  AssemblyOptions assembly;
};

// One exposed agent: what runs its tasks, what knows them, and its door.
struct Exposed {
  std::string name;
  std::string base;  // "/agents/clerk"
  std::unique_ptr<a2a::AgentRunner> runner;
  a2a::MemoryTaskStore store;
  std::unique_ptr<a2a::Service> service;
  std::unique_ptr<a2a::Door> door;
};

class Serving {
 public:
  Serving(io::UvWorld& world, Assembly& assembly, const ServeOptions& options)
      : world_(world),
        assembly_(assembly),
        options_(options),
        authenticate_(a2a::bearer_tokens(options.callers)),
        http_(world.watcher(), public_alone()),
        log_(Log::Level::warn, [](std::string_view line) {
          std::fwrite(line.data(), 1, line.size(), stderr);
          std::fputc('\n', stderr);
        }) {}

  Task<Result<void>> open() {
    http::ServerOptions server;
    server.address = options_.listen;
    server.hosts = options_.hosts;
    auto listening = http::Server::listen(
        world_.world(), std::move(server),
        [this](http::Exchange& exchange) { return handle(exchange); }, log_);
    if (!listening) co_return Err(std::move(listening).error());
    server_ = std::move(*listening);
    url_ = options_.url.empty() ? "http://" + server_->address() : options_.url;
    while (url_.ends_with('/')) url_.pop_back();
    for (const agents::AgentSpec& agent : assembly_.fleet().agents) {
      if (agent.a2a) co_await ok(expose(agent));
    }
    if (!options_.console.empty()) co_await ok(open_console());
    co_return Result<void>();
  }

  // Ends everything in the order in which nothing is lost.
  Task<void> close() {
    co_await server_->drain(std::chrono::seconds(options_.drain_seconds));
    for (const auto& agent : exposed_) {
      agent->service.reset();
      co_await agent->runner->settle();
    }
    co_await race(push_.settle(), delay_task(push_patience));
    console_.reset();
  }

  [[nodiscard]] const std::string& url() const { return url_; }
  [[nodiscard]] const std::vector<std::unique_ptr<Exposed>>& exposed() const { return exposed_; }

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

  Task<Result<void>> expose(const agents::AgentSpec& agent) {
    auto made = std::make_unique<Exposed>();
    made->name = agent.name;
    made->base = "/agents/" + agent.name;
    a2a::AgentRunnerOptions runner;
    runner.seed = options_.seed;
    runner.sessions_max = static_cast<std::size_t>(assembly_.fleet().workflow.concurrency);
    made->runner = std::make_unique<a2a::AgentRunner>(
        assembly_.fleet(), agent, assembly_.model(agent.model), assembly_.ports(), runner);
    co_await ok(made->runner->open(assembly_.toolboxes()));
    a2a::ServiceOptions service;
    service.card =
        a2a::card_of(assembly_.fleet(), agent, url_ + made->base, options_.speaks_0_3, true);
    service.card.has_push_notifications = true;
    service.push = &push_;
    service.extended_card = a2a::extended_card_of(service.card, made->runner->tools());
    made->service = std::make_unique<a2a::Service>(world_.world(), made->store, *made->runner,
                                                   std::move(service), log_);
    Exposed* kept = made.get();
    made->store.on_evicted([kept](const std::string& id) {
      if (kept->service) kept->service->forget(id);
    });
    a2a::DoorOptions door;
    door.base = made->base;
    door.speaks_0_3 = options_.speaks_0_3;
    made->door =
        std::make_unique<a2a::Door>(*made->service, world_.world().clock.unix_ns() / 1'000'000'000,
                                    std::move(door), authenticate_);
    // The workflow's agent, or else the first, is also the one at the root.
    if (exposed_.empty() || agent.name == assembly_.fleet().workflow.agent) root_ = exposed_.size();
    exposed_.push_back(std::move(made));
    co_return Result<void>();
  }

  Task<void> handle(http::Exchange& exchange) {
    ++requests_;
    const std::string& path = exchange.request().path;
    if (path == "/healthz") {
      co_await plain(exchange, "ok\n");
    } else if (path == "/metrics" || path == "/agents") {
      const bool is_known = authenticate_(exchange.request()).has_value();
      const std::string text = !is_known ? "" : path == "/agents" ? catalogue() : metrics();
      if (is_known) {
        co_await plain(exchange, text);
      } else {
        const Headers headers({{"WWW-Authenticate", "Bearer"}});
        co_await exchange.respond(401, headers, "");
      }
    } else if (console_ && (path == "/console" || path.starts_with("/console/"))) {
      co_await console_->handle(exchange);
    } else if (Exposed* agent = agent_at(path); agent != nullptr) {
      co_await agent->door->handle(exchange);
    } else {
      co_await exchange.respond(404, Headers(), "");
    }
  }

  static Task<void> plain(http::Exchange& exchange, std::string text) {
    const bool is_json = text.starts_with('{');
    const Headers headers(
        {{"Content-Type", is_json ? "application/json" : "text/plain; charset=utf-8"}});
    const std::string& method = exchange.request().method;
    const bool is_read = method == "GET" || method == "HEAD";
    if (!is_read) text.clear();
    co_await exchange.respond(is_read ? 200 : 405, headers, std::move(text));
  }

  Exposed* agent_at(const std::string& path) const {
    for (const auto& agent : exposed_) {
      if (path == agent->base || path.starts_with(agent->base + "/")) return agent.get();
    }
    // The well-known place of the whole server leads to one agent's card.
    if (path == "/.well-known/agent-card.json" && !exposed_.empty()) return exposed_[root_].get();
    return nullptr;
  }

  std::string catalogue() const {
    std::string text;
    for (const auto& agent : exposed_) {
      text += (text.empty() ? "{\"agents\":[" : ",") + std::string("{\"name\":") +
              json_text(agent->name) + ",\"url\":" + json_text(url_ + agent->base) +
              ",\"card\":" + json_text(url_ + agent->base + "/.well-known/agent-card.json") + "}";
    }
    return text + "]}\n";
  }

  std::string metrics() {
    std::ostringstream text;
    text << "# TYPE ambit_requests_total counter\nambit_requests_total " << requests_
         << "\n# TYPE ambit_connections gauge\nambit_connections " << server_->connections()
         << "\n# TYPE ambit_records_total counter\nambit_records_total "
         << assembly_.journal().stats().records << "\n# TYPE ambit_tasks gauge\n";
    for (const auto& agent : exposed_) {
      text << "ambit_tasks{agent=\"" << agent->name << "\"} " << agent->store.size() << "\n";
    }
    text << "# TYPE ambit_tasks_at_work gauge\n";
    for (const auto& agent : exposed_) {
      text << "ambit_tasks_at_work{agent=\"" << agent->name << "\"} "
           << (agent->service ? agent->service->runs() : 0) << "\n";
    }
    return text.str();
  }

  io::UvWorld& world_;
  Assembly& assembly_;
  const ServeOptions& options_;
  a2a::Authenticate authenticate_;
  http::CurlClient http_;  // for webhooks, whose URLs come from callers
  Log log_;
  std::string url_;
  a2a::PushSender push_{http_, {}, log_};
  std::uint64_t requests_ = 0;
  std::size_t root_ = 0;
  std::vector<std::unique_ptr<Exposed>> exposed_;
  std::unique_ptr<console::Door> console_;
  std::unique_ptr<http::Server> server_;
};

Task<void> serve_until_signal(Serving& serving, io::Signals& signals, Result<void>& result) {
  result = co_await serving.open();
  if (!result) co_return;
  for (const auto& agent : serving.exposed()) {
    std::fprintf(stderr, "ambit: agent %s at %s%s\n", agent->name.c_str(), serving.url().c_str(),
                 agent->base.c_str());
  }
  std::fprintf(stderr, "ambit: serving; stop with Ctrl-C\n");
  co_await signals.next();
  std::fprintf(stderr, "ambit: draining\n");
  co_await serving.close();
}

Result<void> serve_fleet(const ServeOptions& options, agents::Fleet fleet) {
  io::UvWorld world;
  ServeOptions all = options;
  all.assembly.run = io::uuid_v7(world.world().clock, world.world().entropy);
  auto assembly = TRY(Assembly::open(world, std::move(fleet), all.assembly));
  auto signals = TRY(world.signals({SIGINT, SIGTERM}));
  Result<void> result;
  {
    Serving serving(world, *assembly, all);
    Scope scope;
    scope.spawn(serve_until_signal(serving, *signals, result));
    world.loop().run_until([&] { return scope.size() == 0; });
  }
  const Result<void> closed = close_journal(world, *assembly);
  TRY(result);
  return closed;
}

// "TOKEN NAME" a line; '#' begins a comment.
Result<std::vector<std::pair<std::string, std::string>>> read_callers(const std::string& path) {
  std::vector<std::pair<std::string, std::string>> callers;
  std::istringstream lines(TRY(io::read_file(path, tokens_bytes_max)));
  std::string line;
  for (int number = 1; std::getline(lines, line); ++number) {
    std::istringstream words(line.substr(0, line.find('#')));
    std::string token;
    std::string name;
    std::string more;
    words >> token >> name >> more;
    if (token.empty()) continue;
    if (name.empty() || !more.empty()) {
      return Err(Code::invalid, path + ":" + std::to_string(number) +
                                    ": write a token and the name of its caller: \"TOKEN NAME\"");
    }
    if (token.size() < 16) {
      return Err(Code::invalid, path + ":" + std::to_string(number) +
                                    ": the token is shorter than 16 characters; make one with: "
                                    "openssl rand -hex 32");
    }
    callers.emplace_back(std::move(token), std::move(name));
  }
  if (callers.empty()) return Err(Code::invalid, path + " names no caller");
  return callers;
}

std::vector<std::string> split_commas(const std::string& text) {
  std::vector<std::string> parts;
  std::istringstream in(text);
  for (std::string part; std::getline(in, part, ',');) {
    if (!part.empty()) parts.push_back(part);
  }
  return parts;
}

int run(const Options& options, const Context& context) {
  ServeOptions serve;
  serve.listen = options.text("listen", "127.0.0.1:8080");
  serve.url = options.text("url");
  serve.hosts = split_commas(options.text("hosts"));
  serve.speaks_0_3 = !options.flag("no-0.3");
  if (options.flag("console")) serve.console = absolute(context, options.text("console"));
  serve.assembly.state = absolute(context, options.text("state", ".ambit"));
  serve.assembly.environment = context.environment;
  const auto drain = options.integer("drain", 10, 0, 3600);
  const auto seed = options.integer("seed", 0, 0, (std::int64_t{1} << 53) - 1);
  const auto batch = options.integer("max-batch", 64, 1, 4096);
  const auto threads = options.integer("threads", 0, 0, 1024);
  for (const auto* number : {&drain, &seed, &batch, &threads}) {
    if (!*number) {
      fail(number->error());
      return 2;
    }
  }
  serve.drain_seconds = *drain;
  serve.seed = static_cast<std::uint64_t>(*seed);
  serve.assembly.batch_max = *batch;
  serve.assembly.threads = *threads;
  const std::string tokens = options.text("tokens");
  const auto token = context.environment.find("AMBIT_TOKEN");
  if (!tokens.empty()) {
    auto callers = read_callers(absolute(context, tokens));
    if (!callers) return fail(callers.error());
    serve.callers = std::move(*callers);
  } else if (token != context.environment.end() && token->second.size() >= 16) {
    serve.callers.emplace_back(token->second, "operator");
  } else {
    return fail(
        "who may call? Give --tokens FILE (a line is \"TOKEN NAME\"), or set AMBIT_TOKEN to 16 "
        "characters or more, for instance: export AMBIT_TOKEN=$(openssl rand -hex 32)");
  }
  const std::string& path = options.positional()[0];
  auto file = load_fleet(context, path);
  if (!file) return fail(file.error());
  if (!file->problems.empty()) return fail(problem_line(path, file->problems.front()));
  const auto& all = file->fleet.agents;
  if (std::none_of(all.begin(), all.end(),
                   [](const auto& agent) { return agent.a2a.has_value(); })) {
    return fail(path + ": no agent is exposed; add \"a2a\": {} to those that others may call");
  }
  const auto result = serve_fleet(serve, std::move(file->fleet));
  return result ? 0 : fail(result.error());
}

}  // namespace

Command serve_command() {
  return {"serve",
          "FLEET",
          "offer the exposed agents of a fleet to other agents, over A2A",
          {{"listen", "ADDRESS", "where to listen (default 127.0.0.1:8080; port 0: any)"},
           {"hosts", "NAMES", "the names it answers to, with commas; needed beyond loopback"},
           {"url", "URL", "how others reach it, for the cards (default: the address)"},
           {"tokens", "FILE", "who may call: a line is \"TOKEN NAME\" (default: $AMBIT_TOKEN)"},
           {"no-0.3", "", "speak A2A 1.0 alone"},
           {"console", "FILE", "offer the review page at /console; a line is \"TOKEN NAME ROLE\""},
           {"drain", "SECONDS", "how long to wait for what is under way at the end (default 10)"},
           {"seed", "N", "seed of the sampling (default 0)"},
           {"max-batch", "N", "at most N sessions in one forward pass (default 64)"},
           {"threads", "N", "threads of the engine (default: all processors)"},
           {"state", "DIR", "where journal and work directories are kept (default .ambit)"}},
          1,
          1,
          run};
}

}  // namespace ambit::app
