#pragma once

// Others that put a program into a jail, as the benchmark starts them: each is tried once, and one
// that is not there or does not run here is skipped aloud.

#include <sys/wait.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <fcntl.h>
#include <filesystem>
#include <fstream>
#include <functional>
#include <set>
#include <spawn.h>
#include <sstream>
#include <string>
#include <unistd.h>
#include <vector>

namespace ambit::sandbox {

struct Peer {
  std::string name;
  std::function<std::vector<std::string>(const std::string& program)> command;
  int every = 1;  // slow ones take part in every so many rounds
};

inline pid_t spawn_quietly(const std::vector<std::string>& command) {
  std::vector<char*> words;
  for (const std::string& word : command) words.push_back(const_cast<char*>(word.c_str()));
  words.push_back(nullptr);
  char path[] = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
  char home[] = "HOME=/root";
  char* environment[] = {path, home, nullptr};
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  for (const int number : {0, 1, 2})
    ::posix_spawn_file_actions_addopen(&actions, number, "/dev/null", O_RDWR, 0);
  pid_t child = -1;
  if (::posix_spawnp(&child, words[0], &actions, nullptr, words.data(), environment) != 0)
    child = -1;
  ::posix_spawn_file_actions_destroy(&actions);
  return child;
}

// Start to exit, in microseconds; below 0: it failed.
inline double spawn_us(const std::vector<std::string>& command) {
  const auto began = std::chrono::steady_clock::now();
  const pid_t child = spawn_quietly(command);
  int status = 0;
  if (child < 0 || ::waitpid(child, &status, 0) != child || status != 0) return -1;
  return std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - began)
      .count();
}

// Below 0: one of them failed, or they did not end within a minute.
inline double many_a_second(const Peer& peer, const std::string& program, int calls, int at_once) {
  const auto began = std::chrono::steady_clock::now();
  std::set<pid_t> running;
  bool is_good = true;
  for (int i = 0; (is_good && i < calls) || !running.empty();) {
    if (is_good && i < calls && running.size() < static_cast<std::size_t>(at_once)) {
      const pid_t child = spawn_quietly(peer.command(program));
      is_good = child > 0;
      if (is_good) running.insert(child);
      ++i;
      continue;
    }
    int status = 0;
    const pid_t ended = ::waitpid(-1, &status, WNOHANG);
    if (ended > 0) {
      running.erase(ended);
      is_good = is_good && status == 0;
    } else if (std::chrono::steady_clock::now() - began > std::chrono::minutes(1)) {
      for (const pid_t child : running) ::kill(child, SIGKILL);
      is_good = false;
    } else {
      ::usleep(50);
    }
  }
  if (!is_good) {
    std::fprintf(stderr, "skipped: %s, %d at once: it does not get all of them done\n",
                 peer.name.c_str(), at_once);
    return -1;
  }
  return calls / std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
}

// runc wants a folder with a root and a configuration.
inline std::string make_bundle(const std::string& program) {
  namespace fs = std::filesystem;
  std::string folder = "/tmp/ambit-bench-runc-XXXXXX";
  if (::mkdtemp(folder.data()) == nullptr) return "";
  fs::create_directories(folder + "/rootfs/proc");
  fs::create_directories(folder + "/rootfs/dev");
  fs::create_directories(folder + "/rootfs/sys");
  fs::copy_file(program, folder + "/rootfs/program");
  if (std::system(("cd " + folder + " && runc spec >/dev/null 2>&1").c_str()) != 0) return "";
  std::stringstream text;
  text << std::ifstream(folder + "/config.json").rdbuf();
  std::string config = text.str();
  const auto replace = [&](const std::string& from, const std::string& to) {
    const std::size_t at = config.find(from);
    if (at != std::string::npos) config.replace(at, from.size(), to);
  };
  replace("\"terminal\": true", "\"terminal\": false");
  replace("\"sh\"", "\"/program\"");
  std::ofstream(folder + "/config.json") << config;
  return folder;
}

inline std::vector<Peer> find_peers(const std::string& program) {
  std::vector<Peer> all;
  all.push_back({"bwrap",
                 [](const std::string& what) {
                   return std::vector<std::string>{"bwrap",
                                                   "--unshare-all",
                                                   "--die-with-parent",
                                                   "--new-session",
                                                   "--ro-bind",
                                                   "/",
                                                   "/",
                                                   "--tmpfs",
                                                   "/tmp",
                                                   "--ro-bind",
                                                   what,
                                                   what,
                                                   what};
                 },
                 1});
  all.push_back({"firejail",
                 [](const std::string& what) {
                   return std::vector<std::string>{"firejail", "--quiet", "--noprofile",
                                                   "--net=none", what};
                 },
                 10});
  const std::string bundle = make_bundle(program);
  all.push_back({"runc",
                 [bundle](const std::string& /*what*/) {
                   static int number = 0;
                   return std::vector<std::string>{
                       "runc", "run", "--bundle", bundle,
                       "bench-" + std::to_string(::getpid()) + "-" + std::to_string(++number)};
                 },
                 10});
  const std::string runtime = std::filesystem::current_path() /
                              "build/npm/node_modules/@anthropic-ai/sandbox-runtime/dist/cli.js";
  all.push_back({"sandbox-runtime",
                 [runtime](const std::string& what) {
                   return std::vector<std::string>{"node", runtime, what};
                 },
                 40});
  std::vector<Peer> here;
  for (Peer& peer : all) {
    const double took = spawn_us(peer.command(program));
    if (took < 0) {
      std::fprintf(stderr, "skipped: %s is not here, or does not run a program here\n",
                   peer.name.c_str());
    } else {
      here.push_back(std::move(peer));
    }
  }
  return here;
}

}  // namespace ambit::sandbox
