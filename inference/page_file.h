#pragma once

// Pages of keys and values on disk: the slowest tier. One file of a stated size that has no
// name from the moment it is made, readable by nobody else; what is in it is encrypted with a key
// that lives in memory alone (a conversation lies in it) and checked when it comes back. A thread
// of its own writes and reads, from and into copies, in the order in which it was asked, so that a
// write is there before a read of it. For one caller's thread.

#include "async/result.h"
#include "inference/page_tier.h"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace ambit::inference {

class PageFile final : public PageTier {
 public:
  // A file in `folder` of at most `bytes_max`. invalid: it would hold no page. denied, unavailable:
  // it cannot be made there. `clock_us`: monotonic, called on the file's thread; may be empty.
  static Result<std::unique_ptr<PageFile>> open(const std::string& folder, std::size_t page_bytes,
                                                std::size_t bytes_max,
                                                std::function<std::int64_t()> clock_us = {});
  // Waits for what the thread is at; the rest is dropped with the file.
  ~PageFile() override;

  [[nodiscard]] Level level(Tier tier) const override;
  void use(Tier tier, bool uses) override;
  [[nodiscard]] bool takes_pages() const override { return uses_ && !failed_; }
  [[nodiscard]] bool is_worth_reading(Slot) const override { return uses_; }

  [[nodiscard]] bool has_slot() const override { return !free_.empty() || made_ < slots_max_; }
  Slot take_slot() override;
  void give_back(Slot slot) override { free_.push_back(slot); }
  [[nodiscard]] std::size_t slots_max() const { return slots_max_; }
  [[nodiscard]] std::size_t slots_used() const { return made_ - free_.size(); }

  [[nodiscard]] bool has_room() const override { return under_way_ < under_way_max_; }
  [[nodiscard]] bool can_write() const override { return has_room(); }
  [[nodiscard]] bool can_read(Slot) const override { return has_room(); }
  // `page` is copied before this returns.
  void write(Slot slot, const std::byte* page, std::uint64_t ticket) override;
  // Its Done has the bytes.
  void read(Slot slot, std::uint64_t ticket) override;
  bool place(const Done& read, std::byte* page) override;
  void let_go(const Done&) override {}
  // Writes a page and reads it from the disk itself, past what the operating system keeps of it.
  bool probe(const std::byte* page, std::uint64_t ticket) override;
  [[nodiscard]] std::size_t under_way() const override { return under_way_ - probes_; }
  std::vector<Done> take_done(bool waits) override;

 private:
  class Seal;
  struct Thread;
  PageFile(std::unique_ptr<Thread> thread, std::size_t page_bytes, std::size_t slots_max);
  void ask(Done job);

  std::unique_ptr<Thread> thread_;
  std::size_t page_bytes_;
  std::size_t slots_max_;
  std::size_t under_way_max_;
  std::size_t under_way_ = 0;
  std::size_t probes_ = 0;  // of these; one at most
  std::size_t written_ = 0;
  bool uses_ = true;
  bool failed_ = false;
  Slot made_ = 0;
  std::vector<Slot> free_;
};

}  // namespace ambit::inference
