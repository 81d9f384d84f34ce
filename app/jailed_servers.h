#pragma once

// An MCP server of which there is more than one: one for each agent, or a fresh one for each call,
// started ahead (from the first list on) so that the call need not wait. Each is a whole Toolbox
// with a jail of its own. How many live at once is bounded: calls wait for their turn, an agent
// beyond the bound is refused while all the others are at work.

#include "agents/ports.h"
#include "async/channel.h"
#include "async/scope.h"

#include <cstddef>
#include <functional>
#include <list>
#include <memory>
#include <string>

namespace ambit::app {

struct ServerPerCallerLimits {
  std::size_t servers_max = 64;
  std::size_t ahead_max = 2;  // started for calls to come
};

class ServerPerCaller final : public agents::Toolbox {
 public:
  using Make = std::function<std::unique_ptr<agents::Toolbox>()>;
  // Whose server a session uses; absent: every call gets one of its own.
  using KeyOf = std::function<std::string(const std::string& session)>;

  ServerPerCaller(Make make, KeyOf key_of, ServerPerCallerLimits limits = {})
      : make_(std::move(make)),
        key_of_(std::move(key_of)),
        limits_(limits),
        calls_(limits.servers_max) {}
  ServerPerCaller(const ServerPerCaller&) = delete;
  ServerPerCaller& operator=(const ServerPerCaller&) = delete;

  Task<Result<std::vector<agents::ToolSpec>>> list() override;
  Task<agents::Outcome> call(std::string session, agents::ToolCall call) override;

 private:
  struct Server {
    std::string key;
    std::shared_ptr<agents::Toolbox> box;
    std::size_t calls = 0;  // that run now
  };
  static Task<void> start(std::shared_ptr<agents::Toolbox> box);
  void start_ahead();
  std::shared_ptr<agents::Toolbox> take_fresh();
  // Null: there is no room for another.
  Server* server_of(const std::string& session);
  [[nodiscard]] bool make_room();

  Make make_;
  KeyOf key_of_;
  ServerPerCallerLimits limits_;
  Semaphore calls_;                                    // where each has a server of its own
  std::shared_ptr<agents::Toolbox> first_;             // says what there is
  std::list<std::shared_ptr<agents::Toolbox>> ahead_;  // started for calls to come
  std::list<Server> servers_;                          // the least used first
  Scope scope_;
};

}  // namespace ambit::app
