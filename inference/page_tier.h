#pragma once

// What lies below the pages that are computed with: disk for those of the CPU (page_file.h), pinned
// host memory for those of a GPU and disk below that (cuda/host_pages.h). Pages go there and come
// back by copies that take their time; whoever asked learns later, by the ticket that it gave. For
// one caller's thread.

#include <cstddef>
#include <cstdint>
#include <vector>

namespace ambit::inference {

enum class Tier : std::uint8_t { host, disk };

class PageTier {
 public:
  // A place for one page, wherever it is.
  using Slot = std::uint32_t;

  struct Done {
    enum class What : std::uint8_t { write, read, placing, probe };
    std::uint64_t ticket = 0;
    Slot slot = 0;
    What what = What::write;
    Tier tier = Tier::disk;  // where it was, or went
    bool ok = false;         // false: the tier failed, or what came back is not what went there
    std::vector<std::byte> bytes;  // of a read, where the tier does not keep them itself
    std::int64_t took_us = 0;      // 0: there is no clock
  };
  struct Level {
    std::size_t pages_max = 0;
    std::size_t pages = 0;
    std::size_t written = 0;
    bool failed = false;  // it took a page no longer, and is asked no more
  };

  PageTier() = default;
  PageTier(const PageTier&) = delete;
  PageTier& operator=(const PageTier&) = delete;
  virtual ~PageTier() = default;

  [[nodiscard]] virtual Level level(Tier tier) const = 0;
  // Whether this part is worth its time, from now on. If not, nothing goes there but what is tried.
  virtual void use(Tier tier, bool uses) = 0;
  // Whether pages go to it at all; whether one that lies there is worth being read.
  [[nodiscard]] virtual bool takes_pages() const = 0;
  [[nodiscard]] virtual bool is_worth_reading(Slot slot) const = 0;

  [[nodiscard]] virtual bool has_slot() const = 0;
  // With has_slot() alone; it is the caller's until it is given back, whatever is under way.
  virtual Slot take_slot() = 0;
  virtual void give_back(Slot slot) = 0;

  // What is under way is bounded. With a slot at hand a page may still have to wait for others to
  // go on; so may one that comes back. While either waits, something is under way.
  [[nodiscard]] virtual bool has_room() const = 0;
  [[nodiscard]] virtual bool can_write() const = 0;
  [[nodiscard]] virtual bool can_read(Slot slot) const = 0;
  // What the page holds now, with what the steps that were begun before make of it. Whoever uses
  // the page for something else before this has ended must not believe its `ok`.
  virtual void write(Slot slot, const std::byte* page, std::uint64_t ticket) = 0;
  // Brings it so near that place() can follow.
  virtual void read(Slot slot, std::uint64_t ticket) = 0;
  // Into a page, what was read; at once, or (false) when Done says so, with the same ticket. Until
  // then the page stays the caller's and holds nothing. Each read that was `ok` is either placed or
  // let go.
  virtual bool place(const Done& read, std::byte* page) = 0;
  virtual void let_go(const Done& read) = 0;
  // Measures what a page would take on the part that is not used, and leaves nothing there. False:
  // not now.
  virtual bool probe(const std::byte* page, std::uint64_t ticket) = 0;

  // Without what is only tried.
  [[nodiscard]] virtual std::size_t under_way() const = 0;
  // What has ended since the last call; `waits`: for something to move on, if anything is under
  // way. That may have been the tier's own, so that nothing comes of it here.
  virtual std::vector<Done> take_done(bool waits) = 0;
};

}  // namespace ambit::inference
