#pragma once

// A server in memory, for tests that need both ends.

#include "io/uv_world.h"
#include "mcp/client.h"
#include "mcp/stdio_server.h"
#include "mcp/toolbox.h"
#include "support/memory_stream.h"
#include "support/run_task.h"

#include <memory>
#include <utility>

namespace ambit::mcp {

// A server and the connections to it, for as many clients as come.
class Served {
 public:
  explicit Served(Server& server) : server_(server) {}
  Connection connect(const std::string& principal = "test") {
    auto link = std::make_shared<Link>();
    link->server = std::make_unique<StdioServer>(server_, *link->input.second, *link->output.second,
                                                 principal);
    link->scope.spawn(
        [](StdioServer& serving) -> Task<void> { co_await serving.run(); }(*link->server));
    Connection connection;
    connection.input = link->input.first.get();
    connection.output = link->output.first.get();
    connection.owner = std::move(link);
    return connection;
  }
  Connect connector() {
    return [this]() -> Task<Result<Connection>> {
      return [](Connection connection) -> Task<Result<Connection>> {
        co_return connection;
      }(connect());
    };
  }

 private:
  struct Link {
    std::pair<std::unique_ptr<MemoryStream>, std::unique_ptr<MemoryStream>> input =
        MemoryStream::pair();
    std::pair<std::unique_ptr<MemoryStream>, std::unique_ptr<MemoryStream>> output =
        MemoryStream::pair();
    std::unique_ptr<StdioServer> server;
    Scope scope;
  };
  Server& server_;
};

}  // namespace ambit::mcp
