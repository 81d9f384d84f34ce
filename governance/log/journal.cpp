#include "log/journal.h"

#include "log/retention.h"

#include <algorithm>
#include <utility>

namespace ambit::log {

// What the loop hands to a worker and back.
struct LogJournal::Work {
  std::vector<Prepared> events;
  struct Waiter {
    bool is_posted;
    Resolver<Result<std::uint64_t>> done;
  };
  std::vector<Waiter> waiters;  // touched on the loop alone
  Result<std::vector<Result<std::uint64_t>>> result =
      Err(Code::internal, "the group was not written");
};

namespace {

Error broken_off() {
  return {Code::closed,
          "an earlier event of this session could not be written; the session goes on when the "
          "program is started again"};
}

}  // namespace

LogJournal::LogJournal(io::World& world, JournalOptions options, std::shared_ptr<LogWriter> writer)
    : world_(world),
      options_(std::move(options)),
      reader_(writer->store()),
      writer_(std::move(writer)) {}

LogJournal::~LogJournal() = default;

Result<std::unique_ptr<LogJournal>> LogJournal::open(io::World& world, JournalOptions options) {
  std::shared_ptr<LogWriter> writer = TRY(LogWriter::open(
      options.writer, [&world](std::span<std::uint8_t> bytes) { world.entropy.fill(bytes); }));
  return std::unique_ptr<LogJournal>(new LogJournal(world, std::move(options), std::move(writer)));
}

Result<LogJournal::Waiting> LogJournal::prepare(agents::Event event) {
  Waiting waiting;
  waiting.prepared =
      TRY(log::prepare(std::move(event), world_.clock.unix_ns(), [this] { return take_salt(); }));
  waiting.bytes = waiting.prepared.event.body.size() + 512;
  for (const agents::Payload& payload : waiting.prepared.event.payloads) {
    waiting.bytes += payload.bytes.size();
  }
  return waiting;
}

// Random bytes come by the page: one call into the kernel for many salts.
std::string LogJournal::take_salt() {
  if (salts_left_ < salt_bytes) {
    world_.entropy.fill(salts_);
    salts_left_ = salts_.size();
  }
  salts_left_ -= salt_bytes;
  return {reinterpret_cast<const char*>(salts_.data() + salts_left_), salt_bytes};
}

Task<Result<std::uint64_t>> LogJournal::append(agents::Event event) {
  auto [written, done] = make_pending<Result<std::uint64_t>>();
  co_await ok(enqueue(std::move(event), false, std::move(done)));
  auto index = co_await std::move(written);
  co_return index;
}

Result<void> LogJournal::post(agents::Event event) {
  return enqueue(std::move(event), true, {});
}

Result<void> LogJournal::enqueue(agents::Event event, bool is_posted,
                                 Resolver<Result<std::uint64_t>> done) {
  if (closed_) return Err(Code::closed, "the record is closed; nothing can be done any more");
  if (!broken_.empty() && broken_.contains({event.run, event.session})) return Err(broken_off());
  Waiting waiting = TRY(prepare(std::move(event)));
  if (queue_.size() >= options_.queue_max ||
      queue_bytes_ + waiting.bytes > options_.queue_bytes_max) {
    return Err(Code::exhausted, "the record cannot keep up: " + std::to_string(queue_.size()) +
                                    " events wait to be written; nothing is done unrecorded");
  }
  waiting.is_posted = is_posted;
  waiting.done = std::move(done);
  queue_bytes_ += waiting.bytes;
  queue_.push_back(std::move(waiting));
  if (!committing_) {
    committing_ = true;
    scope_.spawn(commit_all());
  } else if (queue_.size() >= options_.group_min) {
    gathering_.resolve(true);
  }
  return {};
}

std::shared_ptr<LogJournal::Work> LogJournal::take_group() {
  auto work = std::make_shared<Work>();
  std::size_t bytes = 0;
  while (!queue_.empty() && work->events.size() < options_.group_max &&
         (bytes == 0 || bytes + queue_.front().bytes <= options_.group_bytes_max)) {
    Waiting& first = queue_.front();
    bytes += first.bytes;
    work->events.push_back(std::move(first.prepared));
    work->waiters.push_back({first.is_posted, std::move(first.done)});
    queue_.pop_front();
  }
  queue_bytes_ -= bytes;
  return work;
}

// One group after another until the queue is empty.
Task<void> LogJournal::commit_all() {
  const LatencyClass asked = Loop::current().latency();
  co_await become(LatencyClass::interactive);
  while (!queue_.empty()) {
    if (queue_.size() < options_.group_min) co_await gather(asked);
    auto work = take_group();
    std::function<void()> write = [work, writer = writer_] {
      work->result = writer->append(work->events);
    };
    co_await world_.workers.run(std::move(write));
    finish(*work);
  }
  committing_ = false;
}

// Until enough waits, or all that is ready now has run: what it does may be recorded too.
Task<void> LogJournal::gather(LatencyClass asked) {
  auto [gathered, done] = make_pending<bool>();
  gathering_ = std::move(done);
  scope_.spawn(give_way(asked));
  co_await std::move(gathered);
}

Task<void> LogJournal::give_way(LatencyClass asked) {
  co_await become(asked);
  co_await delay(Duration::zero());
  gathering_.resolve(true);
}

// Who was waiting goes on before what has yet to begin, the first one first: a session that can
// leave for its model does not wait until all others have come as far.
void LogJournal::finish(Work& work) {
  ++stats_.groups;
  const std::size_t broken_before = broken_.size();
  for (std::size_t i = work.waiters.size(); i-- > 0;) {
    Result<std::uint64_t> result = work.result ? std::move((*work.result)[i])
                                               : Result<std::uint64_t>(Err(work.result.error()));
    if (result) {
      ++stats_.records;
    } else if (work.waiters[i].is_posted) {
      broken_.emplace(work.events[i].event.run, work.events[i].event.session);
    }
    work.waiters[i].done.resolve_next(std::move(result));
  }
  if (broken_.size() > broken_before) fail_followers();
}

// What waits already and follows something that was not written.
void LogJournal::fail_followers() {
  std::deque<Waiting> kept;
  for (Waiting& waiting : queue_) {
    const agents::Event& event = waiting.prepared.event;
    if (broken_.contains({event.run, event.session})) {
      queue_bytes_ -= waiting.bytes;
      waiting.done.resolve(Err(broken_off()));
    } else {
      kept.push_back(std::move(waiting));
    }
  }
  queue_ = std::move(kept);
}

Result<void> LogJournal::read(const std::string& run,
                              const std::function<bool(const agents::StoredEvent&)>& visit) {
  return reader_.read_run(run, visit);
}

Result<void> LogJournal::recover(const std::string& run,
                                 const std::function<bool(const agents::StoredEvent&)>& visit) {
  return reader_.recover_run(run, visit);
}

Task<Result<std::optional<Expired>>> LogJournal::expire() {
  if (closed_) co_return Err(Code::closed, "the record is closed");
  auto [expired, done] = make_pending<Result<std::optional<Expired>>>();
  // Of the journal's own scope: whoever closes it waits for what is under way.
  scope_.spawn(expire_beside(std::move(done)));
  auto result = co_await std::move(expired);
  co_return result;
}

Task<void> LogJournal::expire_beside(Resolver<Result<std::optional<Expired>>> done) {
  using Outcome = Result<std::optional<Expired>>;
  auto outcome = std::make_shared<Outcome>(std::optional<Expired>());
  const std::int64_t now = world_.clock.unix_ns();
  std::function<void()> work = [outcome, writer = writer_, now] {
    const auto retention = read_retention(LogReader(writer->store()));
    if (!retention) {
      *outcome = Err(retention.error());
    } else if (retention->expires) {
      auto expired = writer->expire("retention, record " + std::to_string(retention->index), now);
      if (expired) {
        *outcome = std::optional<Expired>(*expired);
      } else {
        *outcome = Err(expired.error());
      }
    }
  };
  co_await world_.workers.run(std::move(work));
  done.resolve(std::move(*outcome));
}

Task<Result<void>> LogJournal::close() {
  if (closed_) co_return Result<void>();
  closed_ = true;
  writer_->stop_expiring();
  co_await scope_.join();
  auto result = std::make_shared<Result<void>>();
  std::function<void()> seal = [result, writer = writer_] { *result = writer->seal(); };
  co_await world_.workers.run(std::move(seal));
  if (*result && !broken_.empty()) {
    co_return Err(Code::closed, "the last events of " + std::to_string(broken_.size()) +
                                    " sessions could not be written");
  }
  co_return *result;
}

}  // namespace ambit::log
