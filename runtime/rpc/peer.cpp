#include "rpc/peer.h"

#include "async/race.h"

#include <utility>

namespace ambit::rpc {
namespace {

template <class T>
Task<T> wait_for(Pending<T> pending) {
  auto value = co_await std::move(pending);
  co_return value;
}

}  // namespace

// Lives in the frame of a call: leaves the table with it, and tells whether it was answered.
struct Peer::Call {
  Peer& peer;
  std::int64_t id;
  std::string method;
  bool sent = false;
  bool done = false;

  Call(Peer& owner, std::string called)
      : peer(owner), id(owner.next_id_++), method(std::move(called)) {}
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;
  ~Call() {
    peer.waiting_.erase(id);
    const bool abandoned = sent && !done && !peer.ended_;
    if (abandoned && peer.handlers_.on_abandoned) peer.handlers_.on_abandoned(Id(id), method);
  }
};

Peer::Peer(Transport& transport, Handlers handlers, PeerLimits limits)
    : transport_(transport), handlers_(std::move(handlers)), limits_(limits) {}

Peer::~Peer() {
  // Calls that are destroyed after this must not tell a handler that is gone.
  if (!ended_) ended_ = Error{Code::closed, "the connection was closed"};
}

Task<Error> Peer::run() {
  while (!ended_) {
    auto text = co_await transport_.receive();
    if (!text) {
      end(std::move(text).error());
      break;
    }
    auto message = decode(*text, limits_.parse);
    const bool went_on = message ? accept(std::move(*message)) : garbage(message.error().message);
    if (!went_on) break;
  }
  co_return *ended_;
}

Task<Result<Reply>> Peer::call(std::string method, Value params) {
  if (ended_) co_return Err(*ended_);
  if (waiting_.size() >= limits_.calls_out_max) {
    co_return Err(Code::exhausted, "more than " + std::to_string(limits_.calls_out_max) +
                                       " calls wait for a reply; try again later");
  }
  Call call(*this, method);
  auto pair = make_pending<Result<Reply>>();
  waiting_.emplace(call.id, std::move(pair.second));
  Request request{Id(call.id), std::move(method), std::move(params)};
  std::string text = encode(request);
  call.sent = true;
  auto sent = co_await transport_.send(std::move(text));
  if (!sent) {
    call.done = true;
    co_return Err(ended_ ? *ended_ : std::move(sent).error());
  }
  auto reply = co_await std::move(pair.first);
  call.done = true;
  co_return std::move(reply);
}

Task<Result<void>> Peer::notify(std::string method, Value params) {
  if (ended_) co_return Err(*ended_);
  const Notification notification{std::move(method), std::move(params)};
  std::string text = encode(notification);
  auto sent = co_await transport_.send(std::move(text));
  co_return std::move(sent);
}

bool Peer::fail(const Id& id, Error error) {
  const auto* number = std::get_if<std::int64_t>(&id);
  const auto at = number == nullptr ? waiting_.end() : waiting_.find(*number);
  if (at == waiting_.end()) return false;
  Resolver<Result<Reply>> resolver = std::move(at->second);
  waiting_.erase(at);
  resolver.resolve(Err(std::move(error)));
  return true;
}

bool Peer::cancel_incoming(const Id& id) {
  for (auto& [number, entry] : serving_) {
    if (entry.first != id) continue;
    entry.second.resolve(Withdrawal{});
    return true;
  }
  return false;
}

void Peer::end(Error reason) {
  if (ended_) return;
  ended_ = std::move(reason);
  for (auto& [id, resolver] : waiting_) resolver.resolve(Err(*ended_));
}

bool Peer::accept(Message message) {
  if (auto* reply = std::get_if<Reply>(&message)) return accept_reply(std::move(*reply));
  if (++unasked_ > limits_.unasked_max) {
    end(Error{Code::exhausted, "the other side sent " + std::to_string(limits_.unasked_max) +
                                   " messages without one reply"});
    return false;
  }
  if (auto* request = std::get_if<Request>(&message)) return accept_request(std::move(*request));
  if (handlers_.on_notification) {
    handlers_.on_notification(std::move(std::get<Notification>(message)));
  }
  return !ended_;
}

bool Peer::accept_request(Request request) {
  if (serving_.size() < limits_.calls_in_max) {
    const std::uint64_t number = next_serving_++;
    auto [pending, resolver] = make_pending<Withdrawal>();
    serving_.emplace(number, std::pair(request.id, std::move(resolver)));
    scope_.spawn(serve(std::move(request), number, std::move(pending)));
    return true;
  }
  if (refusing_ >= limits_.refusals_max) {
    end(Error{Code::exhausted, "the other side sends requests and does not read the replies"});
    return false;
  }
  ++refusing_;
  const std::string why = "more than " + std::to_string(limits_.calls_in_max) + " requests in work";
  scope_.spawn(refuse(request.id, to_fault(Error{Code::exhausted, why})));
  return true;
}

bool Peer::accept_reply(Reply reply) {
  const auto* id = reply.id ? std::get_if<std::int64_t>(&*reply.id) : nullptr;
  const bool ours = id != nullptr && *id > 0 && *id < next_id_;
  if (!ours) {
    const std::string fault = reply.fault ? ": " + reply.fault->message : "";
    return garbage((reply.id ? "a reply to " + to_string(*reply.id) + ", which was never asked"
                             : "an error that answers no request") +
                   fault);
  }
  const auto at = waiting_.find(*id);
  if (at == waiting_.end()) {
    if (++counts_.late_replies + 1 > limits_.unasked_max) return garbage("replies to old calls");
    return true;
  }
  unasked_ = 0;
  Resolver<Result<Reply>> resolver = std::move(at->second);
  waiting_.erase(at);
  resolver.resolve(std::move(reply));
  return true;
}

bool Peer::garbage(const std::string& what) {
  if (++counts_.garbage <= limits_.garbage_max) return true;
  end(Error{Code::invalid,
            "the other side does not speak JSON-RPC: " + std::to_string(counts_.garbage) +
                " messages were wrong, the last: " + what});
  return false;
}

Task<void> Peer::serve(Request request, std::uint64_t number, Pending<Withdrawal> withdrawn) {
  struct Leave {
    Peer& peer;
    std::uint64_t number;
    ~Leave() { peer.serving_.erase(number); }
  };
  const Leave leave{*this, number};
  Id id = request.id;
  auto outcome = co_await race(answer(std::move(request)), wait_for(std::move(withdrawn)));
  if (outcome.index() == 1 || ended_) co_return;
  Reply reply = std::get<0>(std::move(outcome));
  reply.id = std::move(id);
  // A reply that cannot be sent means that the connection is going: receive() will say so.
  auto sent = co_await transport_.send(encode(reply));
  if (!sent) co_return;
}

Task<Reply> Peer::answer(Request request) {
  if (!handlers_.on_request) {
    Reply reply;
    reply.fault = Fault{method_not_found, "no method \"" + request.method + "\"", {}};
    co_return reply;
  }
  auto reply = co_await handlers_.on_request(std::move(request));
  co_return reply;
}

Task<void> Peer::refuse(Id id, Fault fault) {
  struct Leave {
    std::size_t& count;
    ~Leave() { --count; }
  };
  const Leave leave{refusing_};
  Reply reply;
  reply.id = std::move(id);
  reply.fault = std::move(fault);
  auto sent = co_await transport_.send(encode(reply));
  if (!sent) co_return;
}

}  // namespace ambit::rpc
