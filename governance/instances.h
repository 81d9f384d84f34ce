#pragma once

// Instances: the port Identities. Each session of an agent gets a key of its own when it begins
// and acts under a token that says for whom, through whom, at which level and within which budget.
// A token that one agent's session hands on to another's is checked to be narrower, and so a
// delegation that would widen anything does not begin. Keys and tokens live in memory alone, as
// long as their session.

#include "agents/ports.h"
#include "governance/identity.h"

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <utility>

namespace ambit::governance {

struct InstanceOptions {
  std::string issuer;                                              // "ambit:FLEET"
  std::function<std::int64_t()> now_s;                             // the world's clock
  std::function<std::int64_t(const std::string& agent)> level_of;  // its autonomy
  std::int64_t lifetime_s = 30 * 86'400;                           // of a token, at most
  std::size_t instances_max = 200'000;
};

class Instances final : public agents::Identities {
 public:
  explicit Instances(InstanceOptions options) : options_(std::move(options)) {}

  // Errors: denied (the parent's instance is gone, or this one would be wider), exhausted.
  Result<agents::Identity> begin(const agents::Charge& charge) override;
  void end(const std::string& run, const std::string& session) override;

  [[nodiscard]] std::size_t size() const { return live_.size(); }
  // The token that the session acts under; null: it has none.
  [[nodiscard]] const std::string* token_of(const std::string& run,
                                            const std::string& session) const;

 private:
  struct Live {
    AgentIdentity identity;
    Mandate mandate;
    std::string token;
  };
  using Key = std::pair<std::string, std::string>;  // run, session

  [[nodiscard]] Mandate mandate_for(const agents::Charge& charge, const Live* parent) const;

  InstanceOptions options_;
  std::map<Key, Live> live_;
  std::uint64_t issued_ = 0;
};

}  // namespace ambit::governance
