#pragma once

// RecordIndex: the record in columns, kept in memory so that the console's lists, searches and
// charts stay quick over hundreds of thousands of records. It follows the log (catch_up), holds no
// text of a body, and is used by one thread at a time. Some 100 bytes a record, rows_max records.

#include "async/result.h"
#include "evidence/facts.h"
#include "log/reader.h"

#include <cstdint>
#include <list>
#include <map>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace ambit::console {

// Everything that is said more than once, as a number; 0 is the empty text.
class Names {
 public:
  Names();
  std::uint32_t number_of(std::string_view name);
  // 0 for a name that was never said (and for the empty one).
  [[nodiscard]] std::uint32_t find(std::string_view name) const;
  [[nodiscard]] const std::string& text(std::uint32_t number) const { return *texts_[number]; }

 private:
  std::map<std::string, std::uint32_t, std::less<>> numbers_;
  std::vector<const std::string*> texts_;
};

struct Row {
  std::int64_t unix_ns = 0;
  std::uint64_t action = 0;  // a hash of the action's id
  std::int64_t cost_micros = 0;
  std::int64_t energy_uj = 0;
  std::int64_t moved_bytes = 0;
  std::uint32_t run = 0;
  std::uint32_t session = 0;
  std::uint32_t agent = 0;
  std::uint32_t type = 0;
  std::uint32_t verdict = 0;
  std::uint32_t outcome = 0;
  std::uint32_t tool = 0;
  std::uint32_t person = 0;
  std::uint32_t policies = 0;  // their names with a newline before and after each
  std::uint32_t kind = 0;
  std::uint32_t input_tokens = 0;
  std::uint32_t cached_tokens = 0;
  std::uint32_t output_tokens = 0;
};

struct Totals {
  std::uint64_t records = 0;
  std::uint64_t turns = 0;
  std::uint64_t calls = 0;
  std::uint64_t allowed = 0;
  std::uint64_t denied = 0;
  std::uint64_t escalated = 0;
  std::uint64_t input_tokens = 0;
  std::uint64_t cached_tokens = 0;
  std::uint64_t output_tokens = 0;
  std::int64_t cost_micros = 0;
  std::int64_t energy_uj = 0;
  std::int64_t moved_bytes = 0;
  std::int64_t first_ns = 0;
  std::int64_t last_ns = 0;
  std::uint64_t first_index = 0;
  std::uint64_t last_index = 0;
};

struct SessionSummary {
  std::uint32_t session = 0;
  std::uint32_t agent = 0;
  std::uint32_t parent = 0;
  std::uint32_t state = 0;
  Totals totals;
};

struct RunSummary {
  std::uint32_t run = 0;
  std::uint32_t person = 0;
  std::uint32_t fleet = 0;
  bool ended = false;
  Totals totals;
  std::vector<SessionSummary> sessions;  // in the order in which they began
};

struct Query {
  log::Filter filter;
  std::string group;  // "", "decisions", "refused", "calls", "turns", "reviews", "sessions"
};

struct Matches {
  std::vector<std::uint64_t> indexes;  // of the records, in their order
  std::uint64_t scanned = 0;           // up to this record, not included
  bool complete = false;
};

class RecordIndex {
 public:
  static constexpr std::size_t rows_max = 4'000'000;

  // Takes in what was recorded since, at most `records_max` at a time. Where the log is longer than
  // rows_max, only its end is held.
  Result<void> catch_up(const log::LogReader& reader, std::size_t records_max);
  [[nodiscard]] std::uint64_t first() const { return first_; }
  [[nodiscard]] std::uint64_t end() const { return first_ + rows_.size(); }

  // What fits, remembered for the next question. Looks into at most `bodies_max` bodies at a time
  // (`filter.text`): then the answer is not complete, and asking again goes on from there.
  Result<const Matches*> find(const Query& query, const log::LogReader& reader,
                              std::size_t bodies_max);

  [[nodiscard]] const Row& row(std::uint64_t index) const { return rows_[index - first_]; }
  [[nodiscard]] bool holds(std::uint64_t index) const { return index >= first_ && index < end(); }
  [[nodiscard]] const std::vector<RunSummary>& runs() const { return runs_; }
  [[nodiscard]] const RunSummary* run(std::string_view name) const;
  [[nodiscard]] const std::vector<std::uint64_t>& reviews() const { return reviews_; }
  [[nodiscard]] const Names& names() const { return names_; }
  void count(Totals& totals, const Row& row, std::uint64_t index) const;
  // Records of the same action in the same run.
  [[nodiscard]] std::vector<std::uint64_t> of_action(std::uint64_t index) const;

 private:
  struct Wanted;
  struct Cached {
    std::string key;
    Matches matches;
  };

  void add(const log::Leaf& leaf);
  [[nodiscard]] bool fits(const Wanted& wanted, const Row& row) const;
  [[nodiscard]] Wanted wanted_of(const Query& query) const;

  std::uint64_t first_ = 0;
  std::vector<Row> rows_;
  Names names_;
  std::vector<RunSummary> runs_;
  std::unordered_map<std::uint32_t, std::size_t> run_places_;
  std::unordered_map<std::uint64_t, std::size_t> session_places_;  // run and session
  std::vector<std::uint64_t> reviews_;
  std::list<Cached> cache_;  // the one used last is the first
};

}  // namespace ambit::console
