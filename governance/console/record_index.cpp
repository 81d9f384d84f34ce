#include "console/record_index.h"

#include <algorithm>
#include <limits>

namespace ambit::console {
namespace {

constexpr std::size_t queries_max = 16;
constexpr std::size_t reviews_max = 100'000;

std::uint64_t hash_of(std::string_view text) {
  std::uint64_t hash = 0xCBF29CE484222325ULL;
  for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001B3ULL;
  return text.empty() ? 0 : hash;
}

std::uint32_t tokens(std::int64_t count) {
  return static_cast<std::uint32_t>(
      std::clamp<std::int64_t>(count, 0, std::numeric_limits<std::uint32_t>::max()));
}

std::string key_of(const Query& query) {
  const log::Filter& filter = query.filter;
  std::string key;
  for (const std::string* part :
       {&query.group, &filter.run, &filter.session, &filter.agent, &filter.type, &filter.verdict,
        &filter.tool, &filter.person, &filter.policy, &filter.text}) {
    key += std::to_string(part->size()) + ":" + *part;
  }
  key += filter.from_unix_ns ? std::to_string(*filter.from_unix_ns) : "-";
  key += filter.until_unix_ns ? "," + std::to_string(*filter.until_unix_ns) : ",-";
  return key;
}

}  // namespace

Names::Names() {
  number_of("");
}

std::uint32_t Names::number_of(std::string_view name) {
  const auto at = numbers_.find(name);
  if (at != numbers_.end()) return at->second;
  const auto number = static_cast<std::uint32_t>(texts_.size());
  const auto made = numbers_.emplace(std::string(name), number).first;
  texts_.push_back(&made->first);
  return number;
}

std::uint32_t Names::find(std::string_view name) const {
  const auto at = numbers_.find(name);
  return at == numbers_.end() ? 0 : at->second;
}

void RecordIndex::count(Totals& totals, const Row& row, std::uint64_t index) const {
  if (totals.records++ == 0) {
    totals.first_ns = row.unix_ns;
    totals.first_index = index;
  }
  totals.last_ns = row.unix_ns;
  totals.last_index = index;
  const std::string& type = names_.text(row.type);
  if (type == "turn.completed" || type == "turn.failed") {
    totals.turns += type == "turn.completed" ? 1 : 0;
    totals.input_tokens += row.input_tokens;
    totals.cached_tokens += row.cached_tokens;
    totals.output_tokens += row.output_tokens;
    totals.cost_micros += row.cost_micros;
    totals.energy_uj += row.energy_uj;
    totals.moved_bytes += row.moved_bytes;
  } else if (type.ends_with(".decided")) {
    if (names_.text(row.kind) == "tool_call") ++totals.calls;
    const std::string& verdict = names_.text(row.verdict);
    totals.allowed += verdict == "allow" ? 1 : 0;
    totals.denied += verdict == "deny" ? 1 : 0;
    totals.escalated += verdict == "escalate" ? 1 : 0;
  }
}

void RecordIndex::add(const log::Leaf& leaf) {
  const evidence::Facts facts = evidence::facts_of(leaf);
  Row row;
  row.unix_ns = leaf.unix_ns;
  row.action = hash_of(facts.action);
  row.cost_micros = facts.cost_micros;
  row.energy_uj = facts.energy_uj;
  row.moved_bytes = facts.moved_bytes;
  row.run = names_.number_of(leaf.run);
  row.session = names_.number_of(leaf.session);
  row.agent = names_.number_of(leaf.agent);
  row.type = names_.number_of(leaf.type);
  row.verdict = names_.number_of(facts.verdict);
  row.outcome = names_.number_of(facts.outcome);
  row.tool = names_.number_of(facts.tool);
  row.person = names_.number_of(facts.person.empty() ? facts.by : facts.person);
  row.kind = names_.number_of(facts.kind);
  std::string policies;
  for (const std::string& policy : facts.policies) policies += "\n" + policy;
  row.policies = names_.number_of(policies.empty() ? policies : policies + "\n");
  row.input_tokens = tokens(facts.input_tokens);
  row.cached_tokens = tokens(facts.cached_tokens);
  row.output_tokens = tokens(facts.output_tokens);
  rows_.push_back(row);

  if (leaf.type.starts_with("review.") && reviews_.size() < reviews_max) {
    reviews_.push_back(leaf.index);
  }
  // What belongs to no run (reviews, erasures) is no run either.
  if (leaf.run.empty() || leaf.type.starts_with("review.")) return;
  const auto [at, is_new] = run_places_.try_emplace(row.run, runs_.size());
  if (is_new) {
    runs_.emplace_back();
    runs_.back().run = row.run;
  }
  RunSummary& run = runs_[at->second];
  count(run.totals, row, leaf.index);
  if (leaf.session.empty()) {
    if (row.person != 0) run.person = row.person;
    if (!facts.fleet.empty()) run.fleet = names_.number_of(facts.fleet);
    if (leaf.type == "run.ended") run.ended = true;
    if (leaf.type == "run.resumed") run.ended = false;
    return;
  }
  if (run.person == 0) run.person = row.person;
  const std::uint64_t chain = (std::uint64_t{row.run} << 32) | row.session;
  const auto [place, first] = session_places_.try_emplace(chain, run.sessions.size());
  if (first) {
    run.sessions.emplace_back();
    run.sessions.back().session = row.session;
  }
  SessionSummary& session = run.sessions[place->second];
  count(session.totals, row, leaf.index);
  if (row.agent != 0) session.agent = row.agent;
  if (leaf.type == "session.started") session.parent = names_.number_of(facts.parent);
  if (leaf.type == "session.ended") session.state = names_.number_of(facts.state);
}

Result<void> RecordIndex::catch_up(const log::LogReader& reader, std::size_t records_max) {
  const std::uint64_t size = TRY(reader.size());
  if (rows_.empty()) {
    first_ = size > rows_max ? size - rows_max : 0;
  } else if (size < end() || rows_.size() >= rows_max + rows_max / 4) {
    // Another log than before, or much more of it than is held: from the start, or from its end.
    *this = RecordIndex();
    first_ = size > rows_max ? size - rows_max : 0;
  }
  return reader.read_range(end(), records_max, [this](const log::Leaf& leaf) { add(leaf); });
}

// The names of a query as numbers; one that was never said fits nothing.
struct RecordIndex::Wanted {
  std::uint32_t run = 0;
  std::uint32_t session = 0;
  std::uint32_t agent = 0;
  std::uint32_t type = 0;
  std::uint32_t verdict = 0;
  std::uint32_t tool = 0;
  std::uint32_t person = 0;
  std::string policy;
  std::string group;
  std::int64_t from = std::numeric_limits<std::int64_t>::min();
  std::int64_t until = std::numeric_limits<std::int64_t>::max();
  bool nothing = false;
};

RecordIndex::Wanted RecordIndex::wanted_of(const Query& query) const {
  Wanted wanted;
  const auto name = [&](const std::string& text, std::uint32_t& number) {
    number = names_.find(text);
    if (!text.empty() && number == 0) wanted.nothing = true;
  };
  name(query.filter.run, wanted.run);
  name(query.filter.session, wanted.session);
  name(query.filter.agent, wanted.agent);
  name(query.filter.type, wanted.type);
  name(query.filter.verdict, wanted.verdict);
  name(query.filter.tool, wanted.tool);
  name(query.filter.person, wanted.person);
  if (!query.filter.policy.empty()) wanted.policy = "\n" + query.filter.policy + "\n";
  wanted.group = query.group;
  if (query.filter.from_unix_ns) wanted.from = *query.filter.from_unix_ns;
  if (query.filter.until_unix_ns) wanted.until = *query.filter.until_unix_ns;
  return wanted;
}

bool RecordIndex::fits(const Wanted& wanted, const Row& row) const {
  const auto same = [](std::uint32_t wish, std::uint32_t found) {
    return wish == 0 || wish == found;
  };
  if (wanted.nothing || !same(wanted.run, row.run) || !same(wanted.session, row.session) ||
      !same(wanted.agent, row.agent) || !same(wanted.type, row.type) ||
      !same(wanted.verdict, row.verdict) || !same(wanted.tool, row.tool) ||
      !same(wanted.person, row.person) || row.unix_ns < wanted.from ||
      row.unix_ns >= wanted.until) {
    return false;
  }
  if (!wanted.policy.empty() &&
      names_.text(row.policies).find(wanted.policy) == std::string::npos) {
    return false;
  }
  if (wanted.group.empty()) return true;
  const std::string& type = names_.text(row.type);
  if (wanted.group == "decisions") return type.ends_with(".decided");
  if (wanted.group == "refused") return row.verdict != 0 && names_.text(row.verdict) != "allow";
  if (wanted.group == "calls") {
    return (type.ends_with(".decided") && names_.text(row.kind) != "model_call") ||
           type.ends_with(".outcome");
  }
  if (wanted.group == "turns") return type.starts_with("turn.");
  if (wanted.group == "reviews") return type.starts_with("review.");
  if (wanted.group == "sessions") return type.starts_with("session.") || type.starts_with("run.");
  return false;
}

Result<const Matches*> RecordIndex::find(const Query& query, const log::LogReader& reader,
                                         std::size_t bodies_max) {
  std::string key = key_of(query);
  auto at = std::find_if(cache_.begin(), cache_.end(),
                         [&key](const Cached& each) { return each.key == key; });
  if (at == cache_.end()) {
    cache_.push_front({std::move(key), {{}, first_, false}});
    if (cache_.size() > queries_max) cache_.pop_back();
  } else {
    cache_.splice(cache_.begin(), cache_, at);
  }
  Matches& matches = cache_.front().matches;
  const Wanted wanted = wanted_of(query);
  const std::string& text = query.filter.text;
  std::vector<std::uint64_t> candidates;
  for (; matches.scanned < end(); ++matches.scanned) {
    if (!fits(wanted, row(matches.scanned))) continue;
    if (text.empty()) {
      matches.indexes.push_back(matches.scanned);
      continue;
    }
    if (candidates.size() == bodies_max) break;
    candidates.push_back(matches.scanned);
  }
  if (!candidates.empty()) {
    TRY(reader.keep_with_text(text, candidates));
    matches.indexes.insert(matches.indexes.end(), candidates.begin(), candidates.end());
  }
  matches.complete = matches.scanned == end();
  return &matches;
}

const RunSummary* RecordIndex::run(std::string_view name) const {
  const auto at = run_places_.find(names_.find(name));
  return at == run_places_.end() || name.empty() ? nullptr : &runs_[at->second];
}

std::vector<std::uint64_t> RecordIndex::of_action(std::uint64_t index) const {
  std::vector<std::uint64_t> found;
  const Row& one = row(index);
  if (one.action == 0) return found;
  // What belongs to one action lies close together: the session waits for its end.
  constexpr std::uint64_t reach = 200'000;
  const std::uint64_t from = std::max(first_, index > reach ? index - reach : 0);
  for (std::uint64_t at = from; at < std::min(end(), index + reach) && found.size() < 64; ++at) {
    const Row& other = row(at);
    if (other.action == one.action && other.run == one.run) found.push_back(at);
  }
  return found;
}

}  // namespace ambit::console
