#include "async/loop.h"

#include "async/check.h"

#include <algorithm>

namespace ambit {
namespace {

thread_local Loop* current_loop = nullptr;
// Ready events run between two looks at the outside, so that a busy loop still hears its I/O.
constexpr int events_between_polls = 512;
constexpr int steps_in_front_max = 256;

}  // namespace

void Event::arm() {
  if (loop_ != nullptr) return;
  loop_ = &Loop::current();
  Loop::Queue& queue = loop_->queue_of(*this);
  previous_ = queue.tail;
  next_ = nullptr;
  (queue.tail != nullptr ? queue.tail->next_ : queue.head) = this;
  queue.tail = this;
}

void Event::arm_next() {
  if (loop_ != nullptr) return;
  Loop& loop = Loop::current();
  if (++loop.steps_ > steps_in_front_max) {
    loop.steps_ = 0;
    arm();
    return;
  }
  loop_ = &loop;
  Loop::Queue& queue = loop.queue_of(*this);
  previous_ = nullptr;
  next_ = queue.head;
  (queue.head != nullptr ? queue.head->previous_ : queue.tail) = this;
  queue.head = this;
}

void Event::disarm() {
  if (loop_ == nullptr) return;
  Loop::Queue& queue = loop_->queue_of(*this);
  (previous_ != nullptr ? previous_->next_ : queue.head) = next_;
  (next_ != nullptr ? next_->previous_ : queue.tail) = previous_;
  loop_ = nullptr;
}

Loop::Loop(Poller& poller) : poller_(poller), outer_(current_loop), now_(poller.now()) {
  current_loop = this;
}

Loop::~Loop() {
  for (Queue& queue : ready_) {
    while (queue.head != nullptr) queue.head->disarm();
  }
  current_loop = outer_;
}

Loop& Loop::current() {
  INVARIANT(current_loop != nullptr);
  return *current_loop;
}

void Loop::run() {
  run_until([] { return false; });
}

bool Loop::run_until(const std::function<bool()>& done) {
  stopped_ = false;
  while (!done()) {
    run_ready();
    // What has just run may have been the last thing waited for: the outside might never say a
    // word.
    if (stopped_ || done()) break;
    if (!look_outside()) break;
  }
  return done();
}

// What the outside has for us; waits for it if nothing is ready. False: nothing can happen any
// more.
bool Loop::look_outside() {
  if (!is_idle()) {
    poller_.poll();
    now_ = poller_.now();
    run_posted();
    run_timers();
    return true;
  }
  std::optional<Duration> timeout;
  if (!timers_.empty()) {
    const Duration left = timers_.begin()->first.first - poller_.now();
    timeout = left > Duration::zero() ? left : Duration::zero();
  }
  {
    const std::lock_guard lock(posted_mutex_);
    if (!posted_.empty()) timeout = Duration::zero();
  }
  const bool alive = poller_.wait(timeout);
  now_ = poller_.now();
  run_posted();
  run_timers();
  return alive || !is_idle() || !timers_.empty();
}

bool Loop::is_idle() const {
  return std::all_of(ready_.begin(), ready_.end(),
                     [](const Queue& queue) { return queue.head == nullptr; });
}

void Loop::run_ready() {
  for (int count = 0; count < events_between_polls && !stopped_; ++count) {
    const std::size_t at = turns_.next([this](std::size_t i) { return ready_[i].head == nullptr; });
    if (at == latency_classes) break;
    Event* event = ready_[at].head;
    event->disarm();
    running_ = event->urgency();
    event->fire();
  }
  running_ = Urgency();
}

void Loop::run_timers() {
  while (!timers_.empty() && timers_.begin()->first.first <= now_) {
    Timer* timer = timers_.begin()->second;
    timers_.erase(timers_.begin());
    timer->pending_ = false;
    timer->event_.arm();
  }
}

void Loop::run_posted() {
  std::vector<std::function<void()>> work;
  {
    const std::lock_guard lock(posted_mutex_);
    work.swap(posted_);
  }
  for (auto& item : work) item();
}

void Loop::post_from_thread(std::function<void()> work) {
  {
    const std::lock_guard lock(posted_mutex_);
    posted_.push_back(std::move(work));
  }
  poller_.wake();
}

Timer::Timer(Event& event, Duration delay) : loop_(Loop::current()), event_(event) {
  // A delay beyond the clock's reach (a "never") must not wrap round to the past.
  const Instant now = loop_.poller_.now();
  const Instant when = delay > Instant::max() - now ? Instant::max() : now + delay;
  key_ = {when, loop_.timer_sequence_++};
  loop_.timers_.emplace(key_, this);
}

Timer::~Timer() {
  if (pending_) loop_.timers_.erase(key_);
}

}  // namespace ambit
