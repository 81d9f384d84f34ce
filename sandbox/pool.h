#pragma once

// Where jails come from. One zygote serves all calls whose profiles differ in nothing that it sets
// up; it clones a jail when a call comes, or before: as many jails as a profile has had calls at
// once, and one more, wait ready for the next ones, and go when none come. A jail is for one call.
// Everything is bounded: zygotes, waiting jails, those of one profile.

#include "agents/ports.h"
#include "async/scope.h"
#include "async/waiters.h"
#include "io/world.h"
#include "sandbox/cgroup.h"
#include "sandbox/doorkeeper.h"
#include "sandbox/image.h"
#include "sandbox/pipes.h"
#include "sandbox/seccomp.h"
#include "sandbox/zygote_process.h"

#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace ambit::sandbox {

inline constexpr int tries_max = 3;  // of one call, whose zygote went away before it began

struct RunnerOptions {
  std::vector<std::string> forbidden{};  // paths that no jail may ever see: keys, the journal
  std::size_t zygotes_max = 32;
  std::size_t calls_max = 128;  // at once, over all zygotes; more wait
  bool cgroups = true;          // use cgroups where this process may; false: rlimits alone
  std::size_t spares_max = 16;  // jails made ahead, over all profiles; 0: each is made for its call
  // The folder of all work folders. A write path in it needs no zygote of its own: every jail is
  // shown the one that it is for, and no other. Empty: there is none.
  std::string work_root{};
  Gate* gate = nullptr;  // decides what jails ask for; nullptr: no level net, and nothing is asked
  EgressOptions egress{};  // for level net
};

class JailPool {
  struct Zygote;
  struct Demand;

 public:
  class Claim;
  // One jail that waits for its call. Destroying it kills it.
  struct Jail {
    std::shared_ptr<CgroupPool::Lease> lease;  // nullptr: rlimits alone
    std::unique_ptr<Claim> claim;
    std::unique_ptr<ZygoteCall> call;
    Pipes pipes;                          // of a command
    std::unique_ptr<io::Stream> channel;  // of a worker
    std::unique_ptr<Doorkeeper> keeper;   // of a jail with a door, once it has its call
  };
  // What two calls must share: the profile, and that its paths are still the same files. A mount
  // shows what lay at its path when it was made, so what is replaced needs a new one.
  struct Key {
    agents::Profile profile;
    std::vector<std::uint64_t> files;  // device and inode of each path
    friend bool operator==(const Key&, const Key&) = default;
  };
  // Says that a call of this profile is about, for as long as it lives.
  class Interest {
   public:
    Interest(JailPool& pool, const agents::Profile& profile, JailUse use = JailUse::command);
    Interest(const Interest&) = delete;
    Interest& operator=(const Interest&) = delete;
    ~Interest();

   private:
    Demand* demand_;
  };

  JailPool(io::World& world, const RunnerOptions& options, ZygoteImage image);
  JailPool(const JailPool&) = delete;
  JailPool& operator=(const JailPool&) = delete;
  ~JailPool();

  // A jail made ahead, or a new one; waits while there is no room for another zygote.
  Task<Result<std::unique_ptr<Jail>>> take(const agents::Profile& profile,
                                           JailUse use = JailUse::command);
  // Makes jails ahead for the next calls of this profile; `zygote` had the last one.
  void refill(const agents::Profile& profile, std::shared_ptr<ZygoteProcess> zygote,
              JailUse use = JailUse::command);
  // A zygote of its own for one server, with a /proc.
  Result<std::unique_ptr<Jail>> make_server(const agents::Profile& profile);

  // What a call must share with the one before to use its jail again.
  static Key reuse_key(const agents::Profile& profile);

  // Why a jail of this profile is reduced, and to what; empty: it has every layer.
  std::string reduction(const agents::Profile& profile);
  // Whether this machine can make a jail of this profile at all, as far as layers go.
  Result<void> check_isolation(const agents::Profile& profile);

  [[nodiscard]] std::size_t zygotes() const { return zygotes_.size(); }
  [[nodiscard]] std::size_t spares() const { return spares_.size(); }
  [[nodiscard]] const CgroupPool* cgroups() const { return cgroups_.get(); }

 private:
  struct Place {
    Key key;  // of the zygote
    WorkFolderSeen work;
  };
  struct Zygote {
    Key key;
    std::shared_ptr<ZygoteProcess> process;
    std::uint64_t used = 0;   // a counter: the least recent goes first
    std::size_t claimed = 0;  // jails between being given this zygote and their end
  };
  struct Backoff {
    Key key;
    int failures = 0;
    Instant not_before{};
  };
  // What two calls must share to take each other's jail, but for the files of its paths.
  struct Want {
    agents::Profile profile;
    JailUse use = JailUse::command;
    friend bool operator==(const Want&, const Want&) = default;
  };
  // How many calls of one kind there are at once.
  struct Demand {
    Want key;
    std::size_t now = 0;
    std::size_t peak = 0;
    bool refilling = false;
    Instant last{};
  };
  struct Spare {
    Key key;
    JailUse use = JailUse::command;
    std::unique_ptr<Jail> jail;
  };

  static bool is_for(const Spare& spare, const Want& want);
  [[nodiscard]] Place place_of(const agents::Profile& profile) const;
  [[nodiscard]] std::size_t capacity(const agents::Profile& profile);
  Result<std::shared_ptr<ZygoteProcess>> start_zygote(const agents::Profile& profile, bool server);
  static Key key_of(agents::Profile profile);
  Task<Result<std::unique_ptr<Claim>>> claim(const Key& key);
  std::unique_ptr<Claim> find(const Key& key);
  Result<std::unique_ptr<Jail>> prepare(ZygoteProcess& zygote, const agents::Profile& profile,
                                        JailUse use, const WorkFolderSeen& work);
  std::unique_ptr<Jail> take_spare(const agents::Profile& profile, JailUse use);
  Task<void> make_spares(Want want, agents::Profile profile, std::shared_ptr<ZygoteProcess> zygote);
  Task<void> let_spares_go();
  [[nodiscard]] std::size_t count_spares(const Want& key) const;
  Demand* demand(const Want& key);
  bool make_room();
  void prune();
  [[nodiscard]] Duration backoff(const Key& key) const;

  io::World& world_;
  const RunnerOptions& options_;
  ZygoteImage image_;
  std::unique_ptr<CgroupPool> cgroups_;
  std::list<Zygote> zygotes_;
  std::list<Backoff> backoff_;
  std::list<Demand> demands_;
  // Built once a tier and variant.
  std::map<std::pair<seccomp::Tier, seccomp::Variant>, seccomp::Filters> filters_;
  // The first layer that this machine lacks for each kind of jail; tried once.
  std::optional<std::string> missing_;
  std::optional<std::string> missing_for_reduced_;
  std::uint64_t clock_ = 0;
  bool letting_go_ = false;
  Waiters room_;
  std::list<Spare> spares_;  // the oldest first
  Scope scope_;
};

// One jail's right to a zygote of the pool.
class JailPool::Claim {
 public:
  Claim(JailPool& pool, Zygote& zygote);
  Claim(const Claim&) = delete;
  Claim& operator=(const Claim&) = delete;
  ~Claim();
  [[nodiscard]] ZygoteProcess& zygote() const { return *zygote_.process; }

 private:
  JailPool& pool_;
  Zygote& zygote_;
};

}  // namespace ambit::sandbox
