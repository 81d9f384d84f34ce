#include "inference/template_evaluator.h"
#include "inference/unicode.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <optional>

namespace ambit::inference::jinja {

Result<Value> Evaluator::call(const Expression& expression) {
  const Expression& callee = *expression.operands[0];
  const std::size_t line = expression.line;
  if (callee.kind == Kind::attribute) {
    Value self = TRY(evaluate(*callee.operands[0]));
    return method(callee.text, self.get(), TRY(arguments(expression)), line);
  }
  if (callee.kind != Kind::name) return Err(wrong(line, "this cannot be called"));
  const Arguments given = TRY(arguments(expression));
  if (const Statement* found = macro(callee.text)) return call_macro(*found, given);
  if (callee.text == "raise_exception")
    return Err(
        Error{Code::invalid, "the chat template refuses: " +
                                 (given.plain.empty() ? "" : shown(to_text(given.plain[0])))});
  if (callee.text == "namespace" || callee.text == "dict") {
    Json object = given.plain.empty() ? Json::object() : given.plain[0];
    for (const auto& [name, value] : given.named) object[name] = value;
    TRY(charge_built(object, line));
    return Value(std::move(object));
  }
  if (callee.text == "range") return range(given, line);
  return Err(wrong(line, "there is no function \"" + callee.text + "\""));
}

Result<Value> Evaluator::range(const Arguments& given, std::size_t line) {
  constexpr std::int64_t count_max = 100'000;
  constexpr std::int64_t far = std::int64_t{1} << 53U;
  const std::size_t size = given.plain.size();
  if (size < 1 || size > 3) return Err(wrong(line, "range takes one to three whole numbers"));
  for (const Json& part : given.plain)
    if (!part.is_number_integer() || part.get<std::int64_t>() > far ||
        part.get<std::int64_t>() < -far)
      return Err(wrong(line, "range needs whole numbers below 2^53"));
  const auto part = [&](std::size_t i) { return given.plain[i].get<std::int64_t>(); };
  const std::int64_t start = size > 1 ? part(0) : 0;
  const std::int64_t stop = part(size > 1 ? 1 : 0);
  const std::int64_t stride = size > 2 ? part(2) : 1;
  if (stride == 0) return Err(wrong(line, "a range cannot have the step 0"));
  const std::int64_t way = stride > 0 ? stop - start : start - stop;
  const std::int64_t each = stride > 0 ? stride : -stride;
  const std::int64_t count = way <= 0 ? 0 : (way - 1) / each + 1;
  if (count > count_max)
    return Err(wrong(line, "a range of more than " + std::to_string(count_max)));
  TRY(charge(static_cast<std::size_t>(count) * 32, line));
  Json list = Json::array();
  for (std::int64_t i = 0; i < count; ++i) list.push_back(start + i * stride);
  return Value(std::move(list));
}

Result<Value> Evaluator::call_macro(const Statement& statement, const Arguments& given) {
  if (scopes_.size() > limits_.depth_max)
    return Err(wrong(statement.line, "macros call each other too deeply"));
  Scope scope;
  scope.is_call = true;
  for (std::size_t i = 0; i < statement.names.size(); ++i) {
    const Json* value = given.at(i, statement.names[i]);
    if (value != nullptr)
      scope.values[statement.names[i]] = *value;
    else if (statement.defaults[i] != nullptr)
      scope.values[statement.names[i]] = TRY(evaluate(*statement.defaults[i])).take();
    else
      scope.values[statement.names[i]] = Json(Json::value_t::discarded);
  }
  scopes_.push_back(std::move(scope));
  const Level call(calls_);
  std::string text = TRY(captured(statement.body, statement.line));
  scopes_.pop_back();
  return Value(Json(std::move(text)));
}

Result<Value> Evaluator::method(const std::string& name, const Json& self, const Arguments& given,
                                std::size_t line) {
  const auto argument = [&](std::size_t index) {
    return index < given.plain.size() && given.plain[index].is_string()
               ? text_of(given.plain[index])
               : std::string();
  };
  if (self.is_string()) {
    const std::string& text = text_of(self);
    if (name == "startswith") return Value(Json(text.starts_with(argument(0))));
    if (name == "endswith") return Value(Json(text.ends_with(argument(0))));
    TRY(charge_value(self, line));
    if (name == "strip" || name == "lstrip" || name == "rstrip" || name == "find" ||
        name == "split" || name == "rsplit")
      TRY(charge_search(text, argument(0), line));
    if (name == "strip") return Value(Json(strip(text, argument(0), true, true)));
    if (name == "lstrip") return Value(Json(strip(text, argument(0), true, false)));
    if (name == "rstrip") return Value(Json(strip(text, argument(0), false, true)));
    if (name == "replace") return replaced_value(text, argument(0), argument(1), line);
    if (name == "upper") return Value(Json(cased(text, true)));
    if (name == "lower") return Value(Json(cased(text, false)));
    if (name == "capitalize") return Value(Json(capitalized(text)));
    if (name == "title") return Value(Json(titled(text)));
    if (name == "find") {
      const std::size_t at = text.find(argument(0));
      return Value(
          Json(at == std::string::npos ? std::int64_t{-1} : static_cast<std::int64_t>(at)));
    }
    if (name == "split" || name == "rsplit") return split(text, given, name == "rsplit", line);
    if (name == "join" && !given.plain.empty()) return joined(given.plain[0], text, line);
  }
  if (self.is_object()) {
    if (name == "get") {
      TRY(step(line, self.size() / 64));
      const auto found = self.find(argument(0));
      if (found == self.end()) return Value(given.plain.size() > 1 ? given.plain[1] : Json());
      TRY(charge_value(*found, line));
      return Value(Json(*found));
    }
    if (name == "items" || name == "keys" || name == "values") {
      TRY(charge_value(self, line));
      Json list = Json::array();
      for (auto it = self.begin(); it != self.end(); ++it)
        list.push_back(name == "keys"     ? Json(it.key())
                       : name == "values" ? *it
                                          : Json::array({it.key(), *it}));
      return Value(std::move(list));
    }
  }
  return Err(wrong(line, kind_name(self) + " has no method \"" + name + "\""));
}

Result<Value> Evaluator::split(std::string_view text, const Arguments& given, bool from_right,
                               std::size_t line) {
  std::vector<Json> parts;
  const auto add = [&](std::string_view part) -> Result<void> {
    parts.emplace_back(part);
    return step(line, parts.size() % 4 == 0 ? 1 : 0);
  };
  const std::string by =
      given.plain.empty() || !given.plain[0].is_string() ? "" : text_of(given.plain[0]);
  std::int64_t most = given.plain.size() > 1 && given.plain[1].is_number_integer()
                          ? given.plain[1].get<std::int64_t>()
                          : -1;
  if (by.empty()) {  // at runs of white space, none at the ends
    for (std::size_t at = 0; at < text.size();) {
      const std::size_t start = text.find_first_not_of(" \t\n\r", at);
      if (start == std::string_view::npos) break;
      at = std::min(text.find_first_of(" \t\n\r", start), text.size());
      TRY(add(text.substr(start, at - start)));
    }
  } else if (from_right) {
    for (std::size_t at = 0; most-- != 0 && (at = text.rfind(by)) != std::string_view::npos;
         text = text.substr(0, at))
      TRY(add(text.substr(at + by.size())));
    TRY(add(text));
    std::reverse(parts.begin(), parts.end());
  } else {
    for (std::size_t at = 0; most-- != 0 && (at = text.find(by)) != std::string_view::npos;
         text.remove_prefix(at + by.size()))
      TRY(add(text.substr(0, at)));
    TRY(add(text));
  }
  return Value(Json(std::move(parts)));
}

Result<Value> Evaluator::as_json(const Json& value, const Arguments& given, std::size_t line) {
  if (value.is_discarded()) return Err(wrong(line, "tojson of an undefined value"));
  for (const auto& [name, unused] : given.named)
    if (name != "indent" && name != "ensure_ascii" && name != "sort_keys" && name != "separators")
      return Err(wrong(line, "tojson takes no \"" + name + "\""));
  // In the order in which the libraries that serve models take them.
  const auto holds = [&](std::size_t index, const char* name) {
    const Json* found = given.at(index, name);
    return found != nullptr && truth(*found);
  };
  JsonStyle style;
  style.ensure_ascii = holds(0, "ensure_ascii");
  style.sort_keys = holds(3, "sort_keys");
  if (const Json* indent = given.at(1, "indent"); indent != nullptr && indent->is_number_integer())
    style.indent =
        static_cast<std::size_t>(std::clamp<std::int64_t>(indent->get<std::int64_t>(), 0, 16));
  if (const Json* both = given.at(2, "separators"); both != nullptr && !both->is_null()) {
    if (!both->is_array() || both->size() != 2 || !(*both)[0].is_string() ||
        !(*both)[1].is_string())
      return Err(wrong(line, "the separators of tojson are two strings"));
    style.item_separator = text_of((*both)[0]);
    style.key_separator = text_of((*both)[1]);
  }
  std::size_t size = 0;
  measure(value, std::string::npos, size);
  TRY(charge(size * (32 + style.indent * limits_.depth_max + style.item_separator.size() +
                     style.key_separator.size()),
             line));
  return Value(Json(python_dumps(value, style)));
}

Result<std::vector<Evaluator::Keyed>> Evaluator::keyed(std::vector<Json> items,
                                                       const Json* attribute,
                                                       const Json* case_sensitive,
                                                       std::size_t line) {
  const bool by_case = case_sensitive != nullptr && truth(*case_sensitive);
  std::vector<Keyed> found;
  found.reserve(items.size());
  for (Json& item : items) {
    Json key = item;
    if (attribute != nullptr && !attribute->is_null())
      key = TRY(member(Value::reference(item), *attribute, line)).get();
    if (key.is_string() && !by_case) key = cased(text_of(key), false);
    found.push_back({std::move(key), std::move(item)});
  }
  return found;
}

Json Evaluator::sorted(std::vector<Keyed> items, const Json* reverse) {
  const bool down = reverse != nullptr && truth(*reverse);
  sort_stably(items, [down](const Keyed& a, const Keyed& b) {
    return down ? b.key < a.key : a.key < b.key;
  });
  Json list = Json::array();
  for (Keyed& each : items) list.push_back(std::move(each.item));
  return list;
}

Result<Value> Evaluator::joined(const Json& list, const std::string& with, std::size_t line) {
  const std::vector<Json> items = TRY(items_of(list, line));
  std::string joined;
  bool first = true;
  for (const Json& item : items) {
    if (!first) joined += with;
    first = false;
    joined += TRY(text(item, line));
    TRY(charge(with.size(), line));
    if (joined.size() > limits_.output_bytes_max) break;
  }
  return text_value(std::move(joined), line);
}

Result<Value> Evaluator::filter(const Expression& expression, const Json& value,
                                const Arguments& given) {
  const std::string& name = expression.text;
  const std::size_t line = expression.line;
  const auto text_argument = [&](std::size_t index, const std::string& key) {
    const Json* found = given.at(index, key);
    return found != nullptr && found->is_string() ? text_of(*found) : std::string();
  };
  if (name == "length" || name == "count") {
    if (!value.is_structured() && !value.is_string() && !value.is_discarded())
      return Err(wrong(line, kind_name(value) + " has no length"));
    if (value.is_string()) TRY(charge(text_of(value).size() * sizeof(std::uint32_t), line));
    return Value(Json(value.is_discarded() ? std::size_t{0} : length_of(value)));
  }
  if ((name == "first" || name == "last") && value.is_array()) {
    if (value.empty()) return Value::undefined();
    const Json& item = name == "first" ? value.front() : value.back();
    TRY(charge_value(item, line));
    return Value(item);
  }
  TRY(charge_value(value, line));
  if (name == "tojson") return as_json(value, given, line);
  if (name == "default" || name == "d") {
    const Json* fallback = given.at(0, "default_value");
    const Json* also_false = given.at(1, "boolean");
    const bool missing =
        value.is_discarded() || (also_false != nullptr && truth(*also_false) && !truth(value));
    return Value(missing ? (fallback != nullptr ? *fallback : Json("")) : value);
  }
  if (name == "trim") {
    const std::string whole = to_text(value);
    TRY(charge_search(whole, text_argument(0, "chars"), line));
    return Value(Json(strip(whole, text_argument(0, "chars"), true, true)));
  }
  if (name == "upper") return Value(Json(cased(to_text(value), true)));
  if (name == "lower") return Value(Json(cased(to_text(value), false)));
  if (name == "capitalize") return Value(Json(capitalized(to_text(value))));
  if (name == "title") return Value(Json(titled(to_text(value))));
  if (name == "string") return Value(Json(to_text(value)));
  if (name == "safe") return Value(value);
  if (name == "replace")
    return replaced_value(to_text(value), text_argument(0, "old"), text_argument(1, "new"), line);
  if (name == "int") {
    if (value.is_number())
      return Value(Json(static_cast<std::int64_t>(std::clamp(value.get<double>(), -9e18, 9e18))));
    return Value(
        Json(static_cast<std::int64_t>(std::strtoll(to_text(value).c_str(), nullptr, 10))));
  }
  if (name == "float")
    return Value(Json(value.is_number() ? value.get<double>()
                                        : std::strtod(to_text(value).c_str(), nullptr)));
  if (name == "abs" && value.is_number())
    return truth(Json(value < Json(0))) ? arithmetic("-", Json(0), value, line)
                                        : Result<Value>(Value(value));
  if (name == "items")
    return value.is_discarded() ? Result<Value>(Value(Json::array()))
                                : method("items", value, given, line);
  if (name == "dictsort") {
    Json list = TRY(method("items", value, given, line)).take();
    TRY(charge_order(list, std::bit_width(list.size()), line));
    const Json* by = given.at(1, "by");
    const Json place = by != nullptr && *by == Json("value") ? 1 : 0;
    auto pairs = TRY(keyed(std::move(list.get_ref<Json::array_t&>()), &place,
                           given.at(0, "case_sensitive"), line));
    return Value(sorted(std::move(pairs), given.at(2, "reverse")));
  }
  if (name == "join") return joined(value, text_argument(0, "d"), line);
  if (name == "indent") {
    const Json* width = given.at(0, "width");
    const auto size = static_cast<std::size_t>(std::clamp<std::int64_t>(
        width != nullptr && width->is_number_integer() ? width->get<std::int64_t>() : 4, 0, 64));
    const Json* first = given.at(1, "first");
    const Value spaced =
        TRY(replaced_value(to_text(value), "\n", "\n" + std::string(size, ' '), line));
    std::string text = text_of(spaced.get());
    text = replaced(text, "\n" + std::string(size, ' ') + "\n", "\n\n");
    return Value(Json(first != nullptr && truth(*first) ? std::string(size, ' ') + text : text));
  }
  return list_filter(expression, value, given);
}

Result<Value> Evaluator::list_filter(const Expression& expression, const Json& value,
                                     const Arguments& given) {
  const std::string& name = expression.text;
  const std::size_t line = expression.line;
  static constexpr std::string_view known[] = {"list",   "first",      "last",   "reverse",
                                               "sort",   "unique",     "select", "selectattr",
                                               "reject", "rejectattr", "map"};
  if (std::find(std::begin(known), std::end(known), name) == std::end(known))
    return Err(wrong(line, "there is no filter \"" + name + "\""));
  // Jinja lets these take nothing for a list without items.
  const bool selects = name == "select" || name == "selectattr" || name == "reject" ||
                       name == "rejectattr" || name == "map";
  if (selects && !truth(value)) return Value(Json::array());
  std::vector<Json> items = TRY(items_of(value, line));
  if (name == "list") return Value(Json(std::move(items)));
  if (name == "first") return items.empty() ? Value::undefined() : Value(std::move(items.front()));
  if (name == "last") return items.empty() ? Value::undefined() : Value(std::move(items.back()));
  if (name == "reverse") {
    std::reverse(items.begin(), items.end());
    return Value(Json(std::move(items)));
  }
  if (name == "sort") {
    TRY(charge_order(value, std::bit_width(items.size()), line));
    auto pairs =
        TRY(keyed(std::move(items), given.at(2, "attribute"), given.at(1, "case_sensitive"), line));
    return Value(sorted(std::move(pairs), given.at(0, "reverse")));
  }
  if (name == "unique") {
    TRY(charge_order(value, items.size(), line));
    auto pairs =
        TRY(keyed(std::move(items), given.at(1, "attribute"), given.at(0, "case_sensitive"), line));
    Json list = Json::array();
    for (std::size_t i = 0; i < pairs.size(); ++i)
      if (std::none_of(pairs.begin(), pairs.begin() + static_cast<std::ptrdiff_t>(i),
                       [&](const Keyed& before) { return before.key == pairs[i].key; }))
        list.push_back(pairs[i].item);
    return Value(std::move(list));
  }
  const bool by_attribute = name == "selectattr" || name == "rejectattr";
  if (by_attribute || name == "select" || name == "reject") {
    const std::size_t skip = by_attribute ? 1 : 0;
    Arguments rest;
    for (std::size_t i = skip + 1; i < given.plain.size(); ++i)
      rest.plain.push_back(given.plain[i]);
    Json list = Json::array();
    for (Json& item : items) {
      Json looked_at = item;
      if (by_attribute) {
        if (given.plain.empty()) return Err(wrong(line, name + " needs the name of an attribute"));
        looked_at = TRY(member(Value(item), given.plain[0], line)).take();
      }
      bool holds = truth(looked_at);
      if (given.plain.size() > skip)
        holds = TRY(test(to_text(given.plain[skip]), looked_at, rest, line));
      if (holds == (name == "select" || name == "selectattr")) list.push_back(std::move(item));
    }
    return Value(std::move(list));
  }
  if (name == "map") {
    Json list = Json::array();
    for (Json& item : items) {
      if (const Json* attribute = given.at(given.plain.size(), "attribute")) {
        list.push_back(TRY(member(Value(std::move(item)), *attribute, line)).take());
        continue;
      }
      if (given.plain.empty()) return Err(wrong(line, "map needs a filter or an attribute"));
      Expression inner;
      inner.text = to_text(given.plain[0]);
      inner.line = line;
      if (inner.text == "map") return Err(wrong(line, "map of map is not supported"));
      Arguments rest;
      rest.plain.assign(given.plain.begin() + 1, given.plain.end());
      list.push_back(TRY(filter(inner, item, rest)).take());
    }
    return Value(std::move(list));
  }
  return Err(wrong(line, "there is no filter \"" + name + "\""));
}

Result<bool> Evaluator::test(const std::string& name, const Json& value, const Arguments& given,
                             std::size_t line) {
  if (name == "defined") return !value.is_discarded();
  if (name == "undefined") return value.is_discarded();
  if (name == "none") return value.is_null();
  if (name == "string") return value.is_string();
  if (name == "number") return value.is_number();
  if (name == "integer") return value.is_number_integer();
  if (name == "float") return value.is_number_float();
  if (name == "boolean") return value.is_boolean();
  if (name == "true") return value == Json(true);
  if (name == "false") return value == Json(false);
  if (name == "mapping") return value.is_object();
  if (name == "iterable") return value.is_structured() || value.is_string();
  if (name == "sequence") return value.is_structured() || value.is_string();
  if (name == "callable") return false;
  if ((name == "odd" || name == "even") && value.is_number_integer())
    return (value.get<std::int64_t>() % 2 != 0) == (name == "odd");
  if (!given.plain.empty()) {
    const Json& other = given.plain[0];
    if (value.type() == other.type()) TRY(charge_value(value, line));
    if (name == "equalto" || name == "eq" || name == "==" || name == "sameas")
      return value == other;
    if (name == "ne" || name == "!=") return value != other;
    if (name == "in") return contains(other, value, line);
    if (name == "divisibleby" && value.is_number_integer() && other.is_number_integer() &&
        other != 0)
      return other == -1 || value.get<std::int64_t>() % other.get<std::int64_t>() == 0;
  }
  return Err(wrong(line, "there is no test \"" + name + "\""));
}

}  // namespace ambit::inference::jinja
