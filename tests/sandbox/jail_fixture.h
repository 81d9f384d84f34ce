#pragma once

// A real world, a runner on it, and a work folder that is gone afterwards.

#include "async/scope.h"
#include "io/uv_world.h"
#include "sandbox/runner.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

namespace ambit::sandbox {

class WorkFolder {
 public:
  WorkFolder() {
    std::string name = "/var/tmp/ambit-jail-XXXXXX";
    path_ = ::mkdtemp(name.data());
  }
  WorkFolder(const WorkFolder&) = delete;
  WorkFolder& operator=(const WorkFolder&) = delete;
  ~WorkFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] std::string file(const std::string& name) const { return path_ + "/" + name; }
  void write(const std::string& name, const std::string& text) const {
    std::ofstream(file(name)) << text;
  }
  [[nodiscard]] std::string read(const std::string& name) const {
    std::ostringstream text;
    text << std::ifstream(file(name)).rdbuf();
    return text.str();
  }

 private:
  std::string path_;
};

struct Jails {
  explicit Jails(RunnerOptions options = {}) {
    auto opened = ZygoteRunner::open(world.world(), std::move(options));
    if (!opened) std::abort();
    runner = std::move(*opened);
  }
  Jails(const Jails&) = delete;
  Jails& operator=(const Jails&) = delete;
  // Waits for one task on the loop.
  template <class T>
  T wait(Task<T> task) {
    std::optional<T> value;
    Scope scope;
    scope.spawn(keep(std::move(task), value));
    world.loop().run_until([&] { return value.has_value(); });
    return std::move(*value);
  }
  template <class T>
  Task<void> keep(Task<T> task, std::optional<T>& into) {
    T value = co_await std::move(task);
    into.emplace(std::move(value));
    // The loop looks at its condition only after something happened outside.
    world.loop().post_from_thread([] {});
  }
  agents::JailOutcome run(agents::JailCall call) { return wait(runner->run(std::move(call))); }

  io::UvWorld world;
  std::unique_ptr<ZygoteRunner> runner;
};

inline agents::JailCall shell(const std::string& script, const std::string& level = "fs-read") {
  agents::JailCall call;
  call.profile.level = level;
  call.command = {"sh", "-c", script};
  return call;
}

}  // namespace ambit::sandbox
