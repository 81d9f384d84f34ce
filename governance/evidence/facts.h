#pragma once

// Facts: what a record says, out of its JSON and under one set of names, for everything that shows,
// counts or exports records. What a record does not say stays empty or 0.

#include "log/record.h"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace ambit::evidence {

struct Facts {
  std::string action;  // its id; the decision and the outcome of one action have the same
  std::string kind;    // model_call, tool_call, ...
  std::string person;  // on whose behalf, or who started it
  std::string tool;    // or the model
  std::string tool_digest;
  std::string call;
  std::string verdict;
  std::string reason;
  std::vector<std::string> policies;
  std::string policy_set;
  bool tainted = false;
  std::string outcome;
  std::string detail;
  std::string model;
  std::string device;  // where a turn was computed
  std::string finish;
  std::string state;  // in which a session ended
  std::string error;
  std::string parent;  // the session that delegated to this one
  std::string fleet;
  std::string by;  // who reviewed, erased or held
  std::int64_t input_tokens = 0;
  std::int64_t cached_tokens = 0;
  std::int64_t output_tokens = 0;
  std::int64_t forced_tokens = 0;
  std::int64_t drafted_tokens = 0;
  std::int64_t queue_us = 0;
  std::int64_t prefill_us = 0;
  std::int64_t decode_us = 0;
  std::int64_t duration_us = 0;
  std::int64_t energy_uj = 0;
  std::int64_t moved_bytes = 0;
  std::int64_t cost_micros = 0;  // millionths of the fleet's currency
};

Facts facts_of(const log::Leaf& leaf);
// The same from a record's canonical body alone.
Facts facts_of_body(std::string_view body);

// One line for people: "deny send_mail by no-mail: reason", "ok read_file", "stop, 12 tokens".
std::string gist(const log::Leaf& leaf, const Facts& facts);

}  // namespace ambit::evidence
