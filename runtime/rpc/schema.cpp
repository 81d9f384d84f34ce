#include "rpc/schema.h"

#include "rpc/schema_compiled.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>

namespace ambit::rpc {
namespace {

constexpr std::size_t pattern_steps_max = 20'000'000;
constexpr std::size_t first_fault_bytes_max = 200;  // quoted of an alternative; alternatives nest

// Where we are in the value: links on the stack, turned into text only when something is wrong.
struct Place {
  const Place* parent = nullptr;
  std::string_view key;
  std::size_t index = 0;
  bool is_index = false;

  [[nodiscard]] std::string text() const {
    if (parent == nullptr) return "$";
    if (is_index) return parent->text() + "[" + std::to_string(index) + "]";
    return parent->text() + "." + std::string(utf8_prefix(key, 64));
  }
};

// Which members or items some schema has spoken for; `unevaluated...` asks.
struct Seen {
  std::vector<bool> members;
  std::vector<bool> items;

  static void mark(std::vector<bool>& marks, std::size_t index) {
    if (marks.size() <= index) marks.resize(index + 1);
    marks[index] = true;
  }
  [[nodiscard]] static bool has(const std::vector<bool>& marks, std::size_t index) {
    return index < marks.size() && marks[index];
  }
  void add(const Seen& other) {
    for (std::size_t i = 0; i < other.members.size(); ++i) {
      if (other.members[i]) mark(members, i);
    }
    for (std::size_t i = 0; i < other.items.size(); ++i) {
      if (other.items[i]) mark(items, i);
    }
  }
};

const Json* member(const Json& schema, const char* key) {
  const auto at = schema.find(key);
  return at == schema.end() ? nullptr : &*at;
}

long double number(const Json& json) {
  return json.get<long double>();
}

std::string said(const Json& json) {
  return std::string(utf8_prefix(compact(json), 80));
}

bool has_type(const Json& value, const std::string& name) {
  if (name == "object") return value.is_object();
  if (name == "array") return value.is_array();
  if (name == "string") return value.is_string();
  if (name == "boolean") return value.is_boolean();
  if (name == "null") return value.is_null();
  if (name == "number") return value.is_number();
  return value.is_number_integer() ||
         (value.is_number_float() && std::trunc(value.get<double>()) == value.get<double>());
}

std::string type_name(const Json& value) {
  return value.is_number() ? "number" : std::string(value.type_name());
}

// Decimal fractions have no exact binary form, so a quotient this close to a whole number is one.
bool is_multiple(long double value, long double of) {
  const long double quotient = value / of;
  if (std::fabs(quotient) > 1e15L) return std::fmod(value, of) == 0;
  return std::fabs(quotient - std::round(quotient)) <= 1e-9L;
}

}  // namespace

class Validation {
 public:
  explicit Validation(const Schema::Compiled& schema) : schema_(schema) {}

  Result<void> run(const Json& schema, const Json& value) {
    Seen seen;
    const bool good = eval(schema, value, {}, seen, 0);
    if (exhausted_)
      return Err(Code::exhausted,
                 "checking against the schema takes too much work: " + *exhausted_);
    if (!good) return Err(Code::invalid, fault_);
    return {};
  }

 private:
  bool fail(const Place& place, const std::string& what) {
    fault_ = place.text() + ": " + what;
    return false;
  }
  bool give_up(const std::string& why) {
    if (!exhausted_) exhausted_ = why;
    return false;
  }

  bool eval(const Json& schema, const Json& value, const Place& place, Seen& seen,
            std::size_t depth) {
    if (exhausted_) return false;
    if (++steps_ > schema_.options.steps_max) return give_up("too many steps");
    if (depth > schema_.options.depth_max)
      return give_up("nested too deeply, perhaps a $ref that leads to itself");
    if (schema.is_boolean()) {
      return schema.get<bool>() || fail(place, "is not allowed here");
    }
    if (const auto ref = schema_.refs.find(&schema); ref != schema_.refs.end()) {
      if (!eval(*ref->second, value, place, seen, depth + 1)) return false;
      if (schema_.old_dialect) return true;
    }
    if (!check_value(schema, value, place)) return false;
    if (value.is_number() && !check_number(schema, value, place)) return false;
    if (value.is_string() && !check_string(schema, value, place)) return false;
    if (value.is_object() && !check_object(schema, value, place, seen, depth)) return false;
    if (value.is_array() && !check_array(schema, value, place, seen, depth)) return false;
    if (!check_parts(schema, value, place, seen, depth)) return false;
    if (!schema_.has_unevaluated) return true;
    return check_unevaluated(schema, value, place, seen, depth);
  }

  // type, enum, const
  bool check_value(const Json& schema, const Json& value, const Place& place) {
    if (const Json* type = member(schema, "type")) {
      bool good = false;
      if (type->is_string()) {
        good = has_type(value, type->get_ref<const std::string&>());
      } else {
        for (const Json& name : *type)
          good = good || has_type(value, name.get_ref<const std::string&>());
      }
      if (!good) {
        return fail(place, "must be of type " +
                               (type->is_string() ? type->get<std::string>() : compact(*type)) +
                               ", is " + type_name(value));
      }
    }
    if (const Json* list = member(schema, "enum")) {
      steps_ += list->size();
      const bool good = std::any_of(list->begin(), list->end(),
                                    [&](const Json& item) { return same(item, value); });
      if (!good) return fail(place, "must be one of " + said(*list) + ", is " + said(value));
    }
    if (const Json* only = member(schema, "const"); only != nullptr && !same(*only, value)) {
      return fail(place, "must be " + said(*only) + ", is " + said(value));
    }
    return true;
  }

  // An exclusive bound is a number; draft-04 writes true beside the inclusive one.
  bool check_number(const Json& schema, const Json& value, const Place& place) {
    const long double is = number(value);
    const auto flag = [&](const char* key) {
      const Json* set = member(schema, key);
      return set != nullptr && set->is_boolean() && set->get<bool>();
    };
    const auto exclusive = [&](const char* key) {
      const Json* bound = member(schema, key);
      return bound != nullptr && bound->is_number() ? bound : nullptr;
    };
    if (const Json* least = member(schema, "minimum")) {
      const bool above = flag("exclusiveMinimum");
      if (is < number(*least) || (above && is == number(*least))) {
        return fail(place, (above ? "must be above " : "must be at least ") + said(*least));
      }
    }
    if (const Json* most = member(schema, "maximum")) {
      const bool below = flag("exclusiveMaximum");
      if (is > number(*most) || (below && is == number(*most))) {
        return fail(place, (below ? "must be below " : "must be at most ") + said(*most));
      }
    }
    if (const Json* low = exclusive("exclusiveMinimum"); low != nullptr && is <= number(*low)) {
      return fail(place, "must be above " + said(*low));
    }
    if (const Json* high = exclusive("exclusiveMaximum"); high != nullptr && is >= number(*high)) {
      return fail(place, "must be below " + said(*high));
    }
    if (const Json* of = member(schema, "multipleOf");
        of != nullptr && !is_multiple(is, number(*of))) {
      return fail(place, "must be a multiple of " + said(*of));
    }
    return true;
  }

  bool check_string(const Json& schema, const Json& value, const Place& place) {
    const auto& text = value.get_ref<const std::string&>();
    const Json* least = member(schema, "minLength");
    const Json* most = member(schema, "maxLength");
    if (least != nullptr || most != nullptr) {
      const auto length = static_cast<double>(count_code_points(text));
      if (least != nullptr && length < least->get<double>()) {
        return fail(place, "must have at least " + said(*least) + " characters");
      }
      if (most != nullptr && length > most->get<double>()) {
        return fail(place, "must have at most " + said(*most) + " characters");
      }
    }
    if (const Json* pattern = member(schema, "pattern")) {
      const auto found = matches(pattern->get_ref<const std::string&>(), text);
      if (exhausted_) return false;
      if (found && !*found) return fail(place, "must match the pattern " + said(*pattern));
    }
    return true;
  }

  // Nothing for a pattern that could not be compiled: it is among the unchecked.
  std::optional<bool> matches(const std::string& expression, const std::string& text) {
    const auto at = schema_.patterns.find(expression);
    if (at == schema_.patterns.end()) return std::nullopt;
    pattern_steps_ += at->second.size() * (text.size() + 1);
    if (pattern_steps_ > pattern_steps_max) {
      give_up("a long text and a large pattern");
      return std::nullopt;
    }
    return at->second.found_in(text);
  }

  bool check_sizes(const Json& schema, const Json& value, const Place& place, const char* least_key,
                   const char* most_key, const char* what) {
    const auto size = static_cast<double>(value.size());
    if (const Json* least = member(schema, least_key);
        least != nullptr && size < least->get<double>()) {
      return fail(place, "must have at least " + said(*least) + what);
    }
    if (const Json* most = member(schema, most_key);
        most != nullptr && size > most->get<double>()) {
      return fail(place, "must have at most " + said(*most) + what);
    }
    return true;
  }

  bool check_object(const Json& schema, const Json& value, const Place& place, Seen& seen,
                    std::size_t depth) {
    if (!check_sizes(schema, value, place, "minProperties", "maxProperties", " members"))
      return false;
    if (const Json* required = member(schema, "required")) {
      for (const Json& name : *required) {
        if (!check_present(value, name, place, "is missing")) return false;
      }
    }
    if (!check_members(schema, value, place, seen, depth)) return false;
    if (const Json* names = member(schema, "propertyNames")) {
      for (auto at = value.begin(); at != value.end(); ++at) {
        Seen unused;
        const Json name = at.key();
        if (!eval(*names, name, {&place, at.key()}, unused, depth + 1)) return false;
      }
    }
    return check_dependent(schema, value, place, seen, depth);
  }

  bool check_present(const Json& value, const Json& name, const Place& place,
                     const std::string& what) {
    const auto& key = name.get_ref<const std::string&>();
    if (value.contains(key)) return true;
    return fail({&place, key}, what);
  }

  // properties, patternProperties, additionalProperties
  bool check_members(const Json& schema, const Json& value, const Place& place, Seen& seen,
                     std::size_t depth) {
    const Json* properties = member(schema, "properties");
    const Json* patterns = member(schema, "patternProperties");
    const Json* additional = member(schema, "additionalProperties");
    if (properties == nullptr && patterns == nullptr && additional == nullptr) return true;
    std::size_t index = 0;
    for (auto at = value.begin(); at != value.end(); ++at, ++index) {
      const Place here{&place, at.key()};
      bool known = false;
      const auto apply = [&](const Json& part) {
        Seen inner;
        known = true;
        Seen::mark(seen.members, index);
        return eval(part, at.value(), here, inner, depth + 1);
      };
      if (properties != nullptr) {
        const auto property = properties->find(at.key());
        if (property != properties->end() && !apply(*property)) return false;
      }
      if (patterns != nullptr) {
        for (auto pattern = patterns->begin(); pattern != patterns->end(); ++pattern) {
          const auto found = matches(pattern.key(), at.key());
          // A name that an unchecked pattern might cover is not refused as unknown.
          if (!found) known = true;
          if (found.value_or(false) && !apply(pattern.value())) return false;
        }
      }
      if (exhausted_) return false;
      if (!known && additional != nullptr) {
        if (additional->is_boolean() && !additional->get<bool>()) {
          return fail(here, "is unknown here; known are " + names_of(properties));
        }
        if (!apply(*additional)) return false;
      }
    }
    return true;
  }

  static std::string names_of(const Json* properties) {
    if (properties == nullptr || properties->empty()) return "no members at all";
    std::string names;
    for (auto at = properties->begin(); at != properties->end(); ++at) {
      if (names.size() > 200) return names + ", ...";
      names += (names.empty() ? "" : ", ") + at.key();
    }
    return names;
  }

  // dependentRequired, dependentSchemas and draft-07's dependencies, which is both
  bool check_dependent(const Json& schema, const Json& value, const Place& place, Seen& seen,
                       std::size_t depth) {
    for (const char* keyword : {"dependentRequired", "dependentSchemas", "dependencies"}) {
      const Json* table = member(schema, keyword);
      if (table == nullptr) continue;
      for (auto at = table->begin(); at != table->end(); ++at) {
        if (!value.contains(at.key())) continue;
        if (at.value().is_array()) {
          for (const Json& name : at.value()) {
            if (!check_present(value, name, place, "is missing; " + at.key() + " asks for it"))
              return false;
          }
        } else if (!eval_part(at.value(), value, place, seen, depth)) {
          return false;
        }
      }
    }
    return true;
  }

  bool check_array(const Json& schema, const Json& value, const Place& place, Seen& seen,
                   std::size_t depth) {
    if (!check_sizes(schema, value, place, "minItems", "maxItems", " items")) return false;
    if (const Json* unique = member(schema, "uniqueItems");
        unique != nullptr && unique->get<bool>()) {
      if (!check_unique(value, place)) return false;
    }
    // Draft-07 writes the list of prefixItems as `items`, and the rest as `additionalItems`.
    const Json* rest = member(schema, "items");
    const Json* prefix = member(schema, "prefixItems");
    if (rest != nullptr && rest->is_array()) {
      prefix = rest;
      rest = member(schema, "additionalItems");
    }
    const std::size_t prefix_size = prefix == nullptr ? 0 : prefix->size();
    for (std::size_t i = 0; i < value.size(); ++i) {
      const Json* part = i < prefix_size ? &(*prefix)[i] : rest;
      if (part == nullptr) break;
      Seen inner;
      Seen::mark(seen.items, i);
      if (!eval(*part, value[i], {&place, {}, i, true}, inner, depth + 1)) return false;
    }
    return check_contains(schema, value, place, seen, depth);
  }

  bool check_unique(const Json& value, const Place& place) {
    std::vector<std::string> texts;
    for (const Json& item : value) texts.push_back(canonical(item));
    steps_ += texts.size();
    std::sort(texts.begin(), texts.end());
    const auto twice = std::adjacent_find(texts.begin(), texts.end());
    if (twice == texts.end()) return true;
    return fail(place,
                "must not hold the same item twice: " + std::string(utf8_prefix(*twice, 80)));
  }

  bool check_contains(const Json& schema, const Json& value, const Place& place, Seen& seen,
                      std::size_t depth) {
    const Json* contains = member(schema, "contains");
    if (contains == nullptr) return true;
    const Json* least = member(schema, "minContains");
    const Json* most = member(schema, "maxContains");
    double count = 0;
    for (std::size_t i = 0; i < value.size(); ++i) {
      Seen inner;
      if (!eval(*contains, value[i], {&place, {}, i, true}, inner, depth + 1)) continue;
      count += 1;
      if (!schema_.old_dialect) Seen::mark(seen.items, i);
    }
    if (exhausted_) return false;
    if (count < (least == nullptr ? 1 : least->get<double>())) {
      return fail(place, "holds too few items that fit `contains`");
    }
    if (most != nullptr && count > most->get<double>()) {
      return fail(place, "holds too many items that fit `contains`");
    }
    return true;
  }

  // A schema for the same value: what it has seen counts only if it fits.
  bool eval_part(const Json& schema, const Json& value, const Place& place, Seen& seen,
                 std::size_t depth) {
    if (!schema_.has_unevaluated) return eval(schema, value, place, seen, depth + 1);
    Seen inner;
    if (!eval(schema, value, place, inner, depth + 1)) return false;
    seen.add(inner);
    return true;
  }

  // allOf, anyOf, oneOf, not, if
  bool check_parts(const Json& schema, const Json& value, const Place& place, Seen& seen,
                   std::size_t depth) {
    if (const Json* all = member(schema, "allOf")) {
      for (const Json& part : *all) {
        if (!eval_part(part, value, place, seen, depth)) return false;
      }
    }
    if (const Json* any = member(schema, "anyOf")) {
      std::size_t fits = 0;
      std::string first;
      for (const Json& part : *any) {
        if (fits > 0 && !schema_.has_unevaluated) break;
        if (eval_part(part, value, place, seen, depth)) ++fits;
        if (first.empty()) first = utf8_prefix(fault_, first_fault_bytes_max);
      }
      if (exhausted_) return false;
      if (fits == 0)
        return fail(place, "fits none of the alternatives of anyOf; the first says " + first);
    }
    if (const Json* one = member(schema, "oneOf")) {
      std::size_t fits = 0;
      std::string first;
      for (const Json& part : *one) {
        if (eval_part(part, value, place, seen, depth)) ++fits;
        if (first.empty()) first = utf8_prefix(fault_, first_fault_bytes_max);
      }
      if (exhausted_) return false;
      if (fits == 0)
        return fail(place, "fits none of the alternatives of oneOf; the first says " + first);
      if (fits > 1)
        return fail(place, "fits " + std::to_string(fits) + " alternatives of oneOf, must fit one");
    }
    if (const Json* no = member(schema, "not")) {
      Seen inner;
      const bool fits = eval(*no, value, place, inner, depth + 1);
      if (exhausted_) return false;
      if (fits) return fail(place, "fits a schema under `not`");
    }
    return check_if(schema, value, place, seen, depth);
  }

  bool check_if(const Json& schema, const Json& value, const Place& place, Seen& seen,
                std::size_t depth) {
    const Json* condition = member(schema, "if");
    if (condition == nullptr) return true;
    const bool holds = eval_part(*condition, value, place, seen, depth);
    if (exhausted_) return false;
    const Json* then = member(schema, holds ? "then" : "else");
    return then == nullptr || eval_part(*then, value, place, seen, depth);
  }

  bool check_unevaluated(const Json& schema, const Json& value, const Place& place, Seen& seen,
                         std::size_t depth) {
    if (const Json* rest = member(schema, "unevaluatedProperties");
        rest != nullptr && value.is_object()) {
      std::size_t index = 0;
      for (auto at = value.begin(); at != value.end(); ++at, ++index) {
        if (Seen::has(seen.members, index)) continue;
        Seen inner;
        if (!eval(*rest, at.value(), {&place, at.key()}, inner, depth + 1)) return false;
        Seen::mark(seen.members, index);
      }
    }
    if (const Json* rest = member(schema, "unevaluatedItems");
        rest != nullptr && value.is_array()) {
      for (std::size_t i = 0; i < value.size(); ++i) {
        if (Seen::has(seen.items, i)) continue;
        Seen inner;
        if (!eval(*rest, value[i], {&place, {}, i, true}, inner, depth + 1)) return false;
        Seen::mark(seen.items, i);
      }
    }
    return true;
  }

  const Schema::Compiled& schema_;
  std::size_t steps_ = 0;
  std::size_t pattern_steps_ = 0;
  std::string fault_;
  std::optional<std::string> exhausted_;
};

Result<void> Schema::validate(const Json& value) const {
  return Validation(*compiled_).run(compiled_->root, value);
}

Result<void> Schema::validate_as(const std::string& pointer, const Json& value) const {
  const Json* schema = follow_pointer(compiled_->root, pointer);
  if (schema == nullptr) return Err(Code::not_found, "the schema has no " + pointer);
  return Validation(*compiled_).run(*schema, value);
}

const std::vector<std::string>& Schema::unchecked() const {
  return compiled_->unchecked;
}

}  // namespace ambit::rpc
