#include "async/race.h"
#include "async/scope.h"
#include "io/uv_world.h"
#include "io/world.h"
#include "run_task.h"
#include "temporary_folder.h"

#include <catch2/catch.hpp>
#include <sys/socket.h>

#include <fcntl.h>
#include <unistd.h>

namespace ambit::io {
namespace {

using std::chrono::milliseconds;
using StreamPair = std::pair<std::unique_ptr<Stream>, std::unique_ptr<Stream>>;

Task<void> accept_into(Listener& listener, std::unique_ptr<Stream>& out) {
  auto accepted = co_await listener.accept();
  if (accepted) out = std::move(*accepted);
}

Task<Result<StreamPair>> connect_pair(Network& network, std::string address) {
  const auto listener = co_await ok(network.listen(address));
  std::unique_ptr<Stream> theirs;
  Scope scope;
  scope.spawn(accept_into(*listener, theirs));
  auto ours = co_await ok(network.connect(listener->address()));
  co_await scope.join();
  co_return StreamPair(std::move(ours), std::move(theirs));
}

Task<Result<std::string>> read_all(Stream& stream) {
  std::string all;
  while (true) {
    const std::string part = co_await ok(stream.read(10'000));
    if (part.empty()) co_return all;
    all += part;
  }
}

Task<Result<void>> write_all(Stream& stream, std::string bytes) {
  co_await ok(stream.write(std::move(bytes)));
  stream.shutdown_write();
  co_return Result<void>();
}

Task<void> echo(Stream& stream) {
  while (true) {
    auto part = co_await stream.read(4096);
    if (!part || part->empty()) break;
    auto written = co_await stream.write(std::move(*part));
    if (!written) break;
  }
  stream.shutdown_write();
}

Task<Result<std::string>> echoed(Stream& ours, Stream& theirs, std::string bytes) {
  Scope scope;
  scope.spawn(echo(theirs));
  scope.spawn([](Stream& to, std::string all) -> Task<void> {
    co_await write_all(to, std::move(all));
  }(ours, std::move(bytes)));
  std::string all = co_await ok(read_all(ours));
  co_await scope.join();
  co_return all;
}

std::string pattern(std::size_t size) {
  std::string bytes(size, '\0');
  for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<char>(i * 131 + i / 256);
  return bytes;
}

StreamPair make_pair(UvWorld& world, const std::string& address = "127.0.0.1:0") {
  return run_task(world.loop(), connect_pair(world.world().network, address)).value();
}

}  // namespace

TEST_CASE("bytes come back from an echo over TCP, IPv6 and Unix sockets", "[io]") {
  UvWorld world;
  const TemporaryFolder folder;
  for (const std::string& address :
       {std::string("127.0.0.1:0"), std::string("[::1]:0"), "unix:" + folder.path() + "/s"}) {
    auto pair = run_task(world.loop(), connect_pair(world.world().network, address));
    if (!pair && address[0] == '[') {
      WARN("no IPv6 on this machine: " << pair.error().message);
      continue;
    }
    auto [ours, theirs] = std::move(*pair);
    const std::string sent = pattern(3'000'000);
    const auto got = run_task(world.loop(), echoed(*ours, *theirs, sent));
    CHECK(got.value() == sent);
  }
}

TEST_CASE("the kernel says whose program is at the other end of a Unix socket", "[io]") {
  UvWorld world;
  const TemporaryFolder folder;
  auto [ours, theirs] =
      run_task(world.loop(), connect_pair(world.world().network, "unix:" + folder.path() + "/s"))
          .value();
  CHECK(ours->peer_user() == ::geteuid());
  CHECK(theirs->peer_user() == ::geteuid());
  ours->close();
  CHECK_FALSE(ours->peer_user().has_value());
  auto [near, far] = make_pair(world);
  CHECK_FALSE(near->peer_user().has_value());
}

TEST_CASE("a listener tells the port that it was given", "[io]") {
  UvWorld world;
  const auto listener = world.world().network.listen("127.0.0.1:0").value();
  CHECK(listener->address().starts_with("127.0.0.1:"));
  CHECK(listener->address() != "127.0.0.1:0");
  const auto again = world.world().network.listen(listener->address());
  CHECK(again.error().code == Code::conflict);
  CHECK(again.error().message == "listen on " + listener->address() + ": address already in use");
}

TEST_CASE("a write waits until the peer reads", "[io]") {
  UvWorld world;
  auto [ours, theirs] = make_pair(world);
  bool written = false;
  Scope scope;
  scope.spawn([](Stream& to, bool& done) -> Task<void> {
    co_await to.write(pattern(32 << 20));
    done = true;
  }(*ours, written));
  run_task(world.loop(), delay_task(milliseconds(20)));
  CHECK_FALSE(written);
  std::size_t read = 0;
  while (read < (32 << 20)) read += run_task(world.loop(), theirs->read(1 << 20)).value().size();
  world.loop().run_until([&] { return scope.size() == 0; });
  CHECK(written);
}

TEST_CASE("a read that was cancelled loses no byte", "[io]") {
  UvWorld world;
  auto [ours, theirs] = make_pair(world);
  for (int round = 0; round < 20; ++round) {
    const auto nothing = run_task(world.loop(), with_timeout(milliseconds(1), theirs->read(10)));
    CHECK(nothing.error().code == Code::timeout);
  }
  REQUIRE(run_task(world.loop(), ours->write("hello")).has_value());
  CHECK(run_task(world.loop(), theirs->read(2)).value() == "he");
  CHECK(run_task(world.loop(), theirs->read(10)).value() == "llo");
}

TEST_CASE("the end of a stream is an empty read, in one direction only", "[io]") {
  UvWorld world;
  auto [ours, theirs] = make_pair(world);
  ours->shutdown_write();
  CHECK(run_task(world.loop(), theirs->read(10)).value().empty());
  CHECK(run_task(world.loop(), theirs->read(10)).value().empty());
  CHECK(run_task(world.loop(), ours->write("late")).error().code == Code::closed);
  REQUIRE(run_task(world.loop(), theirs->write("still here")).has_value());
  CHECK(run_task(world.loop(), ours->read(100)).value() == "still here");
}

TEST_CASE("closing a stream ends reads and writes that wait", "[io]") {
  UvWorld world;
  auto [ours, theirs] = make_pair(world);
  std::vector<Code> codes;
  Scope scope;
  scope.spawn([](Stream& from, std::vector<Code>& got) -> Task<void> {
    auto part = co_await from.read(10);
    got.push_back(part ? Code::internal : part.error().code);
  }(*ours, codes));
  scope.spawn([](Stream& to, std::vector<Code>& got) -> Task<void> {
    auto written = co_await to.write(pattern(32 << 20));
    got.push_back(written ? Code::internal : written.error().code);
  }(*ours, codes));
  run_task(world.loop(), delay_task(milliseconds(5)));
  ours->close();
  world.loop().run_until([&] { return scope.size() == 0; });
  CHECK(codes == std::vector<Code>{Code::closed, Code::closed});
  CHECK(run_task(world.loop(), ours->read(1)).error().code == Code::closed);
}

TEST_CASE("writing to a peer that is gone is an error, not a signal", "[io]") {
  UvWorld world;
  auto [ours, theirs] = make_pair(world);
  theirs.reset();
  Result<void> written;
  while (written) written = run_task(world.loop(), ours->write(pattern(100'000)));
  CHECK(written.error().code == Code::closed);
}

TEST_CASE("connecting to nobody says where and why", "[io]") {
  UvWorld world;
  const TemporaryFolder folder;
  std::string address;
  {
    const auto listener = world.world().network.listen("127.0.0.1:0").value();
    address = listener->address();
  }
  const auto refused = run_task(world.loop(), world.world().network.connect(address));
  CHECK(refused.error() ==
        Error{Code::unavailable, "connect to " + address + ": connection refused"});
  const std::string path = "unix:" + folder.path() + "/none";
  const auto missing = run_task(world.loop(), world.world().network.connect(path));
  CHECK(missing.error().code == Code::not_found);
  const auto malformed = run_task(world.loop(), world.world().network.connect("nonsense"));
  CHECK(malformed.error().code == Code::invalid);
}

TEST_CASE("a cancelled accept loses no connection", "[io]") {
  UvWorld world;
  const auto listener = world.world().network.listen("127.0.0.1:0").value();
  const auto nobody = run_task(world.loop(), with_timeout(milliseconds(1), listener->accept()));
  CHECK(nobody.error().code == Code::timeout);
  const auto ours =
      run_task(world.loop(), world.world().network.connect(listener->address())).value();
  CHECK(run_task(world.loop(), listener->accept()).has_value());
}

TEST_CASE("both ends of a pipe and of a socket pair can be adopted", "[io]") {
  UvWorld world;
  int pipe_ends[2];
  REQUIRE(pipe2(pipe_ends, O_CLOEXEC) == 0);
  auto reading = world.world().network.adopt(pipe_ends[0]).value();
  auto writing = world.world().network.adopt(pipe_ends[1]).value();
  REQUIRE(run_task(world.loop(), writing->write("through a pipe")).has_value());
  CHECK(run_task(world.loop(), reading->read(100)).value() == "through a pipe");
  writing->shutdown_write();
  CHECK(run_task(world.loop(), reading->read(100)).value().empty());

  int sockets[2];
  REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets) == 0);
  auto left = world.world().network.adopt(sockets[0]).value();
  auto right = world.world().network.adopt(sockets[1]).value();
  const auto got = run_task(world.loop(), echoed(*left, *right, pattern(1'000'000)));
  CHECK(got.value() == pattern(1'000'000));
}

TEST_CASE("a descriptor that is no stream is refused and closed", "[io]") {
  UvWorld world;
  const int file = open("/dev/null", O_RDONLY | O_CLOEXEC);
  REQUIRE(file >= 0);
  CHECK(world.world().network.adopt(file).error().code == Code::unsupported);
  CHECK(fcntl(file, F_GETFD) == -1);
  CHECK_FALSE(world.world().network.adopt(-1).has_value());
}

TEST_CASE("a world that ends in the middle of everything leaves nothing in libuv", "[io]") {
  // ~UvWorld CHECKs that uv_loop_close succeeds; the sanitizers see what leaks.
  UvWorld world;
  auto [ours, theirs] = make_pair(world);
  const auto listener = world.world().network.listen("127.0.0.1:0").value();
  const bool tasks_first = GENERATE(true, false);
  auto scope = std::make_unique<Scope>();
  const auto swallow = [](Task<Result<std::string>> task) -> Task<void> {
    co_await std::move(task);
  };
  scope->spawn(swallow(ours->read(10)));
  scope->spawn([](Stream& to) -> Task<void> { co_await to.write(pattern(32 << 20)); }(*theirs));
  scope->spawn([](Listener& from) -> Task<void> { co_await from.accept(); }(*listener));
  scope->spawn([](Network& network) -> Task<void> {
    co_await network.connect("127.0.0.1:9");
  }(world.world().network));
  scope->spawn([](Network& network) -> Task<void> {
    co_await network.connect("localhost:9");
  }(world.world().network));
  scope->spawn(
      [](Workers& workers) -> Task<void> { co_await workers.run([] {}); }(world.world().workers));
  run_task(world.loop(), delay_task(Duration(0)));
  if (tasks_first) {
    scope.reset();
  } else {
    ours.reset();
    theirs.reset();
    scope.reset();
  }
}

}  // namespace ambit::io
