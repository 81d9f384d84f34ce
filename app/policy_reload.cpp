#include "app/policy_reload.h"

#include "io/file.h"

#include <nlohmann/json.hpp>

#include <utility>

namespace ambit::app {
namespace {

constexpr std::size_t policy_bytes_max = 4 << 20;

Result<std::vector<governance::PolicySource>> read_policies(const agents::Fleet& fleet) {
  std::vector<governance::PolicySource> sources;
  for (const std::string& path : fleet.policies) {
    sources.push_back({path, TRY(io::read_file(path, policy_bytes_max))});
  }
  return sources;
}

std::string with_person(const std::string& body, const std::string& by) {
  nlohmann::json said = nlohmann::json::parse(body, nullptr, false);
  said["by"] = by;
  return said.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace

Task<Result<std::string>> reload_policies(Assembly& assembly, std::string run, std::string by) {
  auto sources = read_policies(assembly.fleet());
  Result<agents::Notice> announced = sources ? assembly.policy_guard().announce(*sources)
                                             : Result<agents::Notice>(Err(sources.error()));
  if (!announced) {
    const nlohmann::json body = {{"by", by},
                                 {"inForce", assembly.policy_guard().policy_set()},
                                 {"reason", announced.error().message}};
    agents::Event event{"policy.refused", run, "", "", "", {}};
    event.body = body.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
    co_await ok(assembly.journal().append(std::move(event)));
    co_return Err(std::move(announced).error().context("the policies stay as they were"));
  }
  // The record comes first: no decision is made by policies that it does not hold.
  std::string told = with_person(announced->body, by);
  agents::Event event{announced->type, run, "", "", told, {}};
  for (const governance::PolicySource& source : *sources) {
    event.payloads.push_back(
        {"policy " + source.name.substr(source.name.rfind('/') + 1), source.text});
  }
  co_await ok(assembly.journal().append(std::move(event)));
  auto loaded = assembly.policy_guard().reload(*sources);
  if (!loaded) co_return Err(std::move(loaded).error());
  co_return told;
}

}  // namespace ambit::app
