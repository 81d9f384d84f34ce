#include "sim_processes.h"

#include "async/waiters.h"

#include <csignal>
#include <optional>
#include <utility>

namespace ambit::sim {

// The running program. Shared by its Process, by those who wait, and by signals that are under way.
class SimProcesses::Child : public std::enable_shared_from_this<Child> {
 public:
  Child(int& live, SimProcessIo io) : live_(live), io_(std::move(io)) { ++live_; }
  ~Child() { end(io::ExitStatus{0, SIGKILL}); }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  void start(const SimProgram& program) { scope_.spawn(run(*this, program)); }
  void end(io::ExitStatus status) {
    if (status_) return;
    status_ = status;
    --live_;
    scope_.cancel();
    close_streams();
    ended_.wake_all();
  }
  static Task<io::ExitStatus> wait(std::shared_ptr<Child> child) {
    while (!child->status_) co_await child->ended_.wait();
    co_return *child->status_;
  }

 private:
  static Task<void> run(Child& child, SimProgram program) {
    const int code = co_await program(child.io_);
    child.status_ = io::ExitStatus{code, 0};
    --child.live_;
    child.close_streams();
    child.ended_.wake_all();
  }
  void close_streams() {
    io_.input.reset();
    io_.output.reset();
    io_.errors.reset();
  }

  int& live_;
  SimProcessIo io_;
  std::optional<io::ExitStatus> status_;
  Waiters ended_;
  Scope scope_;
};

class SimProcesses::SimProcess final : public io::Process {
 public:
  SimProcess(SimPoller& poller, Random random, std::int64_t pid, std::shared_ptr<Child> child,
             std::array<std::unique_ptr<io::Stream>, 3> streams)
      : poller_(poller),
        random_(random),
        pid_(pid),
        child_(std::move(child)),
        streams_(std::move(streams)) {}
  ~SimProcess() override { child_->end(io::ExitStatus{0, SIGKILL}); }
  SimProcess(const SimProcess&) = delete;
  SimProcess& operator=(const SimProcess&) = delete;

  io::Stream& input() override { return *streams_[0]; }
  io::Stream& output() override { return *streams_[1]; }
  io::Stream& errors() override { return *streams_[2]; }
  Task<io::ExitStatus> wait() override { return Child::wait(child_); }
  void signal(int number) override {
    poller_.after(std::chrono::microseconds(random_.between(1, 500)), "process.signal",
                  [child = child_, number] { child->end(io::ExitStatus{0, number}); });
  }
  [[nodiscard]] std::int64_t pid() const override { return pid_; }

 private:
  SimPoller& poller_;
  Random random_;
  std::int64_t pid_;
  std::shared_ptr<Child> child_;
  std::array<std::unique_ptr<io::Stream>, 3> streams_;
};

Result<std::unique_ptr<io::Process>> SimProcesses::spawn(io::ProcessOptions options) {
  if (options.command.empty()) return Err(Code::invalid, "start a process: the command is empty");
  const std::string path = options.command[0];
  const auto at = programs_.find(path);
  if (at == programs_.end())
    return Err(Code::not_found, "start " + path + ": no such file or directory");
  if (random_.chance(faults_.spawn_failure)) {
    return Err(Code::exhausted, "start " + path + ": resource temporarily unavailable");
  }
  auto input = network_.pipe();
  auto output = network_.pipe();
  auto errors = network_.pipe();
  auto child = std::make_shared<Child>(
      live_, SimProcessIo{std::move(options), std::move(input.second), std::move(output.second),
                          std::move(errors.second)});
  child->start(at->second);
  if (random_.chance(faults_.process_death)) {
    poller_.after(std::chrono::microseconds(random_.between(1, 1'000'000)), "process.death",
                  [weak = std::weak_ptr<Child>(child)] {
                    if (const auto victim = weak.lock()) victim->end(io::ExitStatus{0, SIGSEGV});
                  });
  }
  std::array<std::unique_ptr<io::Stream>, 3> streams = {
      std::move(input.first), std::move(output.first), std::move(errors.first)};
  return std::make_unique<SimProcess>(poller_, random_.fork(), next_pid_++, std::move(child),
                                      std::move(streams));
}

}  // namespace ambit::sim
