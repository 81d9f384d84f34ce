#include "box.h"

#include "suite.h"

#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>

#include <csignal>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <unistd.h>

namespace ambit::sandbox {
namespace {

// Everything below runs in forked children: what fails ends them with its number.
void require(bool good, int number) {
  if (!good) ::_exit(number);
}

void write_text(const char* path, const std::string& text) {
  const int file = ::open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
  require(file >= 0 && ::write(file, text.data(), text.size()) == static_cast<ssize_t>(text.size()),
          10);
  ::close(file);
}

void enter_namespaces(bool is_root) {
  const unsigned uid = ::geteuid();
  const unsigned gid = ::getegid();
  const int own = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS;
  require(::unshare(is_root ? own : own | CLONE_NEWUSER) == 0, 11);
  if (!is_root) {
    write_text("/proc/self/setgroups", "deny");
    write_text("/proc/self/uid_map", "0 " + std::to_string(uid) + " 1");
    write_text("/proc/self/gid_map", "0 " + std::to_string(gid) + " 1");
  }
}

// A root on a tmpfs; the machine's programs are in it, read-only, so that nothing can be harmed.
void make_root(const std::string& folder) {
  const std::string root = folder + "/box";
  require(::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0, 12);
  require(::mount("box", root.c_str(), "tmpfs", 0, nullptr) == 0, 13);
  for (const char* name : {"/usr", "/tmp", "/proc", "/dev", "/work", "/attack", "/etc"})
    require(::mkdir((root + name).c_str(), 0777) == 0, 14);
  const auto show = [&](const std::string& what, const std::string& at) {
    require(::mount(what.c_str(), (root + at).c_str(), nullptr, MS_BIND | MS_REC, nullptr) == 0,
            15);
    // As far as the user namespace may: what it may not, it may not write either.
    (void)::mount(nullptr, (root + at).c_str(), nullptr, MS_REMOUNT | MS_BIND | MS_RDONLY, nullptr);
  };
  show("/usr", "/usr");
  show(folder, "/attack");
  for (const char* name : {"bin", "lib", "lib64"})
    require(::symlink((std::string("usr/") + name).c_str(), (root + "/" + name).c_str()) == 0, 15);
  write_text((root + "/dev/null").c_str(), "");
  write_text((root + "/work/canary").c_str(), "do not sing\n");
  require(::mount("tmp", (root + "/tmp").c_str(), "tmpfs", 0, nullptr) == 0, 16);
  // While the machine's own is still in sight: who cannot see that one is given none.
  require(::mount("proc", (root + "/proc").c_str(), "proc", 0, nullptr) == 0, 19);
  require(::chdir(root.c_str()) == 0 && ::syscall(SYS_pivot_root, ".", ".") == 0, 17);
  require(::umount2(".", MNT_DETACH) == 0 && ::chdir("/work") == 0, 18);
}

// What some attempts need to find: a namespace and a socket to reach, an open file, many files.
void lay_out(const Box& box) {
  const int space = ::open("/proc/self/ns/uts", O_RDONLY);
  require(space >= 0, 20);
  require(box.name != "set_namespace" || ::dup2(space, STDIN_FILENO) == STDIN_FILENO, 21);
  const int heard = ::socket(AF_UNIX, SOCK_DGRAM, 0);
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  std::strncpy(name.sun_path + 1, box.aim.c_str(), sizeof name.sun_path - 2);
  const auto length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + box.aim.size());
  require(::bind(heard, reinterpret_cast<const sockaddr*>(&name), length) == 0, 22);
  rlimit files{};
  ::getrlimit(RLIMIT_NOFILE, &files);
  files.rlim_cur = files.rlim_max;
  ::setrlimit(RLIMIT_NOFILE, &files);
  const gid_t group = 4;
  if (box.is_root) require(::setgroups(1, &group) == 0, 23);
}

// The init of the box: makes the victim and the attacker and says how it went.
[[noreturn]] void run_init(const Box& box) {
  const pid_t victim = ::fork();
  if (victim == 0)
    for (;;) ::pause();
  const pid_t attacker = ::fork();
  if (attacker == 0) {
    lay_out(box);
    (void)::close(STDOUT_FILENO);
    const std::string program = "/attack" + box.attacker.substr(box.attacker.rfind('/'));
    const std::string aim = box.aim.empty() ? std::to_string(victim) : box.aim;
    ::execl(program.c_str(), program.c_str(), box.name == "wire" ? "wire" : box.name.c_str(),
            aim.c_str(), nullptr);
    ::_exit(30);
  }
  int status = 0;
  require(::waitpid(attacker, &status, 0) == attacker, 31);
  if (box.aim.empty()) {
    bool is_dead = false;
    for (int i = 0; i < 100 && !is_dead; ++i) {
      is_dead = ::waitpid(victim, nullptr, WNOHANG) == victim;
      if (!is_dead) ::usleep(10'000);
    }
    ::_exit(is_dead ? escaped : 0);
  }
  ::_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 32);
}

}  // namespace

int run_in_box(const Box& box) {
  std::fflush(stdout);
  const pid_t maker = ::fork();
  if (maker != 0) return wait_for(maker);
  enter_namespaces(box.is_root);
  const pid_t init = ::fork();
  if (init == 0) {
    (void)::prctl(PR_SET_PDEATHSIG, SIGKILL);
    make_root(box.attacker.substr(0, box.attacker.rfind('/')));
    run_init(box);
  }
  ::_exit(wait_for(init));
}

}  // namespace ambit::sandbox
