#pragma once

// An MCP server of which there is more than one: one for each agent, or a fresh one for each call,
// started ahead so that the call need not wait. Each is a whole Toolbox with a jail of its own.

#include "agents/ports.h"
#include "async/scope.h"

#include <cstddef>
#include <functional>
#include <list>
#include <memory>
#include <string>

namespace ambit::app {

class ServerPerCaller final : public agents::Toolbox {
 public:
  using Make = std::function<std::unique_ptr<agents::Toolbox>()>;
  // Whose server a session uses; absent: every call gets one of its own.
  using KeyOf = std::function<std::string(const std::string& session)>;

  ServerPerCaller(Make make, KeyOf key_of) : make_(std::move(make)), key_of_(std::move(key_of)) {}
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
  std::shared_ptr<agents::Toolbox> take_fresh();
  Server& server_of(const std::string& session);
  void make_room();

  Make make_;
  KeyOf key_of_;
  std::shared_ptr<agents::Toolbox> first_;             // says what there is
  std::list<std::shared_ptr<agents::Toolbox>> ahead_;  // started for calls to come
  std::list<Server> servers_;                          // the least used first
  Scope scope_;
};

}  // namespace ambit::app
