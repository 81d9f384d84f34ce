#include "governance/history.h"

#include "cedar/value.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <set>

namespace ambit::governance {
namespace {

using agents::Action;
using agents::Verdict;
using nlohmann::json;

constexpr std::size_t groups_max = 1000;
constexpr std::size_t denials_max = 1000;  // kept of one group
constexpr std::size_t values_max = 8;      // named one by one
constexpr std::size_t prefix_bytes_min = 3;

std::string resource_of(const Action& action) {
  using agents::ActionKind;
  const char* type = "Agent";
  if (action.kind == ActionKind::model_call) type = "Model";
  if (action.kind == ActionKind::tool_call) type = "Tool";
  if (action.kind == ActionKind::memory_write) type = "Memory";
  if (action.kind == ActionKind::egress) type = "Host";
  if (!action.reversibility.empty()) type = "Tool";
  return cedar::to_text(cedar::EntityUid{type, action.tool});
}

bool is_identifier(const std::string& name) {
  static const std::set<std::string> reserved = {"true", "false", "if",   "then", "else",
                                                 "in",   "is",    "like", "has",  "__cedar"};
  const bool letters = !name.empty() && !(name[0] >= '0' && name[0] <= '9') &&
                       std::all_of(name.begin(), name.end(), [](char c) {
                         return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                                (c >= '0' && c <= '9') || c == '_';
                       });
  return letters && !reserved.contains(name);
}

std::string place_of(const std::string& name) {
  return "context.arguments" + (is_identifier(name) ? "." + name : "[" + cedar::quote(name) + "]");
}

std::string literal(const json& value) {
  return value.is_string() ? cedar::quote(value.get<std::string>()) : value.dump();
}

// A pattern takes a star as any text, and this one stands for itself.
std::string pattern_of(const std::string& prefix) {
  std::string quoted = cedar::quote(prefix);
  std::string out;
  for (const char c : quoted) out += c == '*' ? std::string("\\*") : std::string(1, c);
  out.insert(out.size() - 1, "*");
  return out;
}

std::string common_prefix(const std::set<json>& values) {
  std::string prefix = values.begin()->get<std::string>();
  for (const json& value : values) {
    const auto& text = value.get_ref<const std::string&>();
    const auto at = std::mismatch(prefix.begin(), prefix.end(), text.begin(), text.end());
    prefix.erase(at.first, prefix.end());
  }
  // Not in the middle of a character.
  while (!prefix.empty() && (static_cast<unsigned char>(prefix.back()) & 0x80) != 0) {
    prefix.pop_back();
  }
  return prefix;
}

// What holds for all values of one argument; empty: nothing that is worth a condition.
std::string condition_on(const std::string& name, const std::set<json>& values) {
  const std::string place = place_of(name);
  const auto all = [&](auto test) { return std::all_of(values.begin(), values.end(), test); };
  const bool texts = all([](const json& one) { return one.is_string(); });
  const bool numbers = all([](const json& one) {
    return one.is_number_integer() &&
           (!one.is_number_unsigned() || one.get<std::uint64_t>() <= INT64_MAX);
  });
  const bool flags = all([](const json& one) { return one.is_boolean(); });
  if (!texts && !numbers && !flags) return {};
  if (values.size() == 1) return place + " == " + literal(*values.begin());
  if (flags) return {};
  if (values.size() <= values_max) {
    std::string list;
    for (const json& one : values) list += (list.empty() ? "" : ", ") + literal(one);
    return "[" + list + "].contains(" + place + ")";
  }
  if (numbers) {
    return place + " >= " + literal(*values.begin()) + " && " + place +
           " <= " + literal(*values.rbegin());
  }
  const std::string prefix = common_prefix(values);
  return prefix.size() < prefix_bytes_min ? "" : place + " like " + pattern_of(prefix);
}

std::string conditions_of(const std::vector<PastDecision>& denials) {
  std::map<std::string, std::set<json>> values;
  std::map<std::string, std::size_t> seen;
  bool tainted = false;
  for (const PastDecision& past : denials) {
    tainted = tainted || past.action.tainted;
    const json arguments = json::parse(past.action.arguments, nullptr, false);
    if (!arguments.is_object()) continue;
    for (const auto& [name, value] : arguments.items()) {
      if (value.is_null()) continue;
      values[name].insert(value);
      ++seen[name];
    }
  }
  std::vector<std::string> conditions;
  if (!tainted) conditions.emplace_back("!context.tainted");
  for (const auto& [name, some] : values) {
    const std::string has =
        "context.arguments has " + (is_identifier(name) ? name : cedar::quote(name));
    const std::string condition = condition_on(name, some);
    const bool always = seen[name] == denials.size();
    if (condition.empty()) {
      if (always) conditions.push_back(has);
    } else {
      conditions.push_back(always ? has + " && " + condition
                                  : "(!(" + has + ") || (" + condition + "))");
    }
  }
  std::string text;
  for (const std::string& one : conditions) text += (text.empty() ? "  " : " &&\n  ") + one;
  return text;
}

}  // namespace

bool is_by_limit(const agents::Decision& decision) {
  return decision.verdict == Verdict::deny && !decision.policies.empty() &&
         decision.reason.starts_with("limit \"");
}

bool Lessons::add(const PastDecision& past) {
  if (past.decision.verdict != Verdict::deny || is_by_limit(past.decision)) return true;
  ++denials_;
  const agents::Decision now = guard_.decide(past.action);
  if (now.verdict != Verdict::deny) return true;
  if (!now.policies.empty()) {
    std::string names;
    for (const std::string& policy : now.policies) names += (names.empty() ? "" : ", ") + policy;
    ++forbidden_[names];
    return true;
  }
  const Key key{past.action.agent, {past.action.kind, past.action.tool}};
  if (groups_.size() >= groups_max && !groups_.contains(key)) return false;
  Group& group = groups_[key];
  if (group.denials.size() < denials_max) {
    group.denials.push_back(past);
    return true;
  }
  ++group.more;
  return false;
}

std::string Lessons::cedar() const {
  std::string text;
  std::size_t number = 0;
  for (const auto& [key, group] : groups_) {
    const Action& action = group.denials.front().action;
    const std::string agent = cedar::to_text(cedar::EntityUid{"Agent", action.agent});
    const std::string kind =
        cedar::to_text(cedar::EntityUid{"Action", std::string(to_string(action.kind))});
    std::string records;
    for (std::size_t i = 0; i < group.denials.size() && i < values_max; ++i) {
      records += (i == 0 ? "" : ", ") + std::to_string(group.denials[i].index);
    }
    const std::size_t rest =
        group.denials.size() + group.more - std::min(group.denials.size(), values_max);
    text += "// " + std::to_string(group.denials.size() + group.more) + " denials: records " +
            records + (rest > 0 ? " and " + std::to_string(rest) + " more" : "") + "\n";
    text += "@id(\"learned-" + std::to_string(++number) + "\")\n";
    text += "permit (\n  principal == " + agent + ",\n  action == " + kind +
            ",\n  resource == " + resource_of(action) + "\n)";
    const std::string conditions = conditions_of(group.denials);
    text += conditions.empty() ? ";\n\n" : "\nwhen {\n" + conditions + "\n};\n\n";
  }
  return text;
}

}  // namespace ambit::governance
