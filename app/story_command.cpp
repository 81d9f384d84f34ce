// ambit cost | logs | describe: what the record says of runs and sessions, for whoever operates
// them. The record is the only bookkeeping, so these also work when nothing runs.

#include "agents/fleet_run.h"
#include "app/audit_options.h"
#include "app/command.h"
#include "app/energy.h"
#include "evidence/facts.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <ctime>
#include <map>

namespace ambit::app {
namespace {

using Json = nlohmann::ordered_json;

struct Sum {
  std::int64_t sessions = 0;
  std::int64_t turns = 0;
  std::int64_t input = 0;
  std::int64_t cached = 0;
  std::int64_t output = 0;
  std::int64_t micros = 0;
  std::int64_t energy_uj = 0;
  std::int64_t moved_bytes = 0;
};

// "-": the models did not say.
std::string moved_text(std::int64_t bytes) {
  return bytes > 0 ? bytes_text(static_cast<double>(bytes)) : "-";
}
std::string taken_text(std::int64_t energy_uj) {
  return energy_uj > 0 ? energy_text(static_cast<double>(energy_uj) * 1e-6) : "-";
}

std::string exact_dollars(std::int64_t micros) {
  char text[32];
  std::snprintf(text, sizeof text, "%.6f", static_cast<double>(micros) / 1e6);
  return text;
}

Result<void> cost(const Options& options, const Context& context) {
  const std::string by = options.text("by", "agent");
  const bool known =
      by == "agent" || by == "run" || by == "model" || by == "session" || by == "person";
  if (!known) {
    return Err(Code::invalid, "--by is one of: agent, run, model, session, person");
  }
  const std::string folder = TRY(journal_of(options, context));
  const auto reader = TRY(log::LogReader::open(folder));
  log::Filter filter = TRY(filter_of(options));
  const std::string person = std::exchange(filter.person, "");
  std::map<std::string, Sum> sums;
  std::map<std::string, std::string> people;  // by run and session
  const auto key_of = [](const log::Leaf& leaf) { return leaf.run + "/" + leaf.session; };
  TRY(reader->for_each(filter, [&](const log::Leaf& leaf) {
    if (leaf.type != "session.started" && !leaf.type.starts_with("turn.")) return true;
    const Json body = Json::parse(leaf.body, nullptr, false);
    if (!body.is_object()) return true;
    if (leaf.type == "session.started") people[key_of(leaf)] = body.value("principal", "");
    const auto who = people.find(key_of(leaf));
    const std::string of = who != people.end() ? who->second : "";
    if (!person.empty() && of != person) return true;
    if (leaf.type == "session.started" && by == "model") return true;
    Sum& sum = sums[by == "agent"     ? leaf.agent
                    : by == "run"     ? leaf.run
                    : by == "session" ? leaf.session
                    : by == "person"  ? of
                                      : body.value("model", "")];
    if (leaf.type == "session.started") {
      ++sum.sessions;
      return true;
    }
    const Json usage = body.value("usage", Json::object());
    sum.turns += leaf.type == "turn.completed" ? 1 : 0;
    sum.input += usage.value("inputTokens", std::int64_t{0});
    sum.cached += usage.value("cachedTokens", std::int64_t{0});
    sum.output += usage.value("outputTokens", std::int64_t{0});
    sum.micros += body.value("costMicros", std::int64_t{0});
    sum.energy_uj += usage.value("energyUj", std::int64_t{0});
    sum.moved_bytes += usage.value("movedBytes", std::int64_t{0});
    return true;
  }));
  Sum total;
  const bool as_json = options.flag("json");
  if (!as_json) {
    print(padded("WHAT", 40) + padded("SESSIONS", 10) + padded("TURNS", 9) + padded("INPUT", 12) +
          padded("CACHED", 12) + padded("OUTPUT", 12) + padded("MOVED", 9) + padded("ENERGY", 9) +
          "COST $\n");
  }
  const auto show = [&](const std::string& name, const Sum& sum) {
    if (as_json) {
      print(Json({{by, name},
                  {"sessions", sum.sessions},
                  {"turns", sum.turns},
                  {"inputTokens", sum.input},
                  {"cachedTokens", sum.cached},
                  {"outputTokens", sum.output},
                  {"movedBytes", sum.moved_bytes},
                  {"energyUj", sum.energy_uj},
                  {"costMicros", sum.micros}})
                .dump() +
            "\n");
      return;
    }
    print(padded(name, 40) + padded(std::to_string(sum.sessions), 10) +
          padded(std::to_string(sum.turns), 9) + padded(std::to_string(sum.input), 12) +
          padded(std::to_string(sum.cached), 12) + padded(std::to_string(sum.output), 12) +
          padded(moved_text(sum.moved_bytes), 9) + padded(taken_text(sum.energy_uj), 9) +
          exact_dollars(sum.micros) + "\n");
  };
  for (const auto& [name, sum] : sums) {
    show(name, sum);
    total.sessions += sum.sessions;
    total.turns += sum.turns;
    total.input += sum.input;
    total.cached += sum.cached;
    total.output += sum.output;
    total.micros += sum.micros;
    total.energy_uj += sum.energy_uj;
    total.moved_bytes += sum.moved_bytes;
  }
  if (!as_json) show("total", total);
  return {};
}

// The record as it grows, one line an event.
Result<void> logs(const Options& options, const Context& context) {
  const std::string folder = TRY(journal_of(options, context));
  const log::Filter filter = TRY(filter_of(options));
  const std::int64_t last = TRY(options.integer("last", 100, 1, 1'000'000'000));
  const bool as_json = options.flag("json");
  const auto reader = TRY(log::LogReader::open(folder));
  const auto line_of = [&](const log::Leaf& leaf) {
    if (as_json) {
      return Json({{"index", leaf.index},
                   {"time", log::time_text(leaf.unix_ns)},
                   {"type", leaf.type},
                   {"run", leaf.run},
                   {"session", leaf.session},
                   {"agent", leaf.agent},
                   {"body", Json::parse(leaf.body, nullptr, false)}})
                 .dump() +
             "\n";
    }
    return log::time_text(leaf.unix_ns).substr(11, 12) + "  " + padded(leaf.session, 20) +
           padded(leaf.agent, 14) + padded(leaf.type, 19) +
           evidence::gist(leaf, evidence::facts_of(leaf)) + "\n";
  };
  std::vector<std::string> lines;
  std::uint64_t next = 0;
  TRY(reader->for_each(filter, [&](const log::Leaf& leaf) {
    next = leaf.index + 1;
    lines.push_back(line_of(leaf));
    if (lines.size() > static_cast<std::size_t>(last) * 2) {
      lines.erase(lines.begin(), lines.end() - last);
    }
    return true;
  }));
  const std::size_t from = lines.size() > static_cast<std::size_t>(last)
                               ? lines.size() - static_cast<std::size_t>(last)
                               : 0;
  for (std::size_t i = from; i < lines.size(); ++i) print(lines[i]);
  while (options.flag("follow")) {
    std::fflush(stdout);
    const timespec pause{0, 200'000'000};
    ::nanosleep(&pause, nullptr);
    const std::uint64_t size = TRY(reader->size());
    for (; next < size; ++next) {
      const log::Leaf leaf = TRY(reader->leaf(next));
      const auto is = [](const std::string& wanted, const std::string& value) {
        return wanted.empty() || wanted == value;
      };
      if (is(filter.run, leaf.run) && is(filter.session, leaf.session) &&
          is(filter.agent, leaf.agent) && is(filter.type, leaf.type)) {
        print(line_of(leaf));
      }
    }
  }
  return {};
}

// The newest run with a session of that name.
Result<std::string> run_of(const log::LogReader& reader, const std::string& session) {
  log::Filter filter;
  filter.session = session;
  filter.type = "session.started";
  std::string run;
  TRY(reader.for_each(filter, [&](const log::Leaf& leaf) {
    run = leaf.run;
    return true;
  }));
  if (run.empty()) {
    return Err(Code::not_found, "there is no session " + session + " in this record");
  }
  return run;
}

Result<void> describe(const Options& options, const Context& context) {
  const std::string folder = TRY(journal_of(options, context));
  const auto reader = TRY(log::LogReader::open(folder));
  const std::string& session = options.positional()[0];
  const std::string run = options.flag("run") ? options.text("run") : TRY(run_of(*reader, session));
  agents::SessionState state;
  Result<void> good;
  std::string policy_set;
  std::string definition;
  std::int64_t first_ns = 0;
  std::int64_t last_ns = 0;
  TRY(reader->read_run(run, [&](const agents::StoredEvent& stored) {
    if (stored.event.session != session) return true;
    if (first_ns == 0) first_ns = stored.unix_ns;
    last_ns = stored.unix_ns;
    const std::string& type = stored.event.type;
    // It says nothing new, and keeps less of the calls than is told here.
    if (type == agents::snapshot_type) return true;
    if (type == "action.decided" || type == "session.started") {
      const Json body = Json::parse(stored.event.body, nullptr, false);
      if (body.is_object()) policy_set = body.value("policySet", policy_set);
      if (body.is_object()) definition = body.value("definition", definition);
    }
    good = agents::apply(state, stored.event);
    return good.has_value();
  }));
  TRY(good);
  if (options.flag("json")) {
    Json out = Json::parse(agents::transcript(state));
    out["run"] = run;
    out["parent"] = state.parent;
    out["policySet"] = policy_set;
    out["definition"] = definition;
    out["compactions"] = state.compactions;
    out["costMicros"] = state.cost_micros;
    if (state.usage.moved_bytes > 0) out["movedBytes"] = state.usage.moved_bytes;
    if (state.usage.energy_uj > 0) out["energyUj"] = state.usage.energy_uj;
    print(out.dump() + "\n");
    return {};
  }
  const agents::CallRecord* waits = state.waits();
  print("session    " + session + "\nrun        " + run + "\nagent      " + state.agent +
        (state.parent.empty() ? "" : "\nparent     " + state.parent) +
        (state.subject.empty() ? "" : "\nsubject    " + state.subject) + "\nstate      " +
        (waits != nullptr ? "waiting for approval " + waits->asked.request
                          : std::string(to_string(state.end))) +
        "\nfrom       " + log::time_text(first_ns) + "\nlast       " + log::time_text(last_ns) +
        "\nturns      " + std::to_string(state.turns) + "\ntokens     " +
        std::to_string(state.usage.input_tokens) + " in, " +
        std::to_string(state.usage.cached_tokens) + " of them cached, " +
        std::to_string(state.usage.output_tokens) + " out\nmoved      " +
        moved_text(state.usage.moved_bytes) + "\nenergy     " + taken_text(state.usage.energy_uj) +
        "\ncost       $" + exact_dollars(state.cost_micros) + "\npolicies   " + policy_set +
        (definition.empty() ? "" : "\nfleet file " + definition) +
        (state.compactions > 0 ? "\nsummaries  " + std::to_string(state.compactions) : "") + "\n");
  if (!state.error.empty()) print("error      " + state.error + "\n");
  if (!state.calls.empty()) print("\ncalls\n");
  for (const agents::CallRecord& call : state.calls) {
    print("  " + padded(call.call.name, 24) + padded(std::string(to_string(call.verdict)), 10) +
          padded(call.outcome ? std::string(to_string(*call.outcome)) : "-", 16) +
          call.call.arguments.substr(0, 60) + "\n");
  }
  if (!state.answer.empty()) print("\nanswer\n  " + state.answer + "\n");
  return {};
}

}  // namespace

std::vector<Command> story_commands() {
  const auto apart = [](Result<void> (*work)(const Options&, const Context&)) {
    return [work](const Options& options, const Context& context) {
      return read_apart([&] { return work(options, context); });
    };
  };
  return {{"cost", "", "what was spent, by agent, run, model, session or person",
           filter_options({{"by", "WHAT", "agent (default), run, model, session, person"},
                           {"json", "", "one JSON object a line"}}),
           0, 0, apart(cost)},
          {"logs", "", "what happens, one line an event",
           filter_options({{"last", "N", "the last N events (default 100)"},
                           {"follow", "", "go on as events come, until Ctrl-C"},
                           {"json", "", "one JSON object a line"}}),
           0, 0, apart(logs)},
          {"describe",
           "SESSION",
           "one session: where it stands, what it did, what it cost",
           {state_option(),
            {"run", "RUN", "of this run (default: the newest)"},
            {"json", "", "as JSON"}},
           1,
           1,
           apart(describe)}};
}

}  // namespace ambit::app
