// How pages move between memory and the tier below (kv_cache.h). Nothing here is done by the clock:
// a page moves because a session was parked, is about to go on, or because memory is short.

#include "async/check.h"
#include "inference/kv_cache.h"

#include <algorithm>
#include <utility>

namespace ambit::inference {

namespace {

constexpr std::size_t tried_of_lost = 64;  // one page of so many tries what is not used

}  // namespace

void KvCache::want(const std::vector<std::uint32_t>& path) {
  for (const std::uint32_t id : path)
    if (!is_there(id)) awaits_pages_ = true;
  if (!awaits_pages_) return;
  for (const std::uint32_t id : path) {
    Node& node = nodes_[id];
    node.wanted = true;
    relist(id, node.used);
    wanted_.push_back({id, node.serial});
    if (node.page == nullptr) fetch(id);
  }
}

void KvCache::want_nothing() {
  awaits_pages_ = false;
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

void KvCache::use(Tier tier, bool uses) {
  if (tier_ != nullptr) tier_->use(tier, uses);
}

void KvCache::expect(std::span<const TokenId> tokens) {
  if (tier_ == nullptr || tokens.empty()) return;
  const std::size_t limit = tokens.size() - 1;
  std::uint32_t parent = 0;
  std::size_t length = 0;
  for (; length + page_tokens <= limit; length += page_tokens) {
    const auto child = full_child(parent, tokens.subspan(length));
    if (!child) break;
    if (!is_usable(*child)) return;
    parent = *child;
    if (nodes_[parent].page == nullptr) fetch(parent);
  }
  const Match match = best_child(parent, tokens.subspan(length, limit - length));
  if (match.common > 0 && nodes_[match.node].page == nullptr && is_usable(match.node))
    fetch(match.node);
}

void KvCache::expect(const std::string& session) {
  const auto at = sessions_.find(session);
  if (tier_ == nullptr || at == sessions_.end()) return;
  for (const Held& held : at->second) {
    if (!is_current(held) || !is_usable(held.node)) return;
    if (nodes_[held.node].page == nullptr) fetch(held.node);
  }
}

void KvCache::park(const std::string& session, bool if_short) {
  const auto at = sessions_.find(session);
  if (tier_ == nullptr || at == sessions_.end()) return;
  settle(false);
  if (if_short && !is_short()) return;
  for (const Held& held : at->second) {
    const Node& node = nodes_[held.node];
    if (!is_current(held)) return;
    if (node.page != nullptr && !node.slot && node.move == 0 && !write_one(held.node)) return;
  }
}

void KvCache::tend() {
  if (tier_ == nullptr) return;
  settle(false);
  while (!uncopied_.empty() && is_short() && tier_->has_room())
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
    // Waiting for a copy is cheaper than computing again: else there would be none.
    const bool begun = tier_ != nullptr && !uncopied_.empty() && tier_->has_room() &&
                       write_out(uncopied_.begin()->second);
    if (begun || (tier_ != nullptr && tier_->under_way() > 0)) {
      settle(true);
      continue;
    }
    INVARIANT(!uncopied_.empty());  // the reservation promised it
    try_unused(uncopied_.begin()->second);
    drop(uncopied_.begin()->second);
    ++evicted_;
  }
}

void KvCache::try_unused(std::uint32_t id) {
  if (tier_ == nullptr || tier_->takes_pages() || ++lost_untried_ < tried_of_lost) return;
  if (tier_->probe(nodes_[id].page, ++last_ticket_)) lost_untried_ = 0;
}

bool KvCache::has_slot_for(std::uint64_t used) {
  while (!tier_->has_slot()) {
    if (below_.empty() || below_.begin()->first >= used) return false;
    const std::uint32_t id = below_.begin()->second;
    Node& node = nodes_[id];
    if (node.page == nullptr) {
      drop(id);
      ++evicted_;
      continue;
    }
    tier_->give_back(*node.slot);
    node.slot.reset();
    relist(id, node.used);
  }
  return true;
}

bool KvCache::write_out(std::uint32_t id) {
  std::vector<std::uint32_t> path;
  for (; id != 0 && !nodes_[id].slot && nodes_[id].move == 0; id = nodes_[id].parent)
    path.push_back(id);
  for (auto each = path.rbegin(); each != path.rend(); ++each)
    if (!write_one(*each)) return false;
  return true;
}

bool KvCache::write_one(std::uint32_t id) {
  Node& node = nodes_[id];
  if (!tier_->takes_pages() || !tier_->has_room() || !has_slot_for(node.used) ||
      !tier_->can_write())
    return false;
  node.move = ++last_ticket_;
  relist(id, node.used);
  moving_.emplace(node.move, Moving{{id, node.serial}, nullptr});
  tier_->write(tier_->take_slot(), node.page, node.move);
  return true;
}

void KvCache::fetch(std::uint32_t id) {
  Node& node = nodes_[id];
  if (node.move != 0 || !tier_->can_read(*node.slot)) return;
  node.move = ++last_ticket_;
  relist(id, node.used);
  moving_.emplace(node.move, Moving{{id, node.serial}, nullptr});
  tier_->read(*node.slot, node.move);
}

void KvCache::count(const PageTier::Done& done) {
  if (!done.ok || done.took_us <= 0) return;
  TierStats& tier = of(done.tier);
  if (done.what == PageTier::Done::What::probe) {
    ++tier.probes;
    tier.probe_us += done.took_us;
  } else if (done.what != PageTier::Done::What::write) {
    ++tier.timed;
    tier.read_us += done.took_us;
  }
}

void KvCache::settle(bool waits) {
  if (tier_ == nullptr) return;
  // All of them before the first page that is read is given room: making room settles, too, and
  // must not meet a node that has come to rest and still seems to move.
  std::vector<std::pair<Held, PageTier::Done>> read;
  for (PageTier::Done& done : tier_->take_done(waits)) {
    count(done);
    if (done.what == PageTier::Done::What::probe) continue;
    const Moving moving = moving_.extract(done.ticket).mapped();
    const bool is_mine = is_current(moving.held) && nodes_[moving.held.node].move == done.ticket;
    if (is_mine) nodes_[moving.held.node].move = 0;
    if (done.what == PageTier::Done::What::write) {
      settle_write(moving.held.node, is_mine, done);
    } else if (done.what == PageTier::Done::What::placing) {
      settle_placing(moving, is_mine, done);
    } else if (is_mine) {
      relist(moving.held.node, nodes_[moving.held.node].used);
      read.emplace_back(moving.held, std::move(done));
    } else if (done.ok) {
      tier_->let_go(done);
    }
  }
  for (const auto& [held, done] : read) {
    if (is_current(held) && nodes_[held.node].slot == done.slot)
      settle_read(held.node, done);
    else if (done.ok)
      tier_->let_go(done);
  }
}

void KvCache::settle_write(std::uint32_t id, bool is_mine, const PageTier::Done& done) {
  if (!is_mine || !done.ok) tier_->give_back(done.slot);
  if (!is_mine) return;
  if (done.ok) nodes_[id].slot = done.slot;
  relist(id, nodes_[id].used);
}

// What came back is not what went there.
void KvCache::damaged(std::uint32_t id, Tier tier) {
  ++of(tier).damaged;
  // In memory meanwhile: somebody has computed it.
  if (nodes_[id].page == nullptr) return drop(id);
  tier_->give_back(*nodes_[id].slot);
  nodes_[id].slot.reset();
  relist(id, nodes_[id].used);
}

std::byte* KvCache::page_for(std::uint32_t id, PageTier::Slot slot) {
  if (nodes_[id].page != nullptr) return nullptr;
  // All are promised to others?
  const std::size_t promised = pinned_ + owned_ + reserved_;
  if (promised + (nodes_[id].wanted ? 0 : wanted_.size()) >= pages_max_) return nullptr;
  std::byte* page = free_page();
  const Node& node = nodes_[id];
  // Making room may have taken its parent, or itself.
  const bool is_left = node.alive && node.page == nullptr && node.slot == slot;
  if (is_left && (node.parent == 0 || nodes_[node.parent].page != nullptr)) return page;
  free_.push_back(page);
  return nullptr;
}

void KvCache::settle_read(std::uint32_t id, const PageTier::Done& done) {
  if (!done.ok) return damaged(id, done.tier);
  std::byte* page = page_for(id, done.slot);
  if (page == nullptr) return tier_->let_go(done);
  Node& node = nodes_[id];
  node.page = page;
  Node& parent = nodes_[node.parent];
  ++parent.resident;
  relist(node.parent, parent.used);
  ++of(done.tier).read;
  if (!tier_->place(done, page)) {
    node.move = done.ticket;
    node.arrives = true;
    moving_.emplace(done.ticket, Moving{{id, node.serial}, page});
  }
  relist(id, ++clock_);
}

void KvCache::settle_placing(const Moving& moving, bool is_mine, const PageTier::Done& done) {
  const std::uint32_t id = moving.held.node;
  if (!is_mine) {  // the node is gone, or somebody has computed it meanwhile
    free_.push_back(moving.page);
    return;
  }
  nodes_[id].arrives = false;
  if (done.ok) return relist(id, nodes_[id].used);
  Node& parent = nodes_[nodes_[id].parent];
  --parent.resident;
  relist(nodes_[id].parent, parent.used);
  free_.push_back(std::exchange(nodes_[id].page, nullptr));
  damaged(id, done.tier);
}

}  // namespace ambit::inference
