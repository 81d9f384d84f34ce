#include "inference/json_schema.h"

#include <nlohmann/json.hpp>

#include <map>
#include <set>
#include <string>
#include <vector>

namespace ambit::inference {

namespace {

using Json = nlohmann::ordered_json;

// The words of JSON, in bytes.
class Words {
 public:
  explicit Words(Automaton& automaton) : a_(automaton) {}

  ExpressionId range(unsigned char first, unsigned char last) {
    ByteSet set;
    for (unsigned c = first; c <= last; ++c) set.set(c);
    return a_.bytes(set);
  }
  ExpressionId one_of(std::string_view characters) {
    ByteSet set;
    for (const char c : characters) set.set(static_cast<unsigned char>(c));
    return a_.bytes(set);
  }
  ExpressionId comma() { return a_.sequence(a_.text(","), a_.optional(a_.text(" "))); }
  ExpressionId colon() { return a_.sequence(a_.text(":"), a_.optional(a_.text(" "))); }

  // One character inside a string: valid UTF-8, or an escape that is no half of a surrogate pair.
  ExpressionId character() {
    ByteSet plain;
    for (unsigned c = 0x20; c < 0x80; ++c)
      if (c != '"' && c != '\\') plain.set(c);
    const ExpressionId tail = range(0x80, 0xBF);
    const ExpressionId hex = one_of("0123456789abcdefABCDEF");
    const ExpressionId other_than_surrogate =
        a_.either({a_.sequence({one_of("0123456789abcefABCEF"), hex, hex, hex}),
                   a_.sequence({one_of("dD"), range('0', '7'), hex, hex})});
    const ExpressionId pair = a_.sequence({one_of("dD"), one_of("89abAB"), hex, hex, a_.text("\\u"),
                                           one_of("dD"), one_of("cdefCDEF"), hex, hex});
    return a_.either({
        a_.bytes(plain),
        a_.sequence(range(0xC2, 0xDF), tail),
        a_.sequence({range(0xE0, 0xE0), range(0xA0, 0xBF), tail}),
        a_.sequence({range(0xE1, 0xEC), tail, tail}),
        a_.sequence({range(0xED, 0xED), range(0x80, 0x9F), tail}),
        a_.sequence({range(0xEE, 0xEF), tail, tail}),
        a_.sequence({range(0xF0, 0xF0), range(0x90, 0xBF), tail, tail}),
        a_.sequence({range(0xF1, 0xF3), tail, tail, tail}),
        a_.sequence({range(0xF4, 0xF4), range(0x80, 0x8F), tail, tail}),
        a_.sequence(a_.text("\\"), one_of("\"\\/bfnrt")),
        a_.sequence(a_.text("\\u"), a_.either({other_than_surrogate, pair})),
    });
  }
  ExpressionId string(std::uint32_t least = 0, std::uint32_t most = Automaton::unbounded) {
    return a_.sequence({a_.text("\""), a_.repeat(character(), least, most), a_.text("\"")});
  }
  // At most 18 digits: every reader takes them.
  ExpressionId integer() {
    const ExpressionId digits = a_.sequence(range('1', '9'), a_.repeat(range('0', '9'), 0, 17));
    return a_.sequence(a_.optional(a_.text("-")), a_.either({a_.text("0"), digits}));
  }
  ExpressionId number() {
    const ExpressionId digit = range('0', '9');
    const ExpressionId fraction = a_.sequence(a_.text("."), a_.repeat(digit, 1, 17));
    const ExpressionId exponent =
        a_.sequence({one_of("eE"), a_.optional(one_of("+-")), a_.repeat(digit, 1, 2)});
    return a_.sequence({integer(), a_.optional(fraction), a_.optional(exponent)});
  }
  ExpressionId list(ExpressionId item, std::uint32_t least = 0,
                    std::uint32_t most = Automaton::unbounded) {
    if (most == 0) return a_.text("[]");
    const ExpressionId rest = a_.repeat(a_.sequence(comma(), item), least > 0 ? least - 1 : 0,
                                        most == Automaton::unbounded ? most : most - 1);
    const ExpressionId some = a_.sequence(item, rest);
    return a_.sequence({a_.text("["), least == 0 ? a_.optional(some) : some, a_.text("]")});
  }
  ExpressionId map(ExpressionId value) {
    const ExpressionId member = a_.sequence({string(), colon(), value});
    const ExpressionId some =
        a_.sequence(member, a_.repeat(a_.sequence(comma(), member), 0, Automaton::unbounded));
    return a_.sequence({a_.text("{"), a_.optional(some), a_.text("}")});
  }
  ExpressionId literal(const Json& value) {
    if (value.is_array() || value.is_object()) {
      const bool object = value.is_object();
      std::vector<ExpressionId> parts;
      for (auto it = value.begin(); it != value.end(); ++it) {
        if (!parts.empty()) parts.push_back(comma());
        if (object) parts.push_back(a_.sequence(literal(Json(it.key())), colon()));
        parts.push_back(literal(*it));
      }
      ExpressionId tail = a_.text(object ? "}" : "]");
      for (auto part = parts.rbegin(); part != parts.rend(); ++part)
        tail = a_.sequence(*part, tail);
      return a_.sequence(a_.text(object ? "{" : "["), tail);
    }
    return a_.text(value.dump(-1, ' ', false, Json::error_handler_t::replace));
  }

 private:
  Automaton& a_;
};

class Compiler {
 public:
  Compiler(Automaton& automaton, const Json& root, const SchemaLimits& limits)
      : a_(automaton), words_(automaton), root_(root), limits_(limits) {}

  Result<ExpressionId> value(const Json& schema, std::size_t depth) {
    if (++nodes_ > limits_.nodes_max) return Err(Code::exhausted, "the schema has too many parts");
    if (depth > limits_.depth_max) return Err(Code::exhausted, "the schema is nested too deeply");
    if (schema.is_boolean())
      return schema.get<bool>() ? any_json(a_, limits_.free_depth) : Automaton::never;
    if (!schema.is_object()) return Err(Code::invalid, "a schema must be an object or a boolean");
    if (schema.contains("$ref")) return reference(schema["$ref"], depth);
    if (schema.contains("const")) return words_.literal(schema["const"]);
    if (schema.contains("enum")) return enumeration(schema["enum"]);
    for (const char* key : {"anyOf", "oneOf"})
      if (schema.contains(key)) return any_of(schema[key], depth);
    if (schema.contains("allOf")) {
      if (!schema["allOf"].is_array() || schema["allOf"].size() != 1)
        return Err(Code::unsupported, "allOf of several schemas is not supported");
      return value(schema["allOf"][0], depth + 1);
    }
    if (schema.contains("type")) {
      const Json& type = schema["type"];
      if (!type.is_array()) return typed(schema, type, depth);
      std::vector<ExpressionId> choices;
      for (const Json& each : type) choices.push_back(TRY(typed(schema, each, depth)));
      return a_.either(std::move(choices));
    }
    if (schema.contains("properties") || schema.contains("required"))
      return typed(schema, "object", depth);
    if (schema.contains("items") || schema.contains("prefixItems"))
      return typed(schema, "array", depth);
    return any_json(a_, limits_.free_depth);
  }

 private:
  Result<ExpressionId> enumeration(const Json& values) {
    if (!values.is_array() || values.empty())
      return Err(Code::invalid, "enum must be a list of values");
    std::vector<ExpressionId> choices;
    for (const Json& each : values) {
      if (++nodes_ > limits_.nodes_max)
        return Err(Code::exhausted, "the schema has too many parts");
      choices.push_back(words_.literal(each));
    }
    return a_.either(std::move(choices));
  }

  Result<ExpressionId> any_of(const Json& schemas, std::size_t depth) {
    if (!schemas.is_array() || schemas.empty())
      return Err(Code::invalid, "anyOf and oneOf must be lists of schemas");
    std::vector<ExpressionId> choices;
    for (const Json& each : schemas) choices.push_back(TRY(value(each, depth + 1)));
    return a_.either(std::move(choices));
  }

  // "#" or "#/a/b". Recursion ends after ref_depth rounds: what would go deeper is not offered.
  Result<ExpressionId> reference(const Json& name, std::size_t depth) {
    if (!name.is_string() || !name.get_ref<const std::string&>().starts_with('#'))
      return Err(Code::unsupported, "$ref outside the schema is not supported");
    const auto& text = name.get_ref<const std::string&>();
    const Json* target = nullptr;
    try {
      const Json::json_pointer pointer(text.substr(1));
      if (root_.contains(pointer)) target = &root_.at(pointer);
    } catch (const Json::exception&) {
      target = nullptr;
    }
    if (target == nullptr) return Err(Code::invalid, "$ref " + text + " leads nowhere");
    std::size_t& open = open_[text];
    if (open >= limits_.ref_depth) return Automaton::never;
    ++open;
    auto result = value(*target, depth + 1);
    --open_[text];
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
    return given.get<std::uint32_t>();
  }

  Result<ExpressionId> typed(const Json& schema, const Json& type, std::size_t depth) {
    if (!type.is_string()) return Err(Code::invalid, "type must be a name");
    const auto& name = type.get_ref<const std::string&>();
    if (name == "string")
      return words_.string(TRY(bound(schema, "minLength", 0)),
                           TRY(bound(schema, "maxLength", Automaton::unbounded)));
    if (name == "integer") return words_.integer();
    if (name == "number") return words_.number();
    if (name == "boolean") return a_.either({a_.text("true"), a_.text("false")});
    if (name == "null") return a_.text("null");
    if (name == "object") return object(schema, depth);
    if (name == "array") return array(schema, depth);
    return Err(Code::invalid, "\"" + name + "\" is not a type of JSON Schema");
  }

  Result<ExpressionId> array(const Json& schema, std::size_t depth) {
    const std::uint32_t least = TRY(bound(schema, "minItems", 0));
    const std::uint32_t most = TRY(bound(schema, "maxItems", Automaton::unbounded));
    ExpressionId item = any_json(a_, limits_.free_depth);
    if (schema.contains("items")) item = TRY(value(schema["items"], depth + 1));
    if (!schema.contains("prefixItems"))
      return item == Automaton::never ? (least == 0 ? a_.text("[]") : Automaton::never)
                                      : words_.list(item, least, most);
    // All prefix items, then none or more of the others: a part of what the schema allows.
    if (!schema["prefixItems"].is_array())
      return Err(Code::invalid, "prefixItems must be a list of schemas");
    std::vector<ExpressionId> parts;
    for (const Json& each : schema["prefixItems"]) {
      const ExpressionId part = TRY(value(each, depth + 1));
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

  Result<ExpressionId> object(const Json& schema, std::size_t depth) {
    std::set<std::string> required;
    if (schema.contains("required")) {
      if (!schema["required"].is_array())
        return Err(Code::invalid, "required must be a list of names");
      for (const Json& name : schema["required"]) {
        if (!name.is_string()) return Err(Code::invalid, "required must be a list of names");
        required.insert(name.get<std::string>());
      }
    }
    std::vector<std::pair<std::string, ExpressionId>> members;
    if (schema.contains("properties")) {
      if (!schema["properties"].is_object())
        return Err(Code::invalid, "properties must be an object");
      for (const auto& [name, of] : schema["properties"].items()) {
        const ExpressionId member = TRY(value(of, depth + 1));
        const ExpressionId key = a_.sequence(words_.literal(Json(name)), words_.colon());
        members.emplace_back(name, a_.sequence(key, member));
      }
    }
    for (const std::string& name : required) {
      bool known = false;
      for (const auto& member : members) known = known || member.first == name;
      if (known) continue;
      members.emplace_back(name, a_.sequence({words_.literal(Json(name)), words_.colon(),
                                              any_json(a_, limits_.free_depth)}));
    }
    if (members.empty()) {
      if (!schema.contains("additionalProperties"))
        return schema.contains("properties") ? a_.text("{}")
                                             : any_json_object(a_, limits_.free_depth);
      const Json& further = schema["additionalProperties"];
      if (further.is_boolean())
        return further.get<bool>() ? any_json_object(a_, limits_.free_depth) : a_.text("{}");
      const ExpressionId member = TRY(value(further, depth + 1));
      return member == Automaton::never ? a_.text("{}") : words_.map(member);
    }
    // From the back: what may follow when something was said already, and when nothing was.
    ExpressionId after_some = a_.text("}");
    ExpressionId after_none = after_some;
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
  Words words_;
  const Json& root_;
  const SchemaLimits& limits_;
  std::size_t nodes_ = 0;
  std::map<std::string, std::size_t> open_;
};

}  // namespace

ExpressionId any_json(Automaton& automaton, std::size_t depth) {
  Words words(automaton);
  ExpressionId value = Automaton::never;
  const std::vector<ExpressionId> scalars = {words.string(), words.number(), automaton.text("true"),
                                             automaton.text("false"), automaton.text("null")};
  for (std::size_t level = 0; level <= depth; ++level) {
    std::vector<ExpressionId> choices = scalars;
    choices.push_back(level == 0 ? automaton.text("[]") : words.list(value));
    choices.push_back(level == 0 ? automaton.text("{}") : words.map(value));
    value = automaton.either(std::move(choices));
  }
  return value;
}

ExpressionId any_json_object(Automaton& automaton, std::size_t depth) {
  Words words(automaton);
  return words.map(any_json(automaton, depth > 0 ? depth - 1 : 0));
}

Result<ExpressionId> json_language(Automaton& automaton, const nlohmann::ordered_json& schema,
                                   const SchemaLimits& limits) {
  const ExpressionId language = TRY(Compiler(automaton, schema, limits).value(schema, 0));
  if (language == Automaton::never) return Err(Code::invalid, "the schema allows no value");
  return language;
}

}  // namespace ambit::inference
