// The JSON forms of entities and values. Numbers must be 64-bit integers; everything that is
// refused is named with its JSON path.

#include "cedar/entities.h"
#include "cedar/json_form.h"
#include "cedar/policy_set.h"
#include "cedar/syntax.h"

#include <nlohmann/json.hpp>

namespace ambit::cedar {
namespace {

using nlohmann::json;

constexpr std::size_t json_depth_max = 200;

Result<Value> value_of(const json& value, const std::string& path, std::size_t depth);
// {"fn": "ip", "arg": "10.0.0.1"}, or "args": [...] for a function of several.
Result<Value> extension_of(const json& call, const std::string& path, std::size_t depth) {
  const std::string name = TRY(text_of(call, "fn", path));
  std::vector<Expression> operands;
  const auto add = [&](const json& argument, const std::string& at) -> Result<void> {
    Expression literal;
    literal.value = TRY(value_of(argument, at, depth + 1));
    operands.push_back(std::move(literal));
    return {};
  };
  const json* one = member(call, "arg");
  const json* several = member(call, "args");
  if (one != nullptr) TRY(add(*one, path + "/arg"));
  if (one == nullptr && several != nullptr && several->is_array()) {
    for (std::size_t i = 0; i < several->size(); ++i) {
      TRY(add((*several)[i], path + "/args/" + std::to_string(i)));
    }
  }
  auto callable = find_function(name);
  if (!callable) {
    callable = find_method(name);
    if (callable) ++callable->arguments;
  }
  if (!callable || callable->op != Operator::call)
    return bad(path, "there is no function \"" + name + "\"");
  if (operands.size() != callable->arguments)
    return bad(path, "\"" + name + "\" lacks its argument");
  Expression expression;
  expression.op = Operator::call;
  expression.function = callable->function;
  expression.operands = std::move(operands);
  auto result = evaluate(expression, Request{}, Entities{});
  if (!result) return bad(path, result.error().message);
  return result;
}

Result<Value> value_of(const json& value, const std::string& path, std::size_t depth) {
  if (depth > json_depth_max) return bad(path, "the value is nested too deep");
  if (value.is_boolean()) return Value(value.get<bool>());
  if (value.is_string()) return Value(value.get<std::string>());
  if (value.is_number_unsigned() && value.get<std::uint64_t>() > INT64_MAX) {
    return bad(path, "the number does not fit into 64 bits");
  }
  if (value.is_number_integer()) return Value(value.get<std::int64_t>());
  if (value.is_array()) {
    std::vector<Value> elements;
    for (std::size_t i = 0; i < value.size(); ++i) {
      elements.push_back(TRY(value_of(value[i], path + "/" + std::to_string(i), depth + 1)));
    }
    return Value(make_set(std::move(elements)));
  }
  if (!value.is_object()) {
    return bad(path, value.is_null() ? "null is no value; leave the attribute out"
                                     : "only whole numbers are values; use {\"__extn\": {\"fn\": "
                                       "\"decimal\", \"arg\": \"1.5\"}}");
  }
  if (member(value, "__entity") != nullptr) return Value(TRY(uid_of(value, path)));
  const json* extension = member(value, "__extn");
  if (extension != nullptr) return extension_of(*extension, path + "/__extn", depth);
  Record record;
  for (const auto& [name, field] : value.items()) {
    record.set(name, TRY(value_of(field, path + "/" + name, depth + 1)));
  }
  return Value(std::move(record));
}

Result<Record> record_of(const json& object, const char* name, const std::string& path) {
  const json* found = member(object, name);
  if (found == nullptr) return Record{};
  if (!found->is_object()) return bad(path + "/" + name, "must be an object");
  Value value = TRY(value_of(*found, path + "/" + name, 0));
  if (value.as<Record>() == nullptr) return bad(path + "/" + name, "must be a record");
  return std::get<Record>(std::move(value.data));
}

}  // namespace

tl::unexpected<Error> bad(const std::string& path, const std::string& what) {
  return Err(Code::invalid, (path.empty() ? "/" : path) + ": " + what);
}

const json* member(const json& object, const char* name) {
  if (!object.is_object()) return nullptr;
  const auto at = object.find(name);
  return at == object.end() ? nullptr : &*at;
}

Result<std::string> text_of(const json& object, const char* name, const std::string& path) {
  const json* found = member(object, name);
  if (found == nullptr || !found->is_string()) {
    return bad(path, "needs \"" + std::string(name) + "\", a string");
  }
  return found->get<std::string>();
}

Result<EntityUid> uid_of(const json& value, const std::string& path) {
  const json* inner = member(value, "__entity");
  if (inner == nullptr) inner = &value;
  EntityUid uid{TRY(text_of(*inner, "type", path)), TRY(text_of(*inner, "id", path))};
  if (!is_path(uid.type)) return bad(path, "\"" + uid.type + "\" is not an entity type");
  return uid;
}

Result<Value> json_value(const json& value, const std::string& path) {
  return value_of(value, path, 0);
}

Result<json> read_json(std::string_view text) {
  // Nesting is bounded before the library's own recursion can matter.
  std::size_t depth = 0;
  bool in_string = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string && c == '\\') ++i;
    if (c == '"') in_string = !in_string;
    if (in_string) continue;
    if (c == '[' || c == '{') ++depth;
    if ((c == ']' || c == '}') && depth > 0) --depth;
    if (depth > 4 * json_depth_max) return Err(Code::invalid, "the JSON is nested too deep");
  }
  json parsed = json::parse(text, nullptr, false);
  if (parsed.is_discarded()) return Err(Code::invalid, "this is not JSON");
  return parsed;
}

Result<Value> value_from_json(std::string_view text) {
  const json parsed = TRY(read_json(text));
  return value_of(parsed, "", 0);
}

Result<std::vector<Entity>> entities_from_json(std::string_view text) {
  const json parsed = TRY(read_json(text));
  if (!parsed.is_array()) return Err(Code::invalid, "the entities must be an array");
  std::vector<Entity> entities;
  for (std::size_t i = 0; i < parsed.size(); ++i) {
    const std::string path = "/" + std::to_string(i);
    const json& object = parsed[i];
    const json* uid = member(object, "uid");
    if (uid == nullptr) return bad(path, "needs \"uid\", {\"type\": ..., \"id\": ...}");
    Entity entity;
    entity.uid = TRY(uid_of(*uid, path + "/uid"));
    entity.attributes = TRY(record_of(object, "attrs", path));
    entity.tags = TRY(record_of(object, "tags", path));
    const json* parents = member(object, "parents");
    if (parents != nullptr && !parents->is_array())
      return bad(path + "/parents", "must be an array");
    for (std::size_t k = 0; parents != nullptr && k < parents->size(); ++k) {
      entity.parents.push_back(TRY(uid_of((*parents)[k], path + "/parents/" + std::to_string(k))));
    }
    entities.push_back(std::move(entity));
  }
  return entities;
}

}  // namespace ambit::cedar
