#include "sandbox/cgroup.h"

#include <sys/stat.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <dirent.h>
#include <fcntl.h>
#include <fstream>
#include <optional>
#include <poll.h>
#include <signal.h>
#include <sstream>
#include <unistd.h>

namespace ambit::sandbox {
namespace {

constexpr const char* prefix = "ambit-";
constexpr std::size_t free_max = 128;
constexpr int names_max = 4096;

// The number after `name` in a file such as "oom_kill 3"; the whole file's number if `name` is
// empty.
std::int64_t read_number(int file, std::string_view name) {
  char text[1024];
  const ssize_t count = file < 0 ? -1 : ::pread(file, text, sizeof text - 1, 0);
  if (count <= 0) return 0;
  text[count] = '\0';
  const char* at = text;
  while (!name.empty() && at != nullptr) {
    if (std::strncmp(at, name.data(), name.size()) == 0 && at[name.size()] == ' ') {
      at += name.size() + 1;
      break;
    }
    at = std::strchr(at, '\n');
    if (at != nullptr) ++at;
  }
  return at == nullptr ? 0 : std::strtoll(at, nullptr, 10);
}

// The kernel gives a new bound of memory up when a signal waits, while it looks for pages to take
// back; as when a child has just ended.
constexpr int interruptions_max = 100;

bool write_number(int file, std::int64_t value) {
  const std::string text = std::to_string(value);
  for (int tries = 0; tries <= interruptions_max; ++tries) {
    const ssize_t written = ::pwrite(file, text.data(), text.size(), 0);
    if (written >= 0) return written == static_cast<ssize_t>(text.size());
    if (errno != EINTR) return false;
  }
  return false;
}

struct Hierarchy {
  std::string folder;  // this process's own group
};

// Where this process stands in the hierarchy that has `controller` ("" for version 2).
std::optional<Hierarchy> find_hierarchy(const std::string& controller) {
  std::string own;
  std::ifstream membership("/proc/self/cgroup");
  for (std::string line; std::getline(membership, line);) {
    const std::size_t first = line.find(':');
    const std::size_t second = line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = "," + line.substr(first + 1, second - first - 1) + ",";
    const bool found = controller.empty()
                           ? controllers == ",,"
                           : controllers.find("," + controller + ",") != std::string::npos;
    if (found) own = line.substr(second + 1);
  }
  if (own.empty()) return std::nullopt;
  std::ifstream mounts("/proc/self/mountinfo");
  for (std::string line; std::getline(mounts, line);) {
    std::istringstream fields(line);
    std::string id, parent, device, root, place, options, word;
    fields >> id >> parent >> device >> root >> place >> options;
    while (fields >> word && word != "-") {
    }
    std::string type, source, super;
    fields >> type >> source >> super;
    const bool fits = controller.empty()
                          ? type == "cgroup2"
                          : type == "cgroup" && ("," + super + ",").find("," + controller + ",") !=
                                                    std::string::npos;
    if (!fits) continue;
    // What is mounted may be a part of the hierarchy (a container): our place is below its root.
    std::string below = own;
    if (root != "/" && below.starts_with(root)) below = below.substr(root.size());
    if (below == "/") below.clear();
    return Hierarchy{place + below};
  }
  return std::nullopt;
}

bool may_make_groups(const std::string& folder) {
  const std::string probe = folder + "/" + prefix + std::to_string(::getpid()) + "-probe";
  if (::mkdir(probe.c_str(), 0755) != 0) return false;
  ::rmdir(probe.c_str());
  return true;
}

// Version 2 gives children a controller only when the parent says so, which a parent with processes
// in it may not; the root and a delegated group without any may.
bool enable_controllers(const std::string& folder) {
  const int file = ::open((folder + "/cgroup.subtree_control").c_str(), O_WRONLY | O_CLOEXEC);
  if (file < 0) return false;
  const char* wanted = "+memory +pids";
  const bool done = ::write(file, wanted, std::strlen(wanted)) > 0;
  ::close(file);
  return done;
}

// A group whose last process is still dying is busy for some milliseconds.
void remove_group(const std::string& folder) {
  constexpr int tries_max = 100;
  for (int i = 0; i < tries_max && ::rmdir(folder.c_str()) != 0 && errno == EBUSY; ++i)
    (void)::poll(nullptr, 0, 2);
}

}  // namespace

struct CgroupPool::Group {
  std::vector<std::string> folders;
  std::vector<int> members;  // where a process joins by writing 0
  int memory_limit = -1;
  int memory_peak = -1;
  int memory_events = -1;
  int pids_limit = -1;
  int pids_events = -1;
  int pids_now = -1;
  std::int64_t memory_bytes = 0;
  std::int64_t processes = 0;
  std::int64_t killed_before = 0;
  std::int64_t refused_before = 0;

  // Nobody of the last call is still dying in it: one could take the next call's place.
  [[nodiscard]] bool is_empty() const { return read_number(pids_now, "") == 0; }
  // What is counted from here on is the next call's.
  void begin() {
    killed_before = read_number(memory_events, "oom_kill");
    refused_before = read_number(pids_events, "max");
    if (memory_peak >= 0) write_number(memory_peak, 0);
  }
  ~Group() {
    for (const int file : members) ::close(file);
    for (const int file :
         {memory_limit, memory_peak, memory_events, pids_limit, pids_events, pids_now})
      if (file >= 0) ::close(file);
    for (const std::string& folder : folders) remove_group(folder);
  }
};

std::unique_ptr<CgroupPool> CgroupPool::open() {
  const auto memory = find_hierarchy("memory");
  const auto pids = find_hierarchy("pids");
  std::unique_ptr<CgroupPool> pool;
  if (memory && pids && may_make_groups(memory->folder) && may_make_groups(pids->folder)) {
    pool.reset(new CgroupPool(1, memory->folder, pids->folder));
  } else if (const auto unified = find_hierarchy("");
             unified && may_make_groups(unified->folder) && enable_controllers(unified->folder)) {
    pool.reset(new CgroupPool(2, unified->folder, unified->folder));
  }
  if (!pool) return nullptr;
  pool->remove_leftovers();
  // Tried, not guessed: one group is made with its limits before any call relies on it.
  if (!pool->lease(64 << 20, 4)) return nullptr;
  return pool;
}

CgroupPool::CgroupPool(int version, std::string memory_root, std::string pids_root)
    : version_(version), memory_root_(std::move(memory_root)), pids_root_(std::move(pids_root)) {}

CgroupPool::~CgroupPool() = default;

void CgroupPool::remove_leftovers() const {
  for (const std::string& root : {memory_root_, pids_root_}) {
    DIR* folder = ::opendir(root.c_str());
    if (folder == nullptr) continue;
    while (const dirent* entry = ::readdir(folder)) {
      const std::string name = entry->d_name;
      if (!name.starts_with(prefix)) continue;
      const long owner = std::strtol(name.c_str() + std::strlen(prefix), nullptr, 10);
      // A group that still has processes is not removed by this.
      if (owner > 0 && ::kill(static_cast<pid_t>(owner), 0) != 0 && errno == ESRCH)
        ::rmdir((root + "/" + name).c_str());
    }
    ::closedir(folder);
  }
}

Result<std::unique_ptr<CgroupPool::Group>> CgroupPool::make() {
  auto group = std::make_unique<Group>();
  std::vector<std::string> roots = {memory_root_};
  if (version_ == 1) roots.push_back(pids_root_);
  const auto fail = [](const std::string& what) {
    return Err(Code::unavailable, "make a control group: " + what + ": " + ::strerror(errno));
  };
  const std::string start = "/" + std::string(prefix) + std::to_string(::getpid()) + "-";
  std::string name;
  // Another pool of this process may have the number.
  int made = -1;
  for (int tries = 0; made != 0 && tries < names_max; ++tries) {
    name = start + std::to_string(made_++);
    made = ::mkdir((memory_root_ + name).c_str(), 0755);
    if (made != 0 && errno != EEXIST) break;
  }
  if (made != 0) return fail(memory_root_ + name);
  for (const std::string& root : roots) {
    const std::string folder = root + name;
    if (root != memory_root_ && ::mkdir(folder.c_str(), 0755) != 0) return fail(folder);
    group->folders.push_back(folder);
    // Whoever joins has one thread. Moving one thread of a version 1 group waits for nobody;
    // cgroup.procs stops the machine's forks for it, and that takes milliseconds now and then.
    const std::string door = folder + (version_ == 1 ? "/tasks" : "/cgroup.procs");
    const int members = ::open(door.c_str(), O_WRONLY | O_CLOEXEC);
    if (members < 0) return fail(door);
    group->members.push_back(members);
  }
  const auto file = [&](const std::string& folder, const char* v1, const char* v2, int flags) {
    return ::open((folder + "/" + (version_ == 1 ? v1 : v2)).c_str(), flags | O_CLOEXEC);
  };
  const std::string& memory = group->folders.front();
  const std::string& pids = group->folders.back();
  group->memory_limit = file(memory, "memory.limit_in_bytes", "memory.max", O_WRONLY);
  group->memory_peak = file(memory, "memory.max_usage_in_bytes", "memory.peak", O_RDWR);
  group->memory_events = file(memory, "memory.oom_control", "memory.events", O_RDONLY);
  group->pids_limit = file(pids, "pids.max", "pids.max", O_WRONLY);
  group->pids_events = file(pids, "pids.events", "pids.events", O_RDONLY);
  group->pids_now = file(pids, "pids.current", "pids.current", O_RDONLY);
  if (group->memory_limit < 0 || group->memory_events < 0 || group->pids_limit < 0 ||
      group->pids_now < 0)
    return fail(group->folders.front());
  // Without this a version 2 group could swap instead of ending; where there is no swap, no file.
  if (version_ == 2) {
    const int swap = ::open((memory + "/memory.swap.max").c_str(), O_WRONLY | O_CLOEXEC);
    if (swap >= 0) {
      write_number(swap, 0);
      ::close(swap);
    }
  }
  group->begin();
  return group;
}

Result<std::unique_ptr<CgroupPool::Lease>> CgroupPool::lease(std::int64_t memory_bytes,
                                                             std::int64_t processes) {
  take_back_emptied();
  std::unique_ptr<Group> group;
  if (free_.empty()) {
    group = TRY(make());
  } else {
    group = std::move(free_.back());
    free_.pop_back();
  }
  if (group->memory_bytes != memory_bytes && !write_number(group->memory_limit, memory_bytes))
    return Err(Code::unavailable, std::string("bound a call's memory: ") + ::strerror(errno));
  if (group->processes != processes && !write_number(group->pids_limit, processes))
    return Err(Code::unavailable, std::string("bound a call's processes: ") + ::strerror(errno));
  group->memory_bytes = memory_bytes;
  group->processes = processes;
  return std::make_unique<Lease>(*this, std::move(group));
}

// Nobody waits for this. After a call nothing of it is left; the jails of a zygote that was ended
// die by themselves a little later.
void CgroupPool::give_back(std::unique_ptr<Group> group) {
  if (free_.size() + dying_.size() >= free_max) return;
  if (group->is_empty()) {
    group->begin();
    free_.push_back(std::move(group));
  } else {
    dying_.push_back(std::move(group));
  }
}

void CgroupPool::take_back_emptied() {
  for (std::unique_ptr<Group>& group : dying_) {
    if (!group->is_empty()) continue;
    group->begin();
    free_.push_back(std::move(group));
  }
  std::erase(dying_, nullptr);
}

CgroupPool::Lease::Lease(CgroupPool& pool, std::unique_ptr<Group> group)
    : pool_(pool), group_(std::move(group)) {}

CgroupPool::Lease::~Lease() {
  pool_.give_back(std::move(group_));
}

const std::vector<int>& CgroupPool::Lease::members() const {
  return group_->members;
}

CgroupPool::Usage CgroupPool::Lease::usage() const {
  Usage usage;
  usage.memory_killed = read_number(group_->memory_events, "oom_kill") > group_->killed_before;
  usage.processes_refused = read_number(group_->pids_events, "max") > group_->refused_before;
  usage.memory_peak_bytes = memory_peak_bytes();
  return usage;
}

std::int64_t CgroupPool::Lease::memory_peak_bytes() const {
  return read_number(group_->memory_peak, "");
}

}  // namespace ambit::sandbox
