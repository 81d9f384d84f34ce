#pragma once

// What facts and snapshots of sessions are written and read with: the names of values, texts that
// are mended, members that several types have. For the files that do so alone.

#include "agents/fact.h"
#include "agents/json_writer.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ambit::agents::fact_text {

using Json = nlohmann::ordered_json;

inline constexpr OutcomeKind outcome_kinds[] = {
    OutcomeKind::ok,           OutcomeKind::tool_error,       OutcomeKind::denied,
    OutcomeKind::escalated,    OutcomeKind::timeout,          OutcomeKind::cpu_limit,
    OutcomeKind::memory_limit, OutcomeKind::process_limit,    OutcomeKind::file_size_limit,
    OutcomeKind::output_limit, OutcomeKind::policy_violation, OutcomeKind::crashed,
    OutcomeKind::refused,      OutcomeKind::protocol_error,   OutcomeKind::bad_arguments};
inline constexpr Verdict verdicts[] = {Verdict::allow, Verdict::deny, Verdict::escalate};
inline constexpr ActionKind action_kinds[] = {
    ActionKind::model_call,   ActionKind::tool_call, ActionKind::delegation, ActionKind::message,
    ActionKind::memory_write, ActionKind::spawn,     ActionKind::egress};
inline constexpr ApprovalEnd approval_ends[] = {ApprovalEnd::approved, ApprovalEnd::denied,
                                                ApprovalEnd::expired, ApprovalEnd::modified,
                                                ApprovalEnd::done};
inline constexpr std::string_view finish_names[] = {"stop", "tool_calls", "length"};

// An unknown name gets the meaning that fails closed.
template <class E, std::size_t N>
E from_name(std::string_view name, const E (&all)[N], E closed) {
  const auto* at = std::find_if(std::begin(all), std::end(all),
                                [&](E value) { return to_string(value) == name; });
  return at != std::end(all) ? *at : closed;
}

inline void mend(std::string& text) {
  if (!is_utf8(text)) text = mended_utf8(std::move(text));
}

inline void mend(Message& message) {
  mend(message.content);
  for (ToolCall& call : message.tool_calls) {
    mend(call.name);
    mend(call.arguments);
  }
}

inline void write(JsonWriter& out, const Usage& usage) {
  out.begin_object();
  out.key("cachedTokens").integer(usage.cached_tokens).key("decodeUs").integer(usage.decode_us);
  out.key("draftedTokens").integer(usage.drafted_tokens);
  if (usage.energy_uj > 0) out.key("energyUj").integer(usage.energy_uj);
  out.key("forcedTokens").integer(usage.forced_tokens);
  out.key("inputTokens").integer(usage.input_tokens);
  if (usage.moved_bytes > 0) out.key("movedBytes").integer(usage.moved_bytes);
  out.key("outputTokens").integer(usage.output_tokens);
  out.key("prefillUs").integer(usage.prefill_us).key("queueUs").integer(usage.queue_us);
  out.end_object();
}

inline void write(JsonWriter& out, const std::vector<std::string>& texts) {
  out.begin_array();
  for (const std::string& text : texts) out.text(text);
  out.end_array();
}

inline void write(JsonWriter& out, std::vector<std::pair<std::string, std::string>> obligations) {
  std::sort(obligations.begin(), obligations.end());
  out.begin_object();
  for (const auto& [name, value] : obligations) out.foreign_key(name).text(value);
  out.end_object();
}

inline std::string payload(const Event& event, std::string_view name) {
  for (const Payload& item : event.payloads) {
    if (item.name == name) return item.bytes;
  }
  return "";
}

inline std::string text(const Json& body, const char* name) {
  return body.value(name, "");
}
inline std::int64_t number(const Json& body, const char* name) {
  return body.value(name, std::int64_t{0});
}
inline std::vector<std::string> texts(const Json& body, const char* name) {
  return body.value(name, std::vector<std::string>{});
}

inline Usage usage_of(const Json& body) {
  const Json members = body.value("usage", Json::object());
  Usage usage;
  usage.input_tokens = number(members, "inputTokens");
  usage.cached_tokens = number(members, "cachedTokens");
  usage.output_tokens = number(members, "outputTokens");
  usage.forced_tokens = number(members, "forcedTokens");
  usage.drafted_tokens = number(members, "draftedTokens");
  usage.queue_us = number(members, "queueUs");
  usage.prefill_us = number(members, "prefillUs");
  usage.decode_us = number(members, "decodeUs");
  usage.energy_uj = number(members, "energyUj");
  usage.moved_bytes = number(members, "movedBytes");
  return usage;
}

inline std::vector<std::pair<std::string, std::string>> obligations_of(const Json& body) {
  std::vector<std::pair<std::string, std::string>> obligations;
  const Json members = body.value("obligations", Json::object());
  for (const auto& [name, value] : members.items()) {
    obligations.emplace_back(name, value.get<std::string>());
  }
  return obligations;
}

}  // namespace ambit::agents::fact_text
