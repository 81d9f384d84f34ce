// The HTTP+SSE transport of MCP 2024-11-05: a server that refuses the POST of "initialize" is asked
// for a stream instead; its first event says where to post, and all that the server says comes on
// it. Where it ends, the connection has ended.

#include "async/race.h"
#include "mcp/http_transport.h"

#include <nlohmann/json.hpp>

#include <utility>

namespace ambit::mcp {
namespace {

constexpr Duration endpoint_time = std::chrono::seconds(5);

// Where to post, which must be on the server that was asked.
Result<std::string> resolve(const std::string& base, const std::string& said) {
  std::string url = said;
  if (said.starts_with('/') && !said.starts_with("//")) {
    const std::size_t path = base.find('/', base.find("://") + 3);
    url = base.substr(0, path) + said;
  } else if (said.find("://") == std::string::npos) {
    url = base.substr(0, base.rfind('/') + 1) + said;
  }
  const auto parsed = http::parse_url(url);
  const auto origin = http::parse_url(base);
  if (!parsed || !origin || http::origin(*parsed) != http::origin(*origin)) {
    return Err(Code::denied, "the server sends us elsewhere with our messages: " +
                                 std::string(rpc::utf8_prefix(said, 200)));
  }
  return url;
}

}  // namespace

// True: the server speaks the old transport, and the message can be sent again.
Task<bool> HttpTransport::fall_back(int status) {
  const bool refuses = status == 400 || status == 404 || status == 405;
  if (!refuses || !session_.empty()) co_return false;
  auto opened = co_await with_timeout(endpoint_time, open_old_stream());
  co_return opened.has_value();
}

Task<Result<void>> HttpTransport::open_old_stream() {
  auto reply = co_await ok(resume(""));
  if (reply.status != 200 || http::media_type(reply.headers) != "text/event-stream") {
    co_return Err(http_error(reply.status, target_.url, "there is no stream either"));
  }
  auto parser = std::make_unique<http::SseParser>(limits_.events);
  co_await ok(read_endpoint(*reply.body, *parser));
  scope_.spawn(read_old_stream(std::move(reply.body), std::move(parser)));
  co_return Result<void>();
}

Task<Result<void>> HttpTransport::read_endpoint(http::Body& body, http::SseParser& parser) {
  while (endpoint_.empty()) {
    const std::string bytes = co_await ok(body.read());
    if (bytes.empty()) co_return Err(Code::closed, "the stream ended before it said where to post");
    co_await ok(take_old_events(parser, bytes));
  }
  co_return Result<void>();
}

Task<Result<void>> HttpTransport::take_old_events(http::SseParser& parser,
                                                  const std::string& bytes) {
  auto events = co_await ok(parser.feed(bytes));
  for (http::ServerEvent& event : events) {
    if (endpoint_.empty()) {
      if (event.type != "endpoint") {
        co_return Err(Code::invalid, "the stream does not begin with where to post");
      }
      endpoint_ = co_await ok(resolve(target_.url, event.data));
    } else if (event.type == "message" && !event.data.empty()) {
      co_await ok(incoming_.send(std::move(event.data)));
    }
  }
  co_return Result<void>();
}

Task<void> HttpTransport::read_old_stream(std::unique_ptr<http::Body> body,
                                          std::unique_ptr<http::SseParser> parser) {
  while (true) {
    auto bytes = co_await body->read();
    if (!bytes || bytes->empty()) break;
    auto taken = co_await take_old_events(*parser, *bytes);
    if (!taken) break;
  }
  broken_ = true;
  incoming_.close();
  over_.wake_all();
}

}  // namespace ambit::mcp
