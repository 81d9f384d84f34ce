#include "random_policies.h"

#include "cedar/syntax.h"
#include "cedar/write.h"

#include <nlohmann/json.hpp>

#include <array>
#include <limits>

namespace ambit::cedar {
namespace {

using nlohmann::json;

template <class... Parts>
std::vector<Expression> list(Parts... parts) {
  std::vector<Expression> all;
  (all.push_back(std::move(parts)), ...);
  return all;
}

json uid_json(const EntityUid& uid) {
  return json{{"type", uid.type}, {"id", uid.id}};
}

json value_json(const Value& value) {
  if (const auto* truth = value.as<bool>()) return *truth;
  if (const auto* number = value.as<std::int64_t>()) return *number;
  if (const auto* text = value.as<std::string>()) return *text;
  if (const auto* uid = value.as<EntityUid>()) return json{{"__entity", uid_json(*uid)}};
  if (const auto* set = value.as<Set>()) {
    json all = json::array();
    for (const Value& element : set->elements) all.push_back(value_json(element));
    return all;
  }
  if (const auto* record = value.as<Record>()) {
    json all = json::object();
    for (const auto& [name, field] : record->fields) all[name] = value_json(field);
    return all;
  }
  const std::string written = to_text(value);
  const std::size_t open = written.find('(');
  std::string function = written.substr(0, open);
  std::string argument = written.substr(open + 2, written.size() - open - 4);
  if (const auto* time = value.as<Datetime>()) {
    function = "datetime";
    argument = time->unix_ms == 0 ? "1970-01-01" : "2026-11-21T08:30:00Z";
  }
  return json{{"__extn", {{"fn", function}, {"arg", argument}}}};
}

}  // namespace

const char* RandomPolicies::schema() {
  return R"(
entity User in [Group] = {
  age: Long, name: String, admin: Bool, manager?: User, tags: Set<String>,
  address: { city: String, "post code"?: Long }, home: ipaddr, pay: decimal, since: datetime
} tags String;
entity Group in [Group];
entity Item in [Item, Group] = { owner: User, size: Long, readers: Set<User>, secret?: Bool };
action any;
action read, write in [any] appliesTo { principal: [User], resource: [Item], context: {
  n: Long, text: String, on: Bool, who?: User, list: Set<Long>, from: ipaddr, cost: decimal, at: datetime, left: duration } };
action lend in [write] appliesTo { principal: [User, Group], resource: [Item, User], context: { n: Long } };
)";
}

std::int64_t RandomPolicies::number() {
  const std::array<std::int64_t, 8> some = {0,
                                            1,
                                            2,
                                            3,
                                            -1,
                                            100,
                                            std::numeric_limits<std::int64_t>::max(),
                                            std::numeric_limits<std::int64_t>::min()};
  // The extremes in policies only: other engines read data through numbers of 53 bits.
  return some[below(extremes_ && chance(10) ? 8 : 6)];
}

std::string RandomPolicies::text() {
  return pick(
      std::vector<std::string>{"", "a", "ada", "logs/a", "*", "a*\\b", "\xC3\xA4\n", "staff"});
}

Value RandomPolicies::value(Sort sort) {
  switch (sort) {
    case Sort::truth:
      return Value(chance(50));
    case Sort::number:
      return Value(number());
    case Sort::text:
      return Value(text());
    case Sort::user:
      return Value(user());
    case Sort::group:
      return Value(group());
    case Sort::item:
      return Value(item());
    case Sort::set: {
      std::vector<Value> elements;
      for (std::size_t i = below(4); i > 0; --i) elements.emplace_back(number());
      return Value(make_set(std::move(elements)));
    }
    case Sort::record: {
      Record record;
      record.set("city", Value(text()));
      if (chance(50)) record.set("post code", Value(number()));
      return Value(std::move(record));
    }
    case Sort::decimal:
      return Value(
          *parse_decimal(pick(std::vector<std::string>{"0.0", "1.5", "-2.25", "100.0001"})));
    case Sort::ip:
      return Value(*parse_ip(pick(
          std::vector<std::string>{"10.0.0.1", "127.0.0.1", "10.0.0.0/8", "::1", "ff00::/8"})));
    case Sort::time:
      return Value(
          *parse_datetime(pick(std::vector<std::string>{"1970-01-01", "2026-11-21T08:30:00Z"})));
    case Sort::span:
      return Value(*parse_timespan(pick(std::vector<std::string>{"0ms", "1d2h", "-90m", "5ms"})));
  }
  return Value(true);
}

std::vector<Entity> RandomPolicies::entities() {
  std::vector<Entity> all;
  for (const char* id : {"ada", "bob", "eve"}) {
    if (chance(10)) continue;
    Entity entity;
    entity.uid = {"User", id};
    if (chance(60)) entity.parents.push_back(group());
    entity.attributes.set("age", value(Sort::number));
    entity.attributes.set("name", value(Sort::text));
    entity.attributes.set("admin", value(Sort::truth));
    if (chance(50)) entity.attributes.set("manager", value(Sort::user));
    entity.attributes.set("tags", Value(make_set({Value(text()), Value(text())})));
    entity.attributes.set("address", value(Sort::record));
    entity.attributes.set("home", value(Sort::ip));
    entity.attributes.set("pay", value(Sort::decimal));
    entity.attributes.set("since", value(Sort::time));
    if (chance(50)) entity.tags.set(text(), value(Sort::text));
    all.push_back(std::move(entity));
  }
  for (const char* id : {"staff", "root"}) {
    Entity entity;
    entity.uid = {"Group", id};
    if (chance(50)) entity.parents.push_back({"Group", "all"});
    all.push_back(std::move(entity));
  }
  for (const char* id : {"a", "b"}) {
    Entity entity;
    entity.uid = {"Item", id};
    if (chance(40)) entity.parents.push_back(group());
    if (chance(30)) entity.parents.push_back({"Item", "c\n\"*\""});
    entity.attributes.set("owner", value(Sort::user));
    entity.attributes.set("size", value(Sort::number));
    entity.attributes.set("readers", Value(make_set({Value(user()), Value(user())})));
    if (chance(50)) entity.attributes.set("secret", value(Sort::truth));
    all.push_back(std::move(entity));
  }
  for (const auto& [id, parent] : {std::pair("any", ""), std::pair("read", "any"),
                                   std::pair("write", "any"), std::pair("lend", "write")}) {
    Entity entity;
    entity.uid = {"Action", id};
    if (*parent != '\0') entity.parents.push_back({"Action", parent});
    all.push_back(std::move(entity));
  }
  return all;
}

Record RandomPolicies::context() {
  Record record;
  record.set("n", value(Sort::number));
  record.set("text", value(Sort::text));
  record.set("on", value(Sort::truth));
  if (chance(50)) record.set("who", value(Sort::user));
  record.set("list", value(Sort::set));
  record.set("from", value(Sort::ip));
  record.set("cost", value(Sort::decimal));
  record.set("at", value(Sort::time));
  record.set("left", value(Sort::span));
  return record;
}

Request RandomPolicies::request() {
  const auto action = pick(std::vector<std::string>{"read", "write", "lend"});
  return Request::make(chance(90) ? user() : group(), {"Action", action},
                       chance(90) ? item() : user(), context());
}

Scope RandomPolicies::scope(bool principal) {
  Scope scope;
  const auto own = [&] { return principal ? user() : item(); };
  switch (below(6)) {
    case 0:
      scope.kind = ScopeKind::equal;
      scope.entities = {own()};
      break;
    case 1:
      scope.kind = ScopeKind::in;
      scope.entities = {chance(70) ? group() : own()};
      break;
    case 2:
      scope.kind = ScopeKind::is;
      scope.type = chance(80) ? (principal ? "User" : "Item") : "Group";
      break;
    case 3:
      scope.kind = ScopeKind::is_in;
      scope.type = principal ? "User" : "Item";
      scope.entities = {group()};
      break;
    default:
      break;
  }
  return scope;
}

Scope RandomPolicies::action_scope() {
  const std::vector<std::string> ids = {"any", "read", "write", "lend"};
  Scope scope;
  const std::size_t form = below(4);
  if (form == 0) return scope;
  scope.kind = form == 1 ? ScopeKind::equal : ScopeKind::in;
  scope.entities = {{"Action", pick(ids)}};
  if (form == 3) {
    scope.listed = true;
    if (chance(50)) scope.entities.push_back({"Action", pick(ids)});
    if (chance(10)) scope.entities.clear();
  }
  return scope;
}

Expression RandomPolicies::node(Operator op, std::vector<Expression> operands) {
  auto made = make_node(op, {}, std::move(operands), Limits{});
  return made ? *made : literal(Value(true));
}

Expression RandomPolicies::literal(Value value) {
  // What has no literal of its own is called for.
  if (value.as<Set>() != nullptr) {
    std::vector<Expression> elements;
    for (const Value& element : value.as<Set>()->elements) elements.push_back(literal(element));
    return node(Operator::set, std::move(elements));
  }
  if (const auto* record = value.as<Record>()) {
    std::vector<Expression> parts;
    std::vector<std::string> names;
    for (const auto& [name, field] : record->fields) {
      parts.push_back(literal(field));
      names.push_back(name);
    }
    Expression made = node(Operator::record, std::move(parts));
    made.names = std::move(names);
    return made;
  }
  const json written = value_json(value);
  if (written.is_object() && written.contains("__extn")) {
    const std::string function = written["__extn"]["fn"];
    Expression text;
    text.value = Value(written["__extn"]["arg"].get<std::string>());
    return call(find_function(function)->function, list(std::move(text)));
  }
  Expression made;
  made.value = std::move(value);
  return made;
}

Expression RandomPolicies::call(Function function, std::vector<Expression> operands) {
  Expression made = node(Operator::call, std::move(operands));
  if (made.op == Operator::call) made.function = function;
  return made;
}

Expression RandomPolicies::attribute(Sort sort, int depth) {
  const auto get = [this](Expression owner, const char* name) {
    Expression made = node(Operator::attribute, list(std::move(owner)));
    made.names = {name};
    return made;
  };
  const auto context = [&](const char* name) { return get(variable(Operator::context), name); };
  const auto mine = [&](const char* name) { return get(of(Sort::user, depth - 1), name); };
  const auto its = [&](const char* name) { return get(variable(Operator::resource), name); };
  switch (sort) {
    case Sort::truth:
      return chance(40) ? context("on") : chance(50) ? mine("admin") : its("secret");
    case Sort::number:
      return chance(40) ? context("n") : chance(50) ? mine("age") : its("size");
    case Sort::text:
      if (chance(15)) {
        return node(Operator::get_tag, list(of(Sort::user, depth - 1), literal(Value(text()))));
      }
      return chance(40)   ? context("text")
             : chance(50) ? mine("name")
                          : get(of(Sort::record, depth - 1), "city");
    case Sort::user:
      return chance(50) ? its("owner") : chance(50) ? mine("manager") : context("who");
    case Sort::set:
      return chance(70) ? context("list") : mine("tags");
    case Sort::record:
      return mine("address");
    case Sort::decimal:
      return chance(50) ? context("cost") : mine("pay");
    case Sort::ip:
      return chance(50) ? context("from") : mine("home");
    case Sort::time:
      return chance(50) ? context("at") : mine("since");
    case Sort::span:
      return context("left");
    default:
      return literal(value(sort));
  }
}

Expression RandomPolicies::of(Sort sort, int depth) {
  // Now and then something else: evaluation must fail as the language says.
  if (chance(3)) sort = static_cast<Sort>(below(12));
  if (sort == Sort::truth) return truth(depth);
  if (sort == Sort::user && chance(50)) return variable(Operator::principal);
  if (sort == Sort::item && chance(70)) return variable(Operator::resource);
  if (depth <= 0 || chance(25)) return literal(value(sort));
  if (chance(10)) {
    return node(Operator::conditional,
                list(truth(depth - 1), of(sort, depth - 1), of(sort, depth - 1)));
  }
  if (sort == Sort::number && chance(40)) {
    const std::array<Operator, 3> some = {Operator::add, Operator::subtract, Operator::multiply};
    if (chance(20)) return node(Operator::minus, list(of(Sort::number, depth - 1)));
    if (chance(15)) {
      const std::array<Function, 3> units = {Function::to_hours, Function::to_seconds,
                                             Function::to_milliseconds};
      return call(units[below(3)], list(of(Sort::span, depth - 1)));
    }
    return node(some[below(3)], list(of(Sort::number, depth - 1), of(Sort::number, depth - 1)));
  }
  if (sort == Sort::time && chance(40)) {
    if (chance(40)) return call(Function::to_date, list(of(Sort::time, depth - 1)));
    return call(Function::offset, list(of(Sort::time, depth - 1), of(Sort::span, depth - 1)));
  }
  if (sort == Sort::span && chance(40)) {
    if (chance(40)) return call(Function::to_time, list(of(Sort::time, depth - 1)));
    return call(Function::duration_since,
                list(of(Sort::time, depth - 1), of(Sort::time, depth - 1)));
  }
  return attribute(sort, depth);
}

Expression RandomPolicies::truth(int depth) {
  if (depth <= 0) return chance(50) ? literal(Value(chance(50))) : attribute(Sort::truth, 0);
  const int less = depth - 1;
  switch (below(16)) {
    case 0:
      return node(Operator::all, list(truth(less), truth(less)));
    case 1:
      return node(Operator::any, list(truth(less), truth(less), truth(less)));
    case 2:
      return node(Operator::negation, list(truth(less)));
    case 3: {
      const Sort sort = static_cast<Sort>(below(12));
      return node(chance(70) ? Operator::equal : Operator::not_equal,
                  list(of(sort, less), of(chance(95) ? sort : Sort::number, less)));
    }
    case 4:
    case 5: {
      const std::array<Operator, 4> some = {Operator::less, Operator::less_equal, Operator::greater,
                                            Operator::greater_equal};
      const Sort sort = chance(70) ? Sort::number : chance(50) ? Sort::time : Sort::span;
      return node(some[below(4)], list(of(sort, less), of(sort, less)));
    }
    case 6: {
      Expression groups =
          chance(60) ? literal(Value(group()))
                     : node(Operator::set, list(literal(Value(group())), literal(Value(group()))));
      return node(Operator::in, list(chance(50) ? of(Sort::user, less) : of(Sort::item, less),
                                     std::move(groups)));
    }
    case 7: {
      const std::array<std::pair<Sort, const char*>, 4> some = {{{Sort::user, "manager"},
                                                                 {Sort::item, "secret"},
                                                                 {Sort::record, "post code"},
                                                                 {Sort::user, "nothing"}}};
      const auto& [sort, name] = some[below(4)];
      Expression made = node(Operator::has, list(of(sort, less)));
      made.names = {name};
      return made;
    }
    case 8: {
      Expression made = node(Operator::has, list(variable(Operator::principal)));
      made.names = chance(50) ? std::vector<std::string>{"manager", "address", "city"}
                              : std::vector<std::string>{"address", "zip"};
      return made;
    }
    case 9: {
      Expression made = node(Operator::like, list(of(Sort::text, less)));
      made.pattern = pattern();
      return made;
    }
    case 10: {
      std::vector<Expression> operands = list(of(chance(50) ? Sort::user : Sort::item, less));
      if (chance(40)) operands.push_back(literal(Value(group())));
      Expression made = node(Operator::is, std::move(operands));
      made.names = {chance(50) ? "User" : "Item"};
      return made;
    }
    case 11: {
      Expression of_set = of(Sort::set, less);
      if (chance(20)) return node(Operator::is_empty, list(std::move(of_set)));
      if (chance(50))
        return node(Operator::contains, list(std::move(of_set), of(Sort::number, less)));
      return node(chance(50) ? Operator::contains_all : Operator::contains_any,
                  list(std::move(of_set), of(Sort::set, less)));
    }
    case 12: {
      const std::array<Function, 4> some = {Function::less_than, Function::less_than_or_equal,
                                            Function::greater_than,
                                            Function::greater_than_or_equal};
      return call(some[below(4)], list(of(Sort::decimal, less), of(Sort::decimal, less)));
    }
    case 13: {
      if (chance(40)) {
        return call(Function::is_in_range, list(of(Sort::ip, less), of(Sort::ip, less)));
      }
      const std::array<Function, 4> some = {Function::is_ipv4, Function::is_ipv6,
                                            Function::is_loopback, Function::is_multicast};
      return call(some[below(4)], list(of(Sort::ip, less)));
    }
    case 14:
      return node(Operator::has_tag, list(of(Sort::user, less), of(Sort::text, less)));
    default:
      return attribute(Sort::truth, less);
  }
}

Pattern RandomPolicies::pattern() {
  Pattern made;
  made.pieces.clear();
  for (std::size_t i = 1 + below(3); i > 0; --i) {
    made.pieces.push_back(pick(std::vector<std::string>{"", "a", "logs/", "*", "staff"}));
  }
  return made;
}

Policy RandomPolicies::policy(std::size_t number) {
  extremes_ = true;
  Policy made;
  made.id = "policy" + std::to_string(number);
  made.effect = chance(65) ? Effect::permit : Effect::forbid;
  made.principal = scope(true);
  made.action = action_scope();
  made.resource = scope(false);
  for (std::size_t i = below(3); i > 0; --i) {
    Condition condition;
    condition.when = chance(75);
    condition.body = truth(1 + static_cast<int>(below(4)));
    made.conditions.push_back(std::move(condition));
  }
  if (chance(20)) made.annotations.emplace_back("reason", text());
  made.text = to_text(made);
  extremes_ = false;
  return made;
}

std::string to_json(const std::vector<Entity>& entities) {
  json all = json::array();
  for (const Entity& entity : entities) {
    json parents = json::array();
    for (const EntityUid& parent : entity.parents) parents.push_back(uid_json(parent));
    all.push_back({{"uid", uid_json(entity.uid)},
                   {"attrs", value_json(Value(entity.attributes))},
                   {"parents", parents},
                   {"tags", value_json(Value(entity.tags))}});
  }
  return all.dump();
}

std::string to_json(const Value& value) {
  return value_json(value).dump();
}

}  // namespace ambit::cedar
