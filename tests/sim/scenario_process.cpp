// Tasks start programs that echo, crash or never end, talk to them, lose patience, and let go.
// Every program must be gone afterwards, and every exit status must be one that its program could
// have.

#include "async/race.h"
#include "async/scope.h"
#include "scenario.h"

#include <csignal>

namespace ambit::sim {
namespace {

Task<int> cat(SimProcessIo& io) {
  while (true) {
    auto part = co_await io.input->read(512);
    if (!part || part->empty()) co_return 0;
    auto written = co_await io.output->write(std::move(*part));
    if (!written) co_return 1;
  }
}

Task<int> crasher(SimProcessIo& io) {
  co_await io.errors->write("about to fail\n");
  co_await delay(std::chrono::milliseconds(3));
  co_return 3;
}

Task<int> stubborn(SimProcessIo& /*io*/) {
  while (true) co_await delay(std::chrono::seconds(1));
}

Task<void> feed(io::Stream& input, std::string bytes) {
  auto written = co_await input.write(std::move(bytes));
  if (written) input.shutdown_write();
}

Task<Result<std::string>> read_all(io::Stream& from) {
  std::string all;
  while (true) {
    const std::string part = co_await ok(from.read(700));
    if (part.empty()) co_return all;
    all += part;
  }
}

bool is_killed(const io::ExitStatus& status) {
  return status.signal == SIGSEGV || status.signal == SIGTERM || status.signal == SIGKILL;
}

Task<Result<void>> talk_to_cat(io::Process& process, std::string sent) {
  Scope feeding;
  feeding.spawn(feed(process.input(), sent));
  auto got = co_await read_all(process.output());
  const io::ExitStatus status = co_await process.wait();
  if (is_killed(status)) co_return Result<void>();
  if (!got || *got != sent) co_return Err(Code::internal, "cat gave something else than it got");
  if (!(status == io::ExitStatus{0, 0})) co_return Err(Code::internal, "cat failed");
  co_return Result<void>();
}

Task<Result<void>> watch_crash(io::Process& process) {
  auto said = co_await read_all(process.errors());
  const io::ExitStatus status = co_await process.wait();
  if (is_killed(status)) co_return Result<void>();
  if (!said || *said != "about to fail\n" || status.code != 3) {
    co_return Err(Code::internal, "the crash was not seen as it happened");
  }
  co_return Result<void>();
}

Task<Result<void>> end_stubborn(io::Process& process, Duration patience) {
  co_await delay(patience);
  process.signal(SIGTERM);
  const io::ExitStatus status = co_await process.wait();
  if (!is_killed(status)) co_return Err(Code::internal, "a killed program ended otherwise");
  co_return Result<void>();
}

Task<void> one(SimWorld& world, Random random, Result<void>& verdict) {
  const char* const paths[] = {"/bin/cat", "/bin/crasher", "/bin/stubborn", "/bin/none"};
  const auto which = random.below(4);
  io::ProcessOptions options;
  options.command = {paths[which]};
  auto process = world.processes().spawn(options);
  if (!process) {
    if (which == 3 && process.error().code != Code::not_found) verdict = Err(process.error());
    co_return;
  }
  Task<Result<void>> body;
  if (which == 0) {
    body = talk_to_cat(**process, std::string(random.below(5000), 'x'));
  } else if (which == 1) {
    body = watch_crash(**process);
  } else {
    body = end_stubborn(**process, std::chrono::milliseconds(random.between(0, 5000)));
  }
  const Duration patience =
      std::chrono::milliseconds(random.chance(0.3) ? random.between(0, 500) : 10'000'000);
  auto outcome = co_await with_timeout(patience, std::move(body));
  if (!outcome && outcome.error().code != Code::timeout) verdict = outcome;
}

}  // namespace

Task<Result<void>> process_scenario(SimWorld& world) {
  world.processes().register_program("/bin/cat", cat);
  world.processes().register_program("/bin/crasher", crasher);
  world.processes().register_program("/bin/stubborn", stubborn);
  Result<void> verdict;
  Scope scope;
  const auto count = world.random().between(1, 12);
  for (std::int64_t n = 0; n < count; ++n) scope.spawn(one(world, world.random().fork(), verdict));
  co_await scope.join();
  if (world.processes().live() != 0)
    co_return Err(Code::internal, "a program outlived its Process");
  co_return verdict;
}

}  // namespace ambit::sim
