#pragma once

// Pages of keys and values on disk: the slower of two tiers. One file of a stated size that has no
// name from the moment it is made, readable by nobody else; what is in it is encrypted with a key
// that lives in memory alone (a conversation lies in it) and checked when it comes back. A thread
// of its own writes and reads, from and into copies, in the order in which it was asked, so that a
// write is there before a read of it. For one caller's thread.

#include "async/result.h"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace ambit::inference {

class PageFile {
 public:
  using Slot = std::uint32_t;

  struct Done {
    std::uint64_t ticket = 0;
    Slot slot = 0;
    bool is_read = false;
    bool ok = false;  // false: the disk failed, or what came back is not what went there
    std::vector<std::byte> bytes;  // of a read
    std::int64_t took_us = 0;      // on the disk and to open it; 0: there is no clock
  };

  // A file in `folder` of at most `bytes_max`. invalid: it would hold no page. denied, unavailable:
  // it cannot be made there. `clock_us`: monotonic, called on the file's thread; may be empty.
  static Result<std::unique_ptr<PageFile>> open(const std::string& folder, std::size_t page_bytes,
                                                std::size_t bytes_max,
                                                std::function<std::int64_t()> clock_us = {});
  PageFile(const PageFile&) = delete;
  PageFile& operator=(const PageFile&) = delete;
  // Waits for what the thread is at; the rest is dropped with the file.
  ~PageFile();

  // A place for one page, until it is given back. At most `slots_max` at once.
  [[nodiscard]] bool has_slot() const { return !free_.empty() || made_ < slots_max_; }
  Slot take_slot();
  void give_back(Slot slot) { free_.push_back(slot); }
  [[nodiscard]] std::size_t slots_max() const { return slots_max_; }
  [[nodiscard]] std::size_t slots_used() const { return made_ - free_.size(); }

  // Whether another write or read may be asked for now: copies are bounded.
  [[nodiscard]] bool has_room() const { return under_way_ < under_way_max_; }
  // With room alone. `page` is copied before this returns.
  void write(Slot slot, const std::byte* page, std::uint64_t ticket);
  void read(Slot slot, std::uint64_t ticket);
  [[nodiscard]] std::size_t under_way() const { return under_way_; }
  // What has ended since the last call; `waits`: for something, if anything is under way.
  std::vector<Done> take_done(bool waits);

 private:
  class Seal;
  struct Thread;
  PageFile(std::unique_ptr<Thread> thread, std::size_t page_bytes, std::size_t slots_max);

  std::unique_ptr<Thread> thread_;
  std::size_t page_bytes_;
  std::size_t slots_max_;
  std::size_t under_way_max_;
  std::size_t under_way_ = 0;
  Slot made_ = 0;
  std::vector<Slot> free_;
};

}  // namespace ambit::inference
