// What the desk says about records: lists, one record with everything about it, proofs.

#include "agents/fact.h"
#include "console/desk.h"
#include "console/json.h"
#include "evidence/facts.h"
#include "io/file.h"
#include "log/canonical_json.h"
#include "log/merkle.h"

#include <algorithm>

namespace ambit::console {
namespace {

constexpr std::size_t guards_max = 8;
constexpr std::size_t policy_bytes_max = std::size_t{4} << 20;
constexpr std::size_t proofs_max = 256;
constexpr std::size_t gist_bytes_max = 400;

// What a list shows of a record.
json row_json(const log::Leaf& leaf) {
  const evidence::Facts facts = evidence::facts_of(leaf);
  std::string gist = evidence::gist(leaf, facts);
  if (gist.size() > gist_bytes_max) gist.resize(gist_bytes_max);
  json out = {{"index", leaf.index}, {"ms", leaf.unix_ns / ms_ns}, {"type", leaf.type},
              {"run", leaf.run},     {"session", leaf.session},    {"agent", leaf.agent},
              {"gist", gist}};
  const auto add = [&out](const char* name, const std::string& value) {
    if (!value.empty()) out[name] = value;
  };
  add("kind", facts.kind);
  add("tool", facts.tool);
  add("verdict", facts.verdict);
  add("outcome", facts.outcome);
  add("reason", facts.reason);
  add("state", facts.state);
  add("person", facts.person);
  if (facts.tainted) out["tainted"] = true;
  if (facts.duration_us > 0) out["us"] = facts.duration_us;
  if (leaf.type == "turn.completed" || leaf.type == "turn.failed") {
    out["us"] = facts.queue_us + facts.prefill_us + facts.decode_us;
    out["outputTokens"] = facts.output_tokens;
    out["inputTokens"] = facts.input_tokens;
    out["cachedTokens"] = facts.cached_tokens;
  }
  return out;
}

json hashes_json(const std::vector<log::Hash>& hashes) {
  json list = json::array();
  for (const log::Hash& hash : hashes) list.push_back(log::to_base64(log::bytes_of(hash)));
  return list;
}

json payload_json(const agents::Payload& payload, const std::string& salt) {
  json out = {{"name", payload.name}, {"size", payload.bytes.size()}, {"salt", log::to_hex(salt)}};
  std::string quoted;
  if (payload.bytes.size() > payload_bytes_max) {
    out["withheld"] = "it is longer than 4 MiB; read it with: ambit audit show";
  } else if (log::append_quoted(payload.bytes, quoted)) {
    out["text"] = payload.bytes;
  } else {
    out["base64"] = log::to_base64(payload.bytes);
  }
  return out;
}

agents::Event event_of(const log::ProvenRecord& record) {
  const log::Leaf& leaf = record.leaf;
  return {leaf.type, leaf.run, leaf.session, leaf.agent, leaf.body, record.payloads};
}

// A run's first record holds the texts of its policies, each as a payload "policy NAME".
std::vector<governance::PolicySource> sources_of(const std::vector<agents::Payload>& payloads) {
  constexpr std::string_view prefix = "policy ";
  std::vector<governance::PolicySource> sources;
  for (const agents::Payload& payload : payloads) {
    if (!payload.name.starts_with(prefix)) continue;
    sources.push_back({payload.name.substr(prefix.size()), payload.bytes});
  }
  return sources;
}

}  // namespace

Result<std::string> Desk::records(const http::Query& query) {
  const Query wanted = TRY(query_of(query));
  const std::size_t offset = TRY(number(query, "offset", 0, page_max_offset));
  const std::size_t limit = TRY(number(query, "limit", 100, page_max));
  const bool newest_first = parameter(query, "order") == "newest";
  const Matches& matches = *TRY(find(wanted));
  const std::size_t total = matches.indexes.size();
  json rows = json::array();
  const log::LogReader reader = this->reader();
  for (std::size_t i = offset; i < std::min(total, offset + limit); ++i) {
    const std::uint64_t index = matches.indexes[newest_first ? total - 1 - i : i];
    rows.push_back(row_json(TRY(reader.leaf(index))));
  }
  return text_of(json{{"total", total},
                      {"complete", matches.complete},
                      {"scanned", matches.scanned - index_.first()},
                      {"of", index_.end() - index_.first()},
                      {"rows", std::move(rows)}});
}

Result<std::string> Desk::record(const http::Query& query) {
  const std::size_t index = TRY(number(query, "index", 0, page_max_offset * 100));
  const log::LogReader reader = this->reader();
  const log::ProvenRecord record = TRY(reader.get(index));
  json out = row_json(record.leaf);
  out["leaf"] = record.bytes;
  out["hash"] = log::to_hex(record.hash);
  out["checkpoint"] = record.note;
  out["proof"] = hashes_json(record.proof);
  json payloads = json::array();
  for (std::size_t i = 0; i < record.payloads.size(); ++i) {
    payloads.push_back(payload_json(record.payloads[i], record.salts[i]));
  }
  out["payloads"] = std::move(payloads);
  out["erased"] = record.erased;
  out["expired"] = record.expired;
  if (index_.holds(index)) {
    json links = json::array();
    for (const std::uint64_t other : index_.of_action(index)) {
      if (other != index) links.push_back(row_json(TRY(reader.leaf(other))));
    }
    out["links"] = std::move(links);
  }
  if (record.leaf.type == "action.decided") explain(record, out);
  return text_of(out);
}

Result<std::string> Desk::proofs(const http::Query& query) {
  const Query wanted = TRY(query_of(query));
  const std::size_t offset = TRY(number(query, "offset", 0, page_max_offset));
  const std::size_t limit = TRY(number(query, "limit", proofs_max, proofs_max));
  const Matches& matches = *TRY(find(wanted));
  const std::size_t total = matches.indexes.size();
  const auto begin = static_cast<std::ptrdiff_t>(std::min(total, offset));
  const auto end = static_cast<std::ptrdiff_t>(std::min(total, offset + limit));
  const auto range =
      TRY(reader().prove({matches.indexes.begin() + begin, matches.indexes.begin() + end}));
  json list = json::array();
  for (const log::LogReader::Proven& one : range.records) {
    list.push_back({{"index", one.index}, {"leaf", one.bytes}, {"proof", hashes_json(one.proof)}});
  }
  return text_of(json{{"total", total}, {"checkpoint", range.note}, {"records", std::move(list)}});
}

Result<std::string> Desk::consistency(const http::Query& query) {
  const std::size_t old_size = TRY(number(query, "old", 0, page_max_offset * 100));
  const std::uint64_t size = TRY(reader().size());
  if (old_size > size) {
    return Err(Code::conflict, "the log has " + std::to_string(size) + " records, fewer than " +
                                   std::to_string(old_size) + ": it was cut off or put back");
  }
  const auto made = TRY(reader().consistency(old_size));
  return text_of(json{{"checkpoint", made.note}, {"proof", hashes_json(made.proof)}});
}

Result<std::string> Desk::live(const http::Query& query) {
  const std::size_t after = TRY(number(query, "after", 0, page_max_offset * 100));
  const std::uint64_t size = TRY(reader().size());
  json rows = json::array();
  // The newest alone where more happened than one can look at.
  const std::uint64_t from = std::max<std::uint64_t>(after, size > page_max ? size - page_max : 0);
  TRY(reader().read_range(from, page_max,
                          [&rows](const log::Leaf& leaf) { rows.push_back(row_json(leaf)); }));
  return text_of(json{{"records", size}, {"rows", std::move(rows)}});
}

governance::PolicyGuard* Desk::guard_of(const std::string& policy_set, const RunSummary& run) {
  const std::string fleet = index_.names().text(run.fleet);
  const auto known = guards_.find(policy_set + fleet);
  if (known != guards_.end()) return known->second.get();
  std::vector<std::vector<governance::PolicySource>> candidates;
  const auto first = reader().get(run.totals.first_index);
  if (first) candidates.push_back(sources_of(first->payloads));
  // A process that serves says once which policies it began with, and then which it read again.
  for (const char* type : {"policy.loaded", "serve.started"}) {
    Query said;
    said.filter.type = type;
    const auto matches = find(said);
    if (!matches) continue;
    const auto& indexes = (*matches)->indexes;
    const std::size_t last = std::min<std::size_t>(indexes.size(), guards_max);
    for (std::size_t i = 0; i < last; ++i) {
      const auto record = reader().get(indexes[indexes.size() - 1 - i]);
      if (record) candidates.push_back(sources_of(record->payloads));
    }
  }
  std::vector<governance::PolicySource> files;
  for (const std::string& path : options_.policies) {
    auto text = io::read_file(path, policy_bytes_max);
    if (text) files.push_back({path, std::move(*text)});
  }
  if (!files.empty()) candidates.push_back(std::move(files));
  if (guards_.size() >= guards_max) guards_.clear();
  auto& place = guards_[policy_set + fleet];
  for (const auto& sources : candidates) {
    if (sources.empty()) continue;
    governance::GuardOptions options;
    options.fleet = fleet;
    auto guard = governance::PolicyGuard::create(sources, options);
    // Nobody's word: the texts are those of the decision only if they have its hash.
    if (!guard || (*guard)->policy_set() != policy_set) continue;
    place = std::move(*guard);
    break;
  }
  return place.get();
}

void Desk::explain(const log::ProvenRecord& record, json& out) {
  const evidence::Facts facts = evidence::facts_of(record.leaf);
  const RunSummary* run = index_.run(record.leaf.run);
  governance::PolicyGuard* guard = run == nullptr ? nullptr : guard_of(facts.policy_set, *run);
  const auto fact = agents::fact_of(event_of(record));
  if (guard == nullptr || !fact || !std::holds_alternative<agents::ActionDecided>(*fact)) return;
  const auto explained = guard->explain(*std::get<agents::ActionDecided>(*fact).action);
  json policies = json::array();
  for (const cedar::Explanation& each : explained.policies) {
    const auto& ids = facts.policies;
    const bool determined = std::find(ids.begin(), ids.end(), each.policy->id) != ids.end();
    json clauses = json::array();
    for (const cedar::Clause& clause : each.clauses) {
      json values = json::array();
      for (const auto& [name, value] : clause.values) values.push_back({name, value});
      clauses.push_back({{"text", clause.text},
                         {"line", clause.where.line},
                         {"found", clause.found},
                         {"error", clause.error},
                         {"values", std::move(values)}});
    }
    policies.push_back(
        {{"id", each.policy->id},
         {"effect", each.policy->effect == cedar::Effect::permit ? "permit" : "forbid"},
         {"determined", determined},
         {"outcome", to_string(each.outcome)},
         {"source", each.policy->source},
         {"line", each.policy->where.line},
         {"text", each.policy->text},
         {"clauses", std::move(clauses)}});
  }
  // Those that determined it first.
  json sorted = json::array();
  for (const bool determined : {true, false})
    for (json& policy : policies)
      if (policy.is_object() && policy["determined"] == determined)
        sorted.push_back(std::move(policy));
  out["explanation"] = {{"verdict", to_string(explained.decision.verdict)},
                        {"same", to_string(explained.decision.verdict) == facts.verdict &&
                                     explained.decision.policies == facts.policies},
                        {"policySet", facts.policy_set},
                        {"policies", std::move(sorted)}};
}

}  // namespace ambit::console
