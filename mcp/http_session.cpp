#include "mcp/http_session.h"

#include "async/race.h"

#include <utility>

namespace ambit::mcp {
namespace {

template <class T>
Task<T> wait_for(Pending<T> pending) {
  auto value = co_await std::move(pending);
  co_return value;
}

}  // namespace

void EventLog::append(std::string event, std::size_t bytes_max) {
  bytes += event.size();
  events.push_back(std::move(event));
  while (bytes > bytes_max && events.size() > 1) {
    bytes -= events.front().size();
    events.pop_front();
    ++first;
  }
  changed.wake_all();
}

void EventLog::end() {
  ended = true;
  changed.wake_all();
}

// What one request says goes onto its own stream.
class HttpSession::StreamWire final : public Wire {
 public:
  StreamWire(HttpSession& session, std::shared_ptr<EventLog> log)
      : session_(session), log_(std::move(log)) {}

  Task<Result<void>> notify(std::string method, Value params) override {
    const rpc::Notification notification{std::move(method), std::move(params)};
    log_->append(rpc::encode(notification), session_.limits_.stream_bytes_max);
    co_return Result<void>();
  }
  Task<Result<rpc::Reply>> ask(std::string method, Value params) override {
    const std::int64_t id = session_.next_question_++;
    auto pair = make_pending<Result<rpc::Reply>>();
    session_.questions_.emplace(id, std::move(pair.second));
    const rpc::Request request{rpc::Id(id), std::move(method), std::move(params)};
    log_->append(rpc::encode(request), session_.limits_.stream_bytes_max);
    auto reply = co_await with_timeout(session_.limits_.ask_time, wait_for(std::move(pair.first)));
    session_.questions_.erase(id);
    co_return std::move(reply);
  }
  void hang_up() override {
    log_->hung_up = true;
    log_->changed.wake_all();
  }

 private:
  HttpSession& session_;
  std::shared_ptr<EventLog> log_;
};

HttpSession::HttpSession(Server& server, std::string id, std::string principal, StreamLimits limits)
    : server_(server),
      id_(std::move(id)),
      principal_(std::move(principal)),
      limits_(limits),
      session_(server) {
  streams_.emplace(0, std::make_shared<EventLog>());
  scope_.spawn(tell());
}

HttpSession::~HttpSession() {
  end();
}

void HttpSession::end() {
  scope_.cancel();
  for (auto& [number, log] : streams_) log->end();
}

std::shared_ptr<EventLog> HttpSession::stream(std::uint64_t number) {
  const auto at = streams_.find(number);
  return at == streams_.end() ? nullptr : at->second;
}

// Lets go of the oldest streams that ended and that nobody reads.
void HttpSession::make_room() {
  for (auto at = std::next(streams_.begin());
       at != streams_.end() && streams_.size() >= limits_.streams_max;) {
    const bool idle = at->second->ended && !at->second->has_reader;
    at = idle ? streams_.erase(at) : std::next(at);
  }
}

Result<std::shared_ptr<EventLog>> HttpSession::start(rpc::Request request) {
  make_room();
  if (streams_.size() >= limits_.streams_max) {
    return Err(Code::exhausted, "more than " + std::to_string(limits_.streams_max) +
                                    " requests of this session are in work");
  }
  if (running_.contains(request.id)) {
    return Err(Code::conflict,
               "a request with the id " + rpc::to_string(request.id) + " is in work");
  }
  auto log = std::make_shared<EventLog>();
  log->number = next_stream_++;
  streams_.emplace(log->number, log);
  auto [pending, resolver] = make_pending<Withdrawal>();
  running_.emplace(request.id, std::move(resolver));
  scope_.spawn(run(std::move(request), log, std::move(pending)));
  return log;
}

Task<void> HttpSession::run(rpc::Request request, std::shared_ptr<EventLog> log,
                            Pending<Withdrawal> withdrawn) {
  struct Leave {
    HttpSession& session;
    rpc::Id id;
    ~Leave() { session.running_.erase(id); }
  };
  const Leave leave{*this, request.id};
  StreamWire wire(*this, log);
  const rpc::Id id = request.id;
  auto work = server_.answer(std::move(request), &session_, wire, principal_);
  auto outcome = co_await race(std::move(work), wait_for(std::move(withdrawn)));
  if (outcome.index() == 0) {
    rpc::Reply reply = std::move(std::get<0>(outcome).reply);
    reply.id = id;
    log->append(rpc::encode(reply), limits_.stream_bytes_max);
  }
  log->end();
}

Task<void> HttpSession::tell() {
  StreamWire wire(*this, streams_.at(0));
  Value no_meta;
  co_await server_.tell(session_.watcher, wire, std::move(no_meta));
}

void HttpSession::take(const rpc::Notification& notification) {
  if (notification.method != "notifications/cancelled") return;
  CancelledParams cancelled;
  if (!from_value(notification.params, cancelled)) return;
  const auto at = running_.find(cancelled.request);
  if (at != running_.end()) at->second.resolve(Withdrawal{});
}

void HttpSession::take(rpc::Reply reply) {
  const auto* id = reply.id ? std::get_if<std::int64_t>(&*reply.id) : nullptr;
  const auto at = id == nullptr ? questions_.end() : questions_.find(*id);
  if (at != questions_.end()) at->second.resolve(std::move(reply));
}

}  // namespace ambit::mcp
