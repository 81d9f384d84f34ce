#include "inference/template_evaluator.h"
#include "inference/unicode.h"

#include <algorithm>
#include <cmath>
#include <optional>

namespace ambit::inference::jinja {

Evaluator::Evaluator(const Json& variables, const TemplateLimits& limits) : limits_(limits) {
  scopes_.emplace_back();
  for (auto it = variables.begin(); it != variables.end(); ++it)
    scopes_[0].values.emplace(it.key(), *it);
}

Result<std::string> Evaluator::run(const Block& block) {
  TRY(execute(block));
  return std::move(out_);
}

Error Evaluator::wrong(std::size_t line, const std::string& what) const {
  return Error{Code::invalid, "chat template, line " + std::to_string(line) + ": " + what};
}

Result<void> Evaluator::enter(std::size_t line) {
  TRY(step(line));
  if (nesting_ > limits_.nesting_max) return Err(wrong(line, "it is nested too deeply"));
  return {};
}

Result<void> Evaluator::step(std::size_t line, std::size_t count) {
  if (count > limits_.steps_max - steps_)
    return Err(Error{Code::exhausted, wrong(line, "it takes too many steps").message});
  steps_ += count;
  return {};
}

Result<void> Evaluator::charge(std::size_t bytes, std::size_t line) {
  if (bytes > limits_.output_bytes_max)
    return Err(Error{Code::exhausted, wrong(line, "a value is too long").message});
  return step(line, 1 + bytes / 256);
}

Result<void> Evaluator::charge_value(const Json& value, std::size_t line) {
  std::size_t size = 0;
  measure(value, std::string::npos, size);
  return charge(size * 32, line);
}

Result<void> Evaluator::charge_search(std::string_view text, std::string_view part,
                                      std::size_t line) {
  return step(line, 1 + text.size() / 256 * (1 + part.size() / 16));
}

Result<void> Evaluator::charge_order(const Json& value, std::size_t others, std::size_t line) {
  std::size_t size = 0;
  measure(value, std::string::npos, size);
  return step(line, 1 + size / 8 * (1 + others / 8));
}

Result<void> Evaluator::charge_built(const Json& value, std::size_t line) {
  std::size_t size = 0;
  if (!measure(value, limits_.depth_max, size))
    return Err(wrong(line, "a value is nested too deeply"));
  return charge(size * 32, line);
}

bool Evaluator::measure(const Json& value, std::size_t depth_left, std::size_t& size) {
  size += value.is_string() ? 1 + text_of(value).size() / 32 : 1;
  if (!value.is_structured()) return true;
  if (depth_left == 0) return false;
  if (value.is_object())
    for (auto it = value.begin(); it != value.end(); ++it) size += 1 + it.key().size() / 32;
  for (const Json& item : value)
    if (!measure(item, depth_left - 1, size)) return false;
  return true;
}

Result<Json> Evaluator::taken(Value value, std::size_t line) {
  if (!value.owns()) TRY(charge_value(value.get(), line));
  return std::move(value).take();
}

Result<std::string> Evaluator::text(const Json& value, std::size_t line) {
  TRY(charge_value(value, line));
  return to_text(value);
}

Result<Value> Evaluator::text_value(std::string text, std::size_t line) {
  TRY(charge(text.size(), line));
  return Value(Json(std::move(text)));
}

Result<Value> Evaluator::replaced_value(std::string_view text, std::string_view from,
                                        std::string_view to, std::size_t line) {
  TRY(charge_search(text, from, line));
  if (to.size() > from.size() && !from.empty())
    TRY(charge(text.size() + text.size() / from.size() * (to.size() - from.size()), line));
  return text_value(replaced(text, from, to), line);
}

Result<void> Evaluator::append(std::size_t line, std::string_view text) {
  if (text.size() > limits_.output_bytes_max - out_.size())
    return Err(Error{Code::exhausted, wrong(line, "its output is too long").message});
  out_ += text;
  return {};
}

Json* Evaluator::variable(std::string_view name) {
  for (std::size_t i = scopes_.size(); i > 0; i = outside(i - 1))
    if (const auto found = scopes_[i - 1].values.find(name); found != scopes_[i - 1].values.end())
      return &found->second;
  return nullptr;
}

const Statement* Evaluator::macro(std::string_view name) {
  for (std::size_t i = scopes_.size(); i > 0; i = outside(i - 1))
    if (const auto found = scopes_[i - 1].macros.find(name); found != scopes_[i - 1].macros.end())
      return found->second.statement;
  return nullptr;
}

Result<Flow> Evaluator::execute(const Block& block) {
  for (const Statement& statement : block.statements) {
    const Flow flow = TRY(execute(statement));
    if (flow != Flow::on) return flow;
  }
  return Flow::on;
}

Result<Flow> Evaluator::execute(const Statement& statement) {
  const Level level(nesting_);
  TRY(enter(statement.line));
  switch (statement.kind) {
    case Statement::Kind::text:
      TRY(append(statement.line, statement.text));
      return Flow::on;
    case Statement::Kind::print: {
      const Value value = TRY(evaluate(*statement.expression));
      const std::string printed = TRY(text(value.get(), statement.line));
      TRY(append(statement.line, printed));
      return Flow::on;
    }
    case Statement::Kind::choice:
      for (const Branch& branch : statement.branches) {
        if (branch.condition != nullptr && !truth(TRY(evaluate(*branch.condition)).get())) continue;
        return execute(branch.body);
      }
      return Flow::on;
    case Statement::Kind::loop:
      return loop(statement);
    case Statement::Kind::set: {
      Value value = TRY(evaluate(*statement.expression));
      Json own = TRY(taken(std::move(value), statement.line));
      TRY(assign(statement, std::move(own)));
      return Flow::on;
    }
    case Statement::Kind::set_block: {
      std::string text = TRY(captured(statement.body, statement.line));
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

Result<std::string> Evaluator::captured(const Block& body, std::size_t line) {
  const std::size_t start = out_.size();
  TRY(execute(body));
  TRY(charge(out_.size() - start, line));
  std::string text = out_.substr(start);
  out_.resize(start);
  return text;
}

Result<void> Evaluator::assign(const Statement& statement, Json value) {
  if (!statement.attribute.empty()) {
    Json* target = variable(statement.names[0]);
    if (target == nullptr || !target->is_object())
      return Err(wrong(statement.line, "\"" + statement.names[0] + "\" is not a namespace"));
    Json changed = calls_ > 0 ? *target : std::move(*target);
    changed[statement.attribute] = std::move(value);
    if (calls_ > 0) retired_.push_back(std::move(*target));
    *target = std::move(changed);
    return charge_built(*target, statement.line);
  }
  return bind(statement.names, std::move(value), statement.line);
}

Result<void> Evaluator::bind(const std::vector<std::string>& names, Json value, std::size_t line) {
  if (names.size() == 1) {
    scopes_.back().values.insert_or_assign(names[0], std::move(value));
    return {};
  }
  if (!value.is_array() || value.size() != names.size())
    return Err(wrong(line, std::to_string(names.size()) + " names cannot take these values apart"));
  for (std::size_t i = 0; i < names.size(); ++i)
    scopes_.back().values.insert_or_assign(names[i], value[i]);
  return {};
}

Result<std::vector<Json>> Evaluator::items_of(const Json& value, std::size_t line) {
  TRY(charge_value(value, line));
  std::vector<Json> items;
  if (value.is_array()) {
    items.assign(value.begin(), value.end());
  } else if (value.is_object()) {
    for (auto it = value.begin(); it != value.end(); ++it) items.emplace_back(it.key());
  } else if (value.is_string()) {
    TRY(charge(text_of(value).size() * 32, line));  // each character becomes a value
    const std::string_view characters = text_of(value);
    const std::vector<std::uint32_t> starts = character_starts(characters);
    for (std::size_t i = 0; i + 1 < starts.size(); ++i)
      items.emplace_back(characters.substr(starts[i], starts[i + 1] - starts[i]));
  } else if (!value.is_discarded()) {
    return Err(wrong(line, "a " + std::string(value.type_name()) + " cannot be looped over"));
  }
  return items;
}

Json Evaluator::loop_state(const std::vector<Json>& items, std::size_t i, const Json& previous) {
  const std::size_t count = items.size();
  Json state = {{"index0", i},
                {"index", i + 1},
                {"first", i == 0},
                {"last", i + 1 == count},
                {"length", count},
                {"revindex", count - i},
                {"revindex0", count - i - 1}};
  if (i > 0) state["previtem"] = previous;
  if (i + 1 < count) state["nextitem"] = items[i + 1];
  return state;
}

Result<Flow> Evaluator::loop(const Statement& statement) {
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
  Json previous;
  for (std::size_t i = 0; i < count; ++i) {
    TRY(step(statement.line));
    scopes_.back().values.clear();
    if (statement.names_loop) {
      scopes_.back().values.emplace("loop", loop_state(items, i, previous));
      previous = items[i];
    }
    TRY(bind(statement.names, std::move(items[i]), statement.line));
    if (TRY(execute(statement.body)) == Flow::out) break;
  }
  scopes_.pop_back();
  if (count == 0) return execute(statement.otherwise);
  return Flow::on;
}

Result<std::string> evaluate(const Block& block, const Json& variables,
                             const TemplateLimits& limits) {
  try {
    return Evaluator(variables, limits).run(block);
  } catch (const Json::exception& exception) {
    return Err(Code::invalid, std::string("chat template: ") + exception.what());
  }
}

}  // namespace ambit::inference::jinja
