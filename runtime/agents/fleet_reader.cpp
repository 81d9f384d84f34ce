#include "agents/fleet_reader.h"

#include <charconv>
#include <cstdio>

namespace ambit::agents {
namespace {

std::int64_t unit(std::string_view name, bool is_time) {
  if (is_time) {
    if (name == "ms") return 1;
    if (name == "s") return 1000;
    if (name == "m") return 60'000;
    if (name == "h") return 3'600'000;
    if (name == "d") return 86'400'000;
    return 0;
  }
  if (name == "B") return 1;
  if (name == "KiB") return kib;
  if (name == "MiB") return kib * kib;
  if (name == "GiB") return kib * kib * kib;
  return 0;
}

}  // namespace

std::string list_of(const std::vector<std::string>& names) {
  std::string out;
  for (const std::string& name : names) out += (out.empty() ? "" : ", ") + name;
  return out;
}

bool is_name(std::string_view name) {
  return !name.empty() && name.size() <= 64 && std::all_of(name.begin(), name.end(), [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || c == '-';
  });
}

Problem problem_at(const Node& node, std::string path, std::string message) {
  return {std::move(path), node.line, node.column, std::move(message),
          node.file ? *node.file : std::string()};
}

Problem problem_at(const Node::Member& member, std::string path, std::string message) {
  Problem problem = problem_at(member.value, std::move(path), std::move(message));
  problem.line = member.line;
  problem.column = member.column;
  return problem;
}

Reader::Reader(std::vector<Problem>& problems, const Node& node, std::string path)
    : problems_(problems), node_(node), path_(std::move(path)) {
  if (node.kind != Node::Kind::object) {
    report(node, path_,
           "expected an object but found " + std::string(agents::to_string(node.kind)));
  }
}

void Reader::report(const Node& node, const std::string& path, std::string message) {
  problems_.push_back(problem_at(node, path, std::move(message)));
}

const Node* Reader::get(const std::string& key) {
  if (std::find(known_.begin(), known_.end(), key) == known_.end()) known_.push_back(key);
  return node_.find(key);
}

const Node* Reader::get(const std::string& key, Node::Kind kind) {
  const Node* found = get(key);
  if (found == nullptr || found->kind == kind) return found;
  report(*found, at(key),
         "expected " + std::string(agents::to_string(kind)) + " but found " +
             std::string(agents::to_string(found->kind)));
  return nullptr;
}

void Reader::require(const std::string& key) {
  if (node_.kind == Node::Kind::object && node_.find(key) == nullptr) {
    report(node_, path_.empty() ? "(top)" : path_, "the key \"" + key + "\" is missing");
  }
}

std::string Reader::text(const std::string& key, const std::string& fallback) {
  const Node* found = get(key, Node::Kind::string);
  return found != nullptr ? found->string : fallback;
}

bool Reader::flag(const std::string& key, bool fallback) {
  const Node* found = get(key, Node::Kind::boolean);
  return found != nullptr ? found->boolean : fallback;
}

std::int64_t Reader::integer(const std::string& key, std::int64_t fallback, std::int64_t least,
                             std::int64_t most) {
  const Node* found = get(key, Node::Kind::integer);
  if (found == nullptr) return fallback;
  if (found->integer < least || found->integer > most) {
    report(*found, at(key),
           "must lie between " + std::to_string(least) + " and " + std::to_string(most));
    return fallback;
  }
  return found->integer;
}

double Reader::real(const std::string& key, double fallback, double least, double most) {
  const Node* found = get(key);
  if (found == nullptr) return fallback;
  if (found->kind != Node::Kind::integer && found->kind != Node::Kind::number) {
    report(*found, at(key),
           "expected a number but found " + std::string(agents::to_string(found->kind)));
    return fallback;
  }
  if (found->number < least || found->number > most) {
    char range[64];
    std::snprintf(range, sizeof range, "must lie between %g and %g", least, most);
    report(*found, at(key), range);
    return fallback;
  }
  return found->number;
}

std::int64_t Reader::quantity(const std::string& key, std::int64_t fallback, bool is_time,
                              std::int64_t most) {
  const Node* found = get(key);
  if (found == nullptr) return fallback;
  std::int64_t value = 0;
  bool good = false;
  if (found->kind == Node::Kind::integer && !is_time) {
    value = found->integer;
    good = value > 0;
  } else if (found->kind == Node::Kind::string) {
    const char* last = found->string.data() + found->string.size();
    const auto [end, error] = std::from_chars(found->string.data(), last, value);
    const std::int64_t factor = unit({end, static_cast<std::size_t>(last - end)}, is_time);
    good = error == std::errc() && value > 0 && factor > 0 && value <= most / factor;
    value *= good ? factor : 0;
  }
  if (good && value <= most) return value;
  report(*found, at(key),
         is_time ? R"(expected a time such as "200ms", "5s" or "2m")"
                 : R"(expected a size such as "64KiB" or "16MiB", or a number of bytes)");
  return fallback;
}

std::vector<std::string> Reader::texts(const std::string& key) {
  std::vector<std::string> out;
  const Node* found = get(key, Node::Kind::array);
  if (found == nullptr) return out;
  for (std::size_t i = 0; i < found->items.size(); ++i) {
    const Node& item = found->items[i];
    if (item.kind == Node::Kind::string) {
      out.push_back(item.string);
    } else {
      report(item, at(key) + "[" + std::to_string(i) + "]",
             "expected a string but found " + std::string(agents::to_string(item.kind)));
    }
  }
  return out;
}

void Reader::done() {
  for (const Node::Member& member : node_.members) {
    if (std::find(known_.begin(), known_.end(), member.key) != known_.end()) continue;
    std::string message = "unknown key";
    if (const auto near = suggestion(member.key, known_)) {
      message += "; did you mean \"" + *near + "\"?";
    } else {
      message += "; known here: " + list_of(known_);
    }
    problems_.push_back(problem_at(member, at(member.key), std::move(message)));
  }
}

void Reader::known(const std::string& key, const std::string& value,
                   const std::vector<std::string>& names, const std::string& what) {
  const Node* node = get(key);
  if (node == nullptr || node->kind != Node::Kind::string) return;
  known(*node, at(key), value, names, what);
}

void Reader::known(const Node& node, const std::string& path, const std::string& value,
                   const std::vector<std::string>& names, const std::string& what) {
  if (std::find(names.begin(), names.end(), value) != names.end()) return;
  std::string message = "there is no " + what + " \"" + value + "\"";
  if (const auto near = suggestion(value, names)) {
    message += "; did you mean \"" + *near + "\"?";
  } else {
    message += names.empty() ? "; none is defined" : "; there are: " + list_of(names);
  }
  report(node, path, message);
}

}  // namespace ambit::agents
