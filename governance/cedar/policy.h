#pragma once

// A policy as it was written: effect, scope, conditions, annotations. The expressions are plain
// trees with the position of each node, so that an evaluation can say which clause failed and where
// it stands.

#include "async/result.h"
#include "cedar/value.h"

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ambit::cedar {

// Counted from 1; columns in characters. 0: not from a text (the JSON form).
struct Position {
  std::uint32_t line = 0;
  std::uint32_t column = 0;
  friend bool operator==(const Position&, const Position&) = default;
};

enum class Operator : std::uint8_t {
  literal,    // value
  principal,  // the four variables
  action,
  resource,
  context,
  conditional,  // if operands[0] then [1] else [2]
  all,          // a && b && ...
  any,          // a || b || ...
  negation,     // !a
  minus,        // -a
  equal,
  not_equal,
  less,
  less_equal,
  greater,
  greater_equal,
  add,
  subtract,
  multiply,
  in,
  has,        // operands[0] has names[0].names[1]...
  like,       // operands[0] like pattern
  is,         // operands[0] is names[0], or `is names[0] in operands[1]`
  attribute,  // operands[0].names[0]
  contains,
  contains_all,
  contains_any,
  is_empty,
  get_tag,
  has_tag,
  set,     // [operands...]
  record,  // {names[i]: operands[i]...}, sorted by name
  call,    // function(operands...)
};

// The functions and methods of the extension types.
enum class Function : std::uint8_t {
  decimal,
  ip,
  datetime,
  duration,
  less_than,
  less_than_or_equal,
  greater_than,
  greater_than_or_equal,
  is_ipv4,
  is_ipv6,
  is_loopback,
  is_multicast,
  is_in_range,
  offset,
  duration_since,
  to_date,
  to_time,
  to_milliseconds,
  to_seconds,
  to_minutes,
  to_hours,
  to_days,
};

// The pattern of `like`: literal pieces with a `*` (any run of characters) between each two of
// them.
struct Pattern {
  std::vector<std::string> pieces{std::string()};
  [[nodiscard]] bool matches(std::string_view text) const;
  friend bool operator==(const Pattern&, const Pattern&) = default;
};

struct Expression {
  Operator op = Operator::literal;
  Function function = Function::decimal;
  std::uint16_t depth = 1;  // of the tree below; bounded, since evaluation recurses
  Position where;
  Value value;
  std::vector<Expression> operands;
  std::vector<std::string> names;
  Pattern pattern;
};

enum class Effect : std::uint8_t { permit, forbid };
enum class ScopeKind : std::uint8_t { any, equal, in, is, is_in };

// One of the three parts of the scope: `principal`, `principal == E`, `in E`, `is T`, `is T in E`,
// and for the action also `in [E, ...]`.
struct Scope {
  ScopeKind kind = ScopeKind::any;
  bool slot = false;    // ?principal or ?resource stands where the entity will
  bool listed = false;  // the action `in [...]`, also with one entity
  std::string type;
  std::vector<EntityUid> entities;
};

struct Condition {
  bool when = true;  // false: unless
  Expression body;
  Position where;
};

struct Policy {
  std::string id;
  Effect effect = Effect::permit;
  Scope principal;
  Scope action;
  Scope resource;
  std::vector<Condition> conditions;
  std::vector<std::pair<std::string, std::string>> annotations;
  std::string text;    // as written, from the first annotation to the semicolon
  std::string source;  // the file's name
  Position where;

  // The value of an annotation; null if it has none of that name.
  [[nodiscard]] const std::string* annotation(std::string_view name) const;
  // It has a slot, so it decides nothing until it is linked.
  [[nodiscard]] bool is_template() const { return principal.slot || resource.slot; }
};

// A template with its slots filled: a policy. Errors: a slot without an entity, an entity without
// a slot.
Result<Policy> link(const Policy& of, std::string id, const EntityUid* principal,
                    const EntityUid* resource);

// Bounds on what is read; beyond them the text is refused with a message that names the bound.
struct Limits {
  std::size_t text_bytes_max = 8U << 20;
  std::size_t policies_max = 200'000;
  std::uint16_t depth_max = 200;     // of nested expressions
  std::size_t annotations_max = 64;  // of one policy
  // Refuses extension calls with a wrong number of arguments when they are read. The language
  // itself lets them fail only when they are evaluated; false keeps to that.
  bool arguments_counted = true;
};

// Reads all policies of a text. Ids are "policy0", "policy1", ... in order of appearance. Errors:
// "FILE:LINE:COLUMN: expected ..., found ...".
Result<std::vector<Policy>> parse_policies(std::string_view text, std::string_view source,
                                           const Limits& limits = {});

}  // namespace ambit::cedar
