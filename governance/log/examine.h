#pragma once

// Examination of records on several processors: whatever about a record does not depend on the ones
// before it (its form, its hash, its payloads) is checked here, block by block, while verify.cpp
// follows tree and chains through the blocks in their order. Private to verification: it runs in a
// process of its own, which has threads of its own.

#include "log/record.h"
#include "log/store.h"
#include "log/subjects.h"

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace ambit::log {

// Of one leaf row; the views are into the store.
struct Examined {
  Hash hash{};
  std::string_view run;
  std::string_view session;
  std::string_view previous;
  std::string_view type;
  std::string_view body;
  std::size_t payloads = 0;
  std::int64_t unix_ns = 0;
};

// Whole records: a block ends before a leaf.
struct Block {
  std::vector<LogRow> rows;
  std::vector<Examined> leaves;  // one a leaf row, up to the bad one
  // Rows of payloads whose key is gone, with the number of the subject.
  std::vector<std::pair<std::size_t, std::uint64_t>> erased;
  std::optional<std::size_t> bad_row;  // the first row that is wrong in itself
  Error wrong;

  enum class State { waiting, at_work, done };
  State state = State::waiting;  // guarded by the examiners
};

class Examiners {
 public:
  // `threads` beside the caller's own. The store's rows and the subjects must outlive it.
  Examiners(unsigned threads, const Subjects& subjects);
  ~Examiners();
  Examiners(const Examiners&) = delete;
  Examiners& operator=(const Examiners&) = delete;

  void add(std::shared_ptr<Block> block);
  // Returns once the block is done; does it itself if nobody has begun.
  void finish(Block& block);

 private:
  struct Tools;
  void work();
  static void examine(Block& block, const Subjects& subjects, Tools& tools);

  const Subjects& subjects_;
  std::unique_ptr<Tools> own_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::shared_ptr<Block>> queue_;
  bool ends_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace ambit::log
