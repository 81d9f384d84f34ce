#include "cedar/entities.h"

#include <algorithm>

namespace ambit::cedar {
namespace {

template <class Nodes>
auto* search(Nodes& nodes, const EntityUid& uid) {
  const auto at = std::lower_bound(
      nodes.begin(), nodes.end(), uid,
      [](const auto& node, const EntityUid& wanted) { return node.entity.uid < wanted; });
  return at != nodes.end() && at->entity.uid == uid ? &*at : nullptr;
}

}  // namespace

Result<Entities> Entities::create(std::vector<Entity> entities) {
  Entities made;
  made.nodes_.reserve(entities.size());
  for (Entity& entity : entities) made.nodes_.push_back(Node{std::move(entity), {}});
  std::sort(made.nodes_.begin(), made.nodes_.end(),
            [](const Node& a, const Node& b) { return a.entity.uid < b.entity.uid; });
  for (std::size_t i = 1; i < made.nodes_.size(); ++i) {
    if (made.nodes_[i - 1].entity.uid == made.nodes_[i].entity.uid) {
      return Err(Code::invalid,
                 "the entity " + to_text(made.nodes_[i].entity.uid) + " is given twice");
    }
  }
  TRY(made.close_over_parents());
  return made;
}

// Depth first without recursion: an entity is done after all its parents are. A parent met while it
// is still open is an ancestor of itself.
Result<void> Entities::close_over_parents() {
  enum class State : std::uint8_t { fresh, open, done };
  std::vector<State> states(nodes_.size(), State::fresh);
  std::vector<std::size_t> stack;
  for (std::size_t start = 0; start < nodes_.size(); ++start) {
    if (states[start] == State::fresh) stack.push_back(start);
    while (!stack.empty()) {
      const std::size_t at = stack.back();
      Node& here = nodes_[at];
      if (states[at] != State::fresh) {
        stack.pop_back();
        if (states[at] == State::done) continue;
        for (const EntityUid& parent : here.entity.parents) {
          here.ancestors.push_back(parent);
          const Node* above = node(parent);
          if (above == nullptr) continue;
          here.ancestors.insert(here.ancestors.end(), above->ancestors.begin(),
                                above->ancestors.end());
        }
        std::sort(here.ancestors.begin(), here.ancestors.end());
        here.ancestors.erase(std::unique(here.ancestors.begin(), here.ancestors.end()),
                             here.ancestors.end());
        states[at] = State::done;
        continue;
      }
      states[at] = State::open;
      for (const EntityUid& parent : here.entity.parents) {
        const Node* above = node(parent);
        if (above == nullptr) continue;
        const auto index = static_cast<std::size_t>(above - nodes_.data());
        if (states[index] == State::open) {
          return Err(Code::invalid, "the entity " + to_text(parent) + " is its own ancestor");
        }
        if (states[index] == State::fresh) stack.push_back(index);
      }
    }
  }
  return {};
}

const Entities::Node* Entities::node(const EntityUid& uid) const {
  return search(nodes_, uid);
}
Entities::Node* Entities::node(const EntityUid& uid) {
  return search(nodes_, uid);
}

const Entity* Entities::find(const EntityUid& uid) const {
  const Node* found = node(uid);
  return found == nullptr ? nullptr : &found->entity;
}

std::span<const EntityUid> Entities::ancestors(const EntityUid& uid) const {
  const Node* found = node(uid);
  return found == nullptr ? std::span<const EntityUid>() : std::span(found->ancestors);
}

bool Entities::is_in(const EntityUid& uid, const EntityUid& group) const {
  if (uid == group) return true;
  const auto above = ancestors(uid);
  return std::binary_search(above.begin(), above.end(), group);
}

}  // namespace ambit::cedar
