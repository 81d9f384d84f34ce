// The human-readable form of a schema.

#include "cedar/lexer.h"
#include "cedar/schema_draft.h"
#include "cedar/token_reader.h"

namespace ambit::cedar {
namespace {

constexpr std::size_t text_bytes_max = 8U << 20;
constexpr std::size_t nesting_max = 100;

class SchemaParser {
 public:
  explicit SchemaParser(TokenReader tokens) : tokens_(tokens) {}

  Result<SchemaDraft> run() {
    while (!tokens_.at_end()) {
      TRY(annotations());
      if (!tokens_.is("namespace")) {
        TRY(declaration());
        continue;
      }
      tokens_.take();
      space_ = TRY(tokens_.path("the namespace's name"));
      TRY(tokens_.expect("{", "after the namespace's name"));
      while (!tokens_.accept("}")) {
        TRY(annotations());
        TRY(declaration());
      }
      space_.clear();
    }
    return std::move(draft_);
  }

 private:
  Result<void> annotations() {
    while (tokens_.accept("@")) {
      if (tokens_.peek().kind != TokenKind::identifier) {
        return Err(tokens_.expected("the annotation's name"));
      }
      tokens_.take();
      if (!tokens_.accept("(")) continue;
      static_cast<void>(TRY(tokens_.string("the annotation's value, a string")));
      TRY(tokens_.expect(")", "after the annotation's value"));
    }
    return {};
  }

  Result<void> declaration() {
    if (tokens_.accept("entity")) return entity();
    if (tokens_.accept("action")) return action();
    if (tokens_.accept("type")) return common();
    return Err(tokens_.expected("`entity`, `action`, `type` or `namespace`"));
  }

  [[nodiscard]] std::string here() const {
    const Position where = tokens_.peek().where;
    return std::string(tokens_.source()) + ":" + std::to_string(where.line) + ":" +
           std::to_string(where.column);
  }

  Result<std::string> identifier(std::string_view what) {
    if (tokens_.peek().kind != TokenKind::identifier) return Err(tokens_.expected(what));
    return std::string(tokens_.take().text);
  }

  // An identifier or a string.
  Result<std::string> name(std::string_view what) {
    if (tokens_.peek().kind == TokenKind::string) return tokens_.string(what);
    return identifier(what);
  }

  Result<void> entity() {
    DraftEntity made;
    made.space = space_;
    made.where = here();
    made.shape.where = made.where;
    std::vector<std::string> names;
    do {
      names.push_back(TRY(identifier("the entity type's name")));
    } while (tokens_.accept(","));
    if (tokens_.accept("enum")) {
      TRY(tokens_.expect("[", "before the ids of the entity type"));
      do {
        if (tokens_.is("]") && !made.choices.empty()) break;
        made.choices.push_back(TRY(tokens_.string("an id, a string")));
      } while (tokens_.accept(","));
      TRY(tokens_.expect("]", "after the ids of the entity type"));
    } else {
      if (tokens_.accept("in")) made.parents = TRY(types("an entity type"));
      const bool assigned = tokens_.accept("=");
      if (assigned || tokens_.is("{")) made.shape = TRY(type());
      if (tokens_.accept("tags")) made.tags = TRY(type());
    }
    TRY(tokens_.expect(";", "after the entity type"));
    for (std::string& each : names) {
      made.name = std::move(each);
      draft_.entities.push_back(made);
    }
    return {};
  }

  // `T` or `[T, U]`.
  Result<std::vector<std::string>> types(std::string_view what) {
    std::vector<std::string> all;
    if (!tokens_.accept("[")) {
      all.push_back(TRY(tokens_.path(what)));
      return all;
    }
    while (!tokens_.accept("]")) {
      all.push_back(TRY(tokens_.path(what)));
      if (!tokens_.is("]")) TRY(tokens_.expect(",", "or `]` in the list of types"));
    }
    return all;
  }

  Result<void> action() {
    DraftAction made;
    made.space = space_;
    made.where = here();
    made.context.where = made.where;
    std::vector<std::string> names;
    do {
      names.push_back(TRY(name("the action's name")));
    } while (tokens_.accept(","));
    if (tokens_.accept("in")) {
      if (tokens_.accept("[")) {
        while (!tokens_.accept("]")) {
          made.parents.push_back(TRY(reference()));
          if (!tokens_.is("]")) TRY(tokens_.expect(",", "or `]` in the list of actions"));
        }
      } else {
        made.parents.push_back(TRY(reference()));
      }
    }
    if (tokens_.accept("appliesTo")) TRY(applies_to(made));
    if (tokens_.accept("attributes")) {
      TRY(tokens_.expect("{", "after `attributes`"));
      TRY(tokens_.expect("}", "here: actions have no attributes"));
    }
    TRY(tokens_.expect(";", "after the action"));
    for (std::string& each : names) {
      made.id = std::move(each);
      draft_.actions.push_back(made);
    }
    return {};
  }

  // `view`, `"view"` or `Action::"view"`.
  Result<EntityUid> reference() {
    if (tokens_.peek().kind == TokenKind::string || !tokens_.is("::", 1)) {
      return EntityUid{"", TRY(name("the name of an action"))};
    }
    return tokens_.entity();
  }

  Result<void> applies_to(DraftAction& made) {
    TRY(tokens_.expect("{", "after `appliesTo`"));
    bool seen[3] = {false, false, false};
    while (!tokens_.accept("}")) {
      const bool principal = tokens_.is("principal");
      const bool resource = tokens_.is("resource");
      if (!principal && !resource && !tokens_.is("context")) {
        return Err(tokens_.expected("`principal`, `resource` or `context`"));
      }
      bool& before = seen[principal ? 0 : resource ? 1 : 2];
      if (before) return Err(tokens_.expected("each of principal, resource and context once"));
      before = true;
      tokens_.take();
      TRY(tokens_.expect(":", "here"));
      if (principal) {
        made.principals = TRY(types("an entity type"));
      } else if (resource) {
        made.resources = TRY(types("an entity type"));
      } else {
        made.context = TRY(type());
      }
      if (!tokens_.is("}")) TRY(tokens_.expect(",", "or `}` after this part of `appliesTo`"));
    }
    return {};
  }

  Result<void> common() {
    DraftCommon made;
    made.space = space_;
    made.name = TRY(identifier("the type's name"));
    TRY(tokens_.expect("=", "after the type's name"));
    made.type = TRY(type());
    TRY(tokens_.expect(";", "after the type"));
    draft_.commons.push_back(std::move(made));
    return {};
  }

  Result<DraftType> type() {
    if (++nesting_ > nesting_max) {
      return Err(tokens_.error(tokens_.peek().where, "the types are nested too deep"));
    }
    auto made = type_here();
    --nesting_;
    return made;
  }

  Result<DraftType> type_here() {
    DraftType made;
    made.where = here();
    if (tokens_.accept("{")) {
      TRY(record(made));
      return made;
    }
    if (tokens_.is("Set") && tokens_.is("<", 1)) {
      tokens_.take();
      tokens_.take();
      made.kind = DraftType::Kind::set;
      made.parts.push_back(TRY(type()));
      TRY(tokens_.expect(">", "after the type of the elements"));
      return made;
    }
    made.kind = DraftType::Kind::name;
    if (tokens_.is("__cedar")) {
      tokens_.take();
      TRY(tokens_.expect("::", "after `__cedar`"));
      made.kind = DraftType::Kind::primitive;
      made.name = TRY(identifier("a type of the language"));
      return made;
    }
    made.name = TRY(tokens_.path("a type"));
    return made;
  }

  Result<void> record(DraftType& made) {
    while (!tokens_.accept("}")) {
      TRY(annotations());
      made.names.push_back(TRY(name("an attribute's name")));
      made.required.push_back(!tokens_.accept("?"));
      TRY(tokens_.expect(":", "after the attribute's name"));
      made.parts.push_back(TRY(type()));
      if (!tokens_.is("}")) TRY(tokens_.expect(",", "or `}` after the attribute"));
    }
    return {};
  }

  TokenReader tokens_;
  std::string space_;
  SchemaDraft draft_;
  std::size_t nesting_ = 0;
};

}  // namespace

Result<Schema> Schema::from_text(std::string_view text, std::string_view source) {
  if (text.size() > text_bytes_max) {
    return Err(Code::invalid, std::string(source) + ": the schema has more than " +
                                  std::to_string(text_bytes_max) + " bytes");
  }
  const std::vector<Token> tokens = TRY(tokenize(text, source));
  const SchemaDraft draft = TRY(SchemaParser(TokenReader(source, tokens, true)).run());
  return resolve(draft);
}

}  // namespace ambit::cedar
