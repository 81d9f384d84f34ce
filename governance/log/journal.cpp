#include "log/journal.h"

#include <algorithm>
#include <utility>

namespace ambit::log {

// What the loop hands to a worker and back.
struct LogJournal::Work {
  std::vector<Prepared> events;
  std::vector<Resolver<Result<std::uint64_t>>> waiters;  // touched on the loop alone
  Result<std::vector<Result<std::uint64_t>>> result =
      Err(Code::internal, "the group was not written");
};

LogJournal::LogJournal(io::World& world, JournalOptions options, std::shared_ptr<LogWriter> writer)
    : world_(world), options_(std::move(options)), writer_(std::move(writer)) {}

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
  auto written = co_await ok(enqueue(std::move(event)));
  auto index = co_await std::move(written);
  co_return index;
}

Result<Pending<Result<std::uint64_t>>> LogJournal::enqueue(agents::Event event) {
  if (closed_) return Err(Code::closed, "the record is closed; nothing can be done any more");
  Waiting waiting = TRY(prepare(std::move(event)));
  if (queue_.size() >= options_.queue_max ||
      queue_bytes_ + waiting.bytes > options_.queue_bytes_max) {
    return Err(Code::exhausted, "the record cannot keep up: " + std::to_string(queue_.size()) +
                                    " events wait to be written; nothing is done unrecorded");
  }
  auto both = make_pending<Result<std::uint64_t>>();
  waiting.done = std::move(both.second);
  queue_bytes_ += waiting.bytes;
  queue_.push_back(std::move(waiting));
  if (!committing_) {
    committing_ = true;
    scope_.spawn(commit_all());
  }
  return std::move(both.first);
}

std::shared_ptr<LogJournal::Work> LogJournal::take_group() {
  auto work = std::make_shared<Work>();
  std::size_t bytes = 0;
  while (!queue_.empty() && work->events.size() < options_.group_max &&
         (bytes == 0 || bytes + queue_.front().bytes <= options_.group_bytes_max)) {
    Waiting& first = queue_.front();
    bytes += first.bytes;
    work->events.push_back(std::move(first.prepared));
    work->waiters.push_back(std::move(first.done));
    queue_.pop_front();
  }
  queue_bytes_ -= bytes;
  return work;
}

// One group after another until the queue is empty.
Task<void> LogJournal::commit_all() {
  while (!queue_.empty()) {
    auto work = take_group();
    std::function<void()> write = [work, writer = writer_] {
      work->result = writer->append(work->events);
    };
    co_await world_.workers.run(std::move(write));
    ++stats_.groups;
    for (std::size_t i = 0; i < work->waiters.size(); ++i) {
      if (!work->result) {
        work->waiters[i].resolve(Err(work->result.error()));
        continue;
      }
      if ((*work->result)[i]) ++stats_.records;
      work->waiters[i].resolve(std::move((*work->result)[i]));
    }
  }
  committing_ = false;
}

Result<void> LogJournal::read(const std::string& run,
                              const std::function<bool(const agents::StoredEvent&)>& visit) {
  return reader().read_run(run, visit);
}

Task<Result<void>> LogJournal::close() {
  if (closed_) co_return Result<void>();
  closed_ = true;
  co_await scope_.join();
  auto result = std::make_shared<Result<void>>();
  std::function<void()> seal = [result, writer = writer_] { *result = writer->seal(); };
  co_await world_.workers.run(std::move(seal));
  co_return *result;
}

}  // namespace ambit::log
