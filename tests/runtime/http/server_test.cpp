#include "http/server.h"

#include "http/curl_client.h"
#include "http/event_stream.h"
#include "io/uv_world.h"
#include "run_task.h"
#include "sim_world.h"

#include <catch2/catch.hpp>

#include <cstdlib>
#include <stdexcept>

namespace ambit::http {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

// What a test's handlers do, by path; and what they have seen.
struct Service {
  std::vector<std::string> seen;
  int cancelled = 0;
  Channel<std::string> events{4};
  std::size_t written = 0;

  struct Watch {
    int& count;
    bool armed = true;
    ~Watch() { count += armed ? 1 : 0; }
  };

  Task<void> handle(Exchange& exchange) {
    const std::string path = exchange.request().path;
    seen.push_back(path);
    if (path == "/echo") {
      auto body = co_await exchange.read_all();
      if (!body) co_return;
      const Headers headers({{"X-Kind", "echo"}});
      co_await exchange.respond(200, headers, std::move(*body));
    } else if (path == "/slow") {
      Watch watch{cancelled};
      co_await delay(seconds(30));
      watch.armed = false;
      co_await exchange.respond(200, Headers(), "slow");
    } else if (path == "/events") {
      EventStream stream(exchange, seconds(5));
      co_await stream.open(Headers());
      while (true) {
        auto event = co_await stream.receive(events);
        if (!event) break;
        auto sent = co_await stream.send("data: " + *event + "\n\n");
        if (!sent) co_return;
      }
      co_await stream.end();
    } else if (path == "/flood") {
      Watch watch{cancelled};
      co_await exchange.begin(200, Headers());
      while (true) {
        auto sent = co_await exchange.write(std::string(10'000, 'x'));
        if (!sent) co_return;
        written += 10'000;
      }
    } else if (path == "/throw") {
      throw std::runtime_error("a handler's fault");
    } else if (path == "/inject") {
      const Headers headers({{"X-Bad", "a\r\nSet-Cookie: b"}});
      co_await exchange.respond(200, headers, "");
    } else if (path != "/nothing") {
      co_await exchange.respond(204, Headers(), "");
    }
  }
};

sim::Faults calm() {
  sim::Faults faults;
  faults.latency_max = milliseconds(2);
  return faults;
}

struct Fixture {
  sim::SimWorld world{7, calm()};
  Service service;
  std::unique_ptr<Server> server;

  explicit Fixture(ServerOptions options = {}) {
    server = Server::listen(world.world(), std::move(options), [this](Exchange& exchange) {
               return service.handle(exchange);
             }).value();
  }
  template <class T>
  T run(Task<T> task) {
    return run_task(world.loop(), std::move(task));
  }
  std::unique_ptr<io::Stream> connect() {
    return run(world.network().connect(server->address())).value();
  }
};

Task<std::string> read_to_end(io::Stream& stream) {
  std::string all;
  while (true) {
    auto part = co_await stream.read(1 << 16);
    if (!part || part->empty()) co_return all;
    all += *part;
  }
}
Task<std::string> talk(io::Stream& stream, std::string sent) {
  co_await stream.write(std::move(sent));
  co_return co_await read_to_end(stream);
}
Task<std::string> read_until(io::Stream& stream, std::string end) {
  std::string all;
  while (all.find(end) == std::string::npos) {
    auto part = co_await stream.read(1 << 16);
    if (!part || part->empty()) break;
    all += *part;
  }
  co_return all;
}
Task<Duration> time_of(Task<std::string> task) {
  const Instant begin = Loop::current().now();
  co_await std::move(task);
  co_return Loop::current().now() - begin;
}
Task<void> drain(Server& server, Duration patience) {
  co_await server.drain(patience);
}

std::string get(const std::string& path, const std::string& headers = "") {
  return "GET " + path + " HTTP/1.1\r\nHost: localhost\r\n" + headers + "\r\n";
}
const std::string close_header = "Connection: close\r\n";

std::size_t count_of(const std::string& text, const std::string& part) {
  std::size_t count = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1))
    ++count;
  return count;
}

}  // namespace

TEST_CASE("requests of one connection are answered in their order", "[http][server]") {
  Fixture f;
  const auto stream = f.connect();
  const std::string answers = f.run(
      talk(*stream, "POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\none" +
                        get("/x") + "POST /echo HTTP/1.1\r\nHost: localhost\r\n" + close_header +
                        "Transfer-Encoding: chunked\r\n\r\n3\r\nt\r\n\r\n0\r\n\r\n"));
  CHECK(count_of(answers, "HTTP/1.1 200 OK\r\n") == 2);
  CHECK(count_of(answers, "HTTP/1.1 204 No Content\r\n") == 1);
  CHECK_THAT(answers, Catch::StartsWith("HTTP/1.1 200 OK\r\nX-Kind: echo\r\nDate: "));
  CHECK_THAT(answers, Catch::Contains("Content-Length: 3\r\n\r\noneHTTP/1.1 204"));
  CHECK_THAT(answers, Catch::EndsWith("Connection: close\r\n\r\nt\r\n"));
  CHECK(f.service.seen == std::vector<std::string>{"/echo", "/x", "/echo"});
}

TEST_CASE("a client that cannot wait is answered in HTTP/1.0", "[http][server]") {
  Fixture f;
  const auto stream = f.connect();
  f.service.events.try_send("a");
  f.service.events.close();
  const std::string answer =
      f.run(talk(*stream, "GET /events HTTP/1.0\r\nHost: localhost\r\n\r\n"));
  CHECK_THAT(answer, Catch::EndsWith("Connection: close\r\n\r\ndata: a\n\n"));
  CHECK_THAT(answer, !Catch::Contains("chunked"));
}

TEST_CASE("a large body is read, and one that waits for 100 Continue gets it", "[http][server]") {
  Fixture f;
  const auto stream = f.connect();
  const std::string body(300'000, 'b');
  f.run(stream->write("POST /echo HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n" +
                      close_header + "Content-Length: 300000\r\n\r\n"));
  CHECK(f.run(read_until(*stream, "\r\n\r\n")) == "HTTP/1.1 100 Continue\r\n\r\n");
  const std::string answer = f.run(talk(*stream, body));
  CHECK(answer.ends_with("\r\n\r\n" + body));
}

TEST_CASE("HEAD and 204 have no body", "[http][server]") {
  Fixture f;
  const auto stream = f.connect();
  const std::string answer = f.run(
      talk(*stream, "HEAD /echo HTTP/1.1\r\nHost: localhost\r\n\r\n" + get("/x", close_header)));
  CHECK_THAT(answer, Catch::Contains("Content-Length: 0\r\n\r\nHTTP/1.1 204"));
  CHECK(count_of(answer, "Content-Length") == 1);
}

TEST_CASE("a refused request gets its status, and nothing after it is read", "[http][server]") {
  const std::pair<std::string, std::string> cases[] = {
      {"GET / HTTP/1.1\r\nHost: localhost\nX: y\r\n\r\n", "400"},
      {"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n", "421"},
      {"GET http://evil.example/ HTTP/1.1\r\nHost: localhost\r\n\r\n", "421"},
      {"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: "
       "chunked\r\n\r\n0\r\n\r\n",
       "400"},
      {get("/", "X: " + std::string(40'000, 'x') + "\r\n"), "431"},
      {"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999\r\n\r\n", "413"},
      {"POST /echo HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "400"},
  };
  for (const auto& [text, status] : cases) {
    Fixture f;
    const auto stream = f.connect();
    const std::string answer = f.run(talk(*stream, text + get("/after")));
    INFO(text);
    CHECK_THAT(answer, Catch::StartsWith("HTTP/1.1 " + status));
    CHECK_THAT(answer, Catch::Contains("Connection: close\r\n"));
    CHECK(count_of(answer, "HTTP/1.1") == 1);
    CHECK(count_of(f.service.seen.empty() ? "" : f.service.seen.back(), "/after") == 0);
  }
}

TEST_CASE("a handler's fault, or no answer of it, is a 500 and no crash", "[http][server]") {
  for (const char* path : {"/throw", "/nothing", "/inject"}) {
    Fixture f;
    const auto stream = f.connect();
    const std::string answer = f.run(talk(*stream, get(path)));
    CHECK_THAT(answer, Catch::StartsWith("HTTP/1.1 500 "));
    CHECK_THAT(answer, !Catch::Contains("Set-Cookie"));
  }
}

TEST_CASE("a body that nobody reads ends the connection, not the next request", "[http][server]") {
  Fixture f;
  const auto stream = f.connect();
  const std::string answer = f.run(talk(
      *stream, "POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 500\r\n\r\n" + get("/y")));
  CHECK(count_of(answer, "HTTP/1.1") == 1);
  CHECK_THAT(answer, Catch::Contains("Connection: close\r\n"));
  CHECK(f.service.seen == std::vector<std::string>{"/x"});
}

TEST_CASE("slow clients are not waited for", "[http][server]") {
  SECTION("in the head") {
    Fixture f;
    const auto stream = f.connect();
    const auto took = f.run(time_of(talk(*stream, "GET / HTTP/1.1\r\nHost: lo")));
    CHECK(took >= seconds(10));
    CHECK(took < seconds(12));
  }
  SECTION("in the body") {
    Fixture f;
    const auto stream = f.connect();
    const std::string answer = f.run(
        talk(*stream, "POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nab"));
    CHECK_THAT(answer, Catch::StartsWith("HTTP/1.1 408 "));
  }
  SECTION("before the first byte") {
    Fixture f;
    const auto stream = f.connect();
    const auto took = f.run(time_of(read_to_end(*stream)));
    CHECK(took >= seconds(60));
    CHECK(took < seconds(62));
  }
  SECTION("in reading what they asked for") {
    Fixture f;
    const auto stream = f.connect();
    f.run(stream->write(get("/flood")));
    f.world.loop().run_until([&] { return f.service.cancelled == 1; });
    // No more than what the network holds was ever made.
    CHECK(f.service.written < 200'000);
  }
}

TEST_CASE("a handler ends when its client goes", "[http][server]") {
  Fixture f;
  auto stream = f.connect();
  f.run(stream->write(get("/slow")));
  f.world.loop().run_until([&] { return f.service.seen.size() == 1; });
  const Instant begin = f.world.loop().now();
  stream.reset();
  f.world.loop().run_until([&] { return f.server->connections() == 0; });
  CHECK(f.service.cancelled == 1);
  CHECK(f.world.loop().now() - begin < seconds(1));
}

TEST_CASE("a request that comes while another is answered waits its turn", "[http][server]") {
  Fixture f;
  auto stream = f.connect();
  f.run(stream->write(get("/slow")));
  f.world.loop().run_until([&] { return f.service.seen.size() == 1; });
  const std::string answers = f.run(talk(*stream, get("/x", close_header)));
  CHECK(count_of(answers, "HTTP/1.1") == 2);
  CHECK(answers.find("slow") < answers.find("204"));
  CHECK(f.service.cancelled == 0);
}

TEST_CASE("an event stream beats while it has nothing to say", "[http][server]") {
  Fixture f;
  auto stream = f.connect();
  f.run(stream->write(get("/events")));
  CHECK_THAT(f.run(read_until(*stream, "\r\n\r\n")),
             Catch::Contains("Content-Type: text/event-stream\r\n"));
  const Instant begin = f.world.loop().now();
  CHECK(f.run(read_until(*stream, "\n\n\r\n")) == "4\r\n: \n\n\r\n");
  CHECK(f.world.loop().now() - begin >= milliseconds(4990));
  f.service.events.try_send("one");
  f.service.events.close();
  const std::string rest = f.run(read_until(*stream, "0\r\n\r\n"));
  CHECK(rest == "b\r\ndata: one\n\n\r\n0\r\n\r\n");
}

TEST_CASE("when all places are taken, an idle connection makes room", "[http][server]") {
  ServerOptions options;
  options.connections_max = 2;
  Fixture f(options);
  const auto idle = f.connect();
  const auto busy = f.connect();
  f.run(busy->write(get("/slow")));
  f.world.loop().run_until([&] { return f.service.seen.size() == 1; });
  const auto third = f.connect();
  CHECK_THAT(f.run(talk(*third, get("/x", close_header))), Catch::StartsWith("HTTP/1.1 204"));
  CHECK(f.run(read_to_end(*idle)).empty());

  const auto also_busy = f.connect();
  f.run(also_busy->write(get("/slow")));
  f.world.loop().run_until([&] { return f.service.seen.size() == 3; });
  const auto fifth = f.connect();
  CHECK_THAT(f.run(read_to_end(*fifth)), Catch::StartsWith("HTTP/1.1 503 "));
  CHECK(f.server->connections() == 2);
}

TEST_CASE("draining lets what runs end, and takes nothing new", "[http][server]") {
  Fixture f;
  const auto idle = f.connect();
  const auto busy = f.connect();
  f.run(busy->write(get("/slow")));
  f.world.loop().run_until([&] { return f.service.seen.size() == 1; });
  Scope scope;
  scope.spawn(drain(*f.server, seconds(60)));
  CHECK(f.run(read_to_end(*idle)).empty());
  CHECK_FALSE(f.run(f.world.network().connect(f.server->address())).has_value());
  CHECK_THAT(f.run(read_to_end(*busy)), Catch::EndsWith("slow"));
  f.world.loop().run_until([&] { return scope.size() == 0; });
  CHECK(f.server->connections() == 0);
}

TEST_CASE("draining has an end, whatever runs", "[http][server]") {
  Fixture f;
  const auto busy = f.connect();
  f.run(busy->write(get("/slow")));
  f.world.loop().run_until([&] { return f.service.seen.size() == 1; });
  f.run(drain(*f.server, seconds(1)));
  CHECK(f.server->connections() == 0);
  CHECK(f.service.cancelled == 1);
}

TEST_CASE("to be reached by others, a server must name its hosts", "[http][server]") {
  sim::SimWorld world(1, calm());
  ServerOptions options;
  options.address = "10.0.0.1:80";
  const auto nothing = [](Exchange&) -> Task<void> { co_return; };
  const auto refused = Server::listen(world.world(), options, nothing);
  REQUIRE_FALSE(refused.has_value());
  CHECK(refused.error().code == Code::invalid);
  options.hosts = {"agents.example"};
  CHECK(Server::listen(world.world(), options, nothing).has_value());
}

TEST_CASE("whatever the network does, answers come whole and in order", "[http][server]") {
  for (std::uint64_t seed = 1; seed <= 60; ++seed) {
    INFO("seed " << seed);
    sim::SimWorld world(seed);
    Service service;
    auto server = Server::listen(world.world(), {}, [&](Exchange& exchange) {
                    return service.handle(exchange);
                  }).value();
    auto stream = run_task(world.loop(), world.network().connect(server->address()));
    if (!stream) continue;
    std::string expected;
    std::string sent;
    for (int n = 0; n < 4; ++n) {
      const std::string body(world.random().below(3000), static_cast<char>('a' + n));
      sent += "POST /echo HTTP/1.1\r\nHost: localhost\r\n" +
              (n == 3 ? close_header : std::string()) +
              "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
      expected += body;
    }
    const std::string answers = run_task(world.loop(), talk(**stream, sent));
    std::string bodies;
    for (std::size_t at = 0; (at = answers.find("HTTP/1.1 200", at)) != std::string::npos;) {
      at = std::min(answers.find("Content-Length: ", at), answers.size() - 1);
      const std::size_t length = std::strtoul(answers.c_str() + at + 16, nullptr, 10);
      const std::size_t body = answers.find("\r\n\r\n", at);
      if (body == std::string::npos) break;
      at = std::min(body + 4 + length, answers.size());
      bodies += answers.substr(body + 4, at - body - 4);
    }
    CHECK(expected.starts_with(bodies));
    stream->reset();
    server.reset();
    CHECK(world.network().open_ends() == 0);
  }
}

TEST_CASE("a real client is served over a real socket", "[http][server]") {
  io::UvWorld world;
  Service service;
  auto server = Server::listen(world.world(), {}, [&](Exchange& exchange) {
                  return service.handle(exchange);
                }).value();
  CurlClient client(world.watcher());
  for (int n = 0; n < 3; ++n) {
    Request request;
    request.method = "POST";
    request.url = "http://" + server->address() + "/echo";
    request.body = std::string(2'000'000, static_cast<char>('a' + n));
    const Response response = run_task(world.loop(), client.send(request)).value();
    CHECK(response.status == 200);
    CHECK(response.body == request.body);
  }
  CHECK(server->connections() == 1);
  run_task(world.loop(), drain(*server, seconds(5)));
  CHECK(server->connections() == 0);
}

}  // namespace ambit::http
