#include "http/server.h"

#include "async/race.h"
#include "io/address.h"

#include <algorithm>

namespace ambit::http {
namespace {

// A handler that needs longer is told when its client goes; most are done before it is worth
// looking.
constexpr Duration watch_after = std::chrono::milliseconds(20);
// How long, and for how much, we still read what a client sends after our last answer: closing at
// once would make its kernel throw that answer away.
constexpr Duration linger_time = std::chrono::milliseconds(500);
constexpr std::size_t linger_bytes_max = 256 << 10;
constexpr std::size_t turned_away_max = 64;
constexpr Duration accept_pause = std::chrono::milliseconds(100);

const std::vector<std::string> loopback_hosts = {"localhost", "127.0.0.1", "[::1]"};

bool is_loopback(const io::Address& address) {
  return !address.path.empty() || address.host == "localhost" || address.host == "::1" ||
         address.host.starts_with("127.");
}

Headers plain_text() {
  return Headers({{"Content-Type", "text/plain; charset=utf-8"}});
}

std::string plain_answer(int status, std::string_view message) {
  std::string text = "HTTP/1.1 " + std::to_string(status) + " ";
  text += reason_phrase(status);
  text += "\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: " +
          std::to_string(message.size() + 1) + "\r\nConnection: close\r\n\r\n";
  text += message;
  return text + "\n";
}

Task<void> pause(Duration time) {
  co_await delay(time);
}

Task<void> all_ended(Scope& scope) {
  co_await scope.join();
}

Task<void> discard(ReadAhead& input) {
  for (std::size_t seen = 0; seen < linger_bytes_max;) {
    auto bytes = co_await input.read();
    if (!bytes || bytes->empty()) break;
    seen += bytes->size();
  }
}

Task<void> linger(io::Stream& stream, ReadAhead& input) {
  stream.shutdown_write();
  co_await race(discard(input), pause(linger_time));
}

}  // namespace

class Server::Connection {
 public:
  Connection(Server& server, std::unique_ptr<io::Stream> stream)
      : server_(server),
        stream_(std::move(stream)),
        parser_(server.options_.request),
        at_(server.all_.insert(server.all_.end(), this)) {}
  ~Connection() {
    leave_idle();
    server_.all_.erase(at_);
  }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  Task<void> run() {
    for (std::size_t n = 0; n < server_.options_.requests_max; ++n) {
      const bool has_head = co_await receive_head();
      if (!has_head) break;
      const bool goes_on = co_await answer(n + 1 == server_.options_.requests_max);
      if (!goes_on) break;
      parser_.next();
    }
    enter_idle();  // from here on it may make room for others
    if (has_answered_) co_await linger(*stream_, input_);
  }
  // For the server: ends a connection on which nothing is going on.
  void close() {
    leave_idle();
    stream_->close();
  }

 private:
  void enter_idle() { idle_at_ = server_.idle_.insert(server_.idle_.end(), this); }
  void leave_idle() {
    if (idle_at_) server_.idle_.erase(*std::exchange(idle_at_, std::nullopt));
  }

  // False: there is no (good) request, and the connection ends.
  Task<bool> receive_head() {
    if (parser_.is_idle()) {
      if (server_.is_draining_) co_return false;
      enter_idle();
      auto bytes = co_await with_timeout(server_.options_.timeouts.idle, input_.read());
      leave_idle();
      if (!bytes || bytes->empty()) co_return false;
      parser_.feed(*bytes);
    }
    const Instant deadline = Loop::current().now() + server_.options_.timeouts.head;
    while (parser_.state() == RequestParser::State::head) {
      auto bytes = co_await with_timeout(deadline - Loop::current().now(), input_.read());
      if (!bytes && bytes.error().code == Code::timeout) {
        co_await refuse(408, "the request's head did not come in time");
        co_return false;
      }
      if (!bytes || bytes->empty()) co_return false;
      parser_.feed(*bytes);
    }
    if (parser_.state() == RequestParser::State::refused) {
      co_await refuse(parser_.refusal().status, parser_.refusal().message);
      co_return false;
    }
    if (!is_host_among(parser_.head().host, server_.options_.hosts)) {
      co_await refuse(421, "this server does not answer for that host");
      co_return false;
    }
    co_return true;
  }

  Task<void> refuse(int status, std::string_view message) {
    has_answered_ = true;
    auto sent = co_await with_timeout(server_.options_.timeouts.write,
                                      stream_->write(plain_answer(status, message)));
    if (!sent) has_answered_ = false;
  }

  // True: the connection goes on with its next request.
  Task<bool> answer(bool is_last) {
    Exchange exchange(*stream_, input_, parser_, server_.options_.timeouts, server_.date_);
    if (is_last || server_.is_draining_) exchange.close_after();
    is_gone_ = false;
    co_await race(handle(exchange), watch(exchange));
    if (is_gone_) co_return false;
    if (!exchange.has_begun()) co_await answer_for_handler(exchange);
    has_answered_ = exchange.has_ended();
    // An answer that was begun and not ended must not look whole: the connection just ends.
    co_return exchange.is_reusable();
  }

  Task<void> handle(Exchange& exchange) {
    try {
      co_await server_.handler_(exchange);
    } catch (const std::exception& fault) {
      server_.log_.error("http.handler_failed", {{"what", std::string_view(fault.what())}});
    }
  }

  Task<void> answer_for_handler(Exchange& exchange) {
    using State = RequestParser::State;
    if (parser_.state() == State::refused) {
      co_await refuse(parser_.refusal().status, parser_.refusal().message);
      co_return;
    }
    exchange.close_after();
    const int status = exchange.is_late() ? 408 : 500;
    auto sent =
        co_await exchange.respond(status, plain_text(), std::string(reason_phrase(status)) + "\n");
    if (!sent) is_gone_ = true;
  }

  // Ends when the client is gone. Bytes of a next request are left where they are.
  Task<void> watch(Exchange& exchange) {
    co_await delay(watch_after);
    co_await exchange.body_read();
    co_await input_.wait();
    while (input_.has_bytes()) co_await never_.wait();
    is_gone_ = true;
  }

  Server& server_;
  std::unique_ptr<io::Stream> stream_;
  ReadAhead input_{*stream_};
  RequestParser parser_;
  bool is_gone_ = false;
  bool has_answered_ = false;
  Waiters never_;
  std::list<Connection*>::iterator at_;
  std::optional<std::list<Connection*>::iterator> idle_at_;
};

Result<std::unique_ptr<Server>> Server::listen(io::World& world, ServerOptions options,
                                               Handler handler, Log log) {
  const io::Address address = TRY(io::parse_address(options.address));
  if (options.hosts.empty()) {
    if (!is_loopback(address)) {
      return Err(Code::invalid, "listen on " + options.address +
                                    ": other machines can reach it; name the hosts that it "
                                    "answers for");
    }
    options.hosts = loopback_hosts;
  }
  std::unique_ptr<Server> server(
      new Server(world, std::move(options), std::move(handler), std::move(log)));
  server->listener_ = TRY(world.network.listen(server->options_.address));
  server->address_ = server->listener_->address();
  server->accepting_.spawn(server->accept());
  return server;
}

Server::Server(io::World& world, ServerOptions options, Handler handler, Log log)
    : world_(world),
      options_(std::move(options)),
      handler_(std::move(handler)),
      log_(std::move(log)),
      date_([this] { return date(); }) {}

Server::~Server() = default;

std::string Server::date() {
  const std::int64_t second = world_.clock.unix_ns() / 1'000'000'000;
  if (second != date_second_) {
    date_second_ = second;
    date_text_ = http_date(second);
  }
  return date_text_;
}

bool Server::make_room() {
  if (all_.size() < options_.connections_max) return true;
  if (idle_.empty()) return false;
  idle_.front()->close();
  return true;
}

Task<void> Server::accept() {
  while (true) {
    auto stream = co_await listener_->accept();
    if (!stream) {
      if (stream.error().code == Code::closed) co_return;
      log_.warn("http.accept_failed", {{"why", std::string_view(stream.error().message)}});
      co_await delay(accept_pause);
      continue;
    }
    if (make_room()) {
      connections_.spawn(serve(std::move(*stream)));
    } else if (turned_away_.size() < turned_away_max) {
      turned_away_.spawn(turn_away(std::move(*stream)));
    }
  }
}

Task<void> Server::serve(std::unique_ptr<io::Stream> stream) {
  Connection connection(*this, std::move(stream));
  co_await connection.run();
}

Task<void> Server::turn_away(std::unique_ptr<io::Stream> stream) {
  auto sent = co_await with_timeout(
      linger_time, stream->write(plain_answer(503, "too many connections; try again later")));
  ReadAhead input(*stream);
  if (sent) co_await linger(*stream, input);
}

Task<void> Server::drain(Duration patience) {
  is_draining_ = true;
  accepting_.cancel();
  listener_.reset();
  turned_away_.cancel();
  while (!idle_.empty()) idle_.front()->close();
  co_await race(all_ended(connections_), pause(patience));
  connections_.cancel();
}

}  // namespace ambit::http
