#include "bombs.h"

#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/wait.h>

#include <alloca.h>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <fcntl.h>
#include <initializer_list>
#include <unistd.h>

namespace attack {
namespace {

constexpr int held = 0;
constexpr int escaped = 42;
constexpr std::size_t mebibyte = 1 << 20;

[[noreturn]] void for_ever() {
  for (;;) pause();
}

// 54
int forks() {
  int made = 0;
  for (; made < 5000; ++made) {
    const pid_t child = fork();
    if (child == 0) for_ever();
    if (child < 0) break;
  }
  return made < 5000 ? 1 : escaped;  // the jail says why it failed
}
int forks_in_sessions() {
  int made = 0;
  for (; made < 5000; ++made) {
    const pid_t child = fork();
    if (child == 0) {
      setsid();
      const pid_t grandchild = fork();
      if (grandchild != 0) _exit(grandchild < 0 ? 1 : 0);
      for_ever();
    }
    int status = 0;
    if (child < 0) break;
    waitpid(child, &status, 0);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) break;
  }
  if (made < 5000) for_ever();  // stopped by the limit: all of it goes on until the call is ended
  return 0;
}

// 55
int touch() {
  for (std::size_t taken = 0; taken < 4096 * mebibyte; taken += mebibyte) {
    void* memory =
        mmap(nullptr, mebibyte, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) return 1;
    std::memset(memory, 1, mebibyte);
  }
  return escaped;
}
int no_reserve() {
  constexpr std::size_t bytes = 8192 * mebibyte;
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) return 1;
  for (std::size_t at = 0; at < bytes; at += 4096) static_cast<volatile char*>(memory)[at] = 1;
  return escaped;
}
int many_take_a_little() {
  for (int i = 0; i < 8; ++i) {
    if (fork() != 0) continue;
    return touch();
  }
  int worst = 0;
  for (int status = 0; wait(&status) > 0;)
    if (status != 0) worst = status;
  return worst == 0 ? escaped : 1;
}
[[gnu::noinline]] int stack_down(int depth) {
  volatile char block[65536];
  std::memset(const_cast<char*>(block), depth, sizeof block);
  return depth > 100'000 ? escaped : stack_down(depth + 1) + (block[depth % 7] & 1);
}

// 56
int fill(const char* folder, std::size_t bytes_max) {
  char block[65536];
  std::memset(block, 'x', sizeof block);
  std::size_t written = 0;
  for (int i = 0; written < bytes_max; ++i) {
    char name[64];
    std::snprintf(name, sizeof name, "%s/%d", folder, i);
    const int file = open(name, O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
    if (file < 0) return 1;
    for (int part = 0; part < 8; ++part) {
      const ssize_t count = write(file, block, sizeof block);
      if (count < 0) return 1;
      written += static_cast<std::size_t>(count);
    }
    close(file);
  }
  return escaped;
}
int fill_tmp() {
  return fill("/tmp", 256 * mebibyte);
}
int sparse() {
  const int file = open("/tmp/sparse", O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
  (void)signal(SIGXFSZ, SIG_DFL);
  return ftruncate(file, 1L << 40) == 0 ? escaped : 1;
}
int inodes() {
  for (int i = 0; i < 1'000'000; ++i) {
    char name[32];
    std::snprintf(name, sizeof name, "/tmp/%d", i);
    if (mkdir(name, 0755) != 0) return errno == ENOSPC ? held : 1;
  }
  return escaped;
}
int deep() {
  if (chdir("/tmp") != 0) return 1;
  int depth = 0;
  while (depth < 1'000'000 && mkdir("d", 0755) == 0 && chdir("d") == 0) ++depth;
  return depth < 1'000'000 ? held : escaped;
}

// 57
int spin() {
  for (;;) __asm__ volatile("");
}
int spin_on() {
  (void)signal(SIGXCPU, SIG_IGN);
  return spin();
}
int sleep_on() {
  for_ever();
}
int stop_itself() {
  kill(getpid(), SIGSTOP);
  for_ever();
}

// 58
int flood(int to) {
  char block[4096];
  std::memset(block, 'x', sizeof block);
  for (;;)
    if (write(to, block, sizeof block) < 0) return 1;
}
int flood_output() {
  return flood(1);
}
int flood_errors() {
  return flood(2);
}
int flood_both() {
  return fork() == 0 ? flood(2) : flood(1);
}

// 59: nobody but this jail runs out
int descriptors() {
  int made = 0;
  int ends[2];
  while (made < 100'000 && pipe(ends) == 0) made += 2;
  return made < 4096 ? held : escaped;
}
int watches() {
  int made = 0;
  while (made < 100'000 && inotify_init1(IN_CLOEXEC) >= 0) ++made;
  while (made < 100'000 && epoll_create1(0) >= 0) ++made;
  while (made < 100'000 && timerfd_create(CLOCK_MONOTONIC, 0) >= 0) ++made;
  return made < 4096 ? held : escaped;
}
int timers() {
  int made = 0;
  timer_t timer{};
  while (made < 1'000'000 && timer_create(CLOCK_MONOTONIC, nullptr, &timer) == 0) ++made;
  return made < 1'000'000 ? held : escaped;
}

// 60: the call is over, and so is all of it
int zombies() {
  for (int i = 0; i < 8; ++i)
    if (fork() == 0) _exit(0);
  return held;
}
int daemon_stays() {
  if (fork() == 0) {
    setsid();
    if (fork() == 0) {
      for (const int number : {SIGTERM, SIGHUP, SIGINT}) (void)signal(number, SIG_IGN);
      for_ever();
    }
    _exit(0);
  }
  wait(nullptr);
  return held;
}
int subreaper() {
  return prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0 ? escaped : held;
}

struct Bomb {
  const char* name;
  int (*go)();
};
int stack() {
  return stack_down(0);
}
constexpr Bomb bombs[] = {
    {"forks", forks},
    {"forks_in_sessions", forks_in_sessions},
    {"touch", touch},
    {"no_reserve", no_reserve},
    {"many_take_a_little", many_take_a_little},
    {"stack", stack},
    {"fill_tmp", fill_tmp},
    {"sparse", sparse},
    {"inodes", inodes},
    {"deep", deep},
    {"spin", spin},
    {"spin_on", spin_on},
    {"sleep_on", sleep_on},
    {"stop_itself", stop_itself},
    {"flood_output", flood_output},
    {"flood_errors", flood_errors},
    {"flood_both", flood_both},
    {"descriptors", descriptors},
    {"watches", watches},
    {"timers", timers},
    {"zombies", zombies},
    {"daemon_stays", daemon_stays},
    {"subreaper", subreaper},
};

}  // namespace

int bomb(const char* name) {
  for (const Bomb& one : bombs)
    if (std::strcmp(one.name, name) == 0) return one.go();
  return 2;
}

}  // namespace attack
