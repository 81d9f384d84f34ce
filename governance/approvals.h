#pragma once

// Approvals: actions that wait for people. A request is bound to the hash of the canonical action;
// an answer is a signed note (C2SP, Ed25519) over that hash, the request and the verdict. An
// approval counts once, for that action alone, until it expires; it can need several people, and
// never counts the one for whom the action is done. Pure: no clock, no files.

#include "agents/ports.h"
#include "async/result.h"
#include "log/note.h"

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace ambit::governance {

enum class ApprovalState : std::uint8_t {
  pending,
  approved,  // and not used yet
  denied,
  expired,     // nobody, or too few, answered in time
  superseded,  // answered with a modified action, which has a request of its own
  used,
  done,  // it is done already, and must not be done again
};
std::string_view to_string(ApprovalState state);

// Who may answer, and from when on. A request without levels is for every approver.
struct ApprovalLevel {
  std::vector<std::string> people;  // names of approvers
  std::int64_t after_ms = 0;        // since it was asked
  friend bool operator==(const ApprovalLevel&, const ApprovalLevel&) = default;
};

struct ApprovalRequest {
  std::string id;  // 32 hex digits, at random: the nonce
  agents::Action action;
  std::string hash;    // of the action
  std::string reason;  // the policy's
  std::int64_t needed = 1;
  std::int64_t asked_ms = 0;
  std::int64_t expires_ms = 0;
  std::vector<ApprovalLevel> levels{};  // the owner first; each in order of time
};

// Who asked for the action, and so cannot answer for it.
const std::string& requester_of(const agents::Action& action);

// done: it is done already, by hand or before a crash; the agent goes on as if it had done it.
enum class Answer : std::uint8_t { approve, deny, modify, done };
std::string_view to_string(Answer answer);

// What an approver signs.
struct ApprovalAnswer {
  std::string request;
  std::string hash;  // of the action that was shown
  Answer answer = Answer::deny;
  std::string reason;     // one line
  std::string arguments;  // modify: the new arguments, a JSON object
  std::int64_t at_ms = 0;
};

// The text of the note, and back. Errors: lines missing, too many, or out of order.
std::string to_text(const ApprovalAnswer& answer);
Result<ApprovalAnswer> parse_answer(std::string_view text);
std::string sign(const ApprovalAnswer& answer, const log::SignerKey& key);

class ApprovalDesk {
 public:
  struct Options {
    std::int64_t lifetime_ms = 900'000;  // a quarter of an hour: no answer by then is a no
    std::size_t requests_max = 10'000;   // kept; beyond that nothing more is asked
  };
  // The name in a key is the person. Errors: two keys of one name, one key under two names.
  static Result<ApprovalDesk> create(std::vector<log::VerifierKey> approvers, Options options);

  // `id` is 32 hex digits from the world's entropy. Errors: an id that was used, more people
  // needed than there are without the requester, too many requests.
  // With levels: people who are no approvers, levels out of order, and one that begins too late.
  // `lifetime_ms`: shorter than the desk's own; 0: the desk's.
  Result<ApprovalRequest> ask(const agents::Action& action, std::string reason, std::int64_t needed,
                              std::string id, std::int64_t now_ms,
                              std::vector<ApprovalLevel> levels = {}, std::int64_t lifetime_ms = 0);
  // A signed answer. Errors: a signature of nobody we know, another action than was asked about,
  // the requester's own, a second answer of one person, too late, already decided.
  Result<ApprovalState> answer(std::string_view note, std::int64_t now_ms);
  // To be called with the action as it is about to be done: its hash is worked out again. Exactly
  // one call succeeds per approval. Errors say why it may not be done. `needed_least`: what the
  // policies ask for now; an approval of fewer people, as from an altered file, does not count.
  Result<void> use(const std::string& id, const agents::Action& action, std::int64_t now_ms,
                   std::int64_t needed_least = 1);

  [[nodiscard]] std::optional<ApprovalState> state(const std::string& id,
                                                   std::int64_t now_ms) const;
  [[nodiscard]] const ApprovalRequest* request(const std::string& id) const;
  // The action to do after an answer with a modified one: a new request, approved by that answer.
  [[nodiscard]] std::optional<std::string> successor(const std::string& id) const;
  [[nodiscard]] std::vector<ApprovalRequest> pending(std::int64_t now_ms) const;
  // The level that the request has come to, from 0; with every rise the next people are told.
  [[nodiscard]] std::size_t level(const std::string& id, std::int64_t now_ms) const;
  // How many have said yes so far.
  [[nodiscard]] std::int64_t approvals(const std::string& id) const;
  // Who has answered, whatever they said.
  [[nodiscard]] std::vector<std::string> answered(const std::string& id) const;
  // A request from before a restart, as it was asked. Errors: its hash is not that of its action.
  Result<void> restore(const ApprovalRequest& request);
  void mark_used(const std::string& id);
  // Drops what is decided and older than that; a used id stays refused for as long as it is kept.
  void forget_before(std::int64_t asked_ms);

 private:
  struct Kept {
    ApprovalRequest request;
    std::vector<std::string> yes;  // names
    bool yes_is_done = false;      // what they have said: that it is done already
    std::vector<std::string> answered;
    ApprovalState state = ApprovalState::pending;
    std::string successor;
  };
  ApprovalDesk(std::vector<log::VerifierKey> approvers, Options options)
      : approvers_(std::move(approvers)), options_(options) {}
  Result<std::pair<std::string, std::string>> open(std::string_view note) const;
  Result<void> check_levels(const ApprovalRequest& request) const;
  [[nodiscard]] bool may_answer(const ApprovalRequest& request, const std::string& who,
                                std::int64_t now_ms) const;
  Result<ApprovalState> modify(Kept& kept, const ApprovalAnswer& answer, const std::string& who,
                               std::int64_t now_ms);

  std::vector<log::VerifierKey> approvers_;
  Options options_;
  std::map<std::string, Kept> requests_;
};

}  // namespace ambit::governance
