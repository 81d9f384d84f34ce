#include "inference/cuda/host_pages.h"

#include "async/check.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

namespace ambit::inference::cuda {

namespace {

constexpr std::size_t slab_bytes = std::size_t{64} << 20U;
constexpr std::size_t passing_max = 4;
constexpr std::size_t tried_of_kept = 64;  // one page of so many tries a disk that is not used

}  // namespace

Result<std::unique_ptr<HostPages>> HostPages::open(Device& device, std::size_t page_bytes,
                                                   std::size_t bytes_max,
                                                   std::unique_ptr<PageTier> disk) {
  const std::size_t frames = std::min<std::size_t>(bytes_max / page_bytes, 1U << 30U);
  if (frames < 2)
    return Err(Code::invalid, "the host tier of " + std::to_string(bytes_max) +
                                  " bytes holds fewer than 2 pages of " +
                                  std::to_string(page_bytes));
  auto made =
      std::unique_ptr<HostPages>(new HostPages(device, page_bytes, frames, std::move(disk)));
  if (!made->make_frames() || made->frames_ <= made->reserve_)
    return Err(
        Code::exhausted,
        "the machine does not give the host tier " +
            std::to_string((made->reserve_ + 1) * page_bytes) +
            " bytes of pinned memory: raise the limit of locked memory or leave out kvCache.host");
  return made;
}

HostPages::HostPages(Device& device, std::size_t page_bytes, std::size_t frames_max,
                     std::unique_ptr<PageTier> disk)
    : device_(device),
      page_bytes_(page_bytes),
      frames_max_(frames_max),
      disk_(std::move(disk)),
      reserve_(disk_ == nullptr ? 0 : std::clamp<std::size_t>(frames_max / 4, 1, passing_max)),
      copies_max_(std::clamp<std::size_t>((std::size_t{256} << 20U) / page_bytes, 4, 256)) {}

HostPages::~HostPages() {
  while (!copies_.empty()) {
    const auto ended = device_.ended_copies(true);
    if (ended.empty()) break;
    for (const Device::EndedCopy& copy : ended) copies_.erase(copy.number);
  }
  for (std::byte* slab : slabs_) device_.release_host(slab);
}

PageTier::Level HostPages::level(Tier tier) const {
  if (tier == Tier::host) return {stored_max(), framed_, written_, failed_};
  return disk_ == nullptr ? Level{} : disk_->level(tier);
}

void HostPages::use(Tier tier, bool uses) {
  if (tier == Tier::host)
    uses_host_ = uses;
  else if (disk_ != nullptr)
    disk_->use(tier, uses);
}

bool HostPages::is_worth_reading(Slot slot) const {
  const Place& place = places_[slot];
  return uses_host_ &&
         (place.frame != nullptr || (place.on_disk && disk_->is_worth_reading(*place.on_disk)));
}

// ---- slots and frames

bool HostPages::has_slot() const {
  if (!uses_disk()) return framed_ < stored_max();
  return slots_ < stored_max() + disk_->level(Tier::disk).pages_max;
}

PageTier::Slot HostPages::take_slot() {
  INVARIANT(has_slot());
  ++slots_;
  if (free_slots_.empty()) {
    places_.emplace_back();
    return narrow(places_.size() - 1);
  }
  const Slot slot = free_slots_.back();
  free_slots_.pop_back();
  return slot;
}

void HostPages::give_back(Slot slot) {
  places_[slot].is_gone = true;
  relist(slot);
  if (places_[slot].busy == 0) discard(slot);
}

void HostPages::discard(Slot slot) {
  Place& place = places_[slot];
  if (place.frame != nullptr) {
    free_.push_back(place.frame);
    --framed_;
  }
  if (place.on_disk) disk_->give_back(*place.on_disk);
  place = {};
  free_slots_.push_back(slot);
  --slots_;
}

void HostPages::relist(Slot slot) {
  const Place& place = places_[slot];
  clean_.erase({place.used, slot});
  dirty_.erase({place.used, slot});
  if (place.busy > 0 || place.is_gone || !place.is_filled) return;
  (place.on_disk ? clean_ : dirty_).insert({place.used, slot});
}

void HostPages::begin_use(Slot slot) {
  ++places_[slot].busy;
  relist(slot);
}

void HostPages::end_use(Slot slot) {
  --places_[slot].busy;
  relist(slot);
  if (places_[slot].busy == 0 && places_[slot].is_gone) discard(slot);
}

std::size_t HostPages::spare_frames() const {
  const std::size_t all = free_.size() + (frames_max_ - frames_);
  return all - std::min(all, kept_free());
}

std::size_t HostPages::kept_free() const {
  const std::size_t in_use = frames_ - framed_ - free_.size() - probes_;
  return reserve_ - std::min(reserve_, in_use);
}

bool HostPages::make_frames() {
  const std::size_t count =
      std::min(std::max<std::size_t>(slab_bytes / page_bytes_, 1), frames_max_ - frames_);
  std::byte* slab = count == 0 ? nullptr : device_.allocate_host(count * page_bytes_);
  if (slab == nullptr) {
    frames_max_ = frames_;
    return false;
  }
  slabs_.push_back(slab);
  for (std::size_t i = 0; i < count; ++i) free_.push_back(slab + (count - 1 - i) * page_bytes_);
  frames_ += count;
  return true;
}

std::byte* HostPages::pop_frame() {
  if (free_.empty()) return nullptr;
  std::byte* frame = free_.back();
  free_.pop_back();
  return frame;
}

std::byte* HostPages::take_frame() {
  // What passes must find its frames, whether more memory can be pinned or not.
  while (free_.size() <= kept_free() && frames_ < frames_max_ && make_frames()) continue;
  if (free_.size() > kept_free()) return pop_frame();
  if (clean_.empty()) return nullptr;
  const Slot oldest = clean_.begin()->second;
  Place& place = places_[oldest];
  place.is_filled = false;
  --framed_;
  relist(oldest);
  return std::exchange(place.frame, nullptr);
}

// ---- what is asked for

bool HostPages::can_write() const {
  return has_room() && (spare_frames() > 0 || !clean_.empty());
}

bool HostPages::can_read(Slot slot) const {
  const Place& place = places_[slot];
  if (place.frame != nullptr) return has_room();
  return has_room() && passing_ < reserve_ && disk_->can_read(*place.on_disk);
}

void HostPages::begin_copy(Copy copy, std::byte* to, const std::byte* from) {
  copies_.emplace(device_.begin_copy(to, from, page_bytes_), std::move(copy));
}

void HostPages::write(Slot slot, const std::byte* page, std::uint64_t ticket) {
  Copy copy;
  copy.done.ticket = ticket;
  copy.done.slot = slot;
  copy.done.tier = Tier::host;
  std::byte* frame = take_frame();
  if (frame == nullptr) {  // the machine gives less memory than was stated: the tier is smaller
    done_.push_back(std::move(copy.done));
    return;
  }
  Place& place = places_[slot];
  place.frame = frame;
  place.used = ++clock_;
  ++framed_;
  begin_use(slot);
  begin_copy(std::move(copy), frame, page);
  try_disk();
  tend();
}

void HostPages::read(Slot slot, std::uint64_t ticket) {
  begin_use(slot);
  Place& place = places_[slot];
  place.used = ++clock_;
  if (place.frame != nullptr) {
    Done done;
    done.ticket = ticket;
    done.slot = slot;
    done.what = Done::What::read;
    done.tier = Tier::host;
    done.ok = true;
    ++staged_;
    done_.push_back(std::move(done));
    return;
  }
  ++passing_;
  errands_.emplace(++last_ticket_, Errand{slot, ticket});
  disk_->read(*place.on_disk, last_ticket_);
}

bool HostPages::place(const Done& read, std::byte* page) {
  const Place& place = places_[read.slot];
  Copy copy;
  copy.done.ticket = read.ticket;
  copy.done.slot = read.slot;
  copy.done.what = Done::What::placing;
  copy.done.tier = Tier::host;
  --staged_;
  begin_copy(std::move(copy), page, place.passing != nullptr ? place.passing : place.frame);
  return false;
}

void HostPages::let_go(const Done& read) {
  Place& place = places_[read.slot];
  --staged_;
  if (place.passing != nullptr) {
    free_.push_back(std::exchange(place.passing, nullptr));
    --passing_;
  }
  end_use(read.slot);
}

bool HostPages::probe(const std::byte* page, std::uint64_t ticket) {
  if (failed_ || probes_ > 0 || !has_room() || spare_frames() == 0) return false;
  Copy copy;
  copy.done.ticket = ticket;
  copy.done.what = Done::What::probe;
  copy.done.tier = Tier::host;
  std::byte* frame = take_frame();
  if (frame == nullptr) return false;
  copy.frame = frame;
  ++probes_;
  begin_copy(std::move(copy), frame, page);
  return true;
}

void HostPages::try_disk() {
  if (disk_ == nullptr || disk_->takes_pages() || spare_frames() > 0 || dirty_.empty()) return;
  if (++untried_ < tried_of_kept) return;
  if (disk_->probe(places_[dirty_.begin()->second].frame, ++last_ticket_)) untried_ = 0;
}

void HostPages::tend() {
  if (!uses_disk()) return;
  const std::size_t wanted = std::max<std::size_t>(stored_max() / 8, 1);
  while (!dirty_.empty() && spare_frames() + clean_.size() + demotions_ < wanted &&
         disk_->has_room() && disk_->has_slot() && disk_->can_write()) {
    const Slot slot = dirty_.begin()->second;
    begin_use(slot);
    ++demotions_;
    errands_.emplace(++last_ticket_, Errand{slot, 0});
    disk_->write(disk_->take_slot(), places_[slot].frame, last_ticket_);
  }
}

// ---- what has ended

std::size_t HostPages::under_way() const {
  return copies_.size() - probes_ + (disk_ == nullptr ? 0 : disk_->under_way());
}

void HostPages::settle_copy(const Device::EndedCopy& ended) {
  const auto node = copies_.extract(ended.number);
  Copy copy = std::move(node.mapped());
  Done& done = copy.done;
  done.ok = ended.ok;
  done.took_us = ended.took_us;
  if (done.what == Done::What::probe) {
    --probes_;
    free_.push_back(copy.frame);
  } else {
    Place& place = places_[done.slot];
    if (done.what == Done::What::write) {
      place.is_filled = ended.ok;
      written_ += ended.ok ? 1 : 0;
      failed_ = failed_ || !ended.ok;
    } else if (place.passing != nullptr) {
      free_.push_back(std::exchange(place.passing, nullptr));
      --passing_;
    }
    end_use(done.slot);
  }
  done_.push_back(std::move(done));
}

void HostPages::settle_disk(Done& ended) {
  if (ended.what == Done::What::probe) {
    done_.push_back(std::move(ended));
    return;
  }
  const Errand errand = errands_.extract(ended.ticket).mapped();
  Place& place = places_[errand.slot];
  if (ended.what == Done::What::write) {
    --demotions_;
    if (ended.ok)
      place.on_disk = ended.slot;
    else
      disk_->give_back(ended.slot);
    end_use(errand.slot);
    return;
  }
  Done done;
  done.ticket = errand.ticket;
  done.slot = errand.slot;
  done.what = Done::What::read;
  done.ok = ended.ok;
  done.took_us = ended.took_us;
  if (!ended.ok) {
    --passing_;
    end_use(errand.slot);
  } else {
    // It stays where there is room for it, and else only passes.
    std::byte* frame = take_frame();
    if (frame != nullptr) {
      place.frame = frame;
      place.is_filled = true;
      ++framed_;
      --passing_;
    } else {
      frame = place.passing = pop_frame();
    }
    INVARIANT(frame != nullptr);  // of the reserve, which was pinned first
    disk_->place(ended, frame);
    ++staged_;
  }
  done_.push_back(std::move(done));
}

std::size_t HostPages::settle_all(bool waits) {
  std::size_t settled = 0;
  for (const Device::EndedCopy& ended : device_.ended_copies(waits && !copies_.empty())) {
    settle_copy(ended);
    ++settled;
  }
  if (disk_ == nullptr) return settled;
  for (Done& ended : disk_->take_done(waits && settled == 0)) {
    settle_disk(ended);
    ++settled;
  }
  return settled;
}

std::vector<PageTier::Done> HostPages::take_done(bool waits) {
  tend();
  if (settle_all(false) == 0 && waits && done_.empty() && under_way() > 0) settle_all(true);
  tend();
  return std::exchange(done_, {});
}

}  // namespace ambit::inference::cuda
