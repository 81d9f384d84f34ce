#include "console/desk.h"

#include "console/json.h"
#include "io/file.h"
#include "log/writer.h"

#include <algorithm>
#include <array>
#include <filesystem>

namespace ambit::console {

using agents::Event;

Desk::Desk(DeskOptions options, log::VerifierKey key)
    : options_(std::move(options)), key_(std::move(key)) {}

Desk::~Desk() = default;

Result<std::unique_ptr<Desk>> Desk::open(DeskOptions options) {
  const std::string text = TRY(io::read_file(options.folder + "/vkey", 4096));
  auto key = log::VerifierKey::parse(text.substr(0, text.find('\n')));
  if (!key) return Err(std::move(key).error().context(options.folder + "/vkey"));
  std::unique_ptr<Desk> desk(new Desk(std::move(options), std::move(*key)));
  if (desk->has_folder()) {
    desk->opened_ = TRY(log::LogReader::open(desk->options_.folder));
    std::error_code failed;
    desk->was_sealed_ = std::filesystem::exists(desk->options_.folder + "/seal", failed);
  }
  return desk;
}

log::LogReader Desk::reader() const {
  return options_.reader ? options_.reader() : *opened_;
}

Result<std::string> Desk::get(const std::string& what, const http::Query& query,
                              const Person& person) {
  if (!options_.reader && opened_ == nullptr) {
    opened_ = TRY(log::LogReader::open(options_.folder));
  }
  TRY(index_.catch_up(reader(), catch_up_max));
  if (what == "session") return session(person);
  if (what == "runs") return runs(query);
  if (what == "run") return run(query);
  if (what == "records") return records(query);
  if (what == "record") return record(query);
  if (what == "proofs") return proofs(query);
  if (what == "consistency") return consistency(query);
  if (what == "series") return series(query);
  if (what == "names") return names();
  if (what == "live") return live(query);
  if (what == "sample") return sample(query);
  if (what == "reviews") return reviews();
  if (what == "approvals") return approvals();
  return Err(Code::not_found, "there is nothing here");
}

Result<Event> Desk::draft(const std::string& what, const std::string& body, const Person& person) {
  const json said = json::parse(body, nullptr, false);
  if (!said.is_object()) return Err(Code::invalid, "the body must be one JSON object");
  TRY(index_.catch_up(reader(), catch_up_max));
  if (what == "sample") return draft_sample(said, person);
  if (what == "annotation") return draft_annotation(said, person);
  if (what == "sign-off") return draft_sign_off(said, person);
  if (what == "answer") return draft_answer(said, person);
  return Err(Code::not_found, "there is nothing here");
}

Result<std::uint64_t> Desk::append(Event event) {
  // At most one environment of a folder in a process: the reader makes room for the writer.
  opened_.reset();
  const auto written = [&]() -> Result<std::uint64_t> {
    auto writer = TRY(log::LogWriter::open({options_.folder, ""}, options_.random));
    const log::Prepared prepared = TRY(log::prepare(std::move(event), options_.unix_ns(), [this] {
      std::array<std::uint8_t, 32> salt{};
      options_.random(salt);
      return std::string(reinterpret_cast<const char*>(salt.data()), salt.size());
    }));
    auto indexes = TRY(writer->append({prepared}));
    has_written_ = true;
    return std::move(indexes.front());
  }();
  auto again = log::LogReader::open(options_.folder);
  if (!again) return Err(std::move(again).error());
  opened_ = std::move(*again);
  if (!written && written.error().code == Code::conflict) {
    return Err(Code::conflict,
               "a running fleet writes this record, and so nobody else can: review it on that "
               "fleet's own console (ambit serve --console), or when it has ended");
  }
  return written;
}

Result<void> Desk::close() {
  opened_.reset();
  if (!was_sealed_ || !has_written_) return {};
  auto writer = TRY(log::LogWriter::open({options_.folder, ""}, options_.random));
  return writer->seal();
}

Result<Query> Desk::query_of(const http::Query& query) const {
  Query made;
  log::Filter& filter = made.filter;
  filter.run = parameter(query, "run");
  filter.session = parameter(query, "session");
  filter.agent = parameter(query, "agent");
  filter.type = parameter(query, "type");
  filter.verdict = parameter(query, "verdict");
  filter.tool = parameter(query, "tool");
  filter.person = parameter(query, "person");
  filter.policy = parameter(query, "policy");
  filter.text = parameter(query, "text");
  made.group = parameter(query, "group");
  const std::string from = parameter(query, "from");
  const std::string until = parameter(query, "until");
  if (!from.empty()) filter.from_unix_ns = TRY(log::parse_time(from));
  if (!until.empty()) filter.until_unix_ns = TRY(log::parse_time(until));
  if (filter.text.size() > 1000) return Err(Code::invalid, "the text to find is too long");
  return made;
}

Result<const Matches*> Desk::find(const Query& query) {
  return index_.find(query, reader(), bodies_max);
}

Result<std::string> Desk::session(const Person& person) {
  const std::uint64_t size = TRY(reader().size());
  const std::string note = size == 0 ? "" : TRY(reader().consistency(0)).note;
  return text_of(json{{"person", person.name},
                      {"role", to_string(person.role)},
                      {"origin", key_.name},
                      {"vkey", key_.text()},
                      {"records", size},
                      {"first", index_.first()},
                      {"indexed", index_.end()},
                      {"checkpoint", note},
                      {"approvals", !options_.approvals.empty()}});
}

namespace {

json totals_json(const Totals& totals) {
  return {{"records", totals.records},
          {"turns", totals.turns},
          {"calls", totals.calls},
          {"allowed", totals.allowed},
          {"denied", totals.denied},
          {"escalated", totals.escalated},
          {"inputTokens", totals.input_tokens},
          {"cachedTokens", totals.cached_tokens},
          {"outputTokens", totals.output_tokens},
          {"costMicros", totals.cost_micros},
          {"energyUj", totals.energy_uj},
          {"movedBytes", totals.moved_bytes},
          {"firstMs", totals.first_ns / ms_ns},
          {"lastMs", totals.last_ns / ms_ns},
          {"firstIndex", totals.first_index},
          {"lastIndex", totals.last_index}};
}

void add(Totals& sum, const Totals& more) {
  const bool is_first = sum.records == 0;
  sum.first_ns = is_first ? more.first_ns : std::min(sum.first_ns, more.first_ns);
  sum.first_index = is_first ? more.first_index : std::min(sum.first_index, more.first_index);
  sum.last_ns = std::max(sum.last_ns, more.last_ns);
  sum.last_index = std::max(sum.last_index, more.last_index);
  sum.records += more.records;
  sum.turns += more.turns;
  sum.calls += more.calls;
  sum.allowed += more.allowed;
  sum.denied += more.denied;
  sum.escalated += more.escalated;
  sum.input_tokens += more.input_tokens;
  sum.cached_tokens += more.cached_tokens;
  sum.output_tokens += more.output_tokens;
  sum.cost_micros += more.cost_micros;
  sum.energy_uj += more.energy_uj;
  sum.moved_bytes += more.moved_bytes;
}

// What each agent's sessions come to.
json by_agent_json(const RunSummary& run, const Names& names) {
  std::map<std::string, std::pair<std::size_t, Totals>> agents;
  for (const SessionSummary& session : run.sessions) {
    auto& [sessions, totals] = agents[names.text(session.agent)];
    ++sessions;
    add(totals, session.totals);
  }
  json list = json::array();
  for (const auto& [name, sum] : agents) {
    list.push_back({{"agent", name}, {"sessions", sum.first}, {"totals", totals_json(sum.second)}});
  }
  return list;
}

json run_json(const RunSummary& run, const Names& names) {
  json out = {{"run", names.text(run.run)},      {"person", names.text(run.person)},
              {"fleet", names.text(run.fleet)},  {"ended", run.ended},
              {"sessions", run.sessions.size()}, {"totals", totals_json(run.totals)}};
  std::map<std::string, int> states;
  std::map<std::string, int> agents;
  for (const SessionSummary& session : run.sessions) {
    const std::string& state = names.text(session.state);
    ++states[state.empty() ? "running" : state];
    ++agents[names.text(session.agent)];
  }
  out["states"] = states;
  out["agents"] = agents;
  return out;
}

}  // namespace

Result<std::string> Desk::runs(const http::Query& query) {
  const std::size_t offset = TRY(number(query, "offset", 0, page_max_offset));
  const std::size_t limit = TRY(number(query, "limit", 50, page_max));
  const auto& all = index_.runs();
  json list = json::array();
  // The newest first.
  for (std::size_t i = offset; i < std::min(all.size(), offset + limit); ++i) {
    list.push_back(run_json(all[all.size() - 1 - i], index_.names()));
  }
  return text_of(json{{"total", all.size()}, {"runs", std::move(list)}});
}

Result<std::string> Desk::run(const http::Query& query) {
  const std::string name = parameter(query, "run");
  const RunSummary* run = index_.run(name);
  if (run == nullptr) return Err(Code::not_found, "there is no run " + name);
  const Names& names = index_.names();
  json out = run_json(*run, names);
  json sessions = json::array();
  for (const SessionSummary& session : run->sessions) {
    if (sessions.size() == sessions_max) break;
    sessions.push_back({{"session", names.text(session.session)},
                        {"agent", names.text(session.agent)},
                        {"parent", names.text(session.parent)},
                        {"state", names.text(session.state)},
                        {"totals", totals_json(session.totals)}});
  }
  out["list"] = std::move(sessions);
  out["byAgent"] = by_agent_json(*run, names);
  return text_of(out);
}

Result<std::string> Desk::names() const {
  // What can be chosen in the filters: the most frequent first.
  struct Column {
    const char* name;
    std::uint32_t Row::* member;
  };
  const Column columns[] = {{"agents", &Row::agent},
                            {"types", &Row::type},
                            {"verdicts", &Row::verdict},
                            {"tools", &Row::tool},
                            {"people", &Row::person}};
  json out = json::object();
  for (const Column& column : columns) {
    std::unordered_map<std::uint32_t, std::uint64_t> counts;
    for (std::uint64_t at = index_.first(); at < index_.end(); ++at) {
      const std::uint32_t value = index_.row(at).*column.member;
      if (value != 0) ++counts[value];
    }
    std::vector<std::pair<std::uint64_t, std::uint32_t>> sorted;
    for (const auto& [value, count] : counts) sorted.emplace_back(count, value);
    std::sort(sorted.rbegin(), sorted.rend());
    json list = json::array();
    for (const auto& [count, value] : sorted) {
      if (list.size() == names_max) break;
      list.push_back(index_.names().text(value));
    }
    out[column.name] = std::move(list);
  }
  json policies = json::array();
  std::vector<std::string> seen;
  for (std::uint64_t at = index_.first(); at < index_.end() && seen.size() < names_max; ++at) {
    const std::string& list = index_.names().text(index_.row(at).policies);
    for (std::size_t begin = 1; begin < list.size();) {
      const std::size_t end = list.find('\n', begin);
      std::string one = list.substr(begin, end - begin);
      if (std::find(seen.begin(), seen.end(), one) == seen.end()) seen.push_back(std::move(one));
      begin = end + 1;
    }
  }
  out["policies"] = seen;
  return text_of(out);
}

Result<std::string> Desk::series(const http::Query& query) {
  const Query wanted = TRY(query_of(query));
  const std::size_t buckets = TRY(number(query, "buckets", 60, 400));
  const Matches& matches = *TRY(find(wanted));
  json list = json::array();
  if (matches.indexes.empty() || buckets == 0) {
    return text_of(json{{"fromMs", 0}, {"stepMs", 0}, {"buckets", std::move(list)}});
  }
  const std::int64_t from = index_.row(matches.indexes.front()).unix_ns / ms_ns;
  std::int64_t until = from;
  for (const std::uint64_t at : matches.indexes) {
    until = std::max(until, index_.row(at).unix_ns / ms_ns);
  }
  const auto count = static_cast<std::int64_t>(buckets);
  const std::int64_t step = std::max<std::int64_t>(1, (until - from) / count + 1);
  std::vector<Totals> sums(buckets);
  for (const std::uint64_t at : matches.indexes) {
    const Row& row = index_.row(at);
    const std::int64_t place = std::max<std::int64_t>(0, (row.unix_ns / ms_ns - from) / step);
    index_.count(sums[static_cast<std::size_t>(std::min(place, count - 1))], row, at);
  }
  for (const Totals& sum : sums) list.push_back(totals_json(sum));
  return text_of(json{{"fromMs", from}, {"stepMs", step}, {"buckets", std::move(list)}});
}

}  // namespace ambit::console
