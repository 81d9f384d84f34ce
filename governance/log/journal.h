#pragma once

// LogJournal: the record as the orchestration sees it. append() queues; while one group becomes
// durable on a worker the next one gathers (group commit), and each awaiting task goes on only when
// its own record is on disk. A full queue refuses, a failed write fails every member of its group:
// no record, no action.

#include "agents/ports.h"
#include "async/pending.h"
#include "async/scope.h"
#include "io/world.h"
#include "log/reader.h"
#include "log/writer.h"

#include <array>
#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <vector>

namespace ambit::log {

struct JournalOptions {
  WriterOptions writer;
  std::size_t queue_max = 65'536;  // events that wait
  std::size_t queue_bytes_max = std::size_t{256} << 20;
  // Events of one transaction. Half of a thousand writers: while one half becomes durable on a
  // worker, the other half is prepared on the loop.
  std::size_t group_max = 512;
  std::size_t group_bytes_max = std::size_t{32} << 20;
};

struct JournalStats {
  std::uint64_t records = 0;  // appended by this process
  std::uint64_t groups = 0;
};

class LogJournal final : public agents::Journal {
 public:
  // Blocks; for the start of the program. Errors as LogWriter::open. `world` must outlive the
  // journal.
  static Result<std::unique_ptr<LogJournal>> open(io::World& world, JournalOptions options);
  ~LogJournal() override;

  // Errors: invalid (the event can never be recorded), exhausted (the queue or the disk is full),
  // closed. Cancelling the task does not take the event back.
  Task<Result<std::uint64_t>> append(agents::Event event) override;
  Result<void> read(const std::string& run,
                    const std::function<bool(const agents::StoredEvent&)>& visit) override;
  // Writes what waits, then seals the log. Nothing can be appended any more.
  Task<Result<void>> close();

  [[nodiscard]] LogReader reader() const { return LogReader(writer_->store()); }
  [[nodiscard]] const VerifierKey& verifier() const { return writer_->verifier(); }
  [[nodiscard]] const JournalStats& stats() const { return stats_; }

 private:
  struct Waiting {
    Prepared prepared;
    std::size_t bytes = 0;
    Resolver<Result<std::uint64_t>> done;
  };
  struct Work;

  LogJournal(io::World& world, JournalOptions options, std::shared_ptr<LogWriter> writer);
  std::string take_salt();
  Result<Waiting> prepare(agents::Event event);
  Result<Pending<Result<std::uint64_t>>> enqueue(agents::Event event);
  std::shared_ptr<Work> take_group();
  Task<void> commit_all();

  io::World& world_;
  JournalOptions options_;
  std::shared_ptr<LogWriter> writer_;  // shared with the worker, which may outlive the journal
  std::deque<Waiting> queue_;
  std::size_t queue_bytes_ = 0;
  std::array<std::uint8_t, 4096> salts_{};
  std::size_t salts_left_ = 0;
  bool committing_ = false;
  bool closed_ = false;
  JournalStats stats_;
  Scope scope_;
};

}  // namespace ambit::log
