#include "agents/roster.h"

#include <algorithm>

namespace ambit::agents {
namespace {

// Orders that hold at once; beyond that the oldest is forgotten, which the newest must not be.
constexpr std::size_t orders_max = 1000;

bool covers(const std::string& wanted, const std::string& value) {
  return wanted.empty() || wanted == value;
}

}  // namespace

Roster::Listing::Listing(Roster* roster, Entry& entry) : roster_(roster), entry_(entry) {
  if (roster_ == nullptr) return;
  roster_->entries_.emplace(entry.state.id, &entry);
  if (entry.parent != nullptr) ++entry.parent->children;
  for (const Order& order : roster_->orders_) {
    if (!means(order.which, entry)) continue;
    if (order.why.empty()) {
      entry.paused = true;
    } else {
      stop(entry, order.why);
    }
  }
}

Roster::Listing::~Listing() {
  if (roster_ == nullptr) return;
  if (entry_.parent != nullptr) --entry_.parent->children;
  const auto [first, last] = roster_->entries_.equal_range(entry_.state.id);
  const auto at = std::find_if(first, last, [&](const auto& one) { return one.second == &entry_; });
  if (at != last) roster_->entries_.erase(at);
}

// A session is meant with those that it delegated to.
bool Roster::means(const Selector& which, const Entry& entry) {
  for (const Entry* at = &entry; at != nullptr; at = at->parent) {
    if (covers(which.run, at->run) && covers(which.agent, at->agent.name) &&
        covers(which.session, at->state.id)) {
      return true;
    }
  }
  return false;
}

// One that waits for a session of its own ends when that has ended, so that both ends are recorded.
void Roster::stop(Entry& entry, const std::string& why) {
  if (entry.stopping) return;
  entry.stopping = true;
  entry.why = why;
  if (entry.resumed) entry.resumed->wake_all();
  if (entry.children == 0) entry.interrupt.fire();
}

std::size_t Roster::stop(const Selector& which, const std::string& why) {
  const std::string reason = why.empty() ? "stopped" : why;
  if (which.session.empty()) {
    orders_.push_back({which, reason});
    if (orders_.size() > orders_max) orders_.erase(orders_.begin());
  }
  std::size_t meant = 0;
  for (const auto& [name, entry] : entries_) {
    if (!means(which, *entry)) continue;
    ++meant;
    stop(*entry, reason);
  }
  return meant;
}

std::size_t Roster::pause(const Selector& which) {
  orders_.push_back({which, ""});
  if (orders_.size() > orders_max) orders_.erase(orders_.begin());
  std::size_t meant = 0;
  for (const auto& [name, entry] : entries_) {
    if (!means(which, *entry)) continue;
    ++meant;
    entry->paused = true;
  }
  return meant;
}

std::size_t Roster::resume(const Selector& which) {
  std::erase_if(orders_, [&](const Order& order) {
    return covers(which.run, order.which.run) && covers(which.agent, order.which.agent) &&
           covers(which.session, order.which.session);
  });
  std::size_t meant = 0;
  for (const auto& [name, entry] : entries_) {
    if (!entry->paused || !means(which, *entry)) continue;
    entry->paused = std::any_of(orders_.begin(), orders_.end(), [&](const Order& order) {
      return order.why.empty() && means(order.which, *entry);
    });
    if (entry->paused) continue;
    ++meant;
    if (entry->resumed) entry->resumed->wake_all();
  }
  return meant;
}

std::string Roster::refuses(const std::string& run, const std::string& agent,
                            const std::string& session) const {
  for (const Order& order : orders_) {
    const bool meant = covers(order.which.run, run) && covers(order.which.agent, agent) &&
                       covers(order.which.session, session);
    if (meant && !order.why.empty()) return order.why;
  }
  return "";
}

Roster::Entry* Roster::find(const std::string& session) const {
  const auto at = entries_.find(session);
  return at != entries_.end() ? at->second : nullptr;
}

void Roster::for_each(const std::function<void(const Entry&)>& visit) const {
  std::vector<const Entry*> all;
  all.reserve(entries_.size());
  for (const auto& [name, entry] : entries_) all.push_back(entry);
  std::sort(all.begin(), all.end(),
            [](const Entry* a, const Entry* b) { return a->state.id < b->state.id; });
  for (const Entry* entry : all) visit(*entry);
}

}  // namespace ambit::agents
