#include "sim_network.h"

#include "io/address.h"

#include <algorithm>
#include <utility>

namespace ambit::sim {
namespace {

constexpr std::size_t backlog_max = 128;

}  // namespace

// ---- SimConnection
// --------------------------------------------------------------------------------

class SimConnection::End final : public io::Stream {
 public:
  End(std::shared_ptr<SimConnection> connection, int side)
      : connection_(std::move(connection)), side_(side) {
    ++connection_->open_ends_;
  }
  ~End() override {
    connection_->close(side_);
    --connection_->open_ends_;
  }
  End(const End&) = delete;
  End& operator=(const End&) = delete;
  Task<Result<std::string>> read(std::size_t max) override {
    return SimConnection::read(connection_, side_, max);
  }
  Task<Result<void>> write(std::string bytes) override {
    return SimConnection::write(connection_, side_, std::move(bytes));
  }
  void shutdown_write() override { connection_->shut_down(side_); }
  void close() override { connection_->close(side_); }

 private:
  std::shared_ptr<SimConnection> connection_;
  int side_;
};

SimConnection::SimConnection(SimPoller& poller, Random random, Faults faults, int& open_ends)
    : poller_(poller),
      random_(random),
      faults_(faults),
      open_ends_(open_ends),
      window_(1 + random_.below(faults.window_max)) {}

std::unique_ptr<io::Stream> SimConnection::end(const std::shared_ptr<SimConnection>& connection,
                                               int side) {
  return std::make_unique<End>(connection, side);
}

Task<Result<std::string>> SimConnection::read(std::shared_ptr<SimConnection> self, int side,
                                              std::size_t max) {
  Direction& from = self->directions_[static_cast<std::size_t>(side)];
  const bool& closed = self->closed_[static_cast<std::size_t>(side)];
  INVARIANT(max > 0);
  INVARIANT(from.readable.empty());  // one reader at a time
  while (from.arrived.empty() && !from.ended && !self->reset_ && !closed) {
    co_await from.readable.wait();
  }
  if (closed) co_return Err(Code::closed, "read: the stream was closed");
  if (self->reset_) co_return Err(Code::closed, "read: connection reset by peer");
  const std::size_t available = std::min(max, from.arrived.size());
  if (available == 0) co_return std::string();
  const auto count =
      static_cast<std::size_t>(self->random_.between(1, static_cast<std::int64_t>(available)));
  std::string bytes = from.arrived.substr(0, count);
  from.arrived.erase(0, count);
  self->pump(side);
  co_return bytes;
}

Task<Result<void>> SimConnection::write(std::shared_ptr<SimConnection> self, int side,
                                        std::string bytes) {
  const auto reader = static_cast<std::size_t>(1 - side);
  Direction& to = self->directions_[reader];
  if (self->closed_[static_cast<std::size_t>(side)]) {
    co_return Err(Code::closed, "write: the stream was closed");
  }
  if (self->reset_ || to.shut) co_return Err(Code::closed, "write: broken pipe");
  if (bytes.empty()) co_return Result<void>();
  auto made = make_pending<Result<void>>();
  to.writes.push_back(Write{std::move(bytes), 0, false, std::move(made.second)});
  self->pump(1 - side);
  auto outcome = co_await std::move(made.first);
  co_return outcome;
}

void SimConnection::shut_down(int side) {
  Direction& to = directions_[static_cast<std::size_t>(1 - side)];
  if (to.shut || reset_ || closed_[static_cast<std::size_t>(side)]) return;
  to.shut = true;
  to.writes.push_back(Write{"", 0, true, {}});
  pump(1 - side);
}

void SimConnection::close(int side) {
  const auto own = static_cast<std::size_t>(side);
  if (closed_[own]) return;
  closed_[own] = true;
  directions_[own].readable.wake_all();
  Direction& to = directions_[1 - own];
  // An end that was asked for and is not under way yet still comes.
  bool owes_end = !to.shut;
  for (Write& write : std::exchange(to.writes, {})) {
    owes_end = owes_end || write.is_end;
    write.done.resolve(Err(Code::closed, "write: the stream was closed"));
  }
  if (reset_ || closed_[1 - own]) return;
  if (owes_end) {
    to.shut = true;
    to.writes.push_back(Write{"", 0, true, {}});
    pump(1 - side);
  }
  // Once the peer's kernel hears of it, the peer's writes fail.
  const Duration latency(random_.between(faults_.latency_min.count(), faults_.latency_max.count()));
  poller_.after(latency, "net.closed", [self = shared_from_this(), own] {
    Direction& dead = self->directions_[own];
    dead.shut = true;
    for (Write& write : std::exchange(dead.writes, {})) {
      write.done.resolve(Err(Code::closed, "write: broken pipe"));
    }
  });
}

void SimConnection::reset() {
  reset_ = true;
  for (Direction& direction : directions_) {
    direction.arrived.clear();
    direction.readable.wake_all();
    for (Write& write : std::exchange(direction.writes, {})) {
      write.done.resolve(Err(Code::closed, "write: connection reset by peer"));
    }
  }
}

// Sends what the window lets through, cut anywhere.
void SimConnection::pump(int reader) {
  Direction& to = directions_[static_cast<std::size_t>(reader)];
  while (!to.writes.empty() && !reset_) {
    Write& write = to.writes.front();
    const std::size_t used = to.under_way + to.arrived.size();
    const std::size_t left = write.bytes.size() - write.sent;
    if (left > 0 && used >= window_) return;
    const std::size_t most = std::min({left, window_ - std::min(used, window_), faults_.chunk_max});
    const auto count =
        most == 0 ? 0
                  : static_cast<std::size_t>(random_.between(1, static_cast<std::int64_t>(most)));
    std::string chunk = write.bytes.substr(write.sent, count);
    write.sent += count;
    to.under_way += count;
    Duration latency(random_.between(faults_.latency_min.count(), faults_.latency_max.count()));
    if (random_.chance(faults_.stall))
      latency += std::chrono::milliseconds(random_.between(1000, 60'000));
    // Never before what was sent earlier.
    to.last_arrival = std::max(to.last_arrival, poller_.now() + latency);
    const bool is_end = write.is_end;
    poller_.after(to.last_arrival - poller_.now(), is_end ? "net.end" : "net.data",
                  [self = shared_from_this(), reader, is_end, bytes = std::move(chunk)]() mutable {
                    self->arrive(reader, std::move(bytes), is_end);
                  });
    if (write.sent < write.bytes.size()) continue;
    auto done = std::move(write.done);
    to.writes.pop_front();
    done.resolve(Result<void>());
  }
}

void SimConnection::arrive(int reader, std::string bytes, bool is_end) {
  Direction& to = directions_[static_cast<std::size_t>(reader)];
  poller_.trace().add(bytes);
  to.under_way -= bytes.size();
  if (reset_) return;
  if (random_.chance(faults_.reset)) {
    reset();
    return;
  }
  if (closed_[static_cast<std::size_t>(reader)]) return;
  to.arrived += bytes;
  to.ended = to.ended || is_end;
  to.readable.wake_all();
}

// ---- SimNetwork
// -----------------------------------------------------------------------------------

struct SimNetwork::Waiting {
  std::deque<std::unique_ptr<io::Stream>> streams;
  Waiters acceptable;
  bool closed = false;
};

class SimNetwork::SimListener final : public io::Listener {
 public:
  SimListener(SimNetwork& network, std::string address, std::shared_ptr<Waiting> waiting)
      : network_(network), address_(std::move(address)), waiting_(std::move(waiting)) {}
  ~SimListener() override {
    waiting_->closed = true;
    waiting_->streams.clear();
    waiting_->acceptable.wake_all();
    network_.listeners_.erase(address_);
  }
  SimListener(const SimListener&) = delete;
  SimListener& operator=(const SimListener&) = delete;
  Task<Result<std::unique_ptr<io::Stream>>> accept() override { return accept_from(waiting_); }
  [[nodiscard]] std::string address() const override { return address_; }

 private:
  static Task<Result<std::unique_ptr<io::Stream>>> accept_from(std::shared_ptr<Waiting> waiting) {
    while (waiting->streams.empty() && !waiting->closed) co_await waiting->acceptable.wait();
    if (waiting->closed) co_return Err(Code::closed, "accept: the listener was closed");
    auto stream = std::move(waiting->streams.front());
    waiting->streams.pop_front();
    co_return std::move(stream);
  }

  SimNetwork& network_;
  std::string address_;
  std::shared_ptr<Waiting> waiting_;
};

std::shared_ptr<SimConnection> SimNetwork::make(const Faults& faults) {
  return std::make_shared<SimConnection>(poller_, random_.fork(), faults, open_ends_);
}

std::pair<std::unique_ptr<io::Stream>, std::unique_ptr<io::Stream>> SimNetwork::pair() {
  const auto connection = make(faults_);
  return {SimConnection::end(connection, 0), SimConnection::end(connection, 1)};
}

std::pair<std::unique_ptr<io::Stream>, std::unique_ptr<io::Stream>> SimNetwork::pipe() {
  Faults calm = faults_;
  calm.reset = 0;
  calm.stall = 0;
  const auto connection = make(calm);
  return {SimConnection::end(connection, 0), SimConnection::end(connection, 1)};
}

Task<Result<std::unique_ptr<io::Stream>>> SimNetwork::connect(std::string address) {
  auto parsed = io::parse_address(address);
  if (!parsed) co_return Err(std::move(parsed).error());
  const std::string to = io::to_string(*parsed);
  auto made = make_pending<Result<std::unique_ptr<io::Stream>>>();
  const Duration latency(random_.between(faults_.latency_min.count(), faults_.latency_max.count()));
  const bool refused = random_.chance(faults_.refuse);
  // Copyable, as std::function asks for it; resolved once.
  auto resolver =
      std::make_shared<Resolver<Result<std::unique_ptr<io::Stream>>>>(std::move(made.second));
  poller_.after(latency, "net.connect", [this, to, refused, resolver] {
    const auto at = listeners_.find(to);
    if (refused || at == listeners_.end() || at->second->streams.size() >= backlog_max) {
      resolver->resolve(Err(Code::unavailable, "connect to " + to + ": connection refused"));
      return;
    }
    auto ends = pair();
    at->second->streams.push_back(std::move(ends.second));
    at->second->acceptable.wake_one();
    resolver->resolve(std::move(ends.first));
  });
  auto stream = co_await std::move(made.first);
  co_return std::move(stream);
}

Result<std::unique_ptr<io::Listener>> SimNetwork::listen(const std::string& address) {
  io::Address parsed = TRY(io::parse_address(address));
  if (parsed.path.empty() && parsed.port == 0) parsed.port = next_port_++;
  const std::string where = io::to_string(parsed);
  auto waiting = std::make_shared<Waiting>();
  if (!listeners_.emplace(where, waiting).second) {
    return Err(Code::conflict, "listen on " + where + ": address already in use");
  }
  return std::make_unique<SimListener>(*this, where, std::move(waiting));
}

Result<std::unique_ptr<io::Stream>> SimNetwork::adopt(int /*descriptor*/) {
  return Err(Code::unsupported, "adopt a descriptor: there are none in a simulated world");
}

}  // namespace ambit::sim
