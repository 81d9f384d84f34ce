#pragma once

// LogJournal: the record as the orchestration sees it. append() queues; while one group becomes
// durable on a worker the next one gathers (group commit), and each awaiting task goes on only when
// its own record is on disk. post() queues too, and nobody waits. The queue is written in its
// order. A full queue refuses, a failed write fails every member of its group, and what follows an
// event that was posted and not written fails with it: no record, no action.

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
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace ambit::log {

struct JournalOptions {
  WriterOptions writer;
  // Events that wait, a few of each session: room for what a few hundred thousand do at once.
  std::size_t queue_max = std::size_t{1} << 20;
  std::size_t queue_bytes_max = std::size_t{1} << 30;
  // Events of one transaction. With fewer than `group_min` it waits for what is ready on the loop
  // to have run. The most is half of a thousand writers: while one half becomes durable on a
  // worker, the other half is prepared on the loop.
  std::size_t group_min = 64;
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
  // Errors as append, and: an earlier event of its session was posted and could not be written.
  Result<void> post(agents::Event event) override;
  Result<void> read(const std::string& run,
                    const std::function<bool(const agents::StoredEvent&)>& visit) override;
  Result<void> recover(const std::string& run,
                       const std::function<bool(const agents::StoredEvent&)>& visit) override;
  // Removes what has been kept for long enough, where the record says that it is to go
  // (log/retention.h); nothing: it does not say so. Events are written meanwhile. Errors as
  // LogWriter::expire; closed: the journal was.
  Task<Result<std::optional<Expired>>> expire();
  // Writes what waits, then seals the log. Nothing can be appended any more. An error too if
  // something that was posted could not be written.
  Task<Result<void>> close();

  [[nodiscard]] LogReader reader() const { return reader_; }
  [[nodiscard]] const VerifierKey& verifier() const { return writer_->verifier(); }
  [[nodiscard]] const JournalStats& stats() const { return stats_; }

 private:
  using SessionName = std::pair<std::string, std::string>;  // run, session
  struct Waiting {
    Prepared prepared;
    std::size_t bytes = 0;
    bool is_posted = false;
    Resolver<Result<std::uint64_t>> done;  // of nobody, if it is posted
  };
  struct Work;

  LogJournal(io::World& world, JournalOptions options, std::shared_ptr<LogWriter> writer);
  std::string take_salt();
  Result<Waiting> prepare(agents::Event event);
  Result<void> enqueue(agents::Event event, bool is_posted, Resolver<Result<std::uint64_t>> done);
  void finish(Work& work);
  void fail_followers();
  std::shared_ptr<Work> take_group();
  Task<void> commit_all();
  Task<void> expire_beside(Resolver<Result<std::optional<Expired>>> done);
  Task<void> gather(LatencyClass asked);
  Task<void> give_way(LatencyClass asked);

  io::World& world_;
  JournalOptions options_;
  LogReader reader_;
  std::shared_ptr<LogWriter> writer_;  // shared with the worker, which may outlive the journal
  std::deque<Waiting> queue_;
  std::size_t queue_bytes_ = 0;
  std::array<std::uint8_t, 4096> salts_{};
  std::size_t salts_left_ = 0;
  std::set<SessionName> broken_;  // something that they posted is not in the record
  bool committing_ = false;
  Resolver<bool> gathering_;
  bool closed_ = false;
  JournalStats stats_;
  Scope scope_;
};

}  // namespace ambit::log
