// Random policy sets with many questions each, answered by our engine, one JSON line a set: what
// another engine is to answer in the same way. cedar_differ SEED SETS POLICIES REQUESTS.

#include "cedar/est.h"
#include "cedar/validate.h"
#include "cedar/write.h"
#include "random_policies.h"

#include <nlohmann/json.hpp>

#include <cstdio>
#include <cstdlib>

using namespace ambit::cedar;
using nlohmann::json;

namespace {

json uid_json(const Value& value) {
  const auto& uid = *value.as<EntityUid>();
  return {{"type", uid.type}, {"id", uid.id}};
}

json answer_json(const PolicySet& set, const Request& request, const Entities& entities) {
  const Answer answer = set.decide(request, entities);
  json reasons = json::array();
  for (const Policy* policy : answer.determining()) reasons.push_back(policy->id);
  json errors = json::array();
  for (const auto& error : answer.errors) errors.push_back(error.policy->id);
  return {{"principal", uid_json(request.principal)},
          {"action", uid_json(request.action)},
          {"resource", uid_json(request.resource)},
          {"context", json::parse(to_json(request.context))},
          {"decision", answer.allowed() ? "allow" : "deny"},
          {"reason", reasons},
          {"errors", errors}};
}

// Half of the sets reach our engine by way of their JSON form.
std::vector<Policy> read_again(const std::vector<Policy>& policies, bool by_json) {
  if (by_json) {
    auto read = parse_policies_json(to_json(policies), "json");
    if (!read) std::fprintf(stderr, "%s\n", read.error().message.c_str());
    return read ? *read : std::vector<Policy>();
  }
  std::string text;
  for (const Policy& policy : policies) text += policy.text + "\n";
  auto read = parse_policies(text, "text");
  if (!read) std::fprintf(stderr, "%s\n%s\n", read.error().message.c_str(), text.c_str());
  return read ? *read : std::vector<Policy>();
}

}  // namespace

int main(int count, char** arguments) {
  if (count != 5) {
    std::fprintf(stderr, "usage: cedar_differ SEED SETS POLICIES REQUESTS\n");
    return 2;
  }
  const auto number = [&](int at) { return std::strtoull(arguments[at], nullptr, 10); };
  const auto schema = Schema::from_text(RandomPolicies::schema(), "schema");
  if (!schema) {
    std::fprintf(stderr, "%s\n", schema.error().message.c_str());
    return 1;
  }
  std::printf("%s\n", json{{"schema", RandomPolicies::schema()}}.dump().c_str());
  for (unsigned long long i = 0; i < number(2); ++i) {
    RandomPolicies random(number(1) + i);
    std::vector<Policy> policies;
    for (std::size_t k = 0; k < number(3); ++k) policies.push_back(random.policy(k));
    std::vector<Policy> read = read_again(policies, i % 2 == 0);
    if (read.size() != policies.size()) return 1;
    json texts = json::object();
    json valid = json::object();
    for (std::size_t k = 0; k < policies.size(); ++k) {
      texts[policies[k].id] = policies[k].text;
      valid[policies[k].id] = true;
    }
    for (const Finding& finding : validate(read, *schema)) {
      if (finding.error) valid[finding.policy->id] = false;
    }
    const auto set = PolicySet::create(std::move(read));
    auto list = random.entities();
    const json entities = json::parse(to_json(list));
    const auto store = Entities::create(std::move(list));
    if (!set || !store) return 1;
    json requests = json::array();
    for (std::size_t k = 0; k < number(4); ++k) {
      requests.push_back(answer_json(*set, random.request(), *store));
    }
    std::printf("%s\n", json{{"seed", number(1) + i},
                             {"policies", texts},
                             {"valid", valid},
                             {"entities", entities},
                             {"requests", requests}}
                            .dump()
                            .c_str());
  }
  return 0;
}
