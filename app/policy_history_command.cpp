// ambit policy replay | learn | schema: policies against recorded history, and what they can be
// checked against.

#include "agents/fact.h"
#include "app/audit_options.h"
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

using json = nlohmann::ordered_json;
using governance::PastDecision;

constexpr std::size_t open_sessions_max = 1'000'000;

std::string dumped(const json& value) {
  return value.dump(-1, ' ', false, json::error_handler_t::replace);
}

struct Skipped {
  std::size_t limited = 0;  // a budget or a limit denied it
  std::size_t erased = 0;   // its arguments are gone
};

Result<PastDecision> past_of(const log::LogReader& reader, std::uint64_t index, bool& erased) {
  log::ProvenRecord record = TRY(reader.get(index));
  erased = !record.erased.empty();
  const agents::Event event{record.leaf.type,  record.leaf.run,  record.leaf.session,
                            record.leaf.agent, record.leaf.body, std::move(record.payloads)};
  agents::Fact fact = TRY(agents::fact_of(event));
  auto* decided = std::get_if<agents::ActionDecided>(&fact);
  if (decided == nullptr) return Err(Code::internal, "the record is no decision");
  return PastDecision{index, std::move(decided->action), std::move(decided->decision)};
}

// Whether the record right after a decision says that a budget ended the session with it.
bool ended_by_limit(const log::Leaf& leaf) {
  if (leaf.type != "session.ended") return false;
  const json body = json::parse(leaf.body, nullptr, false);
  return body.is_object() && body.value("state", "") == "limit";
}

Result<void> each_decision(const std::string& journal, log::Filter filter, Skipped& skipped,
                           const std::function<bool(const PastDecision&)>& visit) {
  const auto reader = TRY(log::LogReader::open(journal));
  // A decision waits for the next record of its session: that one tells a limit's denial.
  std::map<std::pair<std::string, std::string>, std::uint64_t> waiting;
  Result<void> done;
  const auto take = [&](std::uint64_t index) {
    bool erased = false;
    auto past = past_of(*reader, index, erased);
    if (!past) {
      done = Err(std::move(past).error().context("record " + std::to_string(index)));
      return false;
    }
    if (erased || governance::is_by_limit(past->decision)) {
      ++(erased ? skipped.erased : skipped.limited);
      return true;
    }
    return visit(*past);
  };
  bool going = true;
  TRY(reader->for_each(filter, [&](const log::Leaf& leaf) {
    const auto at = waiting.find({leaf.run, leaf.session});
    if (at != waiting.end()) {
      const std::uint64_t index = at->second;
      waiting.erase(at);
      if (ended_by_limit(leaf)) {
        ++skipped.limited;
      } else {
        going = take(index);
      }
    }
    if (going && leaf.type == "action.decided") {
      if (waiting.size() >= open_sessions_max) going = take(leaf.index);
      waiting[{leaf.run, leaf.session}] = leaf.index;
    }
    return going;
  }));
  for (const auto& [session, index] : waiting) {
    if (going) going = take(index);
  }
  return done;
}

std::string names_of(const agents::Decision& decision) {
  std::string list;
  for (const std::string& policy : decision.policies) list += (list.empty() ? "" : ", ") + policy;
  return list.empty() ? "no policy" : list;
}

json brief(const agents::Decision& decision) {
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
      return true;
    }
    ++changes[std::string(to_string(past.decision.verdict)) + " -> " +
              std::string(to_string(now.verdict))];
    if (options.flag("json")) {
      print(dumped({{"record", past.index},
                    {"action", json::parse(governance::to_json(past.action).dump())},
                    {"before", brief(past.decision)},
                    {"now", brief(now)}}) +
            "\n");
    } else {
      print("record " + std::to_string(past.index) + ": " + change + ": " + past.action.agent +
            " " + std::string(to_string(past.action.kind)) + " " + past.action.tool + " " +
            past.action.arguments + "\n  " + now.reason + "\n");
    }
    return true;
  }));
  differs = !changes.empty();
  if (options.flag("json")) return {};
  for (const auto& [change, count] : changes) print(change + ": " + std::to_string(count) + "\n");
  print(std::to_string(same) + " decisions are the same");
  if (skipped.limited > 0) print("; " + std::to_string(skipped.limited) + " were a limit's");
  if (skipped.erased > 0) {
    print("; of " + std::to_string(skipped.erased) + " the arguments are erased");
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
  TRY(each_decision(journal, std::move(filter), skipped, [&](const PastDecision& past) {
    left_out += lessons.add(past) ? 0 : 1;
    return true;
  }));
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
    print("// Of " + std::to_string(skipped.erased) + " the arguments are erased.\n");
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

const OptionSpec fleet_option = {"fleet", "NAME",
                                 "with a policy file: the fleet that the agents are in"};

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
