#pragma once

// Event: an intrusive node that the loop can run once it is armed. Everything that happens on the
// loop (a task going on, a timer, a race decided) is one. Destroying an armed event withdraws it.

namespace ambit {

class Loop;

class Event {
 public:
  Event() = default;
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;

  virtual ~Event() { disarm(); }

  // Puts the event at the end of the current loop's ready queue; nothing if it is there already.
  void arm();
  [[nodiscard]] bool armed() const { return loop_ != nullptr; }

 protected:
  void disarm();

 private:
  friend class Loop;
  virtual void fire() = 0;

  Loop* loop_ = nullptr;
  Event* previous_ = nullptr;
  Event* next_ = nullptr;
};

}  // namespace ambit
