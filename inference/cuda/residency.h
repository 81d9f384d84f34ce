#pragma once

// Who is on a device: the weights of several models, of which not all may fit there at once. What
// each has there for good (buffers, and all pages of keys and values that it may ever have) is
// booked when it is loaded; the weights share the rest. A model whose weights are away waits in
// pinned host memory until it has something to compute; then another one that is at rest makes
// room, whoever was used longest ago first, in as few bytes as will do. Models that do not fit
// together and all have something to do take turns: a slice is so many times what coming takes that
// moving weights costs at most a tenth of the time, and whoever waits gets the next one. Nobody is
// parked in a step. For the threads of all engines on the device: each model has a Place, which is
// for its engine's thread.

#include "async/result.h"
#include "inference/cuda/arena.h"

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace ambit::inference::cuda {

class Residency {
 public:
  class Place;
  struct Stats {
    bool is_shared = false;        // the models on the device do not fit there together
    std::size_t booked_bytes = 0;  // that this one has there for good
    std::size_t weight_bytes = 0;  // beside them, while its weights are there
    std::uint64_t swaps = 0;       // times that the weights came back
    std::uint64_t swapped_bytes = 0;
    std::int64_t swap_us = 0;  // with making room for them
    std::uint64_t yields = 0;  // slices that ended while there was more to do
  };

  // A slice takes at least so many times what coming takes.
  static constexpr std::int64_t slice_of_swap = 9;

  // `clock_us`: monotonic, for any thread; none: every slice is one step.
  explicit Residency(std::function<std::int64_t()> clock_us = {})
      : clock_us_(std::move(clock_us)) {}
  Residency(const Residency&) = delete;
  Residency& operator=(const Residency&) = delete;

  // A model begins to be loaded; waits while another one is. `free_bytes` of the device as it was
  // opened: what the first says holds, less a part that is kept for what nobody books. `parks`: its
  // weights may be taken away.
  static std::unique_ptr<Place> join(std::shared_ptr<Residency> residency, std::size_t free_bytes,
                                     bool parks);

 private:
  using Lock = std::unique_lock<std::mutex>;

  [[nodiscard]] std::int64_t now() const { return clock_us_ ? clock_us_() : 0; }
  // Of the weights that are on the device.
  [[nodiscard]] std::size_t resident() const;
  // What must leave before so many bytes more fit.
  [[nodiscard]] std::size_t lacking(std::size_t bytes) const;
  // What of the device can never be had by the weights of `place`.
  [[nodiscard]] std::size_t taken_for_good(const Place& place) const;
  [[nodiscard]] bool is_shared() const;
  [[nodiscard]] bool can_leave(const Place& place) const;
  // Who goes so that `place` gets so many bytes; empty: not enough is at rest.
  [[nodiscard]] std::vector<Place*> victims(const Place& place, std::size_t bytes) const;
  // Who waits and comes next; null: nobody waits.
  [[nodiscard]] Place* next() const;
  // Whether whoever comes next needs the room of `place`.
  [[nodiscard]] bool stands_in_the_way(const Place& place) const;
  [[nodiscard]] Error no_room(const Place& place, std::size_t bytes) const;
  // With is_moving_: unlocks while it copies.
  Result<void> park(Lock& lock, const std::vector<Place*>& places);
  Result<void> bring(Lock& lock, Place& place);
  Result<void> wait_for_room(Lock& lock, Place& place, std::size_t bytes);
  void line_up(Place& place, std::size_t bytes);
  // Tells everybody who waits.
  void changed();
  void end_move();

  const std::function<std::int64_t()> clock_us_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::size_t capacity_ = 0;
  std::size_t booked_ = 0;  // for good
  std::vector<Place*> places_;
  bool is_moving_ = false;  // one thread moves weights, unlocked meanwhile
  bool was_told_ = false;
  std::uint64_t tickets_ = 0;
  std::uint64_t uses_ = 0;
};

// A model's. Dies after what it has booked has been given back to the device.
class Residency::Place {
 public:
  ~Place();
  Place(const Place&) = delete;
  Place& operator=(const Place&) = delete;

  // ---- while the model is loaded; may wait for others to end their slices

  // Bytes that it has for good. exhausted: it, or a model that is there already, would never fit.
  Result<void> book(std::size_t bytes);
  Result<void> book_weights(std::size_t bytes);
  // It is loaded: what stands in `arena` (null: its weights do not move) may be parked from now on,
  // and does not change any more. Where models do not fit together all of them get their copies in
  // host memory now; exhausted: there is no room for those. True, once for a device: they do not.
  Result<bool> settle(Arena* arena);

  // ---- for its engine

  // Told, on any thread, when enter() may have another answer.
  void set_wake(std::function<void()> wake);
  // Before a step, of turns that are so urgent: true: the weights are there, and stay until rest().
  // False: not yet; it waits in line. An error ends what is under way; it may be asked again.
  Result<bool> enter(int priority);
  // After a step: its slice is over and somebody waits for the room.
  [[nodiscard]] bool must_yield();
  // Nothing of it runs: its weights may leave. Without anything to do it waits in no line.
  void rest(bool yields);
  // It will be asked for soon.
  void expect();
  [[nodiscard]] Stats stats() const;

  // Its memory is about to be given back: nobody moves it any more.
  void close();

 private:
  friend class Residency;
  Place(std::shared_ptr<Residency> residency, bool parks)
      : residency_(std::move(residency)), parks_(parks) {}
  void take_hold();
  [[nodiscard]] std::int64_t slice_us() const;

  // All that follows is under the residency's mutex.
  const std::shared_ptr<Residency> residency_;
  bool parks_;
  Arena* arena_ = nullptr;
  std::size_t booked_ = 0;
  std::size_t weights_ = 0;
  bool is_loading_ = true;
  bool is_here_ = true;
  bool holds_ = false;        // it may be in a step
  std::uint64_t ticket_ = 0;  // of its wait; 0: it does not wait
  std::size_t wanted_ = 0;    // bytes that it waits for
  std::size_t passed_ = 0;    // so many came before it meanwhile
  int priority_ = 0;
  std::int64_t lined_up_us_ = 0;
  std::int64_t entered_us_ = 0;
  std::int64_t came_in_us_ = 0;  // what coming took the last time; 0: it never had to
  std::uint64_t used_ = 0;
  std::function<void()> wake_;
  Stats stats_;
};

// One for each device of a process, made when it is first asked for.
class Residencies {
 public:
  explicit Residencies(std::function<std::int64_t()> clock_us = {})
      : clock_us_(std::move(clock_us)) {}
  std::shared_ptr<Residency> of(unsigned device);

 private:
  const std::function<std::int64_t()> clock_us_;
  std::mutex mutex_;
  std::map<unsigned, std::shared_ptr<Residency>> devices_;
};

}  // namespace ambit::inference::cuda
