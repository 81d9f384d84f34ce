#include "sandbox/runner.h"

#include "async/race.h"
#include "async/scope.h"
#include "sandbox/cgroup.h"
#include "sandbox/outcome.h"
#include "sandbox/profile.h"
#include "sandbox/zygote_link.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <optional>
#include <unistd.h>
#include <utility>

namespace ambit::sandbox {
namespace {

using agents::JailCall;
using agents::JailOutcome;
using agents::Profile;
using namespace std::chrono_literals;

// With a cgroup a call, one zygote serves many at once; without, its user namespace counts the
// processes of all of them together, so each has a zygote to itself.
constexpr std::size_t calls_per_zygote = 64;
constexpr std::size_t servers_max = 256;
constexpr std::size_t backoff_max = 64;
constexpr Duration wind_up = 50ms;  // between "stop" and "kill"
constexpr Duration last_resort =
    2s;  // a killed jail that is not reported gone by then takes its zygote along
constexpr std::size_t read_bytes = 64 << 10;

class Descriptor {
 public:
  explicit Descriptor(int descriptor = -1) : descriptor_(descriptor) {}
  Descriptor(Descriptor&& other) noexcept : descriptor_(other.release()) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    if (this != &other) reset(other.release());
    return *this;
  }
  ~Descriptor() { reset(); }
  void reset(int descriptor = -1) {
    if (descriptor_ >= 0) ::close(descriptor_);
    descriptor_ = descriptor;
  }
  [[nodiscard]] int get() const { return descriptor_; }
  int release() { return std::exchange(descriptor_, -1); }

 private:
  int descriptor_;
};

Error no_pipe(const char* what) {
  return {Code::unavailable,
          std::string("make a call's pipes: ") + what + ": " + ::strerror(errno)};
}

// Both ends of a call's stdio: ours as streams, the jail's until they have been sent.
struct Pipes {
  Descriptor jail_input;
  Descriptor jail_output;
  Descriptor jail_errors;
  std::unique_ptr<io::Stream> input;  // nullptr: stdin is /dev/null
  std::unique_ptr<io::Stream> output;
  std::unique_ptr<io::Stream> errors;

  // The jail's ends, and the cgroups to join.
  [[nodiscard]] std::vector<int> to_send(const std::vector<int>& groups) const {
    std::vector<int> all = {jail_input.get(), jail_output.get(), jail_errors.get()};
    all.insert(all.end(), groups.begin(), groups.end());
    return all;
  }
  void sent() {
    jail_input.reset();
    jail_output.reset();
    jail_errors.reset();
  }
};

Result<Pipes> make_pipes(io::Network& network, bool with_input) {
  Pipes pipes;
  int ends[2];
  if (with_input) {
    if (::pipe2(ends, O_CLOEXEC) != 0) return Err(no_pipe("stdin"));
    pipes.jail_input.reset(ends[0]);
    pipes.input = TRY(network.adopt(ends[1]));
  } else {
    pipes.jail_input.reset(::open("/dev/null", O_RDONLY | O_CLOEXEC));
    if (pipes.jail_input.get() < 0) return Err(no_pipe("/dev/null"));
  }
  if (::pipe2(ends, O_CLOEXEC) != 0) return Err(no_pipe("stdout"));
  pipes.jail_output.reset(ends[1]);
  pipes.output = TRY(network.adopt(ends[0]));
  if (::pipe2(ends, O_CLOEXEC) != 0) return Err(no_pipe("stderr"));
  pipes.jail_errors.reset(ends[1]);
  pipes.errors = TRY(network.adopt(ends[0]));
  return pipes;
}

// What a call has said so far; stdout and stderr share one allowance.
struct Said {
  std::string output;
  std::string errors;
  std::size_t left = 0;
  bool cut = false;
  int open = 2;
  Waiters changed;
};

Task<void> collect(io::Stream& from, std::string& into, Said& said) {
  while (!said.cut) {
    Result<std::string> part = co_await from.read(read_bytes);
    if (!part || part->empty()) break;
    const std::size_t kept = std::min(part->size(), said.left);
    into.append(*part, 0, kept);
    said.left -= kept;
    said.cut = said.cut || kept < part->size();
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

JailOutcome outcome_of(const ZygoteCall& call, bool zygote_was_ready, const Profile& profile,
                       const Circumstances& known) {
  if (!call.ended()) {
    JailOutcome outcome;
    outcome.kind = agents::OutcomeKind::crashed;
    outcome.detail = "the jail could not be ended in time and was given up with its helper";
    return outcome;
  }
  const Result<protocol::Report>& report = *call.ended();
  if (report) return classify(*report, profile, known);
  if (!zygote_was_ready) return refused(report.error().message);
  JailOutcome outcome;
  outcome.kind = agents::OutcomeKind::crashed;
  outcome.detail = report.error().message + ", and the call with it";
  return outcome;
}

// What the groups of a call say about its end; the peak, 0 without groups.
std::int64_t ask_groups(Circumstances& known, const CgroupPool::Lease* lease) {
  if (lease == nullptr) return 0;
  const CgroupPool::Usage usage = lease->usage();
  known.memory_is_counted = true;
  known.memory_killed = usage.memory_killed;
  known.processes_refused = usage.processes_refused;
  return usage.memory_peak_bytes;
}

// Whoever is woken and then cancelled passes the turn on.
class PassOn {
 public:
  PassOn(Waiters& queue, const Waiters::Wait& wait) : queue_(queue), wait_(wait) {}
  PassOn(const PassOn&) = delete;
  PassOn& operator=(const PassOn&) = delete;
  ~PassOn() {
    if (wait_.wasted()) queue_.wake_one();
  }

 private:
  Waiters& queue_;
  const Waiters::Wait& wait_;
};

Task<void> queue_in(Waiters& queue) {
  Waiters::Wait wait(queue);
  const PassOn pass_on(queue, wait);
  co_await wait;
}

}  // namespace

// One call's right to use a pooled zygote.
class ZygoteRunner::Claim {
 public:
  Claim(ZygoteRunner& runner, Pooled& pooled) : runner_(runner), pooled_(pooled) {
    ++pooled_.claimed;
  }
  Claim(const Claim&) = delete;
  Claim& operator=(const Claim&) = delete;
  ~Claim() {
    --pooled_.claimed;
    runner_.room_.wake_one();
  }
  ZygoteProcess& zygote() { return *pooled_.zygote; }
  // The helper can no longer be trusted to end its jails.
  void give_up() { pooled_.zygote->end(); }

 private:
  ZygoteRunner& runner_;
  Pooled& pooled_;
};

Result<std::unique_ptr<ZygoteRunner>> ZygoteRunner::open(io::World& world, RunnerOptions options) {
  if (options.zygotes_max == 0 || options.calls_max == 0)
    return Err(Code::invalid, "a runner needs room for at least one zygote and one call");
  ZygoteImage image = TRY(ZygoteImage::open());
  return std::unique_ptr<ZygoteRunner>(
      new ZygoteRunner(world, std::move(options), std::move(image)));
}

ZygoteRunner::ZygoteRunner(io::World& world, RunnerOptions options, ZygoteImage image)
    : world_(world), options_(std::move(options)), image_(std::move(image)) {
  if (options_.cgroups) cgroups_ = CgroupPool::open();
}

ZygoteRunner::~ZygoteRunner() = default;

std::string ZygoteRunner::limits_by() const {
  if (!cgroups_) return "rlimits";
  return cgroups_->version() == 1 ? "cgroup v1" : "cgroup v2";
}

Result<void> ZygoteRunner::check(const Profile& profile) const {
  TRY(validate(profile, options_.forbidden));
  if (!cgroups_ && ::geteuid() == 0)
    return Err(
        Code::unsupported,
        "the number of processes cannot be bounded: root needs the pids and memory control groups "
        "here; run as a plain user instead, whose jails rlimits bound");
  return {};
}

Profile ZygoteRunner::key_of(Profile profile) const {
  // What the supervisor enforces by itself needs no zygote of its own.
  profile.name.clear();
  profile.wall_ms = 0;
  profile.output_bytes = 0;
  if (cgroups_) {
    profile.memory_bytes = 0;
    profile.processes = 0;
  }
  return profile;
}

Result<std::shared_ptr<ZygoteProcess>> ZygoteRunner::start_zygote(const Profile& profile,
                                                                  bool server) {
  const seccomp::Tier tier = TRY(tier_of(profile));
  if (!filters_.contains(tier)) filters_[tier] = TRY(seccomp::build(tier, seccomp::native()));
  SpecOptions options;
  options.with_proc = server;
  options.cgroups = cgroups_ != nullptr;
  const std::string spec = TRY(encode_spec(profile, filters_[tier], options));
  return ZygoteProcess::start(world_, image_.path(), spec, profile);
}

void ZygoteRunner::prune() {
  for (auto at = pool_.begin(); at != pool_.end();) {
    const bool gone = at->zygote->dead().has_value() && at->claimed == 0;
    if (gone && at->zygote->was_ready()) {
      auto found = std::find_if(backoff_.begin(), backoff_.end(),
                                [&](const Backoff& one) { return one.key == at->key; });
      if (found == backoff_.end()) {
        if (backoff_.size() == backoff_max) backoff_.pop_back();
        found = backoff_.insert(backoff_.begin(), Backoff{at->key, 0, {}});
      }
      found->failures = std::min(found->failures + 1, 9);
      found->not_before = world_.loop.now() + 10ms * (1 << found->failures);
    }
    at = gone ? pool_.erase(at) : std::next(at);
  }
}

Duration ZygoteRunner::backoff(const Profile& key) const {
  for (const Backoff& one : backoff_)
    if (one.key == key) return std::max(Duration{0}, one.not_before - world_.loop.now());
  return Duration{0};
}

std::unique_ptr<ZygoteRunner::Claim> ZygoteRunner::find(const Profile& key) {
  const std::size_t capacity = cgroups_ ? calls_per_zygote : 1;
  for (Pooled& one : pool_) {
    if (one.key != key || one.zygote->dead() || one.claimed >= capacity ||
        one.zygote->running() >= capacity)
      continue;
    one.used = ++clock_;
    return std::make_unique<Claim>(*this, one);
  }
  return nullptr;
}

bool ZygoteRunner::make_room() {
  if (pool_.size() < options_.zygotes_max) return true;
  auto oldest = pool_.end();
  for (auto at = pool_.begin(); at != pool_.end(); ++at)
    if (at->claimed == 0 && (oldest == pool_.end() || at->used < oldest->used)) oldest = at;
  if (oldest == pool_.end()) return false;
  pool_.erase(oldest);
  return true;
}

Task<Result<std::unique_ptr<ZygoteRunner::Claim>>> ZygoteRunner::claim(const Profile& profile) {
  const Profile key = key_of(profile);
  for (;;) {
    prune();
    std::unique_ptr<Claim> found = find(key);
    if (found) co_return found;
    const Duration pause = backoff(key);
    if (pause > Duration{0}) {
      co_await delay(pause);
      continue;
    }
    if (!make_room()) {
      co_await queue_in(room_);
      continue;
    }
    auto started = start_zygote(profile, false);
    if (!started) co_return Err(std::move(started).error());
    pool_.push_back(Pooled{key, std::move(*started), ++clock_, 0});
    co_return std::make_unique<Claim>(*this, pool_.back());
  }
}

Task<void> ZygoteRunner::take_turn() {
  while (running_ >= options_.calls_max) co_await queue_in(turn_);
  ++running_;
}

Task<JailOutcome> ZygoteRunner::run(JailCall call) {
  const Result<void> checked = check(call.profile);
  if (!checked) co_return refused(checked.error().message);
  co_await take_turn();
  struct Leave {
    ZygoteRunner& runner;
    ~Leave() {
      --runner.running_;
      runner.turn_.wake_one();
    }
  };
  const Leave leave{*this};
  JailOutcome outcome = co_await run_in_turn(call);
  co_return outcome;
}

Task<Result<std::unique_ptr<ZygoteCall>>> ZygoteRunner::begin(std::unique_ptr<Claim>& claimed,
                                                              const JailCall& call,
                                                              const std::vector<int>& descriptors,
                                                              std::shared_ptr<void> held) {
  auto started = claimed->zygote().begin(call, descriptors, held);
  if (started || started.error().code != Code::closed) co_return started;
  // It died before it had the call: nothing of it has run, so a new one may take it.
  co_await claimed->zygote().death();
  if (!claimed->zygote().was_ready()) co_return Err(Code::unavailable, *claimed->zygote().dead());
  claimed.reset();
  auto again = co_await claim(call.profile);
  if (!again) co_return Err(std::move(again).error());
  claimed = std::move(*again);
  started = claimed->zygote().begin(call, descriptors, std::move(held));
  co_return started;
}

Task<JailOutcome> ZygoteRunner::run_in_turn(const JailCall& call) {
  Result<std::unique_ptr<Claim>> claimed = co_await claim(call.profile);
  if (!claimed) co_return refused(claimed.error().message);
  std::shared_ptr<CgroupPool::Lease> lease;
  if (cgroups_) {
    auto leased = cgroups_->lease(call.profile.memory_bytes, call.profile.processes + 1);
    if (!leased) co_return refused(leased.error().message);
    lease = std::move(*leased);
  }
  Result<Pipes> pipes = make_pipes(world_.network, !call.input.empty());
  if (!pipes) co_return refused(pipes.error().message);
  const Instant began = world_.loop.now();
  std::vector<int> groups;
  if (lease) groups = lease->members();
  const std::vector<int> descriptors = pipes->to_send(groups);
  Result<std::unique_ptr<ZygoteCall>> started = co_await begin(*claimed, call, descriptors, lease);
  if (!started) co_return refused(started.error().message);
  pipes->sent();

  Said said;
  said.left = static_cast<std::size_t>(call.profile.output_bytes);
  Circumstances known;
  Scope scope;
  scope.spawn(collect(*pipes->output, said.output, said));
  scope.spawn(collect(*pipes->errors, said.errors, said));
  if (pipes->input) scope.spawn(feed(*pipes->input, call.input));
  co_await see_to_the_end(**started, said, call.profile.wall_ms, known);
  if (!(*started)->ended()) (*claimed)->give_up();
  // All writers are dead, so the end of both pipes is there to be read.
  if (!said.cut) co_await race(wait_for_rest(said), delay_task(last_resort));
  known.output_cut = said.cut;

  const std::int64_t peak_bytes = ask_groups(known, lease.get());
  JailOutcome outcome =
      outcome_of(**started, (*claimed)->zygote().was_ready(), call.profile, known);
  outcome.memory_peak_bytes = std::max(outcome.memory_peak_bytes, peak_bytes);
  outcome.output = std::move(said.output);
  outcome.errors = std::move(said.errors);
  outcome.truncated = said.cut;
  outcome.wall_us =
      std::chrono::duration_cast<std::chrono::microseconds>(world_.loop.now() - began).count();
  co_return outcome;
}

// A jailed server: its zygote, its one call, its pipes.
class ZygoteRunner::Server final : public JailedProcess {
 public:
  Server(ZygoteRunner& runner, Profile profile, std::shared_ptr<ZygoteProcess> zygote,
         std::shared_ptr<CgroupPool::Lease> lease, std::unique_ptr<ZygoteCall> call, Pipes pipes)
      : runner_(runner),
        profile_(std::move(profile)),
        lease_(std::move(lease)),
        zygote_(std::move(zygote)),
        call_(std::move(call)),
        pipes_(std::move(pipes)) {
    ++runner_.servers_;
  }
  ~Server() override { --runner_.servers_; }
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  io::Stream& input() override { return *pipes_.input; }
  io::Stream& output() override { return *pipes_.output; }
  io::Stream& errors() override { return *pipes_.errors; }
  Task<JailOutcome> wait() override {
    co_await call_->wait();
    Circumstances known;
    const std::int64_t peak_bytes = ask_groups(known, lease_.get());
    JailOutcome outcome = outcome_of(*call_, zygote_->was_ready(), profile_, known);
    outcome.memory_peak_bytes = std::max(outcome.memory_peak_bytes, peak_bytes);
    co_return outcome;
  }
  void kill() override { call_->kill(); }

 private:
  ZygoteRunner& runner_;
  Profile profile_;
  std::shared_ptr<CgroupPool::Lease> lease_;
  std::shared_ptr<ZygoteProcess> zygote_;
  std::unique_ptr<ZygoteCall> call_;
  Pipes pipes_;
};

Result<std::unique_ptr<JailedProcess>> ZygoteRunner::start(JailCall call) {
  TRY(check(call.profile));
  if (servers_ >= servers_max)
    return Err(Code::exhausted, "more than " + std::to_string(servers_max) + " jailed servers");
  std::shared_ptr<CgroupPool::Lease> lease;
  if (cgroups_) lease = TRY(cgroups_->lease(call.profile.memory_bytes, call.profile.processes + 1));
  std::shared_ptr<ZygoteProcess> zygote = TRY(start_zygote(call.profile, true));
  Pipes pipes = TRY(make_pipes(world_.network, true));
  std::unique_ptr<ZygoteCall> started =
      TRY(zygote->begin(call, pipes.to_send(lease ? lease->members() : std::vector<int>()), lease));
  pipes.sent();
  return std::make_unique<Server>(*this, std::move(call.profile), std::move(zygote),
                                  std::move(lease), std::move(started), std::move(pipes));
}

}  // namespace ambit::sandbox
