// ambit policy check | explain | test | diff: policies before they decide anything for real.

#include "app/command.h"
#include "app/guard_options.h"
#include "app/json_text.h"
#include "app/load_fleet.h"
#include "app/policy_guard.h"
#include "cedar/validate.h"
#include "governance/action_json.h"
#include "governance/difference.h"
#include "governance/guard.h"
#include "io/file.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <type_traits>

namespace ambit::app {
namespace {

using Json = nlohmann::ordered_json;
using governance::PolicyGuard;

constexpr std::size_t policy_bytes_max = 8 << 20;
constexpr std::size_t cases_bytes_max = 64 << 20;
constexpr std::size_t far_policies_shown = 5;  // of those whose scope does not fit

// A file's content, or the argument itself where it is JSON already.
Result<nlohmann::json> read_json(const Context& context, const std::string& said) {
  std::string text = said;
  const bool inline_json = said.starts_with("{") || said.starts_with("[");
  if (!inline_json) text = TRY(io::read_file(absolute(context, said), cases_bytes_max));
  auto parsed = nlohmann::json::parse(text, nullptr, false);
  if (parsed.is_discarded()) {
    return Err(Code::invalid, (inline_json ? "the action" : said) + " is no JSON");
  }
  return parsed;
}

Json to_json(const agents::Decision& decision) {
  return {{"verdict", to_string(decision.verdict)},
          {"reason", decision.reason},
          {"policies", decision.policies},
          {"errors", decision.errors},
          {"policySet", decision.policy_set}};
}

Json to_json(const cedar::Explanation& explanation) {
  const cedar::Policy& policy = *explanation.policy;
  Json clauses = Json::array();
  for (const cedar::Clause& clause : explanation.clauses) {
    Json values = Json::object();
    for (const auto& [name, value] : clause.values) values[name] = value;
    Json one = {{"clause", clause.text}, {"values", values}};
    if (clause.where.line != 0) {
      one["line"] = clause.where.line;
      one["column"] = clause.where.column;
    }
    if (clause.error.empty()) {
      one["found"] = clause.found;
    } else {
      one["error"] = clause.error;
    }
    clauses.push_back(std::move(one));
  }
  return {{"policy", policy.id},
          {"effect", policy.effect == cedar::Effect::permit ? "permit" : "forbid"},
          {"file", policy.source},
          {"line", policy.where.line},
          {"outcome", to_string(explanation.outcome)},
          {"clauses", clauses}};
}

std::string headline(const cedar::Explanation& explanation) {
  using Outcome = cedar::Explanation::Outcome;
  const cedar::Policy& policy = *explanation.policy;
  const std::string effect = policy.effect == cedar::Effect::permit ? "permit " : "forbid ";
  const std::string what = explanation.outcome == Outcome::applies     ? "applies"
                           : explanation.outcome == Outcome::scope     ? "is about something else"
                           : explanation.outcome == Outcome::condition ? "does not apply"
                                                                       : "failed and is skipped";
  return effect + policy.id + " (" + policy.source + ":" + std::to_string(policy.where.line) +
         ") " + what + "\n";
}

void print_explained(const PolicyGuard::Explained& explained, bool all) {
  const agents::Decision& decision = explained.decision;
  print(std::string(to_string(decision.verdict)) + ": " + decision.reason + "\n");
  std::size_t far = 0;
  for (const cedar::Explanation& one : explained.policies) {
    const bool scope = one.outcome == cedar::Explanation::Outcome::scope;
    if (scope && ++far > far_policies_shown && !all) continue;
    print("\n" + headline(one));
    for (const cedar::Clause& clause : one.clauses) print("  " + to_text(clause) + "\n");
  }
  if (far > far_policies_shown && !all) {
    print("\nand " + std::to_string(far - far_policies_shown) +
          " more policies about something else (--all shows them)\n");
  }
}

Result<void> explain(const Options& options, const Context& context) {
  const auto guard = TRY(open_guard(options, context, options.positional()[0]));
  const auto value = TRY(read_json(context, options.positional()[1]));
  const agents::Action action = TRY(governance::action_from_json(value));
  const PolicyGuard::Explained explained = guard->explain(action);
  if (!options.flag("json")) {
    print_explained(explained, options.flag("all"));
    return {};
  }
  Json out = to_json(explained.decision);
  out["explained"] = Json::array();
  for (const cedar::Explanation& one : explained.policies) out["explained"].push_back(to_json(one));
  print(dumped(out) + "\n");
  return {};
}

// What is wrong with the decision of one case; empty: nothing.
std::string fault_of(const nlohmann::json& test, const agents::Decision& decision) {
  const std::string wanted = test["verdict"].get<std::string>();
  const std::string found(to_string(decision.verdict));
  if (wanted != found) return "expected " + wanted + ", found " + found + ": " + decision.reason;
  if (!test.contains("policies")) return "";
  auto policies = decision.policies;
  auto named = test["policies"].get<std::vector<std::string>>();
  std::sort(policies.begin(), policies.end());
  std::sort(named.begin(), named.end());
  if (policies == named) return "";
  std::string list;
  for (const std::string& one : policies) list += (list.empty() ? "" : ", ") + one;
  return "the verdict is right, but determined by: " + (list.empty() ? "no policy" : list);
}

Result<void> check_case(const nlohmann::json& test, std::size_t at) {
  const auto bad = [at](const std::string& what) {
    return Err(Code::invalid, "case " + std::to_string(at) + ": " + what);
  };
  if (!test.is_object() || !test.contains("action")) return bad("needs \"action\"");
  const auto verdict = test.find("verdict");
  const bool known = verdict != test.end() && verdict->is_string() &&
                     (*verdict == "allow" || *verdict == "deny" || *verdict == "escalate");
  if (!known) return bad("needs \"verdict\": allow, deny or escalate");
  for (const auto& [name, value] : test.items()) {
    const bool text = name == "name" || name == "verdict";
    if (text && !value.is_string()) return bad("\"" + name + "\" must be a string");
    if (name == "policies") {
      const bool names = value.is_array() && std::all_of(value.begin(), value.end(),
                                                         [](auto& one) { return one.is_string(); });
      if (!names) return bad("\"policies\" must be an array of ids");
    } else if (!text && name != "action") {
      return bad("there is no \"" + name + "\"; a case has name, action, verdict and policies");
    }
  }
  return {};
}

Result<int> test(const Options& options, const Context& context) {
  const auto guard = TRY(open_guard(options, context, options.positional()[0]));
  const auto cases = TRY(read_json(context, options.positional()[1]));
  if (!cases.is_array()) {
    return Err(Code::invalid, "the cases must be an array of {\"name\", \"action\", \"verdict\"}");
  }
  std::size_t failed = 0;
  for (std::size_t i = 0; i < cases.size(); ++i) {
    TRY(check_case(cases[i], i));
    auto action = governance::action_from_json(cases[i]["action"]);
    if (!action) return Err(std::move(action).error().context("case " + std::to_string(i)));
    const std::string name = cases[i].value("name", "case " + std::to_string(i));
    const std::string fault = fault_of(cases[i], guard->decide(*action));
    failed += fault.empty() ? 0 : 1;
    if (options.flag("json")) {
      Json out = {{"name", name}, {"passed", fault.empty()}};
      if (!fault.empty()) out["fault"] = fault;
      print(dumped(out) + "\n");
    } else if (!fault.empty()) {
      print("failed: " + name + ": " + fault + "\n");
    }
  }
  if (!options.flag("json")) {
    print(std::to_string(cases.size() - failed) + " passed, " + std::to_string(failed) +
          " failed\n");
  }
  return failed == 0 ? 0 : 1;
}

Json to_json(const governance::Difference& difference) {
  return {{"action", Json::parse(governance::to_json(difference.action).dump())},
          {"before", to_json(difference.before)},
          {"after", to_json(difference.after)}};
}

void print_difference(const governance::Difference& one) {
  const auto names = [](const agents::Decision& decision) {
    std::string list;
    for (const std::string& policy : decision.policies) list += (list.empty() ? "" : ", ") + policy;
    return list.empty() ? std::string("no policy") : list;
  };
  const auto action = Json::parse(governance::to_json(one.action).dump());
  print("  " + std::string(to_string(one.before.verdict)) + " (" + names(one.before) + ") -> " +
        std::string(to_string(one.after.verdict)) + " (" + names(one.after) +
        "): " + dumped(action) + "\n");
}

Result<int> diff(const Options& options, const Context& context) {
  const auto before = TRY(open_guard(options, context, options.positional()[0]));
  const auto after = TRY(open_guard(options, context, options.positional()[1]));
  const auto report = governance::compare(*before, *after);
  if (options.flag("json")) {
    Json out = {{"actions", report.actions},
                {"exhaustive", report.exhaustive},
                {"wider", Json::array()},
                {"narrower", Json::array()}};
    for (const auto& one : report.wider) out["wider"].push_back(to_json(one));
    for (const auto& one : report.narrower) out["narrower"].push_back(to_json(one));
    print(dumped(out) + "\n");
    return report.wider.empty() ? 0 : 1;
  }
  print("asked about " + std::to_string(report.actions) + " actions, made of " +
        (report.exhaustive ? "every combination" : "some combinations (there are too many)") +
        " of the values that the policies name\n");
  if (!report.wider.empty()) print("the new policies permit more:\n");
  for (const auto& one : report.wider) print_difference(one);
  if (!report.narrower.empty()) print("the new policies permit less:\n");
  for (const auto& one : report.narrower) print_difference(one);
  if (report.wider.empty()) print("the new policies permit nothing more\n");
  return report.wider.empty() ? 0 : 1;
}

Result<int> check(const Options& options, const Context& context) {
  const auto guard = TRY(open_guard(options, context, options.positional()[0]));
  std::vector<cedar::Finding> findings;
  if (options.flag("schema")) {
    const std::string path = options.text("schema");
    const std::string text = TRY(io::read_file(absolute(context, path), policy_bytes_max));
    const auto schema = TRY(path.ends_with(".json") ? cedar::Schema::from_json(text, path)
                                                    : cedar::Schema::from_text(text, path));
    findings = cedar::validate(guard->policies(), schema);
  }
  if (options.flag("json")) {
    Json out = {{"policies", guard->policy_count()},
                {"policySet", guard->policy_set()},
                {"findings", Json::array()}};
    for (const cedar::Finding& one : findings) {
      out["findings"].push_back({{"policy", one.policy->id},
                                 {"error", one.error},
                                 {"file", one.policy->source},
                                 {"line", one.where.line},
                                 {"column", one.where.column},
                                 {"message", one.message}});
    }
    print(dumped(out) + "\n");
    return has_error(findings) ? 1 : 0;
  }
  for (const cedar::Finding& one : findings) {
    print((one.error ? "error: " : "warning: ") + to_text(one) + "\n");
  }
  if (has_error(findings)) return 1;
  print(std::to_string(guard->policy_count()) + " policies, sound; set " + guard->policy_set() +
        "\n");
  return 0;
}

const OptionSpec json_option = {"json", "", "print the result as JSON"};

// An exit status, or one line on stderr.
template <class F>
std::function<int(const Options&, const Context&)> command(F run) {
  return [run](const Options& options, const Context& context) {
    auto result = run(options, context);
    if (!result) return fail(result.error());
    if constexpr (std::is_same_v<decltype(result), Result<int>>) {
      return *result;
    } else {
      return 0;
    }
  };
}

}  // namespace

Result<std::unique_ptr<PolicyGuard>> open_guard(const Options& options, const Context& context,
                                                const std::string& path) {
  governance::GuardOptions guard;
  guard.fleet = options.text("fleet");
  std::vector<std::string> files = {absolute(context, path)};
  if (!path.ends_with(".cedar") && !path.ends_with(".cedar.json")) {
    const agents::FleetFile file = TRY(load_fleet(context, path));
    if (!file.problems.empty()) {
      return Err(Code::invalid, problem_line(path, file.problems.front()));
    }
    const std::string named = guard.fleet;
    guard = guard_options(file.fleet);
    // What is asked here is what the policies say, whether they are enforced or not.
    guard.evaluate_only = false;
    if (!named.empty()) guard.fleet = named;
    files = file.fleet.policies;
  }
  std::vector<governance::PolicySource> sources;
  for (const std::string& file : files) {
    sources.push_back({file, TRY(io::read_file(file, policy_bytes_max))});
  }
  return PolicyGuard::create(sources, guard);
}

Command policy_check_command() {
  return {
      "policy check",
      "POLICIES",
      "read policies (a fleet file, a .cedar or a .cedar.json file) and check them against a "
      "schema",
      {{"schema", "FILE", "a Cedar schema, human-readable or .json"}, fleet_option, json_option},
      1,
      1,
      command(check)};
}

Command policy_explain_command() {
  return {"policy explain",
          "POLICIES ACTION",
          "the verdict on an action (JSON, or a file of it), and which clause of which policy made "
          "it",
          {fleet_option, {"all", "", "also policies that are about something else"}, json_option},
          2,
          2,
          command(explain)};
}

Command policy_test_command() {
  return {"policy test",
          "POLICIES CASES",
          "decide the cases of a JSON file: [{\"name\", \"action\", \"verdict\", \"policies\"}]",
          {fleet_option, json_option},
          2,
          2,
          command(test)};
}

Command policy_diff_command() {
  return {"policy diff",
          "OLD NEW",
          "what the new policies permit and the old ones did not, with an action for each; exit "
          "code 1 if there is any",
          {fleet_option, json_option},
          2,
          2,
          command(diff)};
}

}  // namespace ambit::app
