#include "sandbox/pool.h"

#include "async/race.h"
#include "sandbox/doctor.h"
#include "sandbox/landlock.h"
#include "sandbox/profile.h"
#include "sandbox/zygote_link.h"

#include <sys/stat.h>

#include <algorithm>
#include <chrono>
#include <utility>

namespace ambit::sandbox {
namespace {

using agents::Profile;
using namespace std::chrono_literals;

// With a cgroup a call, one zygote serves many at once; without, its user namespace counts the
// processes of all of them together, so each has a zygote to itself.
constexpr std::size_t calls_per_zygote = 64;
constexpr std::size_t backoff_max = 64;
constexpr std::size_t demands_max = 64;
constexpr std::size_t spares_per_profile_max = 8;
constexpr Duration spare_idle = 10s;  // without a call of their profile, spares go after this
constexpr Duration gone_within = 100ms;

Task<void> wait_until_idle(ZygoteProcess& zygote) {
  while (zygote.running() != 0) co_await zygote.changed().wait();
}

// What the supervisor enforces by itself distinguishes no jails.
Profile spare_key(Profile profile) {
  profile.name.clear();
  profile.wall_ms = 0;
  profile.output_bytes = 0;
  profile.egress.clear();
  profile.service.clear();
  return profile;
}

// Puts the work root in the place of the one write path in it: what that path is below it, or
// nothing.
std::string take_work(Profile& profile, const std::string& root) {
  auto& writes = profile.write_paths;
  const auto inside = [&](const std::string& path) { return path != root && holds(root, path); };
  if (root.empty() || std::count_if(writes.begin(), writes.end(), inside) != 1) return "";
  // Another path that meets the work root would have to be mounted in or over it.
  const auto meets = [&](const std::string& path) {
    return holds(root, path) || holds(path, root);
  };
  const auto& reads = profile.read_paths;
  if (std::any_of(reads.begin(), reads.end(), meets)) return "";
  if (std::count_if(writes.begin(), writes.end(), meets) != 1) return "";
  const auto work = std::find_if(writes.begin(), writes.end(), inside);
  std::string below = work->substr(root.size() + 1);
  *work = root;
  return below;
}

}  // namespace

JailPool::Claim::Claim(JailPool& pool, Zygote& zygote) : pool_(pool), zygote_(zygote) {
  ++zygote_.claimed;
}

JailPool::Claim::~Claim() {
  --zygote_.claimed;
  pool_.room_.wake_one();
}

JailPool::Interest::Interest(JailPool& pool, const Profile& profile, JailUse use)
    : demand_(pool.options_.spares_max == 0 || profile.service == "call"
                  ? nullptr
                  : pool.demand({spare_key(profile), use})) {
  if (demand_ == nullptr) return;
  demand_->peak = std::max(demand_->peak, ++demand_->now);
}

JailPool::Interest::~Interest() {
  if (demand_ != nullptr) --demand_->now;
}

JailPool::JailPool(io::World& world, const RunnerOptions& options, ZygoteImage image)
    : world_(world), options_(options), image_(std::move(image)) {
  if (options_.cgroups) cgroups_ = CgroupPool::open();
}

JailPool::~JailPool() = default;

std::string JailPool::reduction(const Profile& profile) {
  if (profile.isolation != "reduced-if-needed") return "";
  if (!missing_) missing_ = missing_for_full_jails();
  if (missing_->empty()) return "";
  return "reduced jail: Landlock, system call filter and rlimits alone, because this machine "
         "lacks: " +
         *missing_;
}

Result<void> JailPool::check_isolation(const Profile& profile) {
  if (reduction(profile).empty()) return {};
  if (!missing_for_reduced_) missing_for_reduced_ = missing_for_reduced_jails();
  if (missing_for_reduced_->empty()) return {};
  return Err(Code::unsupported, "not even a reduced jail can be made here, for want of " +
                                    *missing_for_reduced_ + "; `ambit doctor` says how to get it");
}

std::size_t JailPool::capacity(const Profile& profile) {
  // Below that ABI nothing keeps two jails of one network apart.
  const bool is_alone = profile.level == "net" && landlock::abi() < landlock::abi_of_ports;
  return cgroups_ && !is_alone && reduction(profile).empty() ? calls_per_zygote : 1;
}

JailPool::Key JailPool::reuse_key(const Profile& profile) {
  return key_of(spare_key(profile));
}

JailPool::Key JailPool::key_of(Profile profile) {
  Key key{std::move(profile), {}};
  for (const auto* paths : {&key.profile.read_paths, &key.profile.write_paths}) {
    for (const std::string& path : *paths) {
      struct stat file{};
      const bool exists = ::stat(path.c_str(), &file) == 0;
      key.files.push_back(exists ? file.st_dev : 0);
      key.files.push_back(exists ? file.st_ino : 0);
    }
  }
  return key;
}

JailPool::Place JailPool::place_of(const Profile& profile) const {
  Profile shared = spare_key(profile);
  if (cgroups_) {
    shared.memory_bytes = 0;
    shared.processes = 0;
  }
  WorkFolderSeen work{take_work(shared, options_.work_root), 0};
  struct stat folder{};
  const std::string path = options_.work_root + "/" + work.below;
  if (!work.below.empty() && ::stat(path.c_str(), &folder) == 0) work.inode = folder.st_ino;
  return {key_of(std::move(shared)), std::move(work)};
}

Result<std::shared_ptr<ZygoteProcess>> JailPool::start_zygote(const Profile& profile, bool server) {
  const seccomp::Tier tier = TRY(tier_of(profile));
  SpecOptions options;
  options.reduced = !reduction(profile).empty();
  const std::pair key{tier, seccomp::Variant{profile.asks, options.reduced}};
  if (!filters_.contains(key))
    filters_[key] = TRY(seccomp::build(tier, seccomp::native(), key.second));
  options.with_proc = server;
  options.cgroups = cgroups_ != nullptr;
  Profile shown = profile;
  // In a key the work root stands for the work folder that each jail gets.
  const auto is_root = [&](const std::string& path) { return path == options_.work_root; };
  if (!server && !options_.work_root.empty() && std::erase_if(shown.write_paths, is_root) != 0)
    options.work_root = options_.work_root;
  const std::string spec = TRY(encode_spec(shown, filters_[key], options));
  return ZygoteProcess::start(world_, image_.path(), spec, shown);
}

void JailPool::prune() {
  for (auto at = zygotes_.begin(); at != zygotes_.end();) {
    const bool gone = at->process->dead().has_value() && at->claimed == 0;
    if (gone && at->process->was_ready()) {
      auto found = std::find_if(backoff_.begin(), backoff_.end(),
                                [&](const Backoff& one) { return one.key == at->key; });
      if (found == backoff_.end()) {
        if (backoff_.size() == backoff_max) backoff_.pop_back();
        found = backoff_.insert(backoff_.begin(), Backoff{at->key, 0, {}});
      }
      found->failures = std::min(found->failures + 1, 9);
      found->not_before = world_.loop.now() + 10ms * (1 << found->failures);
    }
    at = gone ? zygotes_.erase(at) : std::next(at);
  }
}

Duration JailPool::backoff(const Key& key) const {
  for (const Backoff& one : backoff_)
    if (one.key == key) return std::max(Duration{0}, one.not_before - world_.loop.now());
  return Duration{0};
}

std::unique_ptr<JailPool::Claim> JailPool::find(const Key& key) {
  for (Zygote& one : zygotes_) {
    const std::size_t most = capacity(key.profile);
    if (one.key != key || one.process->dead() || one.claimed >= most ||
        one.process->running() >= most)
      continue;
    one.used = ++clock_;
    return std::make_unique<Claim>(*this, one);
  }
  return nullptr;
}

bool JailPool::make_room() {
  while (zygotes_.size() >= options_.zygotes_max) {
    auto oldest = zygotes_.end();
    for (auto at = zygotes_.begin(); at != zygotes_.end(); ++at)
      if (at->claimed == 0 && (oldest == zygotes_.end() || at->used < oldest->used)) oldest = at;
    if (oldest != zygotes_.end()) {
      zygotes_.erase(oldest);
    } else if (!spares_.empty()) {
      spares_.pop_front();
    } else {
      return false;
    }
  }
  return true;
}

Task<Result<std::unique_ptr<JailPool::Claim>>> JailPool::claim(const Key& key) {
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
    auto started = start_zygote(key.profile, false);
    if (!started) {
      // The room that it was woken for is for the next one.
      room_.wake_one();
      co_return Err(std::move(started).error());
    }
    zygotes_.push_back(Zygote{key, std::move(*started), ++clock_, 0});
    co_return std::make_unique<Claim>(*this, zygotes_.back());
  }
}

Result<std::unique_ptr<JailPool::Jail>> JailPool::prepare(ZygoteProcess& zygote,
                                                          const Profile& profile, JailUse use,
                                                          const WorkFolderSeen& work) {
  auto jail = std::make_unique<Jail>();
  if (cgroups_) jail->lease = TRY(cgroups_->lease(profile.memory_bytes, profile.processes + 1));
  const std::vector<int> none;
  const bool is_worker = use == JailUse::worker;
  JailSeen seen{0, use, !is_worker && (profile.level == "net" || profile.asks), 0, work};
  jail->call = TRY(
      zygote.prepare(std::move(seen), jail->lease ? jail->lease->members() : none, jail->lease));
  if (is_worker) {
    jail->channel = TRY(world_.network.adopt(jail->call->take_socket()));
  } else {
    jail->pipes = TRY(Pipes::make(world_.network));
  }
  return jail;
}

std::unique_ptr<JailPool::Jail> JailPool::take_spare(const Profile& profile, JailUse use) {
  if (spares_.empty()) return nullptr;
  const Key key = key_of(spare_key(profile));
  for (auto at = spares_.begin(); at != spares_.end();) {
    if (at->key != key || at->use != use) {
      ++at;
      continue;
    }
    std::unique_ptr<Jail> jail = std::move(at->jail);
    at = spares_.erase(at);
    if (!jail->call->ended() && !jail->call->zygote().dead()) return jail;
  }
  return nullptr;
}

Task<Result<std::unique_ptr<JailPool::Jail>>> JailPool::take(const Profile& profile, JailUse use) {
  std::unique_ptr<Jail> spare = profile.service == "call" ? nullptr : take_spare(profile, use);
  if (spare) co_return spare;
  const Place place = place_of(profile);
  for (int tries = 0;; ++tries) {
    Result<std::unique_ptr<Claim>> claimed = co_await claim(place.key);
    if (!claimed) co_return Err(std::move(claimed).error());
    ZygoteProcess& zygote = (*claimed)->zygote();
    auto made = prepare(zygote, profile, use, place.work);
    if (made) {
      (*made)->claim = std::move(*claimed);
      co_return made;
    }
    if (made.error().code != Code::closed || tries == tries_max) co_return made;
    // It died before it had the jail: another one may make it, unless none ever comes up.
    co_await zygote.death();
    if (!zygote.was_ready()) co_return Err(Code::unavailable, *zygote.dead());
  }
}

Result<std::unique_ptr<JailPool::Jail>> JailPool::make_server(const Profile& profile) {
  const std::shared_ptr<ZygoteProcess> zygote = TRY(start_zygote(profile, true));
  return prepare(*zygote, profile, JailUse::command, {});
}

JailPool::Demand* JailPool::demand(const Want& key) {
  const auto found = std::find_if(demands_.begin(), demands_.end(),
                                  [&](const Demand& one) { return one.key == key; });
  if (found != demands_.end()) {
    found->last = world_.loop.now();
    return &*found;
  }
  if (demands_.size() == demands_max) {
    auto oldest = demands_.end();
    for (auto at = demands_.begin(); at != demands_.end(); ++at)
      if (at->now == 0 && !at->refilling && (oldest == demands_.end() || at->last < oldest->last))
        oldest = at;
    if (oldest == demands_.end()) return nullptr;
    std::erase_if(spares_, [&](const Spare& spare) { return is_for(spare, oldest->key); });
    demands_.erase(oldest);
  }
  demands_.push_back(Demand{key, 0, 0, false, world_.loop.now()});
  return &demands_.back();
}

bool JailPool::is_for(const Spare& spare, const Want& want) {
  return spare.use == want.use && spare.key.profile == want.profile;
}

std::size_t JailPool::count_spares(const Want& key) const {
  return static_cast<std::size_t>(std::count_if(
      spares_.begin(), spares_.end(), [&](const Spare& one) { return is_for(one, key); }));
}

void JailPool::refill(const Profile& profile, std::shared_ptr<ZygoteProcess> zygote, JailUse use) {
  if (options_.spares_max == 0 || profile.service == "call") return;
  const Want want{spare_key(profile), use};
  Demand* wanted = demand(want);
  if (wanted == nullptr || wanted->refilling) return;
  wanted->refilling = true;
  scope_.spawn(make_spares(want, profile, std::move(zygote)));
}

Task<void> JailPool::make_spares(Want want, Profile profile,
                                 std::shared_ptr<ZygoteProcess> zygote) {
  // Whoever waits for the call's outcome, and the next call, go first.
  co_await delay(Duration::zero());
  Demand* wanted = demand(want);
  if (wanted == nullptr) co_return;
  // Without cgroups the last jail must be gone before the zygote makes another.
  if (capacity(profile) == 1 && zygote->running() != 0) {
    co_await race(wait_until_idle(*zygote), delay_task(gone_within));
  }
  const std::size_t target = std::min(wanted->peak + 1, spares_per_profile_max);
  const Place place = place_of(profile);
  const Key key = key_of(spare_key(profile));
  // Those that show what is not there any more are of no use.
  std::erase_if(spares_, [&](const Spare& one) {
    return one.use == want.use && one.key.profile == key.profile && one.key.files != key.files;
  });
  while (count_spares(wanted->key) < target) {
    std::unique_ptr<Claim> claimed = find(place.key);
    if (!claimed) break;
    auto made = prepare(claimed->zygote(), profile, want.use, place.work);
    // What is wrong is for the next call to find and to tell.
    if (!made) break;
    (*made)->claim = std::move(claimed);
    if (spares_.size() >= options_.spares_max) spares_.pop_front();
    spares_.push_back(Spare{key, want.use, std::move(*made)});
  }
  wanted->refilling = false;
  if (!letting_go_ && !spares_.empty()) {
    letting_go_ = true;
    scope_.spawn(let_spares_go());
  }
}

Task<void> JailPool::let_spares_go() {
  while (!spares_.empty()) {
    co_await delay(spare_idle);
    const Instant before = world_.loop.now() - spare_idle;
    for (Demand& one : demands_) {
      if (one.now != 0 || one.last > before) continue;
      one.peak = 0;
      std::erase_if(spares_, [&](const Spare& spare) { return is_for(spare, one.key); });
    }
  }
  letting_go_ = false;
}

}  // namespace ambit::sandbox
