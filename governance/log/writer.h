#pragma once

// LogWriter: appends groups of records to one log, each group one durable transaction with a signed
// checkpoint. Synchronous and for one thread at a time; LogJournal calls it from a worker. Opening
// it takes the folder's lock, makes the key on first use, and checks the tree against the newest
// checkpoint.

#include "log/merkle.h"
#include "log/note.h"
#include "log/record.h"
#include "log/store.h"
#include "log/subjects.h"

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

namespace ambit::log {

struct WriterOptions {
  std::string folder;
  std::string origin;  // name of the log and its key; empty: made up when the log is made
  std::uint64_t map_bytes = std::uint64_t{64} << 30;  // the greatest size of the data file
};

struct ExpiryPlan;

struct Expired {
  std::optional<std::uint64_t> index;  // of the record that says so; none: no payload was removed
  std::uint64_t before = 0;            // those removed are of records before this one
  std::uint64_t payloads = 0;
  std::uint64_t bytes = 0;
  std::uint64_t held = 0;       // that were old enough
  std::uint64_t in_flight = 0;  // the same
  std::uint64_t subjects = 0;   // whose keys were destroyed
  std::uint64_t rows = 0;       // of the log that were read for it
};

// An event that was checked, with all that does not depend on its place in the log.
struct Prepared {
  agents::Event event;  // the body is canonical
  std::int64_t unix_ns = 0;
  std::vector<std::string> salts;  // one a payload
};

// Checks an event and makes its body canonical. `salt` gives 32 random bytes for each payload.
// Errors (invalid): the event can never be recorded.
using TakeSalt = std::function<std::string()>;
Result<Prepared> prepare(agents::Event event, std::int64_t unix_ns, const TakeSalt& salt);

class FolderLock;

// Used by one thread at a time, but for expire() and stop_expiring().
class LogWriter {
 public:
  using FillRandom = std::function<void(std::span<std::uint8_t>)>;
  // Errors: conflict (another process has this log), denied (read-only, no permission), exhausted
  // (full disk), invalid (damaged: run verify).
  static Result<std::unique_ptr<LogWriter>> open(const WriterOptions& options,
                                                 const FillRandom& random);
  ~LogWriter();
  LogWriter(const LogWriter&) = delete;
  LogWriter& operator=(const LogWriter&) = delete;

  // The indexes of the records, durable; or an error, and then nothing of the group is recorded. A
  // single record that cannot be (too long) fails alone.
  Result<std::vector<Result<std::uint64_t>>> append(const std::vector<Prepared>& group);
  // Destroys the key of a subject's payloads and records that (subject.erased); gives the record's
  // index. `by` is who asked for it. Errors: not_found; denied (a hold, or it must still be kept:
  // log/retention.h).
  Result<std::uint64_t> erase(const std::string& subject, const std::string& by,
                              const std::string& reason, std::int64_t unix_ns);
  // Removes the payloads that have been kept for as long as was said, and then the keys that nobody
  // needs any more; what is held, and what is in flight, stays (log/expiry.h). What an earlier
  // attempt began is completed. Errors: invalid (nothing was said about how long).
  // May run beside append(), which waits for a part of it at most.
  Result<Expired> expire(const std::string& by, std::int64_t unix_ns);
  // expire() under way ends after the part it is at (closed); the next one goes on.
  void stop_expiring() { stops_expiring_ = true; }
  // Of a subject that there is. Error: not_found.
  [[nodiscard]] Result<std::uint64_t> number_of(const std::string& subject) const;
  // Seals the data file: a signed hash of all of its bytes. Appending breaks the seal.
  Result<void> seal();

  [[nodiscard]] std::uint64_t size() const { return tree_.size(); }
  // How often the keys of new subjects were made durable.
  [[nodiscard]] std::uint64_t subject_syncs() const { return subjects_->syncs(); }
  [[nodiscard]] const VerifierKey& verifier() const { return signer_.verifier(); }
  [[nodiscard]] const std::shared_ptr<Store>& store() const { return store_; }

 private:
  LogWriter(std::string folder, std::unique_ptr<FolderLock> lock, std::shared_ptr<Store> store,
            SignerKey signer, Tree tree, std::unique_ptr<Subjects> subjects, FillRandom random);
  Result<void> remove_expired(ExpiryPlan& plan);
  Result<std::uint64_t> forget_subjects(ExpiryPlan& plan);
  Result<void> store_payloads(const Prepared& prepared, Leaf& leaf, StoredRecord& record);
  Result<std::vector<Result<std::uint64_t>>> append_locked(const std::vector<Prepared>& group);

  std::string folder_;
  std::unique_ptr<FolderLock> lock_;
  std::shared_ptr<Store> store_;
  SignerKey signer_;
  Tree tree_;
  std::unique_ptr<Subjects> subjects_;
  FillRandom random_;
  PayloadCipher cipher_;
  bool sealed_ = false;
  std::atomic<bool> stops_expiring_ = false;
  std::mutex mutex_;  // of all that changes the log; not of what only reads it
  // Hash of the last record of each session (none: it has no record yet), as a shortcut to what the
  // store knows. Emptied when it is full, and when a group fails.
  std::unordered_map<std::string, std::optional<Hash>> heads_;
  std::string chain_;
  std::string payloads_of_;  // the subject of the last payload, its number (0: none) and its key
  std::uint64_t payloads_number_ = 0;
  SubjectKey payloads_key_{};
};

// The seal: "ambit-seal/1", origin, records, bytes of the data file, its SHA-256; a line each,
// signed.
struct Seal {
  std::string origin;
  std::uint64_t records = 0;
  std::uint64_t file_bytes = 0;
  std::string file_hash;
  static Result<Seal> parse(std::string_view text);
  [[nodiscard]] std::string text() const;
};
// SHA-256 of a file in hex, with its length.
Result<std::pair<std::uint64_t, std::string>> hash_file(const std::string& path);

}  // namespace ambit::log
