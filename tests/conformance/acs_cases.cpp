// The conformance cases of the Agent Control Specification, each through the real gate: its stubbed
// policy answer is written as Cedar with an @advice, its intervention point is the kind of action
// that stands there with us, its reserved reasons are told from ours by what they are about. Prints
// one line a case and what is passed of all; a case about something we do not have is not passed.

#include "cedar/value.h"
#include "governance/action_json.h"
#include "governance/approvals.h"
#include "governance/guard.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>
#include <set>
#include <sstream>

using namespace ambit;
using namespace ambit::governance;
using agents::Action;
using agents::ActionKind;
using agents::Decision;
using agents::Verdict;
using nlohmann::json;
namespace fs = std::filesystem;

namespace {

// What the manifests of the cases say: points with their target and tool name, and tools.
struct Manifest {
  struct Point {
    std::string target;
    std::string tool_from;
    bool annotates = false;
  };
  std::map<std::string, Point> points;
  std::set<std::string> tools;
};

Manifest manifest_of(const std::string& yaml) {
  Manifest made;
  std::string section;
  std::string name;
  std::stringstream lines(yaml);
  for (std::string line; std::getline(lines, line);) {
    const std::size_t indent = line.find_first_not_of(' ');
    if (indent == std::string::npos) continue;
    const std::size_t colon = line.find(':');
    const std::string key = line.substr(indent, colon - indent);
    const std::string value = colon + 2 < line.size() ? line.substr(colon + 2) : "";
    if (indent == 0) section = key;
    if (indent == 2) name = key;
    if (indent == 2 && section == "tools") made.tools.insert(key);
    if (indent == 2 && section == "intervention_points") made.points[name] = {};
    if (section != "intervention_points" || indent < 4) continue;
    if (key == "policy_target") made.points[name].target = value;
    if (key == "tool_name_from") made.points[name].tool_from = value;
    if (key == "annotations") made.points[name].annotates = true;
  }
  return made;
}

// "$snap.tool_call.args" in the snapshot.
json at_path(const json& snapshot, const std::string& path) {
  const json* at = &snapshot;
  std::stringstream parts(path.substr(path.find('.') + 1));
  for (std::string part; std::getline(parts, part, '.');) {
    if (!at->is_object() || !at->contains(part)) return {};
    at = &(*at)[part];
  }
  return *at;
}

ActionKind kind_of(const std::string& point) {
  if (point == "pre_model_call") return ActionKind::model_call;
  if (point == "pre_tool_call") return ActionKind::tool_call;
  if (point == "input" || point == "output") return ActionKind::message;
  if (point == "agent_startup" || point == "agent_shutdown") return ActionKind::spawn;
  return ActionKind::memory_write;  // what a session takes in
}

std::string resource_of(const std::string& point, const std::string& name) {
  const ActionKind kind = kind_of(point);
  const char* type = kind == ActionKind::model_call     ? "Model"
                     : kind == ActionKind::tool_call    ? "Tool"
                     : kind == ActionKind::memory_write ? "Memory"
                                                        : "Agent";
  return cedar::to_text(cedar::EntityUid{type, name});
}

// The policy's answer as policies: what Cedar says itself, and the rest as advice.
std::string policies_of(const json& test, const Manifest& manifest) {
  const json& answer = test["policy_response"];
  const bool fails = test.value("policy_behavior", "") == "error";
  std::string text;
  for (const auto& [point, known] : manifest.points) {
    std::vector<std::string> names = {point};
    if (!known.tool_from.empty() && kind_of(point) == ActionKind::tool_call) {
      names.assign(manifest.tools.begin(), manifest.tools.end());
    }
    for (const std::string& name : names) {
      const std::string scope = "(principal, action == Action::\"" +
                                std::string(to_string(kind_of(point))) +
                                "\", resource == " + resource_of(point, name) + ")";
      json advice = answer;
      advice["verdict"] = advice["decision"];
      advice.erase("decision");
      const bool plain = answer.size() == 1 && answer["decision"] == "allow";
      const bool denies = answer["decision"] == "deny";
      const std::string annotation =
          plain || denies ? "" : "@advice(" + cedar::quote(advice.dump()) + ")\n";
      text += annotation + "permit " + scope + (fails ? " when { context.missing }" : "") + ";\n";
      if (denies) {
        text +=
            "@reason(" + cedar::quote(answer.value("reason", "")) + ")\nforbid " + scope + ";\n";
      }
    }
  }
  return text;
}

struct Found {
  std::string decision;
  std::string reason;
  json target;
  json transformed;
  std::string tool;
  bool identity = false;
};

std::string obligation(const Decision& decision, const std::string& name) {
  for (const auto& [key, value] : decision.obligations) {
    if (key == name) return value;
  }
  return {};
}

// Their reserved reasons, by what ours are about.
std::string reason_of(const Decision& decision, const Action& action) {
  if (decision.verdict != Verdict::deny) return decision.reason;
  if (!decision.errors.empty()) return "runtime_error:policy_invocation_failed";
  if (decision.reason.find("bytes, more than") != std::string::npos) {
    return "runtime_error:resource_limit_exceeded";
  }
  if (!decision.policies.empty()) return decision.reason;
  return action.kind == ActionKind::tool_call ? "runtime_error:tool_unknown"
                                              : "runtime_error:intervention_point_unknown";
}

std::string word_of(const Decision& decision) {
  if (decision.verdict == Verdict::deny) return "deny";
  if (decision.verdict == Verdict::escalate) return "escalate";
  if (!obligation(decision, "transform").empty()) return "transform";
  return obligation(decision, "warn").empty() ? "allow" : "warn";
}

Found evaluate(const json& test, const Manifest& manifest) {
  Found found;
  GuardOptions options;
  options.evaluate_only = test.value("mode", "") == "evaluate_only";
  if (test.contains("limits")) {
    options.argument_bytes_max = test["limits"].value("max_snapshot_bytes", std::size_t{1} << 20);
  }
  auto guard = PolicyGuard::create({{"case", policies_of(test, manifest)}}, options);
  if (!guard) {
    // A set that is not sound is not loaded, so nothing is permitted.
    found.decision = "deny";
    found.reason = guard.error().message.find("below $policy_target") != std::string::npos
                       ? "runtime_error:transform_target_forbidden"
                       : "runtime_error:policy_output_invalid";
    return found;
  }
  const std::string point = test["intervention_point"];
  const auto known = manifest.points.find(point);
  const json& snapshot = test["snapshot"];
  Action action;
  action.id = "case/1";
  action.agent = "agent";
  action.kind = kind_of(point);
  action.tool = point;
  json target = snapshot;
  if (known != manifest.points.end()) {
    target = at_path(snapshot, known->second.target);
    if (!known->second.tool_from.empty()) found.tool = at_path(snapshot, known->second.tool_from);
    if (!found.tool.empty() && action.kind == ActionKind::tool_call) action.tool = found.tool;
  }
  const bool wrapped = !target.is_object();
  action.arguments = wrapped ? json{{"value", target}}.dump() : target.dump();
  const Decision decision = (*guard)->decide(action);
  found.decision = word_of(decision);
  found.reason = reason_of(decision, action);
  found.target = target;
  if (!decision.arguments.empty()) found.transformed = json::parse(decision.arguments);
  found.identity = action_hash(action).has_value();
  return found;
}

// An approval of one action, used for another.
Found mismatch() {
  std::array<std::uint8_t, 32> seed{};
  seed[0] = 7;
  const auto key = log::SignerKey::from_seed("eve", seed);
  auto desk = ApprovalDesk::create({key->verifier()}, {});
  Action action;
  action.id = "case/1";
  action.kind = ActionKind::message;
  action.arguments = R"({"value":"hi"})";
  const std::string id(32, 'a');
  const auto request = desk->ask(action, "escalated", 1, id, 0);
  const ApprovalAnswer yes{id, request->hash, Answer::approve, "seen", "", 1};
  Found found;
  if (!desk->answer(sign(yes, *key), 1)) return found;
  action.arguments = R"({"value":"something else"})";
  const auto used = desk->use(id, action, 2);
  found.decision = used ? "allow" : "deny";
  const bool told = !used && used.error().message.starts_with("approval_action_mismatch");
  found.reason = told ? "runtime_error:approval_action_mismatch" : "";
  return found;
}

std::string fault_of(const json& test) {
  const Manifest manifest = manifest_of(test["manifest_yaml"]);
  for (const auto& [name, point] : manifest.points) {
    if (point.annotates) return "annotators are not part of our gate";
  }
  const bool approval = test["operation"] == "approval_action_mismatch";
  const Found found = approval ? mismatch() : evaluate(test, manifest);
  const json& wanted = test["expected"];
  if (json(found.decision) != wanted["decision"]) return "decision " + found.decision;
  if (wanted.contains("reason") && json(found.reason) != wanted["reason"])
    return "reason " + found.reason;
  if (wanted.contains("policy_target") && found.target != wanted["policy_target"]) {
    return "target " + found.target.dump();
  }
  if (wanted.contains("transformed_policy_target") &&
      found.transformed != wanted["transformed_policy_target"]) {
    return "transformed " + found.transformed.dump();
  }
  if (wanted.contains("tool_name") && json(found.tool) != wanted["tool_name"])
    return "tool " + found.tool;
  if (wanted.value("action_identity", "") == "present" && !found.identity) return "no identity";
  for (const auto& [name, value] : wanted.items()) {
    static const std::set<std::string> looked_at = {
        "decision",       "reason", "policy_target", "tool_name", "transformed_policy_target",
        "action_identity"};
    if (!looked_at.contains(name)) return "it expects " + name + ", which is not looked at";
  }
  return {};
}

}  // namespace

int main() {
  const char* given = std::getenv("AMBIT_SHARED");
  const fs::path root = PROJECT_ROOT;
  const fs::path data = (given != nullptr ? fs::path(given) : root / ".." / "shared") / "data" /
                        "acs" / "tests" / "conformance" / "cases";
  if (!fs::exists(data)) {
    std::printf("skipped: no %s (AMBIT_SHARED names the folder that has data/)\n", data.c_str());
    return 77;
  }
  std::vector<fs::path> files;
  for (const auto& file : fs::directory_iterator(data)) files.push_back(file.path());
  std::sort(files.begin(), files.end());
  int passed = 0;
  int ours = 0;
  for (const fs::path& file : files) {
    std::ifstream in(file);
    const json test = json::parse(in);
    const std::string fault = fault_of(test);
    const bool outside = fault.starts_with("annotators");
    passed += fault.empty() ? 1 : 0;
    ours += outside ? 0 : 1;
    if (!fault.empty()) {
      std::printf("%s %s: %s\n", outside ? "not ours" : "failed",
                  test["id"].get<std::string>().c_str(), fault.c_str());
    }
  }
  std::printf("acs: %d of %zu passed\n", passed, files.size());
  return passed == ours && passed > 0 ? 0 : 1;
}
