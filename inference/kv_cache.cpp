#include "inference/kv_cache.h"

#include "async/check.h"
#include "inference/cpu/backend.h"

#include <algorithm>
#include <utility>

namespace ambit::inference {

namespace {

// More sessions than this are not remembered by name; their pages then just age.
constexpr std::size_t sessions_max = 1U << 18U;

std::size_t common_length(std::span<const TokenId> a, std::span<const TokenId> b) {
  const std::size_t most = std::min(a.size(), b.size());
  std::size_t same = 0;
  while (same < most && a[same] == b[same]) ++same;
  return same;
}

}  // namespace

bool KvCache::Less::operator()(std::span<const TokenId> a, std::span<const TokenId> b) const {
  return std::lexicographical_compare(a.begin(), a.end(), b.begin(), b.end());
}

KvCache::KvCache(std::size_t page_bytes, std::size_t pages_max, PageMemory* memory,
                 std::unique_ptr<PageTier> tier)
    : page_bytes_(page_bytes),
      pages_max_(pages_max),
      own_memory_(memory == nullptr ? std::make_unique<HeapPages>() : nullptr),
      memory_(memory == nullptr ? own_memory_.get() : memory),
      tier_(std::move(tier)) {
  nodes_.emplace_back();
  nodes_[0].alive = true;
  nodes_[0].pins = 1;
}

// The child that shares the longest beginning: in the order of their tokens, one of two neighbours.
KvCache::Match KvCache::best_child(std::uint32_t parent, std::span<const TokenId> tokens) const {
  const auto& children = nodes_[parent].children;
  Match best;
  const auto consider = [&](const auto& child) {
    const std::size_t common = common_length(child.first, tokens);
    if (common > best.common) best = {child.second, common};
  };
  const auto at = children.lower_bound(tokens);
  if (at != children.end()) consider(*at);
  if (at != children.begin()) consider(*std::prev(at));
  return best;
}

std::optional<std::uint32_t> KvCache::full_child(std::uint32_t parent,
                                                 std::span<const TokenId> tokens) const {
  const auto& children = nodes_[parent].children;
  const auto at = children.find(tokens.first(page_tokens));
  if (at == children.end()) return std::nullopt;
  return at->second;
}

std::optional<KvCache::Sequence> KvCache::open(std::span<const TokenId> tokens,
                                               std::size_t capacity, bool reuse) {
  INVARIANT(!tokens.empty() && tokens.size() <= capacity);
  // The last token must be computed: its logits are wanted.
  const std::size_t limit = reuse ? tokens.size() - 1 : 0;
  Sequence sequence;
  std::size_t newly_pinned = 0;
  std::uint32_t parent = 0;
  want_nothing();
  while (sequence.length + page_tokens <= limit) {
    const auto child = full_child(parent, tokens.subspan(sequence.length));
    if (!child || !is_usable(*child)) break;
    if (nodes_[*child].pins == 0) ++newly_pinned;
    sequence.nodes.push_back(*child);
    sequence.length += page_tokens;
    parent = *child;
  }
  sequence.reserved = pages_for(capacity) - sequence.nodes.size();
  if (newly_pinned + sequence.reserved + pinned_ + owned_ + reserved_ > pages_max_)
    return std::nullopt;
  const bool one_more =
      newly_pinned + sequence.reserved + pinned_ + owned_ + reserved_ < pages_max_;
  Match match = best_child(parent, tokens.subspan(sequence.length, limit - sequence.length));
  if (!is_usable(match.node)) match = {};
  if (!one_more && !takes_over(match) && nodes_[match.node].pins == 0) match = {};
  std::vector<std::uint32_t> path = sequence.nodes;
  if (match.common > 0) path.push_back(match.node);
  want(path);
  if (awaits_pages_) return std::nullopt;
  reserved_ += sequence.reserved;
  for (const std::uint32_t id : sequence.nodes) {
    pin(id);
    sequence.pages.push_back(nodes_[id].page);
  }
  // The beginning of another page: taken over or copied.
  if (match.common > 0) {
    if (takes_over(match)) {
      sequence.pages.push_back(remove(match.node));
      --sequence.reserved;
      --reserved_;
      ++owned_;
    } else {
      pin(match.node);  // making room must not throw away what is about to be copied
      std::byte* page = take_page(sequence);
      memory_->copy_page(page, nodes_[match.node].page, page_bytes_);
      unpin(match.node);
      sequence.pages.push_back(page);
    }
    sequence.length += match.common;
  }
  sequence.cached = sequence.length;
  return sequence;
}

// Nobody else needs this unfinished page: the sequence goes on in it.
bool KvCache::takes_over(const Match& match) const {
  const Node& node = nodes_[match.node];
  return match.common > 0 && match.common < page_tokens && node.tokens.size() == match.common &&
         node.pins == 0 && node.holders <= 1;
}

void KvCache::adopt(Sequence& sequence, std::span<const TokenId> tokens) {
  INVARIANT(sequence.length % page_tokens == 0 && sequence.pages.size() == sequence.nodes.size());
  while (sequence.length + page_tokens < tokens.size()) {
    const std::uint32_t parent = sequence.nodes.empty() ? 0 : sequence.nodes.back();
    const auto child = full_child(parent, tokens.subspan(sequence.length));
    if (!child || !is_there(*child)) return;
    pin(*child);
    --sequence.reserved;
    --reserved_;
    sequence.nodes.push_back(*child);
    sequence.pages.push_back(nodes_[*child].page);
    sequence.length += page_tokens;
    sequence.cached += page_tokens;
  }
}

void KvCache::extend(Sequence& sequence, std::size_t count) {
  const std::size_t pages = pages_for(sequence.length + count);
  while (sequence.pages.size() < pages) sequence.pages.push_back(take_page(sequence));
}

void KvCache::commit(Sequence& sequence, std::span<const TokenId> tokens, std::size_t length) {
  sequence.length = length;
  while ((sequence.nodes.size() + 1) * page_tokens <= length) {
    const std::size_t index = sequence.nodes.size();
    const std::uint32_t parent = index == 0 ? 0 : sequence.nodes.back();
    const std::span<const TokenId> content = tokens.subspan(index * page_tokens, page_tokens);
    --owned_;
    if (const auto same = full_child(parent, content)) {  // somebody was faster: the same bits
      Node& node = nodes_[*same];
      if (node.page == nullptr) {
        node.page = sequence.pages[index];
        ++nodes_[parent].resident;
        relist(parent, nodes_[parent].used);
      } else if (node.arrives) {  // no longer needed; its page is free once the copy has ended
        node.page = sequence.pages[index];
        node.arrives = false;
        node.move = 0;
      } else {
        free_.push_back(sequence.pages[index]);
      }
      sequence.pages[index] = node.page;
      pin(*same);
      sequence.nodes.push_back(*same);
      continue;
    }
    const std::uint32_t id = insert(parent, content, sequence.pages[index]);
    pin(id);
    sequence.nodes.push_back(id);
  }
}

void KvCache::close(Sequence sequence, std::span<const TokenId> tokens,
                    const std::string& session) {
  reserved_ -= sequence.reserved;
  std::vector<std::uint32_t> path = sequence.nodes;
  for (std::size_t i = sequence.nodes.size(); i < sequence.pages.size(); ++i) {
    --owned_;
    const std::size_t start = i * page_tokens;
    const std::uint32_t parent = path.empty() ? 0 : path.back();
    const bool useful = i == sequence.nodes.size() && sequence.length > start;
    const std::span<const TokenId> rest =
        useful ? tokens.subspan(start, sequence.length - start) : std::span<const TokenId>();
    if (!useful || best_child(parent, rest).common == rest.size()) {
      free_.push_back(sequence.pages[i]);
      continue;
    }
    path.push_back(insert(parent, rest, sequence.pages[i]));
  }
  ++clock_;
  if (!session.empty() && sessions_.size() < sessions_max) {
    std::vector<Held>& held = sessions_[session];
    const std::vector<Held> before = std::move(held);
    held.clear();
    for (const std::uint32_t id : path) {
      Node& node = nodes_[id];
      ++node.holders;
      held.push_back({id, node.serial});
    }
    release(before);
    for (const std::uint32_t id : path)
      if (nodes_[id].holders > 1) nodes_[id].shared = true;
  }
  for (const std::uint32_t id : path) touch(id);
  for (const std::uint32_t id : sequence.nodes) unpin(id);
}

void KvCache::leave(const std::string& session) {
  const auto at = sessions_.find(session);
  if (at == sessions_.end()) return;
  for (const Held& held : at->second)
    if (is_current(held)) --nodes_[held.node].holders;
  sessions_.erase(at);
}

void KvCache::forget(const std::string& session) {
  const auto at = sessions_.find(session);
  if (at == sessions_.end()) return;
  release(at->second);
  sessions_.erase(at);
}

void KvCache::release(const std::vector<Held>& path) {
  for (auto held = path.rbegin(); held != path.rend(); ++held) {
    Node& node = nodes_[held->node];
    if (!is_current(*held)) continue;
    --node.holders;
    if (node.holders == 0 && !node.shared && node.pins == 0 && node.children.empty())
      drop(held->node);
  }
}

std::byte* KvCache::take_page(Sequence& sequence) {
  INVARIANT(sequence.reserved > 0);
  --sequence.reserved;
  --reserved_;
  ++owned_;
  return free_page();
}

std::byte* KvCache::free_page() {
  if (free_.empty() && made_ < pages_max_) {
    std::byte* made = memory_->make_page(page_bytes_);
    INVARIANT(made != nullptr);  // whoever counted the pages counted what there is
    free_.push_back(made);
    ++made_;
  }
  if (free_.empty()) make_room();
  std::byte* page = free_.back();
  free_.pop_back();
  peak_ = std::max(peak_, made_ - free_.size());
  return page;
}

std::uint32_t KvCache::insert(std::uint32_t parent, std::span<const TokenId> tokens,
                              std::byte* page) {
  std::uint32_t id = 0;
  if (free_nodes_.empty()) {
    id = static_cast<std::uint32_t>(nodes_.size());
    nodes_.emplace_back();
  } else {
    id = free_nodes_.back();
    free_nodes_.pop_back();
  }
  Node& node = nodes_[id];
  node.parent = parent;
  node.pins = node.holders = 0;
  node.shared = false;
  node.alive = true;
  node.move = 0;
  node.arrives = false;
  node.wanted = false;
  node.resident = 0;
  node.slot.reset();
  node.serial = ++clock_;
  node.used = clock_;
  node.page = page;
  node.tokens.assign(tokens.begin(), tokens.end());
  nodes_[parent].children.emplace(node.tokens, id);
  ++nodes_[parent].resident;
  relist(parent, nodes_[parent].used);
  relist(id, node.used);
  return id;
}

std::byte* KvCache::remove(std::uint32_t id) {
  Node& node = nodes_[id];
  INVARIANT(node.alive && node.pins == 0 && node.children.empty());
  node.alive = false;
  relist(id, node.used);
  if (node.slot) tier_->give_back(*node.slot);
  node.slot.reset();
  Node& parent = nodes_[node.parent];
  parent.children.erase(node.tokens);
  if (node.page != nullptr) --parent.resident;
  free_nodes_.push_back(id);
  relist(node.parent, parent.used);
  std::byte* page = std::exchange(node.page, nullptr);
  return std::exchange(node.arrives, false) ? nullptr : page;  // free once the copy has ended
}

void KvCache::drop(std::uint32_t id) {
  // From the deepest: a node goes when nothing hangs below it.
  std::vector<std::uint32_t> path = {id};
  while (!path.empty()) {
    const Node& node = nodes_[path.back()];
    if (!node.children.empty()) {
      path.push_back(node.children.begin()->second);
      continue;
    }
    std::byte* page = remove(path.back());
    if (page != nullptr) free_.push_back(page);
    path.pop_back();
  }
}

void KvCache::pin(std::uint32_t id) {
  if (nodes_[id].pins++ == 0) ++pinned_;
  relist(id, nodes_[id].used);
}

void KvCache::unpin(std::uint32_t id) {
  if (--nodes_[id].pins == 0) --pinned_;
  relist(id, nodes_[id].used);
}

void KvCache::touch(std::uint32_t id) {
  relist(id, clock_);
}

void KvCache::relist(std::uint32_t id, std::uint64_t new_use) {
  Node& node = nodes_[id];
  for (auto* list : {&copied_, &uncopied_, &below_}) list->erase({node.used, id});
  node.used = new_use;
  if (!node.alive || node.pins > 0 || node.wanted) return;
  if (node.page != nullptr && node.resident == 0 && node.move == 0)
    (node.slot ? copied_ : uncopied_).insert({node.used, id});
  if (node.slot && node.children.empty() && node.move == 0) below_.insert({node.used, id});
}

KvCache::Stats KvCache::stats() const {
  Stats stats;
  stats.pages_max = pages_max_;
  stats.pages_used = made_ - free_.size();
  stats.pages_pinned = pinned_ + owned_;
  stats.pages_peak = peak_;
  stats.evicted = evicted_;
  stats.sessions = sessions_.size();
  if (tier_ == nullptr) return stats;
  const auto told = [this](TierStats counted, Tier which) {
    const PageTier::Level level = tier_->level(which);
    counted.pages_max = level.pages_max;
    counted.pages = level.pages;
    counted.written = level.written;
    counted.failed = level.failed;
    return counted;
  };
  stats.host = told(host_, Tier::host);
  stats.disk = told(disk_, Tier::disk);
  return stats;
}

}  // namespace ambit::inference
