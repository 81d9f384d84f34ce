#pragma once

// SimPoller: the outside of a simulated run. Its clock stands still while there is something to do
// and jumps to the next deadline when there is not; what will happen lies in a queue by time.
// Everything that it delivers goes into the trace.

#include "async/loop.h"
#include "trace.h"

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string_view>
#include <utility>

namespace ambit::sim {

class SimPoller final : public Poller {
 public:
  Instant now() override { return now_; }
  void poll() override { deliver(); }
  bool wait(std::optional<Duration> timeout) override {
    if (queue_.empty() && !timeout) return false;
    Instant next = timeout ? now_ + *timeout : queue_.begin()->first.first;
    if (!queue_.empty()) next = std::min(next, queue_.begin()->first.first);
    now_ = std::max(now_, next);
    trace_.add(static_cast<std::uint64_t>(now_.count()));
    deliver();
    return true;
  }
  void wake() override {}

  // Does `action` once `delay` has passed; things of one instant in the order in which they were
  // asked for. `name` must be a literal.
  void after(Duration delay, std::string_view name, std::function<void()> action) {
    queue_.emplace(std::pair(now_ + delay, sequence_++), Happening{name, std::move(action)});
  }
  Trace& trace() { return trace_; }
  [[nodiscard]] std::uint64_t delivered() const { return delivered_; }

 private:
  struct Happening {
    std::string_view name;
    std::function<void()> action;
  };

  void deliver() {
    while (!queue_.empty() && queue_.begin()->first.first <= now_) {
      const auto node = queue_.extract(queue_.begin());
      trace_.add(static_cast<std::uint64_t>(node.key().first.count()));
      trace_.add(node.mapped().name);
      ++delivered_;
      node.mapped().action();
    }
  }

  Instant now_{};
  std::uint64_t sequence_ = 0;
  std::uint64_t delivered_ = 0;
  std::map<std::pair<Instant, std::uint64_t>, Happening> queue_;
  Trace trace_;
};

}  // namespace ambit::sim
