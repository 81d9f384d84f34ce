#include "evidence/facts.h"

#include "evidence/members.h"

#include <algorithm>
#include <iterator>

namespace ambit::evidence {
namespace {

template <class T>
struct Place {
  std::string_view name;
  T Facts::* member;
};

// Sorted by name.
constexpr Place<std::string> text_places[] = {
    {"action", &Facts::action},     {"by", &Facts::by},
    {"call", &Facts::call},         {"detail", &Facts::detail},
    {"device", &Facts::device},     {"error", &Facts::error},
    {"finish", &Facts::finish},     {"fleet", &Facts::fleet},
    {"kind", &Facts::kind},         {"model", &Facts::model},
    {"onBehalfOf", &Facts::person}, {"outcome", &Facts::outcome},
    {"parent", &Facts::parent},     {"policySet", &Facts::policy_set},
    {"reason", &Facts::reason},     {"state", &Facts::state},
    {"tool", &Facts::tool},         {"toolDigest", &Facts::tool_digest},
    {"verdict", &Facts::verdict}};

constexpr Place<std::int64_t> usages[] = {
    {"cachedTokens", &Facts::cached_tokens},   {"decodeUs", &Facts::decode_us},
    {"draftedTokens", &Facts::drafted_tokens}, {"energyUj", &Facts::energy_uj},
    {"forcedTokens", &Facts::forced_tokens},   {"inputTokens", &Facts::input_tokens},
    {"movedBytes", &Facts::moved_bytes},       {"outputTokens", &Facts::output_tokens},
    {"prefillUs", &Facts::prefill_us},         {"queueUs", &Facts::queue_us}};

template <class T, std::size_t N>
T Facts::* member_named(std::string_view name, const Place<T> (&places)[N]) {
  const auto* at =
      std::lower_bound(std::begin(places), std::end(places), name,
                       [](const Place<T>& place, std::string_view n) { return place.name < n; });
  return at != std::end(places) && at->name == name ? at->member : nullptr;
}

}  // namespace

Facts facts_of_body(std::string_view body) {
  Facts facts;
  for_each_member(body, [&facts](std::string_view name, std::string_view value) {
    if (const auto member = member_named(name, text_places)) {
      facts.*member = text_of(value);
    } else if (name == "costMicros") {
      facts.cost_micros = integer_of(value);
    } else if (name == "durationUs") {
      facts.duration_us = integer_of(value);
    } else if (name == "tainted") {
      facts.tainted = value == "true";
    } else if (name == "principal") {
      if (facts.person.empty()) facts.person = text_of(value);
    } else if (name == "policies") {
      for_each_element(value, [&facts](std::string_view each) {
        if (each.starts_with('"')) facts.policies.push_back(text_of(each));
      });
    } else if (name == "usage") {
      for_each_member(value, [&facts](std::string_view part, std::string_view number) {
        if (const auto sum = member_named(part, usages)) facts.*sum = integer_of(number);
      });
    }
  });
  return facts;
}

Facts facts_of(const log::Leaf& leaf) {
  return facts_of_body(leaf.body);
}

std::string gist(const log::Leaf& leaf, const Facts& facts) {
  // Also what a jail asks for while it runs: egress.decided, open.decided.
  if (leaf.type.ends_with(".decided")) {
    std::string line = facts.verdict + " " + facts.tool;
    for (std::size_t i = 0; i < facts.policies.size(); ++i) {
      line += (i == 0 ? " by " : ", ") + facts.policies[i];
    }
    if (facts.verdict != "allow" && !facts.reason.empty()) line += ": " + facts.reason;
    return line;
  }
  if (leaf.type.ends_with(".outcome")) {
    return facts.outcome + " " + facts.tool + (facts.detail.empty() ? "" : ": " + facts.detail);
  }
  if (leaf.type == "turn.completed") {
    return facts.finish + ", " + std::to_string(facts.output_tokens) + " tokens decoded, " +
           std::to_string(facts.input_tokens - facts.cached_tokens) + " read, " +
           std::to_string(facts.cached_tokens) + " from the cache";
  }
  if (leaf.type == "turn.failed") {
    const std::int64_t paid = facts.input_tokens - facts.cached_tokens + facts.output_tokens;
    return (paid > 0 ? std::to_string(paid) + " tokens paid for nothing: " : "") + facts.error;
  }
  if (!facts.state.empty()) {
    return facts.state + (facts.error.empty() ? "" : ": " + facts.error);
  }
  if (!facts.by.empty()) return "by " + facts.by;
  return facts.person.empty() ? "" : "for " + facts.person;
}

}  // namespace ambit::evidence
