#include "rpc/peer.h"

#include "async/race.h"
#include "rpc/binder.h"
#include "rpc/fields.h"
#include "runtime/async/fake_poller.h"
#include "support/run_task.h"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

namespace ambit::rpc {

struct Sum {
  std::int64_t a = 0;
  std::int64_t b = 0;
};
static Result<void> from_value(const Value& value, Sum& out) {
  Fields fields(value.json(), "$.params");
  fields.read("a", out.a);
  fields.read("b", out.b);
  return fields.result();
}
struct Total {
  std::int64_t total = 0;
};
static Value to_value(const Total& total) {
  return Json{{"total", total.total}};
}

namespace {

using std::chrono::seconds;

class Wire final : public Transport {
 public:
  Wire(Channel<std::string>& in, Channel<std::string>& out) : in_(in), out_(out) {}
  Task<Result<void>> send(std::string message) override { return out_.send(std::move(message)); }
  Task<Result<std::string>> receive() override { return in_.receive(); }

 private:
  Channel<std::string>& in_;
  Channel<std::string>& out_;
};

// A peer whose other side is the test, writing and reading raw text.
struct Bench {
  FakePoller poller;
  Loop loop{poller};
  Channel<std::string> in{1024};
  Channel<std::string> out{1024};
  Wire wire{in, out};
  std::vector<std::string> abandoned;
  std::vector<std::string> notified;
  std::unique_ptr<Peer> peer;
  Scope scope;

  explicit Bench(std::function<Task<Reply>(Request)> on_request = nullptr, PeerLimits limits = {}) {
    Peer::Handlers handlers;
    handlers.on_request = std::move(on_request);
    handlers.on_notification = [this](const Notification& got) { notified.push_back(got.method); };
    handlers.on_abandoned = [this](const Id& id, const std::string& method) {
      abandoned.push_back(method + " " + to_string(id));
    };
    peer = std::make_unique<Peer>(wire, std::move(handlers), limits);
    scope.spawn(run());
  }
  Task<void> run() {
    auto reason = co_await peer->run();
    peer->end(std::move(reason));
  }
  Result<Reply> call(const std::string& method) {
    return run_task(loop, with_timeout(seconds(5), peer->call(method, {})));
  }
  void settle() { run_task(loop, wait_a_moment()); }
  static Task<int> wait_a_moment() {
    co_await delay(seconds(1));
    co_return 0;
  }
  // What the peer has sent so far.
  std::vector<std::string> sent() {
    std::vector<std::string> lines;
    while (auto line = out.try_receive()) lines.push_back(std::move(*line));
    return lines;
  }
};

std::string reply_to(int id) {
  return R"({"jsonrpc":"2.0","id":)" + std::to_string(id) + R"(,"result":{}})";
}

Task<Result<Total>> add_slowly(Sum sum) {
  co_await delay(seconds(1));
  if (sum.a < 0) co_return Err(Code::denied, "no negative numbers");
  co_return Total{sum.a + sum.b};
}

}  // namespace

TEST_CASE("a call gets the reply with its id, in any order", "[rpc]") {
  Bench bench;
  struct Steps {
    static Task<std::vector<Result<Reply>>> both(std::vector<Task<Result<Reply>>> tasks) {
      auto replies = co_await join(std::move(tasks));
      co_return replies;
    }
    // The replies must come after the requests are out.
    static Task<void> answer_late(Channel<std::string>& in) {
      co_await delay(seconds(1));
      in.try_send(reply_to(2));
      in.try_send(R"({"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"none"}})");
    }
  };
  std::vector<Task<Result<Reply>>> tasks;
  tasks.push_back(bench.peer->call("one", Json{{"x", 1}}));
  tasks.push_back(bench.peer->call("two", {}));
  bench.scope.spawn(Steps::answer_late(bench.in));
  const auto replies = run_task(bench.loop, Steps::both(std::move(tasks)));
  REQUIRE(replies.size() == 2);
  CHECK(replies[0]->fault->code == method_not_found);
  CHECK_FALSE(replies[1]->fault.has_value());
  CHECK(bench.sent().at(0) == R"({"jsonrpc":"2.0","id":1,"method":"one","params":{"x":1}})");
}

TEST_CASE("destroying a call withdraws it and tells the hook", "[rpc]") {
  Bench bench;
  const auto reply = bench.call("slow");
  CHECK(reply.error().code == Code::timeout);
  CHECK(bench.abandoned == std::vector<std::string>{"slow 1"});
  CHECK(bench.peer->calls_waiting() == 0);
  bench.in.try_send(reply_to(1));
  bench.settle();
  CHECK(bench.peer->counts().late_replies == 1);
  CHECK_FALSE(bench.peer->ended().has_value());
}

TEST_CASE("replies to what was never asked are garbage, up to a bound", "[rpc]") {
  PeerLimits limits;
  limits.garbage_max = 3;
  Bench bench(nullptr, limits);
  bench.in.try_send(reply_to(99));
  bench.in.try_send(R"({"jsonrpc":"2.0","id":"x","result":{}})");
  bench.in.try_send("hello");
  bench.settle();
  CHECK(bench.peer->counts().garbage == 3);
  CHECK_FALSE(bench.peer->ended().has_value());
  bench.in.try_send("[]");
  const auto reply = bench.call("x");
  CHECK(reply.error().code == Code::invalid);
  CHECK(reply.error().message.find("4 messages were wrong") != std::string::npos);
}

TEST_CASE("the end of the transport ends every call with the reason", "[rpc]") {
  Bench bench;
  bench.in.close();
  CHECK(bench.call("x").error().code == Code::closed);
  CHECK(bench.call("y").error().code == Code::closed);
  CHECK(bench.abandoned.empty());
}

TEST_CASE("typed methods are bound, and wrong params answered with the path", "[rpc]") {
  Binder binder;
  binder.bind("add", add_slowly);
  binder.bind("now", [](Sum sum) -> Result<Total> { return Total{sum.a * 10}; });
  Bench bench([&](Request request) { return binder.dispatch(std::move(request)); });
  bench.in.try_send(R"({"jsonrpc":"2.0","id":1,"method":"add","params":{"a":1,"b":2}})");
  bench.in.try_send(R"({"jsonrpc":"2.0","id":"n","method":"now","params":{"a":1,"b":2}})");
  bench.in.try_send(R"({"jsonrpc":"2.0","id":3,"method":"add","params":{"a":"1","b":2}})");
  bench.in.try_send(R"({"jsonrpc":"2.0","id":4,"method":"add","params":{"a":-1,"b":2}})");
  bench.in.try_send(R"({"jsonrpc":"2.0","id":5,"method":"sub"})");
  bench.settle();
  bench.settle();
  std::vector<std::string> sent = bench.sent();
  std::sort(sent.begin(), sent.end());
  REQUIRE(sent.size() == 5);
  CHECK(sent[0] == R"({"jsonrpc":"2.0","id":"n","result":{"total":10}})");
  CHECK(sent[1] == R"({"jsonrpc":"2.0","id":1,"result":{"total":3}})");
  CHECK(
      sent[2] ==
      R"({"jsonrpc":"2.0","id":3,"error":{"code":-32602,"message":"$.params.a: must be an integer of 64 bits"}})");
  CHECK(sent[3] ==
        R"({"jsonrpc":"2.0","id":4,"error":{"code":-32001,"message":"no negative numbers"}})");
  CHECK(sent[4] ==
        R"({"jsonrpc":"2.0","id":5,"error":{"code":-32601,"message":"no method \"sub\""}})");
}

TEST_CASE("a request of theirs that they cancel is not answered", "[rpc]") {
  Binder binder;
  binder.bind("add", add_slowly);
  Bench bench([&](Request request) { return binder.dispatch(std::move(request)); });
  bench.in.try_send(R"({"jsonrpc":"2.0","id":1,"method":"add","params":{"a":1,"b":2}})");
  struct Soon {
    static Task<void> cancel(Peer& peer, bool& found) {
      co_await delay(std::chrono::milliseconds(10));
      found = peer.cancel_incoming(Id(std::int64_t{1}));
    }
  };
  bool found = false;
  bench.scope.spawn(Soon::cancel(*bench.peer, found));
  bench.settle();
  bench.settle();
  CHECK(found);
  CHECK(bench.sent().empty());
  CHECK_FALSE(bench.peer->cancel_incoming(Id(std::int64_t{1})));
}

TEST_CASE("more requests than the bound are refused, and a flood ends the peer", "[rpc]") {
  Binder binder;
  binder.bind("add", add_slowly);
  PeerLimits limits;
  limits.calls_in_max = 2;
  limits.refusals_max = 2;
  limits.unasked_max = 6;
  Bench bench([&](Request request) { return binder.dispatch(std::move(request)); }, limits);
  for (int i = 0; i < 4; ++i) {
    bench.in.try_send(R"({"jsonrpc":"2.0","id":)" + std::to_string(i) +
                      R"(,"method":"add","params":{"a":1,"b":2}})");
  }
  bench.settle();
  bench.settle();
  const auto sent = bench.sent();
  REQUIRE(sent.size() == 4);
  CHECK(sent[0].find("more than 2 requests in work") != std::string::npos);
  for (int i = 0; i < 3; ++i) bench.in.try_send(R"({"jsonrpc":"2.0","method":"notifications/x"})");
  bench.settle();
  CHECK(bench.notified.size() == 2);
  REQUIRE(bench.peer->ended().has_value());
  CHECK(bench.peer->ended()->code == Code::exhausted);
}

TEST_CASE("calls of ours have a bound too", "[rpc]") {
  PeerLimits limits;
  limits.calls_out_max = 0;
  Bench bench(nullptr, limits);
  CHECK(bench.call("x").error().code == Code::exhausted);
}

}  // namespace ambit::rpc
