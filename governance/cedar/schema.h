#pragma once

// Schema: which entity types, attributes and actions there are, so that policies can be checked
// before they decide anything. Read from either of Cedar's two forms. Immutable; names are fully
// qualified.

#include "cedar/value.h"

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace ambit::cedar {

struct Type {
  enum class Kind : std::uint8_t {
    boolean,
    always_true,  // a bool whose value is known
    always_false,
    integer,
    string,
    entity,  // `name` is its type
    set,     // of parts[0]
    record,  // names[i]: parts[i], sorted by name
    decimal,
    ip,
    datetime,
    duration,
  };
  Kind kind = Kind::boolean;
  std::string name;
  std::vector<Type> parts;
  std::vector<std::string> names;
  std::vector<bool> required;

  [[nodiscard]] bool is_boolean() const { return kind <= Kind::always_false; }
  // The place of an attribute of a record.
  [[nodiscard]] std::optional<std::size_t> find(std::string_view attribute) const;
  friend bool operator==(const Type&, const Type&) = default;
};

// "Set<Long>", "{name: String, age?: Long}", ...: for messages.
std::string to_text(const Type& type);

struct EntityType {
  std::vector<std::string> ancestors;  // types whose entities can be above it; sorted
  Type attributes{Type::Kind::record, {}, {}, {}, {}};
  std::optional<Type> tags;
  std::vector<std::string> choices;  // the only ids there are; empty: any
};

struct ActionType {
  std::vector<EntityUid> ancestors;  // sorted
  std::vector<std::string> principals;
  std::vector<std::string> resources;
  Type context{Type::Kind::record, {}, {}, {}, {}};
};

class Schema {
 public:
  // The human-readable form. Errors: FILE:LINE:COLUMN.
  static Result<Schema> from_text(std::string_view text, std::string_view source);
  // The JSON form. Errors name the JSON path.
  static Result<Schema> from_json(std::string_view json, std::string_view source);

  [[nodiscard]] const EntityType* entity_type(const std::string& name) const;
  [[nodiscard]] const ActionType* action(const EntityUid& uid) const;
  // The type of some action: "Action", "Corp::Action".
  [[nodiscard]] bool is_action_type(const std::string& name) const;
  // Whether an entity of `type` can be `group`'s or below one of it.
  [[nodiscard]] bool can_be_in(const std::string& type, const std::string& group) const;
  [[nodiscard]] bool is_in(const EntityUid& action, const EntityUid& group) const;

  [[nodiscard]] const std::map<std::string, EntityType>& entity_types() const { return entities_; }
  [[nodiscard]] const std::map<EntityUid, ActionType>& actions() const { return actions_; }

 private:
  friend class SchemaResolver;
  std::map<std::string, EntityType> entities_;
  std::map<EntityUid, ActionType> actions_;
};

// Whether a value is one of the type; the first fault with its path: "/address/city: expected a
// string, found the long 3".
Result<void> conforms(const Value& value, const Type& type, const Schema& schema);

}  // namespace ambit::cedar
