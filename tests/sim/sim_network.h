#pragma once

// A network in memory. Bytes take their time, arrive in pieces cut anywhere, in order within one
// connection and in no order between two; a connection may stall or be reset. A write ends when its
// bytes are under way (the window is full otherwise), and goes on without its awaiter, as with a
// real kernel.

#include "async/pending.h"
#include "async/waiters.h"
#include "faults.h"
#include "io/world.h"
#include "sim_poller.h"

#include <array>
#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <string>

namespace ambit::sim {

// Two ends and what is between them. Shared by both ends, by tasks, and by what is still under way.
class SimConnection : public std::enable_shared_from_this<SimConnection> {
 public:
  SimConnection(SimPoller& poller, Random random, Faults faults, int& open_ends);
  SimConnection(const SimConnection&) = delete;
  SimConnection& operator=(const SimConnection&) = delete;

  // One end; each of the two is asked for once.
  static std::unique_ptr<io::Stream> end(const std::shared_ptr<SimConnection>& connection,
                                         int side);

 private:
  class End;
  struct Write {
    std::string bytes;
    std::size_t sent = 0;
    bool is_end = false;
    Resolver<Result<void>> done;
  };
  // One direction, named for the side that reads from it.
  struct Direction {
    std::deque<Write> writes;  // not under way yet
    std::size_t under_way = 0;
    std::string arrived;
    bool ended = false;  // the end has arrived
    bool shut = false;   // the writer has ended it
    Instant last_arrival{};
    Waiters readable;
  };

  static Task<Result<std::string>> read(std::shared_ptr<SimConnection> self, int side,
                                        std::size_t max);
  static Task<Result<void>> write(std::shared_ptr<SimConnection> self, int side, std::string bytes);
  void shut_down(int side);
  void close(int side);
  void reset();
  void pump(int reader);
  void arrive(int reader, std::string bytes, bool is_end);

  SimPoller& poller_;
  Random random_;
  Faults faults_;
  int& open_ends_;
  std::size_t window_;
  std::array<Direction, 2> directions_;
  std::array<bool, 2> closed_ = {false, false};
  bool reset_ = false;
};

class SimNetwork final : public io::Network {
 public:
  SimNetwork(SimPoller& poller, Random random, Faults faults)
      : poller_(poller), random_(random), faults_(faults) {}
  Task<Result<std::unique_ptr<io::Stream>>> connect(std::string address) override;
  Result<std::unique_ptr<io::Listener>> listen(const std::string& address) override;
  // There are no descriptors here.
  Result<std::unique_ptr<io::Stream>> adopt(int descriptor) override;

  // A connection with nobody between: for pipes, and for tests that need both ends.
  std::pair<std::unique_ptr<io::Stream>, std::unique_ptr<io::Stream>> pair();
  // Without resets: a pipe to a process breaks only when one side goes.
  std::pair<std::unique_ptr<io::Stream>, std::unique_ptr<io::Stream>> pipe();
  [[nodiscard]] int open_ends() const { return open_ends_; }

 private:
  struct Waiting;
  class SimListener;

  std::shared_ptr<SimConnection> make(const Faults& faults);

  SimPoller& poller_;
  Random random_;
  Faults faults_;
  int open_ends_ = 0;
  std::map<std::string, std::shared_ptr<Waiting>> listeners_;
  std::uint16_t next_port_ = 40'000;
};

}  // namespace ambit::sim
