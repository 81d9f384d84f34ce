#pragma once

// What is known about entities while a decision is made: attributes, tags and all ancestors (the
// parents and theirs, worked out once). Immutable after it is made, so that many decisions may read
// it.

#include "cedar/value.h"

#include <span>
#include <string_view>
#include <vector>

namespace ambit::cedar {

struct Entity {
  EntityUid uid;
  Record attributes;
  Record tags;
  std::vector<EntityUid> parents;
};

class Entities {
 public:
  Entities() = default;
  // Errors: an entity given twice, an entity that is its own ancestor.
  static Result<Entities> create(std::vector<Entity> entities);

  [[nodiscard]] const Entity* find(const EntityUid& uid) const;
  // Sorted; empty for an unknown entity.
  [[nodiscard]] std::span<const EntityUid> ancestors(const EntityUid& uid) const;
  // Whether `uid` is `group` or lies below it.
  [[nodiscard]] bool is_in(const EntityUid& uid, const EntityUid& group) const;
  [[nodiscard]] std::size_t size() const { return nodes_.size(); }

 private:
  struct Node {
    Entity entity;
    std::vector<EntityUid> ancestors;
  };
  [[nodiscard]] const Node* node(const EntityUid& uid) const;
  Node* node(const EntityUid& uid);
  Result<void> close_over_parents();

  std::vector<Node> nodes_;  // sorted by uid
};

// Entities as Cedar's JSON has them: [{"uid": {"type", "id"}, "attrs": {}, "parents": [], "tags":
// {}}].
Result<std::vector<Entity>> entities_from_json(std::string_view json);
// A value of that JSON: {"__entity": {...}} and {"__extn": {"fn", "arg"}} mean what they say.
Result<Value> value_from_json(std::string_view json);

}  // namespace ambit::cedar
