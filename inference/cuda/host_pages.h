#pragma once

// Pages of a GPU in pinned memory of the host: the tier below its own memory. Copies run beside the
// kernels (device.h); nobody waits for one who has something else to do. Behind it there may be a
// disk: while frames are short, what was used longest ago is copied there, and its frame can then
// be taken; what comes back from there goes through a frame. Whether each of the two is used,
// whoever owns this decides. For one caller's thread.

#include "async/result.h"
#include "inference/cuda/device.h"
#include "inference/page_tier.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <set>
#include <unordered_map>
#include <utility>
#include <vector>

namespace ambit::inference::cuda {

class HostPages final : public PageTier {
 public:
  // `device` outlives it. `disk` may be null. Memory is pinned when it is first needed, some
  // megabytes at a time; where the machine gives no more, the tier is as large as it has become.
  // invalid: too few pages; exhausted: not even the first can be pinned.
  static Result<std::unique_ptr<HostPages>> open(Device& device, std::size_t page_bytes,
                                                 std::size_t bytes_max,
                                                 std::unique_ptr<PageTier> disk);
  // Waits for the copies that are under way.
  ~HostPages() override;

  [[nodiscard]] Level level(Tier tier) const override;
  void use(Tier tier, bool uses) override;
  [[nodiscard]] bool takes_pages() const override { return uses_host_ && !failed_; }
  [[nodiscard]] bool is_worth_reading(Slot slot) const override;
  [[nodiscard]] bool has_slot() const override;
  Slot take_slot() override;
  void give_back(Slot slot) override;
  [[nodiscard]] bool has_room() const override { return copies_.size() + staged_ < copies_max_; }
  [[nodiscard]] bool can_write() const override;
  [[nodiscard]] bool can_read(Slot slot) const override;
  void write(Slot slot, const std::byte* page, std::uint64_t ticket) override;
  void read(Slot slot, std::uint64_t ticket) override;
  bool place(const Done& read, std::byte* page) override;
  void let_go(const Done& read) override;
  bool probe(const std::byte* page, std::uint64_t ticket) override;
  [[nodiscard]] std::size_t under_way() const override;
  std::vector<Done> take_done(bool waits) override;

 private:
  struct Place {
    std::byte* frame = nullptr;    // null: on disk alone, or nowhere yet
    std::byte* passing = nullptr;  // a frame that is only on the way up
    std::optional<Slot> on_disk;   // the disk's own slot of a copy there
    std::uint32_t busy = 0;        // copies, and reads that are not yet placed
    bool is_gone = false;          // given back while it was busy
    bool is_filled = false;        // its frame holds the page
    std::uint64_t used = 0;
  };
  // A copy beside the kernels.
  struct Copy {
    Done done;
    std::byte* frame = nullptr;  // of a probe: free again afterwards
  };
  // What the disk is at, for one of our slots and the caller's ticket.
  struct Errand {
    Slot slot;
    std::uint64_t ticket;
  };

  HostPages(Device& device, std::size_t page_bytes, std::size_t frames_max,
            std::unique_ptr<PageTier> disk);
  [[nodiscard]] bool uses_disk() const { return disk_ != nullptr && disk_->takes_pages(); }
  [[nodiscard]] std::size_t stored_max() const { return frames_max_ - reserve_; }
  // Frames that can be had at once for what is to stay.
  [[nodiscard]] std::size_t spare_frames() const;
  // Of the reserve what is not in use: so many frames stay free.
  [[nodiscard]] std::size_t kept_free() const;
  // One of them, or that of the oldest page that is on disk, too. Null: there is none.
  std::byte* take_frame();
  std::byte* pop_frame();
  // More memory is pinned; false: there is no more.
  bool make_frames();
  void relist(Slot slot);
  void begin_use(Slot slot);
  void end_use(Slot slot);
  void discard(Slot slot);
  void begin_copy(Copy copy, std::byte* to, const std::byte* from);
  // While frames are short: the oldest go to disk, so that their frames can be taken.
  void tend();
  // A page stays though it would have gone to disk: now and then one tries that.
  void try_disk();
  void settle_copy(const Device::EndedCopy& ended);
  void settle_disk(Done& ended);
  std::size_t settle_all(bool waits);

  Device& device_;
  std::size_t page_bytes_;
  std::size_t frames_max_;
  std::unique_ptr<PageTier> disk_;
  std::size_t reserve_;  // frames that what comes from disk passes through
  std::size_t copies_max_;
  std::vector<std::byte*> slabs_;
  std::vector<std::byte*> free_;
  std::size_t frames_ = 0;  // that have been made
  std::vector<Place> places_;
  std::vector<Slot> free_slots_;
  std::size_t slots_ = 0;   // taken, or gone and still busy
  std::size_t framed_ = 0;  // of these, with a frame of their own
  // By last use, of places that are not busy: their frames can be taken, or are to be copied first.
  std::set<std::pair<std::uint64_t, Slot>> clean_, dirty_;
  std::unordered_map<std::uint64_t, Copy> copies_;     // by the device's number
  std::unordered_map<std::uint64_t, Errand> errands_;  // by our ticket
  std::uint64_t last_ticket_ = 0;
  std::uint64_t clock_ = 0;
  std::vector<Done> done_;
  std::size_t staged_ = 0;     // reads that wait for their pages
  std::size_t passing_ = 0;    // reads from disk that have not ended
  std::size_t demotions_ = 0;  // under way
  std::size_t probes_ = 0;     // copies under way that only try
  std::size_t written_ = 0;
  std::size_t untried_ = 0;  // pages that would have gone to disk since one tried it
  bool uses_host_ = true;
  bool failed_ = false;
};

}  // namespace ambit::inference::cuda
