#include "log/verify.h"

#include "io/file.h"
#include "log/folder_lock.h"
#include "log/merkle.h"
#include "log/record.h"
#include "log/writer.h"

#include <sys/mman.h>
#include <sys/wait.h>

#include <array>
#include <bit>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <new>
#include <poll.h>
#include <unistd.h>

namespace ambit::log {
namespace {

constexpr int STALL_MS = 60'000;  // a child that gets no further for so long walks in circles
constexpr std::size_t SMALL_FILE_MAX = 4096;

std::string at_record(std::uint64_t index) {
  return "record " + std::to_string(index) + ": ";
}

// Compares everything that the store says about the records with what the records say themselves.
class Verifier {
 public:
  Verifier(const Snapshot& snapshot, const VerifierKey& key, VerifyReport& report)
      : snapshot_(snapshot), key_(key), report_(report) {}

  // An Error's message is what is wrong with the record that next() names.
  Result<void> run(const std::function<void(std::uint64_t)>& progress) {
    const std::uint64_t size = TRY(snapshot_.size());
    next_checkpoint_ = TRY(snapshot_.checkpoint_from(0));
    TRY(checkpoints());  // one over nothing would be possible
    while (tree_.size() < size) {
      if (progress) progress(tree_.size());
      TRY(record());
      TRY(checkpoints());
      report_.records = tree_.size();
    }
    return ends();
  }
  [[nodiscard]] std::uint64_t next() const { return tree_.size(); }

 private:
  Result<void> record() {
    const std::uint64_t index = tree_.size();
    const std::string_view bytes = TRY(snapshot_.leaf(index));
    const Leaf leaf = TRY(parse_leaf(bytes));
    if (leaf.index != index) {
      return Err(Code::invalid,
                 "it says of itself that it is record " + std::to_string(leaf.index));
    }
    TRY(payloads(leaf));
    TRY(indexes(leaf));
    Result<void> nodes;
    tree_.append(
        leaf_hash(bytes), [this, &nodes](unsigned level, std::uint64_t at, const Hash& hash) {
          if (level % TILE_HEIGHT != 0 || !nodes) return;
          ++nodes_;
          const auto stored = snapshot_.stored_node(level, at);
          if (!stored) {
            nodes = Err(stored.error());
          } else if (*stored != hash) {
            nodes = Err(Code::invalid,
                        "its hash does not fit the tree (level " + std::to_string(level) + ")");
          }
        });
    if (!nodes) tree_at_fault_ = index;
    return nodes;
  }

  Result<void> payloads(const Leaf& leaf) {
    for (std::size_t i = 0; i < leaf.payloads.size(); ++i) {
      const Commitment& wanted = leaf.payloads[i];
      const StoredPayload stored = TRY(snapshot_.payload(leaf.index, i));
      if (stored.bytes.size() != wanted.bytes ||
          commitment(stored.salt, stored.bytes) != wanted.hash) {
        return Err(Code::invalid, "its payload \"" + wanted.name + "\" is not what was recorded");
      }
      ++report_.payloads;
    }
    return {};
  }

  Result<void> indexes(const Leaf& leaf) {
    const bool in_run = TRY(snapshot_.is_in_run(leaf.run, leaf.index));
    if (!in_run) return Err(Code::invalid, "it is missing in the index of its run");
    const bool in_session = TRY(snapshot_.is_in_session(leaf.run, leaf.session, leaf.index));
    if (!in_session) return Err(Code::invalid, "it is missing in the index of its session");
    const auto before = TRY(snapshot_.last_in_session(leaf.run, leaf.session, leaf.index));
    std::string previous;
    if (before) {
      const Hash hash = TRY(snapshot_.stored_node(0, *before));
      previous = to_hex(bytes_of(hash));
    }
    if (previous != leaf.previous) {
      return Err(Code::invalid, "it does not follow from the record before it in its session");
    }
    return {};
  }

  // Checks the checkpoint over the records so far, if there is one.
  Result<void> checkpoints() {
    if (!next_checkpoint_ || next_checkpoint_->size != tree_.size()) return {};
    const std::string name = "the checkpoint over " + std::to_string(tree_.size()) + " records";
    auto text = open_note(next_checkpoint_->note, key_);
    if (!text) return Err(std::move(text).error().context(name));
    const Checkpoint checkpoint = TRY(Checkpoint::parse(*text));
    if (checkpoint.size != tree_.size() || checkpoint.root != tree_.root() ||
        checkpoint.origin != key_.name) {
      return Err(Code::invalid, name + " does not fit the records");
    }
    // One signature and nothing else: what was signed here before must come out again byte for
    // byte.
    const Note note = TRY(Note::parse(next_checkpoint_->note));
    if (note.signatures.size() != 1 || note.text != checkpoint.text()) {
      return Err(Code::invalid, name + " holds more than was signed");
    }
    ++report_.checkpoints;
    last_checkpoint_ = tree_.size();
    next_checkpoint_ = TRY(snapshot_.checkpoint_from(tree_.size() + 1));
    return {};
  }

  // What can only be seen at the end: entries too many, records after the last checkpoint.
  Result<void> ends() {
    if (next_checkpoint_) {
      return Err(Code::invalid, "a checkpoint counts " + std::to_string(next_checkpoint_->size) +
                                    " records, but it is missing");
    }
    if (last_checkpoint_ != tree_.size()) {
      return Err(Code::invalid, "the records from " + std::to_string(last_checkpoint_) +
                                    " on are not covered by a signed checkpoint");
    }
    const Snapshot::Counts counts = TRY(snapshot_.counts());
    const bool exact = counts.leaves == tree_.size() && counts.runs == tree_.size() &&
                       counts.sessions == tree_.size() && counts.nodes == nodes_ &&
                       counts.payloads == report_.payloads &&
                       counts.checkpoints == report_.checkpoints;
    if (!exact) return Err(Code::invalid, "there are entries that belong to no record");
    return {};
  }

  const Snapshot& snapshot_;
  const VerifierKey& key_;
  VerifyReport& report_;
  Tree tree_;
  std::uint64_t nodes_ = 0;
  std::uint64_t last_checkpoint_ = 0;
  std::optional<std::uint64_t> tree_at_fault_;
  std::optional<Snapshot::SizedCheckpoint> next_checkpoint_;

 public:
  // The record at fault: an append to the tree may have gone through before its nodes were
  // compared.
  [[nodiscard]] std::uint64_t at_fault() const { return tree_at_fault_.value_or(tree_.size()); }
};

// The seal of a log that was closed in order covers each byte of the data file.
Result<void> check_seal(const std::string& folder, const VerifierKey& key, VerifyReport& report) {
  const std::string path = folder + "/seal";
  std::error_code failed;
  if (!std::filesystem::exists(path, failed)) return {};
  const std::string bytes = TRY(io::read_file(path, SMALL_FILE_MAX));
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

void summarise(VerifyReport& report) {
  report.summary =
      std::to_string(report.records) + " records, " + std::to_string(report.payloads) +
      " payloads and " + std::to_string(report.checkpoints) + " signed checkpoints verified; " +
      (report.sealed ? "the file is as it was when the log was closed\n"
                     : "the log was not closed in order (or is in use): bytes that belong to "
                       "no record were not checked\n");
}

// What the child tells the parent through shared memory.
struct Shared {
  volatile std::uint64_t record;  // that is being looked at
  volatile std::uint64_t beat;    // grows as long as there is progress
  std::uint64_t records;
  std::uint64_t payloads;
  std::uint64_t checkpoints;
  std::uint64_t bad_index;
  bool has_bad_index;
  bool sealed;
  bool done;
  std::uint32_t length;
  std::array<char, 4096> what;
};

void tell(const VerifyReport& report, Shared& shared) {
  shared.records = report.records;
  shared.payloads = report.payloads;
  shared.checkpoints = report.checkpoints;
  shared.has_bad_index = report.bad_index.has_value();
  shared.bad_index = report.bad_index.value_or(0);
  shared.sealed = report.sealed;
  shared.length = static_cast<std::uint32_t>(std::min(report.what.size(), shared.what.size()));
  std::memcpy(shared.what.data(), report.what.data(), shared.length);
  shared.done = true;
}

VerifyReport heard(const Shared& shared, int status) {
  VerifyReport report;
  if (!shared.done) {
    report.records = shared.record;
    report.bad_index = shared.record;
    report.what =
        at_record(shared.record) + "data.mdb is damaged there: reading it " +
        (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL ? "did not come to an end" : "failed");
    return report;
  }
  report.records = shared.records;
  report.payloads = shared.payloads;
  report.checkpoints = shared.checkpoints;
  if (shared.has_bad_index) report.bad_index = shared.bad_index;
  report.sealed = shared.sealed;
  report.what.assign(shared.what.data(), shared.length);
  if (report.good()) summarise(report);
  return report;
}

// The child's whole life. Whatever LMDB or a sanitizer prints about a crash is not for the reader.
[[noreturn]] void child(const std::string& folder, const VerifierKey& key, Shared& shared) {
  const int nothing = ::open("/dev/null", O_WRONLY | O_CLOEXEC);
  if (nothing >= 0) ::dup2(nothing, STDERR_FILENO);
  for (const int signal : {SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL}) ::signal(signal, SIG_DFL);
  tell(verify_here(folder, key,
                   [&shared](std::uint64_t index) {
                     shared.record = index;
                     shared.beat = shared.beat + 1;
                   }),
       shared);
  ::_exit(0);
}

// Waits for the child, and ends it if it gets no further.
int wait_for(pid_t pid, const Shared& shared) {
  int status = 0;
  std::uint64_t beat = shared.beat;
  int quiet_ms = 0;
  constexpr int STEP_MS = 5;
  for (;;) {
    const pid_t ended = ::waitpid(pid, &status, WNOHANG);
    if (ended == pid || (ended < 0 && errno != EINTR)) return status;
    ::poll(nullptr, 0, STEP_MS);
    quiet_ms = shared.beat == beat ? quiet_ms + STEP_MS : 0;
    beat = shared.beat;
    // The seal of a large file is hashed after the last record, without a beat: that is progress
    // too.
    if (quiet_ms >= STALL_MS && !shared.done) {
      ::kill(pid, SIGKILL);
      ::waitpid(pid, &status, 0);
      return status;
    }
  }
}

}  // namespace

VerifyReport verify_here(const std::string& folder, const VerifierKey& key,
                         const std::function<void(std::uint64_t)>& progress) {
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
  Verifier verifier(*snapshot, key, report);
  const auto result = verifier.run(progress);
  if (!result) return bad(verifier.at_fault(), result.error());
  const auto seal = check_seal(folder, key, report);
  if (!seal) {
    report.what = seal.error().message;
    return report;
  }
  summarise(report);
  return report;
}

Result<VerifyReport> verify_log(const std::string& folder, const std::string& vkey) {
  const std::string data = folder + "/data.mdb";
  if (::access(data.c_str(), R_OK) != 0) return Err(file_error("read", data, errno));
  const std::string text =
      vkey.empty() ? TRY(io::read_file(folder + "/vkey", SMALL_FILE_MAX)) : vkey;
  auto key = VerifierKey::parse(text);
  if (!key)
    return Err(std::move(key).error().context(vkey.empty() ? folder + "/vkey" : "the given key"));
  void* memory =
      ::mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) return Err(file_error("share memory to verify", folder, errno));
  auto& shared = *new (memory) Shared{};
  const pid_t pid = ::fork();
  if (pid < 0) {
    const int failed = errno;
    ::munmap(memory, sizeof(Shared));
    return Err(file_error("start a process to verify", folder, failed));
  }
  if (pid == 0) child(folder, *key, shared);
  const int status = wait_for(pid, shared);
  VerifyReport report = heard(shared, status);
  ::munmap(memory, sizeof(Shared));
  return report;
}

}  // namespace ambit::log
