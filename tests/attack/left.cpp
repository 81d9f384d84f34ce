#include "left.h"

#include <cerrno>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <string>
#include <unistd.h>

namespace ambit::sandbox {
namespace {

std::size_t entries(const std::string& folder) {
  std::error_code ignored;
  std::size_t count = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder, ignored)) {
    (void)entry;
    ++count;
  }
  return count;
}

std::size_t lines(const char* path) {
  std::ifstream file(path);
  std::size_t count = 0;
  for (std::string line; std::getline(file, line);) ++count;
  return count;
}

// Groups of ours that are still there, wherever the hierarchies are mounted.
std::size_t groups_of(pid_t owner) {
  const std::string wanted = "ambit-" + std::to_string(owner) + "-";
  std::size_t count = 0;
  std::error_code ignored;
  for (std::filesystem::recursive_directory_iterator at(
           "/sys/fs/cgroup", std::filesystem::directory_options::skip_permission_denied, ignored),
       end;
       at != end; at.increment(ignored))
    if (at->path().filename().string().starts_with(wanted)) ++count;
  return count;
}

// Different ones that are descended from ours; a jail's are none of ours.
std::size_t namespaces_of_jails(const std::set<pid_t>& some) {
  std::set<std::string> all;
  for (const pid_t one : some)
    for (const char* kind : {"mnt", "pid", "net", "user", "ipc", "uts"}) {
      std::error_code gone;
      const auto link =
          std::filesystem::read_symlink("/proc/" + std::to_string(one) + "/ns/" + kind, gone);
      if (!gone) all.insert(link.string());
    }
  return all.size();
}

}  // namespace

Left look() {
  std::set<pid_t> ours;
  add_descendants(::getpid(), ours);
  return {entries("/proc/self/fd"), lines("/proc/self/mountinfo"), groups_of(::getpid()),
          namespaces_of_jails(ours)};
}

std::size_t resident_kib() {
  std::ifstream file("/proc/self/status");
  std::string word;
  std::size_t value = 0;
  while (file >> word)
    if (word == "VmRSS:" && file >> value) return value;
  return 0;
}

void add_descendants(pid_t parent, std::set<pid_t>& all) {
  std::ifstream children("/proc/" + std::to_string(parent) + "/task/" + std::to_string(parent) +
                         "/children");
  for (pid_t child = 0; children >> child;) {
    if (all.insert(child).second) add_descendants(child, all);
  }
}

std::size_t alive(const std::set<pid_t>& some) {
  std::size_t count = 0;
  for (const pid_t one : some)
    if (::kill(one, 0) == 0 || errno == EPERM) ++count;
  return count;
}

}  // namespace ambit::sandbox
