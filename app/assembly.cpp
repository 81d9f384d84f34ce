#include "app/assembly.h"

#include "app/argument_check.h"
#include "app/guard_options.h"
#include "app/jailed_servers.h"
#include "app/load_fleet.h"
#include "app/load_skills.h"
#include "app/mcp_connect.h"
#include "async/scope.h"
#include "io/file.h"
#include "jose/key.h"
#include "log/sha256.h"

#ifdef AMBIT_GRPC
#include "grpc_door/grpc_client.h"
#endif

#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <unistd.h>

namespace ambit::app {
namespace {

constexpr std::size_t policy_bytes_max = 4 << 20;
constexpr std::size_t script_bytes_max = 16 << 20;
// Readings of the fleet file that have sessions at once.
constexpr std::size_t generations_max = 16;

// mkdir -p for our own state; 0700, since the record is nobody else's.
Result<void> make_directories(const std::string& path) {
  for (std::size_t at = 1; at != std::string::npos;) {
    at = path.find('/', at + 1);
    const std::string part = path.substr(0, at);
    if (::mkdir(part.c_str(), 0700) != 0 && errno != EEXIST) {
      return Err(Code::denied, "cannot make the folder " + part + ": " + std::strerror(errno));
    }
  }
  return {};
}

// Jails compare paths: links in them would hide that one lies in the other.
Result<std::string> canonical(const std::string& path) {
  const std::unique_ptr<char, decltype(&std::free)> found(::realpath(path.c_str(), nullptr),
                                                          &std::free);
  if (found) return std::string(found.get());
  return Err(Code::denied, "cannot find the folder " + path + ": " + std::strerror(errno));
}

// For the times in a turn's usage, on the engine's own thread; no decision rests on it.
std::int64_t monotonic_us() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return std::int64_t{now.tv_sec} * 1'000'000 + now.tv_nsec / 1000;
}

}  // namespace

Assembly::Assembly(io::UvWorld& world, agents::Fleet fleet, AssemblyOptions options)
    : world_(world), fleet_(std::move(fleet)), options_(std::move(options)) {}

Assembly::~Assembly() {
  stop();
}

Result<std::unique_ptr<Assembly>> Assembly::open(io::UvWorld& world, agents::Fleet fleet,
                                                 AssemblyOptions options) {
  TRY(make_directories(options.state));
  options.state = TRY(canonical(options.state));
  std::unique_ptr<Assembly> made(new Assembly(world, std::move(fleet), std::move(options)));
  TRY(make_directories(made->journal_path()));
  log::JournalOptions journal;
  journal.writer.folder = made->journal_path();
  made->journal_ = TRY(log::LogJournal::open(world.world(), journal));
  made->redacting_ =
      std::make_unique<RedactingJournal>(*made->journal_, TRY(redaction_of(made->fleet_)));
  made->book_ = std::make_unique<SessionBook>(*made->redacting_);
  TRY(made->open_guard());
  TRY(made->open_bounds());
  if (made->options_.models) TRY(made->open_models());
  TRY(made->open_tools());
  TRY(made->open_remote_agents());
  made->sub_agents_ = std::make_unique<agents::SubAgents>(
      made->fleet_, made->models(), made->ports(), made->toolboxes_with(*made->command_tools_));
  return made;
}

std::string Generation::definition() const {
  return definition_of(fleet);
}

std::string Assembly::definition() const {
  return definition_of(current());
}

Result<std::shared_ptr<Generation>> Assembly::next(agents::Fleet fleet) {
  std::erase_if(generations_, [](const auto& one) { return one.expired(); });
  if (generations_.size() >= generations_max) {
    return Err(Code::exhausted, "sessions of " + std::to_string(generations_.size()) +
                                    " earlier readings of the fleet file still live; wait for "
                                    "them to end");
  }
  auto made = std::make_shared<Generation>();
  made->fleet = std::move(fleet);
  made->command_tools = command_tools_of(made->fleet);
  made->toolboxes = toolboxes_with(*made->command_tools);
  made->sub_agents =
      std::make_unique<agents::SubAgents>(made->fleet, models(), ports(), made->toolboxes);
  made->toolboxes.push_back(made->sub_agents.get());
  generations_.push_back(made);
  return made;
}

std::unique_ptr<agents::CommandTools> Assembly::command_tools_of(const agents::Fleet& fleet) {
  return std::make_unique<agents::CommandTools>(
      fleet, *runner_, [this](const std::string& session) { return work_directory(session); },
      [this](const std::string& session) { return book_->agent_of(session); });
}

std::vector<agents::Toolbox*> Assembly::toolboxes_with(agents::CommandTools& commands) const {
  std::vector<agents::Toolbox*> toolboxes{&commands, skill_box_.get()};
  if (memory_tools_) toolboxes.push_back(memory_tools_.get());
  if (artifacts_) toolboxes.push_back(artifacts_.get());
  for (const auto& server : servers_) toolboxes.push_back(server.get());
  if (remote_agents_) toolboxes.push_back(remote_agents_.get());
  return toolboxes;
}

Result<void> Assembly::open_guard() {
  std::vector<governance::PolicySource> sources;
  if (!fleet_.source.empty()) sources_.push_back({"fleet", fleet_.source});
  for (const std::string& path : fleet_.policies) {
    sources.push_back({path, TRY(io::read_file(path, policy_bytes_max))});
    sources_.push_back({"policy " + path.substr(path.rfind('/') + 1), sources.back().text});
  }
  governance::GuardOptions options = guard_options(fleet_);
  const std::string levels = options_.state + "/autonomy.json";
  options.keep_levels = [levels](const std::string& text) {
    // What cannot be kept still holds until the end of this process; the journal has it.
    (void)io::write_file(levels, text + "\n", 0600);
  };
  guard_ = TRY(governance::PolicyGuard::create(sources, options));
  if (::access(levels.c_str(), F_OK) == 0) {
    const std::string text = TRY(io::read_file(levels, policy_bytes_max));
    auto kept = governance::AutonomyLevels::from_json(text);
    if (!kept) return Err(std::move(kept).error().context(levels));
    guard_->take_levels(*kept);
  }
  return {};
}

// People are asked where a file names them; else an escalation is a refusal.
Result<void> Assembly::open_bounds() {
  const std::string approvers = options_.state + "/approvers";
  if (::access(approvers.c_str(), F_OK) == 0) {
    PeopleOptions people;
    people.folder = options_.state + "/approvals";
    people.approvers = approvers;
    people.lifetime_ms = fleet_.approval_ms;
    people.levels = fleet_.approval_levels;
    people.journal = book_.get();
    const auto secret = options_.environment.find(fleet_.approval_secret);
    if (!fleet_.approval_url.empty() && secret != options_.environment.end()) {
      webhook_ = std::make_unique<http::CurlClient>(world_.watcher());
      people.webhook = fleet_.approval_url;
      people.secret = secret->second;
      people.client = webhook_.get();
    }
    approvals_ = TRY(FolderApprovals::open(world_.world(), std::move(people)));
  }
  if (!fleet_.quotas.empty() || fleet_.guards != agents::Guards{}) {
    quotas_ = TRY(LimitQuotas::create(world_.world().clock, fleet_));
  }
  check_tool_ = TRY(pinned_tools(fleet_.tool_pins));
  governance::InstanceOptions instances;
  instances.issuer = "ambit:" + fleet_.name;
  instances.now_s = [this] { return world_.world().clock.unix_ns() / 1'000'000'000; };
  instances.level_of = [this](const std::string& agent) { return guard_->autonomy().of(agent); };
  instances_ = std::make_unique<governance::Instances>(std::move(instances));
  return {};
}

Result<void> Assembly::open_script(const agents::ModelSpec& spec) {
  auto script =
      agents::ScriptModel::parse(spec.name, TRY(io::read_file(spec.script, script_bytes_max)));
  if (!script) return Err(std::move(script).error().context(spec.script));
  scripts_.emplace(spec.name, std::move(*script));
  return {};
}

Result<void> Assembly::open_models() {
  const auto on_gpu = [](const agents::ModelSpec& spec) {
    return spec.script.empty() && spec.base_url.empty() && spec.device != "cpu";
  };
  if (std::count_if(fleet_.models.begin(), fleet_.models.end(), on_gpu) > 1)
    residencies_ = std::make_shared<inference::cuda::Residencies>(monotonic_us);
  for (const agents::ModelSpec& spec : fleet_.models) {
    if (!spec.script.empty()) {
      TRY(open_script(spec));
    } else if (spec.base_url.empty()) {
      TRY(open_engine(spec));
    } else {
      open_endpoint(spec);
    }
    if (spec.at_once_max > 0) {
      throttled_.emplace(spec.name,
                         std::make_unique<agents::ThrottledModel>(
                             model(spec.name), static_cast<std::size_t>(spec.at_once_max)));
    }
  }
  return {};
}

Result<void> Assembly::open_engine(const agents::ModelSpec& spec) {
  inference::EngineOptions options;
  options.threads =
      options_.threads > 0 ? static_cast<std::size_t>(options_.threads) : processors();
  options.batch_max = static_cast<std::size_t>(options_.batch_max);
  options.context_max = static_cast<std::size_t>(spec.context_max);
  options.grammar = options_.grammar;
  options.device = spec.device;
  options.prefill_device = spec.prefill_device;
  options.residencies = residencies_;
  options.parks = spec.parks;
  options.fp8_weights = spec.weights == "fp8";
  options.kv_type = spec.kv_type == "q8"    ? inference::KvType::q8
                    : spec.kv_type == "fp8" ? inference::KvType::fp8
                                            : inference::KvType::f16;
  options.kv_bytes = static_cast<std::size_t>(spec.kv_memory);
  options.kv_host_bytes = static_cast<std::size_t>(spec.kv_host);
  options.kv_disk_bytes = static_cast<std::size_t>(spec.kv_disk);
  options.kv_disk_folder = options_.state;
  options.warn = [name = spec.name](const std::string& what) {
    std::fprintf(stderr, "ambit: model %s: %s\n", name.c_str(), what.c_str());
  };
  options.clock_us = monotonic_us;
  if (!energy_) energy_ = energy_meters();
  options.energy = energy_;
  options.processor = processor_name();
  auto engine = inference::Engine::open(spec.file, options, world_.loop());
  if (!engine) return Err(std::move(engine).error().context("model " + spec.name));
  engines_.emplace(spec.name, std::move(*engine));
  return {};
}

void Assembly::open_endpoint(const agents::ModelSpec& spec) {
  if (!client_) client_ = std::make_unique<http::CurlClient>(world_.watcher());
  remote::ChatOptions options;
  options.name = spec.name;
  options.model = spec.remote_name;
  options.base_url = spec.base_url;
  const auto key = options_.environment.find(spec.key_variable);
  if (key != options_.environment.end()) options.key = key->second;
  options.endpoint = &addresses_[spec.base_url + " " + spec.key_variable];
  endpoints_.emplace(spec.name, std::make_unique<remote::ChatModel>(*client_, std::move(options)));
}

Result<void> Assembly::open_tools() {
  TRY(make_directories(work_path()));
  sandbox::RunnerOptions options;
  options.forbidden = {journal_path(), memory_path()};
  options.work_root = work_path();
  gate_ = std::make_unique<JailGate>(*guard_, *book_, approvals_.get(), options_.run);
  http::CurlOptions public_alone;
  public_alone.connects_to_public_alone = true;
  egress_ = std::make_unique<http::CurlClient>(world_.watcher(), public_alone);
  egress_private_ = std::make_unique<http::CurlClient>(world_.watcher());
  options.gate = gate_.get();
  options.egress.client = egress_.get();
  options.egress.private_client = egress_private_.get();
  options.egress.secret = [this](const std::string& name) -> std::optional<std::string> {
    const auto found = options_.environment.find(name);
    if (found == options_.environment.end()) return std::nullopt;
    return found->second;
  };
  runner_ = TRY(sandbox::ZygoteRunner::open(world_.world(), options));
  command_tools_ = command_tools_of(fleet_);
  skill_box_ = std::make_unique<mcp::SkillBox>(TRY(load_skills(fleet_)));
  http_ = std::make_unique<http::CurlClient>(world_.watcher(), mcp_http_options());
  mcp::ToolboxOptions toolbox;
  toolbox.client.eras = std::make_shared<mcp::EraMemory>();
  // What a conversation cannot hold is kept, and not cut before.
  if (fleet_.artifacts) {
    toolbox.content_bytes_max =
        std::max(toolbox.content_bytes_max, static_cast<std::size_t>(fleet_.artifacts->bytes_max));
  }
  for (const agents::McpServerSpec& server : fleet_.mcp_servers) {
    servers_.push_back(open_server(server, toolbox));
  }
  return open_memory();
}

Result<void> Assembly::open_memory() {
  if (fleet_.artifacts) {
    agents::ArtifactsPorts kept{
        *book_, roster_, [](std::string_view bytes) { return log::to_hex(log::sha256(bytes)); }};
    artifacts_ = std::make_unique<agents::Artifacts>(std::move(kept), *fleet_.artifacts);
  }
  if (fleet_.memories.empty()) return {};
  TRY(make_directories(memory_path()));
  auto store = TRY(memory::Store::open(memory_path(), memory::Store::Mode::write));
  const io::World& world = world_.world();
  memory::ToolsPorts ports{world.clock, world.workers, *guard_, roster_,
                           [this](const std::string& session) { return book_->agent_of(session); }};
  memory_tools_ =
      std::make_unique<memory::MemoryTools>(std::move(ports), fleet_.memories, std::move(store));
  return {};
}

// Agents elsewhere are found when their tools are first listed.
Result<void> Assembly::open_remote_agents() {
  if (fleet_.remote_agents.empty()) return {};
  std::vector<a2a::RemoteSpec> specs;
  for (const agents::RemoteAgentSpec& agent : fleet_.remote_agents) {
    a2a::RemoteSpec spec{agent.name, agent.card_url, "", {}};
    const auto token = options_.environment.find(agent.token_variable);
    if (token != options_.environment.end()) spec.token = token->second;
    if (!agent.keys_file.empty()) {
      const auto keys = rpc::Value::parse(TRY(io::read_file(agent.keys_file, policy_bytes_max)));
      if (!keys) return Err(Code::invalid, agent.keys_file + ": " + keys.error().message);
      auto trusted = jose::read_jwks(keys->json());
      if (!trusted) return Err(std::move(trusted).error().context(agent.keys_file));
      spec.trusted = std::move(*trusted);
      // No key at all would mean that any card is believed.
      if (spec.trusted.empty()) return Err(Code::invalid, agent.keys_file + ": holds no key");
    }
    specs.push_back(std::move(spec));
  }
  a2a::RemoteToolsOptions options;
  options.depth_max = static_cast<std::size_t>(fleet_.depth_max);
  options.roster = &roster_;
  options.fleet = fleet_.name;
  agents_client_ = std::make_unique<http::CurlClient>(world_.watcher());
#ifdef AMBIT_GRPC
  agents_grpc_ = std::make_unique<a2a::GrpcClient>(world_.loop());
  options.grpc = agents_grpc_.get();
#endif
  remote_agents_ =
      std::make_unique<a2a::RemoteTools>(*agents_client_, std::move(specs), std::move(options));
  return {};
}

std::unique_ptr<agents::Toolbox> Assembly::open_server(const agents::McpServerSpec& server,
                                                       const mcp::ToolboxOptions& options) {
  const auto make = [this, &server, options]() -> std::unique_ptr<agents::Toolbox> {
    return std::make_unique<mcp::McpToolbox>(
        server.name, [this, &server]() { return connect(server); }, options);
  };
  // The file gives a jail to no server that is not started.
  if (server.jail == "shared") return make();
  ServerPerCaller::KeyOf key_of;
  if (server.jail == "agent")
    key_of = [this](const std::string& session) { return book_->agent_of(session); };
  return std::make_unique<ServerPerCaller>(make, key_of);
}

// "#2" of a repeated session is no good in a path that tools get to see.
Result<std::string> Assembly::work_directory(const std::string& session) {
  std::string name = session;
  for (char& c : name) {
    if (c == '#') c = '.';
  }
  std::string path = work_path() + "/" + name;
  TRY(make_directories(path));
  return path;
}

Task<Result<mcp::Connection>> Assembly::connect(const agents::McpServerSpec& server) {
  // One login a server: its tokens serve every connection to it.
  auto& login = logins_[server.name];
  if (server.login && !login) {
    mcp::OAuthOptions options = co_await ok(login_options(*server.login, options_.environment));
    login = std::make_shared<mcp::OAuth>(*http_, world_.world().clock, world_.world().entropy,
                                         std::move(options));
  }
  const McpMeans means{fleet_, *runner_, *http_, world_.world().network};
  auto opened = co_await open_mcp_server(server, means, login);
  co_return std::move(opened);
}

std::map<std::string, agents::Model*> Assembly::models() const {
  std::map<std::string, agents::Model*> models;
  for (const agents::ModelSpec& spec : fleet_.models) {
    if (options_.models) models.emplace(spec.name, &model(spec.name));
  }
  return models;
}

std::map<std::string, inference::EnergyMeter::Totals> Assembly::energy() const {
  if (!energy_) return {};
  return energy_->totals(monotonic_us());
}

agents::Model& Assembly::model(const std::string& name) const {
  const auto throttled = throttled_.find(name);
  if (throttled != throttled_.end()) return *throttled->second;
  const auto engine = engines_.find(name);
  if (engine != engines_.end()) return *engine->second;
  const auto script = scripts_.find(name);
  if (script != scripts_.end()) return *script->second;
  return *endpoints_.at(name);
}

std::vector<agents::Toolbox*> Assembly::toolboxes() const {
  std::vector<agents::Toolbox*> toolboxes = toolboxes_with(*command_tools_);
  toolboxes.push_back(sub_agents_.get());
  return toolboxes;
}

agents::FleetRun& Assembly::start(agents::RunOptions options) {
  run_ = std::make_unique<agents::FleetRun>(fleet_, std::move(options), models(), toolboxes(),
                                            ports());
  return *run_;
}

agents::Ports Assembly::ports() {
  return {*guard_,     *book_,   make_argument_check(), approvals_.get(), quotas_.get(),
          check_tool_, &roster_, instances_.get(),      &health_,         artifacts_.get()};
}

void Assembly::stop() {
  run_.reset();
  generation_.reset();
  sub_agents_.reset();
  remote_agents_.reset();
  agents_grpc_.reset();
  agents_client_.reset();
  servers_.clear();
  http_.reset();
  memory_tools_.reset();
  artifacts_.reset();
  command_tools_.reset();
  runner_.reset();
  egress_private_.reset();
  egress_.reset();
  throttled_.clear();
  scripts_.clear();
  endpoints_.clear();
  client_.reset();
  engines_.clear();
}

Result<void> close_journal(io::UvWorld& world, Assembly& assembly) {
  Result<void> result;
  Scope scope;
  scope.spawn([](log::LogJournal& journal, Result<void>& out) -> Task<void> {
    out = co_await journal.close();
  }(assembly.journal(), result));
  world.loop().run_until([&] { return scope.size() == 0; });
  return result;
}

}  // namespace ambit::app
