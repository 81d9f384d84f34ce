#include "governance/redaction.h"

#include "agents/fleet.h"
#include "governance/cedar_call.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <set>

namespace ambit::governance {
namespace {

using agents::Event;
using Json = nlohmann::ordered_json;

constexpr std::string_view redacted = "[redacted]";
constexpr std::size_t digits_least = 8;
constexpr std::size_t secret_bytes_least = 20;
constexpr std::size_t depth_max = 200;
constexpr std::array<std::string_view, 6> parts = {"prompt",    "instructions", "message",
                                                   "arguments", "result",       "*"};
constexpr std::array<std::string_view, 3> patterns_known = {"email", "number", "secret"};

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
bool is_upper(char c) {
  return c >= 'A' && c <= 'Z';
}
bool is_lower(char c) {
  return c >= 'a' && c <= 'z';
}
bool is_alnum(char c) {
  return is_digit(c) || is_upper(c) || is_lower(c);
}

// Where a thing of one kind begins at `at`, its end; else `at`.
using EndOf = std::size_t (*)(std::string_view text, std::size_t at);

std::size_t email_end(std::string_view text, std::size_t at) {
  const auto is_local = [](char c) {
    return is_alnum(c) || c == '.' || c == '_' || c == '%' || c == '+' || c == '-';
  };
  if (at > 0 && is_local(text[at - 1])) return at;
  std::size_t end = at;
  while (end < text.size() && is_local(text[end])) ++end;
  if (end == at || end >= text.size() || text[end] != '@') return at;
  const std::size_t host = ++end;
  while (end < text.size() && (is_alnum(text[end]) || text[end] == '.' || text[end] == '-')) ++end;
  while (end > host && !is_alnum(text[end - 1])) --end;
  return text.substr(host, end - host).find('.') == std::string_view::npos ? at : end;
}

// Groups of digits with one space or dash between them, each of three digits at least: so a date is
// none.
std::size_t number_end(std::string_view text, std::size_t at) {
  if (!is_digit(text[at]) || (at > 0 && is_alnum(text[at - 1]))) return at;
  std::size_t digits = 0;
  std::size_t end = at;
  while (true) {
    const std::size_t group = end;
    while (end < text.size() && is_digit(text[end])) ++end;
    const std::size_t length = end - group;
    if (digits > 0 && length < 3) {
      end = group - 1;
      break;
    }
    digits += length;
    const bool more = length >= 3 && end + 1 < text.size() &&
                      (text[end] == ' ' || text[end] == '-') && is_digit(text[end + 1]);
    if (!more) break;
    ++end;
  }
  return digits >= digits_least ? end : at;
}

std::size_t secret_end(std::string_view text, std::size_t at) {
  const auto is_part = [](char c) {
    return is_alnum(c) || c == '_' || c == '-' || c == '.' || c == '+' || c == '=';
  };
  if (at > 0 && is_part(text[at - 1])) return at;
  std::size_t end = at;
  while (end < text.size() && is_part(text[end])) ++end;
  const std::string_view word = text.substr(at, end - at);
  const bool looks = word.size() >= secret_bytes_least &&
                     std::any_of(word.begin(), word.end(), is_digit) &&
                     std::any_of(word.begin(), word.end(), is_upper) &&
                     std::any_of(word.begin(), word.end(), is_lower);
  return looks ? end : at;
}

std::size_t redact_kind(std::string& text, EndOf end_of) {
  std::string out;
  std::size_t found = 0;
  std::size_t copied = 0;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = end_of(text, at);
    if (end == at) {
      ++at;
      continue;
    }
    out.append(text, copied, at - copied).append(redacted);
    copied = at = end;
    ++found;
  }
  if (found == 0) return 0;
  out.append(text, copied);
  text = std::move(out);
  return found;
}

bool fits(const std::string& pattern, std::string_view name) {
  if (!pattern.ends_with('*')) return pattern == name;
  return name.starts_with(std::string_view(pattern).substr(0, pattern.size() - 1));
}

// Every text in it, and every number that is as long as one that must go.
std::size_t redact_values(Json& value, const std::vector<std::string>& patterns) {
  if (value.is_string()) return redact_text(value.get_ref<std::string&>(), patterns);
  std::size_t found = 0;
  if (value.is_object() || value.is_array()) {
    for (Json& inner : value) found += redact_values(inner, patterns);
  } else if (value.is_number()) {
    std::string digits = value.dump();
    found = redact_text(digits, patterns);
    if (found > 0) value = redacted;
  }
  return found;
}

std::size_t redact_path(Json& value, std::string_view path) {
  if (value.is_array()) {
    std::size_t found = 0;
    for (Json& element : value) found += redact_path(element, path);
    return found;
  }
  if (!value.is_object()) return 0;
  const std::size_t dot = path.find('.');
  const auto member = value.find(std::string(path.substr(0, dot)));
  if (member == value.end()) return 0;
  if (dot != std::string_view::npos) return redact_path(*member, path.substr(dot + 1));
  if (member->is_null() || *member == redacted) return 0;
  *member = redacted;
  return 1;
}

class Pass {
 public:
  Pass(const std::vector<RedactionRule>& rules, Event& event) : rules_(rules), event_(event) {}

  void run() {
    const Json body = Json::parse(event_.body, nullptr, false);
    if (body.is_object() && body.contains("tool") && body["tool"].is_string()) {
      tool_ = source_of(body["tool"].get<std::string>());
    }
    for (agents::Payload& payload : event_.payloads) {
      const std::string& name = payload.name;
      if (name == "prompt" || name == "instructions") {
        text(payload.bytes, name);
      } else if (name == "answer") {
        text(payload.bytes, "message");
      } else if (name == "arguments" || name == "enforced") {
        whole(payload.bytes, "arguments", tool_);
      } else if (name == "result") {
        whole(payload.bytes, "result", tool_);
      } else if (name == "message") {
        message(payload.bytes);
      } else if (name == "earlier" || name == "messages" || name == "replaced") {
        each_line(payload.bytes, [this](Json& said) { return message_of(said); });
      } else if (name == "summary") {
        text(payload.bytes, "message");
      } else if (name == "calls") {
        each_line(payload.bytes,
                  [this](Json& call) { return arguments_of(call, member_of(call, "tool")); });
      }
    }
    if (!taken_.empty()) note();
  }

 private:
  // Rules for a part: "*" is any.
  template <class F>
  void each(std::string_view part, const std::string* tool, F act) {
    for (const RedactionRule& rule : rules_) {
      if (rule.of != "*" && rule.of != part) continue;
      // A call whose tool is not said (people's changes to it) counts as of every tool.
      if (tool != nullptr && !tool->empty() && !fits(rule.tool, *tool)) continue;
      act(rule);
    }
  }

  void took(std::string_view part, const RedactionRule& rule, const std::string& path) {
    if (!path.empty()) {
      taken_.insert(std::string(part) + "." + path);
      return;
    }
    for (const std::string& pattern : rule.patterns)
      taken_.insert(std::string(part) + ":" + pattern);
  }

  void text(std::string& bytes, std::string_view part) {
    each(part, nullptr, [&](const RedactionRule& rule) {
      if (redact_text(bytes, rule.patterns) > 0) took(part, rule, "");
    });
  }

  void value(Json& of, std::string_view part, const std::string& tool) {
    each(part, &tool, [&](const RedactionRule& rule) {
      for (const std::string& path : rule.paths) {
        if (redact_path(of, path) > 0) took(part, rule, path);
      }
      if (redact_values(of, rule.patterns) > 0) took(part, rule, "");
    });
  }

  // JSON, or else a plain text, in which there are no members.
  void whole(std::string& bytes, std::string_view part, const std::string& tool) {
    bool wanted = false;
    each(part, &tool, [&](const RedactionRule&) { wanted = true; });
    if (!wanted) return;
    if (nesting(bytes) > depth_max) {
      bytes = redacted;
      taken_.insert(std::string(part));
      return;
    }
    Json parsed = Json::parse(bytes, nullptr, false);
    if (!parsed.is_object() && !parsed.is_array()) {
      text_of(bytes, part, tool);
      return;
    }
    const std::size_t before = taken_.size();
    const Json was = parsed;
    value(parsed, part, tool);
    if (taken_.size() != before || parsed != was) {
      bytes = parsed.dump(-1, ' ', false, Json::error_handler_t::replace);
    }
  }

  void text_of(std::string& bytes, std::string_view part, const std::string& tool) {
    each(part, &tool, [&](const RedactionRule& rule) {
      if (redact_text(bytes, rule.patterns) > 0) took(part, rule, "");
    });
  }

  // A part of a result is one of any tool.
  static std::string source_of(std::string tool) {
    return tool == agents::artifact_tool ? std::string() : tool;
  }

  static std::string member_of(const Json& object, const char* name) {
    const auto at = object.find(name);
    return at != object.end() && at->is_string() ? at->get<std::string>() : std::string();
  }

  // What the model said.
  void message(std::string& bytes) {
    Json said = Json::parse(bytes, nullptr, false);
    if (!said.is_object()) {
      text(bytes, "message");
      return;
    }
    if (message_of(said)) bytes = said.dump(-1, ' ', false, Json::error_handler_t::replace);
  }

  // Words, by who said them, and calls with arguments.
  bool message_of(Json& said) {
    bool changed = false;
    if (said.contains("content") && said["content"].is_string()) {
      std::string words = said["content"].get<std::string>();
      const std::string was = words;
      const std::string role = member_of(said, "role");
      if (role == "tool") {
        whole(words, "result", source_of(member_of(said, "name")));
      } else {
        text(words, role == "user" ? "prompt" : role == "system" ? "instructions" : "message");
      }
      changed = words != was;
      said["content"] = std::move(words);
    }
    if (said.contains("tool_calls") && said["tool_calls"].is_array()) {
      for (Json& call : said["tool_calls"]) changed = call_of(call) || changed;
    }
    return changed;
  }

  bool call_of(Json& item) {
    if (!item.is_object() || !item.contains("function")) return false;
    Json& call = item["function"];
    return call.is_object() && arguments_of(call, member_of(call, "name"));
  }

  bool arguments_of(Json& call, const std::string& tool) {
    if (!call.contains("arguments")) return false;
    Json& arguments = call["arguments"];
    const Json was = arguments;
    if (arguments.is_string()) {
      std::string bytes = arguments.get<std::string>();
      whole(bytes, "arguments", tool);
      arguments = std::move(bytes);
    } else {
      value(arguments, "arguments", tool);
    }
    return arguments != was;
  }

  // One JSON object a line; `redact` says whether it has changed one.
  template <class F>
  void each_line(std::string& bytes, F redact) {
    std::string out;
    for (std::size_t at = 0; at < bytes.size();) {
      const std::size_t end = std::min(bytes.find('\n', at), bytes.size());
      std::string line = bytes.substr(at, end - at);
      Json said = Json::parse(line, nullptr, false);
      if (said.is_object() && redact(said)) {
        line = said.dump(-1, ' ', false, Json::error_handler_t::replace);
      }
      out += line + "\n";
      at = end + 1;
    }
    bytes = std::move(out);
  }

  void note() {
    Json list = Json::array();
    for (const std::string& one : taken_) list.push_back(one);
    std::string& body = event_.body;
    const std::size_t end = body.rfind('}');
    if (end == std::string::npos) return;
    const bool is_empty = body.find_first_not_of(" \t\n{", 0) == end;
    body.insert(end, std::string(is_empty ? "" : ",") + "\"redacted\":" + list.dump());
  }

  const std::vector<RedactionRule>& rules_;
  Event& event_;
  std::string tool_;
  std::set<std::string> taken_;
};

}  // namespace

std::size_t redact_text(std::string& text, const std::vector<std::string>& patterns) {
  std::size_t found = 0;
  for (const std::string& pattern : patterns) {
    found += redact_kind(text, pattern == "email"    ? email_end
                               : pattern == "number" ? number_end
                                                     : secret_end);
  }
  return found;
}

Result<Redaction> Redaction::create(std::vector<RedactionRule> rules) {
  for (const RedactionRule& rule : rules) {
    if (std::find(parts.begin(), parts.end(), rule.of) == parts.end()) {
      return Err(Code::invalid, "a record has no part \"" + rule.of + "\"");
    }
    for (const std::string& pattern : rule.patterns) {
      const auto* at = std::find(patterns_known.begin(), patterns_known.end(), pattern);
      if (at == patterns_known.end()) {
        return Err(Code::invalid,
                   "there is no pattern \"" + pattern + "\"; there are: email, number, secret");
      }
    }
    const bool gap = std::any_of(rule.paths.begin(), rule.paths.end(), [](const auto& path) {
      return path.empty() || path.front() == '.' || path.back() == '.' ||
             path.find("..") != std::string::npos;
    });
    if (gap) return Err(Code::invalid, "a path to redact has an empty part");
  }
  return Redaction(std::move(rules));
}

void Redaction::apply(Event& event) const {
  if (rules_.empty() || event.payloads.empty()) return;
  // Policies, the fleet file and people's reviews are no data of a session.
  if (event.session.empty()) return;
  Pass(rules_, event).run();
}

std::vector<std::string> redacted_in(std::string_view body) {
  // Most bodies do not even hold the word.
  if (body.find("\"redacted\"") == std::string_view::npos) return {};
  const Json parsed = Json::parse(body, nullptr, false);
  std::vector<std::string> taken;
  if (!parsed.is_object() || !parsed.contains("redacted")) return taken;
  for (const Json& one : parsed["redacted"]) {
    if (one.is_string()) taken.push_back(one.get<std::string>());
  }
  return taken;
}

}  // namespace ambit::governance
