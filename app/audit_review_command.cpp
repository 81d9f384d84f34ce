// ambit audit timeline | tree | stats: a run as people review it.

#include "app/audit_options.h"
#include "app/energy.h"
#include "evidence/facts.h"

#include <algorithm>
#include <map>

namespace ambit::app {
namespace {

using evidence::Facts;

std::string seconds_text(std::int64_t ns) {
  char text[48];
  std::snprintf(text, sizeof text, "%+.3f s", static_cast<double>(ns) / 1e9);
  return text;
}

// One session after another, each record with its time since the session began.
Result<void> timeline(const Options& options, const Context& context) {
  const std::string folder = TRY(journal_of(options, context));
  const auto reader = TRY(log::LogReader::open(folder));
  const log::Filter filter = TRY(filter_of(options));
  // Only places are kept, so that a long run needs no memory for its records.
  std::map<std::string, std::vector<std::uint64_t>> sessions;
  TRY(reader->for_each(filter, [&sessions](const log::Leaf& leaf) {
    sessions[leaf.run + '\n' + leaf.session].push_back(leaf.index);
    return true;
  }));
  for (const auto& [key, indexes] : sessions) {
    std::int64_t start = 0;
    for (const std::uint64_t index : indexes) {
      const log::Leaf leaf = TRY(reader->leaf(index));
      if (index == indexes.front()) {
        start = leaf.unix_ns;
        print("\nrun " + leaf.run + (leaf.session.empty() ? "" : ", session " + leaf.session) +
              (leaf.agent.empty() ? "" : ", agent " + leaf.agent) + ", from " +
              log::time_text(start).substr(0, 23) + "Z\n");
      }
      print("  " + padded(std::to_string(leaf.index), 8) +
            padded(seconds_text(leaf.unix_ns - start), 14) + padded(leaf.type, 17) +
            evidence::gist(leaf, evidence::facts_of(leaf)) + "\n");
    }
  }
  if (sessions.empty()) return Err(Code::not_found, "no record fits");
  return {};
}

struct Node {
  std::string agent;
  std::string state = "running";
  std::string parent;
  std::int64_t turns = 0;
  std::int64_t calls = 0;
  std::int64_t refused = 0;
  std::vector<std::string> children;
};
using Nodes = std::map<std::string, Node>;

void print_node(const Nodes& nodes, const std::string& id, const std::string& indent, int depth) {
  const auto at = nodes.find(id);
  if (at == nodes.end() || depth > 32) return;
  const Node& node = at->second;
  print(indent + id + "  " + node.agent + "  " + node.state + ", " + std::to_string(node.turns) +
        " turns, " + std::to_string(node.calls) + " calls" +
        (node.refused > 0 ? ", " + std::to_string(node.refused) + " not allowed" : "") + "\n");
  for (const std::string& child : node.children) print_node(nodes, child, indent + "  ", depth + 1);
}

// Runs, the sessions in them, and the sessions that those delegated to.
Result<void> tree(const Options& options, const Context& context) {
  const std::string folder = TRY(journal_of(options, context));
  const auto reader = TRY(log::LogReader::open(folder));
  const log::Filter filter = TRY(filter_of(options));
  std::map<std::string, Nodes> runs;
  std::map<std::string, std::string> people;
  TRY(reader->for_each(filter, [&](const log::Leaf& leaf) {
    // Policies, reviews and erasures belong to no run.
    if (leaf.run.empty() || leaf.type.starts_with("review.")) return true;
    const Facts facts = evidence::facts_of(leaf);
    if (leaf.session.empty()) {
      runs[leaf.run];
      if (!facts.person.empty()) people[leaf.run] = facts.person;
      return true;
    }
    Node& node = runs[leaf.run][leaf.session];
    if (!leaf.agent.empty()) node.agent = leaf.agent;
    if (leaf.type == "session.started") node.parent = facts.parent;
    if (leaf.type == "session.ended") node.state = facts.state;
    node.turns += leaf.type == "turn.completed" ? 1 : 0;
    const bool call = leaf.type == "action.decided" && facts.kind == "tool_call";
    node.calls += call ? 1 : 0;
    node.refused += call && facts.verdict != "allow" ? 1 : 0;
    return true;
  }));
  if (runs.empty()) return Err(Code::not_found, "no record fits");
  for (auto& [run, nodes] : runs) {
    print("run " + (run.empty() ? "(none)" : run) +
          (people.contains(run) ? ", for " + people[run] : "") + "\n");
    for (auto& [id, node] : nodes) {
      const auto parent = nodes.find(node.parent);
      if (parent != nodes.end()) parent->second.children.push_back(id);
    }
    for (const auto& [id, node] : nodes) {
      if (!nodes.contains(node.parent)) print_node(nodes, id, "  ", 0);
    }
  }
  return {};
}

struct Sums {
  std::uint64_t records = 0;
  std::map<std::string, std::uint64_t> types;
  std::map<std::string, std::uint64_t> verdicts;
  std::map<std::string, std::uint64_t> outcomes;
  std::map<std::string, std::uint64_t> states;
  std::map<std::string, std::uint64_t> tools;
  std::map<std::string, std::uint64_t> denials;  // by policy
  std::int64_t input = 0;
  std::int64_t cached = 0;
  std::int64_t output = 0;
  std::int64_t forced = 0;
  std::int64_t decode_us = 0;
  std::int64_t energy_uj = 0;
  std::int64_t moved_bytes = 0;
  std::int64_t first_ns = 0;
  std::int64_t last_ns = 0;
};

void add(Sums& sums, const log::Leaf& leaf) {
  const Facts facts = evidence::facts_of(leaf);
  if (sums.records++ == 0) sums.first_ns = leaf.unix_ns;
  sums.last_ns = leaf.unix_ns;
  ++sums.types[leaf.type];
  if (!facts.verdict.empty()) ++sums.verdicts[facts.verdict];
  if (!facts.outcome.empty()) ++sums.outcomes[facts.outcome];
  if (leaf.type == "session.ended") {
    ++sums.states[facts.state];
  }
  if (leaf.type == "action.decided" && facts.kind == "tool_call") ++sums.tools[facts.tool];
  if (facts.verdict == "deny" || facts.verdict == "escalate") {
    for (const std::string& policy : facts.policies) ++sums.denials[policy];
    if (facts.policies.empty()) ++sums.denials["(no policy allows it)"];
  }
  if (leaf.type != "turn.completed" && leaf.type != "turn.failed") return;
  sums.input += facts.input_tokens;
  sums.cached += facts.cached_tokens;
  sums.output += facts.output_tokens;
  sums.forced += facts.forced_tokens;
  sums.decode_us += facts.decode_us;
  sums.energy_uj += facts.energy_uj;
  sums.moved_bytes += facts.moved_bytes;
}

std::string counts_json(const std::map<std::string, std::uint64_t>& counts) {
  std::string out = "{";
  for (const auto& [name, count] : counts) {
    out += (out.size() > 1 ? "," : "") + json_text(name) + ":" + std::to_string(count);
  }
  return out + "}";
}

void print_counts(const std::string& title, const std::map<std::string, std::uint64_t>& counts) {
  if (counts.empty()) return;
  std::vector<std::pair<std::string, std::uint64_t>> sorted(counts.begin(), counts.end());
  std::sort(sorted.begin(), sorted.end(), [](const auto& a, const auto& b) {
    return a.second != b.second ? a.second > b.second : a.first < b.first;
  });
  print(title + "\n");
  for (const auto& [name, count] : sorted)
    print("  " + padded(name, 32) + std::to_string(count) + "\n");
}

Result<void> stats(const Options& options, const Context& context) {
  const std::string folder = TRY(journal_of(options, context));
  const auto reader = TRY(log::LogReader::open(folder));
  const log::Filter filter = TRY(filter_of(options));
  Sums sums;
  TRY(reader->for_each(filter, [&sums](const log::Leaf& leaf) {
    add(sums, leaf);
    return true;
  }));
  const std::string tokens =
      "{\"input\":" + std::to_string(sums.input) + ",\"cached\":" + std::to_string(sums.cached) +
      ",\"output\":" + std::to_string(sums.output) + ",\"forced\":" + std::to_string(sums.forced) +
      ",\"decodeUs\":" + std::to_string(sums.decode_us) + "}";
  const std::string taken = ",\"movedBytes\":" + std::to_string(sums.moved_bytes) +
                            ",\"energyUj\":" + std::to_string(sums.energy_uj);
  if (options.flag("json")) {
    print("{\"records\":" + std::to_string(sums.records) + ",\"types\":" + counts_json(sums.types) +
          ",\"verdicts\":" + counts_json(sums.verdicts) +
          ",\"outcomes\":" + counts_json(sums.outcomes) +
          ",\"sessions\":" + counts_json(sums.states) + ",\"tools\":" + counts_json(sums.tools) +
          ",\"notAllowedBy\":" + counts_json(sums.denials) + ",\"tokens\":" + tokens + taken +
          "}\n");
    return {};
  }
  print(std::to_string(sums.records) + " records");
  if (sums.records > 0) {
    print(" from " + log::time_text(sums.first_ns).substr(0, 19) + "Z to " +
          log::time_text(sums.last_ns).substr(0, 19) + "Z");
  }
  print("\n");
  print_counts("Records", sums.types);
  print_counts("Decisions", sums.verdicts);
  print_counts("Not allowed, by policy", sums.denials);
  print_counts("Tools", sums.tools);
  print_counts("Outcomes", sums.outcomes);
  print_counts("Sessions that ended", sums.states);
  print("Tokens\n  " + padded("read", 32) + std::to_string(sums.input - sums.cached) + "\n  " +
        padded("found in the cache", 32) + std::to_string(sums.cached) + "\n  " +
        padded("decoded", 32) + std::to_string(sums.output) + "\n  " +
        padded("of these, forced by the grammar", 32) + std::to_string(sums.forced) + "\n");
  if (sums.moved_bytes > 0)
    print("Moved by our own models\n  " + padded("weights, keys and values", 32) +
          bytes_text(static_cast<double>(sums.moved_bytes)) + "\n");
  if (sums.energy_uj > 0)
    print("Energy of our own models\n  " + padded("turns", 32) +
          energy_text(static_cast<double>(sums.energy_uj) * 1e-6) + "\n  " +
          padded("per token decoded", 32) +
          energy_text(static_cast<double>(sums.energy_uj) * 1e-6 /
                      static_cast<double>(std::max<std::int64_t>(sums.output, 1))) +
          "\n");
  return {};
}

Command command(const char* name, const char* summary, std::vector<OptionSpec> options,
                Result<void> (*body)(const Options&, const Context&)) {
  return {name,
          "",
          summary,
          std::move(options),
          0,
          0,
          [body](const Options& given, const Context& context) {
            return read_apart([&] { return body(given, context); });
          }};
}

}  // namespace

Command audit_timeline_command() {
  return command("audit timeline", "show each session's records with the time since it began",
                 filter_options({}), timeline);
}

Command audit_tree_command() {
  return command("audit tree", "show runs, their sessions and who delegated to whom",
                 filter_options({}), tree);
}

Command audit_stats_command() {
  return command("audit stats", "count decisions, outcomes, tools, policies and tokens",
                 filter_options({{"json", "", "print the result as JSON"}}), stats);
}

}  // namespace ambit::app
