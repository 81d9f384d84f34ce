#include "sandbox/tool_workers.h"

#include "async/race.h"
#include "sandbox/builtin.h"
#include "sandbox/ending.h"
#include "sandbox/zygote_link.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <utility>

namespace ambit::sandbox {

using agents::JailCall;
using agents::JailOutcome;
using agents::OutcomeKind;
using namespace std::chrono_literals;

namespace {

constexpr std::size_t calls_max = 1000;  // of one worker
// Without cgroups each holds a zygote of its own, of which there are not many.
constexpr std::size_t idle_max = 16;
constexpr Duration idle_for = 10s;
constexpr std::size_t read_bytes = 64 << 10;
constexpr std::size_t error_bytes_max = 4096;

}  // namespace

bool is_builtin(const JailCall& call) {
  return !call.command.empty() && call.command[0].starts_with('@');
}

// What has come of an answer so far.
struct ToolWorkers::Answer {
  protocol::Done done{};
  std::string bytes{};
  bool is_whole = false;
};

namespace {

// How many bytes the answer has in all; 0: its beginning makes no sense.
std::size_t expected_bytes(const std::string& bytes, std::uint32_t id, protocol::Done& done) {
  std::memcpy(static_cast<void*>(&done), bytes.data(), sizeof done);
  const bool good = done.magic_number == protocol::magic && done.kind == protocol::Kind::done &&
                    done.id == id && done.output_bytes <= protocol::output_bytes_max &&
                    done.error_bytes <= error_bytes_max;
  return good ? sizeof done + done.output_bytes + done.error_bytes : 0;
}

}  // namespace

Task<void> ToolWorkers::exchange(Worker& worker, const std::string& frame, Answer& answer) {
  const std::uint32_t id = worker.next_id++;
  io::Stream& channel = *worker.jail->channel;
  auto written = co_await channel.write(frame);
  if (!written) co_return;
  std::size_t expected = sizeof answer.done;
  while (answer.bytes.size() < expected) {
    auto part = co_await channel.read(read_bytes);
    if (!part || part->empty()) co_return;
    answer.bytes += *part;
    if (answer.bytes.size() < sizeof answer.done) continue;
    expected = expected_bytes(answer.bytes, id, answer.done);
    if (expected == 0) co_return;
  }
  answer.is_whole = answer.bytes.size() == expected;
}

Task<Result<std::unique_ptr<ToolWorkers::Worker>>> ToolWorkers::take(const JailCall& call) {
  const bool is_warm = call.profile.service == "warm";
  auto worker = std::make_unique<Worker>();
  worker->agent = call.agent;
  if (is_warm) {
    worker->key = JailPool::reuse_key(call.profile);
    for (auto at = idle_.end(); at != idle_.begin();) {
      --at;
      if ((*at)->agent != worker->agent || (*at)->key != worker->key) continue;
      std::unique_ptr<Worker> found = std::move(*at);
      at = idle_.erase(at);
      if (!found->jail->call->ended() && !found->jail->call->zygote().dead()) co_return found;
    }
  }
  auto jail = co_await pool_.take(call.profile, JailUse::worker);
  if (!jail) co_return Err(std::move(jail).error());
  worker->jail = std::move(*jail);
  co_return worker;
}

void ToolWorkers::give_back(std::unique_ptr<Worker> worker, const JailCall& call) {
  const bool is_used_up =
      worker->calls >= calls_max ||
      (call.profile.cpu_ms != 0 && worker->cpu_us * 2 >= call.profile.cpu_ms * 1000);
  if (is_used_up) return;
  worker->last = world_.loop.now();
  if (idle_.size() >= idle_max) idle_.pop_front();
  idle_.push_back(std::move(worker));
  if (letting_go_) return;
  letting_go_ = true;
  scope_.spawn(let_go());
}

Task<void> ToolWorkers::let_go() {
  while (!idle_.empty()) {
    co_await delay(idle_for);
    const Instant before = world_.loop.now() - idle_for;
    std::erase_if(idle_, [&](const auto& one) { return one->last <= before; });
  }
  letting_go_ = false;
}

// Ends the jail of a call and has the next one made, once its outcome is on its way.
Task<void> ToolWorkers::retire(std::unique_ptr<Worker> worker, agents::Profile profile,
                               std::shared_ptr<ZygoteProcess> zygote) {
  co_await delay(Duration::zero());
  worker.reset();
  if (profile.service != "warm") pool_.refill(profile, std::move(zygote), JailUse::worker);
}

// It did not answer: why?
Task<JailOutcome> ToolWorkers::explain_end(Worker& worker, const JailCall& call) {
  ZygoteCall& running = *worker.jail->call;
  // It may be about to die, and is of no use either way.
  worker.jail->channel->close();
  co_await race(running.wait(), delay_task(100ms));
  if (!running.ended()) {
    running.kill();
    co_await race(running.wait(), delay_task(last_resort));
  }
  if (!running.ended()) running.zygote().end();
  Circumstances known;
  const std::int64_t peak_bytes = ask_groups(running, known, worker.jail->lease.get());
  JailOutcome outcome = outcome_of(running, call.profile, known);
  outcome.memory_peak_bytes = std::max(outcome.memory_peak_bytes, peak_bytes);
  if (outcome.kind == OutcomeKind::ok) {
    outcome.kind = OutcomeKind::crashed;
    outcome.detail = "the built-in tool ended without an answer";
  }
  co_return outcome;
}

Task<JailOutcome> ToolWorkers::run(JailCall& call) {
  if (!builtin::exists(call.command[0]))
    co_return refused("there is no built-in tool '" + call.command[0] + "'");
  const JailPool::Interest interest(pool_, call.profile, JailUse::worker);
  const Instant began = world_.loop.now();
  JailOutcome outcome;
  for (int tries = 0;; ++tries) {
    auto worker = co_await take(call);
    if (!worker) co_return refused(worker.error().message);
    const std::shared_ptr<ZygoteProcess> zygote =
        (*worker)->jail->call->zygote().shared_from_this();
    const auto frame = encode_work(call, (*worker)->next_id);
    if (!frame) co_return refused(frame.error().message);
    Answer answer;
    bool is_late = false;
    if (call.profile.wall_ms == 0) {
      co_await exchange(**worker, *frame, answer);
    } else {
      const Duration wall = std::chrono::milliseconds(call.profile.wall_ms);
      const auto first = co_await race(exchange(**worker, *frame, answer), delay_task(wall));
      is_late = first.index() == 1;
    }
    if (!answer.is_whole && !is_late) {
      outcome = co_await explain_end(**worker, call);
      // Its zygote died before it was made, or was made for files that are there no more.
      if (may_try_again(*(*worker)->jail->call) && tries < tries_max) continue;
    } else if (is_late) {
      (*worker)->jail->call->kill();
      outcome.kind = OutcomeKind::timeout;
      outcome.detail = "over its limit: wall clock " + std::to_string(call.profile.wall_ms) + " ms";
    } else {
      const protocol::Done& done = answer.done;
      outcome.exit_code = done.status;
      outcome.cpu_us = done.cpu_us;
      outcome.truncated = (done.flags & protocol::Done::truncated) != 0;
      outcome.kind = outcome.truncated ? OutcomeKind::output_limit : OutcomeKind::ok;
      outcome.detail = "exit status " + std::to_string(done.status);
      outcome.output = answer.bytes.substr(sizeof done, done.output_bytes);
      outcome.errors = answer.bytes.substr(sizeof done + done.output_bytes);
      (*worker)->calls += 1;
      (*worker)->cpu_us += done.cpu_us;
      const bool is_good = done.status < 2 && !outcome.truncated;
      if (call.profile.service == "warm" && is_good) give_back(std::move(*worker), call);
    }
    outcome.wall_us =
        std::chrono::duration_cast<std::chrono::microseconds>(world_.loop.now() - began).count();
    if (*worker) scope_.spawn(retire(std::move(*worker), call.profile, zygote));
    co_return outcome;
  }
}

}  // namespace ambit::sandbox
