// Clients send random bytes through a faulty network to an echo server and check what comes back:
// always a prefix of what they sent, and all of it when the stream ended properly.

#include "async/race.h"
#include "async/scope.h"
#include "scenario.h"

#include <algorithm>
#include <memory>

namespace ambit::sim {
namespace {

// Longer than the slowest mix of faults can take, byte by byte.
constexpr Duration echo_patience = std::chrono::hours(24 * 10);
const char* const server_address = "10.0.0.1:7";

Task<void> echo_one(std::unique_ptr<io::Stream> stream) {
  while (true) {
    auto part = co_await stream->read(1000);
    if (!part || part->empty()) break;
    auto written = co_await stream->write(std::move(*part));
    if (!written) break;
  }
  stream->shutdown_write();
}

Task<void> echo_server(io::Listener& listener) {
  Scope sessions;
  while (true) {
    auto stream = co_await listener.accept();
    if (!stream) break;
    sessions.spawn(echo_one(std::move(*stream)));
  }
}

Task<void> send(io::Stream& to, std::string bytes, Random random) {
  std::size_t at = 0;
  while (at < bytes.size()) {
    const auto count = static_cast<std::size_t>(random.between(1, 2000));
    auto written = co_await to.write(bytes.substr(at, count));
    if (!written) co_return;
    at += count;
  }
  to.shutdown_write();
}

Task<Result<void>> exchange(io::Stream& stream, std::string sent, Random random) {
  Scope sending;
  sending.spawn(send(stream, sent, random));
  std::string got;
  while (true) {
    auto part = co_await stream.read(3000);
    const bool clean = part.has_value();
    if (clean && !part->empty()) {
      got += *part;
      continue;
    }
    if (got != sent.substr(0, got.size()))
      co_return Err(Code::internal, "the echo is not what was sent");
    // A server whose connection broke ends it early; ours ended properly only if nothing was reset.
    co_return Result<void>();
  }
}

Task<void> client(SimWorld& world, Random random, Result<void>& verdict) {
  std::unique_ptr<io::Stream> stream;
  for (int attempt = 0; attempt < 50 && !stream; ++attempt) {
    auto connected = co_await world.network().connect(server_address);
    if (connected) stream = std::move(*connected);
  }
  if (!stream) co_return;
  std::string sent(random.below(6000), '\0');
  for (char& c : sent) c = static_cast<char>(random.next());
  auto outcome =
      co_await with_timeout(echo_patience, exchange(*stream, std::move(sent), random.fork()));
  if (!outcome) verdict = outcome;
}

}  // namespace

Task<Result<void>> echo_scenario(SimWorld& world) {
  auto listener = co_await ok(world.network().listen(server_address));
  const auto second = world.network().listen(server_address);
  if (second) co_return Err(Code::internal, "two listeners on one address");
  Result<void> verdict;
  Scope server;
  server.spawn(echo_server(*listener));
  Scope clients;
  const auto count = world.random().between(1, 8);
  for (std::int64_t n = 0; n < count; ++n)
    clients.spawn(client(world, world.random().fork(), verdict));
  if (world.random().chance(0.3)) {
    co_await delay(std::chrono::milliseconds(world.random().between(0, 300)));
    clients.cancel();
  }
  co_await clients.join();
  co_return verdict;
}

}  // namespace ambit::sim
