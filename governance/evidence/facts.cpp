#include "evidence/facts.h"

#include <nlohmann/json.hpp>

namespace ambit::evidence {
namespace {

using nlohmann::json;

std::string text(const json& object, const char* name) {
  const auto at = object.find(name);
  return at != object.end() && at->is_string() ? at->get<std::string>() : std::string();
}

std::int64_t number(const json& object, const char* name) {
  const auto at = object.find(name);
  return at != object.end() && at->is_number_integer() ? at->get<std::int64_t>() : 0;
}

std::string first_of(const std::string& a, const std::string& b) {
  return a.empty() ? b : a;
}

}  // namespace

Facts facts_of(const log::Leaf& leaf) {
  Facts facts;
  const json body = json::parse(leaf.body, nullptr, false);
  if (!body.is_object()) return facts;
  facts.action = text(body, "action");
  facts.kind = text(body, "kind");
  facts.person = first_of(text(body, "onBehalfOf"), text(body, "principal"));
  facts.tool = text(body, "tool");
  facts.tool_digest = text(body, "toolDigest");
  facts.call = text(body, "call");
  facts.verdict = text(body, "verdict");
  facts.reason = text(body, "reason");
  facts.policy_set = text(body, "policySet");
  facts.outcome = text(body, "outcome");
  facts.detail = text(body, "detail");
  facts.model = text(body, "model");
  facts.finish = text(body, "finish");
  facts.state = text(body, "state");
  facts.error = text(body, "error");
  facts.parent = text(body, "parent");
  facts.duration_us = number(body, "durationUs");
  const auto tainted = body.find("tainted");
  facts.tainted = tainted != body.end() && tainted->is_boolean() && tainted->get<bool>();
  const auto policies = body.find("policies");
  if (policies != body.end() && policies->is_array()) {
    for (const json& policy : *policies) {
      if (policy.is_string()) facts.policies.push_back(policy.get<std::string>());
    }
  }
  const auto usage = body.find("usage");
  if (usage != body.end() && usage->is_object()) {
    facts.input_tokens = number(*usage, "inputTokens");
    facts.cached_tokens = number(*usage, "cachedTokens");
    facts.output_tokens = number(*usage, "outputTokens");
    facts.forced_tokens = number(*usage, "forcedTokens");
    facts.queue_us = number(*usage, "queueUs");
    facts.prefill_us = number(*usage, "prefillUs");
    facts.decode_us = number(*usage, "decodeUs");
  }
  return facts;
}

std::string gist(const log::Leaf& leaf, const Facts& facts) {
  if (leaf.type == "action.decided") {
    std::string line = facts.verdict + " " + facts.tool;
    for (std::size_t i = 0; i < facts.policies.size(); ++i) {
      line += (i == 0 ? " by " : ", ") + facts.policies[i];
    }
    if (facts.verdict != "allow" && !facts.reason.empty()) line += ": " + facts.reason;
    return line;
  }
  if (leaf.type == "action.outcome") {
    return facts.outcome + " " + facts.tool + (facts.detail.empty() ? "" : ": " + facts.detail);
  }
  if (leaf.type == "turn.completed") {
    return facts.finish + ", " + std::to_string(facts.output_tokens) + " tokens decoded, " +
           std::to_string(facts.input_tokens - facts.cached_tokens) + " read, " +
           std::to_string(facts.cached_tokens) + " from the cache";
  }
  if (!facts.state.empty()) {
    return facts.state + (facts.error.empty() ? "" : ": " + facts.error);
  }
  return facts.person.empty() ? "" : "for " + facts.person;
}

}  // namespace ambit::evidence
