#pragma once

// Event: an intrusive node that the loop can run once it is armed. Everything that happens on the
// loop (a task going on, a timer, a race decided) is one. Destroying an armed event withdraws it.

#include <array>
#include <cstddef>
#include <cstdint>

namespace ambit {

class Loop;

// Who goes first where more is ready than can run at once. For `interactive` a person waits, for
// `batch` nobody. A task hands its class on to what it calls and starts (task.h), so that every
// queue on its way knows it: the loop's, and whoever waits for a place (waiters.h).
enum class LatencyClass : std::uint8_t { interactive, normal, batch };
inline constexpr std::size_t latency_classes = 3;

// The class, and within it by when: whoever waits for a place with an earlier deadline gets it
// first. It is handed on in the same way. In whole seconds of the loop's time: what is due in the
// same second goes in the order in which it came.
struct Urgency {
  LatencyClass latency = LatencyClass::normal;
  std::int32_t due_s = never_s;
  static constexpr std::int32_t never_s = INT32_MAX;
  friend bool operator==(const Urgency&, const Urgency&) = default;
};

// Which of the queues of the three classes is next: the most urgent one, and once in a while the
// least urgent one, so that nobody starves.
class Turns {
 public:
  // `empty(i)` says it of the queue i; latency_classes: all are.
  template <class Empty>
  std::size_t next(Empty empty) {
    const bool least_first = ++count_ % turns_between == 0;
    for (std::size_t i = 0; i < latency_classes; ++i) {
      const std::size_t at = least_first ? latency_classes - 1 - i : i;
      if (!empty(at)) return at;
    }
    return latency_classes;
  }

 private:
  static constexpr unsigned turns_between = 32;
  unsigned count_ = 0;
};

class Event {
 public:
  Event() = default;
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;

  virtual ~Event() { disarm(); }

  // Puts the event at the end of the current loop's ready queue; nothing if it is there already.
  void arm();
  // Puts it in front: it is the next step of what runs now, whose memory is still at hand. Once in
  // a while such a step goes to the end all the same, so that nobody starves.
  void arm_next();
  [[nodiscard]] bool armed() const { return loop_ != nullptr; }
  [[nodiscard]] LatencyClass latency() const { return latency_; }
  [[nodiscard]] Urgency urgency() const { return {latency_, due_s_}; }
  // Not while it is armed.
  void set_urgency(const Urgency& urgency) {
    due_s_ = urgency.due_s;
    latency_ = urgency.latency;
  }

 protected:
  void disarm();

 private:
  friend class Loop;
  virtual void fire() = 0;

  Loop* loop_ = nullptr;
  Event* previous_ = nullptr;
  Event* next_ = nullptr;
  // An Urgency, in such an order that what is derived from this has room for its flags behind it.
  std::int32_t due_s_ = Urgency::never_s;
  LatencyClass latency_ = LatencyClass::normal;
};

}  // namespace ambit
