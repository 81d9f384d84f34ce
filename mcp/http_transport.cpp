#include "mcp/http_transport.h"

#include "async/race.h"
#include "rpc/fields.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cctype>
#include <optional>

namespace ambit::mcp {
namespace {

using rpc::Json;

constexpr std::size_t incoming_max = 64;
constexpr std::size_t asked_max = 256;
constexpr std::int64_t no_such_session = -32000;
constexpr int challenges_max = 3;
constexpr std::string_view version_header = "MCP-Protocol-Version";
constexpr std::string_view session_header = "Mcp-Session-Id";

template <class T>
Task<T> wait_for(Pending<T> pending) {
  auto value = co_await std::move(pending);
  co_return value;
}

std::string shown(const std::string& body) {
  std::string text(rpc::utf8_prefix(body, 200));
  for (char& c : text) {
    if (static_cast<unsigned char>(c) < 0x20) c = ' ';
  }
  return text;
}

// Servers of the official SDK's examples say it by 400 and words, where the protocol has 404.
bool is_lost_session(int status, const rpc::Reply& reply) {
  if (status != 400 || !reply.fault || reply.fault->code != no_such_session) return false;
  std::string words = reply.fault->message;
  std::transform(words.begin(), words.end(), words.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return words.find("session") != std::string::npos;
}

}  // namespace

struct HttpTransport::Post {
  std::string text;
  std::string method;         // of a request or notification
  std::optional<rpc::Id> id;  // of a request
  Value params;
  bool answered = false;
  // Of its event stream.
  std::string last_event_id;
  std::optional<std::int64_t> retry_ms;

  [[nodiscard]] std::optional<std::int64_t> progress_token() const {
    const Json& all = params.json();
    if (!all.is_object() || !all.contains("_meta")) return std::nullopt;
    const Json& meta = all["_meta"];
    if (!meta.contains("progressToken") || !meta["progressToken"].is_number_integer())
      return std::nullopt;
    return meta["progressToken"].get<std::int64_t>();
  }
};

struct HttpTransport::Withdrawn {
  HttpTransport& transport;
  rpc::Id id;
  Withdrawn(HttpTransport& owner, rpc::Id request, Resolver<Withdrawal> resolver)
      : transport(owner), id(std::move(request)) {
    transport.withdrawable_.emplace(id, std::move(resolver));
  }
  Withdrawn(const Withdrawn&) = delete;
  Withdrawn& operator=(const Withdrawn&) = delete;
  ~Withdrawn() { transport.withdrawable_.erase(id); }
};

Error http_error(int status, const std::string& url, const std::string& body) {
  const std::string said = body.empty() ? "" : ": " + shown(body);
  const std::string what = url + " answers with HTTP " + std::to_string(status) + said;
  if (status == 401) {
    return Error{Code::denied,
                 what +
                     "; give credentials in \"headers\", such as \"Authorization\": \"Bearer "
                     "${TOKEN}\""};
  }
  if (status == 403) return Error{Code::denied, what + "; these credentials may not do that"};
  if (status == 404) return Error{Code::not_found, what + "; is the path right?"};
  if (status == 429) return Error{Code::exhausted, what + "; try again later"};
  if (status >= 500) return Error{Code::unavailable, what};
  return Error{Code::invalid, what};
}

Result<std::unique_ptr<HttpTransport>> HttpTransport::make(http::Client& client, HttpTarget target,
                                                           HttpTransportLimits limits) {
  http::Url url = TRY(http::parse_url(target.url));
  for (const auto& [name, value] : target.headers) {
    if (!http::is_token(name) || !http::is_header_value(value)) {
      return Err(Code::invalid, "the header \"" + name + "\" cannot be sent");
    }
  }
  return std::unique_ptr<HttpTransport>(
      new HttpTransport(client, std::move(target), std::move(url), limits));
}

HttpTransport::HttpTransport(http::Client& client, HttpTarget target, http::Url url,
                             HttpTransportLimits limits)
    : client_(client),
      target_(std::move(target)),
      url_(std::move(url)),
      limits_(limits),
      version_(modern_version),
      incoming_(incoming_max),
      posts_(limits.posts_max) {}

Task<Error> HttpTransport::run() {
  while (!lost_ && !broken_) co_await over_.wait();
  // Whoever reads is told first.
  if (broken_) co_return Error{Code::closed, "the server has ended its stream"};
  co_return Error{Code::closed, "the server has forgotten the session"};
}

void HttpTransport::lose_session() {
  lost_ = true;
  incoming_.close();
  over_.wake_all();
}

void HttpTransport::speak(Era era, const std::string& version) {
  era_ = era;
  version_ = version;
}

bool HttpTransport::withdraw(const rpc::Id& id) {
  const auto at = withdrawable_.find(id);
  if (at != withdrawable_.end()) at->second.resolve(Withdrawal{});
  return era_ == Era::modern;  // legacy servers go on when a stream closes: they must be told
}

http::Headers HttpTransport::headers(const Post& post) const {
  http::Headers headers(
      {{"Content-Type", "application/json"}, {"Accept", "application/json, text/event-stream"}});
  // The version is not known before the handshake; that is itself the question.
  if (post.method != "initialize") headers.set(std::string(version_header), version_);
  if (!session_.empty()) headers.set(std::string(session_header), session_);
  if (era_ == Era::modern && !post.method.empty()) {
    headers.set("Mcp-Method", encode_header(post.method));
    const char* key = named_by(post.method);
    const Json& params = post.params.json();
    if (key != nullptr && params.is_object() && params.contains(key) && params[key].is_string()) {
      headers.set("Mcp-Name", encode_header(params[key].get<std::string>()));
    }
    const auto tool = post.method == "tools/call" && params.contains("name")
                          ? tools_.find(params["name"].get<std::string>())
                          : tools_.end();
    if (tool != tools_.end() && params.contains("arguments")) {
      for (const HeaderParameter& parameter : tool->second) {
        if (auto value = header_value(params["arguments"], parameter)) {
          headers.set(parameter.header, encode_header(*value));
        }
      }
    }
  }
  for (const auto& [name, value] : target_.headers) headers.set(name, value);
  return headers;
}

Task<Result<void>> HttpTransport::send(std::string message) {
  if (lost_) co_return Err(Code::closed, "the server has forgotten the session");
  Post post;
  auto decoded = rpc::decode(message);
  if (!decoded) co_return Err(std::move(decoded).error().context("our own message"));
  if (auto* request = std::get_if<rpc::Request>(&*decoded)) {
    post.id = std::move(request->id);
    post.method = std::move(request->method);
    post.params = std::move(request->params);
  } else if (auto* notification = std::get_if<rpc::Notification>(&*decoded)) {
    post.method = std::move(notification->method);
    post.params = std::move(notification->params);
  }
  post.text = std::move(message);
  if (post.id) {
    scope_.spawn(exchange(std::move(post)));
    co_return Result<void>();
  }
  // What follows may rest on it ("initialized"): it has arrived before this returns.
  const bool initialized = post.method == "notifications/initialized";
  auto place = co_await posts_.acquire();
  co_await deliver(post);
  if (initialized && !listening_ && !lost_ && endpoint_.empty()) {
    listening_ = true;
    scope_.spawn(listen());
  }
  co_return Result<void>();
}

Task<Result<std::string>> HttpTransport::receive() {
  auto message = co_await incoming_.receive();
  if (message) co_return std::move(message);
  if (broken_) co_return Err(Code::closed, "the server has ended its stream");
  co_return Err(Code::closed, "the server has forgotten the session");
}

Task<void> HttpTransport::exchange(Post post) {
  auto [pending, resolver] = make_pending<Withdrawal>();
  const Withdrawn entry(*this, *post.id, std::move(resolver));
  auto place = co_await posts_.acquire();
  const auto token = post.progress_token();
  co_await race(deliver(post), wait_for(std::move(pending)));
  if (token) std::erase_if(asked_, [&](const auto& one) { return one.second == *token; });
}

// Sends the message; an answer that asks for credentials is met with a token, a few times at most.
Task<Result<http::Reply>> HttpTransport::open(const Post& post) {
  for (int attempt = 0;; ++attempt) {
    http::Request request;
    request.method = "POST";
    request.url = endpoint_.empty() ? target_.url : endpoint_;
    request.headers = headers(post);
    request.body = post.text;
    const std::string used = target_.auth ? target_.auth->authorization() : "";
    if (target_.auth) target_.auth->sign(request);
    auto reply = co_await client_.open(std::move(request));
    if (reply && target_.auth) target_.auth->note(target_.url, reply->headers);
    const bool asks = reply && target_.auth && (reply->status == 401 || reply->status == 403);
    if (!asks || attempt >= challenges_max) co_return std::move(reply);
    const std::string challenge(reply->headers.find("WWW-Authenticate").value_or(""));
    // A 403 without a challenge is about something else (an origin, a policy).
    if (reply->status == 403 && challenge.empty()) co_return std::move(reply);
    const int status = reply->status;
    reply->body.reset();
    co_await ok(target_.auth->answer(target_.url, status, challenge, used));
  }
}

Task<void> HttpTransport::deliver(Post& post) {
  auto reply = co_await open(post);
  if (!reply) {
    fail(post, std::move(reply).error());
    co_return;
  }
  if (!endpoint_.empty()) {
    // The answer comes on the other stream.
    if (reply->status >= 300) fail(post, http_error(reply->status, endpoint_, ""));
    co_return;
  }
  bool is_old = false;
  if (post.method == "initialize") is_old = co_await fall_back(reply->status);
  if (is_old) {
    reply->body.reset();
    co_await deliver(post);
    co_return;
  }
  const bool had_session = !session_.empty();
  if (post.method == "initialize" && reply->status < 300) {
    session_ = std::string(reply->headers.find(session_header).value_or(""));
  }
  if (reply->status == 404 && had_session) {
    lose_session();
    co_return;
  }
  if (reply->status < 300 && http::media_type(reply->headers) == "text/event-stream") {
    co_await stream_of(post, std::move(*reply));
  } else {
    co_await answer_of(post, std::move(*reply));
  }
}

Task<Result<std::string>> HttpTransport::read_all(http::Body& body, std::size_t bytes_max) {
  std::string all;
  while (true) {
    const std::string part = co_await ok(body.read());
    if (part.empty()) co_return all;
    all += part;
    if (all.size() > bytes_max) {
      co_return Err(Code::exhausted, target_.url + " answers with more than " +
                                         std::to_string(bytes_max) + " bytes");
    }
  }
}

// One JSON message, or none, or an HTTP error with or without a JSON-RPC one inside.
Task<void> HttpTransport::answer_of(Post& post, http::Reply reply) {
  const bool good = reply.status < 300;
  if (good && !post.id) co_return;
  auto body =
      co_await read_all(*reply.body, good ? limits_.body_bytes_max : limits_.error_bytes_max);
  if (!body) {
    fail(post, std::move(body).error());
    co_return;
  }
  auto message = rpc::decode(*body);
  auto* answer = message ? std::get_if<rpc::Reply>(&*message) : nullptr;
  if (answer != nullptr && is_lost_session(reply.status, *answer) && !session_.empty() &&
      post.method != "initialize") {
    lose_session();
    co_return;
  }
  if (answer != nullptr && post.id && (good || answer->fault)) {
    post.answered = true;
    // Errors of the transport often carry no id, or null: it is this request's all the same.
    if (!good) answer->id = post.id;
    std::string text = good ? std::move(*body) : rpc::encode(*answer);
    auto sent = co_await incoming_.send(std::move(text));
    if (!sent) lost_ = true;
    co_return;
  }
  if (good) {
    fail(post,
         Error{Code::invalid, target_.url + " answers with HTTP " + std::to_string(reply.status) +
                                  " and no JSON-RPC reply: " + shown(*body)});
  } else {
    fail(post, http_error(reply.status, target_.url, *body));
  }
}

// Gives every event on; true once the reply to `post` was among them.
Task<Result<bool>> HttpTransport::read_events(Post& post, http::Body& body,
                                              http::SseParser& parser) {
  while (true) {
    auto bytes = co_await body.read();
    if (!bytes) co_return post.answered;  // cut off: the same as an end
    if (bytes->empty()) co_return post.answered;
    auto events = parser.feed(*bytes);
    if (!parser.last_event_id().empty()) post.last_event_id = parser.last_event_id();
    if (parser.retry_ms()) post.retry_ms = parser.retry_ms();
    if (!events) co_return Err(std::move(events).error());
    for (http::ServerEvent& event : *events) {
      if (event.type != "message" || event.data.empty()) continue;
      auto message = rpc::decode(event.data);
      const auto* answer = message ? std::get_if<rpc::Reply>(&*message) : nullptr;
      if (answer != nullptr && post.id && answer->id == post.id) post.answered = true;
      const auto* question = message ? std::get_if<rpc::Request>(&*message) : nullptr;
      const auto token = post.progress_token();
      if (question != nullptr && token && asked_.size() < asked_max) {
        asked_.insert_or_assign(question->id, *token);
      }
      auto sent = co_await incoming_.send(std::move(event.data));
      if (!sent) co_return Err(std::move(sent).error());
    }
    if (post.answered) co_return true;
  }
}

Task<Result<http::Reply>> HttpTransport::resume(const std::string& last_event_id) {
  http::Request request;
  request.url = target_.url;
  request.headers = http::Headers({{"Accept", "text/event-stream"}});
  request.headers.set(std::string(version_header), version_);
  if (!session_.empty()) request.headers.set(std::string(session_header), session_);
  if (!last_event_id.empty() && http::is_header_value(last_event_id)) {
    request.headers.set("Last-Event-ID", last_event_id);
  }
  for (const auto& [name, value] : target_.headers) request.headers.set(name, value);
  if (target_.auth) target_.auth->sign(request);
  return client_.open(std::move(request));
}

Task<void> HttpTransport::stream_of(Post& post, http::Reply reply) {
  int failures = 0;
  while (true) {
    const std::string seen = post.last_event_id;
    if (reply.body) {
      http::SseParser parser(limits_.events);
      auto done = co_await read_events(post, *reply.body, parser);
      reply.body.reset();
      if (!done) {
        fail(post, std::move(done).error());
        co_return;
      }
      if (*done || !post.id) co_return;
    }
    failures = post.last_event_id != seen ? 0 : failures + 1;
    if (era_ == Era::modern || post.last_event_id.empty() || failures > limits_.resumptions_max) {
      fail(post, Error{Code::closed, "the stream of the answer broke off"});
      co_return;
    }
    Duration pause = limits_.retry_first;
    if (post.retry_ms) pause = std::chrono::milliseconds(*post.retry_ms);
    co_await delay(std::min(pause, limits_.retry_max));
    auto again = co_await resume(post.last_event_id);
    if (!again) continue;
    if (again->status == 404 && !session_.empty()) {
      lose_session();
      co_return;
    }
    if (again->status != 200 || http::media_type(again->headers) != "text/event-stream") {
      fail(post, http_error(again->status, target_.url, "the stream cannot be resumed"));
      co_return;
    }
    reply = std::move(*again);
  }
}

// What a legacy server says outside of any request. Servers that have no such stream answer 405.
Task<void> HttpTransport::listen() {
  if (era_ == Era::modern) co_return;
  Post nobody;
  int failures = 0;
  while (failures <= limits_.resumptions_max && !lost_) {
    const Instant started = Loop::current().now();
    auto reply = co_await resume(nobody.last_event_id);
    if (reply) {
      if (reply->status != 200 || http::media_type(reply->headers) != "text/event-stream")
        co_return;
      http::SseParser parser(limits_.events);
      auto done = co_await read_events(nobody, *reply->body, parser);
      if (!done) co_return;
    }
    const bool lived = reply && Loop::current().now() - started > limits_.retry_max;
    failures = lived ? 0 : failures + 1;
    Duration pause = limits_.retry_first * (1 << std::min(failures, 16));
    if (nobody.retry_ms) pause = std::chrono::milliseconds(*nobody.retry_ms);
    co_await delay(std::min(pause, limits_.retry_max));
  }
}

std::optional<std::int64_t> HttpTransport::asked_within(const rpc::Id& question) const {
  const auto at = asked_.find(question);
  return at == asked_.end() ? std::nullopt : std::optional(at->second);
}

void HttpTransport::fail(const Post& post, Error error) {
  if (post.id && !post.answered && on_failure) on_failure(*post.id, std::move(error));
}

Task<void> HttpTransport::close() {
  if (session_.empty() || lost_) co_return;
  http::Request request;
  request.method = "DELETE";
  request.url = target_.url;
  request.headers = http::Headers({{std::string(session_header), session_}});
  request.headers.set(std::string(version_header), version_);
  for (const auto& [name, value] : target_.headers) request.headers.set(name, value);
  // Whatever it says: we are going.
  auto gone = co_await with_timeout(std::chrono::seconds(2), client_.send(std::move(request)));
  if (!gone) co_return;
}

}  // namespace ambit::mcp
