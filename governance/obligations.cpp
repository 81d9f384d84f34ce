#include "governance/obligations.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <charconv>
#include <set>

namespace ambit::governance {
namespace {

using Json = nlohmann::ordered_json;
using cedar::Policy;

constexpr std::string_view redacted = "[redacted]";
constexpr std::size_t path_parts_max = 16;

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
  return text;
}

std::vector<std::string_view> split(std::string_view text, char at) {
  std::vector<std::string_view> parts;
  while (true) {
    const std::size_t end = text.find(at);
    parts.push_back(trimmed(text.substr(0, end)));
    if (end == std::string_view::npos) return parts;
    text.remove_prefix(end + 1);
  }
}

Result<std::int64_t> number_of(std::string_view text) {
  std::int64_t number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) {
    return Err(Code::invalid, "\"" + std::string(text) + "\" is no whole number");
  }
  return number;
}

Result<void> check_path(std::string_view path) {
  const auto parts = split(path, '.');
  const bool gap = std::any_of(parts.begin(), parts.end(), [](auto one) { return one.empty(); });
  if (!gap && parts.size() <= path_parts_max) return {};
  return Err(Code::invalid, "\"" + std::string(path) + "\" is no path into the arguments");
}

Result<void> read_redact(std::string_view text, Obligations& out) {
  for (const std::string_view path : split(text, ',')) {
    TRY(check_path(path));
    out.redact.emplace_back(path);
  }
  return {};
}

Result<void> read_caps(std::string_view text, Obligations& out) {
  for (const std::string_view one : split(text, ',')) {
    const std::size_t space = one.find(' ');
    if (space == std::string_view::npos) {
      return Err(Code::invalid, "it must be PATH NUMBER, such as \"amount 100\"");
    }
    TRY(check_path(one.substr(0, space)));
    out.caps.push_back(
        {std::string(one.substr(0, space)), TRY(number_of(trimmed(one.substr(space))))});
  }
  return {};
}

Result<std::int64_t> bounded(std::string_view text, std::int64_t least, std::int64_t most) {
  const std::int64_t number = TRY(number_of(trimmed(text)));
  if (number >= least && number <= most) return number;
  return Err(Code::invalid, "it must be " + std::to_string(least) + " to " + std::to_string(most));
}

// "2", or "2 of eve, mia, tom".
Result<void> read_approvers(std::string_view text, Obligations& out) {
  constexpr std::string_view of = " of ";
  const std::size_t at = text.find(of);
  out.approvers = TRY(bounded(text.substr(0, at), 1, 100));
  if (at == std::string_view::npos) return {};
  out.people.emplace();
  for (const std::string_view who : split(text.substr(at + of.size()), ',')) {
    if (who.empty()) return Err(Code::invalid, "a name is missing after \"of\"");
    out.people->emplace_back(who);
  }
  const std::set<std::string> distinct(out.people->begin(), out.people->end());
  if (distinct.size() == out.people->size() &&
      static_cast<std::int64_t>(distinct.size()) >= *out.approvers) {
    return {};
  }
  return Err(Code::invalid, "it names fewer people than it needs, or one of them twice");
}

// "90s", "10m", "2h", "1d".
Result<std::int64_t> read_time(std::string_view text) {
  constexpr std::string_view units = "smhd";
  constexpr std::int64_t milliseconds[] = {1000, 60'000, 3'600'000, 86'400'000};
  text = trimmed(text);
  const std::size_t unit = text.empty() ? std::string_view::npos : units.find(text.back());
  if (unit == std::string_view::npos) {
    return Err(Code::invalid, "it must be a time such as 90s, 10m, 2h or 1d");
  }
  return TRY(bounded(text.substr(0, text.size() - 1), 1, 10'000)) * milliseconds[unit];
}

// {"verdict", "reason", "message", "transform": {"path", "value"}}, as the Agent Control
// Specification has it.
Result<void> read_transform(const Json& value, Obligations& out) {
  constexpr std::string_view root = "$policy_target";
  if (!value.is_object() || value.size() != 2 || !value.contains("path") ||
      !value["path"].is_string() || !value.contains("value")) {
    return Err(Code::invalid, "\"transform\" needs \"path\" and \"value\"");
  }
  const auto path = value["path"].get<std::string>();
  if (path != root && !path.starts_with(std::string(root) + ".")) {
    return Err(Code::invalid,
               "\"transform\" may only change what lies below $policy_target, not " + path);
  }
  std::string inner = path == root ? "" : path.substr(root.size() + 1);
  if (!inner.empty()) TRY(check_path(inner));
  out.replacements.push_back({std::move(inner), value["value"].dump()});
  return {};
}

Result<void> read_advice_json(const std::string& text, Annotations& out) {
  const Json value = Json::parse(text, nullptr, false);
  if (!value.is_object()) return Err(Code::invalid, "it is neither a word of ours nor JSON");
  for (const auto& [name, part] : value.items()) {
    const bool known =
        name == "verdict" || name == "reason" || name == "message" || name == "transform";
    if (!known) return Err(Code::invalid, "there is no \"" + name + "\" in an advice");
    const bool words = part.is_string() || (part.is_null() && name != "verdict");
    if (name != "transform" && !words) return Err(Code::invalid, "\"" + name + "\" is no string");
  }
  const std::string verdict = value.value("verdict", "");
  const auto said = [&](const char* name) {
    return value.contains(name) && value[name].is_string() ? value[name].get<std::string>() : "";
  };
  out.reason = said("reason");
  if (out.reason.starts_with("runtime_error:")) {
    return Err(Code::invalid, "a reason that starts with runtime_error: is reserved");
  }
  const std::string message = said("message").empty() ? out.reason : said("message");
  if (value.contains("transform") != (verdict == "transform")) {
    return Err(Code::invalid, "\"transform\" belongs to the verdict transform, and only there");
  }
  if (verdict == "escalate") {
    out.advice = Advice::escalate;
  } else if (verdict == "warn") {
    out.advice = Advice::oblige;
    out.obligations.warnings.push_back(message.empty() ? "a policy warns" : message);
  } else if (verdict == "transform") {
    out.advice = Advice::oblige;
    return read_transform(value["transform"], out.obligations);
  } else {
    return Err(Code::invalid, "\"verdict\" is warn, escalate or transform");
  }
  return {};
}

Result<void> read_advice(const std::string& text, Annotations& out) {
  if (text == "escalate") {
    out.advice = Advice::escalate;
  } else if (text == "oblige") {
    out.advice = Advice::oblige;
  } else {
    auto read = read_advice_json(text, out);
    if (!read) return Err(std::move(read).error().context("escalate, oblige or a JSON object"));
  }
  return {};
}

Result<void> read_one(const std::string& name, const std::string& text, Annotations& out) {
  if (name == "advice") return read_advice(text, out);
  if (name == "redact") return read_redact(text, out.obligations);
  if (name == "cap") return read_caps(text, out.obligations);
  if (name == "warn") {
    if (text.empty()) return Err(Code::invalid, "it says nothing");
    out.obligations.warnings.push_back(text);
  }
  if (name == "autonomy") out.obligations.autonomy = TRY(bounded(text, 1, 4));
  if (name == "approvers") return read_approvers(text, out.obligations);
  if (name == "deadline") out.obligations.deadline_ms = TRY(read_time(text));
  if (name == "mode") {
    if (text != "enforce" && text != "evaluate-only") {
      return Err(Code::invalid, "it is enforce or evaluate-only");
    }
    out.watches = text == "evaluate-only";
  }
  return {};
}

void redact_all(Json& value) {
  if (value.is_object() || value.is_array()) {
    for (Json& inner : value) redact_all(inner);
  } else if (!value.is_null()) {
    value = redacted;
  }
}

// Calls `change` for what lies at the path; through arrays for each of their elements.
template <class F>
Result<void> at_path(Json& value, std::string_view path, F& change) {
  if (value.is_array()) {
    for (Json& element : value) TRY(at_path(element, path, change));
    return {};
  }
  if (path.empty()) return change(value);
  if (!value.is_object()) return {};
  const std::size_t dot = path.find('.');
  const auto member = value.find(std::string(path.substr(0, dot)));
  if (member == value.end()) return {};
  return at_path(*member, dot == std::string_view::npos ? "" : path.substr(dot + 1), change);
}

// A number above the bound becomes the bound; a list of numbers each of its own.
Result<void> cap_value(Json& value, const Cap& cap) {
  if (value.is_array()) {
    for (Json& element : value) TRY(cap_value(element, cap));
    return {};
  }
  if (!value.is_number()) {
    return Err(Code::denied,
               "the argument \"" + cap.path + "\" is no number, so it cannot be capped");
  }
  const bool above =
      value.is_number_float() ? value.get<double>() > static_cast<double>(cap.most)
      : value.is_number_unsigned()
          ? cap.most < 0 || value.get<std::uint64_t>() > static_cast<std::uint64_t>(cap.most)
          : value.get<std::int64_t>() > cap.most;
  if (above) value = cap.most;
  return {};
}

std::string joined(const std::vector<std::string>& parts) {
  std::string text;
  std::set<std::string> said;
  for (const std::string& part : parts) {
    if (said.insert(part).second) text += (text.empty() ? "" : ", ") + part;
  }
  return text;
}

}  // namespace

Result<Annotations> annotations_of(const Policy& policy) {
  Annotations out;
  const auto fault = [&policy](const std::string& what) {
    return Err(Code::invalid, policy.source + ":" + std::to_string(policy.where.line) + ":" +
                                  std::to_string(policy.where.column) + ": " + what);
  };
  for (const auto& [name, text] : policy.annotations) {
    const auto read = read_one(name, text, out);
    if (!read) return fault("@" + name + ": " + read.error().message);
  }
  const std::string* reason = policy.annotation("reason");
  if (reason != nullptr && !reason->empty()) out.reason = *reason;
  const bool denies = policy.effect == cedar::Effect::forbid && out.advice == Advice::none;
  if (denies && out.obligations.changes_arguments()) {
    return fault("a forbid that denies cannot change arguments; add @advice(\"oblige\")");
  }
  return out;
}

void add(Obligations& all, const Obligations& more) {
  const auto append = [](auto& to, const auto& from) {
    to.insert(to.end(), from.begin(), from.end());
  };
  append(all.redact, more.redact);
  append(all.caps, more.caps);
  append(all.replacements, more.replacements);
  append(all.warnings, more.warnings);
  if (more.autonomy) all.autonomy = std::min(*more.autonomy, all.autonomy.value_or(*more.autonomy));
  if (more.approvers) all.approvers = std::max(*more.approvers, all.approvers.value_or(0));
  if (more.deadline_ms) {
    all.deadline_ms = std::min(*more.deadline_ms, all.deadline_ms.value_or(*more.deadline_ms));
  }
  if (!more.people) return;
  if (all.people) {
    // Whom both name; nobody at all if they agree on nobody.
    std::erase_if(*all.people, [&](const std::string& who) {
      return std::find(more.people->begin(), more.people->end(), who) == more.people->end();
    });
  } else {
    all.people = more.people;
  }
}

std::vector<std::pair<std::string, std::string>> to_pairs(const Obligations& obligations) {
  std::vector<std::pair<std::string, std::string>> pairs;
  if (obligations.approvers) {
    std::string needed = std::to_string(*obligations.approvers);
    if (obligations.people) needed += " of " + joined(*obligations.people);
    pairs.emplace_back("approvers", std::move(needed));
  }
  if (obligations.autonomy) pairs.emplace_back("autonomy", std::to_string(*obligations.autonomy));
  std::vector<std::string> caps;
  for (const Cap& cap : obligations.caps) caps.push_back(cap.path + " " + std::to_string(cap.most));
  if (!caps.empty()) pairs.emplace_back("cap", joined(caps));
  if (obligations.deadline_ms) {
    pairs.emplace_back("deadline", std::to_string(*obligations.deadline_ms) + " ms");
  }
  if (!obligations.redact.empty()) pairs.emplace_back("redact", joined(obligations.redact));
  std::vector<std::string> replaced;
  for (const Replacement& one : obligations.replacements) {
    replaced.push_back(one.path.empty() ? "all arguments" : one.path);
  }
  if (!replaced.empty()) pairs.emplace_back("transform", joined(replaced));
  if (!obligations.warnings.empty()) pairs.emplace_back("warn", joined(obligations.warnings));
  return pairs;
}

ApprovalTerms approval_terms(const std::vector<std::pair<std::string, std::string>>& obligations) {
  ApprovalTerms terms;
  constexpr std::string_view of = " of ";
  for (const auto& [name, value] : obligations) {
    const auto read = [&value](std::int64_t& number) {
      std::from_chars(value.data(), value.data() + value.size(), number);
    };
    if (name == "deadline") read(terms.deadline_ms);
    if (name != "approvers") continue;
    read(terms.needed);
    const std::size_t at = value.find(of);
    if (at == std::string::npos) continue;
    for (const std::string_view who : split(std::string_view(value).substr(at + of.size()), ',')) {
      terms.people.emplace_back(who);
    }
  }
  terms.needed = std::max<std::int64_t>(1, terms.needed);
  return terms;
}

Result<std::string> apply_obligations(const Obligations& obligations, std::string_view arguments) {
  Json value = Json::parse(arguments.empty() ? std::string_view("{}") : arguments, nullptr, false);
  if (!value.is_object()) return Err(Code::denied, "the arguments are not a JSON object");
  for (const Replacement& one : obligations.replacements) {
    auto replace = [&one](Json& at) -> Result<void> {
      at = Json::parse(one.json, nullptr, false);
      return {};
    };
    TRY(at_path(value, one.path, replace));
  }
  for (const Cap& cap : obligations.caps) {
    auto change = [&cap](Json& at) { return cap_value(at, cap); };
    TRY(at_path(value, cap.path, change));
  }
  for (const std::string& path : obligations.redact) {
    auto change = [](Json& at) -> Result<void> {
      redact_all(at);
      return {};
    };
    TRY(at_path(value, path, change));
  }
  if (!value.is_object()) return Err(Code::denied, "what is left of the arguments is no object");
  return value.dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace ambit::governance
