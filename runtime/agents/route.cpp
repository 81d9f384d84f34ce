#include "agents/route.h"

#include <algorithm>

namespace ambit::agents {
namespace {

// One turn in so many of the smoothed latency is the newest.
constexpr int newest_of = 4;

std::int64_t ms_of(Duration duration) {
  return std::chrono::duration_cast<std::chrono::milliseconds>(duration).count();
}

// How a model stands in one choice; the smaller goes first.
struct Standing {
  bool over_budget = false;
  bool too_small = false;
  bool sick = false;
  bool too_slow = false;
  std::int64_t key = 0;   // what the role sorts by
  std::size_t place = 0;  // as they are named
  friend auto operator<=>(const Standing&, const Standing&) = default;
};

std::string flaw_of(const Standing& standing, std::int64_t latency_ms, const std::string& sort) {
  if (standing.over_budget) return "would pass the budget";
  if (standing.too_small) return "does not hold the conversation";
  if (standing.sick) return "failed lately";
  if (standing.too_slow) return "takes " + std::to_string(latency_ms) + " ms";
  if (sort == "price") return "costs up to " + std::to_string(standing.key) + " millionths";
  return sort == "latency" ? "takes " + std::to_string(latency_ms) + " ms" : "";
}

std::string elsewhere(const AgentSpec& agent, const std::string& what) {
  return "the data of agent " + agent.name + " must not leave this machine, and " + what;
}

}  // namespace

Routes routes_of(const Fleet& fleet, const AgentSpec& agent,
                 const std::map<std::string, Model*>& models) {
  Routes routes;
  for (const std::string& name : fleet.models_of(agent)) {
    const auto at = models.find(name);
    if (at != models.end()) routes.all.push_back({fleet.model(name), at->second});
  }
  if (!agent.role.empty()) routes.role = fleet.role(agent.role);
  return routes;
}

void ModelHealth::answered(const std::string& model, Duration took) {
  Seen& seen = seen_[model];
  seen.failed.reset();
  seen.latency =
      seen.latency == Duration::zero() ? took : seen.latency + (took - seen.latency) / newest_of;
}

void ModelHealth::failed(const std::string& model, Instant now) {
  seen_[model].failed = now;
}

bool ModelHealth::is_well(const std::string& model, Instant now) const {
  const auto at = seen_.find(model);
  return at == seen_.end() || !at->second.failed || now - *at->second.failed >= cool_down_;
}

Duration ModelHealth::latency(const std::string& model) const {
  const auto at = seen_.find(model);
  return at == seen_.end() ? Duration::zero() : at->second.latency;
}

RouteChoice choose_route(const RoleSpec* role, const std::vector<RouteOffer>& offers,
                         const ModelHealth* health, Instant now) {
  RouteChoice choice;
  if (role == nullptr) {
    for (const RouteOffer& offer : offers) choice.order.push_back(offer.by);
    return choice;
  }
  struct Ranked {
    Standing standing;
    std::int64_t latency_ms = 0;
    ModelRoute by;
  };
  std::vector<Ranked> ranked;
  for (const RouteOffer& offer : offers) {
    const std::string& name = offer.by.spec->name;
    Ranked one;
    one.by = offer.by;
    one.latency_ms = health != nullptr ? ms_of(health->latency(name)) : 0;
    one.standing.over_budget = !offer.in_budget;
    one.standing.too_small = !offer.fits_window;
    one.standing.sick = health != nullptr && !health->is_well(name, now);
    one.standing.too_slow = role->latency_ms > 0 && one.latency_ms > role->latency_ms;
    one.standing.place = ranked.size();
    if (role->sort == "price") one.standing.key = offer.cost_micros;
    if (role->sort == "latency") one.standing.key = one.latency_ms;
    ranked.push_back(std::move(one));
  }
  std::sort(ranked.begin(), ranked.end(),
            [](const Ranked& a, const Ranked& b) { return a.standing < b.standing; });
  choice.reason = "@" + role->name + " by " + role->sort;
  for (std::size_t i = 0; i < ranked.size(); ++i) {
    const Ranked& one = ranked[i];
    choice.order.push_back(one.by);
    const std::string flaw = flaw_of(one.standing, one.latency_ms, role->sort);
    // Of those that were passed over, and of the first one where it is no good either.
    const bool told = i > 0 || one.standing.over_budget || one.standing.too_small ||
                      one.standing.sick || one.standing.too_slow;
    if (told && !flaw.empty()) choice.reason += "; " + one.by.spec->name + " " + flaw;
  }
  return choice;
}

std::string residency_refusal(const AgentSpec& agent, const ModelSpec& model) {
  if (!agent.local_only || model.is_local) return "";
  return elsewhere(agent, "the model " + model.name + " is elsewhere");
}

std::string residency_refusal(const AgentSpec& agent, const ToolSpec& tool) {
  if (tool.agent.empty() || tool.stays_here == agent.local_only) return "";
  if (agent.local_only) return elsewhere(agent, "that of agent " + tool.agent + " may");
  return "the data of agent " + tool.agent + " must not leave this machine, and that of agent " +
         agent.name + " may";
}

std::string residency_refusal(const AgentSpec& agent, const AgentSpec& other) {
  ToolSpec tool;
  tool.agent = other.name;
  tool.stays_here = other.local_only;
  return residency_refusal(agent, tool);
}

}  // namespace ambit::agents
