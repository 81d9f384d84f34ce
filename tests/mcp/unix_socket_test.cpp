// Servers that listen on a Unix socket: the script of scripted_server.h behind a real one.

#include "mcp/unix_socket.h"

#include "io/uv_world.h"
#include "scripted_server.h"
#include "support/run_task.h"
#include "support/temporary_folder.h"

#include <catch2/catch.hpp>
#include <sys/socket.h>
#include <sys/un.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <unistd.h>

namespace ambit::mcp {
namespace {

using agents::OutcomeKind;

// Everybody who connects meets a life of the script.
class SocketServer {
 public:
  SocketServer(io::World& world, ScriptedServer& script, const std::string& path)
      : script_(script) {
    auto listener = world.network.listen("unix:" + path);
    REQUIRE(listener.has_value());
    listener_ = std::move(*listener);
    scope_.spawn(serve());
  }

 private:
  Task<void> serve() {
    while (true) {
      auto came = co_await listener_->accept();
      if (!came) co_return;
      scope_.spawn(live(std::move(*came)));
    }
  }
  Task<void> live(std::unique_ptr<io::Stream> client) {
    Connect connect = script_.connect();
    auto life = co_await connect();
    Scope back;
    back.spawn(copy(*life->output, *client));
    co_await copy(*client, *life->input);
  }
  static Task<void> copy(io::Stream& from, io::Stream& to) {
    while (true) {
      auto bytes = co_await from.read(4096);
      if (!bytes || bytes->empty()) break;
      auto written = co_await to.write(std::move(*bytes));
      if (!written) break;
    }
    to.close();
  }

  ScriptedServer& script_;
  std::unique_ptr<io::Listener> listener_;
  Scope scope_;
};

struct Desk {
  TemporaryFolder folder;
  io::UvWorld world;
  ScriptedServer script;
  std::string path = folder.path() + "/desk.sock";
  std::vector<std::uint32_t> users{::geteuid()};
  std::unique_ptr<SocketServer> server;
  std::unique_ptr<McpToolbox> toolbox;

  void open() { server = std::make_unique<SocketServer>(world.world(), script, path); }
  McpToolbox& box() {
    if (toolbox) return *toolbox;
    ToolboxOptions options;
    options.pause_first = std::chrono::milliseconds(1);
    const Connect connect = [this] {
      return connect_unix(world.world().network, UnixTarget{path, users});
    };
    toolbox = std::make_unique<McpToolbox>("desk", connect, options);
    return *toolbox;
  }
  agents::Outcome call() {
    agents::ToolCall call;
    call.id = "call_1";
    call.name = "mcp__desk__echo";
    call.arguments = R"({"text":"hi"})";
    return run_task(world.loop(), box().call("s1", std::move(call)));
  }
  Result<Connection> connect(const std::string& where) {
    return run_task(world.loop(), connect_unix(world.world().network, UnixTarget{where, users}));
  }
};

}  // namespace

TEST_CASE("a server on a Unix socket is spoken to in its era", "[mcp][unix]") {
  for (const Era era : {Era::legacy, Era::modern}) {
    Desk desk;
    desk.script.era = era;
    desk.open();
    CHECK(desk.call().content == "hi");
    CHECK(desk.box().server()->era == era);
    CHECK(desk.script.lives == 1);
    CHECK(desk.script.heard_of("initialize") == (era == Era::legacy ? 1 : 0));
  }
}

TEST_CASE("a server that ends its connection at discovery is connected to without it",
          "[mcp][unix]") {
  Desk desk;
  desk.script.on["server/discover"] = [](ScriptedServer::Life& life, Json) -> Task<void> {
    life.die();
    co_return;
  };
  desk.open();
  CHECK(desk.call().content == "hi");
  CHECK(desk.script.lives == 2);
  CHECK(desk.script.heard_of("server/discover") == 1);
}

TEST_CASE("a server that comes back on its socket is connected to again", "[mcp][unix]") {
  Desk desk;
  desk.open();
  CHECK(desk.call().content == "hi");
  desk.server.reset();
  CHECK(desk.call().kind == OutcomeKind::protocol_error);
  const agents::Outcome while_gone = desk.call();
  CHECK(while_gone.kind == OutcomeKind::protocol_error);
  // The file of a socket stays behind where a server was killed; one that closes takes it along.
  CHECK_THAT(while_gone.detail, Catch::Contains("desk.sock"));
  std::filesystem::remove(desk.path);
  desk.open();
  CHECK(desk.call().content == "hi");
  CHECK(desk.script.lives == 2);
}

TEST_CASE("a socket that is not there is tried again, a bounded number of times", "[mcp][unix]") {
  Desk desk;
  const agents::Outcome outcome = desk.call();
  CHECK(outcome.kind == OutcomeKind::protocol_error);
  CHECK_THAT(outcome.detail, Catch::Contains("no such file"));
  CHECK(desk.box().starts() == ToolboxOptions().starts_max);
}

TEST_CASE("a server of another user is not spoken to, and is tried once", "[mcp][unix]") {
  Desk desk;
  desk.users = {::geteuid() + 1, ::geteuid() + 2};
  desk.open();
  const agents::Outcome outcome = desk.call();
  CHECK(outcome.kind == OutcomeKind::protocol_error);
  CHECK_THAT(outcome.detail,
             Catch::Contains("is of user " + std::to_string(::geteuid()) + ", and only user " +
                             std::to_string(::geteuid() + 1) + " or "));
  CHECK(desk.box().starts() == 1);
  CHECK(desk.script.heard.empty());
}

TEST_CASE("what is wrong with a socket is told", "[mcp][unix]") {
  Desk desk;
  const auto fault = [&](const std::string& path) {
    const auto connection = desk.connect(path);
    REQUIRE_FALSE(connection.has_value());
    return connection.error();
  };
  CHECK(fault(desk.path).code == Code::unavailable);
  std::ofstream(desk.path) << "a file\n";
  CHECK(fault(desk.path).code == Code::denied);
  CHECK_THAT(fault(desk.path).message, Catch::EndsWith("desk.sock is no socket"));
  CHECK_THAT(fault("desk.sock").message, Catch::Contains("not absolute"));
  CHECK_THAT(fault("/" + std::string(107, 'a')).message, Catch::Contains("at most 107 bytes"));
  // Nobody listens any more: its server was killed.
  std::filesystem::remove(desk.path);
  const int left = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  desk.path.copy(name.sun_path, sizeof name.sun_path - 1);
  REQUIRE(::bind(left, reinterpret_cast<const sockaddr*>(&name), sizeof name) == 0);
  ::close(left);
  CHECK(fault(desk.path).code == Code::unavailable);
  CHECK_THAT(fault(desk.path).message, Catch::Contains("connection refused"));
}

}  // namespace ambit::mcp
