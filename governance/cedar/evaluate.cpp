#include "cedar/evaluate.h"

#include <algorithm>
#include <limits>

namespace ambit::cedar {
namespace {

const Value true_value{Value::Data(true)};
const Value false_value{Value::Data(false)};

const Value* boolean(bool value) {
  return value ? &true_value : &false_value;
}

// Negative, zero or positive; false if the two have no order.
template <class T>
bool compare_as(const Value& left, const Value& right, std::strong_ordering& order) {
  const T* a = left.as<T>();
  const T* b = right.as<T>();
  if (a == nullptr || b == nullptr) return false;
  order = *a <=> *b;
  return true;
}

bool holds(Operator op, std::strong_ordering order) {
  switch (op) {
    case Operator::less:
      return order < 0;
    case Operator::less_equal:
      return order <= 0;
    case Operator::greater:
      return order > 0;
    default:
      return order >= 0;
  }
}

}  // namespace

bool Pattern::matches(std::string_view text) const {
  if (pieces.size() == 1) return text == pieces.front();
  if (!text.starts_with(pieces.front())) return false;
  text.remove_prefix(pieces.front().size());
  if (!text.ends_with(pieces.back())) return false;
  text.remove_suffix(pieces.back().size());
  // Between the two ends the leftmost place of each piece is as good as any: no backtracking.
  for (std::size_t i = 1; i + 1 < pieces.size(); ++i) {
    const std::size_t at = text.find(pieces[i]);
    if (at == std::string_view::npos) return false;
    text.remove_prefix(at + pieces[i].size());
  }
  return true;
}

Evaluation::Outcome Evaluation::run(const Policy& policy) {
  if (!matches(policy.principal, request_.principal) || !matches(policy.action, request_.action) ||
      !matches(policy.resource, request_.resource)) {
    return Outcome::unsatisfied;
  }
  for (const Condition& condition : policy.conditions) {
    const bool* result = truth(condition.body);
    if (result == nullptr) return Outcome::failed;
    if (*result != condition.when) return Outcome::unsatisfied;
  }
  return Outcome::satisfied;
}

bool Evaluation::matches(const Scope& scope, const Value& value) const {
  if (scope.kind == ScopeKind::any) return true;
  const EntityUid& uid = *value.as<EntityUid>();
  const auto in = [this, &uid](const EntityUid& group) { return entities_.is_in(uid, group); };
  switch (scope.kind) {
    case ScopeKind::any:
      return true;
    case ScopeKind::equal:
      return uid == scope.entities.front();
    case ScopeKind::in:
      return std::any_of(scope.entities.begin(), scope.entities.end(), in);
    case ScopeKind::is:
      return uid.type == scope.type;
    case ScopeKind::is_in:
      return uid.type == scope.type && in(scope.entities.front());
  }
  return false;
}

const Value* Evaluation::make(Value value) {
  made_.push_front(std::move(value));
  return &made_.front();
}

const Value* Evaluation::fail(const Expression& at, const std::string& message) {
  message_ = at.where.line == 0 ? message
                                : "line " + std::to_string(at.where.line) + ", column " +
                                      std::to_string(at.where.column) + ": " + message;
  return nullptr;
}

const Value* Evaluation::fail_type(const Expression& at, std::string_view wanted,
                                   const Value& found) {
  return fail(at, "expected " + std::string(wanted) + ", found the " +
                      std::string(type_name(found)) + " " + to_text(found).substr(0, 80));
}

const Value* Evaluation::value(const Expression& at) {
  switch (at.op) {
    case Operator::literal:
      return &at.value;
    case Operator::principal:
      return &request_.principal;
    case Operator::action:
      return &request_.action;
    case Operator::resource:
      return &request_.resource;
    case Operator::context:
      return &request_.context;
    case Operator::conditional:
      return conditional(at);
    case Operator::all:
    case Operator::any:
      return connective(at);
    case Operator::negation: {
      const bool* operand = truth(at.operands[0]);
      return operand == nullptr ? nullptr : boolean(!*operand);
    }
    case Operator::equal:
    case Operator::not_equal: {
      const Value* left = value(at.operands[0]);
      const Value* right = left == nullptr ? nullptr : value(at.operands[1]);
      if (right == nullptr) return nullptr;
      return boolean((*left == *right) == (at.op == Operator::equal));
    }
    case Operator::less:
    case Operator::less_equal:
    case Operator::greater:
    case Operator::greater_equal:
      return comparison(at);
    case Operator::minus:
    case Operator::add:
    case Operator::subtract:
    case Operator::multiply:
      return arithmetic(at);
    case Operator::in:
      return membership(at);
    case Operator::has:
      return has(at);
    case Operator::like: {
      const auto* text = expect<std::string>(at.operands[0], "a string");
      return text == nullptr ? nullptr : boolean(at.pattern.matches(*text));
    }
    case Operator::is:
      return is(at);
    case Operator::attribute:
      return attribute(at);
    case Operator::contains:
    case Operator::contains_all:
    case Operator::contains_any:
    case Operator::is_empty:
      return set_method(at);
    case Operator::get_tag:
    case Operator::has_tag:
      return tag(at);
    case Operator::set:
      return literal_set(at);
    case Operator::record:
      return literal_record(at);
    case Operator::call:
      return call(at);
  }
  return nullptr;
}

const Value* Evaluation::conditional(const Expression& at) {
  const bool* test = truth(at.operands[0]);
  return test == nullptr ? nullptr : value(at.operands[*test ? 1 : 2]);
}

const Value* Evaluation::connective(const Expression& at) {
  const bool decisive = at.op == Operator::any;
  for (const Expression& operand : at.operands) {
    const bool* result = truth(operand);
    if (result == nullptr) return nullptr;
    if (*result == decisive) return boolean(decisive);
  }
  return boolean(!decisive);
}

const Value* Evaluation::comparison(const Expression& at) {
  const Value* left = value(at.operands[0]);
  const Value* right = left == nullptr ? nullptr : value(at.operands[1]);
  if (right == nullptr) return nullptr;
  auto order = std::strong_ordering::equal;
  if (!compare_as<std::int64_t>(*left, *right, order) &&
      !compare_as<Datetime>(*left, *right, order) && !compare_as<Timespan>(*left, *right, order)) {
    const bool comparable = left->as<std::int64_t>() != nullptr ||
                            left->as<Datetime>() != nullptr || left->as<Timespan>() != nullptr;
    return fail_type(at, comparable ? "a " + std::string(type_name(*left)) : "a long",
                     comparable ? *right : *left);
  }
  return boolean(holds(at.op, order));
}

const Value* Evaluation::arithmetic(const Expression& at) {
  const auto* left = expect<std::int64_t>(at.operands[0], "a long");
  if (left == nullptr) return nullptr;
  std::int64_t result = 0;
  bool overflow = false;
  if (at.op == Operator::minus) {
    overflow = __builtin_sub_overflow(std::int64_t{0}, *left, &result);
  } else {
    const auto* right = expect<std::int64_t>(at.operands[1], "a long");
    if (right == nullptr) return nullptr;
    if (at.op == Operator::add) overflow = __builtin_add_overflow(*left, *right, &result);
    if (at.op == Operator::subtract) overflow = __builtin_sub_overflow(*left, *right, &result);
    if (at.op == Operator::multiply) overflow = __builtin_mul_overflow(*left, *right, &result);
  }
  if (overflow) return fail(at, "the result does not fit into 64 bits");
  return make(Value(result));
}

const Value* Evaluation::membership(const Expression& at) {
  const Value* left = value(at.operands[0]);
  const Value* right = left == nullptr ? nullptr : value(at.operands[1]);
  if (right == nullptr) return nullptr;
  const auto* uid = left->as<EntityUid>();
  if (uid == nullptr) return fail_type(at.operands[0], "an entity", *left);
  if (const auto* group = right->as<EntityUid>()) return boolean(entities_.is_in(*uid, *group));
  const auto* groups = right->as<Set>();
  if (groups == nullptr) return fail_type(at.operands[1], "an entity or a set of entities", *right);
  for (const Value& element : groups->elements) {
    if (element.as<EntityUid>() == nullptr) return fail_type(at.operands[1], "an entity", element);
  }
  for (const Value& element : groups->elements) {
    if (entities_.is_in(*uid, *element.as<EntityUid>())) return boolean(true);
  }
  return boolean(false);
}

const Value* Evaluation::has(const Expression& at) {
  const Value* here = value(at.operands[0]);
  for (const std::string& name : at.names) {
    if (here == nullptr) return nullptr;
    const Record* fields = here->as<Record>();
    if (const auto* uid = here->as<EntityUid>()) {
      const Entity* entity = entities_.find(*uid);
      if (entity == nullptr) return boolean(false);
      fields = &entity->attributes;
    }
    if (fields == nullptr) return fail_type(at.operands[0], "an entity or a record", *here);
    here = fields->find(name);
    if (here == nullptr) return boolean(false);
  }
  return boolean(true);
}

const Value* Evaluation::is(const Expression& at) {
  const auto* uid = expect<EntityUid>(at.operands[0], "an entity");
  if (uid == nullptr) return nullptr;
  if (uid->type != at.names[0] || at.operands.size() == 1) return boolean(uid->type == at.names[0]);
  return membership(at);
}

const Value* Evaluation::attribute(const Expression& at) {
  const Value* of = value(at.operands[0]);
  if (of == nullptr) return nullptr;
  const Record* fields = of->as<Record>();
  if (const auto* uid = of->as<EntityUid>()) {
    const Entity* entity = entities_.find(*uid);
    if (entity == nullptr) return fail(at, "the entity " + to_text(*uid) + " is not known");
    fields = &entity->attributes;
  }
  if (fields == nullptr) return fail_type(at.operands[0], "an entity or a record", *of);
  const Value* found = fields->find(at.names[0]);
  if (found != nullptr) return found;
  return fail(at, (of->as<Record>() != nullptr ? "the record" : to_text(*of)) +
                      " has no attribute " + quote(at.names[0]) + "; test with `has` first");
}

const Value* Evaluation::tag(const Expression& at) {
  const Value* of = value(at.operands[0]);
  const Value* key = of == nullptr ? nullptr : value(at.operands[1]);
  if (key == nullptr) return nullptr;
  const auto* uid = of->as<EntityUid>();
  if (uid == nullptr) return fail_type(at.operands[0], "an entity", *of);
  const auto* name = key->as<std::string>();
  if (name == nullptr) return fail_type(at.operands[1], "a string", *key);
  const Entity* entity = entities_.find(*uid);
  const Value* found = entity == nullptr ? nullptr : entity->tags.find(*name);
  if (at.op == Operator::has_tag) return boolean(found != nullptr);
  if (found != nullptr) return found;
  if (entity == nullptr) return fail(at, "the entity " + to_text(*uid) + " is not known");
  return fail(at, to_text(*uid) + " has no tag " + quote(*name) + "; test with `hasTag` first");
}

const Value* Evaluation::set_method(const Expression& at) {
  const Value* of = value(at.operands[0]);
  if (of == nullptr) return nullptr;
  const Value* argument = at.op == Operator::is_empty ? of : value(at.operands[1]);
  if (argument == nullptr) return nullptr;
  const auto* set = of->as<Set>();
  if (set == nullptr) return fail_type(at.operands[0], "a set", *of);
  if (at.op == Operator::is_empty) return boolean(set->elements.empty());
  if (at.op == Operator::contains) return boolean(set->contains(*argument));
  const auto* other = argument->as<Set>();
  if (other == nullptr) return fail_type(at.operands[1], "a set", *argument);
  const auto inside = [set](const Value& element) { return set->contains(element); };
  const auto& elements = other->elements;
  return boolean(at.op == Operator::contains_all
                     ? std::all_of(elements.begin(), elements.end(), inside)
                     : std::any_of(elements.begin(), elements.end(), inside));
}

const Value* Evaluation::literal_set(const Expression& at) {
  std::vector<Value> elements;
  elements.reserve(at.operands.size());
  for (const Expression& operand : at.operands) {
    const Value* element = value(operand);
    if (element == nullptr) return nullptr;
    elements.push_back(*element);
  }
  return make(Value(make_set(std::move(elements))));
}

const Value* Evaluation::literal_record(const Expression& at) {
  Record record;
  record.fields.reserve(at.operands.size());
  for (std::size_t i = 0; i < at.operands.size(); ++i) {
    const Value* field = value(at.operands[i]);
    if (field == nullptr) return nullptr;
    record.fields.emplace_back(at.names[i], *field);
  }
  return make(Value(std::move(record)));
}

}  // namespace ambit::cedar
