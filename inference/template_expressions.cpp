#include "inference/template_evaluator.h"
#include "inference/unicode.h"

#include <algorithm>
#include <cmath>
#include <optional>

namespace ambit::inference::jinja {

namespace {

// Where Python's index points to, if it points to one of `size` things.
std::optional<std::size_t> place(std::int64_t index, std::size_t size) {
  const auto count = static_cast<std::int64_t>(size);
  if (index < -count || index >= count) return std::nullopt;
  return static_cast<std::size_t>(index < 0 ? index + count : index);
}

}  // namespace

Result<Value> Evaluator::evaluate(const Expression& expression) {
  const Level level(nesting_);
  TRY(enter(expression.line));
  switch (expression.kind) {
    case Kind::literal:
      return Value::reference(expression.value);
    case Kind::name: {
      const Json* found = variable(expression.text);
      return found == nullptr ? Value::undefined() : Value::reference(*found);
    }
    case Kind::list: {
      Json list = Json::array();
      for (const ExpressionPtr& operand : expression.operands) {
        Value item = TRY(evaluate(*operand));
        list.push_back(TRY(taken(std::move(item), expression.line)));
      }
      TRY(charge_built(list, expression.line));
      return Value(std::move(list));
    }
    case Kind::object: {
      Json object = Json::object();
      for (std::size_t i = 0; i < expression.operands.size(); i += 2) {
        const Value key = TRY(evaluate(*expression.operands[i]));
        const std::string name = TRY(text(key.get(), expression.line));
        Value item = TRY(evaluate(*expression.operands[i + 1]));
        object[name] = TRY(taken(std::move(item), expression.line));
      }
      TRY(charge_built(object, expression.line));
      return Value(std::move(object));
    }
    case Kind::attribute:
      return member(TRY(evaluate(*expression.operands[0])), Json(expression.text), expression.line);
    case Kind::subscript: {
      Value whole = TRY(evaluate(*expression.operands[0]));
      const Value index = TRY(evaluate(*expression.operands[1]));
      return member(std::move(whole), index.get(), expression.line);
    }
    case Kind::slice:
      return slice(expression);
    case Kind::call:
      return call(expression);
    case Kind::filter: {
      const Value value = TRY(evaluate(*expression.operands[0]));
      return filter(expression, value.get(), TRY(arguments(expression)));
    }
    case Kind::test: {
      const Value value = TRY(evaluate(*expression.operands[0]));
      const Arguments given = TRY(arguments(expression));
      const bool holds = TRY(test(expression.text, value.get(), given, expression.line));
      return Value(Json(holds != expression.negated));
    }
    case Kind::unary: {
      Value value = TRY(evaluate(*expression.operands[0]));
      if (expression.text == "not") return Value(Json(!truth(value.get())));
      if (!value.get().is_number()) return Err(wrong(expression.line, "only a number has a sign"));
      if (expression.text == "+") return value;
      if (is_real(value.get())) return Value(Json(-value.get().get<double>()));
      return arithmetic("-", Json(0), value.get(), expression.line);
    }
    case Kind::binary:
      return binary(expression);
    case Kind::choice: {
      const bool holds = truth(TRY(evaluate(*expression.operands[1])).get());
      const Expression& chosen = *expression.operands[holds ? 0 : 2];
      if (!holds && chosen.kind == Kind::literal && chosen.value.is_null())
        return Value::undefined();
      return evaluate(chosen);
    }
  }
  return Value::undefined();
}

Result<Arguments> Evaluator::arguments(const Expression& expression) {
  Arguments given;
  for (std::size_t i = 1; i < expression.operands.size(); ++i) {
    Value value = TRY(evaluate(*expression.operands[i]));
    given.plain.push_back(TRY(taken(std::move(value), expression.line)));
  }
  for (const auto& [name, operand] : expression.named) {
    Value value = TRY(evaluate(*operand));
    given.named[name] = TRY(taken(std::move(value), expression.line));
  }
  return given;
}

Result<Value> Evaluator::member(const Value& whole, const Json& index, std::size_t line) {
  const Json& from = whole.get();
  const Json* found = nullptr;
  if (from.is_object() && index.is_string()) {
    TRY(step(line, from.size() / 64));
    const auto at = from.find(text_of(index));
    if (at != from.end()) found = &*at;
  } else if (from.is_array() && index.is_number_integer()) {
    if (const auto at = place(index.get<std::int64_t>(), from.size())) found = &from[*at];
  } else if (from.is_string() && index.is_number_integer()) {
    const std::string_view characters = text_of(from);
    TRY(charge(characters.size() * sizeof(std::uint32_t), line));
    const std::vector<std::uint32_t> starts = character_starts(characters);
    if (const auto at = place(index.get<std::int64_t>(), starts.size() - 1))
      return Value(Json(characters.substr(starts[*at], starts[*at + 1] - starts[*at])));
  } else if (from.is_discarded()) {
    return Err(wrong(line, "the value whose member " + shown(python_dumps(index)) +
                               " is asked for is undefined"));
  }
  if (found == nullptr) return Value::undefined();
  if (!whole.owns()) return Value::reference(*found);
  TRY(charge_value(*found, line));
  return Value(Json(*found));
}

Result<Value> Evaluator::slice(const Expression& expression) {
  const Value whole = TRY(evaluate(*expression.operands[0]));
  std::optional<std::int64_t> parts[3];
  for (std::size_t i = 0; i < 3; ++i) {
    if (expression.operands[i + 1] == nullptr) continue;
    const Value part = TRY(evaluate(*expression.operands[i + 1]));
    if (part.get().is_null()) continue;
    if (!part.get().is_number_integer())
      return Err(wrong(expression.line, "a slice needs whole numbers"));
    parts[i] = part.get().get<std::int64_t>();
  }
  const bool is_text = whole.get().is_string();
  if (!is_text && !whole.get().is_array())
    return Err(wrong(expression.line, "only lists and strings can be sliced"));
  const std::string_view characters = is_text ? text_of(whole.get()) : std::string_view();
  if (is_text) TRY(charge(characters.size() * sizeof(std::uint32_t), expression.line));
  const std::vector<std::uint32_t> starts = character_starts(characters);
  const auto size = static_cast<std::int64_t>(is_text ? starts.size() - 1 : whole.get().size());
  const std::int64_t stride = parts[2].value_or(1);
  if (stride == 0) return Err(wrong(expression.line, "a slice cannot have the step 0"));
  const auto border = [&](std::optional<std::int64_t> part, std::int64_t fallback) {
    if (!part) return fallback;
    const std::int64_t low = stride > 0 ? 0 : -1;
    const std::int64_t high = stride > 0 ? size : size - 1;
    return std::clamp(*part < 0 ? std::max(*part, -size - 1) + size : *part, low, high);
  };
  const std::int64_t start = border(parts[0], stride > 0 ? 0 : size - 1);
  const std::int64_t stop = border(parts[1], stride > 0 ? size : -1);
  Json list = Json::array();
  std::string text;
  for (std::int64_t i = start; stride > 0 ? i < stop : i > stop;) {
    const auto at = static_cast<std::size_t>(i);
    if (is_text) {
      text += characters.substr(starts[at], starts[at + 1] - starts[at]);
    } else {
      TRY(charge_value(whole.get()[at], expression.line));
      list.push_back(whole.get()[at]);
    }
    if (stride > size || stride < -size) break;
    i += stride;
  }
  return is_text ? Value(Json(std::move(text))) : Value(std::move(list));
}

Result<Value> Evaluator::binary(const Expression& expression) {
  const std::string& op = expression.text;
  Value left = TRY(evaluate(*expression.operands[0]));
  if (op == "and" && !truth(left.get())) return left;
  if (op == "or" && truth(left.get())) return left;
  Value right = TRY(evaluate(*expression.operands[1]));
  if (op == "and" || op == "or") return right;
  const Json& a = left.get();
  const Json& b = right.get();
  if (op == "~") {
    std::string joined = TRY(text(a, expression.line));
    joined += TRY(text(b, expression.line));
    return text_value(std::move(joined), expression.line);
  }
  if (op == "==" || op == "!=") {
    if (a.type() == b.type()) TRY(charge_value(a, expression.line));
    const bool same =
        a.is_discarded() || b.is_discarded() ? a.is_discarded() == b.is_discarded() : a == b;
    return Value(Json(same == (op == "==")));
  }
  if (op == "in" || op == "not in")
    return Value(Json(TRY(contains(b, a, expression.line)) == (op == "in")));
  if (op == "<" || op == ">" || op == "<=" || op == ">=") {
    if (!(a.is_number() && b.is_number()) && !(a.is_string() && b.is_string()))
      return Err(wrong(expression.line, "only two numbers or two strings have an order"));
    TRY(charge_value(a, expression.line));
    const bool less = a < b;
    const bool greater = b < a;
    return Value(Json(op == "<" ? less : op == ">" ? greater : op == "<=" ? !greater : !less));
  }
  return arithmetic(op, a, b, expression.line);
}

Result<bool> Evaluator::contains(const Json& whole, const Json& part, std::size_t line) {
  if (whole.is_string() && part.is_string()) {
    TRY(charge_search(text_of(whole), text_of(part), line));
    return text_of(whole).find(text_of(part)) != std::string::npos;
  }
  if (whole.is_object() || whole.is_array()) TRY(charge_value(whole, line));
  if (whole.is_string()) return false;
  if (whole.is_object()) return part.is_string() && whole.contains(text_of(part));
  if (whole.is_array()) return std::find(whole.begin(), whole.end(), part) != whole.end();
  if (whole.is_discarded() || whole.is_null()) return false;
  return Err(wrong(line, "nothing can be in a " + std::string(whole.type_name())));
}

Result<Value> Evaluator::arithmetic(const std::string& op, const Json& a, const Json& b,
                                    std::size_t line) {
  if (op == "+" && a.is_string() && b.is_string()) return text_value(text_of(a) + text_of(b), line);
  if (op == "+" && a.is_array() && b.is_array()) {
    TRY(charge_value(a, line));
    TRY(charge_value(b, line));
    Json both = a;
    both.insert(both.end(), b.begin(), b.end());
    return Value(std::move(both));
  }
  const auto countable = [](const Json& value) { return value.is_number() || value.is_boolean(); };
  if (!countable(a) || !countable(b))
    return Err(
        wrong(line, "\"" + op + "\" does not go with " + kind_name(a) + " and " + kind_name(b)));
  if (is_real(a) || is_real(b) || op == "/") {
    const double x = a.is_boolean() ? a.get<bool>() : a.get<double>();
    const double y = b.is_boolean() ? b.get<bool>() : b.get<double>();
    if ((op == "/" || op == "//" || op == "%") && y == 0)
      return Err(wrong(line, "a division by zero"));
    const double result = op == "+"    ? x + y
                          : op == "-"  ? x - y
                          : op == "*"  ? x * y
                          : op == "/"  ? x / y
                          : op == "//" ? std::floor(x / y)
                                       : x - std::floor(x / y) * y;
    return Value(Json(result));
  }
  const std::int64_t x = a.is_boolean() ? a.get<bool>() : a.get<std::int64_t>();
  const std::int64_t y = b.is_boolean() ? b.get<bool>() : b.get<std::int64_t>();
  std::int64_t result = 0;
  bool overflow = false;
  if (op == "+")
    overflow = __builtin_add_overflow(x, y, &result);
  else if (op == "-")
    overflow = __builtin_sub_overflow(x, y, &result);
  else if (op == "*")
    overflow = __builtin_mul_overflow(x, y, &result);
  else if (y == 0)
    return Err(wrong(line, "a division by zero"));
  else if (y == -1)
    overflow = op == "//" && __builtin_sub_overflow(std::int64_t{0}, x, &result);
  else {
    const std::int64_t rest = x % y != 0 && (x < 0) != (y < 0) ? x % y + y : x % y;
    result = op == "%" ? rest : (x - rest) / y;
  }
  if (overflow) return Err(wrong(line, "a number is too big"));
  return Value(Json(result));
}

std::string Evaluator::kind_name(const Json& value) {
  return value.is_discarded() ? "an undefined value" : value.type_name();
}

}  // namespace ambit::inference::jinja
