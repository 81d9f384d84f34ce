#pragma once

// Control: how people and programs outside look at the sessions of this process, stop them, pause
// them and let them go on. One desk, three doors: a socket in the state folder (for `ambit ps`,
// `stop`, ... on this machine), HTTP in `ambit serve`, and a file STATE/stop that stops everything
// for as long as it is there. What is ordered is obeyed first and recorded then.

#include "agents/roster.h"
#include "async/scope.h"
#include "io/world.h"

#include <functional>
#include <memory>
#include <string>

namespace ambit::app {

struct ControlInfo {
  std::string run;    // of this process
  std::string fleet;  // name
  std::string kind;   // "run" or "serve"
};

class ControlDesk {
 public:
  // All is borrowed and outlives the desk.
  ControlDesk(agents::Roster& roster, agents::Journal& journal, ControlInfo info)
      : roster_(roster), journal_(journal), info_(std::move(info)) {}

  // What "reload" does: reads the fleet file and the policies again, and says what became of it.
  using Reload = std::function<Task<Result<std::string>>(std::string by, bool dry_run)>;
  void on_reload(Reload reload) { reload_ = std::move(reload); }

  // One order as a JSON object: {"do": "ps" | "stop" | "pause" | "resume" | "reload", "run",
  // "agent", "session", "reason", "limit", "dryRun"}. `by` gave it. The answer is a JSON object;
  // {"error"} if the order makes no sense.
  Task<std::string> handle(std::string order, std::string by);

 private:
  [[nodiscard]] std::string sessions(std::size_t limit) const;

  agents::Roster& roster_;
  agents::Journal& journal_;
  ControlInfo info_;
  Reload reload_;
};

// The folder of the sockets.
std::string control_folder(const std::string& state);

// A folder by which its sockets have short addresses: a socket's own has at most 107 characters.
class SocketFolder {
 public:
  explicit SocketFolder(const std::string& path);
  ~SocketFolder();
  SocketFolder(const SocketFolder&) = delete;
  SocketFolder& operator=(const SocketFolder&) = delete;
  [[nodiscard]] std::string address(const std::string& name) const;

 private:
  int descriptor_;
};

// Listens at STATE/control/RUN.sock: an order a line, an answer a line. Also watches STATE/stop.
class ControlSocket {
 public:
  // Errors: there is a file STATE/stop; the socket cannot be made.
  static Result<std::unique_ptr<ControlSocket>> open(io::World& world, ControlDesk& desk,
                                                     const std::string& state,
                                                     const std::string& run);
  ~ControlSocket();
  ControlSocket(const ControlSocket&) = delete;
  ControlSocket& operator=(const ControlSocket&) = delete;

 private:
  ControlSocket(io::World& world, ControlDesk& desk, std::string path, std::string stop_file,
                std::unique_ptr<SocketFolder> folder, std::unique_ptr<io::Listener> listener);
  Task<void> accept();
  Task<void> serve(std::unique_ptr<io::Stream> stream);
  Task<void> watch_stop_file();

  io::World& world_;
  ControlDesk& desk_;
  std::string path_;
  std::string stop_file_;
  std::unique_ptr<SocketFolder> folder_;
  std::unique_ptr<io::Listener> listener_;
  Scope scope_;
};

}  // namespace ambit::app
