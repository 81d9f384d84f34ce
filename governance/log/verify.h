#pragma once

// Verification of a log by someone who trusts nobody: every leaf, tree node, payload, index entry,
// session chain and checkpoint is computed again and compared. It works in a child process, because
// a damaged data file can make LMDB crash: then the report names the record at which it did.

#include "async/result.h"
#include "log/note.h"
#include "log/store.h"

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>

namespace ambit::log {

struct VerifyReport {
  std::uint64_t records = 0;  // that verified, from the first one on
  std::uint64_t payloads = 0;
  std::uint64_t erased = 0;   // payloads whose key was destroyed, on record
  std::uint64_t expired = 0;  // payloads that were kept long enough, on record
  std::uint64_t checkpoints = 0;
  // Records whose time is more than a second before that of the one before them, and the first such
  // one: their order is proved all the same, their times are what a clock said that was set back.
  std::uint64_t clock_back = 0;
  std::uint64_t first_clock_back = 0;
  bool sealed = false;  // the log was closed in order, so each byte of the file was checked
  std::optional<std::uint64_t> bad_index;  // the first bad record
  bool was_cut_off = false;                // reading ended the process: bad_index is where that was
  std::string what;                        // what is wrong; empty: all is well
  std::string summary;                     // for people, when all is well
  [[nodiscard]] bool good() const { return what.empty(); }
};
// Of a good one, for people.
std::string summary_of(const VerifyReport& report);

// `vkey`: the public key that the reader trusts; empty: the one in the folder. Errors: no log
// there, not readable, a key that is none. A damaged log is no Error but a report. To be called
// while the process has no threads that hold locks: it forks.
// `threads` examine records beside the one that follows them.
Result<VerifyReport> verify_log(const std::string& folder, const std::string& vkey,
                                unsigned threads);
// One thread less than there are processors.
unsigned verify_threads();
inline Result<VerifyReport> verify_log(const std::string& folder, const std::string& vkey = {}) {
  return verify_log(folder, vkey, verify_threads());
}

// The same checks in this process: a file that is damaged badly enough can end it.
// `progress` hears of each record before it is looked at.
VerifyReport verify_here(const std::string& folder, const VerifierKey& key,
                         const std::function<void(std::uint64_t)>& progress = nullptr,
                         unsigned threads = 0);

}  // namespace ambit::log
