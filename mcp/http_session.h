#pragma once

// HttpSession: what a legacy HTTP client has with us between its requests: streams of events that
// outlive a connection (so that it can come back for what it missed), requests that run on when it
// is gone, and our own questions to it. Each request has a stream; number 0 is the one for what we
// say unasked. All of it is bounded.

#include "async/pending.h"
#include "async/scope.h"
#include "mcp/server.h"

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>

namespace ambit::mcp {

struct StreamLimits {
  std::size_t streams_max = 64;  // kept at once, with those that ended
  std::size_t stream_bytes_max = 8 << 20;
  Duration ask_time = std::chrono::minutes(10);  // for the client's answer to a question
};

// The messages of one stream from `first` on; older ones are gone.
struct EventLog {
  std::uint64_t number = 0;
  std::uint64_t first = 1;
  std::deque<std::string> events;
  std::size_t bytes = 0;
  bool ended = false;
  bool hung_up = false;  // the client is to come back later
  bool has_reader = false;
  std::uint64_t delivered = 0;  // the last that was given to a reader
  Waiters changed;
  void append(std::string event, std::size_t bytes_max);
  void end();
};

class HttpSession {
 public:
  HttpSession(Server& server, std::string id, std::string principal, StreamLimits limits);
  ~HttpSession();
  HttpSession(const HttpSession&) = delete;
  HttpSession& operator=(const HttpSession&) = delete;

  [[nodiscard]] const std::string& id() const { return id_; }
  [[nodiscard]] const std::string& principal() const { return principal_; }
  Session& session() { return session_; }
  Instant used{};

  // Answers the request on a stream of its own. Code::exhausted when too many run.
  Result<std::shared_ptr<EventLog>> start(rpc::Request request);
  void take(const rpc::Notification& notification);
  void take(rpc::Reply reply);
  // A stream by its number; null if it is not kept any more.
  std::shared_ptr<EventLog> stream(std::uint64_t number);
  void forget(const EventLog& log) { streams_.erase(log.number); }
  // Ends everything; readers see the end of their streams.
  void end();

 private:
  class StreamWire;
  struct Withdrawal {};
  Task<void> run(rpc::Request request, std::shared_ptr<EventLog> log,
                 Pending<Withdrawal> withdrawn);
  Task<void> tell();
  void make_room();

  Server& server_;
  std::string id_;
  std::string principal_;
  StreamLimits limits_;
  Session session_;
  std::map<std::uint64_t, std::shared_ptr<EventLog>> streams_;
  std::uint64_t next_stream_ = 1;
  std::int64_t next_question_ = 1;
  std::map<std::int64_t, Resolver<Result<rpc::Reply>>> questions_;
  std::map<rpc::Id, Resolver<Withdrawal>> running_;
  Scope scope_;
};

}  // namespace ambit::mcp
