// How pages move between memory and disk (kv_cache.h). Nothing here is done by the clock: a page
// moves because a session was parked, is about to go on, or because memory is short.

#include "async/check.h"
#include "inference/kv_cache.h"

#include <algorithm>
#include <utility>

namespace ambit::inference {

void KvCache::want(const std::vector<std::uint32_t>& path) {
  for (const std::uint32_t id : path)
    if (nodes_[id].page == nullptr) awaits_disk_ = true;
  if (!awaits_disk_) return;
  for (const std::uint32_t id : path) {
    Node& node = nodes_[id];
    node.wanted = true;
    relist(id, node.used);
    wanted_.push_back({id, node.serial});
    if (node.page == nullptr) fetch(id);
  }
}

void KvCache::want_nothing() {
  awaits_disk_ = false;
  for (const Held& held : std::exchange(wanted_, {})) {
    if (!is_current(held)) continue;
    nodes_[held.node].wanted = false;
    relist(held.node, nodes_[held.node].used);
  }
}

// Less than a quarter of the pages could be taken without a loss.
bool KvCache::is_short() const {
  return free_.size() + (pages_max_ - made_) + copied_.size() < pages_max_ / 4;
}

void KvCache::expect(std::span<const TokenId> tokens) {
  if (disk_ == nullptr || !uses_disk_ || tokens.empty()) return;
  const std::size_t limit = tokens.size() - 1;
  std::uint32_t parent = 0;
  std::size_t length = 0;
  for (; length + page_tokens <= limit; length += page_tokens) {
    const auto child = full_child(parent, tokens.subspan(length));
    if (!child) break;
    parent = *child;
    if (nodes_[parent].page == nullptr) fetch(parent);
  }
  const Match match = best_child(parent, tokens.subspan(length, limit - length));
  if (match.common > 0 && nodes_[match.node].page == nullptr) fetch(match.node);
}

void KvCache::expect(const std::string& session) {
  const auto at = sessions_.find(session);
  if (disk_ == nullptr || !uses_disk_ || at == sessions_.end()) return;
  for (const Held& held : at->second) {
    if (!is_current(held)) return;
    if (nodes_[held.node].page == nullptr) fetch(held.node);
  }
}

void KvCache::park(const std::string& session, bool if_short) {
  const auto at = sessions_.find(session);
  if (disk_ == nullptr || at == sessions_.end()) return;
  settle(false);
  if (if_short && !is_short()) return;
  for (const Held& held : at->second) {
    const Node& node = nodes_[held.node];
    if (!is_current(held)) return;
    if (node.page != nullptr && !node.slot && !node.moves && !write_one(held.node)) return;
  }
}

void KvCache::tend() {
  if (disk_ == nullptr) return;
  settle(false);
  while (!uncopied_.empty() && is_short() && disk_->has_room())
    if (!write_out(uncopied_.begin()->second)) return;
}

void KvCache::make_room() {
  settle(false);
  while (free_.empty()) {  // what settles may free some, too
    if (!copied_.empty()) {
      const std::uint32_t id = copied_.begin()->second;
      Node& node = nodes_[id];
      free_.push_back(std::exchange(node.page, nullptr));
      relist(id, node.used);
      Node& parent = nodes_[node.parent];
      --parent.resident;
      relist(node.parent, parent.used);
      return;
    }
    // Waiting for the disk is cheaper than computing again: else there would be none.
    const bool begun = disk_ != nullptr && !uncopied_.empty() && disk_->has_room() &&
                       write_out(uncopied_.begin()->second);
    if (begun || (disk_ != nullptr && disk_->under_way() > 0)) {
      settle(true);
      continue;
    }
    INVARIANT(!uncopied_.empty());  // the reservation promised it
    drop(uncopied_.begin()->second);
    ++evicted_;
  }
}

bool KvCache::has_slot_for(std::uint64_t used) {
  if (disk_->has_slot()) return true;
  if (on_disk_.empty() || on_disk_.begin()->first >= used) return false;
  const std::uint32_t id = on_disk_.begin()->second;
  Node& node = nodes_[id];
  if (node.page == nullptr) {
    drop(id);
    ++evicted_;
    return true;
  }
  disk_->give_back(*node.slot);
  node.slot.reset();
  relist(id, node.used);
  return true;
}

bool KvCache::write_out(std::uint32_t id) {
  std::vector<std::uint32_t> path;
  for (; id != 0 && !nodes_[id].slot && !nodes_[id].moves; id = nodes_[id].parent)
    path.push_back(id);
  for (auto each = path.rbegin(); each != path.rend(); ++each)
    if (!write_one(*each)) return false;
  return true;
}

bool KvCache::write_one(std::uint32_t id) {
  Node& node = nodes_[id];
  if (disk_failed_ || !uses_disk_ || !disk_->has_room() || !has_slot_for(node.used)) return false;
  node.moves = true;
  relist(id, node.used);
  const std::uint64_t ticket = ++last_ticket_;
  moving_.emplace(ticket, Held{id, node.serial});
  disk_->write(disk_->take_slot(), node.page, ticket);
  return true;
}

void KvCache::fetch(std::uint32_t id) {
  Node& node = nodes_[id];
  if (node.moves || !disk_->has_room()) return;
  node.moves = true;
  relist(id, node.used);
  const std::uint64_t ticket = ++last_ticket_;
  moving_.emplace(ticket, Held{id, node.serial});
  disk_->read(*node.slot, ticket);
}

void KvCache::settle(bool waits) {
  if (disk_ == nullptr) return;
  // All of them before the first page that is read is given room: making room settles, too, and
  // must not meet a node that has come to rest and still seems to move.
  std::vector<std::pair<Held, PageFile::Done>> read;
  for (PageFile::Done& done : disk_->take_done(waits)) {
    const Held held = moving_.extract(done.ticket).mapped();
    const bool is_there = is_current(held);
    if (is_there) nodes_[held.node].moves = false;
    if (done.is_read && done.ok && done.took_us > 0) {
      ++timed_;
      read_us_ += done.took_us;
    }
    if (!done.is_read) {
      settle_write(held.node, is_there, done);
    } else if (is_there) {
      relist(held.node, nodes_[held.node].used);
      read.emplace_back(held, std::move(done));
    }
  }
  for (const auto& [held, done] : read)
    if (is_current(held) && nodes_[held.node].slot == done.slot) settle_read(held.node, done);
}

void KvCache::settle_write(std::uint32_t id, bool is_there, const PageFile::Done& done) {
  if (!is_there || !done.ok) disk_->give_back(done.slot);
  if (!done.ok) disk_failed_ = true;
  if (!is_there) return;
  Node& node = nodes_[id];
  if (done.ok) {
    node.slot = done.slot;
    ++written_;
  }
  relist(id, node.used);
}

void KvCache::settle_read(std::uint32_t id, const PageFile::Done& done) {
  if (!done.ok) {
    ++damaged_;
    // In memory meanwhile: somebody has computed it.
    if (nodes_[id].page == nullptr) return drop(id);
    disk_->give_back(*nodes_[id].slot);
    nodes_[id].slot.reset();
    return relist(id, nodes_[id].used);
  }
  if (nodes_[id].page != nullptr) return;
  // All are promised to others?
  const std::size_t promised = pinned_ + owned_ + reserved_;
  if (promised + (nodes_[id].wanted ? 0 : wanted_.size()) >= pages_max_) return;
  std::byte* page = free_page();
  Node& node = nodes_[id];
  // Making room may have taken its parent, or itself.
  const bool is_there = node.alive && node.page == nullptr && node.slot == done.slot;
  if (!is_there || (node.parent != 0 && nodes_[node.parent].page == nullptr)) {
    free_.push_back(page);
    return;
  }
  memory_->copy_page(page, done.bytes.data(), page_bytes_);
  node.page = page;
  ++read_;
  Node& parent = nodes_[node.parent];
  ++parent.resident;
  relist(node.parent, parent.used);
  relist(id, ++clock_);
}

}  // namespace ambit::inference
