#include "inference/template_tree.h"
#include "inference/unicode.h"

#include <algorithm>
#include <cmath>
#include <deque>
#include <functional>
#include <iterator>
#include <list>
#include <map>
#include <optional>

namespace ambit::inference {

std::string python_dumps(const nlohmann::ordered_json& value, int indent) {
  using Json = nlohmann::ordered_json;
  std::string out;
  const std::function<void(const Json&, int)> write = [&](const Json& item, int depth) {
    const bool object = item.is_object();
    if ((!object && !item.is_array()) || item.empty()) {
      out += item.dump(-1, ' ', false, Json::error_handler_t::replace);
      return;
    }
    const auto line = [&](int level) {
      if (indent > 0)
        out.append(1, '\n').append(
            static_cast<std::size_t>(indent) * static_cast<std::size_t>(level), ' ');
    };
    out += object ? '{' : '[';
    bool first = true;
    for (auto it = item.begin(); it != item.end(); ++it) {
      if (!first) out += indent > 0 ? "," : ", ";
      first = false;
      line(depth + 1);
      if (object) out += Json(it.key()).dump(-1, ' ', false, Json::error_handler_t::replace) + ": ";
      write(*it, depth + 1);
    }
    line(depth);
    out += object ? '}' : ']';
  };
  write(value, 0);
  return out;
}

namespace jinja {

namespace {

// A list sorts stably; std::stable_sort of GNU 12 uses what C++17 deprecates.
template <class Less = std::less<>>
void sort_stably(std::vector<nlohmann::ordered_json>& items, Less less = {}) {
  std::list<nlohmann::ordered_json> list(std::make_move_iterator(items.begin()),
                                         std::make_move_iterator(items.end()));
  list.sort(less);
  items.assign(std::make_move_iterator(list.begin()), std::make_move_iterator(list.end()));
}

// What an expression gives: a value of its own, or a reference to one that a variable holds.
class Value {
 public:
  Value() = default;
  Value(Json own) : own_(std::move(own)) {}  // NOLINT: a value is what it holds
  static Value reference(const Json& to) {
    Value value;
    value.to_ = &to;
    return value;
  }
  static Value undefined() { return Value(Json(Json::value_t::discarded)); }
  [[nodiscard]] const Json& get() const { return to_ != nullptr ? *to_ : own_; }
  [[nodiscard]] Json take() && {
    if (to_ != nullptr) return *to_;
    return std::move(own_);
  }
  [[nodiscard]] bool is_undefined() const { return get().is_discarded(); }
  [[nodiscard]] bool owns() const { return to_ == nullptr; }

 private:
  Json own_;
  const Json* to_ = nullptr;
};

bool truth(const Json& value) {
  switch (value.type()) {
    case Json::value_t::boolean:
      return value.get<bool>();
    case Json::value_t::number_integer:
    case Json::value_t::number_unsigned:
      return value.get<std::int64_t>() != 0;
    case Json::value_t::number_float:
      return value.get<double>() != 0;
    case Json::value_t::string:
      return !value.get_ref<const std::string&>().empty();
    case Json::value_t::array:
    case Json::value_t::object:
      return !value.empty();
    default:
      return false;
  }
}

std::string to_text(const Json& value) {
  switch (value.type()) {
    case Json::value_t::string:
      return value.get<std::string>();
    case Json::value_t::boolean:
      return value.get<bool>() ? "True" : "False";
    case Json::value_t::null:
      return "None";
    case Json::value_t::discarded:
      return "";
    default:
      return python_dumps(value);
  }
}

const std::string& text_of(const Json& value) {
  return value.get_ref<const std::string&>();
}

std::string strip(std::string_view text, std::string_view characters, bool left, bool right) {
  if (characters.empty()) characters = " \t\n\r\f\v";
  while (left && !text.empty() && characters.find(text.front()) != std::string_view::npos)
    text.remove_prefix(1);
  while (right && !text.empty() && characters.find(text.back()) != std::string_view::npos)
    text.remove_suffix(1);
  return std::string(text);
}

std::string replaced(std::string_view text, std::string_view from, std::string_view to) {
  if (from.empty()) return std::string(text);
  std::string out;
  for (std::size_t next = 0; (next = text.find(from)) != std::string_view::npos;
       text.remove_prefix(next + from.size()))
    out.append(text.substr(0, next)).append(to);
  return out.append(text);
}

std::string cased(std::string text, bool upper) {
  for (char& c : text) {
    if (upper && c >= 'a' && c <= 'z') c = static_cast<char>(c - 32);
    if (!upper && c >= 'A' && c <= 'Z') c = static_cast<char>(c + 32);
  }
  return text;
}

std::string capitalized(std::string text) {
  text = cased(std::move(text), false);
  if (!text.empty()) text[0] = cased(text.substr(0, 1), true)[0];
  return text;
}

std::string titled(std::string text) {
  text = cased(std::move(text), false);
  bool start = true;
  for (char& c : text) {
    if (start) c = cased(std::string(1, c), true)[0];
    start = (c < 'a' || c > 'z') && (c < 'A' || c > 'Z');
  }
  return text;
}

// Strings count in characters, as the templates' authors expect.
std::vector<std::string> characters_of(std::string_view text) {
  std::vector<std::string> out;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t bytes = decode_utf8(text, at).bytes;
    out.emplace_back(text.substr(at, bytes));
    at += bytes;
  }
  return out;
}

std::size_t length_of(const Json& value) {
  return value.is_string() ? characters_of(text_of(value)).size() : value.size();
}

bool is_real(const Json& value) {
  return value.is_number_float();
}

struct Macro {
  const Statement* statement;
};

struct Arguments {
  std::vector<Json> plain;
  std::map<std::string, Json> named;
  [[nodiscard]] const Json* at(std::size_t index, const std::string& name) const {
    if (index < plain.size()) return &plain[index];
    const auto found = named.find(name);
    return found == named.end() ? nullptr : &found->second;
  }
};

enum class Flow { on, next, out };

class Evaluator {
 public:
  Evaluator(const Json& variables, const TemplateLimits& limits) : limits_(limits) {
    scopes_.emplace_back();
    for (auto it = variables.begin(); it != variables.end(); ++it)
      scopes_[0].values.emplace(it.key(), *it);
  }

  Result<std::string> run(const Block& block) {
    TRY(execute(block));
    return std::move(out_);
  }

 private:
  struct Scope {
    std::map<std::string, Json, std::less<>> values;
    std::map<std::string, Macro, std::less<>> macros;
  };

  Error wrong(std::size_t line, const std::string& what) const {
    return Error{Code::invalid, "chat template, line " + std::to_string(line) + ": " + what};
  }
  Result<void> step(std::size_t line) {
    if (++steps_ > limits_.steps_max)
      return Err(Error{Code::exhausted, wrong(line, "it takes too many steps").message});
    return {};
  }
  // Values cost steps by their size, so that no few steps make a gigabyte.
  Result<void> charge(std::size_t bytes, std::size_t line) {
    if (bytes > limits_.output_bytes_max)
      return Err(Error{Code::exhausted, wrong(line, "a value is too long").message});
    steps_ += bytes / 256;
    return step(line);
  }
  // A value that was put together: its size is charged, its nesting is bounded, because copying
  // recurses.
  Result<void> charge_built(const Json& value, std::size_t line) {
    std::size_t size = 0;
    if (!measure(value, limits_.depth_max, size))
      return Err(wrong(line, "a value is nested too deeply"));
    return charge(size * 32, line);
  }
  static bool measure(const Json& value, std::size_t depth_left, std::size_t& size) {
    size += value.is_string() ? 1 + text_of(value).size() / 32 : 1;
    if (!value.is_structured()) return true;
    if (depth_left == 0) return false;
    for (const Json& item : value)
      if (!measure(item, depth_left - 1, size)) return false;
    return true;
  }
  Result<Value> text_value(std::string text, std::size_t line) {
    TRY(charge(text.size(), line));
    return Value(Json(std::move(text)));
  }
  Result<Value> replaced_value(std::string_view text, std::string_view from, std::string_view to,
                               std::size_t line) {
    if (to.size() > from.size() && !from.empty())
      TRY(charge(text.size() + text.size() / from.size() * (to.size() - from.size()), line));
    return text_value(replaced(text, from, to), line);
  }
  Result<void> append(std::size_t line, std::string_view text) {
    if (text.size() > limits_.output_bytes_max - out_.size())
      return Err(Error{Code::exhausted, wrong(line, "its output is too long").message});
    out_ += text;
    return {};
  }
  Json* variable(std::string_view name) {
    for (auto scope = scopes_.rbegin(); scope != scopes_.rend(); ++scope)
      if (const auto found = scope->values.find(name); found != scope->values.end())
        return &found->second;
    return nullptr;
  }
  const Statement* macro(std::string_view name) {
    for (auto scope = scopes_.rbegin(); scope != scopes_.rend(); ++scope)
      if (const auto found = scope->macros.find(name); found != scope->macros.end())
        return found->second.statement;
    return nullptr;
  }

  // ---- statements

  Result<Flow> execute(const Block& block) {
    for (const Statement& statement : block.statements) {
      const Flow flow = TRY(execute(statement));
      if (flow != Flow::on) return flow;
    }
    return Flow::on;
  }

  Result<Flow> execute(const Statement& statement) {
    TRY(step(statement.line));
    switch (statement.kind) {
      case Statement::Kind::text:
        TRY(append(statement.line, statement.text));
        return Flow::on;
      case Statement::Kind::print: {
        const Value value = TRY(evaluate(*statement.expression));
        TRY(append(statement.line, to_text(value.get())));
        return Flow::on;
      }
      case Statement::Kind::choice:
        for (const Branch& branch : statement.branches) {
          if (branch.condition != nullptr && !truth(TRY(evaluate(*branch.condition)).get()))
            continue;
          return execute(branch.body);
        }
        return Flow::on;
      case Statement::Kind::loop:
        return loop(statement);
      case Statement::Kind::set: {
        Json value = TRY(evaluate(*statement.expression)).take();
        TRY(assign(statement, std::move(value)));
        return Flow::on;
      }
      case Statement::Kind::set_block: {
        std::string text = TRY(captured(statement.body));
        TRY(assign(statement, std::move(text)));
        return Flow::on;
      }
      case Statement::Kind::macro:
        scopes_.back().macros[statement.text] = {&statement};
        return Flow::on;
      case Statement::Kind::loop_break:
        return Flow::out;
      case Statement::Kind::loop_continue:
        return Flow::next;
    }
    return Flow::on;
  }

  Result<std::string> captured(const Block& body) {
    const std::size_t start = out_.size();
    TRY(execute(body));
    std::string text = out_.substr(start);
    out_.resize(start);
    return text;
  }

  Result<void> assign(const Statement& statement, Json value) {
    if (!statement.attribute.empty()) {
      Json* target = variable(statement.names[0]);
      if (target == nullptr || !target->is_object())
        return Err(wrong(statement.line, "\"" + statement.names[0] + "\" is not a namespace"));
      (*target)[statement.attribute] = std::move(value);
      return charge_built(*target, statement.line);
    }
    return bind(statement.names, std::move(value), statement.line);
  }

  Result<void> bind(const std::vector<std::string>& names, Json value, std::size_t line) {
    if (names.size() == 1) {
      scopes_.back().values.insert_or_assign(names[0], std::move(value));
      return {};
    }
    if (!value.is_array() || value.size() != names.size())
      return Err(
          wrong(line, std::to_string(names.size()) + " names cannot take these values apart"));
    for (std::size_t i = 0; i < names.size(); ++i)
      scopes_.back().values.insert_or_assign(names[i], value[i]);
    return {};
  }

  // What a loop runs over: the items of a list, the keys of an object, the characters of a string.
  Result<std::vector<Json>> items_of(const Json& value, std::size_t line) {
    std::vector<Json> items;
    if (value.is_array()) {
      items.assign(value.begin(), value.end());
    } else if (value.is_object()) {
      for (auto it = value.begin(); it != value.end(); ++it) items.emplace_back(it.key());
    } else if (value.is_string()) {
      for (std::string& character : characters_of(text_of(value)))
        items.emplace_back(std::move(character));
    } else if (!value.is_discarded()) {
      return Err(wrong(line, "a " + std::string(value.type_name()) + " cannot be looped over"));
    }
    return items;
  }

  // What `loop` is in round `i`. The item before has been moved into its variable: previous_ is its
  // copy.
  Json loop_state(const std::vector<Json>& items, std::size_t i) const {
    const std::size_t count = items.size();
    Json state = {{"index0", i},
                  {"index", i + 1},
                  {"first", i == 0},
                  {"last", i + 1 == count},
                  {"length", count},
                  {"revindex", count - i},
                  {"revindex0", count - i - 1}};
    if (i > 0) state["previtem"] = previous_;
    if (i + 1 < count) state["nextitem"] = items[i + 1];
    return state;
  }

  Result<Flow> loop(const Statement& statement) {
    const Value whole = TRY(evaluate(*statement.expression));
    std::vector<Json> items = TRY(items_of(whole.get(), statement.line));
    if (scopes_.size() > limits_.depth_max)
      return Err(wrong(statement.line, "it is nested too deeply"));
    scopes_.emplace_back();
    if (statement.condition != nullptr) {
      std::vector<Json> kept;
      for (Json& item : items) {
        TRY(step(statement.line));
        TRY(bind(statement.names, item, statement.line));
        if (truth(TRY(evaluate(*statement.condition)).get())) kept.push_back(std::move(item));
      }
      items = std::move(kept);
    }
    const std::size_t count = items.size();
    for (std::size_t i = 0; i < count; ++i) {
      TRY(step(statement.line));
      scopes_.back().values.clear();
      if (statement.names_loop) scopes_.back().values.emplace("loop", loop_state(items, i));
      if (statement.names_loop) previous_ = items[i];
      TRY(bind(statement.names, std::move(items[i]), statement.line));
      if (TRY(execute(statement.body)) == Flow::out) break;
    }
    scopes_.pop_back();
    if (count == 0) return execute(statement.otherwise);
    return Flow::on;
  }

  // ---- expressions

  Result<Value> evaluate(const Expression& expression) {
    TRY(step(expression.line));
    switch (expression.kind) {
      case Kind::literal:
        return Value::reference(expression.value);
      case Kind::name: {
        const Json* found = variable(expression.text);
        return found == nullptr ? Value::undefined() : Value::reference(*found);
      }
      case Kind::list: {
        Json list = Json::array();
        for (const ExpressionPtr& item : expression.operands)
          list.push_back(TRY(evaluate(*item)).take());
        TRY(charge_built(list, expression.line));
        return Value(std::move(list));
      }
      case Kind::object: {
        Json object = Json::object();
        for (std::size_t i = 0; i < expression.operands.size(); i += 2) {
          const Value key = TRY(evaluate(*expression.operands[i]));
          object[to_text(key.get())] = TRY(evaluate(*expression.operands[i + 1])).take();
        }
        TRY(charge_built(object, expression.line));
        return Value(std::move(object));
      }
      case Kind::attribute:
        return member(TRY(evaluate(*expression.operands[0])), Json(expression.text),
                      expression.line);
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
        if (!value.get().is_number())
          return Err(wrong(expression.line, "only a number has a sign"));
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

  Result<Arguments> arguments(const Expression& expression) {
    Arguments given;
    for (std::size_t i = 1; i < expression.operands.size(); ++i)
      given.plain.push_back(TRY(evaluate(*expression.operands[i])).take());
    for (const auto& [name, value] : expression.named)
      given.named[name] = TRY(evaluate(*value)).take();
    return given;
  }

  Result<Value> member(const Value& whole, const Json& index, std::size_t line) {
    const Json& from = whole.get();
    const Json* found = nullptr;
    if (from.is_object() && index.is_string()) {
      const auto at = from.find(text_of(index));
      if (at != from.end()) found = &*at;
    } else if ((from.is_array() || from.is_string()) && index.is_number_integer()) {
      const auto size = static_cast<std::int64_t>(length_of(from));
      std::int64_t at = index.get<std::int64_t>();
      if (at < 0) at += size;
      if (at >= 0 && at < size) {
        if (from.is_string())
          return Value(Json(characters_of(text_of(from))[static_cast<std::size_t>(at)]));
        found = &from[static_cast<std::size_t>(at)];
      }
    } else if (from.is_discarded()) {
      return Err(wrong(
          line, "the value whose member " + python_dumps(index) + " is asked for is undefined"));
    }
    if (found == nullptr) return Value::undefined();
    if (!whole.owns()) return Value::reference(*found);
    return Value(Json(*found));
  }

  Result<Value> slice(const Expression& expression) {
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
    const std::vector<Json> items = TRY(items_of(whole.get(), expression.line));
    const auto size = static_cast<std::int64_t>(items.size());
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
      const Json& item = items[static_cast<std::size_t>(i)];
      if (is_text)
        text += text_of(item);
      else
        list.push_back(item);
      if (stride > size || stride < -size) break;
      i += stride;
    }
    return is_text ? Value(Json(std::move(text))) : Value(std::move(list));
  }

  Result<Value> binary(const Expression& expression) {
    const std::string& op = expression.text;
    Value left = TRY(evaluate(*expression.operands[0]));
    if (op == "and" && !truth(left.get())) return left;
    if (op == "or" && truth(left.get())) return left;
    Value right = TRY(evaluate(*expression.operands[1]));
    if (op == "and" || op == "or") return right;
    const Json& a = left.get();
    const Json& b = right.get();
    if (op == "~") return text_value(to_text(a) + to_text(b), expression.line);
    if (op == "==" || op == "!=") {
      const bool same =
          a.is_discarded() || b.is_discarded() ? a.is_discarded() == b.is_discarded() : a == b;
      return Value(Json(same == (op == "==")));
    }
    if (op == "in" || op == "not in")
      return Value(Json(TRY(contains(b, a, expression.line)) == (op == "in")));
    if (op == "<" || op == ">" || op == "<=" || op == ">=") {
      if (!(a.is_number() && b.is_number()) && !(a.is_string() && b.is_string()))
        return Err(wrong(expression.line, "only two numbers or two strings have an order"));
      const bool less = a < b;
      const bool greater = b < a;
      return Value(Json(op == "<" ? less : op == ">" ? greater : op == "<=" ? !greater : !less));
    }
    return arithmetic(op, a, b, expression.line);
  }

  Result<bool> contains(const Json& whole, const Json& part, std::size_t line) {
    if (whole.is_string())
      return part.is_string() && text_of(whole).find(text_of(part)) != std::string::npos;
    if (whole.is_object()) return part.is_string() && whole.contains(text_of(part));
    if (whole.is_array()) return std::find(whole.begin(), whole.end(), part) != whole.end();
    if (whole.is_discarded() || whole.is_null()) return false;
    return Err(wrong(line, "nothing can be in a " + std::string(whole.type_name())));
  }

  Result<Value> arithmetic(const std::string& op, const Json& a, const Json& b, std::size_t line) {
    if (op == "+" && a.is_string() && b.is_string())
      return text_value(text_of(a) + text_of(b), line);
    if (op == "+" && a.is_array() && b.is_array()) {
      TRY(charge((a.size() + b.size()) * 16, line));
      Json both = a;
      both.insert(both.end(), b.begin(), b.end());
      return Value(std::move(both));
    }
    const auto countable = [](const Json& value) {
      return value.is_number() || value.is_boolean();
    };
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

  static std::string kind_name(const Json& value) {
    return value.is_discarded() ? "an undefined value" : value.type_name();
  }

  Result<Value> call(const Expression& expression) {
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

  Result<Value> call_macro(const Statement& statement, const Arguments& given) {
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

  Result<Value> method(const std::string& name, const Json& self, const Arguments& given,
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

  static Value split(std::string_view text, const Arguments& given, bool from_right) {
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

  Result<Value> joined(const Json& list, const std::string& with, std::size_t line) {
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

  Result<Value> filter(const Expression& expression, const Json& value, const Arguments& given) {
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

  Result<Value> list_filter(const Expression& expression, const Json& value,
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
    if (name == "first")
      return items.empty() ? Value::undefined() : Value(std::move(items.front()));
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
          if (given.plain.empty())
            return Err(wrong(line, name + " needs the name of an attribute"));
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

  Result<bool> test(const std::string& name, const Json& value, const Arguments& given,
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

  const TemplateLimits& limits_;
  std::deque<Scope> scopes_;
  Json previous_;
  std::string out_;
  std::size_t steps_ = 0;
};

}  // namespace

Result<std::string> evaluate(const Block& block, const Json& variables,
                             const TemplateLimits& limits) {
  try {
    return Evaluator(variables, limits).run(block);
  } catch (const Json::exception& exception) {
    return Err(Code::invalid, std::string("chat template: ") + exception.what());
  }
}

}  // namespace jinja

}  // namespace ambit::inference
