#include "log/verify.h"

#include "io/file.h"
#include "log/canonical_json.h"
#include "log/examine.h"
#include "log/expiry.h"
#include "log/folder_lock.h"
#include "log/merkle.h"
#include "log/record.h"
#include "log/subjects.h"
#include "log/writer.h"

#include <algorithm>
#include <charconv>
#include <deque>
#include <filesystem>
#include <map>
#include <set>
#include <unordered_map>
#include <utility>

namespace ambit::log {
namespace {

constexpr std::size_t small_file_max = 4096;
constexpr std::size_t block_records = 256;
// Records of one group are stamped before they are put in order.
constexpr std::int64_t clock_slack_ns = 1'000'000'000;

std::string at_record(std::uint64_t index) {
  return "record " + std::to_string(index) + ": ";
}

// Compares everything that the store says about the records with what the records say themselves.
// The table `log` is read once from one end to the other; what the index must hold is gathered on
// the way and compared at the end. Memory: some 150 bytes a session and 4 a record.
class Verifier {
 public:
  Verifier(const Snapshot& snapshot, const VerifierKey& key, const Subjects& subjects,
           VerifyReport& report, const std::function<void(std::uint64_t)>& progress)
      : snapshot_(snapshot), key_(key), subjects_(subjects), report_(report), progress_(progress) {}

  // An Error's message is what is wrong with the record that at_fault() names.
  Result<void> run(unsigned threads) {
    expiries_ = Expiries::read(snapshot_);
    TRY(follow(threads));
    TRY(record_ends());
    if (last_checkpoint_ != tree_.size()) {
      return Err(Code::invalid, "the records from " + std::to_string(last_checkpoint_) +
                                    " on are not covered by a signed checkpoint");
    }
    for (const auto& [number, index] : missing_) {
      if (erased_.contains(number)) continue;
      at_fault_ = index;
      return Err(Code::invalid, "its payloads cannot be read: the key of subject " +
                                    std::to_string(number) + " is gone, and no record says why");
    }
    if (!expiries_.has_all_held()) {
      at_fault_ = expiries_.newest();
      return Err(Code::invalid, "the payloads of those who are held are not all there any more");
    }
    return indexes();
  }
  [[nodiscard]] std::uint64_t at_fault() const {
    return at_fault_.value_or(open_ ? tree_.size() - 1 : tree_.size());
  }

 private:
  // Reads the rows in blocks, has them examined beside each other, and follows them in order.
  Result<void> follow(unsigned threads) {
    Examiners examiners(threads, subjects_);
    std::deque<std::shared_ptr<Block>> blocks;
    auto filling = std::make_shared<Block>();
    const auto take_oldest = [&]() -> Result<void> {
      const std::shared_ptr<Block> block = std::move(blocks.front());
      blocks.pop_front();
      examiners.finish(*block);
      return merge(*block);
    };
    std::size_t records = 0;
    const auto take_row = [&](const LogRow& row) -> Result<void> {
      if (row.kind == RowKind::leaf && ++records > block_records) {
        examiners.add(filling);
        blocks.push_back(std::exchange(filling, std::make_shared<Block>()));
        records = 1;
        if (blocks.size() > 2 * std::size_t{threads}) TRY(take_oldest());
      }
      filling->rows.push_back(row);
      return {};
    };
    TRY(snapshot_.for_each_row(take_row));
    examiners.add(filling);
    blocks.push_back(std::move(filling));
    while (!blocks.empty()) TRY(take_oldest());
    return {};
  }

  Result<void> merge(const Block& block) {
    auto leaf = block.leaves.begin();
    auto erased = block.erased.begin();
    for (std::size_t i = 0; i < block.rows.size(); ++i) {
      const LogRow& row = block.rows[i];
      const bool is_bad = block.bad_row == i;
      if (row.kind == RowKind::leaf) {
        TRY(record_ends());
        if (row.index != tree_.size()) return Err(Code::invalid, "it is missing");
        if (is_bad) return Err(block.wrong);
        TRY(take_leaf(row, *leaf++));
        continue;
      }
      if (!open_ || row.index + 1 != tree_.size()) {
        return Err(Code::invalid, "there is an entry that belongs to no record");
      }
      if (row.kind == RowKind::payload) {
        const bool is_erased = erased != block.erased.end() && erased->first == i;
        if (row.place < next_payload_ || row.place >= leaf_.payloads) {
          return Err(Code::invalid, "there is a payload that it does not name");
        }
        TRY(payloads_until(row.place));
        if (is_bad) return Err(block.wrong);
        ++next_payload_;
        expiries_.follow(row.index, row.place, TRY(PayloadCipher::subject_of(row.value)));
        if (is_erased) missing_.emplace((erased++)->second, row.index);
        ++(is_erased ? report_.erased : report_.payloads);
      } else if (row.kind == RowKind::node) {
        TRY(node(row));
      } else {
        TRY(checkpoint(row));
      }
    }
    return {};
  }

  Result<void> take_leaf(const LogRow& row, const Examined& leaf) {
    const std::uint64_t index = row.index;
    // Not too often: the parent reads it from memory that both share.
    if (progress_ && index % 64 == 0) progress_(index);
    if (leaf.unix_ns + clock_slack_ns < last_ns_ && report_.clock_back++ == 0) {
      report_.first_clock_back = index;
    }
    last_ns_ = leaf.unix_ns;
    leaf_ = leaf;
    leaf_row_ = row;
    TRY(chain(leaf.hash));
    if (leaf.type == erased_type) TRY(erasure());
    nodes_.clear();
    next_payload_ = 0;
    tree_.append(leaf.hash, [this](unsigned level, std::uint64_t, const Hash& node) {
      if (level > 0 && level % tile_height == 0) nodes_.push_back({level, node});
    });
    open_ = true;
    report_.records = index;
    return {};
  }

  // A record is complete when it has had all of its payloads and nodes.
  Result<void> record_ends() {
    if (!open_) return {};
    TRY(payloads_until(leaf_.payloads));
    if (!nodes_.empty()) return Err(Code::invalid, "a hash of the tree is missing");
    open_ = false;
    report_.records = tree_.size();
    return {};
  }

  // Those of the record that are not there have expired.
  Result<void> payloads_until(std::size_t place) {
    if (next_payload_ == place) return {};
    LeafView view;
    TRY(scan_leaf(leaf_row_.value.substr(32), view));
    if (!expiries_.explain(leaf_row_.index, unescape_canonical(view.run), view.unix_ns)) {
      return Err(Code::invalid, "its payload \"" + std::string(view.payloads[next_payload_].name) +
                                    "\" is missing, and no record says that it has expired");
    }
    report_.expired += place - next_payload_;
    next_payload_ = place;
    return {};
  }

  Result<void> node(const LogRow& row) {
    if (nodes_.empty() || nodes_.front().first != row.place ||
        bytes_of(nodes_.front().second) != row.value) {
      return Err(Code::invalid,
                 "its hash does not fit the tree (level " + std::to_string(row.place) + ")");
    }
    nodes_.erase(nodes_.begin());
    return {};
  }

  // The run, and the record before this one in its session.
  Result<void> chain(const Hash& hash) {
    chain_.assign(leaf_.run);
    if (chain_.find('\\') != std::string::npos) chain_ = unescape_canonical(chain_);
    if (last_run_ != chain_ || run_of_record_.empty()) {
      last_run_ = chain_;
      last_run_number_ =
          runs_.try_emplace(chain_, static_cast<std::uint32_t>(runs_.size())).first->second;
    }
    if (runs_.size() > runs_max || chains_.size() > chains_max) {
      return Err(Code::unsupported, "this log has more sessions than one verification can hold");
    }
    run_of_record_.push_back(last_run_number_);
    chain_ += '\0';
    if (leaf_.session.find('\\') == std::string_view::npos) {
      chain_ += leaf_.session;
    } else {
      chain_ += unescape_canonical(leaf_.session);
    }
    const auto [at, first] = chains_.try_emplace(chain_);
    hex_.clear();
    if (!first) append_hex(bytes_of(at->second.hash), hex_);
    if (leaf_.previous != hex_) {
      return Err(Code::invalid, "it does not follow from the record before it in its session");
    }
    at->second = Head{leaf_row_.index, hash};
    return {};
  }

  Result<void> erasure() {
    constexpr std::string_view member = "\"subject\":";
    const std::size_t at = leaf_.body.rfind(member);
    std::uint64_t number = 0;
    if (at != std::string_view::npos) {
      const std::string_view digits = leaf_.body.substr(at + member.size());
      std::from_chars(digits.data(), digits.data() + digits.size(), number);
    }
    if (number == 0) return Err(Code::invalid, "it erases a subject and does not say which");
    erased_.insert(number);
    return {};
  }

  Result<void> checkpoint(const LogRow& row) {
    TRY(record_ends());
    open_ = true;  // for at_fault: the record is the one that the checkpoint stands behind
    const std::string name = "the checkpoint over " + std::to_string(tree_.size()) + " records";
    auto text = open_note(row.value, key_);
    if (!text) return Err(std::move(text).error().context(name));
    const Checkpoint checkpoint = TRY(Checkpoint::parse(*text));
    if (checkpoint.size != tree_.size() || checkpoint.root != tree_.root() ||
        checkpoint.origin != key_.name) {
      return Err(Code::invalid, name + " does not fit the records");
    }
    // One signature and nothing else: what was signed here before must come out again byte for
    // byte.
    const Note note = TRY(Note::parse(row.value));
    if (note.signatures.size() != 1 || note.text != checkpoint.text()) {
      return Err(Code::invalid, name + " holds more than was signed");
    }
    ++report_.checkpoints;
    last_checkpoint_ = tree_.size();
    open_ = false;
    return {};
  }

  // Each record is in the index of its run, each session's head is its last record, and there is
  // nothing else: the keys are different ones, so equal numbers mean equal sets.
  Result<void> indexes() {
    std::uint64_t in_run = 0;
    std::uint64_t heads = 0;
    std::string run;
    std::optional<std::uint32_t> number;
    Snapshot::IndexVisitor visitor;
    std::uint64_t next = 0;  // in the run
    visitor.in_run = [&](std::string_view name, std::uint64_t index,
                         std::uint64_t count) -> Result<void> {
      if (!number || run != name) {
        run = name;
        const auto known = runs_.find(run);
        number.reset();
        if (known != runs_.end()) number = known->second;
        next = 0;
      }
      at_fault_ = std::min(index, tree_.size());
      // One after another and never twice: then equal numbers mean equal sets.
      bool fits = number.has_value() && index >= next && count <= run_of_record_.size() - in_run;
      next = index + count;
      for (std::uint64_t at = index; fits && at < next; ++at) {
        fits = at < run_of_record_.size() && run_of_record_[at] == *number;
      }
      if (!fits) return Err(Code::invalid, "the index of a run names it wrongly");
      in_run += count;
      return {};
    };
    visitor.head = [&](std::string_view chain, const Head& head) -> Result<void> {
      at_fault_ = std::min(head.index, tree_.size());
      const auto known = chains_.find(std::string(chain));
      if (known == chains_.end() || !(known->second == head)) {
        return Err(Code::invalid, "the index of sessions names it wrongly as a session's last");
      }
      ++heads;
      return {};
    };
    TRY(snapshot_.for_each_index(visitor));
    at_fault_ = tree_.size();
    if (in_run != tree_.size() || heads != chains_.size()) {
      return Err(Code::invalid, "there are records that the index does not have");
    }
    return {};
  }

  static constexpr std::size_t chains_max = std::size_t{1} << 25;
  static constexpr std::size_t runs_max = std::size_t{1} << 25;

  const Snapshot& snapshot_;
  const VerifierKey& key_;
  const Subjects& subjects_;
  VerifyReport& report_;
  const std::function<void(std::uint64_t)>& progress_;
  Expiries expiries_;
  Tree tree_;
  Examined leaf_;
  LogRow leaf_row_;
  std::int64_t last_ns_ = 0;
  bool open_ = false;  // the record leaf_ may get more rows
  std::size_t next_payload_ = 0;
  std::vector<std::pair<unsigned, Hash>> nodes_;  // that the record must still get
  std::string hex_;
  std::map<std::uint64_t, std::uint64_t> missing_;  // subject without a key -> a record of it
  std::set<std::uint64_t> erased_;
  std::string chain_;
  std::string last_run_;
  std::uint32_t last_run_number_ = 0;
  std::unordered_map<std::string, std::uint32_t> runs_;
  std::vector<std::uint32_t> run_of_record_;
  std::unordered_map<std::string, Head> chains_;  // run, 0x00, session
  std::uint64_t last_checkpoint_ = 0;
  std::optional<std::uint64_t> at_fault_;
};

// The seal of a log that was closed in order covers each byte of the data file.
Result<void> check_seal(const std::string& folder, const VerifierKey& key, VerifyReport& report) {
  const std::string path = folder + "/seal";
  std::error_code failed;
  if (!std::filesystem::exists(path, failed)) return {};
  const std::string bytes = TRY(io::read_file(path, small_file_max));
  auto text = open_note(bytes, key);
  if (!text) return Err(std::move(text).error().context("the file `seal`"));
  const Seal seal = TRY(Seal::parse(*text));
  if (key.name != seal.origin) return Err(Code::invalid, "the file `seal` is that of another log");
  // A signature line in another writing of the same bytes would pass: allow only ours.
  const Note note = TRY(Note::parse(bytes));
  if (note.signatures.size() != 1) return Err(Code::invalid, "the file `seal` was altered");
  const auto [size, hash] = TRY(hash_file(folder + "/data.mdb"));
  if (seal.records != report.records) {
    return Err(Code::invalid, "the log was closed with " + std::to_string(seal.records) +
                                  " records and has " + std::to_string(report.records));
  }
  if (size != seal.file_bytes || hash != seal.file_hash) {
    return Err(Code::invalid,
               "data.mdb was altered after the log was closed, outside of the records: all " +
                   std::to_string(report.records) + " of them verify");
  }
  report.sealed = true;
  return {};
}

}  // namespace

std::string summary_of(const VerifyReport& report) {
  return std::to_string(report.records) + " records, " + std::to_string(report.payloads) +
         " payloads and " + std::to_string(report.checkpoints) + " signed checkpoints verified; " +
         (report.erased > 0 ? std::to_string(report.erased) +
                                  " payloads were erased, on record, and are proved to have been\n"
                            : "") +
         (report.expired > 0
              ? std::to_string(report.expired) +
                    " payloads have expired, on record, and are proved to have been\n"
              : "") +
         (report.clock_back > 0
              ? "the clock was set back " + std::to_string(report.clock_back) +
                    " times, first before record " + std::to_string(report.first_clock_back) +
                    ": the order is proved, these times are not\n"
              : "") +
         (report.sealed ? "the file is as it was when the log was closed\n"
                        : "the log was not closed in order (or is in use): bytes that belong to "
                          "no record were not checked\n");
}

VerifyReport verify_here(const std::string& folder, const VerifierKey& key,
                         const std::function<void(std::uint64_t)>& progress, unsigned threads) {
  VerifyReport report;
  const auto bad = [&report](std::uint64_t index, const Error& error) {
    report.bad_index = index;
    report.what = at_record(index) + error.message;
    return report;
  };
  const auto headers = check_header_pages(folder + "/data.mdb");
  if (!headers) return bad(0, headers.error());
  const auto store = Store::open(folder, Store::Mode::read, 0);
  if (!store) return bad(0, store.error());
  const auto snapshot = (*store)->snapshot();
  if (!snapshot) return bad(0, snapshot.error());
  const auto subjects = Subjects::load(folder);
  if (!subjects) return bad(0, subjects.error());
  Verifier verifier(*snapshot, key, **subjects, report, progress);
  const auto result = verifier.run(threads);
  if (!result) return bad(verifier.at_fault(), result.error());
  const auto whole = snapshot->check_transaction();
  if (!whole) return bad(0, whole.error());
  const auto seal = check_seal(folder, key, report);
  if (!seal) {
    report.what = seal.error().message;
    return report;
  }
  report.summary = summary_of(report);
  return report;
}

}  // namespace ambit::log
