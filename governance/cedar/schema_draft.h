#pragma once

// A schema as it was read, before its names are resolved: what the two forms have in common.

#include "cedar/policy.h"
#include "cedar/schema.h"

#include <optional>
#include <string>
#include <vector>

namespace ambit::cedar {

struct DraftType {
  enum class Kind : std::uint8_t {
    name,       // a common type, an entity type or one of the language's own
    entity,     // an entity type
    common,     // a common type
    primitive,  // one of the language's own
    set,
    record,
  };
  Kind kind = Kind::record;
  std::string name;
  std::vector<DraftType> parts;
  std::vector<std::string> names;
  std::vector<bool> required;
  std::string where;  // "FILE:LINE:COLUMN" or a JSON path
};

struct DraftEntity {
  std::string space;  // the namespace; empty: none
  std::string name;
  std::vector<std::string> parents;
  DraftType shape;
  std::optional<DraftType> tags;
  std::vector<std::string> choices;
  std::string where;
};

struct DraftAction {
  std::string space;
  std::string id;
  std::vector<EntityUid> parents;  // an empty type: the actions of this namespace
  std::vector<std::string> principals;
  std::vector<std::string> resources;
  DraftType context;
  std::string where;
};

struct DraftCommon {
  std::string space;
  std::string name;
  DraftType type;
};

struct SchemaDraft {
  std::vector<DraftEntity> entities;
  std::vector<DraftAction> actions;
  std::vector<DraftCommon> commons;
};

Result<Schema> resolve(const SchemaDraft& draft);

}  // namespace ambit::cedar
