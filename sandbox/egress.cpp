#include "sandbox/egress.h"

#include "async/race.h"
#include "async/scope.h"
#include "http/public_address.h"

#include <sys/socket.h>

#include <algorithm>
#include <arpa/inet.h>
#include <array>
#include <cstdio>
#include <netdb.h>
#include <netinet/in.h>
#include <utility>

namespace ambit::sandbox {

using egress::Head;
using egress::Judged;
using egress::Permit;
using egress::Refusal;

namespace {

constexpr std::size_t read_bytes = 32 << 10;
constexpr std::size_t addresses_max = 16;

const char* phrase(int status) {
  switch (status) {
    case 200:
      return "OK";
    case 400:
      return "Bad Request";
    case 403:
      return "Forbidden";
    case 413:
      return "Content Too Large";
    case 429:
      return "Too Many Requests";
    case 502:
      return "Bad Gateway";
    default:
      return "Answer";
  }
}

tl::unexpected<Refusal> refused(int status, std::string why) {
  return tl::unexpected<Refusal>(Refusal{status, std::move(why)});
}

// All that the system's resolver says, as text. Blocks.
Result<std::vector<std::string>> look_up(const std::string& host) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const int error = ::getaddrinfo(host.c_str(), nullptr, &hints, &found);
  if (error != 0) return Err(Code::unavailable, "resolve '" + host + "': " + ::gai_strerror(error));
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> all(found, &::freeaddrinfo);
  std::vector<std::string> addresses;
  for (const addrinfo* one = all.get(); one != nullptr && addresses.size() < addresses_max;
       one = one->ai_next) {
    std::array<char, NI_MAXHOST> text{};
    if (::getnameinfo(one->ai_addr, one->ai_addrlen, text.data(), text.size(), nullptr, 0,
                      NI_NUMERICHOST) == 0)
      addresses.emplace_back(text.data());
  }
  return addresses;
}

// Text that the kernel reads as an address, and nothing but.
bool is_literal(const std::string& text) {
  std::array<unsigned char, sizeof(in6_addr)> address{};
  return ::inet_pton(AF_INET, text.c_str(), address.data()) == 1 ||
         ::inet_pton(AF_INET6, text.c_str(), address.data()) == 1;
}

// Until the end of one direction, or too much of it.
Task<void> pump(io::Stream& from, io::Stream& to, std::uint64_t& bytes, std::uint64_t bytes_max) {
  for (;;) {
    auto part = co_await from.read(read_bytes);
    if (!part || part->empty()) break;
    bytes += part->size();
    if (bytes > bytes_max) break;
    auto written = co_await to.write(std::move(*part));
    if (!written) break;
  }
  to.shutdown_write();
}

}  // namespace

// One connection: the request on it, and what came of it.
struct EgressProxy::Exchange {
  io::Stream& jail;
  std::string bytes{};  // read and not used yet
  Head head{};
  Permit permit{};
  EgressAsk ask{};
  EgressResult result{};
};

EgressProxy::EgressProxy(io::World& world, const EgressOptions& options, Gate& gate,
                         const agents::JailCall& call, egress::Secrets secrets)
    : world_(world),
      options_(options),
      gate_(gate),
      profile_(call.profile),
      agent_(call.agent),
      session_(call.session),
      secrets_(std::move(secrets)) {}

Result<egress::Secrets> EgressProxy::make_secrets(io::World& world, const EgressOptions& options,
                                                  const agents::Profile& profile) {
  std::vector<egress::Secrets::Secret> all;
  for (const agents::EgressRule& rule : profile.egress) {
    for (const std::string& name : rule.secrets) {
      const auto is_it = [&](const auto& one) { return one.name == name; };
      if (std::any_of(all.begin(), all.end(), is_it)) continue;
      const auto value = options.secret ? options.secret(name) : std::nullopt;
      if (!value || value->empty() || !http::is_header_value(*value))
        return Err(Code::not_found, "the secret " + name + " for " + rule.origin +
                                        " has no value that fits into a header; set it in the "
                                        "environment");
      std::array<std::uint8_t, 16> random{};
      world.entropy.fill(random);
      all.push_back({name, egress::Secrets::placeholder(random), *value});
    }
  }
  return egress::Secrets(std::move(all));
}

Task<void> EgressProxy::refuse(Exchange& exchange, int status, std::string why) {
  exchange.result.status = status;
  exchange.result.error = why;
  const std::string body = "ambit: " + why + "\n";
  std::string text = "HTTP/1.1 " + std::to_string(status) + " " + phrase(status) +
                     "\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n" +
                     "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body;
  (void)co_await exchange.jail.write(std::move(text));
}

namespace {

Task<Judged<std::string>> read_head_text(io::Stream& jail, std::string& bytes) {
  for (;;) {
    const std::size_t end = bytes.find("\r\n\r\n");
    if (end != std::string::npos && end + 4 <= egress::head_bytes_max) {
      std::string head = bytes.substr(0, end + 4);
      bytes.erase(0, end + 4);
      co_return head;
    }
    if (bytes.size() > egress::head_bytes_max)
      co_return refused(431, "the head of the request is too long");
    auto part = co_await jail.read(read_bytes);
    if (!part || part->empty()) co_return refused(400, "the request ends in its head");
    bytes += *part;
  }
}

}  // namespace

Task<void> EgressProxy::serve(std::unique_ptr<io::Stream> jail) {
  Exchange exchange{*jail};
  exchange.ask.agent = agent_;
  exchange.ask.session = session_;
  exchange.ask.profile = profile_.name;
  auto text = co_await read_head_text(*jail, exchange.bytes);
  // Nothing was asked: some programs connect ahead.
  if (!text && exchange.bytes.empty()) co_return;
  Judged<Head> head = text ? egress::read_head(*text) : Judged<Head>(refused(400, ""));
  if (!text) head = tl::unexpected<Refusal>(text.error());
  Judged<Permit> permit = refused(400, "");
  if (head) {
    exchange.head = std::move(*head);
    exchange.ask.method = exchange.head.method;
    exchange.ask.host = exchange.head.url.host;
    exchange.ask.port = exchange.head.url.port;
    exchange.ask.url = http::origin(exchange.head.url) + exchange.head.url.path;
    permit = egress::find_rule(profile_.egress, exchange.head);
    if (++requests_ > options_.limits.requests_max)
      permit = refused(429, "the call has made too many requests");
  } else {
    permit = tl::unexpected<Refusal>(head.error());
  }
  if (!permit) {
    co_await refuse(exchange, permit.error().status, permit.error().message);
  } else {
    exchange.permit = std::move(*permit);
    exchange.ask.port = exchange.permit.url.port;
    exchange.ask.url = http::origin(exchange.permit.url) + exchange.permit.url.path;
    if (exchange.head.is_tunnel) {
      co_await tunnel(exchange);
    } else {
      co_await forward(exchange);
    }
  }
  co_await gate_.requested(exchange.ask, exchange.result);
}

// ---- requests that the proxy sees
// ----------------------------------------------------------------------------------------

Task<Judged<std::string>> EgressProxy::read_body(Exchange& exchange) {
  http::RequestLimits limits;
  limits.head_bytes_max = egress::head_bytes_max + 1024;
  limits.body_bytes_max = options_.limits.body_bytes_max;
  http::RequestParser parser(limits);
  parser.feed(exchange.head.rewritten);
  if (exchange.head.fields.expects_continue) {
    (void)co_await exchange.jail.write("HTTP/1.1 100 Continue\r\n\r\n");
  }
  if (!exchange.bytes.empty()) parser.feed(exchange.bytes);
  std::string body = parser.take_body();
  while (parser.state() == http::RequestParser::State::body) {
    auto part = co_await exchange.jail.read(read_bytes);
    if (!part || part->empty()) co_return refused(400, "the request ends in its body");
    parser.feed(*part);
    body += parser.take_body();
  }
  if (parser.state() == http::RequestParser::State::refused)
    co_return tl::unexpected<Refusal>(parser.refusal());
  co_return body;
}

// The request as the origin gets it; secrets stand in it from here on.
Task<Judged<http::Request>> EgressProxy::prepare(Exchange& exchange) {
  auto body = co_await read_body(exchange);
  if (!body) co_return tl::unexpected<Refusal>(body.error());
  const Permit& permit = exchange.permit;
  http::Request request;
  request.method = exchange.head.method;
  request.url = http::to_string(permit.url);
  request.body = std::move(*body);
  exchange.ask.body_bytes = request.body.size();
  if (egress::Secrets::mentions(request.url) || egress::Secrets::mentions(request.body))
    co_return refused(403, "the placeholder of a secret stands in a header, and nowhere else");
  for (const http::Header& header : egress::end_to_end(exchange.head.fields.headers)) {
    std::string value = header.value;
    auto filled = secrets_.fill(value, *permit.rule, exchange.ask.secrets);
    if (!filled) co_return tl::unexpected<Refusal>(filled.error());
    request.headers.add(header.name, std::move(value));
  }
  // What a server repeats must be found, so it may not be compressed.
  if (!exchange.ask.secrets.empty()) request.headers.set("Accept-Encoding", "identity");
  co_return request;
}

Task<void> EgressProxy::forward(Exchange& exchange) {
  auto request = co_await prepare(exchange);
  if (!request) {
    co_await refuse(exchange, request.error().status, request.error().message);
    co_return;
  }
  auto allowed = co_await gate_.may_request(exchange.ask);
  if (!allowed) {
    co_await refuse(exchange, 403, allowed.error().message);
    co_return;
  }
  http::Client* client =
      exchange.permit.rule->is_private ? options_.private_client : options_.client;
  // A literal is judged here; a name when it is connected to, whatever it stands for by then.
  const bool is_reachable = client != nullptr && (exchange.permit.rule->is_private ||
                                                  http::is_public_or_name(exchange.ask.host));
  if (!is_reachable) {
    co_await refuse(exchange, 403, exchange.ask.host + " is no public address");
    co_return;
  }
  exchange.result.sent_bytes = request->body.size();
  auto reply = co_await client->open(std::move(*request));
  if (!reply) {
    const bool is_forbidden = reply.error().code == Code::denied;
    co_await refuse(exchange, is_forbidden ? 403 : 502, reply.error().message);
    co_return;
  }
  co_await answer(exchange, std::move(*reply));
}

Task<void> EgressProxy::answer(Exchange& exchange, http::Reply reply) {
  exchange.result.status = reply.status;
  egress::Scrubber scrubber(exchange.ask.secrets.empty() ? std::vector<egress::Secrets::Secret>{}
                                                         : secrets_.all());
  const bool has_body = exchange.head.method != "HEAD" && reply.status != 204 &&
                        reply.status != 304 && reply.status >= 200;
  const bool in_chunks = has_body && !exchange.head.fields.is_http_1_0;
  std::string text = "HTTP/1.1 " + std::to_string(reply.status) + " " + phrase(reply.status);
  for (const http::Header& header : egress::end_to_end(reply.headers)) {
    egress::Scrubber one(exchange.ask.secrets.empty() ? std::vector<egress::Secrets::Secret>{}
                                                      : secrets_.all());
    std::string value = one.feed(header.value);
    value += one.finish();
    text += "\r\n" + header.name + ": " + value;
  }
  text += std::string("\r\nConnection: close") +
          (in_chunks ? "\r\nTransfer-Encoding: chunked" : "") + "\r\n\r\n";
  auto written = co_await exchange.jail.write(std::move(text));
  bool is_whole = false;
  while (written && has_body) {
    auto part = co_await reply.body->read();
    if (!part) break;
    is_whole = part->empty();
    exchange.result.received_bytes += part->size();
    if (exchange.result.received_bytes > options_.limits.response_bytes_max) break;
    std::string piece = is_whole ? scrubber.finish() : scrubber.feed(*part);
    if (in_chunks && !piece.empty()) {
      std::array<char, 24> size{};
      std::snprintf(size.data(), size.size(), "%zx\r\n", piece.size());
      piece = size.data() + piece + "\r\n";
    }
    if (in_chunks && is_whole) piece += "0\r\n\r\n";
    if (!piece.empty()) written = co_await exchange.jail.write(std::move(piece));
    if (is_whole) break;
  }
  // Without its last chunk the jail sees that the answer was cut.
  if (has_body && !is_whole) exchange.result.error = "the answer was cut";
  exchange.jail.shutdown_write();
}

// ---- tunnels
// ----------------------------------------------------------------------------------------

Task<Result<std::vector<std::string>>> EgressProxy::resolve(std::string host) {
  if (options_.resolve) {
    auto found = co_await options_.resolve(host);
    co_return found;
  }
  // The work may outlive the call.
  auto found = std::make_shared<Result<std::vector<std::string>>>(
      Err(Code::unavailable, "resolve '" + host + "'"));
  const std::function<void()> work = [found, host] { *found = look_up(host); };
  co_await world_.workers.run(work);
  co_return std::move(*found);
}

Task<Result<std::unique_ptr<io::Stream>>> EgressProxy::connect(Exchange& exchange) {
  auto addresses = co_await resolve(exchange.ask.host);
  if (!addresses) co_return Err(std::move(addresses).error());
  if (addresses->empty()) co_return Err(Code::unavailable, exchange.ask.host + " has no address");
  // One that is not public among others is no accident.
  for (const std::string& address : *addresses)
    if (!is_literal(address) ||
        (!exchange.permit.rule->is_private && !http::is_public_or_name(address)))
      co_return Err(Code::denied,
                    exchange.ask.host + " stands for " + address + ", which is not public");
  Error last;
  for (const std::string& address : *addresses) {
    const bool is_six = address.find(':') != std::string::npos;
    const std::string where =
        (is_six ? "[" + address + "]" : address) + ":" + std::to_string(exchange.ask.port);
    auto stream =
        co_await with_timeout(options_.limits.connect_timeout, world_.network.connect(where));
    if (stream) co_return stream;
    last = std::move(stream).error();
  }
  co_return Err(std::move(last));
}

Task<void> EgressProxy::tunnel(Exchange& exchange) {
  auto allowed = co_await gate_.may_request(exchange.ask);
  if (!allowed) {
    co_await refuse(exchange, 403, allowed.error().message);
    co_return;
  }
  auto origin = co_await connect(exchange);
  if (!origin) {
    const int status = origin.error().code == Code::denied ? 403 : 502;
    co_await refuse(exchange, status, origin.error().message);
    co_return;
  }
  exchange.result.status = 200;
  auto told = co_await exchange.jail.write("HTTP/1.1 200 Connection established\r\n\r\n");
  if (!told) co_return;
  // Nothing goes out before the jail has said whom it means.
  std::string hello = std::move(exchange.bytes);
  for (;;) {
    const auto read = egress::read_hello(hello);
    if (!read || (read->is_complete && read->server_name != exchange.ask.host)) {
      exchange.result.status = 403;
      exchange.result.error =
          read ? "the tunnel to " + exchange.ask.host + " was for " + read->server_name
               : read.error().message;
      co_return;
    }
    if (read->is_complete) break;
    auto part = co_await exchange.jail.read(read_bytes);
    if (!part || part->empty()) co_return;
    hello += *part;
  }
  exchange.result.sent_bytes = hello.size();
  auto sent = co_await (*origin)->write(std::move(hello));
  if (!sent) co_return;
  const std::uint64_t bytes_max = options_.limits.tunnel_bytes_max;
  Scope both;
  both.spawn(pump(exchange.jail, **origin, exchange.result.sent_bytes, bytes_max));
  both.spawn(pump(**origin, exchange.jail, exchange.result.received_bytes, bytes_max));
  co_await both.join();
}

}  // namespace ambit::sandbox
