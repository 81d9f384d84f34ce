#include "mcp/http_endpoint.h"

#include "async/race.h"
#include "http/sse.h"
#include "http/url.h"
#include "io/uuid.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <charconv>
#include <utility>

namespace ambit::mcp {
namespace {

using http::Exchange;
using rpc::Json;

constexpr std::int64_t session_not_found = -32001;

http::Headers json_headers() {
  return http::Headers({{"Content-Type", "application/json"}, {"Cache-Control", "no-store"}});
}

http::Headers stream_headers() {
  return http::Headers({{"Content-Type", "text/event-stream"},
                        {"Cache-Control", "no-store"},
                        {"X-Accel-Buffering", "no"}});
}

Task<void> answer_json(Exchange& exchange, int status, http::Headers headers, std::string body) {
  auto sent = co_await exchange.respond(status, std::move(headers), std::move(body));
  if (!sent) co_return;  // the client is gone
}

Task<void> refuse(Exchange& exchange, int status, std::optional<rpc::Id> id, rpc::Fault fault) {
  rpc::Reply reply;
  reply.id = std::move(id);
  reply.fault = std::move(fault);
  co_await answer_json(exchange, status, json_headers(), rpc::encode(reply));
}

Task<void> refuse(Exchange& exchange, int status, std::int64_t code, std::string message) {
  rpc::Fault fault{code, std::move(message), {}};
  std::optional<rpc::Id> nobody;
  co_await refuse(exchange, status, std::move(nobody), std::move(fault));
}

std::string event_text(const std::string& id, std::string data) {
  http::ServerEvent event;
  event.id = id;
  event.data = std::move(data);
  return http::format_event(event).value_or("");
}

std::string header_of(const http::Headers& headers, std::string_view name) {
  return std::string(headers.find(name).value_or(""));
}

rpc::Fault mismatch(const std::string& what) {
  return rpc::Fault{header_mismatch, what, {}};
}

}  // namespace

// Opens the event stream when there is something to say before the answer.
class HttpEndpoint::ModernWire final : public Wire {
 public:
  explicit ModernWire(Exchange& exchange) : exchange_(exchange) {}

  Task<Result<void>> notify(std::string method, Value params) override {
    const rpc::Notification notification{std::move(method), std::move(params)};
    std::string text = event_text("", rpc::encode(notification));
    if (!exchange_.has_begun()) co_await ok(exchange_.begin(200, stream_headers()));
    co_return co_await exchange_.write(std::move(text));
  }
  Task<Result<rpc::Reply>> ask(std::string method, Value /*params*/) override {
    co_return Err(Code::unsupported, method + ": a modern client is not asked directly");
  }
  Task<void> keep_alive(Duration heartbeat) {
    while (true) {
      co_await delay(heartbeat);
      if (!exchange_.has_begun()) continue;
      auto sent = co_await exchange_.write(http::format_comment(""));
      if (!sent) co_return;
    }
  }
  Task<void> finish(Answer answer) {
    std::string text = rpc::encode(answer.reply);
    if (!exchange_.has_begun()) {
      co_await answer_json(exchange_, answer.status, json_headers(), std::move(text));
      co_return;
    }
    auto sent = co_await exchange_.write(event_text("", std::move(text)));
    if (sent) sent = co_await exchange_.end();
    if (!sent) co_return;
  }

 private:
  Exchange& exchange_;
};

HttpEndpoint::HttpEndpoint(Server& server, io::Entropy& entropy, HttpEndpointOptions options)
    : server_(server), entropy_(entropy), options_(std::move(options)) {}

HttpEndpoint::~HttpEndpoint() = default;

bool HttpEndpoint::is_origin_allowed(std::string_view origin) const {
  if (std::find(options_.origins.begin(), options_.origins.end(), origin) !=
      options_.origins.end()) {
    return true;
  }
  const auto url = http::parse_url(origin);
  return url && (url->host == "localhost" || url->host == "127.0.0.1" || url->host == "::1");
}

Task<void> HttpEndpoint::handle(Exchange& exchange) {
  const http::RequestHead& head = exchange.request();
  if (head.path != options_.path) {
    co_await refuse(exchange, 404, rpc::invalid_request,
                    "there is nothing here; MCP is at " + options_.path);
    co_return;
  }
  const auto origin = head.headers.find("Origin");
  if (origin && !is_origin_allowed(*origin)) {
    co_await refuse(exchange, 403, rpc::invalid_request, "requests from that origin are refused");
    co_return;
  }
  std::string principal = "anonymous";
  if (options_.authenticate) {
    auto who = options_.authenticate(head);
    if (!who) {
      http::Headers headers = json_headers();
      headers.set("WWW-Authenticate", "Bearer");
      rpc::Reply reply;
      reply.fault = rpc::to_fault(who.error());
      co_await answer_json(exchange, 401, std::move(headers), rpc::encode(reply));
      co_return;
    }
    principal = std::move(*who);
  }
  if (head.method == "POST") {
    co_await post(exchange, std::move(principal));
  } else if (head.method == "GET" && head.headers.has("Mcp-Session-Id")) {
    co_await get(exchange, std::move(principal));
  } else if (head.method == "DELETE" && head.headers.has("Mcp-Session-Id")) {
    co_await remove(exchange, std::move(principal));
  } else {
    http::Headers headers = json_headers();
    headers.set("Allow", "POST, GET, DELETE");
    rpc::Reply reply;
    reply.fault = rpc::Fault{rpc::invalid_request, "only POST stands without a session", {}};
    co_await answer_json(exchange, 405, std::move(headers), rpc::encode(reply));
  }
}

Task<void> HttpEndpoint::post(Exchange& exchange, std::string principal) {
  const http::Headers& headers = exchange.request().headers;
  if (http::media_type(headers) != "application/json") {
    co_await refuse(exchange, 415, rpc::invalid_request, "send application/json");
    co_return;
  }
  const auto accept = headers.find("Accept");
  if (accept && accept->find("json") == std::string_view::npos &&
      accept->find('*') == std::string_view::npos) {
    co_await refuse(exchange, 406, rpc::invalid_request,
                    "accept application/json and text/event-stream");
    co_return;
  }
  auto body = co_await exchange.read_all();
  if (!body) co_return;  // the connection answers a broken request
  auto message = rpc::decode(*body);
  if (!message) {
    const bool json = rpc::Value::parse(*body).has_value();
    co_await refuse(exchange, 400, json ? rpc::invalid_request : rpc::parse_error,
                    message.error().message);
    co_return;
  }
  const std::string version = header_of(headers, "MCP-Protocol-Version");
  const bool has_session = headers.has("Mcp-Session-Id");
  auto* request = std::get_if<rpc::Request>(&*message);
  const bool says_modern = !version.empty() && !is_legacy_version(version) && !has_session;
  if (request != nullptr && (says_modern || Server::is_modern(*request))) {
    co_await post_modern(exchange, std::move(*request), std::move(principal));
  } else if (says_modern) {
    // A notification or reply: there is nothing that it could be about.
    http::Headers none;
    co_await answer_json(exchange, 202, std::move(none), "");
  } else {
    co_await post_legacy(exchange, std::move(*message), std::move(principal));
  }
}

std::optional<rpc::Fault> HttpEndpoint::fault_of_headers(const http::Headers& headers,
                                                         const rpc::Request& request) const {
  const auto said = [&](std::string_view name) { return decode_header(header_of(headers, name)); };
  const auto method = said("Mcp-Method");
  // Of two that differ, whoever stands between may have read the other one.
  if (headers.count("Mcp-Method") != 1 || !method || *method != request.method) {
    return mismatch("the header Mcp-Method must be \"" + request.method + "\"");
  }
  const char* key = named_by(request.method);
  const Json& params = request.params.json();
  if (key == nullptr || !params.contains(key) || !params[key].is_string()) return std::nullopt;
  const std::string name = params[key].get<std::string>();
  const auto said_name = said("Mcp-Name");
  if (headers.count("Mcp-Name") != 1 || !said_name || *said_name != name) {
    return mismatch("the header Mcp-Name must be the " + std::string(key) + " of the request");
  }
  const HeaderParameters* mirrored =
      request.method == "tools/call" ? server_.mirrored(name) : nullptr;
  if (mirrored == nullptr || !params.contains("arguments")) return std::nullopt;
  for (const HeaderParameter& parameter : *mirrored) {
    const auto value = header_value(params["arguments"], parameter);
    const std::size_t there = headers.count(parameter.header);
    if (!value && there == 0) continue;
    const auto given = said(parameter.header);
    if (!value || there != 1 || !given || *given != *value) {
      return mismatch("the header " + parameter.header + " must repeat its argument");
    }
  }
  return std::nullopt;
}

Task<void> HttpEndpoint::post_modern(Exchange& exchange, rpc::Request request,
                                     std::string principal) {
  const http::Headers& headers = exchange.request().headers;
  const std::string version = header_of(headers, "MCP-Protocol-Version");
  std::optional<rpc::Fault> fault;
  if (version.empty()) fault = mismatch("the header MCP-Protocol-Version is missing");
  if (!fault) {
    fault = Server::fault_of_meta(request);
    const bool has_version = !fault || fault->code == unsupported_protocol_version;
    const Json& params = request.params.json();
    if (has_version && params["_meta"][meta_version] != version) {
      fault = mismatch("the header MCP-Protocol-Version must be the version of _meta");
    }
  }
  if (!fault) fault = fault_of_headers(headers, request);
  if (fault) {
    co_await refuse(exchange, 400, request.id, std::move(*fault));
    co_return;
  }
  const rpc::Id id = request.id;
  ModernWire wire(exchange);
  auto work = server_.answer(std::move(request), nullptr, wire, std::move(principal));
  auto outcome = co_await race(std::move(work), wire.keep_alive(options_.heartbeat));
  if (outcome.index() == 1) co_return;  // the client does not read any more
  Answer answer = std::move(std::get<0>(outcome));
  answer.reply.id = id;
  co_await wire.finish(std::move(answer));
}

// ---- legacy
// ------------------------------------------------------------------------------------------------

HttpEndpoint::SessionPointer HttpEndpoint::find_session(const http::RequestHead& head,
                                                        const std::string& principal) {
  const auto at = sessions_.find(header_of(head.headers, "Mcp-Session-Id"));
  // A session belongs to who began it: to anybody else it does not exist.
  if (at == sessions_.end() || at->second->principal() != principal) return nullptr;
  at->second->used = Loop::current().now();
  return at->second;
}

void HttpEndpoint::drop_idle_sessions() {
  const Instant now = Loop::current().now();
  auto oldest = sessions_.end();
  for (auto at = sessions_.begin(); at != sessions_.end();) {
    if (now - at->second->used > options_.session_idle && at->second.use_count() == 1) {
      at = sessions_.erase(at);
      continue;
    }
    if (oldest == sessions_.end() || at->second->used < oldest->second->used) oldest = at;
    ++at;
  }
  if (sessions_.size() < options_.sessions_max || oldest == sessions_.end()) return;
  oldest->second->end();
  sessions_.erase(oldest);
}

Task<void> HttpEndpoint::start_session(Exchange& exchange, rpc::Request request,
                                       std::string principal) {
  drop_idle_sessions();
  auto session = std::make_shared<HttpSession>(server_, io::uuid_v4(entropy_), std::move(principal),
                                               options_.streams);
  session->used = Loop::current().now();
  const rpc::Id id = request.id;
  ModernWire nothing_to_say(exchange);
  auto answer = co_await server_.answer(std::move(request), &session->session(), nothing_to_say,
                                        session->principal());
  answer.reply.id = id;
  http::Headers headers = json_headers();
  if (!answer.reply.fault) {
    headers.set("Mcp-Session-Id", session->id());
    sessions_.emplace(session->id(), session);
  }
  const int status = answer.reply.fault ? 400 : 200;
  co_await answer_json(exchange, status, std::move(headers), rpc::encode(answer.reply));
}

Task<void> HttpEndpoint::post_legacy(Exchange& exchange, rpc::Message message,
                                     std::string principal) {
  auto* request = std::get_if<rpc::Request>(&message);
  if (request != nullptr && request->method == "initialize") {
    co_await start_session(exchange, std::move(*request), std::move(principal));
    co_return;
  }
  if (!exchange.request().headers.has("Mcp-Session-Id")) {
    co_await refuse(exchange, 400, rpc::invalid_request,
                    "the header Mcp-Session-Id is missing: initialize first");
    co_return;
  }
  const std::string version = header_of(exchange.request().headers, "MCP-Protocol-Version");
  if (!version.empty() && !is_legacy_version(version)) {
    co_await refuse(exchange, 400, rpc::invalid_request,
                    "MCP-Protocol-Version: a session does not speak " + version);
    co_return;
  }
  const SessionPointer session = find_session(exchange.request(), principal);
  if (!session) {
    co_await refuse(exchange, 404, session_not_found, "there is no such session: initialize again");
    co_return;
  }
  if (request == nullptr) {
    if (auto* notification = std::get_if<rpc::Notification>(&message)) {
      session->take(*notification);
    } else {
      session->take(std::move(std::get<rpc::Reply>(message)));
    }
    http::Headers none;
    co_await answer_json(exchange, 202, std::move(none), "");
    co_return;
  }
  const rpc::Id id = request->id;
  auto log = session->start(std::move(*request));
  if (!log) {
    co_await refuse(exchange, 200, id, rpc::to_fault(log.error()));
    co_return;
  }
  co_await read_log(exchange, session, std::move(*log), 1, true);
}

Task<void> HttpEndpoint::get(Exchange& exchange, std::string principal) {
  const SessionPointer session = find_session(exchange.request(), principal);
  if (!session) {
    co_await refuse(exchange, 404, session_not_found, "there is no such session: initialize again");
    co_return;
  }
  // "<stream>-<the last event that was seen>"
  const std::string last = header_of(exchange.request().headers, "Last-Event-ID");
  std::uint64_t number = 0;
  std::uint64_t seen = 0;
  const char* end = last.data() + last.size();
  if (!last.empty()) {
    const auto first = std::from_chars(last.data(), end, number);
    const bool dash = first.ec == std::errc() && first.ptr != end && *first.ptr == '-';
    const auto second = dash ? std::from_chars(first.ptr + 1, end, seen) : first;
    if (!dash || second.ec != std::errc() || second.ptr != end) {
      co_await refuse(exchange, 400, rpc::invalid_request, "Last-Event-ID: is not one of ours");
      co_return;
    }
  }
  const std::shared_ptr<EventLog> log = session->stream(number);
  if (!log || seen + 1 < log->first) {
    co_await refuse(exchange, 400, rpc::invalid_request,
                    "Last-Event-ID: what came after it is not kept any more");
    co_return;
  }
  if (log->has_reader) {
    co_await refuse(exchange, 409, rpc::invalid_request, "this stream is read already");
    co_return;
  }
  const std::uint64_t from = last.empty() ? log->delivered + 1 : seen + 1;
  co_await read_log(exchange, session, log, from, false);
}

Task<void> HttpEndpoint::remove(Exchange& exchange, std::string principal) {
  const SessionPointer session = find_session(exchange.request(), principal);
  if (!session) {
    co_await refuse(exchange, 404, session_not_found, "there is no such session");
    co_return;
  }
  session->end();
  sessions_.erase(session->id());
  http::Headers none;
  co_await answer_json(exchange, 204, std::move(none), "");
}

// Gives a stream's events from `from` on, as they come, until it ends or is to be read later.
Task<void> HttpEndpoint::read_log(Exchange& exchange, SessionPointer session,
                                  std::shared_ptr<EventLog> log, std::uint64_t from,
                                  bool may_be_json) {
  struct Reading {
    EventLog& log;
    explicit Reading(EventLog& read) : log(read) { log.has_reader = true; }
    ~Reading() { log.has_reader = false; }
  };
  const Reading reading(*log);
  // Looks for itself: what comes before this task starts counts.
  const auto news_of = [](EventLog& events, std::uint64_t known) -> Task<Result<void>> {
    while (events.first + events.events.size() <= known && !events.ended && !events.hung_up)
      co_await events.changed.wait();
    co_return Result<void>();
  };
  if (may_be_json) {
    while (log->events.empty() && !log->ended && !log->hung_up) co_await log->changed.wait();
    if (log->events.empty() && log->ended) {
      // Cancelled: there is no answer, and the client does not want one.
      session->forget(*log);
      http::Headers none;
      co_await answer_json(exchange, 202, std::move(none), "");
      co_return;
    }
    // The task that ends a stream does so right after its last event.
    if (!log->ended && !log->hung_up) co_await delay(Duration::zero());
    if (log->ended && log->events.size() == 1 && log->first == 1) {
      std::string text = log->events.front();
      session->forget(*log);
      co_await answer_json(exchange, 200, json_headers(), std::move(text));
      co_return;
    }
  }
  auto sent = co_await exchange.begin(200, stream_headers());
  const std::string prefix = std::to_string(log->number) + "-";
  if (session->session().version >= legacy_version && sent) {
    // Something to come back with, before there is anything to say.
    const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(options_.retry).count();
    sent = co_await exchange.write("retry: " + std::to_string(ms) + "\n" +
                                   event_text(prefix + std::to_string(from - 1), ""));
  }
  std::uint64_t next = std::max(from, log->first);
  while (sent) {
    std::string text;
    for (; next < log->first + log->events.size(); ++next) {
      text += event_text(prefix + std::to_string(next), log->events[next - log->first]);
    }
    if (!text.empty()) {
      sent = co_await exchange.write(std::move(text));
      if (sent) log->delivered = next - 1;
      continue;
    }
    if (log->ended || std::exchange(log->hung_up, false)) break;
    auto news = co_await with_timeout(options_.heartbeat, news_of(*log, next));
    if (!news) sent = co_await exchange.write(http::format_comment(""));
  }
  if (sent) sent = co_await exchange.end();
}

}  // namespace ambit::mcp
