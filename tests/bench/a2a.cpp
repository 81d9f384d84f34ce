// bench a2a: SendMessage round trips, CPU of the server a request, streamed events, and memory
// after many tasks; beside the official JavaScript SDK and bare node:http in the same run, with the
// same load generator. Needs node and build/npm/node_modules/@a2a-js/sdk for the peers.
// (bench_a2a serve is our side of it.)

#include "a2a/door.h"
#include "a2a/service.h"
#include "bench/figure.h"
#include "bench/process.h"
#include "http/server.h"
#include "io/uv_world.h"

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <optional>
#include <unistd.h>

namespace {

using namespace ambit;
using bench::Better;
using bench::Goal;

// "x" is answered by a task of four events, "stream N" by one of N chunks.
class Echo final : public a2a::TaskRunner {
 public:
  Task<Result<std::optional<a2a::Message>>> answer(a2a::Run /*run*/) override {
    co_return std::optional<a2a::Message>();
  }
  Task<Result<void>> run(a2a::Run run, a2a::RunEvents& events) override {
    co_await ok(events.status(a2a::TaskState::working, std::nullopt));
    const std::string& text = run.message.parts.at(0).text;
    const int count = text.starts_with("stream ") ? std::atoi(text.c_str() + 7) : 1;
    for (int n = 0; n < count; ++n) {
      a2a::Artifact artifact;
      artifact.id = "a";
      artifact.parts.push_back(a2a::text_part("done"));
      co_await ok(events.artifact(std::move(artifact), n > 0, n + 1 == count));
    }
    co_return co_await events.status(a2a::TaskState::completed, std::nullopt);
  }
};

int serve() {
  io::UvWorld world;
  Echo runner;
  a2a::MemoryTaskStore store;
  a2a::ServiceOptions options;
  options.card.name = "echo";
  options.card.interfaces = {{"http://127.0.0.1/", "JSONRPC", "1.0", ""}};
  a2a::Service service(world.world(), store, runner, options);
  a2a::Door door(service, 0);
  http::ServerOptions server_options;
  server_options.requests_max = 10'000'000;
  auto server = http::Server::listen(world.world(), server_options, [&](http::Exchange& exchange) {
    return door.handle(exchange);
  });
  if (!server) return 1;
  const std::string address = (*server)->address();
  std::printf("%s\n", address.substr(address.rfind(':') + 1).c_str());
  std::fflush(stdout);
  world.loop().run();
  return 0;
}

struct Server {
  std::unique_ptr<io::Process> process;
  std::string address;
};

// One connection that asks again and again.
class Asker {
 public:
  Asker(io::World& world, std::string address) : world_(world), address_(std::move(address)) {}
  static inline std::int64_t number = 0;

  // Sends messages of this text until `is_over`; counts answers and events.
  Task<void> ask(std::string text, bool streams, const bool& is_over, std::int64_t most) {
    auto stream = co_await world_.network.connect(address_);
    if (!stream) co_return;
    for (std::int64_t n = 0; n < most && !is_over; ++n) {
      const auto begin = std::chrono::steady_clock::now();
      auto written = co_await (*stream)->write(request(text, streams));
      const bool is_good = co_await answered(**stream);
      if (!written || !is_good) {
        ++failures;
        co_return;
      }
      times.push_back(
          std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
    }
  }
  std::vector<double> times;
  std::int64_t events = 0;
  std::int64_t failures = 0;

 private:
  static std::string request(const std::string& text, bool streams) {
    const std::string body = std::string("{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"") +
                             (streams ? "SendStreamingMessage" : "SendMessage") +
                             "\",\"params\":{\"message\":{\"messageId\":\"m" +
                             std::to_string(++number) +
                             "\",\"role\":\"ROLE_USER\",\"parts\":[{\"text\":\"" + text + "\"}]}}}";
    return "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nA2A-Version: 1.0\r\nContent-Type: "
           "application/json\r\nContent-Length: " +
           std::to_string(body.size()) + "\r\n\r\n" + body;
  }
  // Reads one answer: of known length, or in chunks to the last.
  Task<bool> answered(io::Stream& stream) {
    std::string text;
    std::size_t counted = 0;
    while (true) {
      auto part = co_await stream.read(1 << 16);
      if (!part || part->empty()) co_return false;
      text += *part;
      const std::size_t head = text.find("\r\n\r\n");
      if (head == std::string::npos) continue;
      const std::size_t length = text.find("ontent-Length: ");
      if (length < head) {
        const std::size_t size = static_cast<std::size_t>(std::atoll(text.c_str() + length + 15));
        if (text.size() >= head + 4 + size) co_return text.compare(0, 12, "HTTP/1.1 200") == 0;
        continue;
      }
      for (std::size_t at = 0; (at = text.find("data: ", counted)) != std::string::npos;) {
        counted = at + 6;
        ++events;
      }
      if (text.ends_with("0\r\n\r\n")) co_return true;
      // What is counted need not be kept.
      if (counted > head + 4) {
        text.erase(head + 4, counted - head - 4);
        counted = head + 4;
      }
    }
  }

  io::World& world_;
  std::string address_;
};

struct Load {
  double per_second = 0;
  double cpu_us = 0;  // of the server, a request or event
  double p50_ms = 0;
};

class Bench {
 public:
  Server start(std::vector<std::string> command) {
    Server server;
    auto process = world_.world().processes.spawn(bench::process_options(std::move(command)));
    if (!process) return server;
    const std::string port = bench::first_line(world_.loop(), (*process)->output());
    if (port.empty()) return server;
    server.address = "127.0.0.1:" + port;
    server.process = std::move(*process);
    return server;
  }

  // Asks over so many connections for so long, or so often each.
  Load load(const Server& server, std::size_t connections, const std::string& text, bool streams,
            Duration time, std::int64_t most = INT64_MAX) {
    std::vector<std::unique_ptr<Asker>> askers;
    bool is_over = false;
    const double cpu = bench::cpu_of(server.process->pid());
    const auto begin = std::chrono::steady_clock::now();
    {
      Scope scope;
      for (std::size_t n = 0; n < connections; ++n) {
        askers.push_back(std::make_unique<Asker>(world_.world(), server.address));
        scope.spawn(askers.back()->ask(text, streams, is_over, most));
      }
      Scope timer;
      timer.spawn([](Duration limit, bool& over) -> Task<void> {
        co_await delay(limit);
        over = true;
      }(time, is_over));
      world_.loop().run_until([&] { return scope.size() == 0; });
    }
    const double seconds =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    Load result;
    std::vector<double> times;
    double count = 0;
    for (const auto& asker : askers) {
      times.insert(times.end(), asker->times.begin(), asker->times.end());
      count += static_cast<double>(streams ? asker->events
                                           : static_cast<std::int64_t>(asker->times.size()));
      if (asker->failures > 0) std::fprintf(stderr, "skipped: a connection failed\n");
    }
    if (times.empty()) return result;
    result.per_second = count / seconds;
    result.cpu_us = (bench::cpu_of(server.process->pid()) - cpu) / count * 1e6;
    result.p50_ms = bench::quantile(times, 0.5) * 1e3;
    return result;
  }

 private:
  io::UvWorld world_;
};

void figure(const std::string& what, const std::string& unit, Better better, double ours,
            const std::string& peer, double theirs, Goal on = Goal::none, double goal = 0) {
  if (!peer.empty() && theirs <= 0) return;
  bench::print({"a2a", what, unit, better, ours, peer, theirs, on, goal});
}

struct Case {
  std::size_t connections;
  const char* text;
  bool streams;
  std::int64_t most;
  const char* name;
};

}  // namespace

int main(int count, char** arguments) {
  if (count > 1 && std::strcmp(arguments[1], "serve") == 0) return serve();
  std::signal(SIGPIPE, SIG_IGN);
  Bench bench;
  std::map<std::string, Server> servers;
  servers["ours"] = bench.start({arguments[0], "serve"});
  for (const char* peer : {"sdk", "bare"}) {
    servers[peer] = bench.start({"/usr/bin/node", PEER_SCRIPT, peer});
    if (!servers[peer].process) std::fprintf(stderr, "skipped: the peer %s did not start\n", peer);
  }
  const auto seconds = std::chrono::seconds(4);
  for (const std::size_t connections : {std::size_t{1}, std::size_t{64}}) {
    std::map<std::string, Load> loads;
    for (const auto& [name, server] : servers) {
      if (!server.process) continue;
      bench.load(server, connections, "hi", false, std::chrono::seconds(1));
      loads[name] = bench.load(server, connections, "hi", false, seconds);
    }
    const std::string what = "SendMessage, " + std::to_string(connections) + " connections";
    const Load& ours = loads["ours"];
    for (const char* peer : {"sdk", "bare"}) {
      const Load& theirs = loads[peer];
      const std::string name = std::string(peer) == "sdk" ? "@a2a-js/sdk" : "bare node:http";
      figure(what, "requests/s", Better::more, ours.per_second, name, theirs.per_second);
      figure(what, "server CPU us/request", Better::less, ours.cpu_us, name, theirs.cpu_us,
             std::string(peer) == "sdk" ? Goal::ratio : Goal::none, 10);
      figure(what, "p50 ms", Better::less, ours.p50_ms, name, theirs.p50_ms);
    }
  }
  const Case cases[] = {{64, "stream 20", true, 20, "64 x 20"},
                        {1, "stream 1000", true, 10, "1 x 1000"},
                        {1, "stream 10000", true, 3, "1 x 10000"}};
  double first_cpu = 0;
  for (const Case& one : cases) {
    std::map<std::string, Load> loads;
    for (const auto& [name, server] : servers) {
      // Ten thousand chunks take the SDK minutes: its cost an event grows with their number.
      const bool is_too_long = name == "sdk" && std::string(one.text) == "stream 10000";
      if (!server.process || name == "bare" || is_too_long) continue;
      loads[name] = bench.load(server, one.connections, one.text, one.streams,
                               std::chrono::seconds(30), one.most);
    }
    const std::string what = std::string("stream, ") + one.name;
    figure(what, "events/s", Better::more, loads["ours"].per_second, "@a2a-js/sdk",
           loads["sdk"].per_second);
    figure(what, "server CPU us/event", Better::less, loads["ours"].cpu_us, "@a2a-js/sdk",
           loads["sdk"].cpu_us);
    if (first_cpu == 0) first_cpu = loads["ours"].cpu_us;
    // Flat: an event of a long task costs no more than one of a short task.
    figure(what, "CPU an event, to that of 64 x 20", Better::less, loads["ours"].cpu_us / first_cpu,
           "", 0, Goal::ours, 1.2);
  }
  servers["sdk"].process.reset();
  const auto resident = [&] { return bench::resident_kib_of(servers["ours"].process->pid()); };
  const std::int64_t each = 100'000 / 64;
  bench.load(servers["ours"], 64, "hi", false, std::chrono::hours(1), each);
  const double after_some = resident();
  bench.load(servers["ours"], 64, "hi", false, std::chrono::hours(1), 9 * each);
  figure("memory after 1 M tasks, to that after 100 k", "ratio", Better::less,
         resident() / after_some, "", 0, Goal::ours, 1.1);
  figure("memory after 1 M tasks", "MiB", Better::less, resident() / 1024, "", 0);
  return 0;
}
