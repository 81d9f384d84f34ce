#include "rpc/schema_compiled.h"

#include <optional>
#include <utility>

namespace ambit::rpc {
namespace {

enum class Kind {
  schema,
  schemas,
  schema_map,
  schema_or_array,
  dependencies,
  count,
  number,
  number_or_bool,
  text,
  pattern,
  strings,
  string_lists,
  array,
  boolean,
  type,
  ref,
  other,
};

const std::map<std::string, Kind, std::less<>>& keywords() {
  static const std::map<std::string, Kind, std::less<>> table = {
      {"additionalItems", Kind::schema},
      {"additionalProperties", Kind::schema},
      {"contains", Kind::schema},
      {"else", Kind::schema},
      {"if", Kind::schema},
      {"items", Kind::schema_or_array},
      {"not", Kind::schema},
      {"propertyNames", Kind::schema},
      {"then", Kind::schema},
      {"unevaluatedItems", Kind::schema},
      {"unevaluatedProperties", Kind::schema},
      {"allOf", Kind::schemas},
      {"anyOf", Kind::schemas},
      {"oneOf", Kind::schemas},
      {"prefixItems", Kind::schemas},
      {"$defs", Kind::schema_map},
      {"definitions", Kind::schema_map},
      {"dependentSchemas", Kind::schema_map},
      {"patternProperties", Kind::schema_map},
      {"properties", Kind::schema_map},
      {"dependencies", Kind::dependencies},
      {"maxContains", Kind::count},
      {"maxItems", Kind::count},
      {"maxLength", Kind::count},
      {"maxProperties", Kind::count},
      {"minContains", Kind::count},
      {"minItems", Kind::count},
      {"minLength", Kind::count},
      {"minProperties", Kind::count},
      {"exclusiveMaximum", Kind::number_or_bool},
      {"exclusiveMinimum", Kind::number_or_bool},
      {"maximum", Kind::number},
      {"minimum", Kind::number},
      {"multipleOf", Kind::number},
      {"$anchor", Kind::text},
      {"$id", Kind::text},
      {"$schema", Kind::text},
      {"$ref", Kind::ref},
      {"pattern", Kind::pattern},
      {"required", Kind::strings},
      {"dependentRequired", Kind::string_lists},
      {"enum", Kind::array},
      {"uniqueItems", Kind::boolean},
      {"type", Kind::type},
      {"$dynamicRef", Kind::other},
      {"$recursiveRef", Kind::other},
  };
  return table;
}

bool is_type_name(const Json& json) {
  if (!json.is_string()) return false;
  const std::string& name = json.get_ref<const std::string&>();
  return name == "null" || name == "boolean" || name == "object" || name == "array" ||
         name == "number" || name == "integer" || name == "string";
}

bool all_strings(const Json& json) {
  if (!json.is_array()) return false;
  for (const Json& item : json) {
    if (!item.is_string()) return false;
  }
  return true;
}

bool is_count(const Json& json) {
  if (!json.is_number()) return false;
  const auto number = json.get<double>();
  return number >= 0 && number <= 9e15 &&
         number == static_cast<double>(static_cast<std::int64_t>(number));
}

// The little of RFC 3986 that names inside one document need.
std::string join_uri(const std::string& base, const std::string& ref) {
  if (ref.find("://") != std::string::npos || ref.rfind("urn:", 0) == 0 || base.empty()) return ref;
  const std::size_t scheme = base.find("://");
  if (!ref.empty() && ref[0] == '/' && scheme != std::string::npos) {
    return base.substr(0, base.find('/', scheme + 3)) + ref;
  }
  const std::size_t slash = base.rfind('/');
  if (slash == std::string::npos || (scheme != std::string::npos && slash < scheme + 3))
    return base + "/" + ref;
  return base.substr(0, slash + 1) + ref;
}

std::string without_fragment(const std::string& uri) {
  return uri.substr(0, uri.find('#'));
}

std::string unescape(std::string_view part) {
  std::string out;
  for (std::size_t i = 0; i < part.size(); ++i) {
    if (part[i] == '~' && i + 1 < part.size()) {
      out += part[++i] == '1' ? '/' : '~';
    } else if (part[i] == '%' && i + 2 < part.size()) {
      const std::string hex(part.substr(i + 1, 2));
      char* end = nullptr;
      const long byte = std::strtol(hex.c_str(), &end, 16);
      if (end != hex.c_str() + 2) return std::string(part);
      out += static_cast<char>(byte);
      i += 2;
    } else {
      out += part[i];
    }
  }
  return out;
}

}  // namespace

const Json* follow_pointer(const Json& root, std::string_view pointer) {
  if (!pointer.empty() && pointer[0] == '#') pointer.remove_prefix(1);
  const Json* at = &root;
  while (!pointer.empty()) {
    if (pointer[0] != '/') return nullptr;
    pointer.remove_prefix(1);
    const std::size_t length = std::min(pointer.find('/'), pointer.size());
    const std::string part = unescape(pointer.substr(0, length));
    pointer.remove_prefix(length);
    if (at->is_object()) {
      const auto found = at->find(part);
      if (found == at->end()) return nullptr;
      at = &*found;
    } else if (at->is_array() && !part.empty() && part.size() < 8 &&
               part.find_first_not_of("0123456789") == std::string::npos) {
      const std::size_t index = std::stoul(part);
      if (index >= at->size()) return nullptr;
      at = &(*at)[index];
    } else {
      return nullptr;
    }
  }
  return at;
}

// Walks the places where schemas stand (not into enum, const, default), checks the keywords' own
// shapes, then resolves the references that it met.
class SchemaCompiler {
 public:
  explicit SchemaCompiler(Schema::Compiled& out) : out_(out) {}

  Result<void> compile() {
    if (const Json* dialect = member(out_.root, "$schema");
        dialect != nullptr && dialect->is_string()) {
      const auto& name = dialect->get_ref<const std::string&>();
      out_.old_dialect = name.find("draft-0") != std::string::npos;
    } else {
      out_.old_dialect = out_.options.dialect == Dialect::draft_07;
    }
    TRY(walk(out_.root, "#", {&out_.root, ""}, 0));
    // A reference may lead to a place that no keyword names ("#/components/x"): walked when met.
    for (std::size_t i = 0; i < references_.size(); ++i) TRY(resolve(Reference(references_[i])));
    return {};
  }

 private:
  // The document (part) that "#..." is relative to: the nearest parent with an $id.
  struct Base {
    const Json* root;
    std::string uri;
  };
  struct Reference {
    const Json* schema;
    std::string path;
    Base base;
    std::string target;
    std::size_t depth;
  };

  static const Json* member(const Json& json, const char* key) {
    if (!json.is_object()) return nullptr;
    const auto at = json.find(key);
    return at == json.end() ? nullptr : &*at;
  }
  static tl::unexpected<Error> wrong(const std::string& path, const std::string& what) {
    return Err(Code::invalid, "schema " + path + ": " + what);
  }

  Result<void> walk(const Json& schema, const std::string& path, Base base, std::size_t depth) {
    if (depth > out_.options.depth_max) return wrong(path, "schemas nested too deeply");
    if (schema.is_boolean()) return {};
    if (!schema.is_object()) return wrong(path, "a schema must be an object, true or false");
    if (!visited_.emplace(&schema, true).second) return {};
    const Json* ref = member(schema, "$ref");
    if (!(out_.old_dialect && ref != nullptr)) enter(schema, base);
    for (auto at = schema.begin(); at != schema.end(); ++at) {
      const auto keyword = keywords().find(at.key());
      if (keyword == keywords().end()) continue;
      const std::string here = path + "/" + at.key();
      if (at.key().rfind("unevaluated", 0) == 0) out_.has_unevaluated = true;
      TRY(walk_keyword(schema, keyword->second, at.value(), here, base, depth));
    }
    return {};
  }

  // Takes note of the names that this schema gives itself.
  void enter(const Json& schema, Base& base) {
    const Json* id = member(schema, "$id");
    if (id != nullptr && id->is_string()) {
      const auto& name = id->get_ref<const std::string&>();
      if (!name.empty() && name[0] == '#') {
        named_[base.uri + name] = &schema;
      } else {
        base = {&schema, without_fragment(join_uri(base.uri, name))};
        named_[base.uri] = &schema;
      }
    }
    // Nothing leads to a dynamic anchor dynamically here ($dynamicRef is unchecked): it is a plain
    // name.
    for (const char* keyword : {"$anchor", "$dynamicAnchor"}) {
      const Json* anchor = member(schema, keyword);
      if (anchor == nullptr || !anchor->is_string()) continue;
      named_[base.uri + "#" + anchor->get<std::string>()] = &schema;
    }
  }

  Result<void> walk_keyword(const Json& schema, Kind kind, const Json& value,
                            const std::string& path, const Base& base, std::size_t depth) {
    switch (kind) {
      case Kind::schema:
        return walk(value, path, base, depth + 1);
      case Kind::schema_or_array:
        if (!value.is_array()) return walk(value, path, base, depth + 1);
        return walk_array(value, path, base, depth);
      case Kind::schemas:
        return walk_array(value, path, base, depth);
      case Kind::schema_map:
      case Kind::dependencies:
        return walk_map(kind, value, path, base, depth);
      case Kind::count:
        if (!is_count(value)) return wrong(path, "must be a whole number, not negative");
        return {};
      case Kind::number:
        if (!value.is_number()) return wrong(path, "must be a number");
        if (path.ends_with("/multipleOf") && value.get<double>() <= 0)
          return wrong(path, "must be above 0");
        return {};
      case Kind::number_or_bool:
        if (!value.is_number() && !value.is_boolean()) return wrong(path, "must be a number");
        return {};
      case Kind::text:
        if (!value.is_string()) return wrong(path, "must be a string");
        return {};
      case Kind::pattern:
        if (!value.is_string()) return wrong(path, "must be a string");
        add_pattern(value.get<std::string>(), path);
        return {};
      case Kind::strings:
        if (!all_strings(value)) return wrong(path, "must be an array of strings");
        return {};
      case Kind::string_lists:
        if (!value.is_object()) return wrong(path, "must be an object");
        for (const Json& list : value) {
          if (!all_strings(list)) return wrong(path, "must hold arrays of strings");
        }
        return {};
      case Kind::array:
        if (!value.is_array()) return wrong(path, "must be an array");
        return {};
      case Kind::boolean:
        if (!value.is_boolean()) return wrong(path, "must be true or false");
        return {};
      case Kind::type:
        return check_type(value, path);
      case Kind::ref:
        if (!value.is_string()) return wrong(path, "must be a string");
        references_.push_back({&schema, path, base, value.get<std::string>(), depth});
        return {};
      case Kind::other:
        out_.unchecked.push_back(path + ": this keyword is not supported");
        return {};
    }
    return {};
  }

  Result<void> walk_array(const Json& value, const std::string& path, const Base& base,
                          std::size_t depth) {
    if (!value.is_array()) return wrong(path, "must be an array of schemas");
    for (std::size_t i = 0; i < value.size(); ++i) {
      TRY(walk(value[i], path + "/" + std::to_string(i), base, depth + 1));
    }
    return {};
  }

  Result<void> walk_map(Kind kind, const Json& value, const std::string& path, const Base& base,
                        std::size_t depth) {
    if (!value.is_object()) return wrong(path, "must be an object of schemas");
    const bool patterns = path.ends_with("/patternProperties");
    for (auto at = value.begin(); at != value.end(); ++at) {
      const std::string here = path + "/" + at.key();
      if (patterns) add_pattern(at.key(), here);
      if (kind == Kind::dependencies && all_strings(at.value())) continue;
      TRY(walk(at.value(), here, base, depth + 1));
    }
    return {};
  }

  static Result<void> check_type(const Json& value, const std::string& path) {
    if (is_type_name(value)) return {};
    bool good = value.is_array() && !value.empty();
    for (std::size_t i = 0; good && i < value.size(); ++i) good = is_type_name(value[i]);
    if (!good)
      return wrong(
          path, "must name one or more of null, boolean, object, array, number, integer, string");
    return {};
  }

  void add_pattern(const std::string& expression, const std::string& path) {
    auto pattern = Pattern::compile(expression);
    if (pattern) {
      out_.patterns.emplace(expression, std::move(*pattern));
    } else {
      out_.unchecked.push_back(path + ": " + pattern.error().message);
    }
  }

  Result<void> resolve(const Reference& reference) {
    const std::string& target = reference.target;
    const std::size_t hash = std::min(target.find('#'), target.size());
    const std::string document = target.substr(0, hash);
    const std::string fragment = target.substr(hash);
    const Json* root = reference.base.root;
    std::string uri = reference.base.uri;
    if (!document.empty()) {
      uri = join_uri(uri, document);
      const auto at = named_.find(uri);
      if (at == named_.end()) {
        out_.unchecked.push_back(reference.path + ": " + target +
                                 " is not in this schema, and nothing is fetched");
        return {};
      }
      root = at->second;
    }
    const Json* meant = nullptr;
    if (fragment.size() > 1 && fragment[1] != '/') {
      const auto at = named_.find(uri + fragment);
      meant = at == named_.end() ? nullptr : at->second;
    } else {
      meant = follow_pointer(*root, fragment);
    }
    if (meant == nullptr) return wrong(reference.path, target + " leads nowhere");
    out_.refs[reference.schema] = meant;
    return walk(*meant, target, {root, uri}, reference.depth);
  }

  Schema::Compiled& out_;
  std::unordered_map<const Json*, bool> visited_;
  std::map<std::string, const Json*> named_;
  std::vector<Reference> references_;
};

Result<Schema> Schema::compile(const Json& schema, const SchemaOptions& options) {
  auto compiled = std::make_shared<Compiled>();
  compiled->root = schema;
  compiled->options = options;
  SchemaCompiler compiler(*compiled);
  TRY(compiler.compile());
  return Schema(std::move(compiled));
}

Result<Schema> Schema::parse(std::string_view text, const SchemaOptions& options) {
  const Value value = TRY(Value::parse(text));
  return compile(value.json(), options);
}

}  // namespace ambit::rpc
