#pragma once

// McpToolbox: the tools of one MCP server behind the Toolbox port. It starts the server when it is
// first needed, again (with growing pauses, a bounded number of times) when it has died, checks
// arguments before anything is sent, and refuses a tool whose definition is no longer the one that
// was listed.

#include "agents/ports.h"
#include "async/channel.h"
#include "mcp/catalogue.h"
#include "mcp/client.h"

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace ambit::mcp {

// Starts the server: a jailed process, a simulated one. Called again for every restart.
using Connect = std::function<Task<Result<Connection>>()>;

struct ToolboxOptions {
  ClientOptions client;
  CallOptions call;
  CatalogueOptions catalogue;
  std::size_t calls_at_once = 32;  // more wait for their turn
  std::size_t content_bytes_max = 64 << 10;
  Duration start_time = std::chrono::seconds(30);  // of Connect
  int starts_max = 3;  // attempts of one list() or call() to get a connection
  int deaths_max =
      8;  // in a row without one good answer; then the server is given up for `cool_down`
  Duration pause_first = std::chrono::milliseconds(100);
  Duration pause_max = std::chrono::seconds(5);
  Duration cool_down = std::chrono::seconds(60);
};

class McpToolbox final : public agents::Toolbox {
 public:
  // `server` is the name in the fleet file.
  McpToolbox(std::string server, Connect connect, ToolboxOptions options = {});

  Task<Result<std::vector<agents::ToolSpec>>> list() override;
  Task<agents::Outcome> call(std::string session, agents::ToolCall call) override;

  // Of the last listing: tools left out, schemas not fully checked.
  [[nodiscard]] const std::vector<std::string>& problems() const { return problems_; }
  // What the server said of itself; null before the first connection.
  [[nodiscard]] const ServerFacts* server() const;
  [[nodiscard]] int starts() const { return starts_; }

 private:
  // One life of the server. Calls share it, so that it outlives a restart beside them.
  struct Session {
    Session(Connection connection, ClientOptions options)
        : client(std::move(connection), std::move(options)) {}
    std::shared_ptr<const Catalogue> catalogue;
    Client client;
  };
  using SessionPointer = std::shared_ptr<Session>;

  Task<Result<SessionPointer>> session();
  Task<Result<SessionPointer>> open();
  Task<Result<SessionPointer>> open_once();
  Task<Result<void>> refresh(Session& session);
  void note_death();
  // Lets go of a session that has ended, unless that was done before.
  void bury(const SessionPointer& session);
  Task<agents::Outcome> call_now(agents::ToolCall call);
  Task<agents::Outcome> call_once(agents::ToolCall call, bool& lost);
  agents::Outcome judge(const OfferedTool& tool, ToolAnswer answer) const;
  [[nodiscard]] bool given_up() const;

  std::string server_;
  Connect connect_;
  ToolboxOptions options_;
  EraChoice era_;  // of the next start
  SessionPointer session_;
  std::map<std::string, std::string> listed_;  // offered name -> digest, as last listed
  std::vector<std::string> problems_;
  int starts_ = 0;
  int deaths_ = 0;
  Instant last_death_{};
  Semaphore connecting_{1};
  Semaphore in_flight_;
};

}  // namespace ambit::mcp
