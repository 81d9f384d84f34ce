#include "agents/artifacts.h"

#include "agents/json_writer.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <utility>

namespace ambit::agents {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::size_t runs_max = 1000;  // whose totals are at hand
constexpr std::size_t recent_bytes_max = 32 << 20;
constexpr std::size_t shelf_max = 10'000;
constexpr std::size_t note_bytes = 200;

bool is_inside_character(const std::string& text, std::size_t at) {
  return at < text.size() && (static_cast<unsigned char>(text[at]) & 0xC0) == 0x80;
}

Outcome no(std::string why) {
  return Outcome::failed(OutcomeKind::tool_error, std::move(why));
}

}  // namespace

std::optional<ArtifactFacts> artifact_of(std::string_view type, std::string_view body) {
  if (type != artifact_event) return std::nullopt;
  const Json json = Json::parse(body, nullptr, false);
  if (!json.is_object()) return std::nullopt;
  return ArtifactFacts{json.value("artifact", ""), json.value("bytes", std::int64_t{0}),
                       json.value("tool", ""), json.value("requester", "")};
}

Result<Artifacts::Run*> Artifacts::run_of(const std::string& run) {
  const auto at =
      std::find_if(runs_.begin(), runs_.end(), [&](const auto& one) { return one.first == run; });
  if (at != runs_.end()) {
    runs_.splice(runs_.begin(), runs_, at);
    return &runs_.front().second;
  }
  Run made;
  TRY(ports_.journal.read(run, [&](const StoredEvent& stored) {
    const auto facts = artifact_of(stored.event.type, stored.event.body);
    if (facts && made.bytes_of.emplace(facts->id, facts->bytes).second) made.total += facts->bytes;
    return true;
  }));
  runs_.emplace_front(run, std::move(made));
  if (runs_.size() > runs_max) runs_.pop_back();
  return &runs_.front().second;
}

void Artifacts::remember(const std::string& run, const std::string& id, std::string bytes) {
  recent_bytes_ += bytes.size();
  recent_.emplace_front(run + " " + id, std::move(bytes));
  while (recent_bytes_ > recent_bytes_max && recent_.size() > 1) {
    recent_bytes_ -= recent_.back().second.size();
    recent_.pop_back();
  }
}

Result<Artifacts::Kept> Artifacts::keep(ArtifactSource source, std::string bytes) {
  Kept kept;
  const auto size = static_cast<std::int64_t>(bytes.size());
  if (size > spec_.bytes_max) {
    kept.refusal = "longer than maxBytes = " + std::to_string(spec_.bytes_max) + " of artifacts";
    return kept;
  }
  Run* run = TRY(run_of(source.run));
  std::string id = "sha256:" + ports_.sha256(bytes);
  const ShelvedArtifact shelved{id, size, source.tool, source.run};
  if (run->bytes_of.contains(id)) {
    // Of another session of this run it may be, and of another agent.
    shelve(source.agent, source.requester, shelved);
    kept.id = std::move(id);
    return kept;
  }
  if (run->total + size > spec_.total_max) {
    kept.refusal =
        "the run has no room left: maxTotal = " + std::to_string(spec_.total_max) + " of artifacts";
    return kept;
  }
  Event event{std::string(artifact_event), source.run, source.session, source.agent, "", {}};
  JsonWriter(event.body)
      .begin_object()
      .key("artifact")
      .text(id)
      .key("bytes")
      .integer(size)
      .key("requester")
      .text(source.requester)
      .key("tool")
      .text(source.tool)
      .end_object();
  event.subject = std::move(source.subject);
  event.payloads.push_back({std::string(artifact_payload), bytes});
  remember(source.run, id, std::move(bytes));
  TRY(ports_.journal.post(std::move(event)));
  run->total += size;
  run->bytes_of.emplace(id, size);
  shelve(source.agent, source.requester, shelved);
  kept.id = std::move(id);
  return kept;
}

void Artifacts::shelve(const std::string& agent, const std::string& requester,
                       ShelvedArtifact artifact) {
  if (requester.empty()) return;
  Place place{agent, requester, artifact.id};
  const auto known = shelf_.find(place);
  if (known != shelf_.end()) {
    shelf_ages_.splice(shelf_ages_.begin(), shelf_ages_, known->second.age);
    known->second.artifact = std::move(artifact);
    return;
  }
  shelf_ages_.push_front(place);
  shelf_.emplace(std::move(place), Shelved{std::move(artifact), shelf_ages_.begin()});
  if (shelf_.size() <= shelf_max) return;
  shelf_.erase(shelf_ages_.back());
  shelf_ages_.pop_back();
}

std::vector<ShelvedArtifact> Artifacts::shelf_of(const std::string& agent,
                                                 const std::string& requester) const {
  std::vector<ShelvedArtifact> all;
  for (auto at = shelf_.lower_bound({agent, requester, ""});
       at != shelf_.end() && at->first[0] == agent && at->first[1] == requester; ++at) {
    all.push_back(at->second.artifact);
  }
  return all;
}

std::optional<ShelvedArtifact> Artifacts::on_shelf(const std::string& agent,
                                                   const std::string& requester,
                                                   const std::string& id) const {
  const auto at = shelf_.find({agent, requester, id});
  if (at == shelf_.end()) return std::nullopt;
  return at->second.artifact;
}

Result<std::optional<std::string>> Artifacts::find(const std::string& run, const std::string& id) {
  const std::string key = run + " " + id;
  for (const auto& [name, bytes] : recent_) {
    if (name == key) return std::optional<std::string>(bytes);
  }
  auto found = TRY(recorded(run, id));
  if (found) remember(run, id, *found);
  return found;
}

Result<std::string> Artifacts::whole(const ShelvedArtifact& artifact) const {
  auto found = TRY(recorded(artifact.run, artifact.id));
  if (!found) return Err(Code::not_found, "the record keeps no artifact " + artifact.id);
  return std::move(*found);
}

Result<std::optional<std::string>> Artifacts::recorded(const std::string& run,
                                                       const std::string& id) const {
  std::optional<std::string> found;
  TRY(ports_.journal.read(run, [&](const StoredEvent& stored) {
    const auto facts = artifact_of(stored.event.type, stored.event.body);
    if (!facts || facts->id != id) return true;
    for (const Payload& payload : stored.event.payloads) {
      if (payload.name == artifact_payload) found = payload.bytes;
    }
    return false;
  }));
  return found;
}

Task<Result<std::vector<ToolSpec>>> Artifacts::list() {
  ToolSpec spec;
  spec.name = artifact_tool;
  spec.description =
      "Read a part of a result that was cut, by the artifact that its last line names.";
  spec.input_schema =
      R"({"type":"object","properties":{"artifact":{"type":"string"},"offset":{"type":"integer","minimum":0},"bytes":{"type":"integer","minimum":1,"maximum":24576}},"required":["artifact"],"additionalProperties":false})";
  spec.read_only = true;
  spec.destructive = false;
  spec.idempotent = true;
  std::vector<ToolSpec> specs;
  specs.push_back(std::move(spec));
  co_return specs;
}

Task<Outcome> Artifacts::call(std::string session, ToolCall call) {
  const Json arguments = Json::parse(call.arguments, nullptr, false);
  const Roster::Entry* caller = ports_.roster.find(session);
  if (!arguments.is_object() || caller == nullptr) {
    co_return no("only an agent's session can read artifacts");
  }
  const std::string id = arguments.value("artifact", "");
  const std::int64_t offset = arguments.value("offset", std::int64_t{0});
  const std::int64_t most = arguments.value("bytes", artifact_part_max);
  auto found = find(caller->run, id);
  if (!found) co_return no("the record cannot be read: " + found.error().message);
  if (!*found) co_return no("this run keeps no artifact " + json_quoted(id.substr(0, 100)));
  const std::string& bytes = **found;
  const auto size = static_cast<std::int64_t>(bytes.size());
  if (offset < 0 || offset > size || most < 1) {
    co_return no("the artifact has " + std::to_string(size) + " bytes");
  }
  auto begin = static_cast<std::size_t>(offset);
  auto end = static_cast<std::size_t>(std::min(size, offset + std::min(most, artifact_part_max)));
  while (end > begin && is_inside_character(bytes, end)) --end;
  Outcome outcome;
  outcome.content = bytes.substr(begin, end - begin);
  const std::string where = std::to_string(begin) + " to " + std::to_string(end) + " of " +
                            std::to_string(size) + " bytes";
  outcome.detail = where;
  if (end < bytes.size()) outcome.content += "\n[" + where + "]";
  co_return outcome;
}

std::string shortened(const std::string& text, std::size_t bytes_max, const Artifacts::Kept& kept) {
  std::size_t end = std::min(text.size(), bytes_max - std::min(bytes_max, note_bytes));
  while (end > 0 && is_inside_character(text, end)) --end;
  std::string note =
      "\n[cut after " + std::to_string(end) + " of " + std::to_string(text.size()) + " bytes; ";
  note += kept.id.empty() ? "not kept: " + kept.refusal : "artifact " + kept.id;
  return text.substr(0, end) + note + "]";
}

}  // namespace ambit::agents
