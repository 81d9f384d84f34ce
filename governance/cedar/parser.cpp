// The text form of policies, by recursive descent. Every function leaves the tokens past what it
// read, or returns an error that names what was expected and what was found.

#include "cedar/expression_parser.h"
#include "cedar/lexer.h"
#include "cedar/syntax.h"
#include "cedar/token_reader.h"

namespace ambit::cedar {
namespace {

class PolicyParser {
 public:
  PolicyParser(std::string_view text, const Limits& limits, TokenReader tokens)
      : text_(text), limits_(limits), tokens_(tokens) {}

  Result<std::vector<Policy>> policies() {
    std::vector<Policy> all;
    while (!tokens_.at_end()) {
      if (all.size() == limits_.policies_max) {
        return Err(
            tokens_.error(tokens_.peek().where,
                          "more than " + std::to_string(limits_.policies_max) + " policies"));
      }
      Policy next = TRY(policy());
      next.id = "policy" + std::to_string(all.size());
      all.push_back(std::move(next));
    }
    return all;
  }

 private:
  Result<Policy> policy() {
    Policy policy;
    policy.where = tokens_.peek().where;
    policy.source = std::string(tokens_.source());
    const std::size_t begin = tokens_.peek().offset;
    TRY(annotations(policy));
    if (tokens_.accept("permit")) {
      policy.effect = Effect::permit;
    } else if (tokens_.accept("forbid")) {
      policy.effect = Effect::forbid;
    } else {
      return Err(tokens_.expected("`permit` or `forbid`"));
    }
    TRY(tokens_.expect("(", "before the scope"));
    policy.principal = TRY(scope("principal"));
    TRY(tokens_.expect(",", "after the principal; a scope is (principal, action, resource)"));
    policy.action = TRY(action_scope());
    TRY(tokens_.expect(",", "after the action; a scope is (principal, action, resource)"));
    policy.resource = TRY(scope("resource"));
    TRY(tokens_.expect(")", "after the resource; conditions belong into when { ... }"));
    while (!tokens_.is(";")) {
      Condition condition;
      condition.where = tokens_.peek().where;
      condition.when = tokens_.is("when");
      if (!tokens_.is("when") && !tokens_.is("unless")) {
        return Err(tokens_.expected("`when`, `unless` or `;`"));
      }
      tokens_.take();
      TRY(tokens_.expect("{", "before the condition"));
      condition.body = TRY(ExpressionParser(tokens_, limits_).expression());
      TRY(tokens_.expect("}", "after the condition"));
      policy.conditions.push_back(std::move(condition));
    }
    policy.text = std::string(text_.substr(begin, tokens_.peek().end - begin));
    tokens_.take();
    return policy;
  }

  Result<void> annotations(Policy& policy) {
    while (tokens_.accept("@")) {
      if (tokens_.peek().kind != TokenKind::identifier) {
        return Err(tokens_.expected("the annotation's name"));
      }
      const Token name = tokens_.take();
      std::string value;
      if (tokens_.accept("(")) {
        value = TRY(tokens_.string("the annotation's value, a string"));
        TRY(tokens_.expect(")", "after the annotation's value"));
      }
      if (policy.annotation(name.text) != nullptr) {
        return Err(tokens_.error(name.where,
                                 "the annotation @" + std::string(name.text) + " is given twice"));
      }
      if (policy.annotations.size() == limits_.annotations_max) {
        return Err(tokens_.error(
            name.where, "more than " + std::to_string(limits_.annotations_max) + " annotations"));
      }
      policy.annotations.emplace_back(std::string(name.text), std::move(value));
    }
    return {};
  }

  Result<Scope> scope(std::string_view variable) {
    if (!tokens_.accept(variable)) {
      return Err(tokens_.expected("`" + std::string(variable) + "`"));
    }
    Scope scope;
    if (tokens_.accept("==")) {
      scope.kind = ScopeKind::equal;
    } else if (tokens_.accept("in")) {
      scope.kind = ScopeKind::in;
    } else if (tokens_.accept("is")) {
      scope.kind = ScopeKind::is;
      scope.type = TRY(tokens_.path("an entity type after `is`"));
      if (!tokens_.accept("in")) return scope;
      scope.kind = ScopeKind::is_in;
    } else {
      return scope;
    }
    if (tokens_.is("[")) {
      const std::string name(variable);
      return Err(tokens_.error(tokens_.peek().where,
                               "only the action can be constrained by a list: write `" + name +
                                   "` here and `when { " + name + " in [...] }` after the scope"));
    }
    if (tokens_.is("?")) {
      TRY(slot(variable));
      scope.slot = true;
      return scope;
    }
    scope.entities.push_back(TRY(tokens_.entity()));
    return scope;
  }

  Result<void> slot(std::string_view variable) {
    const Position where = tokens_.take().where;
    if (tokens_.accept(variable)) return {};
    return Err(
        tokens_.error(where, "the slot here is ?" + std::string(variable) + " and nothing else"));
  }

  Result<Scope> action_scope() {
    if (!tokens_.accept("action")) return Err(tokens_.expected("`action`"));
    Scope scope;
    if (tokens_.accept("==")) {
      scope.kind = ScopeKind::equal;
      scope.entities.push_back(TRY(action_entity()));
    } else if (tokens_.accept("in")) {
      scope.kind = ScopeKind::in;
      if (!tokens_.accept("[")) {
        scope.entities.push_back(TRY(action_entity()));
        return scope;
      }
      scope.listed = true;
      while (!tokens_.accept("]")) {
        scope.entities.push_back(TRY(action_entity()));
        if (!tokens_.is("]")) TRY(tokens_.expect(",", "or `]` in the list of actions"));
      }
    } else if (tokens_.is("is")) {
      return Err(tokens_.expected("`==`, `in` or `,`; an action cannot be constrained by `is`"));
    }
    return scope;
  }

  Result<EntityUid> action_entity() {
    const Position where = tokens_.peek().where;
    if (tokens_.is("?")) {
      return Err(tokens_.error(where, "there is no slot for the action; name it"));
    }
    EntityUid uid = TRY(tokens_.entity());
    if (is_action_type(uid.type)) return uid;
    return Err(tokens_.error(where, "an action's type must be Action, found " + to_text(uid)));
  }

  std::string_view text_;
  const Limits& limits_;
  TokenReader tokens_;
};

}  // namespace

Result<EntityUid> TokenReader::entity() {
  const Position where = peek().where;
  std::string type = TRY(path("an entity such as Tool::\"grep\""));
  TRY(expect("::", "before the entity's id, as in Tool::\"grep\""));
  std::string id = TRY(string("the entity's id, a string, as in Tool::\"grep\""));
  if (!is_path(type)) return Err(error(where, "`" + type + "` is a reserved word"));
  return EntityUid{std::move(type), std::move(id)};
}

Result<std::string> TokenReader::path(std::string_view what) {
  if (peek().kind != TokenKind::identifier) return Err(expected(what));
  std::string path;
  for (;;) {
    if (is_reserved(peek().text)) {
      return Err(error(peek().where, "`" + std::string(peek().text) + "` is a reserved word"));
    }
    path += take().text;
    if (!is("::") || peek(1).kind != TokenKind::identifier) return path;
    take();
    path += "::";
  }
}

const std::string* Policy::annotation(std::string_view name) const {
  for (const auto& [key, value] : annotations) {
    if (key == name) return &value;
  }
  return nullptr;
}

Result<Policy> link(const Policy& of, std::string id, const EntityUid* principal,
                    const EntityUid* resource) {
  Policy linked = of;
  const auto fill = [&](Scope& scope, const EntityUid* value, const char* name) -> Result<void> {
    if (scope.slot != (value != nullptr)) {
      return Err(Code::invalid, "the template " + quote(of.id) +
                                    (scope.slot ? " needs an entity for " : " has no slot ") +
                                    name);
    }
    if (!scope.slot) return {};
    scope.entities = {*value};
    scope.slot = false;
    return {};
  };
  TRY(fill(linked.principal, principal, "?principal"));
  TRY(fill(linked.resource, resource, "?resource"));
  linked.id = std::move(id);
  return linked;
}

Result<std::vector<Policy>> parse_policies(std::string_view text, std::string_view source,
                                           const Limits& limits) {
  if (text.size() > limits.text_bytes_max) {
    return Err(Code::invalid, std::string(source) + ": the text has " +
                                  std::to_string(text.size()) + " bytes, more than " +
                                  std::to_string(limits.text_bytes_max));
  }
  const std::vector<Token> tokens = TRY(tokenize(text, source));
  return PolicyParser(text, limits, TokenReader(source, tokens)).policies();
}

}  // namespace ambit::cedar
