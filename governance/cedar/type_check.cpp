#include "cedar/type_check.h"

#include "cedar/policy_set.h"
#include "cedar/syntax.h"
#include "cedar/write.h"

#include <algorithm>
#include <array>
#include <iterator>

namespace ambit::cedar {
namespace {

using Kind = Type::Kind;
using Typed = TypeCheck::Typed;
using Known = TypeCheck::Known;

Type plain(Kind kind) {
  return Type{kind, {}, {}, {}, {}};
}
Type entity_type(std::string name) {
  return Type{Kind::entity, std::move(name), {}, {}, {}};
}
Typed typed(Kind kind) {
  return Typed{plain(kind), {}};
}
Typed truth(bool value) {
  return typed(value ? Kind::always_true : Kind::always_false);
}

// The type of a value that is of one of the two types; nullopt: there is none.
std::optional<Type> join(const Type& a, const Type& b) {
  if (a.is_boolean() && b.is_boolean()) return a.kind == b.kind ? a : plain(Kind::boolean);
  if (a.kind != b.kind) return std::nullopt;
  if (a.kind == Kind::set || a.kind == Kind::record) {
    if (a.names != b.names || a.required != b.required || a.parts.size() != b.parts.size()) {
      return std::nullopt;
    }
    Type joined = a;
    for (std::size_t i = 0; i < a.parts.size(); ++i) {
      auto part = join(a.parts[i], b.parts[i]);
      if (!part) return std::nullopt;
      joined.parts[i] = std::move(*part);
    }
    return joined;
  }
  return a == b ? std::optional(a) : std::nullopt;
}

Known both(Known a, const Known& b) {
  a.insert(b.begin(), b.end());
  return a;
}
Known common(const Known& a, const Known& b) {
  Known out;
  std::set_intersection(a.begin(), a.end(), b.begin(), b.end(), std::inserter(out, out.begin()));
  return out;
}

std::string unlike(const Type& a, const Type& b) {
  return "the types " + to_text(a) + " and " + to_text(b) + " have nothing in common";
}

// What a function of an extension type takes and gives.
struct Signature {
  std::vector<Kind> arguments;
  Kind result = Kind::boolean;
};
Signature signature_of(Function function) {
  switch (function) {
    case Function::decimal:
      return {{Kind::string}, Kind::decimal};
    case Function::ip:
      return {{Kind::string}, Kind::ip};
    case Function::datetime:
      return {{Kind::string}, Kind::datetime};
    case Function::duration:
      return {{Kind::string}, Kind::duration};
    case Function::less_than:
    case Function::less_than_or_equal:
    case Function::greater_than:
    case Function::greater_than_or_equal:
      return {{Kind::decimal, Kind::decimal}, Kind::boolean};
    case Function::is_ipv4:
    case Function::is_ipv6:
    case Function::is_loopback:
    case Function::is_multicast:
      return {{Kind::ip}, Kind::boolean};
    case Function::is_in_range:
      return {{Kind::ip, Kind::ip}, Kind::boolean};
    case Function::offset:
      return {{Kind::datetime, Kind::duration}, Kind::datetime};
    case Function::duration_since:
      return {{Kind::datetime, Kind::datetime}, Kind::duration};
    case Function::to_date:
      return {{Kind::datetime}, Kind::datetime};
    case Function::to_time:
      return {{Kind::datetime}, Kind::duration};
    case Function::to_milliseconds:
    case Function::to_seconds:
    case Function::to_minutes:
    case Function::to_hours:
    case Function::to_days:
      break;
  }
  return {{Kind::duration}, Kind::integer};
}

std::string key_of(const std::string& owner, const std::string& attribute) {
  return owner + "." + quote(attribute);
}

// One text for one expression, whatever way it was written: has and attribute must agree.
std::string shape(const Expression& at, const Environment& environment) {
  if (at.op == Operator::attribute) return key_of(shape(at.operands[0], environment), at.names[0]);
  if (at.op == Operator::action) return to_text(environment.action);
  return to_text(at);
}

}  // namespace

std::optional<Typed> TypeCheck::fail(const Expression& at, const std::string& message) {
  report_(at.where, message);
  return std::nullopt;
}

std::optional<Typed> TypeCheck::expect(const Expression& at, const Known& known, Kind kind) {
  auto found = check(at, known);
  if (!found) return found;
  if (found->type.kind == kind || (kind == Kind::boolean && found->type.is_boolean())) return found;
  const std::string_view wanted = kind == Kind::entity   ? "an entity"
                                  : kind == Kind::set    ? "a set"
                                  : kind == Kind::record ? "a record"
                                                         : "";
  return fail(at, "expected " + (wanted.empty() ? to_text(plain(kind)) : std::string(wanted)) +
                      ", found " + to_text(found->type));
}

std::optional<Typed> TypeCheck::check_truth(const Expression& at, const Known& known) {
  return expect(at, known, Kind::boolean);
}

std::optional<Typed> TypeCheck::check(const Expression& at, const Known& known) {
  switch (at.op) {
    case Operator::literal:
      return literal(at, at.value);
    case Operator::principal:
      return Typed{entity_type(environment_.principal), {}};
    case Operator::action:
      return Typed{entity_type(environment_.action.type), {}};
    case Operator::resource:
      return Typed{entity_type(environment_.resource), {}};
    case Operator::context:
      return Typed{environment_.type->context, {}};
    case Operator::conditional:
      return conditional(at, known);
    case Operator::all:
    case Operator::any:
      return connective(at, known);
    case Operator::negation: {
      const auto operand = check_truth(at.operands[0], known);
      if (!operand) return operand;
      if (operand->type.kind == Kind::boolean) return typed(Kind::boolean);
      return truth(operand->type.kind == Kind::always_false);
    }
    case Operator::equal:
    case Operator::not_equal:
      return equality(at, known);
    case Operator::less:
    case Operator::less_equal:
    case Operator::greater:
    case Operator::greater_equal:
      return comparison(at, known);
    case Operator::minus:
    case Operator::add:
    case Operator::subtract:
    case Operator::multiply: {
      bool good = true;
      for (const Expression& operand : at.operands) {
        good = expect(operand, known, Kind::integer).has_value() && good;
      }
      return good ? std::optional(typed(Kind::integer)) : std::nullopt;
    }
    case Operator::in:
      return membership(at, known);
    case Operator::has:
      return has(at, known);
    case Operator::like:
      if (!expect(at.operands[0], known, Kind::string)) return std::nullopt;
      return typed(Kind::boolean);
    case Operator::is:
      return is(at, known);
    case Operator::attribute:
      return attribute(at, known);
    case Operator::contains:
    case Operator::contains_all:
    case Operator::contains_any:
    case Operator::is_empty:
      return set_method(at, known);
    case Operator::get_tag:
    case Operator::has_tag:
      return tag(at, known);
    case Operator::set:
      return literal_set(at, known);
    case Operator::record:
      return literal_record(at, known);
    case Operator::call:
      return call(at, known);
  }
  return std::nullopt;
}

std::optional<Typed> TypeCheck::literal(const Expression& at, const Value& value) {
  if (const auto* known = value.as<bool>()) return truth(*known);
  if (const auto* uid = value.as<EntityUid>()) {
    const EntityType* type = schema_.entity_type(uid->type);
    if (type == nullptr && schema_.action(*uid) == nullptr) {
      return fail(at, "the schema knows no " + to_text(*uid));
    }
    return Typed{entity_type(uid->type), {}};
  }
  if (const auto* set = value.as<Set>()) {
    if (set->elements.empty()) return fail(at, "the type of an empty set is not known");
    std::optional<Type> all;
    for (const Value& element : set->elements) {
      const auto one = literal(at, element);
      if (!one) return one;
      auto joined = all ? join(*all, one->type) : one->type;
      if (!joined) return fail(at, unlike(*all, one->type));
      all = std::move(joined);
    }
    Type made = plain(Kind::set);
    made.parts.push_back(std::move(*all));
    return Typed{std::move(made), {}};
  }
  if (const auto* record = value.as<Record>()) {
    Type made = plain(Kind::record);
    for (const auto& [name, field] : record->fields) {
      auto one = literal(at, field);
      if (!one) return one;
      made.names.push_back(name);
      made.parts.push_back(std::move(one->type));
      made.required.push_back(true);
    }
    return Typed{std::move(made), {}};
  }
  constexpr std::array<Kind, 10> kinds = {
      Kind::boolean, Kind::integer, Kind::string, Kind::entity,   Kind::set,
      Kind::record,  Kind::decimal, Kind::ip,     Kind::datetime, Kind::duration};
  return typed(kinds[value.data.index()]);
}

// Left to right, two at a time: what is left of an operand that decides is not looked at.
std::optional<Typed> TypeCheck::connective(const Expression& at, const Known& known) {
  const bool conjunction = at.op == Operator::all;
  const Kind decisive = conjunction ? Kind::always_false : Kind::always_true;
  auto left = check_truth(at.operands[0], known);
  for (std::size_t i = 1; i < at.operands.size(); ++i) {
    if (left && left->type.kind == decisive) {
      return conjunction ? truth(false) : *left;
    }
    const bool passes_on = conjunction && left;
    auto right = check_truth(at.operands[i], passes_on ? both(known, left->shown) : known);
    if (!left || !right) {
      left = std::nullopt;
      continue;
    }
    if (conjunction) {
      if (right->type.kind == decisive) {
        left = truth(false);
        continue;
      }
      const Kind kind = right->type.kind == Kind::always_true ? left->type.kind : Kind::boolean;
      left = Typed{plain(kind), both(std::move(left->shown), right->shown)};
    } else if (left->type.kind == Kind::always_false || right->type.kind == Kind::always_true) {
      left = std::move(right);
    } else if (right->type.kind == Kind::always_false) {
      left->type = plain(Kind::boolean);
    } else {
      left = Typed{plain(Kind::boolean), common(left->shown, right->shown)};
    }
  }
  return left;
}

std::optional<Typed> TypeCheck::conditional(const Expression& at, const Known& known) {
  const auto test = check_truth(at.operands[0], known);
  if (!test) {
    static_cast<void>(check(at.operands[1], known));
    static_cast<void>(check(at.operands[2], known));
    return std::nullopt;
  }
  if (test->type.kind == Kind::always_false) return check(at.operands[2], known);
  auto then = check(at.operands[1], both(known, test->shown));
  if (then) then->shown = both(std::move(then->shown), test->shown);
  if (test->type.kind == Kind::always_true) return then;
  const auto other = check(at.operands[2], known);
  if (!then || !other) return std::nullopt;
  auto type = join(then->type, other->type);
  if (!type) return fail(at, unlike(then->type, other->type));
  return Typed{std::move(*type), common(then->shown, other->shown)};
}

const EntityUid* TypeCheck::named(const Expression& at) const {
  if (at.op == Operator::action) return &environment_.action;
  return at.op == Operator::literal ? at.value.as<EntityUid>() : nullptr;
}

std::optional<std::vector<EntityUid>> TypeCheck::all_named(const Expression& at) const {
  std::vector<EntityUid> all;
  if (const EntityUid* one = named(at)) return std::vector<EntityUid>{*one};
  if (at.op == Operator::literal && at.value.as<Set>() != nullptr) {
    for (const Value& element : at.value.as<Set>()->elements) {
      const auto* uid = element.as<EntityUid>();
      if (uid == nullptr) return std::nullopt;
      all.push_back(*uid);
    }
    return all;
  }
  if (at.op != Operator::set) return std::nullopt;
  for (const Expression& element : at.operands) {
    const EntityUid* uid = named(element);
    if (uid == nullptr) return std::nullopt;
    all.push_back(*uid);
  }
  return all;
}

// What it is without asking anything: a literal that is no set and no record, the action, or "&&"
// and "||" of truth values alone, which the public engine's parser reads as one.
std::optional<Value> TypeCheck::constant(const Expression& of) const {
  if (of.op == Operator::action) return Value(environment_.action);
  if (of.op == Operator::literal) {
    const bool simple = of.value.as<Set>() == nullptr && of.value.as<Record>() == nullptr;
    return simple ? std::optional(of.value) : std::nullopt;
  }
  if (of.op != Operator::all && of.op != Operator::any) return std::nullopt;
  const bool conjunction = of.op == Operator::all;
  bool result = conjunction;
  for (const Expression& operand : of.operands) {
    const auto value = constant(operand);
    const bool* truth = value ? value->as<bool>() : nullptr;
    if (truth == nullptr) return std::nullopt;
    result = conjunction ? result && *truth : result || *truth;
  }
  return Value(result);
}

std::optional<Typed> TypeCheck::equality(const Expression& at, const Known& known) {
  const auto left = check(at.operands[0], known);
  const auto right = check(at.operands[1], known);
  if (!left || !right) return std::nullopt;
  const bool equal = at.op == Operator::equal;
  const auto a = constant(at.operands[0]);
  const auto b = constant(at.operands[1]);
  if (a && b) return truth((*a == *b) == equal);
  if (join(left->type, right->type)) return typed(Kind::boolean);
  if (left->type.kind == Kind::entity && right->type.kind == Kind::entity) return truth(!equal);
  return fail(at, unlike(left->type, right->type) + ", so they are never equal");
}

std::optional<Typed> TypeCheck::comparison(const Expression& at, const Known& known) {
  const auto left = check(at.operands[0], known);
  const auto right = check(at.operands[1], known);
  if (!left || !right) return std::nullopt;
  const Kind kind = left->type.kind;
  const bool ordered = kind == Kind::integer || kind == Kind::datetime || kind == Kind::duration;
  if (ordered && right->type.kind == kind) return typed(Kind::boolean);
  if (ordered) {
    return fail(at.operands[1],
                "expected " + to_text(left->type) + ", found " + to_text(right->type));
  }
  return fail(at.operands[0], "expected Long, found " + to_text(left->type));
}

std::optional<Typed> TypeCheck::membership(const Expression& at, const Known& known) {
  const auto left = expect(at.operands[0], known, Kind::entity);
  if (!left) {
    static_cast<void>(check(at.operands[1], known));
    return std::nullopt;
  }
  return member_of(at, at.operands[0], at.operands[1], *left, known);
}

std::optional<Typed> TypeCheck::member_of(const Expression& at, const Expression& left,
                                          const Expression& right, const Typed& of,
                                          const Known& known) {
  const auto group = check(right, known);
  if (!group) return group;
  const bool set = group->type.kind == Kind::set && group->type.parts[0].kind == Kind::entity;
  if (group->type.kind != Kind::entity && !set) {
    return fail(at, "expected an entity or a set of entities, found " + to_text(group->type));
  }
  const std::string& wanted = set ? group->type.parts[0].name : group->type.name;
  const EntityUid* one = named(left);
  const auto groups = all_named(right);
  if (one != nullptr && groups && schema_.action(*one) != nullptr) {
    return truth(std::any_of(groups->begin(), groups->end(),
                             [&](const EntityUid& each) { return schema_.is_in(*one, each); }));
  }
  if (schema_.can_be_in(of.type.name, wanted)) return typed(Kind::boolean);
  return truth(false);
}

std::optional<Typed> TypeCheck::is(const Expression& at, const Known& known) {
  const auto of = expect(at.operands[0], known, Kind::entity);
  if (!of) return of;
  if (of->type.name != at.names[0]) return truth(false);
  if (at.operands.size() == 1) return truth(true);
  return member_of(at, at.operands[0], at.operands[1], *of, known);
}

const Type* TypeCheck::attributes_of(const Type& owner) const {
  if (owner.kind == Kind::record) return &owner;
  const EntityType* type = schema_.entity_type(owner.name);
  return type == nullptr ? nullptr : &type->attributes;
}

std::optional<Typed> TypeCheck::has(const Expression& at, const Known& known) {
  auto owner = check(at.operands[0], known);
  if (!owner) return owner;
  Type type = std::move(owner->type);
  std::string place = shape(at.operands[0], environment_);
  Known shown;
  bool certain = true;
  for (const std::string& name : at.names) {
    if (type.kind != Kind::entity && type.kind != Kind::record) {
      return fail(at, "expected an entity or a record, found " + to_text(type));
    }
    const Type* attributes = attributes_of(type);
    const auto found = attributes == nullptr ? std::nullopt : attributes->find(name);
    if (!found) return truth(false);
    place = key_of(place, name);
    const bool there = known.contains(place) || shown.contains(place) ||
                       (type.kind == Kind::record && attributes->required[*found]);
    if (!there) shown.insert(place);
    certain = certain && there;
    Type next = attributes->parts[*found];
    type = std::move(next);
  }
  return Typed{plain(certain ? Kind::always_true : Kind::boolean), std::move(shown)};
}

std::optional<Typed> TypeCheck::attribute(const Expression& at, const Known& known) {
  const auto owner = check(at.operands[0], known);
  if (!owner) return owner;
  if (owner->type.kind != Kind::entity && owner->type.kind != Kind::record) {
    return fail(at.operands[0], "expected an entity or a record, found " + to_text(owner->type));
  }
  const Type* attributes = attributes_of(owner->type);
  const auto found = attributes == nullptr ? std::nullopt : attributes->find(at.names[0]);
  if (!found) {
    return fail(at, to_text(owner->type).substr(0, 80) + " has no attribute " + quote(at.names[0]));
  }
  if (!attributes->required[*found] && !known.contains(shape(at, environment_))) {
    return fail(
        at, "the attribute " + quote(at.names[0]) + " may be absent here; test with `has` first");
  }
  return Typed{attributes->parts[*found], {}};
}

std::optional<Typed> TypeCheck::tag(const Expression& at, const Known& known) {
  const auto owner = expect(at.operands[0], known, Kind::entity);
  const auto key = expect(at.operands[1], known, Kind::string);
  if (!owner || !key) return std::nullopt;
  const EntityType* type = schema_.entity_type(owner->type.name);
  const bool asks = at.op == Operator::has_tag;
  if (type == nullptr || !type->tags) {
    if (asks) return truth(false);
    return fail(at, "entities of the type " + owner->type.name + " have no tags");
  }
  const std::string place =
      shape(at.operands[0], environment_) + " tag " + shape(at.operands[1], environment_);
  if (asks) {
    if (known.contains(place)) return truth(true);
    return Typed{plain(Kind::boolean), {place}};
  }
  if (known.contains(place)) return Typed{*type->tags, {}};
  return fail(at, "this tag may be absent here; test with `hasTag` first");
}

std::optional<Typed> TypeCheck::set_method(const Expression& at, const Known& known) {
  const auto set = expect(at.operands[0], known, Kind::set);
  if (at.op == Operator::is_empty) {
    return set ? std::optional(typed(Kind::boolean)) : std::nullopt;
  }
  const bool element = at.op == Operator::contains;
  const auto argument =
      element ? check(at.operands[1], known) : expect(at.operands[1], known, Kind::set);
  if (!set || !argument) return std::nullopt;
  const Type& other = element ? argument->type : argument->type.parts[0];
  if (join(set->type.parts[0], other)) return typed(Kind::boolean);
  return fail(at, unlike(set->type.parts[0], other));
}

std::optional<Typed> TypeCheck::literal_set(const Expression& at, const Known& known) {
  if (at.operands.empty()) return fail(at, "the type of an empty set is not known");
  std::optional<Type> all;
  bool good = true;
  for (const Expression& operand : at.operands) {
    const auto one = check(operand, known);
    good = good && one;
    if (!good) continue;
    auto joined = all ? join(*all, one->type) : one->type;
    if (!joined) return fail(operand, unlike(*all, one->type));
    all = std::move(joined);
  }
  if (!good) return std::nullopt;
  Type made = plain(Kind::set);
  made.parts.push_back(std::move(*all));
  return Typed{std::move(made), {}};
}

std::optional<Typed> TypeCheck::literal_record(const Expression& at, const Known& known) {
  Type made = plain(Kind::record);
  bool good = true;
  for (std::size_t i = 0; i < at.operands.size(); ++i) {
    auto one = check(at.operands[i], known);
    good = good && one;
    if (!one) continue;
    made.names.push_back(at.names[i]);
    made.parts.push_back(std::move(one->type));
    made.required.push_back(true);
  }
  return good ? std::optional(Typed{std::move(made), {}}) : std::nullopt;
}

std::optional<Typed> TypeCheck::call(const Expression& at, const Known& known) {
  const Signature signature = signature_of(at.function);
  if (at.operands.size() != signature.arguments.size()) {
    return fail(at, "`" + std::string(callable_name(at.op, at.function)) +
                        "` has the wrong number of arguments");
  }
  bool good = true;
  for (std::size_t i = 0; i < at.operands.size(); ++i) {
    good = expect(at.operands[i], known, signature.arguments[i]).has_value() && good;
  }
  if (!good) return std::nullopt;
  if (is_function(at.function)) {
    if (at.operands[0].op != Operator::literal) {
      return fail(at, "`" + std::string(callable_name(at.op, at.function)) +
                          "` takes a string literal and nothing that is worked out");
    }
    const auto value = evaluate(at, Request{}, Entities{});
    if (!value) return fail(at, value.error().message);
  }
  return typed(signature.result);
}

}  // namespace ambit::cedar
