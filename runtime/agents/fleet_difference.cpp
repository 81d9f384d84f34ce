#include "agents/fleet_difference.h"

#include "agents/document.h"

#include <algorithm>
#include <array>
#include <utility>

namespace ambit::agents {
namespace {

constexpr std::size_t words_bytes_max = 60;
constexpr std::size_t differences_max = 1000;
using Path = std::vector<std::string>;

std::string joined(const Path& path) {
  std::string text;
  for (const std::string& part : path) text += (text.empty() ? "" : ".") + part;
  return text;
}

bool is_one_of(std::string_view name, std::initializer_list<std::string_view> names) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

// Why a program that runs cannot take this over; empty: it can.
std::string restart_for_agent(const Path& path, const Node& agent) {
  if (agent.find("card") != nullptr) return "an agent elsewhere is connected at the start";
  const std::string field = path.size() > 2 ? path[2] : "";
  const bool is_exposed = agent.find("a2a") != nullptr;
  if (field == "a2a") return "its door is open already";
  if (field == "description" && is_exposed) return "its card is published already";
  if (field.empty() && is_exposed) return "doors are opened at the start";
  const bool levels =
      field == "autonomyLevel" || (field.empty() && agent.find("autonomyLevel") != nullptr);
  return levels ? "a level rises by two people's word alone (ambit autonomy)" : "";
}

std::string restart_for(const Path& path, const Node& of) {
  const std::string& section = path.front();
  if (section == "agents" && path.size() > 1) return restart_for_agent(path, of);
  if (is_one_of(section, {"$schema", "agents", "tools", "profiles", "policies", "roles"}))
    return "";
  if (section == "models") {
    const bool is_light =
        path.size() > 2 && is_one_of(path[2], {"temperature", "topP", "minP", "topK",
                                               "repeatPenalty", "maxTokens", "price", "fallback"});
    return is_light ? "" : "models are opened at the start";
  }
  if (section == "mcpServers") return "servers are connected at the start";
  if (section == "artifacts") return "the bounds of what is kept hold from the start";
  if (section == "memory") return "memories are opened at the start";
  if (section == "workflow") return "the run follows it already";
  return "it holds for the whole run";
}

std::string value_words(const Node& before, const Node& now) {
  const std::string from = before.to_json();
  const std::string to = now.to_json();
  const bool is_short = from.size() <= words_bytes_max && to.size() <= words_bytes_max;
  return is_short ? from + " -> " + to : "changed";
}

class Comparison {
 public:
  void compare(const Path& path, const Node* before, const Node* now) {
    if (all_.size() >= differences_max) return;
    if (before == nullptr || now == nullptr) {
      const bool is_section = path.size() == 1;
      const Node& whole = before != nullptr ? *before : *now;
      // Each of what a section names, by its name.
      if (is_section && whole.kind == Node::Kind::object && !whole.members.empty()) {
        for (const Node::Member& member : whole.members) {
          Path below = path;
          below.push_back(member.key);
          compare(below, before != nullptr ? &member.value : nullptr,
                  now != nullptr ? &member.value : nullptr);
        }
        return;
      }
      return report(path, before == nullptr ? "added" : "removed", path.size() > 2 ? of_ : whole);
    }
    if (before->kind != Node::Kind::object || now->kind != Node::Kind::object) {
      if (before->to_json() != now->to_json()) report(path, value_words(*before, *now), of_);
      return;
    }
    for (const Node::Member& member : before->members) {
      step(path, member.key, &member.value, now->find(member.key), *before);
    }
    for (const Node::Member& member : now->members) {
      if (before->find(member.key) == nullptr) {
        step(path, member.key, nullptr, &member.value, *now);
      }
    }
  }
  std::vector<FleetChange> take() { return std::move(all_); }

 private:
  void step(const Path& path, const std::string& key, const Node* before, const Node* now,
            const Node& parent) {
    Path below = path;
    below.push_back(key);
    // Of an agent's fields it counts what else the agent is.
    if (below.size() == 3) of_ = parent;
    compare(below, before, now);
  }
  void report(const Path& path, std::string words, const Node& of) {
    if (path.front() == "$schema") return;
    all_.push_back({joined(path), std::move(words), restart_for(path, of)});
  }

  std::vector<FleetChange> all_;
  Node of_;
};

}  // namespace

Result<std::vector<FleetChange>> fleet_difference(std::string_view before, std::string_view now) {
  const Node old_root = TRY(parse_document(before));
  const Node new_root = TRY(parse_document(now));
  if (old_root.kind != Node::Kind::object || new_root.kind != Node::Kind::object) {
    return Err(Code::invalid, "a fleet file is a JSON object");
  }
  Comparison comparison;
  comparison.compare({}, &old_root, &new_root);
  return comparison.take();
}

}  // namespace ambit::agents
