#include "app/assembly.h"

#include "app/argument_check.h"
#include "app/jailed_servers.h"
#include "app/mcp_connect.h"
#include "async/scope.h"
#include "io/file.h"

#include <sys/stat.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <ctime>

namespace ambit::app {
namespace {

constexpr std::size_t policy_bytes_max = 4 << 20;

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
  made->book_ = std::make_unique<SessionBook>(*made->journal_);
  TRY(made->open_guard());
  if (made->options_.models) TRY(made->open_models());
  TRY(made->open_tools());
  return made;
}

Result<void> Assembly::open_guard() {
  std::vector<governance::PolicySource> sources;
  for (const std::string& path : fleet_.policies) {
    sources.push_back({path, TRY(io::read_file(path, policy_bytes_max))});
  }
  governance::GuardOptions options;
  options.fleet = fleet_.name;
  guard_ = TRY(governance::PolicyGuard::create(sources, options));
  return {};
}

Result<void> Assembly::open_models() {
  for (const agents::ModelSpec& spec : fleet_.models) {
    if (spec.base_url.empty()) {
      TRY(open_engine(spec));
    } else {
      open_endpoint(spec);
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
  options.clock_us = monotonic_us;
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
  endpoints_.emplace(spec.name, std::make_unique<remote::ChatModel>(*client_, std::move(options)));
}

Result<void> Assembly::open_tools() {
  TRY(make_directories(work_path()));
  sandbox::RunnerOptions options;
  options.forbidden = {journal_path()};
  options.work_root = work_path();
  gate_ = std::make_unique<JailGate>(*guard_, *book_, options_.run);
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
  command_tools_ = std::make_unique<agents::CommandTools>(
      fleet_, *runner_, [this](const std::string& session) { return work_directory(session); },
      [this](const std::string& session) { return book_->agent_of(session); });
  http_ = std::make_unique<http::CurlClient>(world_.watcher(), mcp_http_options());
  mcp::ToolboxOptions toolbox;
  toolbox.client.eras = std::make_shared<mcp::EraMemory>();
  for (const agents::McpServerSpec& server : fleet_.mcp_servers) {
    servers_.push_back(open_server(server, toolbox));
  }
  return {};
}

std::unique_ptr<agents::Toolbox> Assembly::open_server(const agents::McpServerSpec& server,
                                                       const mcp::ToolboxOptions& options) {
  const auto make = [this, &server, options]() -> std::unique_ptr<agents::Toolbox> {
    return std::make_unique<mcp::McpToolbox>(
        server.name, [this, &server]() { return connect(server); }, options);
  };
  if (server.jail == "shared" || !server.url.empty()) return make();
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
  co_return open_mcp_server(server, fleet_, *runner_, *http_);
}

std::map<std::string, agents::Model*> Assembly::models() const {
  std::map<std::string, agents::Model*> models;
  for (const auto& [name, engine] : engines_) models.emplace(name, engine.get());
  for (const auto& [name, endpoint] : endpoints_) models.emplace(name, endpoint.get());
  return models;
}

agents::Model& Assembly::model(const std::string& name) const {
  const auto engine = engines_.find(name);
  if (engine != engines_.end()) return *engine->second;
  return *endpoints_.at(name);
}

std::vector<agents::Toolbox*> Assembly::toolboxes() const {
  std::vector<agents::Toolbox*> toolboxes{command_tools_.get()};
  for (const auto& server : servers_) toolboxes.push_back(server.get());
  return toolboxes;
}

agents::FleetRun& Assembly::start(agents::RunOptions options) {
  run_ = std::make_unique<agents::FleetRun>(fleet_, std::move(options), models(), toolboxes(),
                                            ports());
  return *run_;
}

agents::Ports Assembly::ports() const {
  return {*guard_, *book_, make_argument_check()};
}

void Assembly::stop() {
  run_.reset();
  servers_.clear();
  http_.reset();
  command_tools_.reset();
  runner_.reset();
  egress_private_.reset();
  egress_.reset();
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
