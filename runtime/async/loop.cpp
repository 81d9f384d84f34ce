#include "async/loop.h"

#include "async/check.h"

namespace ambit {
namespace {

thread_local Loop* current_loop = nullptr;
// Ready events run between two looks at the outside, so that a busy loop still hears its I/O.
constexpr int events_between_polls = 512;

}  // namespace

void Event::arm() {
  if (loop_ != nullptr) return;
  Loop& loop = Loop::current();
  loop_ = &loop;
  previous_ = loop.tail_;
  next_ = nullptr;
  (loop.tail_ != nullptr ? loop.tail_->next_ : loop.head_) = this;
  loop.tail_ = this;
}

void Event::disarm() {
  if (loop_ == nullptr) return;
  (previous_ != nullptr ? previous_->next_ : loop_->head_) = next_;
  (next_ != nullptr ? next_->previous_ : loop_->tail_) = previous_;
  loop_ = nullptr;
}

Loop::Loop(Poller& poller) : poller_(poller), outer_(current_loop), now_(poller.now()) {
  current_loop = this;
}

Loop::~Loop() {
  while (head_ != nullptr) head_->disarm();
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
  if (head_ != nullptr) {
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
  return alive || head_ != nullptr || !timers_.empty();
}

void Loop::run_ready() {
  for (int count = 0; count < events_between_polls && head_ != nullptr && !stopped_; ++count) {
    Event* event = head_;
    event->disarm();
    event->fire();
  }
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
