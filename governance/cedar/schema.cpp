// The schema's own questions, and how the names of a draft become types.

#include "cedar/schema.h"

#include "cedar/schema_draft.h"
#include "cedar/syntax.h"

#include <algorithm>
#include <array>
#include <set>

namespace ambit::cedar {
namespace {

constexpr std::size_t types_max = 200'000;  // nodes of all types after common types are put in
constexpr std::size_t type_depth_max = 100;

std::string qualified(const std::string& space, const std::string& name) {
  return space.empty() ? name : space + "::" + name;
}

std::optional<Type> own_type(std::string_view name) {
  if (name.starts_with("__cedar::")) name.remove_prefix(9);
  const auto plain = [](Type::Kind kind) { return Type{kind, {}, {}, {}, {}}; };
  if (name == "Bool" || name == "Boolean") return plain(Type::Kind::boolean);
  if (name == "Long") return plain(Type::Kind::integer);
  if (name == "String") return plain(Type::Kind::string);
  if (name == "decimal") return plain(Type::Kind::decimal);
  if (name == "ipaddr") return plain(Type::Kind::ip);
  if (name == "datetime") return plain(Type::Kind::datetime);
  if (name == "duration") return plain(Type::Kind::duration);
  return std::nullopt;
}

Error at(const std::string& where, const std::string& what) {
  return Error{Code::invalid, where + ": " + what};
}

}  // namespace

class SchemaResolver {
 public:
  explicit SchemaResolver(const SchemaDraft& draft) : draft_(draft) {}

  Result<Schema> run() {
    for (const DraftCommon& common : draft_.commons) {
      const std::string name = qualified(common.space, common.name);
      if (!commons_.try_emplace(name, &common).second) {
        return Err(at(common.type.where, "the type " + name + " is given twice"));
      }
    }
    for (const DraftEntity& entity : draft_.entities) {
      const std::string name = qualified(entity.space, entity.name);
      if (is_action_type(name))
        return Err(at(entity.where, "Action is no name for an entity type"));
      if (!schema_.entities_.try_emplace(name).second) {
        return Err(at(entity.where, "the entity type " + name + " is given twice"));
      }
    }
    TRY(entities());
    TRY(actions());
    return std::move(schema_);
  }

 private:
  // The names that `name` can stand for, in the order of preference.
  static std::vector<std::string> meanings(const std::string& name, const std::string& space) {
    if (space.empty() || name.find("::") != std::string::npos) return {name};
    return {qualified(space, name), name};
  }

  Result<std::string> entity_name(const std::string& name, const std::string& space,
                                  const std::string& where) const {
    for (const std::string& meaning : meanings(name, space)) {
      if (schema_.entities_.contains(meaning)) return meaning;
    }
    return Err(at(where, "there is no entity type " + name));
  }

  Result<void> entities() {
    std::map<std::string, std::vector<std::string>> parents;
    for (const DraftEntity& draft : draft_.entities) {
      const std::string name = qualified(draft.space, draft.name);
      EntityType& made = schema_.entities_[name];
      for (const std::string& parent : draft.parents) {
        parents[name].push_back(TRY(entity_name(parent, draft.space, draft.where)));
      }
      made.attributes = TRY(type(draft.shape, draft.space, 0));
      if (made.attributes.kind != Type::Kind::record) {
        return Err(at(draft.where, "the attributes of " + name + " must be a record"));
      }
      if (draft.tags) made.tags = TRY(type(*draft.tags, draft.space, 0));
      made.choices = draft.choices;
    }
    for (auto& [name, made] : schema_.entities_) made.ancestors = closure(name, parents);
    return {};
  }

  template <class Key>
  static std::vector<Key> closure(const Key& of, const std::map<Key, std::vector<Key>>& parents) {
    std::set<Key> seen;
    std::vector<Key> open = {of};
    while (!open.empty()) {
      const Key next = std::move(open.back());
      open.pop_back();
      const auto found = parents.find(next);
      if (found == parents.end()) continue;
      for (const Key& parent : found->second) {
        if (seen.insert(parent).second) open.push_back(parent);
      }
    }
    return {seen.begin(), seen.end()};
  }

  Result<void> actions() {
    for (const DraftAction& draft : draft_.actions) {
      const EntityUid uid{qualified(draft.space, "Action"), draft.id};
      if (!schema_.actions_.try_emplace(uid).second) {
        return Err(at(draft.where, "the action " + to_text(uid) + " is given twice"));
      }
    }
    std::map<EntityUid, std::vector<EntityUid>> parents;
    for (const DraftAction& draft : draft_.actions) {
      const EntityUid uid{qualified(draft.space, "Action"), draft.id};
      ActionType& made = schema_.actions_[uid];
      for (const EntityUid& parent : draft.parents) {
        parents[uid].push_back(TRY(action_name(parent, draft)));
      }
      for (const std::string& name : draft.principals) {
        made.principals.push_back(TRY(entity_name(name, draft.space, draft.where)));
      }
      for (const std::string& name : draft.resources) {
        made.resources.push_back(TRY(entity_name(name, draft.space, draft.where)));
      }
      made.context = TRY(type(draft.context, draft.space, 0));
      if (made.context.kind != Type::Kind::record) {
        return Err(at(draft.where, "the context of " + to_text(uid) + " must be a record"));
      }
    }
    for (auto& [uid, made] : schema_.actions_) {
      made.ancestors = closure(uid, parents);
      if (std::binary_search(made.ancestors.begin(), made.ancestors.end(), uid)) {
        return Err(Code::invalid, "the action " + to_text(uid) + " is its own ancestor");
      }
    }
    return {};
  }

  Result<EntityUid> action_name(const EntityUid& parent, const DraftAction& draft) const {
    const std::string own = qualified(draft.space, "Action");
    for (const std::string& name :
         parent.type.empty() ? std::vector<std::string>{own} : meanings(parent.type, draft.space)) {
      if (schema_.actions_.contains({name, parent.id})) return EntityUid{name, parent.id};
    }
    return Err(at(draft.where, "there is no action " + quote(parent.id) + " to be below"));
  }

  Result<Type> type(const DraftType& draft, const std::string& space, std::size_t depth) {
    if (depth > type_depth_max || ++types_ > types_max) {
      return Err(at(draft.where, "the types are nested too deep, or into themselves"));
    }
    switch (draft.kind) {
      case DraftType::Kind::set: {
        Type made{Type::Kind::set, {}, {}, {}, {}};
        made.parts.push_back(TRY(type(draft.parts.at(0), space, depth + 1)));
        return made;
      }
      case DraftType::Kind::record:
        return record(draft, space, depth);
      default:
        return named(draft, space, depth);
    }
  }

  Result<Type> record(const DraftType& draft, const std::string& space, std::size_t depth) {
    std::map<std::string, std::size_t> places;
    for (std::size_t i = 0; i < draft.names.size(); ++i) {
      if (!places.try_emplace(draft.names[i], i).second) {
        return Err(at(draft.where, "the attribute " + quote(draft.names[i]) + " is given twice"));
      }
    }
    Type made{Type::Kind::record, {}, {}, {}, {}};
    for (const auto& [name, place] : places) {
      made.names.push_back(name);
      made.parts.push_back(TRY(type(draft.parts[place], space, depth + 1)));
      made.required.push_back(draft.required[place]);
    }
    return made;
  }

  Result<Type> named(const DraftType& draft, const std::string& space, std::size_t depth) {
    using Kind = DraftType::Kind;
    if (draft.kind != Kind::primitive) {
      for (const std::string& meaning : meanings(draft.name, space)) {
        const auto common = commons_.find(meaning);
        if (draft.kind != Kind::entity && common != commons_.end()) {
          return type(common->second->type, common->second->space, depth + 1);
        }
        if (draft.kind != Kind::common && schema_.entities_.contains(meaning)) {
          return Type{Type::Kind::entity, meaning, {}, {}, {}};
        }
        // Actions are entities too, without a declaration of their type.
        if (draft.kind != Kind::common && is_action_type(meaning) && has_actions(meaning)) {
          return Type{Type::Kind::entity, meaning, {}, {}, {}};
        }
      }
    }
    const auto own = draft.kind == Kind::entity ? std::nullopt : own_type(draft.name);
    if (own) return *own;
    return Err(at(draft.where, "there is no type " + draft.name));
  }

  [[nodiscard]] bool has_actions(const std::string& name) const {
    return std::any_of(draft_.actions.begin(), draft_.actions.end(), [&name](const auto& action) {
      return qualified(action.space, "Action") == name;
    });
  }

  const SchemaDraft& draft_;
  std::map<std::string, const DraftCommon*> commons_;
  std::size_t types_ = 0;
  Schema schema_;
};

Result<Schema> resolve(const SchemaDraft& draft) {
  return SchemaResolver(draft).run();
}

std::optional<std::size_t> Type::find(std::string_view attribute) const {
  const auto found = std::lower_bound(names.begin(), names.end(), attribute);
  if (found == names.end() || *found != attribute) return std::nullopt;
  return static_cast<std::size_t>(found - names.begin());
}

std::string to_text(const Type& type) {
  constexpr std::array<std::string_view, 12> words = {"Bool",    "True",   "False",    "Long",
                                                      "String",  "",       "Set",      "",
                                                      "decimal", "ipaddr", "datetime", "duration"};
  if (type.kind == Type::Kind::entity) return type.name;
  if (type.kind == Type::Kind::set) return "Set<" + to_text(type.parts[0]) + ">";
  if (type.kind != Type::Kind::record)
    return std::string(words[static_cast<std::size_t>(type.kind)]);
  std::string text = "{";
  for (std::size_t i = 0; i < type.names.size(); ++i) {
    text += (i > 0 ? ", " : "") + type.names[i] + (type.required[i] ? ": " : "?: ") +
            to_text(type.parts[i]);
  }
  return text + "}";
}

const EntityType* Schema::entity_type(const std::string& name) const {
  const auto found = entities_.find(name);
  return found == entities_.end() ? nullptr : &found->second;
}

const ActionType* Schema::action(const EntityUid& uid) const {
  const auto found = actions_.find(uid);
  return found == actions_.end() ? nullptr : &found->second;
}

bool Schema::is_action_type(const std::string& name) const {
  return std::any_of(actions_.begin(), actions_.end(),
                     [&name](const auto& one) { return one.first.type == name; });
}

bool Schema::can_be_in(const std::string& type, const std::string& group) const {
  if (type == group) return true;
  const EntityType* found = entity_type(type);
  return found != nullptr &&
         std::binary_search(found->ancestors.begin(), found->ancestors.end(), group);
}

bool Schema::is_in(const EntityUid& uid, const EntityUid& group) const {
  if (uid == group) return true;
  const ActionType* found = action(uid);
  return found != nullptr &&
         std::binary_search(found->ancestors.begin(), found->ancestors.end(), group);
}

namespace {

Result<void> conforms_at(const Value& value, const Type& type, const Schema& schema,
                         const std::string& path);

Result<void> record_conforms(const Record& record, const Type& type, const Schema& schema,
                             const std::string& path) {
  for (std::size_t i = 0; i < type.names.size(); ++i) {
    const Value* field = record.find(type.names[i]);
    if (field != nullptr)
      TRY(conforms_at(*field, type.parts[i], schema, path + "/" + type.names[i]));
    if (field == nullptr && type.required[i]) {
      return Err(Code::invalid, (path.empty() ? "/" : path) + ": needs " + quote(type.names[i]));
    }
  }
  for (const auto& [name, field] : record.fields) {
    if (!type.find(name)) {
      return Err(Code::invalid, path + "/" + name + ": the schema knows no such attribute");
    }
  }
  return {};
}

Result<void> conforms_at(const Value& value, const Type& type, const Schema& schema,
                         const std::string& path) {
  const auto wrong = [&] {
    return Err(Code::invalid, (path.empty() ? "/" : path) + ": expected " + to_text(type) +
                                  ", found the " + std::string(type_name(value)) + " " +
                                  to_text(value).substr(0, 80));
  };
  switch (type.kind) {
    case Type::Kind::record:
      if (const auto* record = value.as<Record>())
        return record_conforms(*record, type, schema, path);
      return wrong();
    case Type::Kind::set: {
      const auto* set = value.as<Set>();
      if (set == nullptr) return wrong();
      for (const Value& element : set->elements) {
        TRY(conforms_at(element, type.parts[0], schema, path + "/-"));
      }
      return {};
    }
    case Type::Kind::entity: {
      const auto* uid = value.as<EntityUid>();
      if (uid == nullptr || uid->type != type.name) return wrong();
      const EntityType* known = schema.entity_type(uid->type);
      if (known == nullptr || known->choices.empty()) return {};
      const auto& choices = known->choices;
      if (std::find(choices.begin(), choices.end(), uid->id) == choices.end()) return wrong();
      return {};
    }
    default:
      break;
  }
  constexpr std::array<std::size_t, 12> indexes = {0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9};
  if (value.data.index() != indexes[static_cast<std::size_t>(type.kind)]) return wrong();
  return {};
}

}  // namespace

Result<void> conforms(const Value& value, const Type& type, const Schema& schema) {
  return conforms_at(value, type, schema, "");
}

}  // namespace ambit::cedar
