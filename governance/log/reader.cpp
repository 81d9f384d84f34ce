#include "log/reader.h"

#include "log/canonical_json.h"
#include "log/expiry.h"
#include "log/merkle.h"
#include "log/subjects.h"

#include <nlohmann/json.hpp>

#include <algorithm>

namespace ambit::log {
namespace {

using nlohmann::json;

bool body_has(const json& body, const char* name, const std::string& wanted) {
  if (wanted.empty()) return true;
  const auto at = body.find(name);
  return at != body.end() && at->is_string() && at->get_ref<const std::string&>() == wanted;
}

bool has_policy(const json& body, const std::string& wanted) {
  if (wanted.empty()) return true;
  const auto at = body.find("policies");
  return at != body.end() && at->is_array() &&
         std::find(at->begin(), at->end(), wanted) != at->end();
}

bool matches(const Filter& filter, const Leaf& leaf) {
  const auto same = [](const std::string& wanted, const std::string& found) {
    return wanted.empty() || wanted == found;
  };
  if (!same(filter.run, leaf.run) || !same(filter.session, leaf.session) ||
      !same(filter.agent, leaf.agent) || !same(filter.type, leaf.type)) {
    return false;
  }
  if (filter.from_unix_ns && leaf.unix_ns < *filter.from_unix_ns) return false;
  if (filter.until_unix_ns && leaf.unix_ns >= *filter.until_unix_ns) return false;
  if (!filter.text.empty() && leaf.body.find(filter.text) == std::string::npos) return false;
  if (filter.verdict.empty() && filter.tool.empty() && filter.person.empty() &&
      filter.policy.empty()) {
    return true;
  }
  const json body = json::parse(leaf.body, nullptr, false);
  return body.is_object() && body_has(body, "verdict", filter.verdict) &&
         body_has(body, "tool", filter.tool) &&
         (body_has(body, "onBehalfOf", filter.person) ||
          body_has(body, "principal", filter.person)) &&
         has_policy(body, filter.policy);
}

Result<Leaf> leaf_at(const Snapshot& snapshot, std::uint64_t index) {
  auto leaf = parse_leaf(TRY(snapshot.leaf(index)));
  if (!leaf) return Err(std::move(leaf).error().context("record " + std::to_string(index)));
  return leaf;
}

struct Contents {
  std::vector<agents::Payload> payloads;
  std::vector<std::string> salts;
  std::vector<std::string> erased;   // names of those whose key was destroyed
  std::vector<std::string> expired;  // and of those that were kept long enough
  std::string subject;               // whose they are; empty: the run's
};

Result<Contents> payloads_of(const Snapshot& snapshot, SharedSubjects& subjects, const Leaf& leaf) {
  Contents contents;
  PayloadCipher cipher;
  for (std::size_t i = 0; i < leaf.payloads.size(); ++i) {
    const auto found = snapshot.payload(leaf.index, i);
    const bool is_missing = !found && found.error().code == Code::not_found;
    if (is_missing && leaf.index < expired_before(snapshot)) {
      contents.expired.push_back(leaf.payloads[i].name);
      continue;
    }
    const std::string_view stored = TRY(found);
    const std::uint64_t number = TRY(PayloadCipher::subject_of(stored));
    std::optional<Subject> owner = TRY(subjects.get(number));
    if (!owner) {
      contents.erased.push_back(leaf.payloads[i].name);
      continue;
    }
    std::string opened;
    const auto good = cipher.open(stored, owner->key, leaf.index, i, opened);
    if (!good || sha256(opened) != leaf.payloads[i].hash) {
      return Err(Code::invalid, "record " + std::to_string(leaf.index) + ": its payload \"" +
                                    leaf.payloads[i].name +
                                    "\" is not what was recorded; verify the log");
    }
    contents.payloads.push_back({leaf.payloads[i].name, opened.substr(salt_bytes)});
    contents.salts.push_back(opened.substr(0, salt_bytes));
    if (owner->name != subject_of_run(leaf.run)) contents.subject = std::move(owner->name);
  }
  return contents;
}

char small(char c) {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
}

// `lowered` has no capitals.
bool holds_text(std::string_view where, std::string_view lowered) {
  return std::search(where.begin(), where.end(), lowered.begin(), lowered.end(),
                     [](char a, char b) { return small(a) == b; }) != where.end();
}

}  // namespace

Result<std::unique_ptr<LogReader>> LogReader::open(const std::string& folder) {
  TRY(check_header_pages(folder + "/data.mdb"));
  std::shared_ptr<Store> store = TRY(Store::open(folder, Store::Mode::read, 0));
  return std::make_unique<LogReader>(std::move(store));
}

LogReader::LogReader(std::shared_ptr<Store> store)
    : store_(std::move(store)), subjects_(std::make_shared<SharedSubjects>(store_->folder())) {}

Result<std::uint64_t> LogReader::size() const {
  const Snapshot snapshot = TRY(store_->snapshot());
  return snapshot.size();
}

Result<void> LogReader::for_each(const Filter& filter,
                                 const std::function<bool(const Leaf&)>& visit) const {
  const Snapshot snapshot = TRY(store_->snapshot());
  Result<void> problem;
  const auto one = [&](std::uint64_t index) {
    const auto leaf = leaf_at(snapshot, index);
    if (!leaf) {
      problem = Err(leaf.error());
      return false;
    }
    return !matches(filter, *leaf) || visit(*leaf);
  };
  if (!filter.run.empty()) {
    TRY(snapshot.for_each_in_run(filter.run, one));
    return problem;
  }
  const std::uint64_t size = TRY(snapshot.size());
  for (std::uint64_t index = 0; index < size && one(index); ++index) {
  }
  return problem;
}

Result<void> LogReader::read_range(std::uint64_t begin, std::size_t count,
                                   const std::function<void(const Leaf&)>& visit) const {
  if (count == 0) return {};
  const Snapshot snapshot = TRY(store_->snapshot());
  Result<void> problem;
  std::size_t seen = 0;
  TRY(snapshot.for_each_leaf(begin, [&](std::uint64_t index, std::string_view bytes) {
    const auto leaf = parse_leaf(bytes);
    if (!leaf) {
      problem = Err(Error(leaf.error()).context("record " + std::to_string(index)));
      return false;
    }
    visit(*leaf);
    return ++seen < count;
  }));
  return problem;
}

Result<void> LogReader::keep_with_text(std::string_view text,
                                       std::vector<std::uint64_t>& indexes) const {
  // As it stands in canonical JSON, between its quotes.
  std::string wanted;
  if (!append_quoted(text, wanted)) return Err(Code::invalid, "the text to find is not UTF-8");
  wanted = wanted.substr(1, wanted.size() - 2);
  std::transform(wanted.begin(), wanted.end(), wanted.begin(), small);
  const Snapshot snapshot = TRY(store_->snapshot());
  std::size_t kept = 0;
  LeafView view;
  for (const std::uint64_t index : indexes) {
    const std::string_view bytes = TRY(snapshot.leaf(index));
    TRY(scan_leaf(bytes, view));
    if (holds_text(view.body, wanted)) indexes[kept++] = index;
  }
  indexes.resize(kept);
  return {};
}

Result<LogReader::ProvenRange> LogReader::prove(const std::vector<std::uint64_t>& indexes) const {
  const Snapshot snapshot = TRY(store_->snapshot());
  ProvenRange range;
  range.note = TRY(snapshot.checkpoint());
  const Note note = TRY(Note::parse(range.note));
  const Checkpoint checkpoint = TRY(Checkpoint::parse(note.text));
  const NodeReader node = [&snapshot](unsigned level, std::uint64_t at) {
    return snapshot.node(level, at);
  };
  for (const std::uint64_t index : indexes) {
    Proven one;
    one.index = index;
    one.bytes = std::string(TRY(snapshot.leaf(index)));
    one.proof = TRY(inclusion_proof(index, checkpoint.size, node));
    range.records.push_back(std::move(one));
  }
  return range;
}

Result<std::optional<Leaf>> LogReader::last(const std::string& run,
                                            const std::string& session) const {
  const Snapshot snapshot = TRY(store_->snapshot());
  const std::optional<Head> head = TRY(snapshot.head(run, session));
  if (!head) return std::optional<Leaf>();
  return std::optional<Leaf>(TRY(leaf_at(snapshot, head->index)));
}

Result<Leaf> LogReader::leaf(std::uint64_t index) const {
  const Snapshot snapshot = TRY(store_->snapshot());
  return leaf_at(snapshot, index);
}

Result<ProvenRecord> LogReader::get(std::uint64_t index) const {
  const Snapshot snapshot = TRY(store_->snapshot());
  const std::uint64_t size = TRY(snapshot.size());
  if (index >= size) {
    return Err(Code::not_found, "there is no record " + std::to_string(index) + "; the log has " +
                                    std::to_string(size));
  }
  ProvenRecord record;
  record.bytes = std::string(TRY(snapshot.leaf(index)));
  record.leaf = TRY(leaf_at(snapshot, index));
  record.hash = leaf_hash(record.bytes);
  TRY(subjects_->refresh());
  Contents contents = TRY(payloads_of(snapshot, *subjects_, record.leaf));
  record.payloads = std::move(contents.payloads);
  record.salts = std::move(contents.salts);
  record.erased = std::move(contents.erased);
  record.expired = std::move(contents.expired);
  record.note = TRY(snapshot.checkpoint());
  const Note note = TRY(Note::parse(record.note));
  record.checkpoint = TRY(Checkpoint::parse(note.text));
  const NodeReader node = [&snapshot](unsigned level, std::uint64_t at) {
    return snapshot.node(level, at);
  };
  record.proof = TRY(inclusion_proof(index, record.checkpoint.size, node));
  TRY(verify_inclusion(index, record.checkpoint.size, record.hash, record.proof,
                       record.checkpoint.root));
  return record;
}

Result<LogReader::Consistency> LogReader::consistency(std::uint64_t old_size) const {
  const Snapshot snapshot = TRY(store_->snapshot());
  Consistency made;
  made.note = TRY(snapshot.checkpoint());
  if (made.note.empty()) return Err(Code::not_found, "the log is empty; it has no checkpoint yet");
  const Note note = TRY(Note::parse(made.note));
  made.checkpoint = TRY(Checkpoint::parse(note.text));
  made.proof = TRY(consistency_proof(
      old_size, made.checkpoint.size,
      [&snapshot](unsigned level, std::uint64_t at) { return snapshot.node(level, at); }));
  return made;
}

Result<std::uint64_t> LogReader::write_tiles(const std::string& folder) const {
  return log::write_tiles(*store_, folder);
}

Result<void> LogReader::read_run(
    const std::string& run, const std::function<bool(const agents::StoredEvent&)>& visit) const {
  const Snapshot snapshot = TRY(store_->snapshot());
  return read_run(snapshot, run, agents::RecoveryStarts(), visit);
}

Result<void> LogReader::recover_run(
    const std::string& run, const std::function<bool(const agents::StoredEvent&)>& visit) const {
  const Snapshot snapshot = TRY(store_->snapshot());
  agents::RecoveryStarts starts;
  LeafView view;
  Result<void> problem;
  TRY(snapshot.for_each_in_run(run, [&](std::uint64_t index) {
    const auto bytes = snapshot.leaf(index);
    auto scanned = bytes ? scan_leaf(*bytes, view) : Err(bytes.error());
    if (!scanned) {
      problem = Err(std::move(scanned).error().context("record " + std::to_string(index)));
    } else if (view.type == agents::snapshot_type) {
      starts.see(index, view.type, unescape_canonical(view.session));
    }
    return problem.has_value();
  }));
  TRY(problem);
  return read_run(snapshot, run, starts, visit);
}

Result<void> LogReader::read_run(
    const Snapshot& snapshot, const std::string& run, const agents::RecoveryStarts& starts,
    const std::function<bool(const agents::StoredEvent&)>& visit) const {
  TRY(subjects_->refresh());
  Result<void> problem;
  TRY(snapshot.for_each_in_run(run, [&](std::uint64_t index) {
    auto leaf = leaf_at(snapshot, index);
    if (leaf && !starts.needs(index, leaf->session)) return true;
    Result<Contents> contents = leaf ? payloads_of(snapshot, *subjects_, *leaf) : Err(leaf.error());
    if (contents && !(contents->erased.empty() && contents->expired.empty())) {
      const bool is_erased = !contents->erased.empty();
      contents = Err(Code::not_found,
                     "record " + std::to_string(index) + ": its payload \"" +
                         (is_erased ? contents->erased : contents->expired).front() +
                         (is_erased ? "\" was erased" : "\" has expired (ambit audit retention)"));
    }
    if (!contents) {
      problem = Err(contents.error());
      return false;
    }
    const agents::StoredEvent event{
        index, leaf->unix_ns,
        agents::Event{leaf->type, leaf->run, leaf->session, leaf->agent, leaf->body,
                      std::move(contents->payloads), std::move(contents->subject)}};
    return visit(event);
  }));
  return problem;
}

}  // namespace ambit::log
