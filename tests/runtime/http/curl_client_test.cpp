#include "http/curl_client.h"

#include "async/race.h"
#include "async/scope.h"
#include "http/sse.h"
#include "io/uv_world.h"
#include "responder.h"
#include "run_task.h"

#include <catch2/catch.hpp>

#include <cstdlib>

namespace ambit::http {
namespace {

using std::chrono::milliseconds;

struct Fixture {
  io::UvWorld world;
  Responder server{world.world()};

  CurlClient client(CurlOptions options = {}) {
    return CurlClient(world.watcher(), std::move(options));
  }
  template <class T>
  T run(Task<T> task) {
    return run_task(world.loop(), std::move(task));
  }
};

Request get(std::string url) {
  Request request;
  request.url = std::move(url);
  return request;
}

Script reply(std::string bytes) {
  return Script{{std::move(bytes)}, {}, false, false};
}

std::string ok_reply(const std::string& body, bool keep = false) {
  return "HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(body.size()) +
         (keep ? "" : "\r\nConnection: close") + "\r\nX-Kind: test\r\n\r\n" + body;
}

Task<Result<std::string>> read_all(Body& body) {
  std::string all;
  while (true) {
    const std::string part = co_await ok(body.read());
    if (part.empty()) co_return all;
    all += part;
  }
}

}  // namespace

TEST_CASE("a request is sent as it is written and its response comes back", "[http]") {
  Fixture f;
  auto client = f.client();
  f.server.then(reply(ok_reply("hello")));
  Request request = get(f.server.url("/a/../b?x=%20"));
  request.method = "POST";
  request.headers = {{"X-One", "1"}, {"Content-Type", "application/json"}};
  request.body = std::string("{\0}", 3);
  const Response response = f.run(client.send(request)).value();
  CHECK(response.status == 200);
  CHECK(response.body == "hello");
  CHECK(response.headers.find("x-kind") == "test");
  REQUIRE(f.server.requests().size() == 1);
  const std::string& sent = f.server.requests()[0];
  CHECK_THAT(sent, Catch::StartsWith("POST /a/../b?x=%20 HTTP/1.1\r\n"));
  CHECK_THAT(sent, Catch::Contains("X-One: 1\r\n"));
  CHECK_THAT(sent, Catch::Contains("Content-Type: application/json\r\n"));
  CHECK_THAT(sent, Catch::Contains("User-Agent: ambit\r\n"));
  CHECK_THAT(sent, !Catch::Contains("Expect"));
  CHECK(sent.ends_with(request.body));
}

TEST_CASE("a client for other people's URLs does not reach this machine", "[http]") {
  Fixture f;
  CurlOptions options;
  options.connects_to_public_alone = true;
  auto client = f.client(options);
  const std::string port = f.server.url("").substr(f.server.url("").rfind(':'));
  for (const std::string host : {"127.0.0.1", "localhost", "[::ffff:127.0.0.1]"}) {
    const auto response = f.run(client.send(get("http://" + host + port + "/")));
    REQUIRE_FALSE(response);
    CHECK(response.error().code == Code::denied);
  }
  CHECK(f.server.requests().empty());
}

TEST_CASE("methods with and without a body reach the server as they are", "[http]") {
  Fixture f;
  auto client = f.client();
  for (const char* method : {"GET", "PUT", "DELETE", "PATCH", "POST"}) {
    f.server.then(reply(ok_reply("x")));
    Request request = get(f.server.url());
    request.method = method;
    if (request.method == "PUT" || request.method == "PATCH") request.body = "body";
    CHECK(f.run(client.send(request)).value().body == "x");
    CHECK_THAT(f.server.requests().back(),
               Catch::StartsWith(std::string(method) + " / HTTP/1.1\r\n"));
    CHECK_THAT(f.server.requests().back(), !Catch::Contains("urlencoded"));
  }
  f.server.then(reply("HTTP/1.1 200 OK\r\nContent-Length: 100\r\nConnection: close\r\n\r\n"));
  Request head = get(f.server.url());
  head.method = "HEAD";
  const Response response = f.run(client.send(head)).value();
  CHECK(response.headers.find("Content-Length") == "100");
  CHECK(response.body.empty());
}

TEST_CASE("a connection is used again", "[http]") {
  Fixture f;
  auto client = f.client();
  for (int n = 0; n < 5; ++n) f.server.then(Script{{ok_reply("again", true)}, {}, true, false});
  for (int n = 0; n < 5; ++n)
    CHECK(f.run(client.send(get(f.server.url()))).value().body == "again");
  CHECK(f.server.connections() == 1);
}

TEST_CASE("many requests at once all get their answers", "[http]") {
  Fixture f;
  CurlOptions options;
  options.transfers_max = 8;
  auto client = f.client(options);
  int answered = 0;
  Scope scope;
  for (int n = 0; n < 50; ++n) {
    f.server.then(Script{{ok_reply("x", true)}, milliseconds(1), true, false});
    scope.spawn([](Client& c, std::string url, int& count) -> Task<void> {
      auto response = co_await c.send(get(std::move(url)));
      if (response && response->body == "x") ++count;
    }(client, f.server.url(), answered));
  }
  f.world.loop().run_until([&] { return scope.size() == 0; });
  CHECK(answered == 50);
  CHECK(f.server.connections() <= 8);
}

TEST_CASE("requests wait at their host, the most urgent ones first, and keep no other host waiting",
          "[http]") {
  Fixture f;
  Responder other(f.world.world());
  CurlOptions options;
  options.connections_per_host_max = 1;
  options.transfers_max = 2;
  auto client = f.client(options);
  const auto ask = [](Client& c, std::string url, Urgency urgency) -> Task<void> {
    co_await become(urgency);
    auto response = co_await c.send(get(std::move(url)));
    CHECK(response.has_value());
  };
  constexpr int asked = 6;
  for (int n = 0; n < asked; ++n) {
    f.server.then(Script{
        {"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n", "x"}, milliseconds(20), true, false});
  }
  other.then(reply(ok_reply("y", false)));
  Scope scope;
  const auto path = [&](const std::string& name) { return f.server.url("/" + name); };
  scope.spawn(ask(client, path("first"), {LatencyClass::batch}));
  f.world.loop().run_until([&] { return f.server.requests().size() == 1; });
  scope.spawn(ask(client, path("batch"), {LatencyClass::batch}));
  scope.spawn(ask(client, path("normal"), {}));
  const auto now_s = std::chrono::floor<std::chrono::seconds>(f.world.loop().now()).count();
  scope.spawn(
      ask(client, path("late"), {LatencyClass::interactive, static_cast<std::int32_t>(now_s + 9)}));
  scope.spawn(ask(client, path("due"), {LatencyClass::interactive, 0}));
  scope.spawn(ask(client, path("later"), {LatencyClass::interactive}));
  // All wait but one, and there is a place left for somebody else.
  scope.spawn(ask(client, other.url(), {LatencyClass::batch}));
  f.world.loop().run_until([&] { return !other.requests().empty(); });
  CHECK(f.server.requests().size() <= 2);
  f.world.loop().run_until([&] { return scope.size() == 0; });
  REQUIRE(f.server.requests().size() == asked);
  std::vector<std::string> order;
  for (const std::string& request : f.server.requests()) {
    order.push_back(request.substr(5, request.find(' ', 5) - 5));
  }
  CHECK(order == std::vector<std::string>{"first", "due", "late", "later", "normal", "batch"});
  CHECK(f.server.connections() == 1);
}

TEST_CASE("every status is a response, a redirect too", "[http]") {
  Fixture f;
  auto client = f.client();
  f.server.then(reply("HTTP/1.1 302 Found\r\nLocation: /other\r\nContent-Length: 0\r\n\r\n"));
  CHECK(f.run(client.send(get(f.server.url()))).value().status == 302);
  f.server.then(reply(
      "HTTP/1.1 100 Continue\r\nX-Early: 1\r\n\r\nHTTP/1.1 500 Oh\r\nContent-Length: 2\r\n\r\nno"));
  const Response response = f.run(client.send(get(f.server.url()))).value();
  CHECK(response.status == 500);
  CHECK(response.body == "no");
  CHECK_FALSE(response.headers.has("X-Early"));
}

TEST_CASE("chunks that trickle in one byte at a time are put together", "[http]") {
  Fixture f;
  auto client = f.client();
  Script script;
  const std::string bytes =
      "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
  for (const char byte : bytes) script.pieces.emplace_back(1, byte);
  f.server.then(script);
  CHECK(f.run(client.send(get(f.server.url()))).value().body == "abcde");
}

TEST_CASE("a reply that is cut off or no HTTP at all is an error that says so", "[http]") {
  Fixture f;
  auto client = f.client();
  const auto error_of = [&](const std::string& bytes) {
    f.server.then(reply(bytes));
    const auto response = f.run(client.send(get(f.server.url("/p?secret=1"))));
    REQUIRE_FALSE(response.has_value());
    CHECK_THAT(response.error().message, Catch::StartsWith("GET " + f.server.url("/p") + ": "));
    CHECK_THAT(response.error().message, !Catch::Contains("secret"));
    return response.error().code;
  };
  CHECK(error_of("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc") == Code::closed);
  CHECK(error_of("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab") == Code::closed);
  CHECK(error_of("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nab") !=
        Code::internal);
  CHECK(error_of("") == Code::closed);
  CHECK(error_of("SSH-2.0-OpenSSH_9\r\n") == Code::invalid);
  CHECK(error_of(std::string(5000, '\0')) == Code::invalid);
  CHECK(error_of("HTTP/1.1 200 OK\r\nA header without end\r\n\r\n") == Code::invalid);
  CHECK(error_of("HTTP/1.1 200 OK\r\nA: b\r\n folded\r\n\r\n") == Code::invalid);
}

TEST_CASE("a reply beyond its bounds is refused as soon as that is seen", "[http]") {
  Fixture f;
  CurlOptions options;
  options.body_bytes_max = 1000;
  options.header_bytes_max = 1000;
  auto client = f.client(options);
  f.server.then(reply(ok_reply(std::string(1000, 'x'))));
  CHECK(f.run(client.send(get(f.server.url()))).value().body.size() == 1000);
  f.server.then(reply(ok_reply(std::string(1001, 'x'))));
  CHECK(f.run(client.send(get(f.server.url("/b")))).error() ==
        Error{Code::exhausted,
              "GET " + f.server.url("/b") + ": the reply's body is longer than 1000 bytes"});
  f.server.then(reply("HTTP/1.1 200 OK\r\nX: " + std::string(1000, 'x') + "\r\n\r\n"));
  CHECK(f.run(client.send(get(f.server.url()))).error().message ==
        "GET " + f.server.url() + ": the reply's headers are longer than 1000 bytes");
}

TEST_CASE("a server that falls silent is given up by the caller's timeout", "[http]") {
  Fixture f;
  auto client = f.client();
  f.server.then(Script{{"HTTP/1.1 200 OK\r\n"}, {}, false, true});
  const auto late = f.run(with_timeout(milliseconds(20), client.send(get(f.server.url()))));
  CHECK(late.error().code == Code::timeout);
  // The connection is closed with the transfer: the responder sees its end.
  CHECK(f.world.loop().run_until([&] { return f.server.idle(); }));
}

TEST_CASE("a server that nobody listens for is unavailable", "[http]") {
  Fixture f;
  auto client = f.client();
  std::string url;
  {
    const Responder gone(f.world.world());
    url = gone.url();
  }
  CHECK(f.run(client.send(get(url))).error().code == Code::unavailable);
}

TEST_CASE("requests that are malformed or would smuggle are refused before anything is sent",
          "[http]") {
  Fixture f;
  auto client = f.client();
  const auto refused = [&](Request request) {
    const auto response = f.run(client.send(std::move(request)));
    return !response && response.error().code == Code::invalid;
  };
  CHECK(refused(get("file:///etc/passwd")));
  CHECK(refused(get("gopher://host/")));
  Request request = get(f.server.url());
  request.headers = {{"X", "a\r\nY: b"}};
  CHECK(refused(request));
  request.headers = {{"X Y", "a"}};
  CHECK(refused(request));
  request.headers = {{"content-length", "3"}};
  CHECK(refused(request));
  request.headers = {};
  request.method = "GET / HTTP/1.1\r\nX:";
  CHECK(refused(request));
  CHECK(f.server.connections() == 0);
}

TEST_CASE("the environment's proxy is ignored", "[http]") {
  Fixture f;
  setenv("http_proxy", "http://127.0.0.1:1", 1);
  auto client = f.client();
  f.server.then(reply(ok_reply("direct")));
  CHECK(f.run(client.send(get(f.server.url()))).value().body == "direct");
  unsetenv("http_proxy");
}

TEST_CASE("a configured proxy gets the whole URL", "[http]") {
  Fixture f;
  CurlOptions options;
  options.proxy = f.server.url();
  auto client = f.client(options);
  f.server.then(reply(ok_reply("by proxy")));
  CHECK(f.run(client.send(get("http://somewhere.invalid/x"))).value().body == "by proxy");
  CHECK_THAT(f.server.requests().back(),
             Catch::StartsWith("GET http://somewhere.invalid/x HTTP/1.1\r\n"));
}

TEST_CASE("a streamed body arrives while the server still writes", "[http]") {
  Fixture f;
  auto client = f.client();
  f.server.then(Script{{"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: one\n\n"},
                       {},
                       false,
                       true});
  Request request = get(f.server.url());
  Reply streamed = f.run(client.open(request)).value();
  CHECK(streamed.status == 200);
  CHECK(media_type(streamed.headers) == "text/event-stream");
  SseParser parser;
  const std::string bytes = f.run(streamed.body->read()).value();
  CHECK(parser.feed(bytes).value() == std::vector<ServerEvent>{{"message", "one", ""}});
  streamed.body.reset();  // ends the transfer
  CHECK(f.world.loop().run_until([&] { return f.server.idle(); }));
}

TEST_CASE("a slow reader of a streamed body slows the server down", "[http]") {
  Fixture f;
  auto client = f.client();
  const std::string piece(1 << 20, 'x');
  Script script;
  script.pieces = {"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"};
  for (int n = 0; n < 12; ++n) script.pieces.push_back(piece);
  f.server.then(script);
  Reply streamed = f.run(client.open(get(f.server.url()))).value();
  f.run(delay_task(milliseconds(30)));
  CHECK(f.server.sent() < (10 << 20));
  CHECK(f.run(read_all(*streamed.body)).value().size() == (12 << 20));
  CHECK(f.run(streamed.body->read()).value().empty());
}

TEST_CASE("a streamed body that is cut off ends in an error", "[http]") {
  Fixture f;
  auto client = f.client();
  f.server.then(reply("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"));
  Reply streamed = f.run(client.open(get(f.server.url()))).value();
  CHECK(f.run(read_all(*streamed.body)).error().code == Code::closed);
  f.server.then(reply("HTTP/1.1 200 OK\r\nBad Header\r\n\r\nabc"));
  CHECK(f.run(client.open(get(f.server.url()))).error().code == Code::invalid);
}

TEST_CASE("a client that goes in the middle of transfers leaves nothing", "[http]") {
  Fixture f;
  Scope scope;
  std::unique_ptr<Body> orphan;
  {
    auto client = f.client();
    f.server.then(Script{{"HTTP/1.1 200 OK\r\n\r\nab"}, {}, false, true});
    orphan = std::move(f.run(client.open(get(f.server.url()))).value().body);
    for (int n = 0; n < 5; ++n) {
      f.server.then(Script{{"HTTP/1.1 200"}, {}, false, true});
      scope.spawn([](Client& c, std::string url) -> Task<void> {
        co_await c.send(get(std::move(url)));
      }(client, f.server.url()));
    }
    f.run(delay_task(milliseconds(2)));
  }
  CHECK(f.run(orphan->read()).value() == "ab");
}

}  // namespace ambit::http
