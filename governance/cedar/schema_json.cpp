// The JSON form of a schema.

#include "cedar/json_form.h"
#include "cedar/schema_draft.h"

#include <nlohmann/json.hpp>

namespace ambit::cedar {
namespace {

using nlohmann::json;

constexpr std::size_t nesting_max = 100;

Result<std::vector<std::string>> names_of(const json& object, const char* name,
                                          const std::string& path) {
  const json* found = member(object, name);
  std::vector<std::string> names;
  if (found == nullptr || found->is_null()) return names;
  if (!found->is_array()) return bad(path + "/" + name, "must be an array of names");
  for (const json& one : *found) {
    if (!one.is_string()) return bad(path + "/" + name, "must be an array of names");
    names.push_back(one.get<std::string>());
  }
  return names;
}

Result<DraftType> type_of(const json& object, const std::string& path, std::size_t depth);

Result<void> record_of(const json& object, const std::string& path, std::size_t depth,
                       DraftType& made) {
  const json* open = member(object, "additionalAttributes");
  if (open != nullptr && *open != false) {
    return bad(path, "additionalAttributes is not part of the language: name the attributes");
  }
  const json* attributes = member(object, "attributes");
  if (attributes == nullptr) return {};
  if (!attributes->is_object()) return bad(path + "/attributes", "must be an object");
  for (const auto& [name, part] : attributes->items()) {
    const std::string at = path + "/attributes/" + name;
    made.names.push_back(name);
    made.parts.push_back(TRY(type_of(part, at, depth + 1)));
    const json* required = member(part, "required");
    if (required != nullptr && !required->is_boolean())
      return bad(at + "/required", "true or false");
    made.required.push_back(required == nullptr || required->get<bool>());
  }
  return {};
}

Result<DraftType> type_of(const json& object, const std::string& path, std::size_t depth) {
  if (depth > nesting_max) return bad(path, "the types are nested too deep");
  const std::string word = TRY(text_of(object, "type", path));
  DraftType made;
  made.where = path;
  if (word == "Record") {
    TRY(record_of(object, path, depth, made));
    return made;
  }
  if (word == "Set") {
    const json* element = member(object, "element");
    if (element == nullptr) return bad(path, "needs \"element\", the type of the elements");
    made.kind = DraftType::Kind::set;
    made.parts.push_back(TRY(type_of(*element, path + "/element", depth + 1)));
    return made;
  }
  if (word == "Entity" || word == "Extension" || word == "EntityOrCommon") {
    made.kind = word == "Entity"      ? DraftType::Kind::entity
                : word == "Extension" ? DraftType::Kind::primitive
                                      : DraftType::Kind::name;
    made.name = TRY(text_of(object, "name", path));
    return made;
  }
  const bool own = word == "String" || word == "Long" || word == "Boolean" || word == "Bool";
  made.kind = own ? DraftType::Kind::primitive : DraftType::Kind::common;
  made.name = word;
  return made;
}

Result<void> entity_of(const json& object, const std::string& path, DraftEntity made,
                       SchemaDraft& draft) {
  made.where = path;
  made.shape.where = path;
  made.parents = TRY(names_of(object, "memberOfTypes", path));
  made.choices = TRY(names_of(object, "enum", path));
  const json* shape = member(object, "shape");
  if (shape != nullptr) made.shape = TRY(type_of(*shape, path + "/shape", 0));
  const json* tags = member(object, "tags");
  if (tags != nullptr) made.tags = TRY(type_of(*tags, path + "/tags", 0));
  draft.entities.push_back(std::move(made));
  return {};
}

Result<void> action_of(const json& object, const std::string& path, DraftAction made,
                       SchemaDraft& draft) {
  made.where = path;
  made.context.where = path;
  const json* groups = member(object, "memberOf");
  if (groups != nullptr && groups->is_array()) {
    for (std::size_t i = 0; i < groups->size(); ++i) {
      const json* type = member((*groups)[i], "type");
      made.parents.push_back(
          {type != nullptr && type->is_string() ? type->get<std::string>() : "",
           TRY(text_of((*groups)[i], "id", path + "/memberOf/" + std::to_string(i)))});
    }
  }
  const json* applies = member(object, "appliesTo");
  if (applies != nullptr && applies->is_object()) {
    made.principals = TRY(names_of(*applies, "principalTypes", path + "/appliesTo"));
    made.resources = TRY(names_of(*applies, "resourceTypes", path + "/appliesTo"));
    const json* context = member(*applies, "context");
    if (context != nullptr) made.context = TRY(type_of(*context, path + "/appliesTo/context", 0));
  }
  draft.actions.push_back(std::move(made));
  return {};
}

// Calls `each(name, object, path)` for the members of one part of a namespace.
template <class Each>
Result<void> each_of(const json& space, const char* part, const std::string& path, Each each) {
  const json* all = member(space, part);
  if (all == nullptr) return {};
  if (!all->is_object()) return bad(path + "/" + part, "must be an object");
  for (const auto& [name, object] : all->items()) {
    TRY(each(name, object, path + "/" + part + "/" + name));
  }
  return {};
}

Result<void> space_of(const std::string& name, const json& space, SchemaDraft& draft) {
  const std::string path = "/" + name;
  if (!space.is_object()) return bad(path, "a namespace is an object");
  const auto common = [&](const std::string& id, const json& object,
                          const std::string& at) -> Result<void> {
    draft.commons.push_back({name, id, TRY(type_of(object, at, 0))});
    return {};
  };
  const auto entity = [&](const std::string& id, const json& object, const std::string& at) {
    DraftEntity made;
    made.space = name;
    made.name = id;
    return entity_of(object, at, std::move(made), draft);
  };
  TRY(each_of(space, "commonTypes", path, common));
  TRY(each_of(space, "entityTypes", path, entity));
  return each_of(space, "actions", path,
                 [&](const std::string& id, const json& object, const std::string& at) {
                   DraftAction made;
                   made.space = name;
                   made.id = id;
                   return action_of(object, at, std::move(made), draft);
                 });
}

Result<Schema> read(std::string_view text) {
  const json parsed = TRY(read_json(text));
  if (!parsed.is_object()) return bad("", "a schema is an object of namespaces");
  SchemaDraft draft;
  for (const auto& [name, space] : parsed.items()) TRY(space_of(name, space, draft));
  return resolve(draft);
}

}  // namespace

Result<Schema> Schema::from_json(std::string_view text, std::string_view source) {
  auto made = read(text);
  if (!made) return Err(std::move(made).error().context(std::string(source)));
  return made;
}

}  // namespace ambit::cedar
