#pragma once

// Server: HTTP/1.1 on the world's network. One task a connection, one handler a request; requests
// of a connection are served in order. It listens on loopback unless told otherwise, and answers
// only to the hosts that it knows (a web page that points its own name at 127.0.0.1 gets nothing).
// Every wait has a deadline, every buffer a bound; when all places are taken, the connection that
// has been idle longest makes room. Destroying it ends all connections; drain() lets them finish
// first.

#include "async/log.h"
#include "async/scope.h"
#include "http/exchange.h"
#include "io/world.h"

#include <functional>
#include <list>
#include <memory>
#include <string>
#include <vector>

namespace ambit::http {

struct ServerOptions {
  std::string address = "127.0.0.1:0";
  // Names and addresses, without ports, that a Host may carry. Empty: those of this machine alone
  // (localhost, 127.0.0.1, [::1]). To listen on another address than loopback they must be named.
  std::vector<std::string> hosts;
  std::size_t connections_max = 1024;
  std::size_t requests_max = 100'000;  // of one connection
  RequestLimits request;
  ServerTimeouts timeouts;
};

// Answers one request. An exception, or no answer at all, becomes a 500.
using Handler = std::function<Task<void>(Exchange&)>;

class Server {
 public:
  // Listens and serves from now on. The world and the log must outlive the server.
  static Result<std::unique_ptr<Server>> listen(io::World& world, ServerOptions options,
                                                Handler handler, Log log = Log());
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  // "127.0.0.1:40123": where it really listens.
  [[nodiscard]] std::string address() const { return address_; }
  [[nodiscard]] std::size_t connections() const { return all_.size(); }

  // Takes no new connection, ends idle ones, waits until the others are done, at most for
  // `patience`, and ends what is left. Not to be called by a handler.
  Task<void> drain(Duration patience);

 private:
  class Connection;

  Server(io::World& world, ServerOptions options, Handler handler, Log log);
  Task<void> accept();
  Task<void> serve(std::unique_ptr<io::Stream> stream);
  Task<void> turn_away(std::unique_ptr<io::Stream> stream);
  // Ends the connection that has been idle longest; false if none is idle.
  bool make_room();
  std::string date();

  io::World& world_;
  ServerOptions options_;
  Handler handler_;
  Log log_;
  std::function<std::string()> date_;
  std::int64_t date_second_ = -1;
  std::string date_text_;
  std::string address_;
  std::unique_ptr<io::Listener> listener_;
  bool is_draining_ = false;
  std::list<Connection*> all_;
  std::list<Connection*> idle_;  // the longest idle first
  Scope turned_away_;
  Scope connections_;
  Scope accepting_;
};

}  // namespace ambit::http
