#pragma once

// Desk: what the console says about one log, as JSON, and what people want to put on record about
// it. It reads the log, folds the review records, remakes decisions to explain them, and keeps the
// index. It blocks, and is used on one worker at a time; the Door is what people talk to.

#include "async/result.h"
#include "console/access.h"
#include "console/record_index.h"
#include "governance/approval_folder.h"
#include "governance/guard.h"
#include "http/target.h"
#include "log/note.h"
#include "log/reader.h"

#include <nlohmann/json_fwd.hpp>

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace ambit::console {

struct DeskOptions {
  std::string folder;                 // of the log
  std::string approvals;              // folder of requests and answers; empty: none
  std::string approvers;              // file of the people's keys
  std::vector<std::string> policies;  // files, for logs that do not hold their policies
  // Of a log that this process writes. Empty: the folder is read, and written for each review.
  std::function<log::LogReader()> reader;
  std::function<std::int64_t()> unix_ns;
  std::function<void(std::span<std::uint8_t>)> random;
};

class Desk {
 public:
  // Errors: no log there, not readable, a key that is none.
  static Result<std::unique_ptr<Desk>> open(DeskOptions options);
  ~Desk();

  // The answer to GET api/`what`. Errors: not_found, invalid.
  Result<std::string> get(const std::string& what, const http::Query& query, const Person& person);
  // The record that a person wants to make by POST api/`what`, checked. Errors: invalid, denied
  // (the second person must be another one), conflict (done already).
  Result<agents::Event> draft(const std::string& what, const std::string& body,
                              const Person& person);
  // Puts a review on record where this desk has the folder to itself, which it takes for as long as
  // that needs. Error: conflict (a running fleet writes it: review there).
  Result<std::uint64_t> append(agents::Event event);
  // True: append() is how reviews are recorded.
  [[nodiscard]] bool has_folder() const { return !options_.reader; }
  // Closes a log that was closed in order before it was written here in the same way.
  Result<void> close();

 private:
  struct PolicySetKept;
  explicit Desk(DeskOptions options, log::VerifierKey key);
  [[nodiscard]] log::LogReader reader() const;
  [[nodiscard]] Result<Query> query_of(const http::Query& query) const;
  Result<const Matches*> find(const Query& query);

  Result<std::string> session(const Person& person);
  Result<std::string> runs(const http::Query& query);
  Result<std::string> run(const http::Query& query);
  Result<std::string> records(const http::Query& query);
  Result<std::string> record(const http::Query& query);
  Result<std::string> proofs(const http::Query& query);
  Result<std::string> consistency(const http::Query& query);
  Result<std::string> series(const http::Query& query);
  Result<std::string> names() const;
  Result<std::string> live(const http::Query& query);
  Result<std::string> sample(const http::Query& query);
  Result<std::string> reviews();
  Result<std::string> approvals();

  Result<std::vector<std::uint64_t>> choose(const Query& query, const std::string& seed,
                                            std::size_t count, std::uint64_t size);
  Result<agents::Event> draft_sample(const nlohmann::json& said, const Person& person);
  Result<agents::Event> draft_annotation(const nlohmann::json& said, const Person& person);
  Result<agents::Event> draft_sign_off(const nlohmann::json& said, const Person& person);
  Result<agents::Event> draft_answer(const nlohmann::json& said, const Person& person);
  Result<governance::ApprovalFolder*> approval_folder();

  // The policies that a decision was made with, by the hash of their set; null if nobody kept them.
  governance::PolicyGuard* guard_of(const std::string& policy_set, const RunSummary& run);
  void explain(const log::ProvenRecord& record, nlohmann::ordered_json& out);

  DeskOptions options_;
  log::VerifierKey key_;
  std::unique_ptr<log::LogReader> opened_;  // of a folder
  RecordIndex index_;
  std::map<std::string, std::unique_ptr<governance::PolicyGuard>> guards_;
  std::optional<governance::ApprovalFolder> approval_folder_;
  bool was_sealed_ = false;
  bool has_written_ = false;
};

// The keys by which a sample is drawn: SHA-256 of "ambit-sample/1", the seed and the record's
// index, a line each; those with the smallest are taken. Anyone can draw it again.
log::Hash sample_key(std::string_view seed, std::uint64_t index);

}  // namespace ambit::console
