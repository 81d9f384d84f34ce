// ambit policy replay | learn | schema: policies against recorded history, and what they can be
// checked against.

#include "agents/fact.h"
#include "app/audit_options.h"
#include "app/json_text.h"
#include "app/load_fleet.h"
#include "app/policy_guard.h"
#include "governance/action_json.h"
#include "governance/action_schema.h"
#include "governance/history.h"
#include "log/reader.h"

#include <nlohmann/json.hpp>

#include <functional>
#include <map>

namespace ambit::app {
namespace {

using Json = nlohmann::ordered_json;
using governance::PastDecision;

struct Skipped {
  std::size_t limited = 0;  // a budget or a limit denied it
  std::size_t erased = 0;   // its arguments are gone: erased, or expired
};

Result<agents::ActionDecided> decided_in(log::ProvenRecord record) {
  const agents::Event event{record.leaf.type,  record.leaf.run,  record.leaf.session,
                            record.leaf.agent, record.leaf.body, std::move(record.payloads)};
  agents::Fact fact = TRY(agents::fact_of(event));
  auto* decided = std::get_if<agents::ActionDecided>(&fact);
  if (decided == nullptr) return Err(Code::internal, "the record is no decision");
  return std::move(*decided);
}

Result<void> each_decision(const std::string& journal, log::Filter filter, Skipped& skipped,
                           const std::function<void(const PastDecision&)>& visit) {
  const auto reader = TRY(log::LogReader::open(journal));
  filter.type = "action.decided";
  Result<void> done;
  TRY(reader->for_each(filter, [&](const log::Leaf& leaf) {
    auto record = reader->get(leaf.index);
    const bool erased = record && !(record->erased.empty() && record->expired.empty());
    auto decided = record ? decided_in(std::move(*record))
                          : Result<agents::ActionDecided>(Err(std::move(record).error()));
    if (!decided) {
      done = Err(std::move(decided).error().context("record " + std::to_string(leaf.index)));
      return false;
    }
    if (erased) {
      ++skipped.erased;
    } else if (!decided->bound.empty() || governance::is_by_limit(*decided->decision)) {
      ++skipped.limited;
    } else {
      visit({leaf.index, *decided->action, *decided->decision});
    }
    return true;
  }));
  return done;
}

std::string names_of(const agents::Decision& decision) {
  std::string list;
  for (const std::string& policy : decision.policies) list += (list.empty() ? "" : ", ") + policy;
  return list.empty() ? "no policy" : list;
}

Json brief(const agents::Decision& decision) {
  return {{"verdict", to_string(decision.verdict)},
          {"policies", decision.policies},
          {"reason", decision.reason}};
}

// What differs, or empty.
std::string change_of(const agents::Decision& before, const agents::Decision& now) {
  if (before.verdict != now.verdict) {
    return std::string(to_string(before.verdict)) + " (" + names_of(before) + ") -> " +
           std::string(to_string(now.verdict)) + " (" + names_of(now) + ")";
  }
  if (before.arguments != now.arguments) return "other obligations";
  return {};
}

Result<void> replay_history(const Options& options, const Context& context,
                            const std::string& journal, log::Filter filter, bool& differs) {
  const auto guard = TRY(open_guard(options, context, options.positional()[0]));
  std::size_t same = 0;
  std::map<std::string, std::size_t> changes;
  Skipped skipped;
  TRY(each_decision(journal, std::move(filter), skipped, [&](const PastDecision& past) {
    const agents::Decision now = guard->decide(past.action);
    const std::string change = change_of(past.decision, now);
    if (change.empty()) {
      ++same;
      return;
    }
    ++changes[std::string(to_string(past.decision.verdict)) + " -> " +
              std::string(to_string(now.verdict))];
    if (options.flag("json")) {
      print(dumped({{"record", past.index},
                    {"action", Json::parse(governance::to_json(past.action).dump())},
                    {"before", brief(past.decision)},
                    {"now", brief(now)}}) +
            "\n");
    } else {
      print("record " + std::to_string(past.index) + ": " + change + ": " + past.action.agent +
            " " + std::string(to_string(past.action.kind)) + " " + past.action.tool + " " +
            past.action.arguments + "\n  " + now.reason + "\n");
    }
  }));
  differs = !changes.empty();
  if (options.flag("json")) return {};
  for (const auto& [change, count] : changes) print(change + ": " + std::to_string(count) + "\n");
  print(std::to_string(same) + " decisions are the same");
  if (skipped.limited > 0) print("; " + std::to_string(skipped.limited) + " were a limit's");
  if (skipped.erased > 0) {
    print("; of " + std::to_string(skipped.erased) + " the arguments are erased or have expired");
  }
  print("\n");
  return {};
}

int replay(const Options& options, const Context& context) {
  const auto journal = journal_of(options, context);
  if (!journal) return fail(journal.error());
  auto filter = filter_of(options);
  if (!filter) return fail(filter.error()), 2;
  // The exit code of the child that reads: 1 is an error, so a difference has its own.
  constexpr int differs_code = 3;
  const int code = read_apart([&]() -> Result<void> {
    bool differs = false;
    TRY(replay_history(options, context, *journal, *filter, differs));
    std::fflush(nullptr);
    if (differs) std::_Exit(differs_code);
    return {};
  });
  return code == differs_code ? 1 : code;
}

Result<void> learn_from(const Options& options, const Context& context, const std::string& journal,
                        log::Filter filter) {
  const auto guard = TRY(open_guard(options, context, options.positional()[0]));
  governance::Lessons lessons(*guard);
  std::size_t left_out = 0;
  Skipped skipped;
  TRY(each_decision(journal, std::move(filter), skipped,
                    [&](const PastDecision& past) { left_out += lessons.add(past) ? 0 : 1; }));
  print("// " + std::to_string(lessons.denials()) + " recorded denials, " +
        std::to_string(lessons.grants()) +
        " grants. Read each before you take it: it allows what was refused.\n");
  for (const auto& [policies, count] : lessons.forbidden()) {
    print("// " + std::to_string(count) + " are forbidden by " + policies +
          ", and no grant lifts that.\n");
  }
  if (left_out > 0)
    print("// " + std::to_string(left_out) + " were too many and are not looked at.\n");
  if (skipped.erased > 0) {
    print("// Of " + std::to_string(skipped.erased) +
          " the arguments are erased or have expired.\n");
  }
  print("\n" + lessons.cedar());
  return {};
}

int learn(const Options& options, const Context& context) {
  const auto journal = journal_of(options, context);
  if (!journal) return fail(journal.error());
  auto filter = filter_of(options);
  if (!filter) return fail(filter.error()), 2;
  return read_apart([&] { return learn_from(options, context, *journal, *filter); });
}

int schema(const Options& options, const Context& context) {
  std::vector<agents::ToolSpec> tools;
  if (!options.positional().empty()) {
    const std::string& path = options.positional()[0];
    auto file = load_fleet(context, path);
    if (!file) return fail(file.error());
    if (!file->problems.empty()) return fail(problem_line(path, file->problems.front()));
    for (const auto& tool : file->fleet.tools) tools.push_back(tool.spec);
  }
  print(governance::action_schema(tools));
  return 0;
}

}  // namespace

Command policy_replay_command() {
  return {"policy replay",
          "POLICIES",
          "decide the recorded actions again by these policies; exit code 1 if a verdict differs",
          filter_options({fleet_option, {"json", "", "one JSON object a difference"}}),
          1,
          1,
          replay};
}

Command policy_learn_command() {
  return {"policy learn",
          "POLICIES",
          "the least grants that would have allowed the recorded denials, as Cedar",
          filter_options({fleet_option}),
          1,
          1,
          learn};
}

Command policy_schema_command() {
  return {"policy schema",
          "[FLEET]",
          "the Cedar schema of what policies see; with a fleet file, of its tools' arguments too",
          {},
          0,
          1,
          schema};
}

}  // namespace ambit::app
