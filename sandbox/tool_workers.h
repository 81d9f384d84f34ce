#pragma once

// Calls of built-in tools (builtin.h): each in a jail made for it or ahead, or, for profiles of
// class "warm", in one that the same agent has used before with the same profile. A jail is used
// again until it has served enough calls or anything was wrong; and goes when no call comes.

#include "agents/ports.h"
#include "async/scope.h"
#include "io/world.h"
#include "sandbox/pool.h"

#include <cstddef>
#include <cstdint>
#include <list>
#include <memory>
#include <string>

namespace ambit::sandbox {

// "@read" and the like.
bool is_builtin(const agents::JailCall& call);

class ToolWorkers {
 public:
  // Both outlive it.
  ToolWorkers(io::World& world, JailPool& pool) : world_(world), pool_(pool) {}
  ToolWorkers(const ToolWorkers&) = delete;
  ToolWorkers& operator=(const ToolWorkers&) = delete;

  // The profile is checked. Never fails as a task.
  Task<agents::JailOutcome> run(agents::JailCall& call);
  [[nodiscard]] std::size_t idle() const { return idle_.size(); }

 private:
  struct Worker {
    JailPool::Key key;
    std::string agent;
    std::unique_ptr<JailPool::Jail> jail;
    std::size_t calls = 0;
    std::int64_t cpu_us = 0;
    std::uint32_t next_id = 1;
    Instant last{};
  };
  struct Answer;

  Task<Result<std::unique_ptr<Worker>>> take(const agents::JailCall& call);
  void give_back(std::unique_ptr<Worker> worker, const agents::JailCall& call);
  static Task<void> exchange(Worker& worker, const std::string& frame, Answer& answer);
  Task<agents::JailOutcome> explain_end(Worker& worker, const agents::JailCall& call);
  Task<void> retire(std::unique_ptr<Worker> worker, agents::Profile profile,
                    std::shared_ptr<ZygoteProcess> zygote);
  Task<void> let_go();

  io::World& world_;
  JailPool& pool_;
  std::list<std::unique_ptr<Worker>> idle_;  // the oldest first
  bool letting_go_ = false;
  Scope scope_;
};

}  // namespace ambit::sandbox
