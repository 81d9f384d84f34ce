#include "app/mcp_door.h"

#include "app/command.h"
#include "app/version.h"

#include <nlohmann/json.hpp>

#include <utility>

namespace ambit::app {
namespace {

constexpr const char* task_type = "mcp.task";
constexpr const char* task_payload = "task";

mcp::ServerOptions server_options(const Assembly& assembly, const agents::AgentSpec& agent,
                                  JournalTaskKeeper& keeper, mcp::FleetTools& tools) {
  mcp::ServerOptions options;
  options.info = {"ambit-" + assembly.fleet().name, std::string(version)};
  options.instructions = agent.description;
  options.tasks.keeper = &keeper;
  options.before_list = [&tools]() { return tools.refresh(); };
  return options;
}

mcp::FleetToolsOptions tools_options(agents::AgentSpec agent, const std::string& run,
                                     const mcp::Skills& skills) {
  mcp::FleetToolsOptions options;
  options.skills = skills;
  options.run = run;
  options.session = "mcp-" + agent.name;
  options.agent = std::move(agent);
  options.is_shared = true;
  return options;
}

}  // namespace

Task<Result<void>> JournalTaskKeeper::keep(mcp::TaskRecord record) {
  agents::Event event{task_type, record.id, "", agent_, "{}", {}};
  const rpc::Value value = mcp::to_value(record);
  rpc::Json body = rpc::Json::object();
  for (const char* key : {"principal", "tool", "status"}) body[key] = value.json()[key];
  event.body = rpc::compact(body);
  event.payloads.push_back({task_payload, value.text()});
  co_await ok(journal_.append(std::move(event)));
  co_return Result<void>();
}

Result<std::vector<mcp::TaskRecord>> kept_mcp_tasks(log::LogJournal& journal,
                                                    const std::string& agent, std::int64_t since_ns,
                                                    Log& log) {
  log::Filter filter;
  filter.type = task_type;
  filter.agent = agent;
  filter.from_unix_ns = since_ns;
  std::vector<std::string> ids;
  TRY(journal.reader().for_each(filter, [&](const log::Leaf& leaf) {
    ids.push_back(leaf.run);
    return true;
  }));
  std::vector<mcp::TaskRecord> records;
  for (const std::string& id : ids) {
    // What was kept last counts; a task is kept twice.
    if (!records.empty() && records.back().id == id) continue;
    mcp::TaskRecord record;
    Result<void> read = Err(Code::not_found, "its record has no payload");
    const auto done = journal.read(id, [&](const agents::StoredEvent& stored) {
      for (const agents::Payload& payload : stored.event.payloads) {
        if (stored.event.type != task_type || payload.name != task_payload) continue;
        auto value = rpc::Value::parse(payload.bytes);
        read = value ? mcp::from_value(*value, record) : Err(std::move(value).error());
      }
      return true;
    });
    if (!done) read = Err(done.error());  // erased, or expired
    if (read) {
      records.push_back(std::move(record));
    } else {
      log.warn("mcp.task_left_out",
               {{"task", std::string_view(id)}, {"why", std::string_view(read.error().message)}});
    }
  }
  return records;
}

McpDoor::McpDoor(io::UvWorld& world, Assembly& assembly, agents::AgentSpec agent,
                 const std::string& run, Authenticate authenticate)
    : world_(world),
      assembly_(assembly),
      agent_(agent.name),
      authenticate_(std::move(authenticate)),
      keeper_(assembly.journal(), agent.name),
      server_(world.world().clock, world.world().entropy,
              server_options(assembly, agent, keeper_, tools_)),
      tools_(server_, assembly.toolboxes(), assembly.ports(),
             tools_options(std::move(agent), run, assembly.skills())) {}

Task<Result<void>> McpDoor::open(Log& log) {
  const std::int64_t ttl_ns = mcp::TaskOptions().ttl_ms * 1'000'000;
  const std::int64_t since = world_.world().clock.unix_ns() - ttl_ns;
  auto kept = co_await ok(kept_mcp_tasks(assembly_.journal(), agent_, since, log));
  server_.restore_tasks(std::move(kept));
  co_await ok(shelve_artifacts());
  co_return co_await tools_.refresh();
}

// What the agent kept before this process began.
Result<void> McpDoor::shelve_artifacts() {
  agents::Artifacts* artifacts = assembly_.ports().artifacts;
  if (artifacts == nullptr) return {};
  log::Filter filter;
  filter.type = agents::artifact_event;
  filter.agent = agent_;
  return assembly_.journal().reader().for_each(filter, [&](const log::Leaf& leaf) {
    auto facts = agents::artifact_of(leaf.type, leaf.body);
    if (!facts) return true;
    artifacts->shelve(leaf.agent, facts->requester,
                      {std::move(facts->id), facts->bytes, std::move(facts->tool), leaf.run});
    return true;
  });
}

Task<Result<std::function<void()>>> McpDoor::prepare(agents::AgentSpec agent,
                                                     std::shared_ptr<Generation> next) {
  mcp::FleetTools::Edition edition;
  edition.agent = std::move(agent);
  edition.boxes = next->toolboxes;
  edition.keeps = std::move(next);
  auto adopt = co_await tools_.prepare(std::move(edition));
  co_return std::move(adopt);
}

std::unique_ptr<mcp::HttpEndpoint> McpDoor::endpoint(std::string path) {
  mcp::HttpEndpointOptions options;
  options.path = std::move(path);
  options.authenticate = [this](const http::RequestHead& head) -> Result<std::string> {
    auto caller = authenticate_(head);
    if (caller) return *caller;
    return Err(Code::denied, "a bearer token is needed");
  };
  return std::make_unique<mcp::HttpEndpoint>(server_, world_.world().entropy, std::move(options));
}

}  // namespace ambit::app
