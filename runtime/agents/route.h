#pragma once

// Which model takes an agent's turn. An agent names one model, which others stand in for when it
// cannot answer, or a role ("@planner"): models that can all do the work, of which each turn goes
// to the first by price or by latency that is well, fits the budget and holds the conversation. The
// choice and its reason are recorded with the turn. What must stay on this machine never has a
// model that is elsewhere among its choices. Pure: the time is told.

#include "agents/fleet.h"
#include "agents/ports.h"
#include "async/event.h"
#include "async/loop.h"

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace ambit::agents {

struct ModelRoute {
  const ModelSpec* spec = nullptr;
  Model* model = nullptr;
};

// All models that may take the turns of one agent, in the order in which they are named.
struct Routes {
  std::vector<ModelRoute> all;
  const RoleSpec* role = nullptr;  // null: the order stands
};
Routes routes_of(const Fleet& fleet, const AgentSpec& agent,
                 const std::map<std::string, Model*>& models);

// What all agents together have seen of each model lately. Bounded by the models of the fleet.
class ModelHealth {
 public:
  explicit ModelHealth(Duration cool_down = std::chrono::seconds(30)) : cool_down_(cool_down) {}

  void answered(const std::string& model, Duration took);
  void failed(const std::string& model, Instant now);
  // It has answered since it last failed, or has been left alone for a while.
  [[nodiscard]] bool is_well(const std::string& model, Instant now) const;
  // Of its last turns, the newer ones counting more; 0: not known, so it is tried.
  [[nodiscard]] Duration latency(const std::string& model) const;

 private:
  struct Seen {
    Duration latency{};
    std::optional<Instant> failed{};
  };
  Duration cool_down_;
  std::map<std::string, Seen> seen_;
};

// What a turn would be with one of the models.
struct RouteOffer {
  ModelRoute by;
  std::int64_t cost_micros = 0;  // at most
  bool in_budget = true;
  bool fits_window = true;
};

struct RouteChoice {
  std::vector<ModelRoute> order;  // whom to ask; the next one where one cannot answer
  std::string reason;             // why the first one is the first; empty: it is named
};
// `health` may be null: nothing is known of anybody.
RouteChoice choose_route(const RoleSpec* role, const std::vector<RouteOffer>& offers,
                         const ModelHealth* health, Instant now);

// Why what an agent reads and says may not go there; empty: it may. Models that are elsewhere get
// nothing of an agent whose data stays on this machine, and such agents and others give each other
// no task, session or answer.
std::string residency_refusal(const AgentSpec& agent, const ModelSpec& model);
std::string residency_refusal(const AgentSpec& agent, const ToolSpec& tool);
std::string residency_refusal(const AgentSpec& agent, const AgentSpec& other);

}  // namespace ambit::agents
