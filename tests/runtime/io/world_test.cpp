#include "async/race.h"
#include "async/scope.h"
#include "io/uuid.h"
#include "io/uv_world.h"
#include "run_task.h"

#include <catch2/catch.hpp>
#include <sys/socket.h>
#include <uv.h>

#include <atomic>
#include <csignal>
#include <dlfcn.h>
#include <fcntl.h>
#include <stdexcept>
#include <thread>
#include <unistd.h>

namespace {
std::chrono::milliseconds pause_before_run{0};
}  // namespace

// Stands before libuv's, for a test of what happens when the machine pauses just there.
extern "C" int uv_run(uv_loop_t* loop, uv_run_mode mode) {
  static const auto real = reinterpret_cast<decltype(&uv_run)>(dlsym(RTLD_NEXT, "uv_run"));
  std::this_thread::sleep_for(pause_before_run);
  return real(loop, mode);
}

namespace ambit::io {
namespace {

using std::chrono::milliseconds;

Task<Result<void>> work(Workers& workers, std::function<void()> body) {
  co_await workers.run(std::move(body));
  co_return Result<void>();
}

}  // namespace

TEST_CASE("work runs on another thread and its end resumes the task here", "[io]") {
  UvWorld world;
  std::thread::id there;
  run_task(world.loop(), world.world().workers.run([&] { there = std::this_thread::get_id(); }));
  CHECK(there != std::thread::id());
  CHECK(there != std::this_thread::get_id());
}

TEST_CASE("work runs to its end though nobody waits for it any more", "[io]") {
  std::atomic<bool> go = false;
  std::atomic<int> finished = 0;
  {
    UvWorld world;
    auto body = [&] {
      while (!go) std::this_thread::yield();
      ++finished;
    };
    const auto early =
        run_task(world.loop(), with_timeout(milliseconds(1), work(world.world().workers, body)));
    CHECK(early.error().code == Code::timeout);
    go = true;
  }
  CHECK(finished == 1);
}

TEST_CASE("more work than there are places waits and is all done", "[io]") {
  UvWorld world;
  std::atomic<int> finished = 0;
  Scope scope;
  for (int n = 0; n < 1000; ++n) scope.spawn(world.world().workers.run([&] { ++finished; }));
  world.loop().run_until([&] { return scope.size() == 0; });
  CHECK(finished == 1000);
}

TEST_CASE("an exception on a thread reaches the task that waits", "[io]") {
  UvWorld world;
  CHECK_THROWS_WITH(run_task(world.loop(), world.world().workers.run(
                                               [] { throw std::runtime_error("disk on fire"); })),
                    "disk on fire");
}

TEST_CASE("the loop hears posts from another thread while it waits", "[io]") {
  UvWorld world;
  int heard = 0;
  std::thread other([&] {
    for (int n = 0; n < 100; ++n) world.loop().post_from_thread([&] { ++heard; });
  });
  CHECK(world.loop().run_until([&] { return heard == 100; }));
  other.join();
}

TEST_CASE("a delay lasts at least as long as it says", "[io]") {
  UvWorld world;
  const Instant before = world.loop().now();
  run_task(world.loop(), delay_task(std::chrono::microseconds(1500)));
  CHECK(world.loop().now() - before >= std::chrono::microseconds(1500));
}

TEST_CASE("a delay that is over before the wait for it begins still ends it", "[io]") {
  UvWorld world;
  pause_before_run = milliseconds(3);
  run_task(world.loop(), delay_task(milliseconds(1)));  // the alarm is due when uv_run begins
  pause_before_run = milliseconds(0);
  SUCCEED("the loop did not wait for ever");
}

TEST_CASE("a signal is awaited, and one that came early is kept", "[io]") {
  UvWorld world;
  auto signals = world.signals({SIGUSR1, SIGUSR2}).value();
  kill(getpid(), SIGUSR1);
  CHECK(run_task(world.loop(), signals->next()) == SIGUSR1);
  kill(getpid(), SIGUSR2);
  run_task(world.loop(), delay_task(milliseconds(2)));
  CHECK(run_task(world.loop(), signals->next()) == SIGUSR2);
  CHECK_FALSE(world.signals({SIGKILL}).has_value());
}

TEST_CASE("readiness of a foreign descriptor is heard until the watch dies", "[io]") {
  UvWorld world;
  int sockets[2];
  REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, sockets) == 0);
  std::vector<Readiness> heard;
  auto watch = world.watcher().watch(sockets[0], [&](Readiness r) { heard.push_back(r); }).value();
  REQUIRE(watch->want({.readable = false, .writable = true}).has_value());
  world.loop().run_until([&] { return !heard.empty(); });
  CHECK(heard.back() == Readiness{false, true});
  REQUIRE(watch->want({.readable = true, .writable = false}).has_value());
  heard.clear();
  REQUIRE(write(sockets[1], "x", 1) == 1);
  world.loop().run_until([&] { return !heard.empty(); });
  CHECK(heard.back() == Readiness{true, false});
  watch.reset();
  heard.clear();
  run_task(world.loop(), delay_task(milliseconds(1)));
  CHECK(heard.empty());
  close(sockets[0]);
  close(sockets[1]);
  CHECK_FALSE(world.watcher().watch(-1, [](Readiness) {}).has_value());
}

TEST_CASE("uuids have the form, the version and the order of RFC 9562", "[io]") {
  UvWorld world;
  const std::string four = uuid_v4(world.world().entropy);
  CHECK_THAT(four,
             Catch::Matches("[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"));
  CHECK(uuid_v4(world.world().entropy) != four);
  struct FixedClock final : Clock {
    std::int64_t unix_ns() override { return 0x017F22E279B0LL * 1'000'000; }
  } fixed;
  CHECK(uuid_v7(fixed, world.world().entropy).starts_with("017f22e2-79b0-7"));
}

TEST_CASE("the clock tells the time of this century", "[io]") {
  UvWorld world;
  CHECK(world.world().clock.unix_ns() > 1'700'000'000'000'000'000);
}

}  // namespace ambit::io
