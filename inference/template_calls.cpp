#include "inference/template_evaluator.h"
#include "inference/unicode.h"

#include <algorithm>
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
    return Err(Error{Code::invalid, "the chat template refuses: " +
                                        (given.plain.empty() ? "" : to_text(given.plain[0]))});
  if (callee.text == "namespace" || callee.text == "dict") {
    Json object = given.plain.empty() ? Json::object() : given.plain[0];
    for (const auto& [name, value] : given.named) object[name] = value;
    TRY(charge_built(object, line));
    return Value(std::move(object));
  }
  if (callee.text == "range") {
    if (given.plain.empty() || !given.plain[0].is_number_integer())
      return Err(wrong(line, "range needs whole numbers"));
    std::int64_t start = 0;
    std::int64_t stop = given.plain[0].get<std::int64_t>();
    if (given.plain.size() > 1 && given.plain[1].is_number_integer()) {
      start = stop;
      stop = given.plain[1].get<std::int64_t>();
    }
    if (stop > start &&
        static_cast<std::uint64_t>(stop) - static_cast<std::uint64_t>(start) > 100'000)
      return Err(wrong(line, "a range of more than 100000"));
    if (stop > start) TRY(charge(static_cast<std::size_t>(stop - start) * 16, line));
    Json list = Json::array();
    for (std::int64_t i = start; i < stop; ++i) list.push_back(i);
    return Value(std::move(list));
  }
  return Err(wrong(line, "there is no function \"" + callee.text + "\""));
}

Result<Value> Evaluator::call_macro(const Statement& statement, const Arguments& given) {
  if (scopes_.size() > limits_.depth_max)
    return Err(wrong(statement.line, "macros call each other too deeply"));
  Scope scope;
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
  std::string text = TRY(captured(statement.body));
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
    if (name == "strip") return Value(Json(strip(text, argument(0), true, true)));
    if (name == "lstrip") return Value(Json(strip(text, argument(0), true, false)));
    if (name == "rstrip") return Value(Json(strip(text, argument(0), false, true)));
    if (name == "startswith") return Value(Json(text.starts_with(argument(0))));
    if (name == "endswith") return Value(Json(text.ends_with(argument(0))));
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
    if (name == "split" || name == "rsplit") return split(text, given, name == "rsplit");
    if (name == "join" && !given.plain.empty()) return joined(given.plain[0], text, line);
  }
  if (self.is_object()) {
    if (name == "get") {
      const auto found = self.find(argument(0));
      if (found != self.end()) return Value(Json(*found));
      return Value(given.plain.size() > 1 ? given.plain[1] : Json());
    }
    if (name == "items" || name == "keys" || name == "values") {
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

Value Evaluator::split(std::string_view text, const Arguments& given, bool from_right) {
  Json parts = Json::array();
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
      parts.push_back(std::string(text.substr(start, at - start)));
    }
  } else if (from_right) {
    std::vector<std::string> reversed;
    for (std::size_t at = 0; most-- != 0 && (at = text.rfind(by)) != std::string_view::npos;
         text = text.substr(0, at))
      reversed.emplace_back(text.substr(at + by.size()));
    reversed.emplace_back(text);
    for (auto part = reversed.rbegin(); part != reversed.rend(); ++part) parts.push_back(*part);
  } else {
    for (std::size_t at = 0; most-- != 0 && (at = text.find(by)) != std::string_view::npos;
         text.remove_prefix(at + by.size()))
      parts.push_back(std::string(text.substr(0, at)));
    parts.push_back(std::string(text));
  }
  return Value(std::move(parts));
}

Result<Value> Evaluator::joined(const Json& list, const std::string& with, std::size_t line) {
  std::string text;
  bool first = true;
  for (const Json& item : TRY(items_of(list, line))) {
    if (!first) text += with;
    first = false;
    text += to_text(item);
    TRY(charge(text.size() / 16, line));
  }
  return text_value(std::move(text), line);
}

Result<Value> Evaluator::filter(const Expression& expression, const Json& value,
                                const Arguments& given) {
  const std::string& name = expression.text;
  const std::size_t line = expression.line;
  const auto text_argument = [&](std::size_t index, const std::string& key) {
    const Json* found = given.at(index, key);
    return found != nullptr && found->is_string() ? text_of(*found) : std::string();
  };
  if (name == "tojson") {
    const Json* indent = given.at(0, "indent");
    if (value.is_discarded()) return Err(wrong(line, "tojson of an undefined value"));
    return Value(Json(python_dumps(value, indent != nullptr && indent->is_number_integer()
                                              ? std::clamp(indent->get<int>(), 0, 16)
                                              : 0)));
  }
  if (name == "default" || name == "d") {
    const Json* fallback = given.at(0, "default_value");
    const Json* also_false = given.at(1, "boolean");
    const bool missing =
        value.is_discarded() || (also_false != nullptr && truth(*also_false) && !truth(value));
    return Value(missing ? (fallback != nullptr ? *fallback : Json("")) : value);
  }
  if (name == "trim")
    return Value(Json(strip(to_text(value), text_argument(0, "chars"), true, true)));
  if (name == "upper") return Value(Json(cased(to_text(value), true)));
  if (name == "lower") return Value(Json(cased(to_text(value), false)));
  if (name == "capitalize") return Value(Json(capitalized(to_text(value))));
  if (name == "title") return Value(Json(titled(to_text(value))));
  if (name == "string") return Value(Json(to_text(value)));
  if (name == "safe") return Value(value);
  if (name == "replace")
    return replaced_value(to_text(value), text_argument(0, "old"), text_argument(1, "new"), line);
  if (name == "length" || name == "count") {
    if (!value.is_structured() && !value.is_string() && !value.is_discarded())
      return Err(wrong(line, kind_name(value) + " has no length"));
    return Value(Json(value.is_discarded() ? std::size_t{0} : length_of(value)));
  }
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
    sort_stably(list.get_ref<Json::array_t&>(),
                [](const Json& a, const Json& b) { return a[0] < b[0]; });
    return Value(std::move(list));
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
  std::vector<Json> items = TRY(items_of(value, line));
  if (name == "list") return Value(Json(std::move(items)));
  if (name == "first") return items.empty() ? Value::undefined() : Value(std::move(items.front()));
  if (name == "last") return items.empty() ? Value::undefined() : Value(std::move(items.back()));
  if (name == "reverse") {
    std::reverse(items.begin(), items.end());
    return Value(Json(std::move(items)));
  }
  if (name == "sort" || name == "unique") {
    if (name == "sort") sort_stably(items);
    Json list = Json::array();
    for (Json& item : items)
      if (name == "sort" || std::find(list.begin(), list.end(), item) == list.end())
        list.push_back(std::move(item));
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
