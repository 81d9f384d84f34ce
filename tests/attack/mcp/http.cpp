// Servers over HTTP, on real sockets.

#include "desk.h"
#include "http/curl_client.h"
#include "http/server.h"
#include "mcp/http_transport.h"

#include <utility>

namespace ambit::mcp {
namespace {

using Answer = std::function<Task<void>(http::Exchange& exchange)>;

// What one call of a client ends with, against a server that answers everything like this.
std::string call_of(Answer answer, HttpTransportLimits limits = {}) {
  io::UvWorld world;
  http::CurlClient http(world.watcher());
  auto listener = http::Server::listen(world.world(), {}, [&answer](http::Exchange& exchange) {
                    return answer(exchange);
                  }).value();
  Connection connection;
  connection.transport =
      HttpTransport::make(http, HttpTarget{"http://" + listener->address() + "/mcp", {}}, limits)
          .value();
  ClientOptions options;
  options.era = EraChoice::modern_unasked;
  Client client(std::move(connection), std::move(options));
  const auto done = run_task(world.loop(), [](Client& to) -> Task<Result<ToolAnswer>> {
    co_await ok(to.connect());
    CallOptions short_of_time;
    short_of_time.silence = std::chrono::seconds(1);
    short_of_time.total = std::chrono::seconds(2);
    Value arguments = Json::object();
    co_return co_await to.call_tool("echo", std::move(arguments), short_of_time);
  }(client));
  if (!done) return "error: " + done.error().message;
  return done->fault ? "fault: " + done->fault->message : "answered";
}

Task<void> say(http::Exchange& exchange, int status, std::string type, std::string body) {
  http::Headers headers;
  headers.set("Content-Type", type);
  auto sent = co_await exchange.respond(status, std::move(headers), std::move(body));
  if (!sent) co_return;
}

Seen endless_events() {
  const std::string said = call_of([](http::Exchange& exchange) -> Task<void> {
    http::Headers head;
    head.set("Content-Type", "text/event-stream");
    auto started = co_await exchange.begin(200, std::move(head));
    if (!started) co_return;
    while (true) {
      std::string comment = ": still here\n\n";
      auto sent = co_await exchange.write(std::move(comment));
      if (!sent) co_return;
      co_await delay(std::chrono::milliseconds(20));
    }
  });
  return {has(said, "no answer from the server"), said};
}
Seen endless_event() {
  const std::string said = call_of([](http::Exchange& exchange) -> Task<void> {
    http::Headers head;
    head.set("Content-Type", "text/event-stream");
    auto started = co_await exchange.begin(200, std::move(head));
    if (!started) co_return;
    for (int i = 0; i < 4096; ++i) {
      std::string part = "data: " + std::string(1 << 16, 'x') + "\n";
      auto sent = co_await exchange.write(std::move(part));
      if (!sent) co_return;
    }
  });
  return {said.starts_with("error: ") && said.size() < 1000, said};
}
Seen endless_body() {
  HttpTransportLimits limits;
  limits.body_bytes_max = 1 << 20;
  const std::string said = call_of(
      [](http::Exchange& exchange) -> Task<void> {
        http::Headers head;
        head.set("Content-Type", "application/json");
        auto started = co_await exchange.begin(200, std::move(head));
        if (!started) co_return;
        for (int i = 0; i < 4096; ++i) {
          std::string part(1 << 16, ' ');
          auto sent = co_await exchange.write(std::move(part));
          if (!sent) co_return;
        }
      },
      limits);
  return {has(said, "answers with more than 1048576 bytes"), said};
}
Seen redirect() {
  int reached = 0;
  const std::string said = call_of([&reached](http::Exchange& exchange) -> Task<void> {
    ++reached;
    http::Headers headers;
    headers.set("Location", "/elsewhere");
    std::string body;
    auto sent = co_await exchange.respond(307, std::move(headers), std::move(body));
    if (!sent) co_return;
  });
  return {said.starts_with("error: ") && has(said, "307") && reached == 1, said};
}
Seen web_page() {
  const std::string said = call_of([](http::Exchange& exchange) {
    return say(exchange, 200, "text/html",
               "<html>Log in\x1b[2J</html>" + std::string(1 << 20, 'h'));
  });
  return {has(said, "no JSON-RPC reply") && said.size() < 1000 && !has(said, "\x1b"), said};
}
Seen stolen_answer() {
  const std::string said = call_of([](http::Exchange& exchange) {
    return say(exchange, 200, "application/json",
               R"({"jsonrpc":"2.0","id":"another","result":{"content":[]}})");
  });
  return {said.starts_with("error: "), said};
}
Seen long_refusal() {
  const std::string said = call_of([](http::Exchange& exchange) {
    return say(exchange, 500, "text/plain", std::string(8 << 20, 'e'));
  });
  return {said.starts_with("error: ") && said.size() < 1000, said};
}

}  // namespace

Chapter http_cases() {
  return {"Over HTTP",
          {{"keeps the stream of an answer open for ever, with comments alone",
            "a timeout: comments are no sign of life", endless_events},
           {"sends one event without end", "ended at the bound of an event", endless_event},
           {"sends a body without end", "ended at the bound of a body", endless_body},
           {"redirects to somewhere else", "not followed: an error that says so", redirect},
           {"answers with a web page of a megabyte", "an error that shows its first 200 letters",
            web_page},
           {"answers with the id of another request", "a timeout or an error, never an answer",
            stolen_answer},
           {"refuses with 8 MB of text", "an error that shows its beginning", long_refusal}}};
}

}  // namespace ambit::mcp
