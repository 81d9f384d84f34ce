#include "cedar/write.h"

#include "cedar/syntax.h"

namespace ambit::cedar {
namespace {

// How tightly an operator binds: the levels of the grammar. Operands that bind less get
// parentheses.
int level_of(const Expression& of) {
  switch (of.op) {
    case Operator::conditional:
      return 0;
    case Operator::any:
      return 1;
    case Operator::all:
      return 2;
    case Operator::equal:
    case Operator::not_equal:
    case Operator::less:
    case Operator::less_equal:
    case Operator::greater:
    case Operator::greater_equal:
    case Operator::in:
    case Operator::has:
    case Operator::like:
    case Operator::is:
      return 3;
    case Operator::add:
    case Operator::subtract:
      return 4;
    case Operator::multiply:
      return 5;
    case Operator::negation:
    case Operator::minus:
      return 6;
    default:
      return 7;
  }
}

std::string_view sign_of(Operator op) {
  switch (op) {
    case Operator::any:
      return " || ";
    case Operator::all:
      return " && ";
    case Operator::equal:
      return " == ";
    case Operator::not_equal:
      return " != ";
    case Operator::less:
      return " < ";
    case Operator::less_equal:
      return " <= ";
    case Operator::greater:
      return " > ";
    case Operator::greater_equal:
      return " >= ";
    case Operator::in:
      return " in ";
    case Operator::add:
      return " + ";
    case Operator::subtract:
      return " - ";
    default:
      return " * ";
  }
}

// Parentheses around what binds less tightly than `least`.
std::string operand(const Expression& of, int least) {
  const bool negative = of.op == Operator::literal && of.value.as<std::int64_t>() != nullptr &&
                        *of.value.as<std::int64_t>() < 0;
  if (level_of(of) >= least && !(negative && least >= 6)) return to_text(of);
  return "(" + to_text(of) + ")";
}

std::string joined(const Expression& of) {
  const int level = level_of(of);
  std::string text;
  for (std::size_t i = 0; i < of.operands.size(); ++i) {
    if (i > 0) text += sign_of(of.op);
    // Sums and products stand on the left without parentheses; the other operators nowhere.
    const bool left = i == 0 && level >= 4;
    text += operand(of.operands[i], left ? level : level + 1);
  }
  return text;
}

std::string list(const Expression& of, std::size_t from) {
  std::string text;
  for (std::size_t i = from; i < of.operands.size(); ++i) {
    if (i > from) text += ", ";
    text += to_text(of.operands[i]);
  }
  return text;
}

std::string record(const Expression& of) {
  std::string text = "{";
  for (std::size_t i = 0; i < of.operands.size(); ++i) {
    if (i > 0) text += ", ";
    text += quote(of.names[i]) + ": " + to_text(of.operands[i]);
  }
  return text + "}";
}

std::string has(const Expression& of) {
  std::string text = operand(of.operands[0], 4) + " has ";
  if (of.names.size() == 1) {
    return text + (is_identifier(of.names[0]) ? of.names[0] : quote(of.names[0]));
  }
  for (std::size_t i = 0; i < of.names.size(); ++i) text += (i > 0 ? "." : "") + of.names[i];
  return text;
}

std::string call(const Expression& of) {
  const std::string name(callable_name(of.op, of.function));
  const bool function = of.op == Operator::call && is_function(of.function);
  if (function || of.operands.empty()) return name + "(" + list(of, 0) + ")";
  return operand(of.operands[0], 7) + "." + name + "(" + list(of, 1) + ")";
}

std::string attribute(const Expression& of) {
  const std::string owner = operand(of.operands[0], 7);
  const std::string& name = of.names[0];
  return is_identifier(name) ? owner + "." + name : owner + "[" + quote(name) + "]";
}

std::string condition(const Condition& one) {
  return std::string(one.when ? "when" : "unless") + " { " + to_text(one.body) + " }";
}

}  // namespace

std::string to_text(const Pattern& pattern) {
  std::string text;
  for (std::size_t i = 0; i < pattern.pieces.size(); ++i) {
    if (i > 0) text += '*';
    const std::string quoted = quote(pattern.pieces[i]);
    for (const char c : std::string_view(quoted).substr(1, quoted.size() - 2)) {
      if (c == '*') text += '\\';
      text += c;
    }
  }
  return "\"" + text + "\"";
}

std::string to_text(const Expression& of) {
  switch (of.op) {
    case Operator::literal:
      return to_text(of.value);
    case Operator::principal:
      return "principal";
    case Operator::action:
      return "action";
    case Operator::resource:
      return "resource";
    case Operator::context:
      return "context";
    case Operator::conditional:
      return "if " + to_text(of.operands[0]) + " then " + to_text(of.operands[1]) + " else " +
             to_text(of.operands[2]);
    case Operator::negation:
      return "!" + operand(of.operands[0], 7);
    case Operator::minus: {
      const bool number = of.operands[0].op == Operator::literal;
      return number ? "-(" + to_text(of.operands[0]) + ")" : "-" + operand(of.operands[0], 7);
    }
    case Operator::has:
      return has(of);
    case Operator::like:
      return operand(of.operands[0], 4) + " like " + to_text(of.pattern);
    case Operator::is:
      return operand(of.operands[0], 4) + " is " + of.names[0] +
             (of.operands.size() > 1 ? " in " + operand(of.operands[1], 4) : "");
    case Operator::attribute:
      return attribute(of);
    case Operator::set:
      return "[" + list(of, 0) + "]";
    case Operator::record:
      return record(of);
    case Operator::contains:
    case Operator::contains_all:
    case Operator::contains_any:
    case Operator::is_empty:
    case Operator::get_tag:
    case Operator::has_tag:
    case Operator::call:
      return call(of);
    default:
      return joined(of);
  }
}

std::string to_text(const Scope& scope, std::string_view variable) {
  std::string entity = scope.slot ? "?" + std::string(variable) : "";
  if (!scope.slot && !scope.entities.empty()) entity = to_text(scope.entities.front());
  switch (scope.kind) {
    case ScopeKind::any:
      return "";
    case ScopeKind::equal:
      return " == " + entity;
    case ScopeKind::is:
      return " is " + scope.type;
    case ScopeKind::is_in:
      return " is " + scope.type + " in " + entity;
    case ScopeKind::in:
      break;
  }
  if (!scope.listed) return " in " + entity;
  std::string all = " in [";
  for (std::size_t i = 0; i < scope.entities.size(); ++i) {
    all += (i > 0 ? ", " : "") + to_text(scope.entities[i]);
  }
  return all + "]";
}

std::string to_text(const Policy& policy) {
  std::string text;
  for (const auto& [name, value] : policy.annotations) {
    text += "@" + name + "(" + quote(value) + ")\n";
  }
  text += policy.effect == Effect::permit ? "permit (\n" : "forbid (\n";
  text += "  principal" + to_text(policy.principal, "principal") + ",\n";
  text += "  action" + to_text(policy.action, "action") + ",\n";
  text += "  resource" + to_text(policy.resource, "resource") + "\n)";
  for (const Condition& one : policy.conditions) text += "\n" + condition(one);
  return text + ";";
}

}  // namespace ambit::cedar
