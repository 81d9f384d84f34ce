#pragma once

// The type of an expression in one environment: a principal's type, an action, a resource's type.
// `known` are the attributes and tags that a `has` before has shown to be there.

#include "cedar/policy.h"
#include "cedar/schema.h"

#include <functional>
#include <optional>
#include <set>
#include <string>

namespace ambit::cedar {

struct Environment {
  std::string principal;
  EntityUid action;
  std::string resource;
  const ActionType* type = nullptr;  // of the action
};

class TypeCheck {
 public:
  using Report = std::function<void(Position, const std::string&)>;
  TypeCheck(const Schema& schema, const Environment& environment, Report report)
      : schema_(schema), environment_(environment), report_(std::move(report)) {}

  using Known = std::set<std::string>;
  struct Typed {
    Type type;
    Known shown;  // by this expression, where it is true
  };
  // Nullopt: it has no type; every fault was reported.
  std::optional<Typed> check(const Expression& at, const Known& known);
  // The same for a condition: what is no bool is reported.
  std::optional<Typed> check_truth(const Expression& at, const Known& known);

 private:
  std::optional<Typed> fail(const Expression& at, const std::string& message);
  std::optional<Typed> expect(const Expression& at, const Known& known, Type::Kind kind);
  std::optional<Typed> literal(const Expression& at, const Value& value);
  std::optional<Typed> connective(const Expression& at, const Known& known);
  std::optional<Typed> conditional(const Expression& at, const Known& known);
  std::optional<Typed> equality(const Expression& at, const Known& known);
  [[nodiscard]] std::optional<Value> constant(const Expression& of) const;
  std::optional<Typed> comparison(const Expression& at, const Known& known);
  std::optional<Typed> membership(const Expression& at, const Known& known);
  std::optional<Typed> member_of(const Expression& at, const Expression& left,
                                 const Expression& right, const Typed& of, const Known& known);
  std::optional<Typed> is(const Expression& at, const Known& known);
  std::optional<Typed> has(const Expression& at, const Known& known);
  std::optional<Typed> attribute(const Expression& at, const Known& known);
  std::optional<Typed> tag(const Expression& at, const Known& known);
  std::optional<Typed> set_method(const Expression& at, const Known& known);
  std::optional<Typed> literal_set(const Expression& at, const Known& known);
  std::optional<Typed> literal_record(const Expression& at, const Known& known);
  std::optional<Typed> call(const Expression& at, const Known& known);
  const Type* attributes_of(const Type& owner) const;
  // The entity that the expression names outright; the action counts.
  const EntityUid* named(const Expression& at) const;
  std::optional<std::vector<EntityUid>> all_named(const Expression& at) const;

  const Schema& schema_;
  const Environment& environment_;
  Report report_;
};

}  // namespace ambit::cedar
