#pragma once

// Control groups, where this process may make them: version 1 (memory and pids) or version 2. One
// group a running call, joined by the jail's init before anything of the call runs, and used again
// afterwards, because making one costs more than a call. Groups left by a process that was killed
// are removed at the next start.

#include "async/result.h"

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace ambit::sandbox {

class CgroupPool {
 public:
  struct Group;
  struct Usage {
    bool memory_killed = false;
    bool processes_refused = false;
    std::int64_t memory_peak_bytes = 0;
  };

  // One call's group; goes back to the pool when destroyed, which must outlive it.
  class Lease {
   public:
    Lease(CgroupPool& pool, std::unique_ptr<Group> group);
    Lease(const Lease&) = delete;
    Lease& operator=(const Lease&) = delete;
    ~Lease();
    // The files to join by writing "0", by a process that has one thread.
    [[nodiscard]] const std::vector<int>& members() const;
    // Since the lease began.
    [[nodiscard]] Usage usage() const;
    [[nodiscard]] std::int64_t memory_peak_bytes() const;

   private:
    CgroupPool& pool_;
    std::unique_ptr<Group> group_;
  };

  // nullptr: there is no hierarchy with both controllers where this process may make groups.
  static std::unique_ptr<CgroupPool> open();
  CgroupPool(const CgroupPool&) = delete;
  CgroupPool& operator=(const CgroupPool&) = delete;
  ~CgroupPool();

  // `processes` counts all of the jail, its init too.
  Result<std::unique_ptr<Lease>> lease(std::int64_t memory_bytes, std::int64_t processes);
  // 1 or 2.
  [[nodiscard]] int version() const { return version_; }

 private:
  CgroupPool(int version, std::string memory_root, std::string pids_root);
  Result<std::unique_ptr<Group>> make();
  void give_back(std::unique_ptr<Group> group);
  void take_back_emptied();
  void remove_leftovers() const;

  int version_;
  std::string memory_root_;
  std::string pids_root_;  // the same in version 2
  std::vector<std::unique_ptr<Group>> free_;
  std::vector<std::unique_ptr<Group>> dying_;  // given back with somebody still in it
  std::uint64_t made_ = 0;
};

}  // namespace ambit::sandbox
