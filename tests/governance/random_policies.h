#pragma once

// Random entities, requests and policies from a seed: mostly sound, sometimes not, so that every
// operator meets values of every type. For comparing the engine with itself and with others.

#include "cedar/entities.h"
#include "cedar/policy.h"
#include "cedar/policy_set.h"

#include <cstdint>
#include <random>
#include <string>
#include <vector>

namespace ambit::cedar {

class RandomPolicies {
 public:
  explicit RandomPolicies(std::uint64_t seed) : random_(seed) {}

  // The schema that the entities and requests keep to, in the human-readable form.
  static const char* schema();
  std::vector<Entity> entities();
  Request request();
  Policy policy(std::size_t number);

 private:
  std::size_t below(std::size_t count) {
    return std::uniform_int_distribution<std::size_t>(0, count - 1)(random_);
  }
  bool chance(std::size_t percent) { return below(100) < percent; }
  template <class T>
  const T& pick(const std::vector<T>& from) {
    return from[below(from.size())];
  }

  enum class Sort { truth, number, text, user, group, item, set, record, decimal, ip, time, span };
  EntityUid user() {
    return {"User", pick(std::vector<std::string>{"ada", "bob", "eve", "no one"})};
  }
  EntityUid group() { return {"Group", pick(std::vector<std::string>{"staff", "root", "all"})}; }
  EntityUid item() { return {"Item", pick(std::vector<std::string>{"a", "b", "c\n\"*\""})}; }
  std::int64_t number();
  std::string text();
  Value value(Sort sort);
  Record context();
  Scope scope(bool principal);
  Scope action_scope();
  Expression of(Sort sort, int depth);
  Expression truth(int depth);
  Expression attribute(Sort sort, int depth);
  Expression node(Operator op, std::vector<Expression> operands);
  Expression literal(Value value);
  Expression call(Function function, std::vector<Expression> operands);
  Expression variable(Operator op) { return node(op, {}); }
  Pattern pattern();

  std::mt19937_64 random_;
  bool extremes_ = false;
};

// As the JSON form has them, for other engines.
std::string to_json(const std::vector<Entity>& entities);
std::string to_json(const Value& value);

}  // namespace ambit::cedar
