#include "soak_frame.h"

#include "suite.h"

#include <sys/wait.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <random>
#include <unistd.h>

namespace ambit::sandbox {
namespace {

constexpr int looks_max = 1000;
constexpr useconds_t between_looks_us = 10'000;

}  // namespace

int processes_left(const std::string& program) {
  int left = processes_of(program);
  for (int i = 0; i < looks_max && left != 0; ++i) {
    ::usleep(between_looks_us);
    left = processes_of(program);
  }
  return left;
}

Left look_again(const Left& before) {
  constexpr int again_max = 200;
  Left after = look();
  for (int i = 0; i < again_max && after != before; ++i) {
    ::usleep(between_looks_us);
    after = look();
  }
  return after;
}

bool soak_supervisors(const char* name, const std::string& program, int rounds, unsigned seed) {
  std::minstd_rand random(seed);
  std::size_t seen = 0;
  std::size_t left = 0;
  for (int round = 0; round < rounds; ++round) {
    std::fflush(stdout);
    const pid_t supervisor = ::fork();
    if (supervisor == 0) {
      ::execl("/proc/self/exe", "supervisor", "--supervise", program.c_str(), nullptr);
      ::_exit(3);
    }
    ::usleep(static_cast<useconds_t>(60'000 + random() % 200'000));
    std::set<pid_t> descendants;
    add_descendants(supervisor, descendants);
    ::kill(supervisor, SIGKILL);
    ::waitpid(supervisor, nullptr, 0);
    for (int i = 0; i < looks_max && alive(descendants) != 0; ++i) ::usleep(between_looks_us);
    seen += descendants.size();
    left += alive(descendants);
  }
  const int processes = processes_left(program);
  std::printf(
      "{\"soak\":\"%s\",\"killed\":%d,\"processes seen\":%zu,\"left\":%zu,"
      "\"processes left\":%d}\n",
      name, rounds, seen, left, processes);
  std::fflush(stdout);
  // A zygote has a jail and a jail a command: fewer seen means that nothing was tried.
  return left == 0 && processes == 0 && seen > static_cast<std::size_t>(rounds);
}

int soak(int count, char** words, const Soaks& soaks) {
  if (count == 3 && std::strcmp(words[1], "--supervise") == 0) {
    soaks.supervise(words[2]);
    return 0;
  }
  if (count < 2 || count > 4) {
    std::fprintf(stderr, "usage: %s %s\n", words[0], soaks.usage);
    return 2;
  }
  const int how_many = count > 2 ? std::max(soaks.least, std::atoi(words[2])) : 400;
  const unsigned seed = count > 3 ? static_cast<unsigned>(std::atoi(words[3])) : 1;
  char folder[] = "/tmp/ambit-soak-XXXXXX";
  if (::mkdtemp(folder) == nullptr) return 2;
  const std::string program = std::string(folder) + "/soaked";
  std::filesystem::copy_file(words[1], program);
  const bool good = soaks.all(program, how_many, seed);
  std::filesystem::remove_all(folder);
  return good ? 0 : 1;
}

}  // namespace ambit::sandbox
