// What people put on record at the desk: samples, annotations, sign-offs, answers to the fleet.

#include "console/desk.h"
#include "console/json.h"
#include "governance/action_json.h"
#include "log/merkle.h"

#include <algorithm>

namespace ambit::console {
namespace {

using agents::Event;

constexpr std::size_t sample_max = 1000;
constexpr std::size_t text_bytes_max = 4000;
constexpr std::string_view run_of_reviews = "review";

std::string payload(const log::ProvenRecord& record, std::string_view name) {
  for (const agents::Payload& each : record.payloads) {
    if (each.name == name) return each.bytes;
  }
  return {};
}

Event event_of(const char* type, const Person& person, const json& body) {
  Event event;
  event.type = type;
  event.run = run_of_reviews;
  event.session = person.name;
  event.body = text_of(body);
  return event;
}

Result<std::string> line_of(const nlohmann::json& said, const char* name, const char* what) {
  std::string text = member(said, name);
  if (text.find_first_not_of(" \t\r\n") == std::string::npos) {
    return Err(Code::invalid, std::string(what) + " is needed; the record keeps it");
  }
  if (text.size() > text_bytes_max) {
    return Err(Code::invalid, std::string(what) + " has more than 4000 bytes");
  }
  return text;
}

Result<std::uint64_t> index_in(const nlohmann::json& said, const char* name) {
  const auto at = said.find(name);
  if (at == said.end() || !at->is_number_unsigned()) {
    return Err(Code::invalid, std::string(name) + " must be the index of a record");
  }
  return at->get<std::uint64_t>();
}

}  // namespace

log::Hash sample_key(std::string_view seed, std::uint64_t index) {
  return log::sha256({"ambit-sample/1\n", seed, "\n", std::to_string(index)});
}

Result<std::vector<std::uint64_t>> Desk::choose(const Query& query, const std::string& seed,
                                                std::size_t count, std::uint64_t size) {
  if (seed.empty() || seed.size() > 100) {
    return Err(Code::invalid, "the seed must have 1 to 100 characters");
  }
  const Matches& matches = *TRY(find(query));
  if (!matches.complete) {
    return Err(Code::unavailable, "the record is still being searched; ask again");
  }
  std::vector<std::pair<log::Hash, std::uint64_t>> keyed;
  for (const std::uint64_t index : matches.indexes) {
    if (index < size) keyed.emplace_back(sample_key(seed, index), index);
  }
  const std::size_t taken = std::min(count, keyed.size());
  std::partial_sort(keyed.begin(), keyed.begin() + static_cast<std::ptrdiff_t>(taken), keyed.end());
  std::vector<std::uint64_t> chosen;
  for (std::size_t i = 0; i < taken; ++i) chosen.push_back(keyed[i].second);
  std::sort(chosen.begin(), chosen.end());
  return chosen;
}

Result<std::string> Desk::sample(const http::Query& query) {
  const Query wanted = TRY(query_of(query));
  const std::size_t count = TRY(number(query, "count", 20, sample_max));
  const std::uint64_t size = TRY(number(query, "size", index_.end(), page_max_offset * 100));
  const auto chosen = TRY(choose(wanted, parameter(query, "seed"), count, size));
  const Matches& matches = *TRY(find(wanted));
  return text_of(json{{"size", size}, {"of", matches.indexes.size()}, {"indexes", chosen}});
}

// Samples, annotations and sign-offs as they stand, folded from their records.
Result<std::string> Desk::reviews() {
  const log::LogReader reader = this->reader();
  json samples = json::array();
  std::map<std::uint64_t, json> annotations;
  json openings = json::array();
  for (const std::uint64_t index : index_.reviews()) {
    const log::ProvenRecord record = TRY(reader.get(index));
    auto body = json::parse(record.leaf.body, nullptr, false);
    if (!body.is_object()) continue;
    body["record"] = index;
    body["ms"] = record.leaf.unix_ns / ms_ns;
    if (record.leaf.type == "review.sampled") {
      samples.push_back(std::move(body));
    } else if (record.leaf.type == "review.annotated") {
      body["note"] = payload(record, "note");
      body["signedOff"] = nullptr;
      annotations[index] = std::move(body);
    } else if (record.leaf.type == "review.signed_off") {
      body["reason"] = payload(record, "reason");
      const auto at = annotations.find(body.value("annotation", std::uint64_t{0}));
      if (at != annotations.end()) at->second["signedOff"] = std::move(body);
    } else if (record.leaf.type == "review.opened") {
      openings.push_back(std::move(body));
    }
  }
  json list = json::array();
  for (auto& [index, annotation] : annotations) list.push_back(std::move(annotation));
  return text_of(json{{"samples", std::move(samples)},
                      {"annotations", std::move(list)},
                      {"openings", std::move(openings)}});
}

Result<Event> Desk::draft_sample(const nlohmann::json& said, const Person& person) {
  http::Query query;
  json filter = json::object();
  if (const auto at = said.find("filter"); at != said.end() && at->is_object()) {
    for (const auto& [name, value] : at->items()) {
      if (!value.is_string() || value.get_ref<const std::string&>().empty()) continue;
      query.emplace_back(name, value.get<std::string>());
      filter[name] = value.get<std::string>();
    }
  }
  const Query wanted = TRY(query_of(query));
  const std::string seed = TRY(line_of(said, "seed", "a seed"));
  const std::uint64_t count = TRY(index_in(said, "count"));
  if (count < 1 || count > sample_max) {
    return Err(Code::invalid, "a sample has 1 to 1000 records");
  }
  const std::uint64_t size = index_.end();
  const auto chosen = TRY(choose(wanted, seed, static_cast<std::size_t>(count), size));
  if (chosen.empty()) return Err(Code::not_found, "no record fits, so there is nothing to sample");
  return event_of("review.sampled", person,
                  {{"by", person.name},
                   {"count", count},
                   {"filter", std::move(filter)},
                   {"indexes", chosen},
                   {"seed", seed},
                   {"size", size}});
}

Result<Event> Desk::draft_annotation(const nlohmann::json& said, const Person& person) {
  const std::uint64_t index = TRY(index_in(said, "index"));
  const std::string finding = member(said, "finding");
  if (finding != "in order" && finding != "question" && finding != "not in order") {
    return Err(Code::invalid, "the finding must be: in order, question or not in order");
  }
  std::string note = TRY(line_of(said, "note", "a note"));
  const log::ProvenRecord record = TRY(reader().get(index));
  // The hash ties the words to what was read, not to a number.
  if (member(said, "leafHash") != log::to_hex(record.hash)) {
    return Err(Code::conflict, "the record that was read is not the one with this index");
  }
  Event event = event_of("review.annotated", person,
                         {{"by", person.name},
                          {"finding", finding},
                          {"index", index},
                          {"leafHash", log::to_hex(record.hash)},
                          {"role", to_string(person.role)}});
  event.payloads.push_back({"note", std::move(note)});
  return event;
}

Result<Event> Desk::draft_sign_off(const nlohmann::json& said, const Person& person) {
  const std::uint64_t index = TRY(index_in(said, "annotation"));
  std::string reason = TRY(line_of(said, "reason", "a reason"));
  const log::LogReader reader = this->reader();
  const log::ProvenRecord annotation = TRY(reader.get(index));
  if (annotation.leaf.type != "review.annotated") {
    return Err(Code::invalid, "record " + std::to_string(index) + " is no annotation");
  }
  const auto body = json::parse(annotation.leaf.body, nullptr, false);
  if (annotation.leaf.session == person.name) {
    return Err(Code::denied, "a second person signs off; " + person.name + " wrote it");
  }
  for (const std::uint64_t review : index_.reviews()) {
    const log::Leaf leaf = TRY(reader.leaf(review));
    if (leaf.type != "review.signed_off") continue;
    const auto other = json::parse(leaf.body, nullptr, false);
    if (other.is_object() && other.value("annotation", std::uint64_t{0}) == index) {
      return Err(Code::conflict,
                 leaf.session + " has signed it off already, in record " + std::to_string(review));
    }
  }
  Event event = event_of("review.signed_off", person,
                         {{"annotation", index},
                          {"annotationHash", log::to_hex(annotation.hash)},
                          {"by", person.name},
                          {"index", body.value("index", std::uint64_t{0})},
                          {"role", to_string(person.role)}});
  event.payloads.push_back({"reason", std::move(reason)});
  return event;
}

Result<governance::ApprovalFolder*> Desk::approval_folder() {
  if (options_.approvals.empty()) {
    return Err(Code::not_found, "this console was not told where approvals are");
  }
  const std::int64_t now_ms = options_.unix_ns() / ms_ns;
  if (!approval_folder_) {
    approval_folder_ =
        TRY(governance::ApprovalFolder::open(options_.approvals, options_.approvers, now_ms));
  } else {
    TRY(approval_folder_->refresh(now_ms));
  }
  return &*approval_folder_;
}

Result<std::string> Desk::approvals() {
  governance::ApprovalFolder* folder = TRY(approval_folder());
  const std::int64_t now_ms = options_.unix_ns() / ms_ns;
  json list = json::array();
  for (const governance::ApprovalRequest& request : folder->desk().pending(now_ms)) {
    // The text that the hash is over: the page shows this, and hashes it itself before it signs.
    list.push_back({{"id", request.id},
                    {"hash", request.hash},
                    {"action", TRY(governance::action_text(request.action))},
                    {"reason", request.reason},
                    {"needed", request.needed},
                    {"approvals", folder->desk().approvals(request.id)},
                    {"askedMs", request.asked_ms},
                    {"expiresMs", request.expires_ms},
                    {"tainted", request.action.tainted},
                    {"destructive", request.action.destructive}});
  }
  json refused = json::array();
  for (const auto& each : folder->refused()) {
    refused.push_back({{"file", each.file}, {"why", each.why}});
  }
  return text_of(
      json{{"nowMs", now_ms}, {"pending", std::move(list)}, {"refused", std::move(refused)}});
}

// The answer is in the approvals' folder when this returns; the record is of who gave it here.
Result<Event> Desk::draft_answer(const nlohmann::json& said, const Person& person) {
  if (person.role != Role::owner) {
    return Err(Code::denied, "reviewers read; only an owner answers the fleet");
  }
  const std::string note = member(said, "note");
  const auto parsed = log::Note::parse(note);
  if (!parsed) return Err(Error(parsed.error()));
  const auto answer = TRY(governance::parse_answer(parsed->text));
  TRY(line_of(nlohmann::json{{"reason", answer.reason}}, "reason", "a reason"));
  governance::ApprovalFolder* folder = TRY(approval_folder());
  const auto state = TRY(folder->answer(note, options_.unix_ns() / ms_ns));
  Event event = event_of("review.answered", person,
                         {{"action", answer.hash},
                          {"answer", governance::to_string(answer.answer)},
                          {"by", person.name},
                          {"request", answer.request},
                          {"state", to_string(state)}});
  event.payloads.push_back({"answer", note});
  return event;
}

}  // namespace ambit::console
