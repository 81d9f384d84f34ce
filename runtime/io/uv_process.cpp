#include "io/uv_process.h"

#include "async/check.h"
#include "async/waiters.h"
#include "io/uv_handle.h"
#include "io/uv_stream.h"

#include <array>
#include <cerrno>
#include <csignal>
#include <fcntl.h>
#include <optional>
#include <unistd.h>
#include <utility>
#include <vector>

namespace ambit::io {
namespace {

constexpr std::size_t inherited_max = 64;

// A descriptor that is closed unless it is handed on.
class Owned {
 public:
  explicit Owned(int descriptor) : descriptor_(descriptor) {}
  Owned(Owned&& other) noexcept : descriptor_(other.release()) {}
  Owned& operator=(Owned&&) = delete;
  ~Owned() {
    if (descriptor_ >= 0) ::close(descriptor_);
  }
  [[nodiscard]] int get() const { return descriptor_; }
  int release() { return std::exchange(descriptor_, -1); }

 private:
  int descriptor_;
};

struct PipeEnds {
  Owned reading;
  Owned writing;
};

// Real pipes, not the socket pairs that uv_spawn would make: a child may open /dev/stdout.
Result<PipeEnds> make_pipe_ends() {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return Err(uv_error(-errno, "make a pipe for a child process"));
  return PipeEnds{Owned(ends[0]), Owned(ends[1])};
}

class UvProcessState final : public UvHandle {
 public:
  // After this returned an error the handle closes by itself.
  int spawn(uv_loop_t* loop, uv_process_options_t& options) {
    options.exit_cb = [](uv_process_t* ended, std::int64_t code, int signal) {
      of<UvProcessState>(ended).ended(ExitStatus{signal == 0 ? static_cast<int>(code) : 0, signal});
    };
    process_.data = nullptr;
    const int status = uv_spawn(loop, &process_, &options);
    opened();
    if (status != 0) {
      close();
    } else {
      pid_ = process_.pid;
    }
    return status;
  }

  // Lets the child die; the handle stays open until libuv has reaped it.
  void abandon() {
    if (closing()) return;
    if (status_) {
      close();
    } else {
      abandoned_ = true;
      kill_group();
    }
  }
  void shut_down() override { abandon(); }

  void signal(int number) const {
    if (!status_ && !closing()) ::kill(static_cast<pid_t>(pid_), number);
  }
  [[nodiscard]] std::int64_t pid() const { return pid_; }

  static Task<ExitStatus> wait(std::shared_ptr<UvProcessState> state) {
    while (!state->status_) co_await state->ended_.wait();
    co_return *state->status_;
  }

 private:
  uv_handle_t* handle() override { return reinterpret_cast<uv_handle_t*>(&process_); }
  void kill_group() const {
    if (pid_ > 0) ::kill(static_cast<pid_t>(-pid_), SIGKILL);
  }
  void ended(ExitStatus status) {
    // The leader is reaped just now, so its number cannot name another group yet.
    kill_group();
    status_ = status;
    ended_.wake_all();
    if (abandoned_) close();
  }

  uv_process_t process_{};
  std::int64_t pid_ = 0;
  bool abandoned_ = false;
  std::optional<ExitStatus> status_;
  Waiters ended_;
};

class UvProcess final : public Process {
 public:
  UvProcess(std::shared_ptr<UvProcessState> state,
            std::array<std::shared_ptr<UvStreamState>, 3> streams)
      : state_(std::move(state)),
        input_(std::move(streams[0])),
        output_(std::move(streams[1])),
        errors_(std::move(streams[2])) {}
  ~UvProcess() override { state_->abandon(); }
  UvProcess(const UvProcess&) = delete;
  UvProcess& operator=(const UvProcess&) = delete;

  Stream& input() override { return input_; }
  Stream& output() override { return output_; }
  Stream& errors() override { return errors_; }
  Task<ExitStatus> wait() override { return UvProcessState::wait(state_); }
  void signal(int number) override { state_->signal(number); }
  [[nodiscard]] std::int64_t pid() const override { return state_->pid(); }

 private:
  std::shared_ptr<UvProcessState> state_;
  UvStream input_;
  UvStream output_;
  UvStream errors_;
};

bool has_zero(const std::string& text) {
  return text.find('\0') != std::string::npos;
}

Result<void> check(const ProcessOptions& options) {
  if (options.command.empty() || options.command[0].empty()) {
    return Err(Code::invalid, "start a process: the command is empty");
  }
  bool zero = has_zero(options.directory);
  for (const std::string& word : options.command) zero = zero || has_zero(word);
  for (const auto& [name, value] : options.environment) {
    zero = zero || has_zero(value) || has_zero(name);
    if (name.empty() || name.find('=') != std::string::npos) {
      return Err(Code::invalid, "start " + options.command[0] + ": \"" + name +
                                    "\" is not a name for an environment variable");
    }
  }
  if (zero)
    return Err(Code::invalid, "start " + options.command[0] + ": a zero byte in its arguments");
  if (options.inherit.size() > inherited_max) {
    return Err(Code::invalid,
               "start " + options.command[0] + ": more than 64 descriptors to inherit");
  }
  return {};
}

// What uv_spawn reads: pointers into `options`, which must stay where it is.
struct SpawnArguments {
  std::vector<std::string> settings;
  std::vector<char*> arguments;
  std::vector<char*> environment;
  std::vector<uv_stdio_container_t> descriptors;

  explicit SpawnArguments(ProcessOptions& options) {
    for (std::string& word : options.command) arguments.push_back(word.data());
    arguments.push_back(nullptr);
    for (const auto& [name, value] : options.environment) settings.push_back(name + "=" + value);
    for (std::string& setting : settings) environment.push_back(setting.data());
    environment.push_back(nullptr);
  }
  void give(int descriptor) {
    uv_stdio_container_t container{};
    container.flags = UV_INHERIT_FD;
    container.data.fd = descriptor;
    descriptors.push_back(container);
  }
};

}  // namespace

Result<std::unique_ptr<Process>> UvProcesses::spawn(ProcessOptions options) {
  TRY(check(options));
  PipeEnds input = TRY(make_pipe_ends());
  PipeEnds output = TRY(make_pipe_ends());
  PipeEnds errors = TRY(make_pipe_ends());

  SpawnArguments arguments(options);
  arguments.give(input.reading.get());
  arguments.give(output.writing.get());
  arguments.give(errors.writing.get());
  for (const int descriptor : options.inherit) arguments.give(descriptor);

  uv_process_options_t spawn{};
  spawn.file = options.command[0].c_str();
  spawn.args = arguments.arguments.data();
  spawn.env = arguments.environment.data();
  spawn.cwd = options.directory.empty() ? nullptr : options.directory.c_str();
  spawn.flags = UV_PROCESS_DETACHED;  // setsid: a session and a group of its own
  spawn.stdio = arguments.descriptors.data();
  spawn.stdio_count = static_cast<int>(arguments.descriptors.size());
  // Some library may have opened a descriptor without close-on-exec; what the child gets is made by
  // dup2.
  close_range(3, ~0U, CLOSE_RANGE_CLOEXEC);

  auto state = std::make_shared<UvProcessState>();
  const int status = state->spawn(loop_, spawn);
  if (status != 0) {
    const std::string where = options.directory.empty() ? "" : " in " + options.directory;
    return Err(uv_error(status, "start " + options.command[0] + where));
  }
  std::array<std::shared_ptr<UvStreamState>, 3> streams;
  auto adopted_input = UvStreamState::adopt(loop_, input.writing.release());
  auto adopted_output = UvStreamState::adopt(loop_, output.reading.release());
  auto adopted_errors = UvStreamState::adopt(loop_, errors.reading.release());
  INVARIANT(adopted_input && adopted_output && adopted_errors);  // pipes that we have just made
  streams = {std::move(*adopted_input), std::move(*adopted_output), std::move(*adopted_errors)};
  return std::make_unique<UvProcess>(std::move(state), std::move(streams));
}

}  // namespace ambit::io
