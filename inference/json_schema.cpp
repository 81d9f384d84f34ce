#include "inference/json_schema.h"

#include "inference/json_words.h"
#include "inference/pattern_language.h"
#include "inference/schema_merge.h"
#include "rpc/pattern.h"

#include <nlohmann/json.hpp>

#include <cmath>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace ambit::inference {

namespace {

using Json = nlohmann::ordered_json;

// RFC 3339, 5321, 1123, 3986, 4122 and ISO 8601 as far as an expression can say them.
std::string_view format_expression(std::string_view format) {
#define AMBIT_DATE                                                                   \
  "\\d{4}-(?:(?:0[1-9]|1[0-2])-(?:0[1-9]|1\\d|2[0-8])|(?:0[13-9]|1[0-2])-(?:29|30)|" \
  "(?:0[13578]|1[02])-31)"
#define AMBIT_TIME \
  "(?:[01]\\d|2[0-3]):[0-5]\\d:[0-5]\\d(?:\\.\\d{1,9})?(?:Z|[+-](?:[01]\\d|2[0-3]):[0-5]\\d)"
#define AMBIT_LABEL "[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
  static const std::map<std::string_view, std::string_view> expressions = {
      {"date", AMBIT_DATE},
      {"time", AMBIT_TIME},
      {"date-time", AMBIT_DATE "T" AMBIT_TIME},
      {"duration",
       "P(?:\\d{1,4}W|(?:\\d{1,4}Y(?:\\d{1,4}M(?:\\d{1,4}D)?)?|\\d{1,4}M(?:\\d{1,4}D)?|"
       "\\d{1,4}D)(?:T\\d{1,4}(?:H(?:\\d{1,4}M(?:\\d{1,4}S)?)?|M(?:\\d{1,4}S)?|S))?|"
       "T\\d{1,4}(?:H(?:\\d{1,4}M(?:\\d{1,4}S)?)?|M(?:\\d{1,4}S)?|S))"},
      {"email", "[A-Za-z0-9_+-]{1,32}(?:\\.[A-Za-z0-9_+-]{1,16}){0,2}@(?:" AMBIT_LABEL
                "\\.){1,4}[A-Za-z]{2,24}"},
      {"hostname", AMBIT_LABEL "(?:\\." AMBIT_LABEL "){0,3}"},
      {"ipv4",
       "(?:(?:25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)\\.){3}(?:25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)"},
      {"ipv6",
       "(?:[0-9A-Fa-f]{1,4}:){7}[0-9A-Fa-f]{1,4}|(?:[0-9A-Fa-f]{1,4}:){1,5}"
       "(?::[0-9A-Fa-f]{1,4}){1,2}|::(?:[0-9A-Fa-f]{1,4}:){0,5}[0-9A-Fa-f]{1,4}"},
      {"uri", "[A-Za-z][A-Za-z0-9+.-]{0,15}://" AMBIT_LABEL "(?:\\." AMBIT_LABEL
              "){0,3}(?::\\d{1,4})?(?:/[A-Za-z0-9._~-]{0,64}){0,8}"
              "(?:\\?[A-Za-z0-9._~=&-]{0,128})?(?:#[A-Za-z0-9._~-]{0,64})?"},
      {"uri-template", "[A-Za-z][A-Za-z0-9+.-]{0,15}://" AMBIT_LABEL "(?:\\." AMBIT_LABEL
                       "){0,3}(?::\\d{1,4})?(?:/[A-Za-z0-9._~-]{0,64}){0,8}"
                       "(?:\\?[A-Za-z0-9._~=&-]{0,128})?(?:#[A-Za-z0-9._~-]{0,64})?"},
      {"byte", "(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?"},
      {"json-pointer", "(?:/[A-Za-z0-9._-]*)*"},
      {"uuid", "[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}"}};
#undef AMBIT_DATE
#undef AMBIT_TIME
#undef AMBIT_LABEL
  const auto at = expressions.find(format);
  return at == expressions.end() ? std::string_view() : at->second;
}

bool is_of_type(const Json& value, const std::string& type) {
  if (type == "string") return value.is_string();
  if (type == "integer")
    return value.is_number_integer() ||
           (value.is_number() && std::trunc(value.get<double>()) == value.get<double>());
  if (type == "number") return value.is_number();
  if (type == "boolean") return value.is_boolean();
  if (type == "null") return value.is_null();
  if (type == "object") return value.is_object();
  return type == "array" && value.is_array();
}

bool fits_type(const Json& value, const Json& schema) {
  if (!schema.contains("type")) return true;
  const Json& type = schema["type"];
  if (type.is_string()) return is_of_type(value, type.get_ref<const std::string&>());
  for (const Json& each : type)
    if (each.is_string() && is_of_type(value, each.get_ref<const std::string&>())) return true;
  return false;
}

Json without(Json schema, const char* key) {
  schema.erase(key);
  return schema;
}

class Compiler {
 public:
  Compiler(Automaton& automaton, const Json& root, const SchemaLimits& limits,
           const std::set<std::string>& hopeless)
      : a_(automaton), words_(automaton), root_(root), limits_(limits), hopeless_(hopeless) {}

  Result<ExpressionId> value(const Json& schema, std::size_t depth) {
    if (++nodes_ > limits_.nodes_max) return Err(Code::exhausted, "the schema has too many parts");
    if (depth > limits_.depth_max) return Err(Code::exhausted, "the schema is nested too deeply");
    if (schema.is_boolean())
      return schema.get<bool>() ? any_json(a_, limits_.free_depth) : Automaton::never;
    if (!schema.is_object()) return Err(Code::invalid, "a schema must be an object or a boolean");
    if (schema.contains("$ref")) {
      const Json rest = without(schema, "$ref");
      if (is_annotation_only(rest)) return reference(schema["$ref"], depth);
      return together(*TRY(target(schema["$ref"])), rest, depth);
    }
    if (schema.contains("allOf")) return all_of(schema, depth);
    for (const char* key : {"anyOf", "oneOf"})
      if (schema.contains(key)) return any_of(schema, key, depth);
    if (schema.contains("const"))
      return fits_type(schema["const"], schema) ? words_.literal(schema["const"])
                                                : Automaton::never;
    if (schema.contains("enum")) return enumeration(schema);
    if (schema.contains("type")) {
      const Json& type = schema["type"];
      if (!type.is_array()) return typed(schema, type, depth);
      std::vector<ExpressionId> choices;
      for (const Json& each : type) choices.push_back(TRY(typed(schema, each, depth)));
      return a_.either(choices);
    }
    return typed(schema, implied_type(schema), depth);
  }

  // References whose languages have no text: a value would have to go on for ever.
  [[nodiscard]] std::set<std::string> endless() const {
    std::set<std::string> found;
    for (const auto& [name, rule] : rules_)
      if (!a_.has_text(rule)) found.insert(name);
    return found;
  }

 private:
  // A schema without a type that speaks of one kind of value is taken to want that kind.
  static Json implied_type(const Json& schema) {
    const auto says = [&](std::initializer_list<const char*> keys) {
      for (const char* key : keys)
        if (schema.contains(key)) return true;
      return false;
    };
    if (says({"properties", "required", "additionalProperties", "patternProperties",
              "propertyNames", "minProperties", "maxProperties"}))
      return "object";
    if (says({"items", "prefixItems", "minItems", "maxItems"})) return "array";
    if (says({"pattern", "format", "minLength", "maxLength"})) return "string";
    if (says({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"}))
      return "number";
    return nullptr;
  }

  Result<ExpressionId> enumeration(const Json& schema) {
    const Json& values = schema["enum"];
    if (!values.is_array() || values.empty())
      return Err(Code::invalid, "enum must be a list of values");
    std::vector<ExpressionId> choices;
    for (const Json& each : values) {
      if (++nodes_ > limits_.nodes_max)
        return Err(Code::exhausted, "the schema has too many parts");
      if (fits_type(each, schema)) choices.push_back(words_.literal(each));
    }
    return a_.either(choices);
  }

  // Both hold: as one schema where they can be written as one.
  Result<ExpressionId> together(const Json& a, const Json& b, std::size_t depth) {
    if (const auto one = merged(a, b)) return value(*one, depth + 1);
    return a_.both(TRY(value(a, depth + 1)), TRY(value(b, depth + 1)));
  }

  Result<ExpressionId> all_of(const Json& schema, std::size_t depth) {
    if (!schema["allOf"].is_array() || schema["allOf"].empty())
      return Err(Code::invalid, "allOf must be a list of schemas");
    Json whole = without(schema, "allOf");
    std::vector<ExpressionId> others;  // what cannot be written into `whole`
    for (const Json& each : schema["allOf"]) {
      const Json* part = &each;
      for (int hops = 0; hops < 16 && part->is_object() && part->contains("$ref") &&
                         is_annotation_only(without(*part, "$ref"));
           ++hops)
        part = TRY(target((*part)["$ref"]));
      if (auto one = merged(whole, *part))
        whole = std::move(*one);
      else
        others.push_back(TRY(value(*part, depth + 1)));
    }
    ExpressionId all = TRY(value(whole, depth + 1));
    for (const ExpressionId other : others) all = a_.both(all, other);
    return all;
  }

  Result<ExpressionId> any_of(const Json& schema, const char* key, std::size_t depth) {
    const Json& schemas = schema[key];
    if (!schemas.is_array() || schemas.empty())
      return Err(Code::invalid, "anyOf and oneOf must be lists of schemas");
    const Json beside = without(schema, key);
    const bool alone = is_annotation_only(beside);
    std::vector<ExpressionId> choices;
    for (const Json& each : schemas) {
      if (alone) {
        choices.push_back(TRY(value(each, depth + 1)));
        continue;
      }
      const bool refers = each.is_object() && each.contains("$ref");
      const Json& part = refers ? *TRY(target(each["$ref"])) : each;
      choices.push_back(TRY(together(beside, part, depth)));
    }
    return a_.either(choices);
  }

  // "#" or "#/a/b".
  Result<const Json*> target(const Json& name) {
    if (!name.is_string() || !name.get_ref<const std::string&>().starts_with('#'))
      return Err(Code::unsupported, "$ref outside the schema is not supported");
    const auto& text = name.get_ref<const std::string&>();
    try {
      const Json::json_pointer pointer(text.substr(1));
      if (root_.contains(pointer)) return &root_.at(pointer);
    } catch (const Json::exception&) {
      // said below
    }
    return Err(Code::invalid, "$ref " + text + " leads nowhere");
  }

  // A language that comes up inside itself is a rule. One that would begin with itself adds
  // nothing.
  Result<ExpressionId> reference(const Json& name, std::size_t depth) {
    const Json* schema = TRY(target(name));
    const auto& text = name.get_ref<const std::string&>();
    if (hopeless_.contains(text) || beginning_.contains(text)) return Automaton::never;
    if (const auto known = done_.find(text); known != done_.end()) return known->second;
    if (open_.contains(text)) {
      const auto [rule, is_new] = rules_.emplace(text, Automaton::never);
      if (is_new) rule->second = a_.declare(false);
      return rule->second;
    }
    open_.insert(text);
    beginning_.insert(text);
    auto body = value(*schema, depth + 1);
    beginning_.erase(text);
    open_.erase(text);
    if (!body) return body;
    if (const auto rule = rules_.find(text); rule != rules_.end()) a_.define(rule->second, *body);
    // Inside another open reference it may lack what that one would add at its beginning.
    if (beginning_.empty()) done_.emplace(text, *body);
    return body;
  }

  // Of what is inside an object or a list: something was said before it.
  Result<ExpressionId> inner(const Json& schema, std::size_t depth) {
    std::set<std::string> before;
    before.swap(beginning_);
    auto result = value(schema, depth + 1);
    beginning_.swap(before);
    return result;
  }

  Result<std::uint32_t> bound(const Json& schema, const char* key, std::uint32_t fallback) {
    if (!schema.contains(key)) return fallback;
    const Json& given = schema[key];
    if (!given.is_number() || given.get<double>() < 0)
      return Err(Code::invalid, std::string(key) + " must be a whole number");
    if (given.get<double>() > limits_.length_max)
      return fallback == 0 ? Err(Code::exhausted, std::string(key) + " is too big")
                           : Result<std::uint32_t>(fallback);
    return static_cast<std::uint32_t>(given.get<double>());
  }

  Result<ExpressionId> typed(const Json& schema, const Json& type, std::size_t depth) {
    if (type.is_null()) return any_json(a_, limits_.free_depth);
    if (!type.is_string()) return Err(Code::invalid, "type must be a name");
    const auto& name = type.get_ref<const std::string&>();
    if (name == "string") return string(schema);
    if (name == "integer") return integer(schema);
    if (name == "number") return words_.number(TRY(number_bounds(schema)));
    if (name == "boolean") return a_.either({a_.text("true"), a_.text("false")});
    if (name == "null") return a_.text("null");
    if (name == "object") return object(schema, depth);
    if (name == "array") return array(schema, depth);
    return Err(Code::invalid, "\"" + name + "\" is not a type of JSON Schema");
  }

  Result<ExpressionId> string(const Json& schema) {
    const std::uint32_t least = TRY(bound(schema, "minLength", 0));
    const std::uint32_t most = TRY(bound(schema, "maxLength", Automaton::unbounded));
    std::optional<ExpressionId> content;
    const auto narrow = [&](ExpressionId language) {
      content = content ? a_.both(*content, language) : language;
    };
    if (schema.contains("pattern")) {
      if (!schema["pattern"].is_string()) return Err(Code::invalid, "pattern must be a text");
      auto made = pattern_language(a_, schema["pattern"].get_ref<const std::string&>(),
                                   Match::anywhere, Spelling::json);
      if (!made && made.error().code == Code::invalid)
        return Err(std::move(made).error().context("pattern"));
      if (made) narrow(*made);
    }
    if (schema.contains("format") && schema["format"].is_string()) {
      const auto expression = format_expression(schema["format"].get_ref<const std::string&>());
      if (!expression.empty())
        narrow(TRY(pattern_language(a_, expression, Match::whole, Spelling::json)));
    }
    if (!content) return words_.string(least, most);
    if (least > 0 || most != Automaton::unbounded)
      narrow(a_.repeat(any_character(a_, Spelling::json), least, most));
    return words_.quoted(*content);
  }

  Result<NumberBounds> number_bounds(const Json& schema) {
    NumberBounds bounds;
    const auto read = [&](const char* key, const char* exclusive_key, bool lower) -> Result<void> {
      std::optional<double>& value = lower ? bounds.least : bounds.most;
      bool& open = lower ? bounds.above : bounds.below;
      if (schema.contains(key)) {
        if (!schema[key].is_number())
          return Err(Code::invalid, std::string(key) + " must be a number");
        value = schema[key].get<double>();
      }
      if (!schema.contains(exclusive_key)) return {};
      const Json& exclusive = schema[exclusive_key];
      if (exclusive.is_boolean()) {  // as draft 4 has it
        open = exclusive.get<bool>();
        return {};
      }
      if (!exclusive.is_number())
        return Err(Code::invalid, std::string(exclusive_key) + " must be a number");
      const auto limit = exclusive.get<double>();
      if (!value || (lower ? limit >= *value : limit <= *value)) {
        value = limit;
        open = true;
      }
      return {};
    };
    TRY(read("minimum", "exclusiveMinimum", true));
    TRY(read("maximum", "exclusiveMaximum", false));
    return bounds;
  }

  Result<ExpressionId> integer(const Json& schema) {
    const NumberBounds bounds = TRY(number_bounds(schema));
    if (schema.contains("multipleOf") && bounds.least && bounds.most &&
        *bounds.most - *bounds.least <= 1000 && std::abs(*bounds.least) < 1e15) {
      const Json& factor = schema["multipleOf"];
      if (!factor.is_number() || factor.get<double>() <= 0)
        return Err(Code::invalid, "multipleOf must be a number above 0");
      std::vector<ExpressionId> choices;
      for (double value = std::ceil(*bounds.least); value <= *bounds.most; ++value) {
        const bool out = (bounds.above && value == *bounds.least) ||
                         (bounds.below && value == *bounds.most) ||
                         std::abs(std::remainder(value, factor.get<double>())) > 1e-9;
        if (!out) choices.push_back(a_.text(std::to_string(static_cast<std::int64_t>(value))));
      }
      return a_.either(choices);
    }
    return words_.integer(bounds);
  }

  Result<ExpressionId> array(const Json& schema, std::size_t depth) {
    const std::uint32_t least = TRY(bound(schema, "minItems", 0));
    const std::uint32_t most = TRY(bound(schema, "maxItems", Automaton::unbounded));
    ExpressionId item = any_json(a_, limits_.free_depth);
    if (schema.contains("items")) item = TRY(inner(schema["items"], depth));
    if (!schema.contains("prefixItems"))
      return item == Automaton::never ? (least == 0 ? a_.text("[]") : Automaton::never)
                                      : words_.list(item, least, most);
    // All prefix items, then none or more of the others: a part of what the schema allows.
    if (!schema["prefixItems"].is_array())
      return Err(Code::invalid, "prefixItems must be a list of schemas");
    std::vector<ExpressionId> parts;
    for (const Json& each : schema["prefixItems"]) {
      const ExpressionId part = TRY(inner(each, depth));
      parts.push_back(parts.empty() ? part : a_.sequence(words_.comma(), part));
    }
    const auto fixed = static_cast<std::uint32_t>(parts.size());
    if (fixed == 0) return words_.list(item, least, most);
    if (most < fixed)
      return Err(Code::unsupported, "maxItems below the number of prefixItems is not supported");
    ExpressionId tail =
        a_.sequence(a_.repeat(a_.sequence(words_.comma(), item), least > fixed ? least - fixed : 0,
                              most == Automaton::unbounded ? most : most - fixed),
                    a_.text("]"));
    for (auto part = parts.rbegin(); part != parts.rend(); ++part) tail = a_.sequence(*part, tail);
    return a_.sequence(a_.text("["), tail);
  }

  Result<std::set<std::string>> required_names(const Json& schema) {
    std::set<std::string> required;
    if (!schema.contains("required")) return required;
    if (!schema["required"].is_array())
      return Err(Code::invalid, "required must be a list of names");
    for (const Json& name : schema["required"]) {
      if (!name.is_string()) return Err(Code::invalid, "required must be a list of names");
      required.insert(name.get<std::string>());
    }
    return required;
  }

  // Members that no property names: `"key": value` for keys that a pattern takes, and for all
  // others where additionalProperties says of what kind they are. `never`: there are none.
  Result<ExpressionId> further_members(const Json& schema, std::size_t depth) {
    const Json further =
        schema.contains("additionalProperties") ? schema["additionalProperties"] : Json();
    const bool has_patterns = schema.contains("patternProperties");
    const bool is_free = further.is_null() && !has_patterns && !schema.contains("properties");
    if (further == Json(false) && !has_patterns) return Automaton::never;
    if (further.is_null() && !has_patterns && !is_free) return Automaton::never;
    const bool any_key =
        !schema.contains("properties") && !has_patterns && !schema.contains("propertyNames");
    ExpressionId keys = words_.string();
    if (!any_key) {
      keys = words_.quoted(a_.repeat(any_character(a_, Spelling::json), 0, Automaton::unbounded));
      if (schema.contains("propertyNames")) {
        Json names = schema["propertyNames"];
        if (names.is_object() && !names.contains("type")) names["type"] = "string";
        keys = a_.both(keys, TRY(inner(names, depth)));
      }
      std::vector<ExpressionId> named;
      if (schema.contains("properties"))
        for (const auto& [name, of] : schema["properties"].items())
          named.push_back(words_.literal(Json(name)));
      for (const std::string& name : TRY(required_names(schema)))
        named.push_back(words_.literal(Json(name)));
      keys = a_.except(keys, a_.either(named));
    }
    std::vector<ExpressionId> members;
    if (has_patterns) {
      if (!schema["patternProperties"].is_object())
        return Err(Code::invalid, "patternProperties must be an object");
      std::vector<ExpressionId> matching;
      for (const auto& [pattern, of] : schema["patternProperties"].items())
        matching.push_back(
            words_.quoted(TRY(pattern_language(a_, pattern, Match::anywhere, Spelling::json))));
      std::size_t index = 0;
      for (const auto& [pattern, of] : schema["patternProperties"].items()) {
        ExpressionId own = a_.both(keys, matching[index]);
        // A key that several patterns take would have to please them all: it is not made.
        for (std::size_t other = 0; other < matching.size(); ++other)
          if (other != index) own = a_.except(own, matching[other]);
        members.push_back(a_.sequence({own, words_.colon(), TRY(inner(of, depth))}));
        ++index;
      }
      keys = a_.except(keys, a_.either(matching));
    }
    if (further.is_object() || further == Json(true) || is_free) {
      const ExpressionId value =
          further.is_object() ? TRY(inner(further, depth)) : any_json(a_, limits_.free_depth - 1);
      members.push_back(a_.sequence({keys, words_.colon(), value}));
    }
    return a_.either(members);
  }

  // A property that a pattern takes too has to please both.
  Result<ExpressionId> named_member(const Json& schema, const std::string& name, const Json& of,
                                    std::size_t depth) {
    if (!schema.contains("patternProperties")) return inner(of, depth);
    Json all = Json::array({of});
    for (const auto& [pattern, also] : schema["patternProperties"].items()) {
      const auto expression = TRY(rpc::Pattern::compile(pattern));
      if (expression.found_in(name)) all.push_back(also);
    }
    return inner(all.size() == 1 ? of : Json{{"allOf", all}}, depth);
  }

  Result<ExpressionId> object(const Json& schema, std::size_t depth) {
    if (schema.contains("properties") && !schema["properties"].is_object())
      return Err(Code::invalid, "properties must be an object");
    const std::set<std::string> required = TRY(required_names(schema));
    const ExpressionId further = TRY(further_members(schema, depth));
    std::vector<std::pair<std::string, ExpressionId>> members;
    if (schema.contains("properties")) {
      for (const auto& [name, of] : schema["properties"].items()) {
        const ExpressionId member = TRY(named_member(schema, name, of, depth));
        const ExpressionId key = a_.sequence(words_.literal(Json(name)), words_.colon());
        members.emplace_back(name, a_.sequence(key, member));
      }
    }
    for (const std::string& name : required) {
      bool known = false;
      for (const auto& member : members) known = known || member.first == name;
      if (known) continue;
      const Json* of =
          schema.contains("additionalProperties") ? &schema["additionalProperties"] : nullptr;
      const ExpressionId unnamed = of != nullptr && !of->is_boolean()
                                       ? TRY(inner(*of, depth))
                                       : any_json(a_, limits_.free_depth);
      members.emplace_back(name,
                           a_.sequence({words_.literal(Json(name)), words_.colon(), unnamed}));
    }
    if (members.empty())
      return words_.map(further, TRY(bound(schema, "minProperties", 0)),
                        TRY(bound(schema, "maxProperties", Automaton::unbounded)));
    // From the back: what may follow when something was said already, and when nothing was.
    const bool open = further != Automaton::never && schema.contains("properties");
    const ExpressionId more =
        open ? a_.repeat(a_.sequence(words_.comma(), further), 0, Automaton::unbounded)
             : Automaton::nothing;
    ExpressionId after_some = a_.sequence(more, a_.text("}"));
    ExpressionId after_none =
        open ? a_.either({a_.text("}"), a_.sequence({further, more, a_.text("}")})}) : a_.text("}");
    for (auto member = members.rbegin(); member != members.rend(); ++member) {
      const ExpressionId said = a_.sequence({words_.comma(), member->second, after_some});
      const ExpressionId said_first = a_.sequence(member->second, after_some);
      const bool must = required.contains(member->first);
      after_some = must ? said : a_.either({said, after_some});
      after_none = must ? said_first : a_.either({said_first, after_none});
    }
    return a_.sequence(a_.text("{"), after_none);
  }

  Automaton& a_;
  JsonWords words_;
  const Json& root_;
  const SchemaLimits& limits_;
  const std::set<std::string>& hopeless_;
  std::size_t nodes_ = 0;
  std::set<std::string> open_;       // references that are being written
  std::set<std::string> beginning_;  // of these, those of which nothing was said yet
  std::map<std::string, ExpressionId> rules_;
  std::map<std::string, ExpressionId> done_;
};

}  // namespace

ExpressionId any_json(Automaton& automaton, std::size_t depth) {
  JsonWords words(automaton);
  ExpressionId value = Automaton::never;
  const std::vector<ExpressionId> scalars = {words.string(), words.number(), automaton.text("true"),
                                             automaton.text("false"), automaton.text("null")};
  for (std::size_t level = 0; level <= depth; ++level) {
    std::vector<ExpressionId> choices = scalars;
    const ExpressionId member = automaton.sequence({words.string(), words.colon(), value});
    choices.push_back(level == 0 ? automaton.text("[]") : words.list(value));
    choices.push_back(level == 0 ? automaton.text("{}") : words.map(member));
    value = automaton.either(choices);
  }
  return value;
}

ExpressionId any_json_object(Automaton& automaton, std::size_t depth) {
  JsonWords words(automaton);
  return words.map(automaton.sequence(
      {words.string(), words.colon(), any_json(automaton, depth > 0 ? depth - 1 : 0)}));
}

Result<ExpressionId> json_language(Automaton& automaton, const nlohmann::ordered_json& schema,
                                   const SchemaLimits& limits) {
  std::set<std::string> hopeless;
  for (;;) {
    Compiler compiler(automaton, schema, limits, hopeless);
    const ExpressionId language = TRY(compiler.value(schema, 0));
    if (language == Automaton::never) return Err(Code::invalid, "the schema allows no value");
    const std::set<std::string> endless = compiler.endless();
    if (endless.empty()) return language;
    hopeless.insert(endless.begin(), endless.end());
  }
}

}  // namespace ambit::inference
