#include "cedar/policy_set.h"

#include "cedar/evaluate.h"

#include <algorithm>
#include <array>
#include <unordered_map>
#include <unordered_set>

namespace ambit::cedar {
namespace {

struct UidHash {
  std::size_t operator()(const EntityUid& uid) const {
    const std::hash<std::string_view> hash;
    return hash(uid.type) * 31 + hash(uid.id);
  }
};

// What a policy asks of principal, action and resource, as numbers: an entity (== or in), a type
// (is), or 0 for anything. A request matches few such keys, and only policies under those keys can
// apply to it.
using Key = std::array<std::uint32_t, 3>;

struct KeyHash {
  std::size_t operator()(const Key& key) const {
    std::uint64_t mixed = key[0];
    mixed = mixed * 0x9E3779B97F4A7C15ULL + key[1];
    mixed = mixed * 0x9E3779B97F4A7C15ULL + key[2];
    return static_cast<std::size_t>(mixed ^ (mixed >> 29));
  }
};

// Which parts of a key are not 0, as bits.
std::size_t shape_of(const Key& key) {
  return (key[0] != 0 ? 1U : 0U) | (key[1] != 0 ? 2U : 0U) | (key[2] != 0 ? 4U : 0U);
}

}  // namespace

struct PolicySet::Index {
  explicit Index(const std::vector<Policy>& policies) {
    for (std::uint32_t i = 0; i < policies.size(); ++i) add(policies[i], i);
  }

  // The policies that can apply to the request, each once, in order.
  void candidates(const Request& request, const Entities& entities,
                  std::vector<std::uint32_t>& found) const {
    const std::array<std::vector<std::uint32_t>, 3> numbers = {
        numbers_of(*request.principal.as<EntityUid>(), entities),
        numbers_of(*request.action.as<EntityUid>(), entities),
        numbers_of(*request.resource.as<EntityUid>(), entities)};
    for (const std::uint32_t principal : numbers[0]) {
      for (const std::uint32_t action : numbers[1]) {
        for (const std::uint32_t resource : numbers[2]) {
          const Key key = {principal, action, resource};
          if (!shapes_[shape_of(key)]) continue;
          const auto at = buckets_.find(key);
          if (at != buckets_.end()) found.insert(found.end(), at->second.begin(), at->second.end());
        }
      }
    }
    std::sort(found.begin(), found.end());
    found.erase(std::unique(found.begin(), found.end()), found.end());
  }

 private:
  void add(const Policy& policy, std::uint32_t index) {
    if (policy.is_template()) return;
    const std::uint32_t principal = number_of(policy.principal);
    const std::uint32_t resource = number_of(policy.resource);
    if (policy.action.kind == ScopeKind::any) {
      insert({principal, 0, resource}, index);
    }
    for (const EntityUid& action : policy.action.entities) {
      insert({principal, entity_numbers_.try_emplace(action, next()).first->second, resource},
             index);
    }
  }

  void insert(const Key& key, std::uint32_t index) {
    std::vector<std::uint32_t>& bucket = buckets_[key];
    if (bucket.empty() || bucket.back() != index) bucket.push_back(index);
    shapes_[shape_of(key)] = true;
  }

  [[nodiscard]] std::uint32_t next() const {
    return static_cast<std::uint32_t>(entity_numbers_.size() + type_numbers_.size() + 1);
  }

  std::uint32_t number_of(const Scope& scope) {
    if (scope.kind == ScopeKind::any) return 0;
    if (scope.kind == ScopeKind::is)
      return type_numbers_.try_emplace(scope.type, next()).first->second;
    return entity_numbers_.try_emplace(scope.entities.front(), next()).first->second;
  }

  // 0, and the numbers of the type, the entity and its ancestors as far as any policy names them.
  [[nodiscard]] std::vector<std::uint32_t> numbers_of(const EntityUid& uid,
                                                      const Entities& entities) const {
    std::vector<std::uint32_t> numbers = {0};
    if (!type_numbers_.empty()) {
      const auto type = type_numbers_.find(uid.type);
      if (type != type_numbers_.end()) numbers.push_back(type->second);
    }
    if (entity_numbers_.empty()) return numbers;
    const auto add_entity = [this, &numbers](const EntityUid& entity) {
      const auto at = entity_numbers_.find(entity);
      if (at != entity_numbers_.end()) numbers.push_back(at->second);
    };
    add_entity(uid);
    for (const EntityUid& ancestor : entities.ancestors(uid)) {
      if (ancestor != uid) add_entity(ancestor);
    }
    return numbers;
  }

  std::unordered_map<EntityUid, std::uint32_t, UidHash> entity_numbers_;
  std::unordered_map<std::string, std::uint32_t> type_numbers_;
  std::unordered_map<Key, std::vector<std::uint32_t>, KeyHash> buckets_;
  std::array<bool, 8> shapes_{};
};

PolicySet::PolicySet(std::vector<Policy> policies)
    : policies_(std::move(policies)), index_(std::make_unique<const Index>(policies_)) {}
PolicySet::PolicySet(PolicySet&&) noexcept = default;
PolicySet& PolicySet::operator=(PolicySet&&) noexcept = default;
PolicySet::~PolicySet() = default;

Result<PolicySet> PolicySet::create(std::vector<Policy> policies) {
  std::unordered_map<std::string_view, const Policy*> seen;
  for (const Policy& policy : policies) {
    const auto [at, fresh] = seen.try_emplace(policy.id, &policy);
    if (fresh) continue;
    const auto place = [](const Policy& one) {
      return one.source + ":" + std::to_string(one.where.line) + ":" +
             std::to_string(one.where.column);
    };
    return Err(Code::invalid, place(policy) + ": the policy id " + quote(policy.id) +
                                  " is taken by the policy at " + place(*at->second) +
                                  "; give each policy an id of its own");
  }
  return PolicySet(std::move(policies));
}

Answer PolicySet::decide(const Request& request, const Entities& entities) const {
  std::vector<std::uint32_t> found;
  index_->candidates(request, entities, found);
  Answer answer;
  for (const std::uint32_t at : found) {
    const Policy& policy = policies_[at];
    Evaluation evaluation(request, entities);
    const auto outcome = evaluation.run(policy);
    if (outcome == Evaluation::Outcome::failed) {
      answer.errors.push_back(PolicyError{&policy, evaluation.message()});
    } else if (outcome == Evaluation::Outcome::satisfied) {
      (policy.effect == Effect::permit ? answer.permits : answer.forbids).push_back(&policy);
    }
  }
  return answer;
}

Result<bool> evaluate(const Policy& policy, const Request& request, const Entities& entities) {
  Evaluation evaluation(request, entities);
  const auto outcome = evaluation.run(policy);
  if (outcome == Evaluation::Outcome::failed) return Err(Code::invalid, evaluation.message());
  return outcome == Evaluation::Outcome::satisfied;
}

Result<Value> evaluate(const Expression& expression, const Request& request,
                       const Entities& entities) {
  Evaluation evaluation(request, entities);
  const Value* value = evaluation.value(expression);
  if (value == nullptr) return Err(Code::invalid, evaluation.message());
  return *value;
}

}  // namespace ambit::cedar
