#include "evidence/formats.h"

#include "log/sha256.h"

#include <nlohmann/json.hpp>

namespace ambit::evidence {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::size_t open_sessions_max = 100'000;
constexpr std::int64_t millisecond_ns = 1'000'000;

std::string dump(const Json& value) {
  return value.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string joined(const std::vector<std::string>& parts) {
  std::string text;
  for (const std::string& part : parts) text += (text.empty() ? "" : ", ") + part;
  return text;
}

Json ambit_of(const log::Leaf& leaf, const Source& source) {
  return {{"log", source.origin},      {"index", leaf.index},
          {"type", leaf.type},         {"leafHash", source.hash},
          {"previous", leaf.previous}, {"body", Json::parse(leaf.body, nullptr, false)}};
}

std::string json_line(const log::Leaf& leaf, const Source& source) {
  Json out = {{"index", leaf.index},
              {"time", log::time_text(leaf.unix_ns)},
              {"type", leaf.type},
              {"run", leaf.run},
              {"session", leaf.session},
              {"agent", leaf.agent},
              {"body", Json::parse(leaf.body, nullptr, false)},
              {"payloads", Json::array()},
              {"previous", leaf.previous},
              {"leafHash", source.hash}};
  for (const log::Commitment& item : leaf.payloads) {
    out["payloads"].push_back(
        {{"name", item.name}, {"bytes", item.bytes}, {"commitment", log::to_hex(item.hash)}});
  }
  return dump(out);
}

// OCSF severities: 1 informational, 3 medium, 4 high.
int severity(const Facts& facts) {
  if (facts.verdict == "deny" || facts.outcome == "policy_violation") return 4;
  if (facts.verdict == "escalate" || facts.state == "failed") return 3;
  return 1;
}

struct OcsfClass {
  int uid = 6003;  // API Activity
  const char* name = "API Activity";
  int activity = 99;
};

OcsfClass ocsf_class(const log::Leaf& leaf) {
  if (leaf.type == "run.started" || leaf.type == "run.resumed" || leaf.type == "session.started") {
    return {6002, "Application Lifecycle", 3};  // start
  }
  if (leaf.type == "run.ended" || leaf.type == "session.ended") {
    return {6002, "Application Lifecycle", 4};  // stop
  }
  return {};
}

std::string ocsf(const log::Leaf& leaf, const Facts& facts, const Source& source) {
  const OcsfClass as = ocsf_class(leaf);
  Json out = {{"class_uid", as.uid},
              {"class_name", as.name},
              {"category_uid", 6},
              {"category_name", "Application Activity"},
              {"activity_id", as.activity},
              {"activity_name", leaf.type},
              {"type_uid", as.uid * 100 + as.activity},
              {"time", leaf.unix_ns / millisecond_ns},
              {"severity_id", severity(facts)},
              {"message", gist(leaf, facts)}};
  out["metadata"] = {
      {"version", "1.8.0"},          {"uid", source.origin + "/" + std::to_string(leaf.index)},
      {"correlation_uid", leaf.run}, {"sequence", leaf.index},
      {"log_name", source.origin},   {"product", {{"name", "Ambit"}, {"vendor_name", "Ambit"}}}};
  out["actor"] = {{"app_name", leaf.agent}, {"session", {{"uid", leaf.session}}}};
  if (!facts.person.empty()) out["actor"]["user"] = {{"name", facts.person}};
  if (as.uid == 6003) {
    out["api"] = {{"operation", facts.tool.empty() ? leaf.type : facts.tool},
                  {"request", {{"uid", facts.action}}}};
    out["src_endpoint"] = {{"name", leaf.agent}};
  } else {
    out["app"] = {{"name", leaf.agent.empty() ? "ambit" : leaf.agent}, {"vendor_name", "Ambit"}};
  }
  if (!facts.verdict.empty()) {
    const bool allowed = facts.verdict == "allow";
    const bool denied = facts.verdict == "deny";
    out["action_id"] = allowed ? 1 : (denied ? 2 : 99);
    out["action"] = allowed ? "Allowed" : (denied ? "Denied" : "Escalated");
    out["disposition_id"] = allowed ? 1 : (denied ? 2 : 99);
    out["policy"] = {{"uid", facts.policy_set}, {"name", joined(facts.policies)}};
    out["status_detail"] = facts.reason;
  }
  if (!facts.outcome.empty()) {
    out["status_id"] = facts.outcome == "ok" ? 1 : 2;
    out["status"] = facts.outcome == "ok" ? "Success" : "Failure";
    out["status_code"] = facts.outcome;
    out["duration"] = facts.duration_us / 1000;
  }
  out["raw_data_hash"] = {{"algorithm_id", 3}, {"algorithm", "SHA-256"}, {"value", source.hash}};
  out["unmapped"] = {{"ambit", ambit_of(leaf, source)}};
  return dump(out);
}

std::string cloud_event(const log::Leaf& leaf, const Source& source) {
  return dump({{"specversion", "1.0"},
               {"id", std::to_string(leaf.index)},
               {"source", "urn:ambit:" + source.origin},
               {"type", "ambit." + leaf.type},
               {"subject", leaf.run + (leaf.session.empty() ? "" : "/" + leaf.session)},
               {"time", log::time_text(leaf.unix_ns)},
               {"datacontenttype", "application/json"},
               {"data", ambit_of(leaf, source)}});
}

Json attribute(const char* key, const std::string& value) {
  return {{"key", key}, {"value", {{"stringValue", value}}}};
}
// OTLP/JSON writes 64-bit numbers as texts.
Json attribute(const char* key, std::int64_t value) {
  return {{"key", key}, {"value", {{"intValue", std::to_string(value)}}}};
}

std::string session_key(const log::Leaf& leaf) {
  return leaf.run + '\n' + leaf.session;
}

Json attributes_of(const log::Leaf& leaf, const Facts& facts, const Source& source) {
  Json list = Json::array();
  const auto add = [&list](const char* key, const std::string& value) {
    if (!value.empty()) list.push_back(attribute(key, value));
  };
  add("gen_ai.agent.name", leaf.agent);
  add("gen_ai.conversation.id", leaf.session);
  add("gen_ai.workflow.name", leaf.run);
  if (leaf.type == "turn.completed" || leaf.type == "turn.failed") {
    add("gen_ai.operation.name", "chat");
    add("gen_ai.provider.name", "ambit");
    add("gen_ai.response.model", facts.model);
    list.push_back(attribute("gen_ai.usage.input_tokens", facts.input_tokens));
    list.push_back(attribute("gen_ai.usage.output_tokens", facts.output_tokens));
    list.push_back(attribute("gen_ai.usage.cache_read.input_tokens", facts.cached_tokens));
    if (facts.energy_uj > 0) list.push_back(attribute("ambit.usage.energy_uj", facts.energy_uj));
    if (facts.moved_bytes > 0)
      list.push_back(attribute("ambit.usage.moved_bytes", facts.moved_bytes));
    if (leaf.type == "turn.failed") add("error.type", facts.error);
  } else if (leaf.type.ends_with(".outcome")) {
    add("gen_ai.operation.name", "execute_tool");
    add("gen_ai.tool.name", facts.tool);
    add("gen_ai.tool.call.id", facts.call);
    if (facts.outcome != "ok") add("error.type", facts.outcome);
  } else if (leaf.type == "session.ended") {
    add("gen_ai.operation.name", "invoke_agent");
    if (facts.state == "failed") add("error.type", facts.error.empty() ? "failed" : facts.error);
  } else {
    add("gen_ai.tool.name", facts.kind == "tool_call" ? facts.tool : "");
  }
  add("ambit.verdict", facts.verdict);
  add("ambit.reason", facts.reason);
  add("ambit.policies", joined(facts.policies));
  add("ambit.policy_set", facts.policy_set);
  add("ambit.on_behalf_of", facts.person);
  add("ambit.leaf_hash", source.hash);
  list.push_back(attribute("ambit.index", static_cast<std::int64_t>(leaf.index)));
  return list;
}

}  // namespace

Result<Format> format_named(std::string_view name) {
  if (name == "jsonl") return Format::json_lines;
  if (name == "ocsf") return Format::ocsf;
  if (name == "otel") return Format::otel;
  if (name == "cloudevents") return Format::cloud_events;
  return Err(Code::invalid, "there is no format \"" + std::string(name) +
                                "\"; there are: jsonl, ocsf, otel, cloudevents");
}

std::string Exporter::otel(const log::Leaf& leaf, const Facts& facts, const Source& source) {
  const std::string key = session_key(leaf);
  if (leaf.type == "session.started") {
    if (started_.size() >= open_sessions_max) started_.erase(started_.begin());
    started_[key] = leaf.unix_ns;
    return "";
  }
  std::string name;
  std::int64_t start = leaf.unix_ns;
  bool root = false;
  const bool is_turn = leaf.type == "turn.completed" || leaf.type == "turn.failed";
  if (is_turn) {
    name = "chat " + facts.model;
    start -= (facts.queue_us + facts.prefill_us + facts.decode_us) * 1000;
  } else if (leaf.type.ends_with(".outcome")) {
    name = "execute_tool " + facts.tool;
    start -= facts.duration_us * 1000;
  } else if (leaf.type.ends_with(".decided")) {
    name = "decide " + facts.tool;
  } else if (leaf.type == "session.ended") {
    name = "invoke_agent " + leaf.agent;
    root = true;
    if (const auto at = started_.find(key); at != started_.end()) {
      start = at->second;
      started_.erase(at);
    }
  } else {
    return "";
  }
  const std::string session_hash = log::to_hex(log::sha256(key));
  Json span = {{"traceId", session_hash.substr(0, 32)},
               {"spanId", root ? session_hash.substr(32, 16) : source.hash.substr(0, 16)},
               {"parentSpanId", root ? "" : session_hash.substr(32, 16)},
               {"name", name},
               {"kind", is_turn ? 3 : 1},  // client, internal
               {"startTimeUnixNano", std::to_string(std::max<std::int64_t>(0, start))},
               {"endTimeUnixNano", std::to_string(leaf.unix_ns)},
               {"attributes", attributes_of(leaf, facts, source)}};
  const bool failed = leaf.type == "turn.failed" || facts.state == "failed" ||
                      (!facts.outcome.empty() && facts.outcome != "ok");
  span["status"] = {{"code", failed ? 2 : 0}};
  Json scope = {{"scope", {{"name", "ambit"}}}, {"spans", Json::array({span})}};
  Json resource = {
      {"resource",
       {{"attributes", Json::array({attribute("service.name", "ambit"),
                                    attribute("service.instance.id", source.origin)})}}},
      {"scopeSpans", Json::array({scope})},
      {"schemaUrl", "https://opentelemetry.io/schemas/1.41.0"}};
  return dump({{"resourceSpans", Json::array({resource})}});
}

std::string Exporter::line(const log::Leaf& leaf, const Source& source) {
  if (format_ == Format::json_lines) return json_line(leaf, source);
  if (format_ == Format::cloud_events) return cloud_event(leaf, source);
  const Facts facts = facts_of(leaf);
  return format_ == Format::ocsf ? ocsf(leaf, facts, source) : otel(leaf, facts, source);
}

}  // namespace ambit::evidence
