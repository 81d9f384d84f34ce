#include "log/reader.h"

#include "log/merkle.h"

#include <nlohmann/json.hpp>

namespace ambit::log {
namespace {

using nlohmann::json;

bool body_has(const json& body, const char* name, const std::string& wanted) {
  if (wanted.empty()) return true;
  const auto at = body.find(name);
  return at != body.end() && at->is_string() && at->get_ref<const std::string&>() == wanted;
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
  if (filter.verdict.empty() && filter.tool.empty()) return true;
  const json body = json::parse(leaf.body, nullptr, false);
  return body.is_object() && body_has(body, "verdict", filter.verdict) &&
         body_has(body, "tool", filter.tool);
}

Result<Leaf> leaf_at(const Snapshot& snapshot, std::uint64_t index) {
  auto leaf = parse_leaf(TRY(snapshot.leaf(index)));
  if (!leaf) return Err(std::move(leaf).error().context("record " + std::to_string(index)));
  return leaf;
}

Result<std::vector<agents::Payload>> payloads_of(const Snapshot& snapshot, const Leaf& leaf) {
  std::vector<agents::Payload> payloads;
  for (std::size_t i = 0; i < leaf.payloads.size(); ++i) {
    StoredPayload stored = TRY(snapshot.payload(leaf.index, i));
    if (commitment(stored.salt, stored.bytes) != leaf.payloads[i].hash) {
      return Err(Code::invalid, "record " + std::to_string(leaf.index) + ": its payload \"" +
                                    leaf.payloads[i].name +
                                    "\" is not what was recorded; verify the log");
    }
    payloads.push_back({leaf.payloads[i].name, std::move(stored.bytes)});
  }
  return payloads;
}

}  // namespace

Result<std::unique_ptr<LogReader>> LogReader::open(const std::string& folder) {
  TRY(check_header_pages(folder + "/data.mdb"));
  std::shared_ptr<Store> store = TRY(Store::open(folder, Store::Mode::read, 0));
  return std::make_unique<LogReader>(std::move(store));
}

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
  record.payloads = TRY(payloads_of(snapshot, record.leaf));
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

Result<void> LogReader::read_run(
    const std::string& run, const std::function<bool(const agents::StoredEvent&)>& visit) const {
  const Snapshot snapshot = TRY(store_->snapshot());
  Result<void> problem;
  TRY(snapshot.for_each_in_run(run, [&](std::uint64_t index) {
    auto leaf = leaf_at(snapshot, index);
    auto payloads = leaf ? payloads_of(snapshot, *leaf) : Err(leaf.error());
    if (!payloads) {
      problem = Err(payloads.error());
      return false;
    }
    const agents::StoredEvent event{index, leaf->unix_ns,
                                    agents::Event{leaf->type, leaf->run, leaf->session, leaf->agent,
                                                  leaf->body, std::move(*payloads)}};
    return visit(event);
  }));
  return problem;
}

}  // namespace ambit::log
