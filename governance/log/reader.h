#pragma once

// LogReader: what is recorded, for `ambit audit` and for recovery: records by filter, one record
// with its payloads and the proof that it is in the log. Reads a log that nobody writes, or one
// that another process writes, or (by LogJournal::reader) one that this process writes.

#include "agents/ports.h"
#include "log/note.h"
#include "log/record.h"
#include "log/store.h"

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace ambit::log {

// What is empty filters nothing. `verdict` and `tool` are members of the bodies of decisions and
// outcomes.
struct Filter {
  std::string run;
  std::string session;
  std::string agent;
  std::string type;
  std::string verdict;
  std::string tool;
  std::string person;                         // on whose behalf, or who started it
  std::string policy;                         // one of those that determined the decision
  std::string text;                           // anywhere in the body
  std::optional<std::int64_t> from_unix_ns;   // at this time or later
  std::optional<std::int64_t> until_unix_ns;  // before this time
};

class SharedSubjects;

struct ProvenRecord {
  Leaf leaf;
  std::string bytes;  // of the leaf, as hashed
  Hash hash{};
  std::vector<agents::Payload> payloads;
  std::vector<std::string> salts;    // of the payloads
  std::vector<std::string> erased;   // names of payloads whose key was destroyed
  std::vector<std::string> expired;  // names of payloads that were kept long enough
  std::vector<Hash> proof;           // inclusion in the newest checkpoint
  Checkpoint checkpoint;
  std::string note;  // the signed checkpoint
  [[nodiscard]] std::string tlog_proof() const { return log::tlog_proof(leaf.index, proof, note); }
};

class LogReader {
 public:
  // Errors: not_found (no log there), denied, invalid (damaged).
  static Result<std::unique_ptr<LogReader>> open(const std::string& folder);
  // Copies of a reader share the keys that they read payloads with.
  explicit LogReader(std::shared_ptr<Store> store);

  [[nodiscard]] Result<std::uint64_t> size() const;
  // Records in order until `visit` returns false.
  Result<void> for_each(const Filter& filter, const std::function<bool(const Leaf&)>& visit) const;
  // At most `count` records from `begin` on, all of one moment.
  Result<void> read_range(std::uint64_t begin, std::size_t count,
                          const std::function<void(const Leaf&)>& visit) const;
  // Leaves in `indexes` those whose body holds `text`; capitals of ASCII count as small letters.
  Result<void> keep_with_text(std::string_view text, std::vector<std::uint64_t>& indexes) const;
  // Inclusion proofs of several records in the same newest checkpoint.
  struct Proven {
    std::uint64_t index = 0;
    std::string bytes;
    std::vector<Hash> proof;
  };
  struct ProvenRange {
    std::string note;
    std::vector<Proven> records;
  };
  [[nodiscard]] Result<ProvenRange> prove(const std::vector<std::uint64_t>& indexes) const;
  // The newest record of a session.
  [[nodiscard]] Result<std::optional<Leaf>> last(const std::string& run,
                                                 const std::string& session) const;
  [[nodiscard]] Result<Leaf> leaf(std::uint64_t index) const;
  [[nodiscard]] Result<ProvenRecord> get(std::uint64_t index) const;
  // The proof that the log over `old_size` records is the beginning of the newest one.
  struct Consistency {
    std::vector<Hash> proof;
    Checkpoint checkpoint;
    std::string note;
  };
  [[nodiscard]] Result<Consistency> consistency(std::uint64_t old_size) const;
  [[nodiscard]] Result<std::uint64_t> write_tiles(const std::string& folder) const;
  // The events of one run with their payloads, each checked against its commitment. Error
  // (not_found): one was erased, or has expired.
  Result<void> read_run(const std::string& run,
                        const std::function<bool(const agents::StoredEvent&)>& visit) const;
  // The same from the newest snapshot of each session on. Of what is left out no payload is looked
  // at: it may be gone.
  Result<void> recover_run(const std::string& run,
                           const std::function<bool(const agents::StoredEvent&)>& visit) const;

 private:
  Result<void> read_run(const Snapshot& snapshot, const std::string& run,
                        const agents::RecoveryStarts& starts,
                        const std::function<bool(const agents::StoredEvent&)>& visit) const;

  std::shared_ptr<Store> store_;
  std::shared_ptr<SharedSubjects> subjects_;
};

// Writes the log in the layout of C2SP tlog-tiles v0.1.0 (`checkpoint`, `tile/...`,
// `tile/entries/...`) into `folder`, for verifiers that are not ours. Returns the number of
// records.
Result<std::uint64_t> write_tiles(const Store& store, const std::string& folder);
// "x001/x234/067".
std::string tile_number(std::uint64_t number);

}  // namespace ambit::log
