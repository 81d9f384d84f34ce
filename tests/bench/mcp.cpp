// bench mcp: tools/call round trips of MCP 2026-07-28 over stdio and HTTP at 1 and 64 in flight:
// calls/s, p50, p99 and CPU a call of our server, of our client, and what the gateway adds; beside
// the official TypeScript SDK v2 in the same run, with the same raw load. Any other server can be
// measured too: MCP_PEER names a command that speaks stdio. Medians of five.
// First what a catalogue of 2,000 tools costs in the prompt, and how well it is searched.
// (bench_mcp serve-stdio | serve-http | gateway COMMAND... | client-... is our side of it.)

#include "bench/figure.h"
#include "bench/mcp_catalogue.h"
#include "bench/process.h"
#include "http/curl_client.h"
#include "http/server.h"
#include "mcp/gateway.h"
#include "mcp/http_endpoint.h"
#include "mcp/http_transport.h"
#include "mcp/stdio_server.h"

#include <nlohmann/json.hpp>
#include <sys/resource.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <map>
#include <optional>

namespace {

using namespace ambit;
using bench::Better;
using bench::Goal;
using Clock = std::chrono::steady_clock;

constexpr int repetitions = 5;

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

// ---- our side
// ---------------------------------------------------------------------------------

Task<Result<rpc::Value>> echo(rpc::Value arguments, mcp::Call& /*call*/) {
  co_return mcp::text_result(arguments.json().value("text", ""));
}

void add_echo(mcp::Server& server) {
  mcp::ServerTool tool;
  tool.definition = rpc::Json::parse(
      R"({"name":"echo","inputSchema":{"type":"object","properties":{"text":{"type":"string"}}}})");
  tool.run = echo;
  if (!server.add(std::move(tool))) std::abort();
}

int serve_stdio(io::UvWorld& world, mcp::Server& server) {
  auto in = world.world().network.adopt(0);
  auto out = world.world().network.adopt(1);
  if (!in || !out) return 1;
  mcp::StdioServer serving(server, **in, **out, "bench");
  Scope scope;
  scope.spawn([](mcp::StdioServer& stdio) -> Task<void> { co_await stdio.run(); }(serving));
  world.loop().run_until([&] { return scope.size() == 0; });
  return 0;
}

int serve_http(io::UvWorld& world, mcp::Server& server) {
  mcp::HttpEndpoint endpoint(server, world.world().entropy);
  http::ServerOptions options;
  options.requests_max = 10'000'000;
  auto listener = http::Server::listen(
      world.world(), options, [&](http::Exchange& exchange) { return endpoint.handle(exchange); });
  if (!listener) return 1;
  std::printf("%s\n", (*listener)->address().c_str());
  std::fflush(stdout);
  world.loop().run();
  return 0;
}

struct Upstream {
  std::unique_ptr<io::Process> process;
};

Result<mcp::Connection> connect_to(io::World& world, std::vector<std::string> command) {
  auto upstream = std::make_shared<Upstream>();
  upstream->process = TRY(world.processes.spawn(bench::process_options(std::move(command))));
  mcp::Connection connection;
  connection.input = &upstream->process->input();
  connection.output = &upstream->process->output();
  connection.errors = &upstream->process->errors();
  connection.owner = std::move(upstream);
  return connection;
}

int serve_gateway(io::UvWorld& world, std::vector<std::string> command) {
  mcp::ServerOptions options;
  mcp::Gateway* made = nullptr;
  options.before_list = [&made]() { return made->refresh(); };
  mcp::Server server(world.world().clock, world.world().entropy, std::move(options));
  mcp::Gateway gateway(server, {});
  made = &gateway;
  gateway.add("up", [&]() -> Task<Result<mcp::Connection>> {
    return [](io::World& of, std::vector<std::string> words) -> Task<Result<mcp::Connection>> {
      co_return connect_to(of, std::move(words));
    }(world.world(), command);
  });
  Scope scope;
  scope.spawn([](mcp::Gateway& first) -> Task<void> { co_await first.refresh(); }(gateway));
  world.loop().run_until([&] { return scope.size() == 0; });
  return serve_stdio(world, server);
}

double cpu_here() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& time) {
    return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

Task<void> call_again(mcp::Client& client, int count, int& failures) {
  for (int n = 0; n < count; ++n) {
    rpc::Value arguments = rpc::Json{{"text", "hello"}};
    auto answer = co_await client.call_tool("echo", std::move(arguments));
    if (!answer) ++failures;
  }
}

// Our client: CALLS IN_FLIGHT and a URL or a command.
int run_client(io::UvWorld& world, const std::vector<std::string>& words, bool over_http) {
  const int calls = std::atoi(words.at(0).c_str());
  const int in_flight = std::atoi(words.at(1).c_str());
  http::CurlClient http(world.watcher());
  mcp::Connection connection;
  if (over_http) {
    auto transport = mcp::HttpTransport::make(http, mcp::HttpTarget{words.at(2), {}, nullptr});
    if (!transport) return 1;
    connection.transport = std::move(*transport);
  } else {
    auto started = connect_to(world.world(), {words.begin() + 2, words.end()});
    if (!started) return 1;
    connection = std::move(*started);
  }
  mcp::Client client(std::move(connection), {});
  int failures = 0;
  const auto all = [&](int width, int each) {
    Scope scope;
    for (int n = 0; n < width; ++n) scope.spawn(call_again(client, each, failures));
    world.loop().run_until([&] { return scope.size() == 0; });
  };
  {
    Scope scope;
    scope.spawn([](mcp::Client& connecting, int& failed) -> Task<void> {
      auto connected = co_await connecting.connect();
      if (!connected) ++failed;
    }(client, failures));
    world.loop().run_until([&] { return scope.size() == 0; });
  }
  all(1, 200);
  const double cpu = cpu_here();
  const auto begin = Clock::now();
  all(in_flight, (calls + in_flight - 1) / in_flight);
  std::printf("{\"perSecond\":%g,\"cpuUs\":%g}\n", calls / seconds_since(begin),
              (cpu_here() - cpu) / calls * 1e6);
  return failures == 0 ? 0 : 1;
}

// ---- the load
// ---------------------------------------------------------------------------------

std::string call_text(std::int64_t id, const std::string& tool) {
  return R"({"jsonrpc":"2.0","id":)" + std::to_string(id) +
         R"(,"method":"tools/call","params":{"name":")" + tool +
         R"(","arguments":{"text":"hello"},"_meta":{)"
         R"("io.modelcontextprotocol/protocolVersion":"2026-07-28",)"
         R"("io.modelcontextprotocol/clientInfo":{"name":"bench","version":"1"},)"
         R"("io.modelcontextprotocol/clientCapabilities":{}}}})";
}

struct Load {
  double per_second = 0;
  double cpu_us = 0;  // of the server, a call
  double p50_ms = 0;
  double p99_ms = 0;
};

struct Told {
  std::vector<double> times;
  std::int64_t failures = 0;
};

// One pipe with so many calls under way at any time.
Task<void> ask_pipe(io::Process& process, std::string tool, int in_flight, double seconds,
                    Told& told) {
  std::map<std::int64_t, Clock::time_point> open;
  std::int64_t next = 1;
  std::string text;
  const auto send = [&](int count) {
    std::string lines;
    for (int n = 0; n < count; ++n) {
      open.emplace(next, Clock::now());
      lines += call_text(next++, tool) + "\n";
    }
    return process.input().write(std::move(lines));
  };
  const auto begin = Clock::now();
  auto written = co_await send(in_flight);
  while (written && !open.empty()) {
    auto part = co_await process.output().read(1 << 16);
    if (!part || part->empty()) break;
    text += *part;
    int answered = 0;
    std::size_t at = 0;
    for (std::size_t end = 0; (end = text.find('\n', at)) != std::string::npos; at = end + 1) {
      const std::size_t id = text.find("\"id\":", at);
      if (id > end || text.find("\"error\"", at) < end) ++told.failures;
      const auto known = open.find(std::atoll(text.c_str() + id + 5));
      if (known == open.end()) continue;
      told.times.push_back(seconds_since(known->second));
      open.erase(known);
      ++answered;
    }
    text.erase(0, at);
    if (answered > 0 && seconds_since(begin) < seconds) written = co_await send(answered);
  }
}

// One connection that calls again and again.
Task<void> ask_http(io::World& world, std::string address, double seconds, Told& told) {
  auto stream = co_await world.network.connect(address);
  if (!stream) co_return;
  const auto begin = Clock::now();
  const std::string body = call_text(1, "echo");
  const std::string request =
      "POST /mcp HTTP/1.1\r\nHost: 127.0.0.1\r\nMCP-Protocol-Version: 2026-07-28\r\n"
      "Mcp-Method: tools/call\r\nMcp-Name: echo\r\nAccept: application/json, text/event-stream\r\n"
      "Content-Type: application/json\r\nContent-Length: " +
      std::to_string(body.size()) + "\r\n\r\n" + body;
  while (seconds_since(begin) < seconds) {
    const auto sent = Clock::now();
    std::string copy = request;
    auto written = co_await (*stream)->write(std::move(copy));
    std::string text;
    bool whole = false;
    while (written && !whole) {
      auto part = co_await (*stream)->read(1 << 16);
      if (!part || part->empty()) break;
      text += *part;
      const std::size_t head = text.find("\r\n\r\n");
      if (head == std::string::npos) continue;
      const std::size_t length = text.find("ontent-Length: ");
      const std::size_t other = text.find("ontent-length: ");
      const std::size_t at = std::min(length, other);
      whole = at < head
                  ? text.size() >=
                        head + 4 + static_cast<std::size_t>(std::atoll(text.c_str() + at + 15))
                  : text.ends_with("0\r\n\r\n");
    }
    if (!whole || text.compare(0, 12, "HTTP/1.1 200") != 0) {
      ++told.failures;
      co_return;
    }
    told.times.push_back(seconds_since(sent));
  }
}

class Bench {
 public:
  explicit Bench(std::string self) : self_(std::move(self)) {}

  // A server over stdio, measured anew in a process of its own.
  std::optional<Load> pipe(const std::vector<std::string>& command, const std::string& tool,
                           int in_flight) {
    return median([&](double seconds) -> std::optional<Load> {
      auto process = world_.world().processes.spawn(bench::process_options(command));
      if (!process) return std::nullopt;
      const auto round = [&](double time) {
        Told told;
        Scope scope;
        scope.spawn(ask_pipe(**process, tool, in_flight, time, told));
        world_.loop().run_until([&] { return scope.size() == 0; });
        return told;
      };
      round(0.5);
      return load_of([&] { return round(seconds); }, (*process)->pid());
    });
  }
  std::optional<Load> http(const std::vector<std::string>& command, int connections) {
    return median([&](double seconds) -> std::optional<Load> {
      auto process = world_.world().processes.spawn(bench::process_options(command));
      if (!process) return std::nullopt;
      const std::string address = bench::first_line(world_.loop(), (*process)->output());
      if (address.empty()) return std::nullopt;
      const auto round = [&](double time) {
        Told told;
        Scope scope;
        for (int n = 0; n < connections; ++n) {
          scope.spawn(ask_http(world_.world(), address, time, told));
        }
        world_.loop().run_until([&] { return scope.size() == 0; });
        return told;
      };
      round(0.5);
      return load_of([&] { return round(seconds); }, (*process)->pid());
    });
  }
  // A client that measures itself.
  std::optional<Load> client(const std::vector<std::string>& command) {
    return median([&](double /*seconds*/) -> std::optional<Load> {
      auto process = world_.world().processes.spawn(bench::process_options(command));
      if (!process) return std::nullopt;
      const auto said =
          rpc::Json::parse(bench::first_line(world_.loop(), (*process)->output()), nullptr, false);
      if (!said.is_object()) return std::nullopt;
      return Load{said["perSecond"].get<double>(), said["cpuUs"].get<double>(), 0, 0};
    });
  }
  // A server over HTTP for clients to call.
  std::string listen(const std::vector<std::string>& command) {
    auto process = world_.world().processes.spawn(bench::process_options(command));
    if (!process) return "";
    kept_.push_back(std::move(*process));
    return bench::first_line(world_.loop(), kept_.back()->output());
  }
  [[nodiscard]] const std::string& self() const { return self_; }

 private:
  template <class Run>
  static std::optional<Load> load_of(Run run, std::int64_t pid) {
    const double cpu = bench::cpu_of(pid);
    const auto begin = Clock::now();
    const Told told = run();
    const double seconds = seconds_since(begin);
    if (told.times.empty() || told.failures > 0) return std::nullopt;
    const auto count = static_cast<double>(told.times.size());
    return Load{count / seconds, (bench::cpu_of(pid) - cpu) / count * 1e6,
                bench::quantile(told.times, 0.5) * 1e3, bench::quantile(told.times, 0.99) * 1e3};
  }
  template <class Once>
  static std::optional<Load> median(Once once) {
    std::vector<Load> all;
    for (int n = 0; n < repetitions; ++n) {
      const auto load = once(1.5);
      if (!load) return std::nullopt;
      all.push_back(*load);
    }
    const auto of = [&](double Load::* member) {
      std::vector<double> values;
      for (const Load& load : all) values.push_back(load.*member);
      return bench::quantile(values, 0.5);
    };
    return Load{of(&Load::per_second), of(&Load::cpu_us), of(&Load::p50_ms), of(&Load::p99_ms)};
  }

  io::UvWorld world_;
  std::string self_;
  std::vector<std::unique_ptr<io::Process>> kept_;
};

void figure(const std::string& what, const std::string& unit, Better better, double ours,
            const std::string& peer, double theirs, Goal on = Goal::none, double goal = 0) {
  bench::print({"mcp", what, unit, better, ours, theirs > 0 ? peer : "", theirs, on, goal});
}

constexpr const char* sdk = "@modelcontextprotocol/server 2.4.0";

void servers(Bench& bench) {
  const std::vector<std::string> peer = {"/usr/bin/node", PEER_SCRIPT};
  const auto with = [](std::vector<std::string> words, const char* mode) {
    words.emplace_back(mode);
    return words;
  };
  for (const int in_flight : {1, 64}) {
    for (const bool over_http : {false, true}) {
      const char* mode = over_http ? "serve-http" : "serve-stdio";
      const char* peer_mode = over_http ? "server-http" : "server-stdio";
      const auto measure = [&](const std::vector<std::string>& command) {
        return over_http ? bench.http(command, in_flight) : bench.pipe(command, "echo", in_flight);
      };
      const auto ours = measure(with({bench.self()}, mode));
      const auto theirs = measure(with(peer, peer_mode));
      if (!ours) {
        std::fprintf(stderr, "bench mcp: our server failed (%s)\n", mode);
        continue;
      }
      if (!theirs) std::fprintf(stderr, "skipped: %s did not answer (%s)\n", sdk, peer_mode);
      const Load none;
      const Load& other = theirs ? *theirs : none;
      const std::string what = std::string(over_http ? "server, HTTP, " : "server, stdio, ") +
                               std::to_string(in_flight) + " in flight";
      const bool many = in_flight == 64;
      const double goal = over_http ? 20'000 : 40'000;
      figure(what, "calls/s", Better::more, ours->per_second, sdk, other.per_second,
             many ? Goal::ours : Goal::none, goal);
      figure(what, "server CPU us/call", Better::less, ours->cpu_us, sdk, other.cpu_us, Goal::ratio,
             10);
      figure(what, "p50 ms", Better::less, ours->p50_ms, sdk, other.p50_ms,
             over_http && !many ? Goal::ours : Goal::none, 0.2);
      figure(what, "p99 ms", Better::less, ours->p99_ms, sdk, other.p99_ms);
    }
  }
  const char* other = std::getenv("MCP_PEER");
  if (other == nullptr) {
    std::fprintf(stderr, "skipped: another server; MCP_PEER names its command\n");
    return;
  }
  for (const int in_flight : {1, 64}) {
    const auto ours = bench.pipe(with({bench.self()}, "serve-stdio"), "echo", in_flight);
    const auto theirs = bench.pipe({"/bin/sh", "-c", other}, "echo", in_flight);
    if (!ours || !theirs) continue;
    const std::string what = "server, stdio, " + std::to_string(in_flight) + " in flight";
    figure(what, "calls/s", Better::more, ours->per_second, "MCP_PEER", theirs->per_second);
    figure(what, "server CPU us/call", Better::less, ours->cpu_us, "MCP_PEER", theirs->cpu_us);
  }
}

// Clients call our server, so that what differs is the client.
void clients(Bench& bench) {
  const std::string address = bench.listen({bench.self(), "serve-http"});
  for (const char* in_flight : {"1", "64"}) {
    for (const bool over_http : {false, true}) {
      const char* mode = over_http ? "client-http" : "client-stdio";
      std::vector<std::string> words = {mode, "20000", in_flight};
      if (over_http) {
        words.push_back("http://" + address + "/mcp");
      } else {
        words.insert(words.end(), {bench.self(), "serve-stdio"});
      }
      std::vector<std::string> ours_command = {bench.self()};
      std::vector<std::string> peer_command = {"/usr/bin/node", PEER_SCRIPT};
      ours_command.insert(ours_command.end(), words.begin(), words.end());
      words[1] = over_http ? "2000" : "20000";  // the SDK takes a millisecond a call
      peer_command.insert(peer_command.end(), words.begin(), words.end());
      const auto ours = bench.client(ours_command);
      const auto theirs = bench.client(peer_command);
      if (!ours) {
        std::fprintf(stderr, "bench mcp: our client failed (%s)\n", mode);
        continue;
      }
      const std::string what =
          std::string(over_http ? "client, HTTP, " : "client, stdio, ") + in_flight + " in flight";
      const Load none;
      const Load& other = theirs ? *theirs : none;
      if (!theirs) std::fprintf(stderr, "skipped: the SDK's client (%s)\n", mode);
      const char* peer = "@modelcontextprotocol/client 2.4.0";
      figure(what, "calls/s", Better::more, ours->per_second, peer, other.per_second);
      figure(what, "client CPU us/call", Better::less, ours->cpu_us, peer, other.cpu_us,
             Goal::ratio, 10);
    }
  }
}

void gateway(Bench& bench) {
  const std::vector<std::string> server = {bench.self(), "serve-stdio"};
  for (const int in_flight : {1, 64}) {
    const auto direct = bench.pipe(server, "echo", in_flight);
    const auto through = bench.pipe({bench.self(), "gateway", bench.self(), "serve-stdio"},
                                    "mcp__up__echo", in_flight);
    if (!direct || !through) {
      std::fprintf(stderr, "bench mcp: the gateway failed\n");
      return;
    }
    const std::string what = "gateway, stdio, " + std::to_string(in_flight) + " in flight";
    figure(what, "calls/s", Better::more, through->per_second, "", 0);
    if (in_flight != 1) continue;
    figure(what, "added p50 us", Better::less, (through->p50_ms - direct->p50_ms) * 1e3, "", 0,
           Goal::ours, 100);
  }
}

}  // namespace

int main(int count, char** arguments) {
  std::signal(SIGPIPE, SIG_IGN);
  std::vector<std::string> words(arguments + 1, arguments + count);
  if (!words.empty()) {
    const std::string mode = words[0];
    words.erase(words.begin());
    io::UvWorld world;
    if (mode == "gateway") return serve_gateway(world, words);
    if (mode.starts_with("client-")) return run_client(world, words, mode == "client-http");
    mcp::Server server(world.world().clock, world.world().entropy, {});
    add_echo(server);
    return mode == "serve-http" ? serve_http(world, server) : serve_stdio(world, server);
  }
  {
    io::UvWorld world;
    if (!bench::catalogue_figures(world)) std::fprintf(stderr, "skipped: the catalogue\n");
  }
  Bench bench(arguments[0]);
  servers(bench);
  clients(bench);
  gateway(bench);
  return 0;
}
