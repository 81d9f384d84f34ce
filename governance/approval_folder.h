#pragma once

// ApprovalFolder: approvals that outlive the process and are answered from outside of it. One file
// a request, one a signed answer, one that says it was used; the folder's content is the state.
// Whoever can write here can hinder, but not approve: answers are signed by keys that are not here.

#include "governance/approvals.h"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace ambit::governance {

class ApprovalFolder {
 public:
  struct Refused {
    std::string file;
    std::string why;
  };

  // Reads the folder (made if absent) and `approvers`, a file with one verifier key a line. Blocks.
  static Result<ApprovalFolder> open(const std::string& folder, const std::string& approvers,
                                     std::int64_t now_ms, ApprovalDesk::Options options = {});

  // The request is durable when this returns.
  Result<ApprovalRequest> ask(const agents::Action& action, std::string reason, std::int64_t needed,
                              std::string id, std::int64_t now_ms,
                              std::vector<ApprovalLevel> levels = {}, std::int64_t lifetime_ms = 0);
  // Writes the answer beside the request, after it was checked.
  Result<ApprovalState> answer(std::string_view note, std::int64_t now_ms);
  // Takes in answers that other processes have written since.
  Result<void> refresh(std::int64_t now_ms);
  // Once, over all processes: the mark that it was used is durable before this returns.
  Result<void> use(const std::string& id, const agents::Action& action, std::int64_t now_ms,
                   std::int64_t needed_least = 1);

  [[nodiscard]] const ApprovalDesk& desk() const { return desk_; }
  [[nodiscard]] const std::vector<log::VerifierKey>& approvers() const { return keys_; }
  // Answers that did not count, and why.
  [[nodiscard]] const std::vector<Refused>& refused() const { return refused_; }
  // What has happened since the last call, for the journal: approval.asked, approval.voted,
  // approval.refused (an answer, or a use, that did not count, and why), approval.used.
  std::vector<agents::Notice> take_notices();

 private:
  ApprovalFolder(std::string folder, std::vector<log::VerifierKey> keys, ApprovalDesk desk)
      : folder_(std::move(folder)), keys_(std::move(keys)), desk_(std::move(desk)) {}
  Result<void> load_requests();
  Result<ApprovalState> take_answer(std::string_view note, std::int64_t now_ms);
  Result<void> mark_used(const std::string& id) const;
  void leave_refusal(std::string_view note, const Error& why, std::int64_t now_ms);
  void take_refusals();
  void note_refusal(const std::string& what, const std::string& approval, const Error& why);

  std::string folder_;
  std::vector<log::VerifierKey> keys_;
  ApprovalDesk desk_;
  std::vector<std::string> known_;  // file names that were taken in
  std::vector<Refused> refused_;
  std::vector<agents::Notice> notices_;
};

}  // namespace ambit::governance
