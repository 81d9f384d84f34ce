#include "inference/cuda/residency.h"

#include <algorithm>
#include <utility>

namespace ambit::inference::cuda {

namespace {

constexpr double first_bytes_per_s = 2e10;  // of coming, until it was measured
constexpr std::size_t passed_max = 2;       // so often others may come before one who waits

}  // namespace

std::shared_ptr<Residency> Residencies::of(unsigned device) {
  const std::lock_guard lock(mutex_);
  std::shared_ptr<Residency>& found = devices_[device];
  if (found == nullptr) found = std::make_shared<Residency>(clock_us_);
  return found;
}

std::unique_ptr<Residency::Place> Residency::join(std::shared_ptr<Residency> residency,
                                                  std::size_t free_bytes, bool parks) {
  constexpr std::size_t kept_of = 32;  // recorded steps, the driver's own, and borders of pieces
  Residency& all = *residency;
  Lock lock(all.mutex_);
  all.changed_.wait(lock, [&] {
    return !all.is_moving_ && std::none_of(all.places_.begin(), all.places_.end(),
                                           [](const Place* place) { return place->is_loading_; });
  });
  if (all.capacity_ == 0) all.capacity_ = free_bytes - free_bytes / kept_of;
  auto made = std::unique_ptr<Place>(new Place(std::move(residency), parks));
  all.places_.push_back(made.get());
  return made;
}

// ---- what fits

std::size_t Residency::resident() const {
  std::size_t bytes = 0;
  for (const Place* place : places_) bytes += place->is_here_ ? place->weights_ : 0;
  return bytes;
}

std::size_t Residency::lacking(std::size_t bytes) const {
  const std::size_t needed = booked_ + resident() + bytes;
  return needed - std::min(needed, capacity_);
}

std::size_t Residency::taken_for_good(const Place& place) const {
  std::size_t bytes = booked_;
  for (const Place* other : places_)
    if (other != &place && !other->parks_) bytes += other->weights_;
  return bytes;
}

bool Residency::is_shared() const {
  std::size_t bytes = booked_;
  for (const Place* place : places_) bytes += place->weights_;
  return bytes > capacity_;
}

bool Residency::can_leave(const Place& place) const {
  return place.is_here_ && place.parks_ && !place.holds_ && !place.is_loading_;
}

std::vector<Residency::Place*> Residency::victims(const Place& place, std::size_t bytes) const {
  std::vector<Place*> found;
  for (Place* other : places_)
    if (other != &place && can_leave(*other)) found.push_back(other);
  // Whoever waits for a step itself goes last.
  std::sort(found.begin(), found.end(), [](const Place* one, const Place* other) {
    return std::pair(one->ticket_ != 0, one->used_) < std::pair(other->ticket_ != 0, other->used_);
  });
  std::size_t freed = 0;
  std::size_t count = 0;
  for (; count < found.size() && freed < bytes; ++count) freed += found[count]->weights_;
  if (freed < bytes) return {};
  found.resize(count);
  // The ones that turn out not to be needed stay, the most recently used first.
  for (std::size_t i = count; i > 0; --i) {
    const std::size_t without = freed - found[i - 1]->weights_;
    if (without < bytes) continue;
    freed = without;
    found.erase(found.begin() + static_cast<std::ptrdiff_t>(i - 1));
  }
  return found;
}

Error Residency::no_room(const Place& place, std::size_t bytes) const {
  return {Code::exhausted, "the GPU has no room for " + std::to_string(bytes) +
                               " bytes more of this model: of the " + std::to_string(capacity_) +
                               " that models can have there, " +
                               std::to_string(taken_for_good(place)) +
                               " are buffers and kvCache.memory of all models on it, and the "
                               "weights of the largest must fit beside them"};
}

// ---- who comes, who goes

Residency::Place* Residency::next() const {
  const auto comes_before = [](const Place& one, const Place& other) {
    const bool one_was_passed = one.passed_ >= passed_max;
    const bool other_was_passed = other.passed_ >= passed_max;
    if (one_was_passed != other_was_passed) return one_was_passed;
    if (!one_was_passed && one.priority_ != other.priority_) return one.priority_ > other.priority_;
    return one.ticket_ < other.ticket_;
  };
  Place* first = nullptr;
  for (Place* place : places_)
    if (place->ticket_ != 0 && (first == nullptr || comes_before(*place, *first))) first = place;
  return first;
}

bool Residency::stands_in_the_way(const Place& place) const {
  const Place* first = next();
  if (first == nullptr || first == &place || !place.parks_) return false;
  const bool is_there = first->is_here_ && !first->is_loading_;
  const std::size_t needed = is_there ? 0 : lacking(first->wanted_);
  std::size_t at_rest = 0;
  for (const Place* other : places_)
    if (other != first && other != &place && can_leave(*other)) at_rest += other->weights_;
  return at_rest < needed;
}

void Residency::line_up(Place& place, std::size_t bytes) {
  place.wanted_ = bytes;
  if (place.ticket_ != 0) return;
  place.ticket_ = ++tickets_;
  place.passed_ = 0;
  place.lined_up_us_ = now();
}

void Residency::changed() {
  changed_.notify_all();
  for (const Place* place : places_)
    if (place->ticket_ != 0 && place->wake_) place->wake_();
}

void Residency::end_move() {
  is_moving_ = false;
  changed();
}

Result<void> Residency::park(Lock& lock, const std::vector<Place*>& places) {
  for (Place* place : places) {
    lock.unlock();
    auto copied = place->arena_->keep_copy();
    if (copied) place->arena_->leave();
    lock.lock();
    if (!copied) return copied;
    place->is_here_ = false;
  }
  return {};
}

Result<void> Residency::bring(Lock& lock, Place& place) {
  if (const std::size_t bytes = lacking(place.weights_); bytes > 0)
    TRY(park(lock, victims(place, bytes)));
  for (;;) {
    lock.unlock();
    auto came = place.arena_->come();
    lock.lock();
    if (came) {
      place.is_here_ = true;
      return {};
    }
    // Somebody outside of this process has taken what was free: others make room for that, too.
    const auto more =
        came.error().code == Code::exhausted ? victims(place, 1) : std::vector<Place*>();
    if (more.empty()) return came;
    TRY(park(lock, more));
  }
}

Result<void> Residency::wait_for_room(Lock& lock, Place& place, std::size_t bytes) {
  Result<void> parked;
  for (;;) {
    changed_.wait(lock, [this] { return !is_moving_; });
    if (lacking(bytes) == 0 || !parked) break;
    line_up(place, bytes);
    const auto others = next() == &place ? victims(place, lacking(bytes)) : std::vector<Place*>();
    if (others.empty()) {
      changed_.wait(lock);
      continue;
    }
    is_moving_ = true;
    parked = park(lock, others);
    end_move();
  }
  if (std::exchange(place.ticket_, 0) != 0) changed();
  return parked;
}

// ---- a model's place

Residency::Place::~Place() {
  close();
  const Lock lock(residency_->mutex_);
  residency_->booked_ -= booked_;
  std::erase(residency_->places_, this);
  residency_->changed();
}

void Residency::Place::close() {
  Residency& all = *residency_;
  Lock lock(all.mutex_);
  all.changed_.wait(lock, [&] { return !all.is_moving_; });
  parks_ = false;
  ticket_ = 0;
  wake_ = nullptr;
}

Result<void> Residency::Place::book(std::size_t bytes) {
  Residency& all = *residency_;
  Lock lock(all.mutex_);
  for (const Place* place : all.places_)
    if (all.taken_for_good(*place) + place->weights_ + bytes > all.capacity_)
      return Err(all.no_room(*this, bytes));
  TRY(all.wait_for_room(lock, *this, bytes));
  all.booked_ += bytes;
  booked_ += bytes;
  return {};
}

Result<void> Residency::Place::book_weights(std::size_t bytes) {
  Residency& all = *residency_;
  Lock lock(all.mutex_);
  for (const Place* place : all.places_) {
    const std::size_t more = place == this || !parks_ ? bytes : 0;
    if (all.taken_for_good(*place) + place->weights_ + more > all.capacity_)
      return Err(all.no_room(*this, bytes));
  }
  TRY(all.wait_for_room(lock, *this, bytes));
  weights_ += bytes;
  return {};
}

Result<bool> Residency::Place::settle(Arena* arena) {
  Residency& all = *residency_;
  Lock lock(all.mutex_);
  arena_ = arena;
  Result<void> copied;
  if (all.is_shared()) {
    all.changed_.wait(lock, [&] { return !all.is_moving_; });
    all.is_moving_ = true;
    // Nobody comes to be loaded, or goes, meanwhile.
    for (std::size_t i = 0; i < all.places_.size() && copied; ++i) {
      Place& place = *all.places_[i];
      if (!place.parks_ || place.arena_ == nullptr || !place.is_here_) continue;
      lock.unlock();
      copied = place.arena_->keep_copy();
      lock.lock();
    }
    all.end_move();
  }
  if (!copied) return Err(std::move(copied).error());
  is_loading_ = false;
  used_ = ++all.uses_;
  all.changed();
  return all.is_shared() && !std::exchange(all.was_told_, true);
}

void Residency::Place::set_wake(std::function<void()> wake) {
  const Lock lock(residency_->mutex_);
  wake_ = std::move(wake);
}

void Residency::Place::take_hold() {
  holds_ = true;
  ticket_ = 0;
  entered_us_ = residency_->now();
}

Result<bool> Residency::Place::enter(int priority) {
  Residency& all = *residency_;
  Lock lock(all.mutex_);
  const bool falls_back = ticket_ != 0 && priority < priority_;
  priority_ = priority;
  if (holds_) return true;
  if (is_here_ && !all.is_moving_ && !all.stands_in_the_way(*this)) {
    const bool waited = ticket_ != 0;
    take_hold();
    if (waited) all.changed();  // somebody else is the next
    return true;
  }
  if (falls_back) all.changed();
  all.line_up(*this, weights_);
  if (all.is_moving_ || is_here_ || all.next() != this) return false;
  if (const std::size_t bytes = all.lacking(weights_);
      bytes > 0 && all.victims(*this, bytes).empty())
    return false;
  all.is_moving_ = true;
  const std::int64_t begun_us = all.now();
  const auto came = all.bring(lock, *this);
  if (!came) {
    ticket_ = 0;
    all.end_move();
    return Err(came.error());
  }
  for (Place* other : all.places_)
    if (other != this && other->ticket_ != 0) ++other->passed_;
  take_hold();
  came_in_us_ = entered_us_ - begun_us;
  ++stats_.swaps;
  stats_.swapped_bytes += weights_;
  stats_.swap_us += came_in_us_;
  all.end_move();
  return true;
}

std::int64_t Residency::Place::slice_us() const {
  const std::int64_t swap_us =
      came_in_us_ > 0
          ? came_in_us_
          : static_cast<std::int64_t>(static_cast<double>(weights_) / first_bytes_per_s * 1e6);
  return slice_of_swap * swap_us;
}

bool Residency::Place::must_yield() {
  Residency& all = *residency_;
  const Lock lock(all.mutex_);
  if (!holds_ || all.is_moving_ || !all.stands_in_the_way(*this)) return false;
  // Whoever is less urgent waits for a slice of its own waiting.
  const Place& first = *all.next();
  const std::int64_t from_us =
      first.priority_ < priority_ ? std::max(entered_us_, first.lined_up_us_) : entered_us_;
  return all.now() - from_us >= slice_us();
}

void Residency::Place::rest(bool yields) {
  Residency& all = *residency_;
  const Lock lock(all.mutex_);
  if (!holds_ && ticket_ == 0) return;
  if (yields) ++stats_.yields;
  holds_ = false;
  ticket_ = 0;
  used_ = ++all.uses_;
  all.changed();
}

void Residency::Place::expect() {
  const Lock lock(residency_->mutex_);
  used_ = ++residency_->uses_;
}

Residency::Stats Residency::Place::stats() const {
  const Lock lock(residency_->mutex_);
  Stats stats = stats_;
  stats.is_shared = residency_->is_shared();
  stats.booked_bytes = booked_;
  stats.weight_bytes = weights_;
  return stats;
}

}  // namespace ambit::inference::cuda
