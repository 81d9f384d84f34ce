// ambit sandbox run: one command in a jail, for whoever wants the jail alone; its streams are ours
// and its exit status is our own (124: a limit ended it, 125: nothing ran). ambit sandbox explain:
// what a profile allows, from the tables that make its filter.

#include "app/command.h"
#include "app/load_fleet.h"
#include "async/race.h"
#include "async/scope.h"
#include "http/curl_client.h"
#include "io/uv_world.h"
#include "sandbox/builtin.h"
#include "sandbox/profile.h"
#include "sandbox/runner.h"

#include <nlohmann/json.hpp>
#include <sys/stat.h>

#include <chrono>
#include <cstdio>
#include <unistd.h>

namespace ambit::app {
namespace {

using agents::JailCall;
using agents::JailOutcome;
using agents::OutcomeKind;
using agents::Profile;
using Json = nlohmann::ordered_json;

constexpr int limit_status = 124;
constexpr int refused_status = 125;
constexpr std::size_t block_bytes = 64 << 10;
constexpr std::size_t input_bytes_max = 16 << 20;

// Whoever types the command has decided already; what the proxy did is told afterwards.
class OwnGate final : public sandbox::Gate {
 public:
  Task<Result<void>> may_request(sandbox::EgressAsk /*ask*/) override { co_return Result<void>{}; }
  Task<void> requested(sandbox::EgressAsk ask, sandbox::EgressResult result) override {
    requests.push_back({{"method", ask.method},
                        {"url", ask.url},
                        {"status", result.status},
                        {"error", result.error}});
    co_return;
  }
  Task<Result<void>> may_open(sandbox::OpenAsk ask) override {
    co_return Err(Code::denied, "nobody is asked about " + ask.path);
  }
  Json requests = Json::array();
};

// Everything of one `sandbox run` that tasks look at.
struct Run {
  io::UvWorld world;
  OwnGate gate;
  http::CurlClient client;
  http::CurlClient private_client;
  std::unique_ptr<sandbox::ZygoteRunner> runner;
  JailOutcome outcome;
  bool is_late = false;

  Run() : client(world.watcher(), public_alone()), private_client(world.watcher()) {}
  static http::CurlOptions public_alone() {
    http::CurlOptions options;
    options.connects_to_public_alone = true;
    return options;
  }
};

std::vector<std::string> split(const std::string& text, char at) {
  std::vector<std::string> parts;
  std::size_t begin = 0;
  while (begin < text.size()) {
    const std::size_t end = std::min(text.find(at, begin), text.size());
    if (end > begin) parts.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return parts;
}

Result<Profile> named_profile(const Options& options, const Context& context,
                              const std::string& name) {
  const std::string path = options.text("fleet");
  if (path.empty()) return sandbox::preset(name);
  agents::FleetFile file = TRY(load_fleet(context, path));
  if (!file.problems.empty()) return Err(Code::invalid, problem_line(path, file.problems[0]));
  const Profile* found = file.fleet.profile(name);
  if (found != nullptr) return *found;
  return Err(Code::not_found, "there is no profile \"" + name + "\" in " + path);
}

Result<JailCall> call_of(const Options& options, const Context& context) {
  JailCall call;
  call.profile = TRY(named_profile(options, context, options.text("profile", "fs-read")));
  Profile& profile = call.profile;
  for (const std::string& path : split(options.text("read"), ':'))
    profile.read_paths.push_back(absolute(context, path));
  for (const std::string& path : split(options.text("write"), ':'))
    profile.write_paths.push_back(absolute(context, path));
  for (const std::string& origin : split(options.text("egress"), ','))
    profile.egress.push_back({origin, {"*"}, {}, options.flag("tunnel"), options.flag("private")});
  if (options.flag("tunnel"))
    for (agents::EgressRule& rule : profile.egress) rule.methods.clear();
  if (options.flag("reduced")) profile.isolation = "reduced-if-needed";
  profile.wall_ms = TRY(options.integer("wall-ms", profile.wall_ms, 0, 86'400'000));
  const bool shows_nothing = profile.read_paths.empty() && profile.write_paths.empty();
  if (shows_nothing && profile.level != "compute" &&
      sandbox::check_path(context.directory, false, {}))
    profile.read_paths.push_back(context.directory);
  for (const auto* paths : {&profile.write_paths, &profile.read_paths})
    for (const std::string& path : *paths)
      if (context.directory == path || context.directory.starts_with(path + "/"))
        call.directory = context.directory;
  call.command = options.positional();
  call.environment = {{"PATH", "/usr/bin:/bin"}, {"HOME", "/tmp"}, {"LANG", "C.UTF-8"}};
  call.agent = "you";
  return call;
}

void write_all(int descriptor, std::string_view text) {
  while (!text.empty()) {
    const ssize_t count = ::write(descriptor, text.data(), text.size());
    if (count <= 0) return;
    text.remove_prefix(static_cast<std::size_t>(count));
  }
}

Task<void> pass_on(io::Stream& from, int to, int& open) {
  for (;;) {
    auto part = co_await from.read(block_bytes);
    if (!part || part->empty()) break;
    write_all(to, *part);
  }
  --open;
}

// A pipe as it comes, a file at once; a terminal is not passed on.
Task<void> pass_input(io::World& world, io::Stream& to) {
  struct stat kind{};
  if (::fstat(STDIN_FILENO, &kind) == 0 && S_ISREG(kind.st_mode)) {
    std::string block(block_bytes, '\0');
    ssize_t count = 0;
    while ((count = ::read(STDIN_FILENO, block.data(), block.size())) > 0) {
      auto written = co_await to.write(block.substr(0, static_cast<std::size_t>(count)));
      if (!written) break;
    }
  } else if (S_ISFIFO(kind.st_mode) || S_ISSOCK(kind.st_mode)) {
    auto from = world.network.adopt(::dup(STDIN_FILENO));
    while (from) {
      auto part = co_await (*from)->read(block_bytes);
      if (!part || part->empty()) break;
      auto written = co_await to.write(std::move(*part));
      if (!written) break;
    }
  }
  to.close();
}

Task<void> end_of(sandbox::JailedProcess& process, JailOutcome& outcome) {
  outcome = co_await process.wait();
}

// The command's streams are ours while it runs.
Task<void> stream(Run& run, JailCall call, std::optional<Error>& fault) {
  const std::int64_t wall_ms = call.profile.wall_ms;
  auto started = run.runner->start(std::move(call));
  if (!started) {
    fault = std::move(started).error();
    co_return;
  }
  sandbox::JailedProcess& process = **started;
  int open = 2;
  Scope input;
  Scope output;
  output.spawn(pass_on(process.output(), STDOUT_FILENO, open));
  output.spawn(pass_on(process.errors(), STDERR_FILENO, open));
  input.spawn(pass_input(run.world.world(), process.input()));
  if (wall_ms == 0) {
    co_await end_of(process, run.outcome);
  } else {
    const Duration wall = std::chrono::milliseconds(wall_ms);
    const auto first = co_await race(end_of(process, run.outcome), delay_task(wall));
    run.is_late = first.index() == 1;
    if (run.is_late) {
      process.kill();
      co_await end_of(process, run.outcome);
      run.outcome.kind = OutcomeKind::timeout;
      run.outcome.detail = "over its limit: wall clock " + std::to_string(wall_ms) + " ms";
    }
  }
  input.cancel();
  co_await output.join();
}

Task<void> collect(Run& run, JailCall call) {
  run.outcome = co_await run.runner->run(std::move(call));
}

std::string read_input() {
  struct stat kind{};
  const bool is_there = ::fstat(STDIN_FILENO, &kind) == 0 && !S_ISCHR(kind.st_mode);
  std::string text;
  std::string block(block_bytes, '\0');
  ssize_t count = 0;
  while (is_there && text.size() < input_bytes_max &&
         (count = ::read(STDIN_FILENO, block.data(), block.size())) > 0)
    text.append(block, 0, static_cast<std::size_t>(count));
  return text;
}

int status_of(const JailOutcome& outcome) {
  if (outcome.kind == OutcomeKind::refused) return refused_status;
  if (outcome.kind == OutcomeKind::ok) return outcome.exit_code;
  return outcome.signal != 0 && outcome.kind == OutcomeKind::crashed ? 128 + outcome.signal
                                                                     : limit_status;
}

std::string to_json(const Run& run) {
  const JailOutcome& outcome = run.outcome;
  const Json all = {{"outcome", agents::to_string(outcome.kind)},
                    {"exitCode", outcome.exit_code},
                    {"signal", outcome.signal},
                    {"detail", outcome.detail},
                    {"stdout", outcome.output},
                    {"stderr", outcome.errors},
                    {"truncated", outcome.truncated},
                    {"wallUs", outcome.wall_us},
                    {"cpuUs", outcome.cpu_us},
                    {"memoryPeakBytes", outcome.memory_peak_bytes},
                    {"limitsBy", run.runner->limits_by()},
                    {"isolation", outcome.isolation.empty() ? "full" : outcome.isolation},
                    {"requests", run.gate.requests}};
  return all.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

Result<int> run_jailed(const Options& options, const Context& context) {
  JailCall call = TRY(call_of(options, context));
  Run run;
  sandbox::RunnerOptions how;
  how.spares_max = 0;
  how.gate = &run.gate;
  how.egress.client = &run.client;
  how.egress.private_client = &run.private_client;
  how.egress.secret = [&context](const std::string& name) -> std::optional<std::string> {
    const auto found = context.environment.find(name);
    if (found == context.environment.end()) return std::nullopt;
    return found->second;
  };
  run.runner = TRY(sandbox::ZygoteRunner::open(run.world.world(), std::move(how)));
  const bool collects = options.flag("json") || sandbox::is_builtin(call);
  std::optional<Error> fault;
  Scope scope;
  if (collects) {
    call.input = read_input();
    scope.spawn(collect(run, std::move(call)));
  } else {
    scope.spawn(stream(run, std::move(call), fault));
  }
  run.world.loop().run_until([&] { return scope.size() == 0; });
  if (fault) {
    (void)fail(*fault);
    return refused_status;
  }
  if (options.flag("json")) {
    print(to_json(run));
  } else {
    if (collects) {
      write_all(STDOUT_FILENO, run.outcome.output);
      write_all(STDERR_FILENO, run.outcome.errors);
    }
    if (!run.outcome.isolation.empty())
      write_all(STDERR_FILENO, "ambit: " + run.outcome.isolation + "\n");
    const OutcomeKind kind = run.outcome.kind;
    if (kind != OutcomeKind::ok)
      (void)fail(std::string(agents::to_string(kind)) + ": " + run.outcome.detail);
  }
  return status_of(run.outcome);
}

Json to_json(const Profile& profile, const sandbox::seccomp::Tier tier) {
  Json egress = Json::array();
  for (const agents::EgressRule& rule : profile.egress)
    egress.push_back({{"url", rule.origin},
                      {"methods", rule.methods},
                      {"secrets", rule.secrets},
                      {"tunnel", rule.tunnel},
                      {"private", rule.is_private}});
  return {{"profile", profile.name},
          {"level", profile.level},
          {"service", profile.service},
          {"read", profile.read_paths},
          {"write", profile.write_paths},
          {"asks", profile.asks},
          {"isolation", profile.isolation},
          {"egress", egress},
          {"limits",
           {{"wallMs", profile.wall_ms},
            {"cpuMs", profile.cpu_ms},
            {"memoryBytes", profile.memory_bytes},
            {"processes", profile.processes},
            {"fileBytes", profile.file_bytes},
            {"scratchBytes", profile.scratch_bytes},
            {"outputBytes", profile.output_bytes},
            {"openFiles", profile.open_files}}},
          {"allowed", sandbox::seccomp::allowed(tier)},
          {"ends", sandbox::seccomp::trip_wires()}};
}

Result<int> explain(const Options& options, const Context& context) {
  const Profile profile = TRY(named_profile(options, context, options.positional()[0]));
  if (options.flag("json")) {
    print(to_json(profile, TRY(sandbox::tier_of(profile))).dump() + "\n");
  } else {
    print(TRY(sandbox::explain(profile)));
    print("built-in tools, which need no program:\n  ");
    for (const char c : sandbox::builtin::help()) print(c == '\n' ? "\n  " : std::string(1, c));
    print("\n");
  }
  return 0;
}

int done(const Result<int>& code) {
  return code ? *code : fail(code.error());
}

}  // namespace

std::vector<Command> sandbox_commands() {
  constexpr std::size_t words_max = 512;
  return {
      {"sandbox run",
       "[FLAGS] -- COMMAND...",
       "run one command in a jail; its status is ours, 124: a limit ended it, 125: refused",
       {{"profile", "NAME", "compute, fs-read (default), fs-write, net, or one of --fleet"},
        {"fleet", "FILE", "where the profile is written"},
        {"read", "DIR[:DIR]", "shown read-only; without any, the current folder is"},
        {"write", "DIR[:DIR]", "shown read-write (level fs-write and up)"},
        {"egress", "URL[,URL]", "origins that level net may reach, by any method"},
        {"tunnel", "", "reach them by CONNECT, end to end"},
        {"private", "", "they may have addresses that are not public"},
        {"reduced", "", "where namespaces cannot be made, do with Landlock, filter and rlimits"},
        {"wall-ms", "N", "end it after N milliseconds; 0: never"},
        {"json", "", "collect what it says and print one JSON object at its end"}},
       1,
       words_max,
       [](const Options& options, const Context& context) {
         return done(run_jailed(options, context));
       }},
      {"sandbox explain",
       "PROFILE",
       "what a profile allows, in words and in system calls",
       {{"fleet", "FILE", "where the profile is written; without it, one of the presets"},
        {"json", "", "print it as JSON"}},
       1,
       1,
       [](const Options& options, const Context& context) {
         return done(explain(options, context));
       }}};
}

}  // namespace ambit::app
