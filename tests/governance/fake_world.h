#pragma once

// A world without an operating system, for what needs only time, randomness and workers: the clock
// stands until it is told to go on, random bytes come from a counter, work runs at once on the
// loop's thread.

#include "../runtime/async/fake_poller.h"
#include "io/world.h"

namespace ambit::log {

class FakeWorld final : io::Clock, io::Network, io::Processes, io::Workers, io::Entropy {
 public:
  io::World& world() { return world_; }
  Loop& loop() { return loop_; }
  std::int64_t now_ns = 1'795'219'200'000'000'000;  // 2026-11-21T00:00:00Z
  std::size_t jobs = 0;

 private:
  std::int64_t unix_ns() override { return now_ns; }
  void fill(std::span<std::uint8_t> bytes) override {
    for (std::uint8_t& byte : bytes) {
      state_ = state_ * 6364136223846793005ULL + 1442695040888963407ULL;
      byte = static_cast<std::uint8_t>(state_ >> 56);
    }
  }
  Task<void> run(std::function<void()> work) override {
    ++jobs;
    co_await delay(Duration(1000));
    work();
  }
  Task<Result<std::unique_ptr<io::Stream>>> connect(std::string) override {
    co_return Err(Code::unsupported, "no network here");
  }
  Result<std::unique_ptr<io::Listener>> listen(const std::string&) override {
    return Err(Code::unsupported, "no network here");
  }
  Result<std::unique_ptr<io::Stream>> adopt(int) override {
    return Err(Code::unsupported, "no network here");
  }
  Result<std::unique_ptr<io::Process>> spawn(io::ProcessOptions) override {
    return Err(Code::unsupported, "no processes here");
  }

  std::uint64_t state_ = 1;
  FakePoller poller_;
  Loop loop_{poller_};
  io::World world_{loop_, *this, *this, *this, *this, *this};
};

}  // namespace ambit::log
