#include "cedar/est.h"

#include "cedar/est_names.h"
#include "cedar/json_form.h"
#include "cedar/syntax.h"
#include "cedar/write.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <optional>

namespace ambit::cedar {
namespace {

using nlohmann::json;

const BinaryName* find_binary(const std::string& name) {
  for (const BinaryName& entry : binary_names) {
    if (name == entry.name) return &entry;
  }
  return nullptr;
}

class Reader {
 public:
  Reader(std::string_view source, const Limits& limits) : source_(source), limits_(limits) {}

  Result<Policy> policy(const json& object, const std::string& path) {
    if (!object.is_object()) return bad(path, "a policy is an object");
    Policy made;
    made.source = source_;
    const std::string effect = TRY(text_of(object, "effect", path));
    if (effect != "permit" && effect != "forbid") {
      return bad(path + "/effect", "must be \"permit\" or \"forbid\"");
    }
    made.effect = effect == "permit" ? Effect::permit : Effect::forbid;
    made.principal = TRY(scope(object, "principal", path));
    made.action = TRY(scope(object, "action", path));
    made.resource = TRY(scope(object, "resource", path));
    TRY(conditions(object, path, made));
    TRY(annotations(object, path, made));
    made.text = to_text(made);
    return made;
  }

 private:
  Result<void> conditions(const json& object, const std::string& path, Policy& made) {
    const json* all = member(object, "conditions");
    if (all == nullptr) return {};
    if (!all->is_array()) return bad(path + "/conditions", "must be an array");
    for (std::size_t i = 0; i < all->size(); ++i) {
      const std::string at = path + "/conditions/" + std::to_string(i);
      const std::string kind = TRY(text_of((*all)[i], "kind", at));
      if (kind != "when" && kind != "unless") {
        return bad(at + "/kind", "must be \"when\" or \"unless\"");
      }
      Condition condition;
      condition.when = kind == "when";
      const json* body = member((*all)[i], "body");
      if (body == nullptr) return bad(at, "needs \"body\", an expression");
      condition.body = TRY(expression(*body, at + "/body"));
      made.conditions.push_back(std::move(condition));
    }
    return {};
  }

  Result<void> annotations(const json& object, const std::string& path, Policy& made) {
    const json* all = member(object, "annotations");
    if (all == nullptr) return {};
    if (!all->is_object()) return bad(path + "/annotations", "must be an object");
    if (all->size() > limits_.annotations_max) {
      return bad(path + "/annotations",
                 "more than " + std::to_string(limits_.annotations_max) + " annotations");
    }
    for (const auto& [name, value] : all->items()) {
      if (!value.is_string() && !value.is_null()) {
        return bad(path + "/annotations/" + name, "must be a string");
      }
      made.annotations.emplace_back(name, value.is_null() ? "" : value.get<std::string>());
    }
    return {};
  }

  Result<Scope> scope(const json& object, const char* variable, const std::string& parent) {
    const std::string path = parent + "/" + variable;
    const json* part = member(object, variable);
    if (part == nullptr) return bad(parent, "needs \"" + std::string(variable) + "\"");
    const std::string op = TRY(text_of(*part, "op", path));
    Scope scope;
    if (op == "All") return scope;
    const bool action = std::string_view(variable) == "action";
    if (op == "is" && !action) {
      scope.kind = ScopeKind::is;
      scope.type = TRY(type(*part, path));
      const json* in = member(*part, "in");
      if (in == nullptr) return scope;
      scope.kind = ScopeKind::is_in;
      TRY(entity_or_slot(*in, variable, path + "/in", scope));
      return scope;
    }
    if (op != "==" && op != "in") return bad(path + "/op", "\"" + op + "\" is not known here");
    scope.kind = op == "==" ? ScopeKind::equal : ScopeKind::in;
    const json* several = member(*part, "entities");
    if (op == "in" && action && several != nullptr) {
      if (!several->is_array()) return bad(path + "/entities", "must be an array");
      scope.listed = true;
      for (std::size_t i = 0; i < several->size(); ++i) {
        scope.entities.push_back(
            TRY(uid_of((*several)[i], path + "/entities/" + std::to_string(i))));
      }
    } else {
      TRY(entity_or_slot(*part, variable, path, scope));
    }
    for (const EntityUid& uid : scope.entities) {
      if (action && !is_action_type(uid.type)) {
        return bad(path, "an action's type must be Action, found " + to_text(uid));
      }
    }
    return scope;
  }

  static Result<void> entity_or_slot(const json& part, const std::string& variable,
                                     const std::string& path, Scope& scope) {
    const json* slot = member(part, "slot");
    if (slot != nullptr) {
      if (variable == "action" || *slot != "?" + variable) {
        return bad(path + "/slot", "must be \"?principal\" or \"?resource\", as its place says");
      }
      scope.slot = true;
      return {};
    }
    const json* entity = member(part, "entity");
    if (entity == nullptr) return bad(path, "needs \"entity\" or \"slot\"");
    scope.entities.push_back(TRY(uid_of(*entity, path + "/entity")));
    return {};
  }

  static Result<std::string> type(const json& object, const std::string& path) {
    std::string name = TRY(text_of(object, "entity_type", path));
    if (!is_path(name)) return bad(path, "\"" + name + "\" is not an entity type");
    return name;
  }

  Result<Expression> node(Operator op, std::vector<Expression> operands, const std::string& path) {
    auto made = make_node(op, Position{}, std::move(operands), limits_);
    if (!made) return bad(path, made.error().message);
    return made;
  }

  Result<Expression> part(const json& object, const char* name, const std::string& path) {
    const json* found = member(object, name);
    if (found == nullptr) return bad(path, "needs \"" + std::string(name) + "\"");
    return expression(*found, path + "/" + name);
  }

  Result<Expression> expression(const json& object, const std::string& path) {
    if (++nesting_ > limits_.depth_max) {
      return bad(path, "the expression is nested deeper than " + std::to_string(limits_.depth_max) +
                           " levels");
    }
    auto made = one(object, path);
    --nesting_;
    return made;
  }

  Result<Expression> one(const json& object, const std::string& path) {
    if (!object.is_object() || object.size() != 1) {
      return bad(path, "an expression is an object with one member");
    }
    const std::string name = object.begin().key();
    const json& inner = object.begin().value();
    const std::string at = path + "/" + name;
    if (name == "Value") {
      Expression literal;
      literal.value = TRY(json_value(inner, at));
      return literal;
    }
    if (name == "Var") return variable(inner, at);
    if (name == "Slot") return bad(at, "a slot can stand in the scope only");
    if (name == "Set") return set(inner, at);
    if (name == "Record") return record(inner, at);
    if (name == "!" || name == "neg" || name == "isEmpty") {
      const Operator op = name == "!"     ? Operator::negation
                          : name == "neg" ? Operator::minus
                                          : Operator::is_empty;
      std::vector<Expression> operands;
      operands.push_back(TRY(part(inner, "arg", at)));
      return node(op, std::move(operands), at);
    }
    if (name == "if-then-else") return conditional(inner, at);
    if (name == "." || name == "has" || name == "like" || name == "is") {
      return of_one(name, inner, at);
    }
    if (const BinaryName* binary = find_binary(name)) {
      std::vector<Expression> operands;
      operands.push_back(TRY(part(inner, "left", at)));
      operands.push_back(TRY(part(inner, "right", at)));
      return node(binary->op, std::move(operands), at);
    }
    return call(name, inner, at);
  }

  Result<Expression> variable(const json& name, const std::string& path) {
    Expression made;
    if (name == "principal") {
      made.op = Operator::principal;
    } else if (name == "action") {
      made.op = Operator::action;
    } else if (name == "resource") {
      made.op = Operator::resource;
    } else if (name == "context") {
      made.op = Operator::context;
    } else {
      return bad(path, "the variables are principal, action, resource and context");
    }
    return made;
  }

  Result<Expression> set(const json& inner, const std::string& path) {
    if (!inner.is_array()) return bad(path, "must be an array");
    std::vector<Expression> operands;
    for (std::size_t i = 0; i < inner.size(); ++i) {
      operands.push_back(TRY(expression(inner[i], path + "/" + std::to_string(i))));
    }
    return node(Operator::set, std::move(operands), path);
  }

  Result<Expression> record(const json& inner, const std::string& path) {
    if (!inner.is_object()) return bad(path, "must be an object");
    std::vector<Expression> operands;
    std::vector<std::string> names;
    for (const auto& [name, value] : inner.items()) {
      operands.push_back(TRY(expression(value, path + "/" + name)));
      names.push_back(name);
    }
    Expression made = TRY(node(Operator::record, std::move(operands), path));
    made.names = std::move(names);
    static_cast<void>(sort_fields(made));  // the names of a JSON object differ
    return made;
  }

  Result<Expression> conditional(const json& inner, const std::string& path) {
    std::vector<Expression> operands;
    operands.push_back(TRY(part(inner, "if", path)));
    operands.push_back(TRY(part(inner, "then", path)));
    operands.push_back(TRY(part(inner, "else", path)));
    return node(Operator::conditional, std::move(operands), path);
  }

  Result<Expression> of_one(const std::string& name, const json& inner, const std::string& path) {
    std::vector<Expression> operands;
    operands.push_back(TRY(part(inner, "left", path)));
    if (name == "is") {
      std::string type_name = TRY(type(inner, path));
      if (member(inner, "in") != nullptr) operands.push_back(TRY(part(inner, "in", path)));
      Expression made = TRY(node(Operator::is, std::move(operands), path));
      made.names.push_back(std::move(type_name));
      return made;
    }
    if (name == "like") {
      Pattern pattern = TRY(pattern_of(inner, path));
      Expression made = TRY(node(Operator::like, std::move(operands), path));
      made.pattern = std::move(pattern);
      return made;
    }
    std::string attribute = TRY(text_of(inner, "attr", path));
    Expression made =
        TRY(node(name == "." ? Operator::attribute : Operator::has, std::move(operands), path));
    made.names.push_back(std::move(attribute));
    return made;
  }

  static Result<Pattern> pattern_of(const json& inner, const std::string& path) {
    const json* found = member(inner, "pattern");
    if (found == nullptr || !found->is_array()) return bad(path, "needs \"pattern\", an array");
    Pattern pattern;
    for (const json& element : *found) {
      const json* literal = member(element, "Literal");
      if (element == "Wildcard") {
        pattern.pieces.emplace_back();
      } else if (literal != nullptr && literal->is_string()) {
        pattern.pieces.back() += literal->get<std::string>();
      } else {
        return bad(path + "/pattern", "holds \"Wildcard\" and {\"Literal\": \"...\"} only");
      }
    }
    return pattern;
  }

  Result<Expression> call(const std::string& name, const json& inner, const std::string& path) {
    auto callable = find_function(name);
    if (!callable) {
      callable = find_method(name);
      if (callable && callable->op != Operator::call) callable.reset();
      if (callable) ++callable->arguments;
    }
    if (!callable) return bad(path, "there is no operator or function \"" + name + "\"");
    if (!inner.is_array()) return bad(path, "needs an array of arguments");
    if (limits_.arguments_counted && inner.size() != callable->arguments) {
      return bad(path, "needs " + std::to_string(callable->arguments) + " argument(s)");
    }
    std::vector<Expression> operands;
    for (std::size_t i = 0; i < inner.size(); ++i) {
      operands.push_back(TRY(expression(inner[i], path + "/" + std::to_string(i))));
    }
    Expression made = TRY(node(Operator::call, std::move(operands), path));
    made.function = callable->function;
    return made;
  }

  std::string source_;
  const Limits& limits_;
  std::size_t nesting_ = 0;
};

Result<void> read_links(const json& links, std::vector<Policy>& all) {
  if (!links.is_array()) return bad("/templateLinks", "must be an array");
  for (std::size_t i = 0; i < links.size(); ++i) {
    const std::string path = "/templateLinks/" + std::to_string(i);
    const std::string of = TRY(text_of(links[i], "templateId", path));
    std::string id = TRY(text_of(links[i], "newId", path));
    const auto found = std::find_if(all.begin(), all.end(), [&of](const Policy& policy) {
      return policy.is_template() && policy.id == of;
    });
    if (found == all.end()) return bad(path, "there is no template " + quote(of));
    const json* values = member(links[i], "values");
    std::optional<EntityUid> principal;
    std::optional<EntityUid> resource;
    const json none = json::object();
    if (values == nullptr) values = &none;
    for (const auto& [slot, uid] : values->items()) {
      if (slot != "?principal" && slot != "?resource") {
        return bad(path + "/values", "there is no slot " + quote(slot));
      }
      (slot == "?principal" ? principal : resource) = TRY(uid_of(uid, path + "/values/" + slot));
    }
    auto linked = link(*found, std::move(id), principal ? &*principal : nullptr,
                       resource ? &*resource : nullptr);
    if (!linked) return bad(path, linked.error().message);
    linked->text = to_text(*linked);
    all.push_back(std::move(*linked));
  }
  return {};
}

}  // namespace

Result<std::vector<Policy>> parse_policies_json(std::string_view text, std::string_view source,
                                                const Limits& limits) {
  const auto in_file = [source](Error error) {
    return Err(std::move(error).context(std::string(source)));
  };
  if (text.size() > limits.text_bytes_max) {
    return in_file(Error{Code::invalid, "the text has " + std::to_string(text.size()) +
                                            " bytes, more than " +
                                            std::to_string(limits.text_bytes_max)});
  }
  auto parsed = read_json(text);
  if (!parsed) return in_file(std::move(parsed).error());
  Reader reader(source, limits);
  std::vector<Policy> all;
  std::optional<Error> failed;
  const auto add = [&](const json& object, const std::string& path, std::string id) {
    if (failed) return;
    if (all.size() == limits.policies_max) {
      failed =
          Error{Code::invalid, "more than " + std::to_string(limits.policies_max) + " policies"};
      return;
    }
    auto made = reader.policy(object, path);
    if (!made) {
      failed = std::move(made).error();
      return;
    }
    made->id = std::move(id);
    all.push_back(std::move(*made));
  };
  const auto add_all = [&](const char* name) {
    const json* part = member(*parsed, name);
    if (part == nullptr) return;
    for (const auto& [key, object] : part->items()) {
      add(object, std::string("/") + name + "/" + key,
          part->is_array() ? "policy" + std::to_string(all.size()) : key);
    }
  };
  if (parsed->is_array()) {
    for (std::size_t i = 0; i < parsed->size(); ++i) {
      add((*parsed)[i], "/" + std::to_string(i), "policy" + std::to_string(i));
    }
  } else if (member(*parsed, "effect") != nullptr) {
    add(*parsed, "", "policy0");
  } else {
    const bool known =
        member(*parsed, "staticPolicies") != nullptr || member(*parsed, "templates") != nullptr;
    if (!known) {
      return in_file(Error{Code::invalid,
                           "expected a policy (with \"effect\"), an array of them, or a set with "
                           "\"staticPolicies\""});
    }
    add_all("staticPolicies");
    add_all("templates");
    const json* links = member(*parsed, "templateLinks");
    if (links != nullptr && !failed) {
      auto linked = read_links(*links, all);
      if (!linked) failed = std::move(linked).error();
    }
  }
  if (failed) return in_file(std::move(*failed));
  return all;
}

}  // namespace ambit::cedar
