#include "app/gateway_policies.h"

#include "app/guard_options.h"
#include "io/file.h"

#include <cstdio>
#include <sstream>
#include <utility>

namespace ambit::app {
namespace {

constexpr std::size_t gateway_policy_bytes_max = 4 << 20;
constexpr const char* gateway_agent = "gateway";

}  // namespace

GatewayPolicies::GatewayPolicies(std::unique_ptr<governance::PolicyGuard> guard)
    : guard_(std::move(guard)), log_(Log::Level::warn, [](std::string_view line) {
        std::fwrite(line.data(), 1, line.size(), stderr);
        std::fputc('\n', stderr);
      }) {}

Result<std::unique_ptr<GatewayPolicies>> GatewayPolicies::open(const std::string& files,
                                                               const Context& context,
                                                               const agents::Fleet& fleet) {
  std::vector<governance::PolicySource> sources;
  std::istringstream names(files);
  for (std::string name; std::getline(names, name, ',');) {
    if (name.empty()) continue;
    const std::string path = absolute(context, name);
    sources.push_back({path, TRY(io::read_file(path, gateway_policy_bytes_max))});
  }
  auto guard = TRY(governance::PolicyGuard::create(sources, guard_options(fleet)));
  return std::unique_ptr<GatewayPolicies>(new GatewayPolicies(std::move(guard)));
}

agents::Action GatewayPolicies::action_of(const std::string& caller,
                                          const std::string& name) const {
  agents::Action action;
  action.agent = gateway_agent;
  action.session = gateway_agent;
  action.on_behalf_of = caller;
  action.tool = name;
  action.tainted = true;  // nobody here vouches for what the client says
  action.arguments = "{}";
  guard_->trace(action);
  return action;
}

bool GatewayPolicies::offers(const std::string& caller, const std::string& name) const {
  return guard_->may_allow(action_of(caller, name));
}

Result<rpc::Value> GatewayPolicies::permits(const std::string& caller, const std::string& name,
                                            const rpc::Value& arguments) {
  agents::Action action = action_of(caller, name);
  action.id = std::string(gateway_agent) + "/" + std::to_string(++actions_);
  action.arguments = arguments.text();
  const agents::Decision decision = guard_->decide(action);
  if (decision.verdict != agents::Verdict::allow) {
    std::string policies;
    for (const std::string& one : decision.policies)
      policies += (policies.empty() ? "" : ", ") + one;
    log_.warn("mcp.refused", {{"caller", std::string_view(caller)},
                              {"name", std::string_view(name)},
                              {"policies", std::string_view(policies)},
                              {"reason", std::string_view(decision.reason)}});
    const bool waits = decision.verdict == agents::Verdict::escalate;
    return Err(Code::denied, "denied: " + decision.reason +
                                 (waits ? "; a gateway asks nobody for approvals" : ""));
  }
  return decision.arguments.empty() ? arguments : TRY(rpc::Value::parse(decision.arguments));
}

}  // namespace ambit::app
