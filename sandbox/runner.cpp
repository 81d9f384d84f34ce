#include "sandbox/runner.h"

#include "async/race.h"
#include "async/scope.h"
#include "sandbox/ending.h"
#include "sandbox/profile.h"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <fcntl.h>
#include <optional>
#include <string_view>
#include <unistd.h>
#include <utility>

namespace ambit::sandbox {
namespace {

using agents::JailCall;
using agents::JailOutcome;
using agents::Profile;
using namespace std::chrono_literals;

constexpr std::size_t servers_max = 256;
constexpr Duration wind_up = 50ms;  // between "stop" and "kill"
constexpr std::size_t read_bytes = 64 << 10;

// What a call has said so far; stdout and stderr share one allowance.
struct Said {
  std::string output;
  std::string errors;
  std::size_t left = 0;
  bool cut = false;
  int open = 2;
  Waiters changed;
};

// `tell`: may be empty.
Task<void> collect(io::Stream& from, std::string& into, Said& said, const agents::OnOutput& tell) {
  while (!said.cut) {
    Result<std::string> part = co_await from.read(read_bytes);
    if (!part || part->empty()) break;
    const std::size_t kept = std::min(part->size(), said.left);
    into.append(*part, 0, kept);
    said.left -= kept;
    said.cut = said.cut || kept < part->size();
    if (tell && kept > 0) tell(std::string_view(*part).substr(0, kept));
  }
  --said.open;
  said.changed.wake_all();
}

Task<void> feed(io::Stream& to, const std::string& input) {
  // A command that does not read to the end is its own affair.
  (void)co_await to.write(input);
  to.close();
}

Task<void> wait_for_cut(Said& said) {
  while (!said.cut) co_await said.changed.wait();
}
Task<void> wait_for_rest(Said& said) {
  while (said.open > 0) co_await said.changed.wait();
}

// Until the wall clock or the output limit is reached; for ever if neither is.
Task<void> wait_for_limit(Said& said, std::int64_t wall_ms) {
  if (wall_ms == 0) {
    co_await wait_for_cut(said);
  } else {
    const Duration wall = std::chrono::milliseconds(wall_ms);
    co_await race(wait_for_cut(said), delay_task(wall));
  }
}

// Waits for the call's end and brings it about when a limit is reached.
Task<void> see_to_the_end(ZygoteCall& call, Said& said, std::int64_t wall_ms,
                          Circumstances& known) {
  co_await race(call.wait(), wait_for_limit(said, wall_ms));
  known.output_cut = said.cut;
  if (call.ended()) co_return;
  known.timed_out = !said.cut;
  call.stop();
  co_await race(call.wait(), delay_task(wind_up));
  if (call.ended()) co_return;
  call.kill();
  co_await race(call.wait(), delay_task(last_resort));
}

}  // namespace

Result<std::unique_ptr<ZygoteRunner>> ZygoteRunner::open(io::World& world, RunnerOptions options) {
  if (options.zygotes_max == 0 || options.calls_max == 0)
    return Err(Code::invalid, "a runner needs room for at least one zygote and one call");
  ZygoteImage image = TRY(ZygoteImage::open());
  Descriptor nothing(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  if (nothing.get() < 0)
    return Err(Code::unavailable, std::string("open /dev/null: ") + ::strerror(errno));
  return std::unique_ptr<ZygoteRunner>(
      new ZygoteRunner(world, std::move(options), std::move(image), std::move(nothing)));
}

ZygoteRunner::ZygoteRunner(io::World& world, RunnerOptions options, ZygoteImage image,
                           Descriptor nothing)
    : world_(world),
      options_(std::move(options)),
      nothing_(std::move(nothing)),
      places_(options_.calls_max),
      pool_(world, options_, std::move(image)),
      workers_(world, pool_) {}

ZygoteRunner::~ZygoteRunner() = default;

std::string ZygoteRunner::limits_by() const {
  if (pool_.cgroups() == nullptr) return "rlimits";
  return pool_.cgroups()->version() == 1 ? "cgroup v1" : "cgroup v2";
}

Result<void> ZygoteRunner::check(JailCall& call) {
  TRY(validate(call.profile, options_.forbidden));
  TRY(pool_.check_isolation(call.profile));
  // A reduced jail has no /tmp of its own to begin in.
  if (call.directory.empty() && !pool_.reduction(call.profile).empty()) call.directory = "/";
  if (pool_.cgroups() == nullptr && ::geteuid() == 0)
    return Err(
        Code::unsupported,
        "the number of processes cannot be bounded: root needs the pids and memory control groups "
        "here; run as a plain user instead, whose jails rlimits bound");
  if (call.profile.level == "net" &&
      (options_.gate == nullptr || options_.egress.client == nullptr))
    return Err(Code::unsupported,
               "level 'net' reaches the network through a proxy, and this runner was given none");
  if (call.profile.asks && options_.gate == nullptr)
    return Err(Code::unsupported, "there is nobody whom the jail could ask for paths");
  if (is_builtin(call)) {
    if (!call.secrets.empty()) return Err(Code::invalid, "a built-in tool has no use for secrets");
    return {};
  }
  if (call.secrets.size() > protocol::secrets_max)
    return Err(Code::exhausted,
               "more than " + std::to_string(protocol::secrets_max) + " secrets for one call");
  return {};
}

Task<JailOutcome> ZygoteRunner::run(JailCall call) {
  const Result<void> checked = check(call);
  if (!checked) co_return refused(checked.error().message);
  const auto place = co_await places_.acquire();
  if (is_builtin(call)) {
    JailOutcome answered = co_await workers_.run(call);
    answered.isolation = pool_.reduction(call.profile);
    co_return answered;
  }
  JailOutcome outcome = co_await run_in_turn(call);
  outcome.isolation = pool_.reduction(call.profile);
  co_return outcome;
}

// The way to the proxy stands in the environment, as programs look for it there, and so do the
// placeholders of what the proxy fills in.
Result<void> ZygoteRunner::open_door(JailPool::Jail& jail, JailCall& call) {
  const int door = jail.call->take_door();
  if (door < 0) return {};
  Descriptor owned(door);
  egress::Secrets secrets;
  if (call.profile.level == "net") {
    secrets = TRY(EgressProxy::make_secrets(world_, options_.egress, call.profile));
    const std::string proxy = "http://127.0.0.1:" + std::to_string(jail.call->port());
    for (const char* name : {"http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"})
      call.environment.emplace_back(name, proxy);
    for (const egress::Secrets::Secret& secret : secrets.all())
      call.environment.emplace_back(secret.name, secret.placeholder);
  }
  jail.keeper = std::make_unique<Doorkeeper>(
      DoorOptions{world_, *options_.gate, options_.egress, options_.forbidden}, call,
      std::move(secrets), owned.release());
  jail.call->on_knock([keeper = jail.keeper.get()] { keeper->knocked(); });
  return {};
}

// Secrets leave `call` for their descriptors.
Result<void> ZygoteRunner::send(JailPool::Jail& jail, JailCall& call) {
  Pipes& pipes = jail.pipes;
  const std::size_t variables = call.environment.size();
  TRY(open_door(jail, call));
  if (!call.input.empty()) TRY(pipes.add_input(world_.network));
  int number = protocol::first_secret;
  for (const auto& [name, value] : call.secrets) {
    TRY(pipes.add_secret(value));
    call.environment.emplace_back(name + "_FD", std::to_string(number++));
  }
  const Result<void> begun = jail.call->begin(call, pipes.to_send(nothing_.get()));
  call.environment.resize(variables);
  pipes.sent();
  return begun;
}

// A jail that has the call; or one that has ended before it could, and says why.
Task<Result<std::unique_ptr<JailPool::Jail>>> ZygoteRunner::begin(JailCall& call) {
  for (int tries = 0;; ++tries) {
    Result<std::unique_ptr<JailPool::Jail>> jail = co_await pool_.take(call.profile);
    if (!jail) co_return jail;
    const Result<void> begun = send(**jail, call);
    if (begun) co_return jail;
    if (begun.error().code != Code::closed || tries == tries_max) co_return Err(begun.error());
    co_await race((*jail)->call->wait(), delay_task(last_resort));
    if (!may_try_again(*(*jail)->call)) co_return jail;
  }
}

Task<JailOutcome> ZygoteRunner::run_in_turn(JailCall& call) {
  const JailPool::Interest interest(pool_, call.profile);
  const Instant began = world_.loop.now();
  Result<std::unique_ptr<JailPool::Jail>> taken = co_await begin(call);
  if (!taken) co_return refused(taken.error().message);
  const std::unique_ptr<JailPool::Jail> jail = std::move(*taken);
  ZygoteCall& running = *jail->call;
  Pipes& pipes = jail->pipes;

  Said said;
  said.left = static_cast<std::size_t>(call.profile.output_bytes);
  Circumstances known;
  const agents::OnOutput nobody;
  Scope scope;
  scope.spawn(collect(*pipes.output, said.output, said, call.on_output));
  scope.spawn(collect(*pipes.errors, said.errors, said, nobody));
  if (pipes.input) scope.spawn(feed(*pipes.input, call.input));
  co_await see_to_the_end(running, said, call.profile.wall_ms, known);
  // The helper can no longer be trusted to end its jails.
  if (!running.ended()) running.zygote().end();
  // All writers are dead, so the end of both pipes is there to be read.
  if (!said.cut) co_await race(wait_for_rest(said), delay_task(last_resort));
  known.output_cut = said.cut;
  if (jail->keeper) co_await jail->keeper->finish();

  const std::int64_t peak_bytes = ask_groups(running, known, jail->lease.get());
  JailOutcome outcome = outcome_of(running, call.profile, known);
  outcome.memory_peak_bytes = std::max(outcome.memory_peak_bytes, peak_bytes);
  outcome.output = std::move(said.output);
  outcome.errors = std::move(said.errors);
  outcome.truncated = said.cut;
  outcome.wall_us =
      std::chrono::duration_cast<std::chrono::microseconds>(world_.loop.now() - began).count();
  pool_.refill(call.profile, running.zygote().shared_from_this());
  co_return outcome;
}

// A jailed server: its zygote, its one call, its pipes.
class ZygoteRunner::Server final : public JailedProcess {
 public:
  Server(ZygoteRunner& runner, Profile profile, std::unique_ptr<JailPool::Jail> jail)
      : runner_(runner), profile_(std::move(profile)), jail_(std::move(jail)) {
    ++runner_.servers_;
  }
  ~Server() override { --runner_.servers_; }
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  io::Stream& input() override { return *jail_->pipes.input; }
  io::Stream& output() override { return *jail_->pipes.output; }
  io::Stream& errors() override { return *jail_->pipes.errors; }
  Task<JailOutcome> wait() override {
    ZygoteCall& call = *jail_->call;
    co_await call.wait();
    Circumstances known;
    const std::int64_t peak_bytes = ask_groups(call, known, jail_->lease.get());
    JailOutcome outcome = outcome_of(call, profile_, known);
    outcome.memory_peak_bytes = std::max(outcome.memory_peak_bytes, peak_bytes);
    outcome.isolation = runner_.pool_.reduction(profile_);
    co_return outcome;
  }
  void kill() override { jail_->call->kill(); }

 private:
  ZygoteRunner& runner_;
  Profile profile_;
  std::unique_ptr<JailPool::Jail> jail_;
};

Result<std::unique_ptr<JailedProcess>> ZygoteRunner::start(JailCall call) {
  TRY(check(call));
  if (is_builtin(call)) return Err(Code::invalid, "a built-in tool is no server");
  if (servers_ >= servers_max)
    return Err(Code::exhausted, "more than " + std::to_string(servers_max) + " jailed servers");
  std::unique_ptr<JailPool::Jail> jail = TRY(pool_.make_server(call.profile));
  call.input.clear();
  TRY(jail->pipes.add_input(world_.network));
  TRY(send(*jail, call));
  return std::make_unique<Server>(*this, std::move(call.profile), std::move(jail));
}

}  // namespace ambit::sandbox
