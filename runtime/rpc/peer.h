#pragma once

// Peer: one end of a JSON-RPC connection. It makes calls, answers calls and passes notifications
// on, over any transport of whole messages. Destroying the task of a call withdraws it: the pending
// entry goes, the `on_abandoned` hook hears of it (MCP then sends notifications/cancelled), and a
// late reply is dropped. The peer ends when the transport ends or the other side passes a bound;
// then every call fails with why.

#include "async/channel.h"
#include "async/pending.h"
#include "async/scope.h"
#include "rpc/message.h"

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>

namespace ambit::rpc {

// Whole messages, in order. receive() gives Code::closed at the end of the stream; one receiver at
// a time.
class Transport {
 public:
  virtual ~Transport() = default;
  virtual Task<Result<void>> send(std::string message) = 0;
  virtual Task<Result<std::string>> receive() = 0;
};

struct PeerLimits {
  ParseLimits parse;
  std::size_t calls_out_max = 1024;  // of ours, waiting for their reply
  std::size_t calls_in_max = 64;     // of theirs, being answered; more are refused
  std::size_t refusals_max = 256;    // refusals not yet taken by the transport; more end the peer
  std::size_t garbage_max = 32;      // messages that are not JSON-RPC, replies nobody asked for
  std::size_t unasked_max = 1'000'000;  // messages in a row without one reply to us
};

struct PeerCounts {
  std::size_t garbage = 0;       // not JSON-RPC, or replies to what was never asked
  std::size_t late_replies = 0;  // to calls that were withdrawn or answered before
};

class Peer {
 public:
  struct Handlers {
    // Answers a request; the reply's id is set by the peer. Without one: method not found.
    std::function<Task<Reply>(Request)> on_request;
    std::function<void(Notification)> on_notification;
    // A call of ours whose task was destroyed before its reply came.
    std::function<void(const Id& id, const std::string& method)> on_abandoned;
  };

  // `transport` must outlive the peer.
  Peer(Transport& transport, Handlers handlers, PeerLimits limits = {});
  Peer(const Peer&) = delete;
  Peer& operator=(const Peer&) = delete;
  ~Peer();

  // Reads until the connection ends; gives the reason. Run it once, in a Scope beside the peer.
  Task<Error> run();

  // The reply, with its result or fault; an Error if none can come any more. No timeout: see
  // race.h.
  Task<Result<Reply>> call(std::string method, Value params);
  Task<Result<void>> notify(std::string method, Value params);

  // Ends one call of ours with an error that the transport knows of. False if it does not wait.
  bool fail(const Id& id, Error error);

  // Withdraws the answering of a request of theirs: no reply is sent. False if it is not in work.
  bool cancel_incoming(const Id& id);

  // Fails everything that waits and everything that comes.
  void end(Error reason);
  [[nodiscard]] const std::optional<Error>& ended() const { return ended_; }
  [[nodiscard]] const PeerCounts& counts() const { return counts_; }
  [[nodiscard]] std::size_t calls_waiting() const { return waiting_.size(); }

 private:
  struct Call;
  struct Withdrawal {};

  // False: the other side has passed a bound, and `ended_` says which.
  bool accept(Message message);
  bool accept_request(Request request);
  bool accept_reply(Reply reply);
  bool garbage(const std::string& what);
  Task<void> serve(Request request, std::uint64_t number, Pending<Withdrawal> withdrawn);
  Task<void> refuse(Id id, Fault fault);
  Task<Reply> answer(Request request);

  Transport& transport_;
  Handlers handlers_;
  PeerLimits limits_;
  PeerCounts counts_;
  std::int64_t next_id_ = 1;
  std::map<std::int64_t, Resolver<Result<Reply>>> waiting_;
  std::map<std::uint64_t, std::pair<Id, Resolver<Withdrawal>>> serving_;
  std::uint64_t next_serving_ = 0;
  std::size_t refusing_ = 0;
  std::size_t unasked_ = 0;
  std::optional<Error> ended_;
  Scope scope_;
};

}  // namespace ambit::rpc
