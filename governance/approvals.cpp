#include "governance/approvals.h"

#include "governance/action_json.h"
#include "log/sha256.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <charconv>

namespace ambit::governance {
namespace {

using agents::Action;
using nlohmann::json;

constexpr std::string_view format_name = "ambit.approval/v1";
constexpr std::size_t note_bytes_max = 1U << 20;
constexpr std::size_t reason_bytes_max = 1000;

bool is_id(std::string_view text) {
  return text.size() == 32 && text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

bool contains(const std::vector<std::string>& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

// "name value\n" off the front.
Result<std::string> take_line(std::string_view& text, std::string_view name) {
  const std::size_t end = text.find('\n');
  if (end == std::string_view::npos || !text.starts_with(name) || end < name.size() + 1 ||
      text[name.size()] != ' ') {
    return Err(Code::invalid, "the answer lacks its line \"" + std::string(name) + "\"");
  }
  std::string value(text.substr(name.size() + 1, end - name.size() - 1));
  text.remove_prefix(end + 1);
  return value;
}

// A string that was written as JSON, so that it is one line.
Result<std::string> quoted(const std::string& text, std::string_view name) {
  const json value = json::parse(text, nullptr, false);
  if (value.is_string()) return value.get<std::string>();
  return Err(Code::invalid, "the answer's " + std::string(name) + " is not a JSON string");
}

}  // namespace

std::string_view to_string(Answer answer) {
  switch (answer) {
    case Answer::approve:
      return "approve";
    case Answer::deny:
      return "deny";
    case Answer::modify:
      return "modify";
    case Answer::done:
      return "done";
  }
  return "deny";
}

std::string_view to_string(ApprovalState state) {
  switch (state) {
    case ApprovalState::pending:
      return "pending";
    case ApprovalState::approved:
      return "approved";
    case ApprovalState::denied:
      return "denied";
    case ApprovalState::expired:
      return "expired";
    case ApprovalState::superseded:
      return "superseded";
    case ApprovalState::used:
      return "used";
    case ApprovalState::done:
      return "done";
  }
  return "denied";
}

const std::string& requester_of(const agents::Action& action) {
  return action.requester.empty() ? action.on_behalf_of : action.requester;
}

std::string to_text(const ApprovalAnswer& answer) {
  const auto text = [](const std::string& of) {
    return json(of).dump(-1, ' ', false, json::error_handler_t::replace);
  };
  return std::string(format_name) + "\nrequest " + answer.request + "\naction " + answer.hash +
         "\nanswer " + std::string(to_string(answer.answer)) + "\nat " +
         std::to_string(answer.at_ms) + "\nreason " + text(answer.reason) + "\narguments " +
         text(answer.arguments) + "\n";
}

Result<ApprovalAnswer> parse_answer(std::string_view text) {
  const std::string first = std::string(format_name) + "\n";
  if (!text.starts_with(first)) return Err(Code::invalid, "this is no answer to an approval");
  text.remove_prefix(first.size());
  ApprovalAnswer made;
  made.request = TRY(take_line(text, "request"));
  made.hash = TRY(take_line(text, "action"));
  const std::string said = TRY(take_line(text, "answer"));
  if (said == "approve") {
    made.answer = Answer::approve;
  } else if (said == "modify") {
    made.answer = Answer::modify;
  } else if (said == "done") {
    made.answer = Answer::done;
  } else if (said != "deny") {
    return Err(Code::invalid, "the answer must be approve, deny, modify or done");
  }
  const std::string at = TRY(take_line(text, "at"));
  const auto [end, error] = std::from_chars(at.data(), at.data() + at.size(), made.at_ms);
  if (error != std::errc() || end != at.data() + at.size()) {
    return Err(Code::invalid, "the answer's time is no number");
  }
  const std::string reason = TRY(take_line(text, "reason"));
  made.reason = TRY(quoted(reason, "reason"));
  const std::string arguments = TRY(take_line(text, "arguments"));
  made.arguments = TRY(quoted(arguments, "arguments"));
  if (!text.empty()) return Err(Code::invalid, "the answer has more lines than it should");
  return made;
}

std::string sign(const ApprovalAnswer& answer, const log::SignerKey& key) {
  return key.sign(to_text(answer));
}

Result<ApprovalDesk> ApprovalDesk::create(std::vector<log::VerifierKey> approvers,
                                          Options options) {
  for (std::size_t i = 0; i < approvers.size(); ++i) {
    for (std::size_t k = 0; k < i; ++k) {
      if (approvers[i].name == approvers[k].name || approvers[i].key == approvers[k].key) {
        return Err(Code::invalid, "the approvers " + approvers[k].name + " and " +
                                      approvers[i].name +
                                      " share a name or a key; each person needs their own");
      }
    }
  }
  return ApprovalDesk(std::move(approvers), options);
}

Result<ApprovalRequest> ApprovalDesk::ask(const Action& action, std::string reason,
                                          std::int64_t needed, std::string id, std::int64_t now_ms,
                                          std::vector<ApprovalLevel> levels,
                                          std::int64_t lifetime_ms) {
  if (!is_id(id)) return Err(Code::invalid, "an approval's id is 32 hex digits");
  if (requests_.contains(id)) return Err(Code::conflict, "the approval " + id + " exists already");
  if (requests_.size() >= options_.requests_max) {
    return Err(Code::exhausted, "more than " + std::to_string(options_.requests_max) +
                                    " approvals are kept; answer or forget some");
  }
  std::string hash = TRY(action_hash(action));
  ApprovalRequest request{std::move(id),
                          action,
                          std::move(hash),
                          std::move(reason),
                          needed,
                          now_ms,
                          now_ms + (lifetime_ms > 0 ? std::min(lifetime_ms, options_.lifetime_ms)
                                                    : options_.lifetime_ms),
                          std::move(levels)};
  TRY(check_levels(request));
  const auto able = std::count_if(approvers_.begin(), approvers_.end(), [&](const auto& key) {
    return key.name != requester_of(action) && key.name != action.agent &&
           may_answer(request, key.name, request.expires_ms);
  });
  if (needed < 1 || needed > able) {
    return Err(Code::invalid, "this needs " + std::to_string(needed) + " approvers, and " +
                                  std::to_string(able) +
                                  " could answer (the requester cannot); name more of them");
  }
  requests_[request.id].request = request;
  return request;
}

Result<void> ApprovalDesk::check_levels(const ApprovalRequest& request) const {
  std::int64_t before_ms = 0;
  for (const ApprovalLevel& level : request.levels) {
    for (const std::string& who : level.people) {
      const bool known = std::any_of(approvers_.begin(), approvers_.end(),
                                     [&](const auto& key) { return key.name == who; });
      if (!known) return Err(Code::invalid, who + " is asked, and has no key among the approvers");
    }
    if (level.people.empty() || level.after_ms < before_ms ||
        level.after_ms >= request.expires_ms - request.asked_ms) {
      return Err(Code::invalid,
                 "each level needs people and a time, in order, before the request expires");
    }
    before_ms = level.after_ms;
  }
  return {};
}

bool ApprovalDesk::may_answer(const ApprovalRequest& request, const std::string& who,
                              std::int64_t now_ms) const {
  if (request.levels.empty()) return true;
  return std::any_of(request.levels.begin(), request.levels.end(), [&](const auto& level) {
    return now_ms >= request.asked_ms + level.after_ms && contains(level.people, who);
  });
}

std::size_t ApprovalDesk::level(const std::string& id, std::int64_t now_ms) const {
  const auto found = requests_.find(id);
  if (found == requests_.end()) return 0;
  const ApprovalRequest& request = found->second.request;
  std::size_t reached = 0;
  for (std::size_t i = 0; i < request.levels.size(); ++i) {
    if (now_ms >= request.asked_ms + request.levels[i].after_ms) reached = i;
  }
  return reached;
}

// The name of the approver whose signature the note carries, and its text.
Result<std::pair<std::string, std::string>> ApprovalDesk::open(std::string_view note) const {
  if (note.size() > note_bytes_max) return Err(Code::invalid, "the answer is too long");
  for (const log::VerifierKey& key : approvers_) {
    auto text = log::open_note(note, key);
    if (text) return std::pair(key.name, std::move(*text));
  }
  return Err(Code::denied, "the answer carries no good signature of an approver we know");
}

Result<ApprovalState> ApprovalDesk::answer(std::string_view note, std::int64_t now_ms) {
  const auto [who, text] = TRY(open(note));
  const ApprovalAnswer said = TRY(parse_answer(text));
  const auto found = requests_.find(said.request);
  if (found == requests_.end()) {
    return Err(Code::not_found, "there is no approval " + said.request.substr(0, 64));
  }
  Kept& kept = found->second;
  if (said.hash != kept.request.hash) {
    return Err(Code::denied, "the answer of " + who + " is about another action than was asked");
  }
  const ApprovalState before = *state(said.request, now_ms);
  if (before != ApprovalState::pending) {
    return Err(Code::conflict, "the approval " + said.request + " is " +
                                   std::string(to_string(before)) + " already");
  }
  if (who == requester_of(kept.request.action) || who == kept.request.action.agent) {
    return Err(Code::denied, who + " asked for this and cannot answer it too");
  }
  if (!may_answer(kept.request, who, now_ms)) {
    return Err(Code::denied, "this is not, or not yet, up to " + who);
  }
  if (contains(kept.answered, who)) {
    return Err(Code::conflict, who + " has answered this already");
  }
  if (said.reason.size() > reason_bytes_max) {
    return Err(Code::invalid,
               "a reason has at most " + std::to_string(reason_bytes_max) + " bytes");
  }
  if (said.at_ms < kept.request.asked_ms) {
    return Err(Code::invalid, "the answer of " + who + " is older than the question");
  }
  if (said.reason.find_first_not_of(" \t\n") == std::string::npos) {
    return Err(Code::invalid,
               "the answer of " + who + " has no reason; without one it is a reflex");
  }
  if (said.answer == Answer::modify) return modify(kept, said, who, now_ms);
  const bool is_done = said.answer == Answer::done;
  if (said.answer != Answer::deny && !kept.yes.empty() && kept.yes_is_done != is_done) {
    return Err(Code::conflict, kept.yes.front() + " says that it is " +
                                   (is_done ? "yet to be done" : "done already") +
                                   "; deny it where you cannot agree");
  }
  kept.answered.push_back(who);
  if (said.answer == Answer::deny) {
    kept.state = ApprovalState::denied;
  } else {
    kept.yes.push_back(who);
    kept.yes_is_done = is_done;
    const bool enough = static_cast<std::int64_t>(kept.yes.size()) >= kept.request.needed;
    if (enough) kept.state = is_done ? ApprovalState::done : ApprovalState::approved;
  }
  return kept.state;
}

// The modified action is a new one, with a request and an identity of its own; the old one can
// never be done. The one who modified it has said yes to the new one, to nothing else.
Result<ApprovalState> ApprovalDesk::modify(Kept& kept, const ApprovalAnswer& said,
                                           const std::string& who, std::int64_t now_ms) {
  Action action = kept.request.action;
  action.arguments = said.arguments;
  const json arguments = json::parse(said.arguments, nullptr, false);
  if (!arguments.is_object()) {
    return Err(Code::invalid, "the modified arguments are not a JSON object");
  }
  const std::string hash = TRY(action_hash(action));
  if (hash == kept.request.hash) {
    return Err(Code::invalid, "the modified action is the same; approve it or deny it");
  }
  const std::string id =
      log::to_hex(log::sha256({kept.request.id, "\n", hash, "\n", who})).substr(0, 32);
  if (requests_.contains(id)) return Err(Code::conflict, "this modification exists already");
  Kept next;
  next.request = kept.request;
  next.request.id = id;
  next.request.action = std::move(action);
  next.request.hash = hash;
  next.request.asked_ms = now_ms;
  next.yes = {who};
  next.answered = {who};
  if (next.request.needed <= 1) next.state = ApprovalState::approved;
  kept.answered.push_back(who);
  kept.state = ApprovalState::superseded;
  kept.successor = id;
  requests_.emplace(id, std::move(next));
  return ApprovalState::superseded;
}

Result<void> ApprovalDesk::use(const std::string& id, const Action& action, std::int64_t now_ms,
                               std::int64_t needed_least) {
  const auto now = state(id, now_ms);
  if (!now) return Err(Code::not_found, "there is no approval " + id.substr(0, 64));
  if (*now != ApprovalState::approved) {
    return Err(Code::denied, "the approval " + id + " is " + std::string(to_string(*now)) +
                                 ", so the action is not done");
  }
  Kept& kept = requests_.find(id)->second;
  if (TRY(action_hash(action)) != kept.request.hash) {
    return Err(Code::denied,
               "approval_action_mismatch: the action is another one than was approved");
  }
  if (static_cast<std::int64_t>(kept.yes.size()) < needed_least) {
    return Err(Code::denied, "the approval " + id + " is of " + std::to_string(kept.yes.size()) +
                                 " people, and " + std::to_string(needed_least) +
                                 " are needed, so the action is not done");
  }
  kept.state = ApprovalState::used;
  return {};
}

std::optional<ApprovalState> ApprovalDesk::state(const std::string& id, std::int64_t now_ms) const {
  const auto found = requests_.find(id);
  if (found == requests_.end()) return std::nullopt;
  const Kept& kept = found->second;
  const bool open = kept.state == ApprovalState::pending || kept.state == ApprovalState::approved;
  return open && now_ms >= kept.request.expires_ms ? ApprovalState::expired : kept.state;
}

const ApprovalRequest* ApprovalDesk::request(const std::string& id) const {
  const auto found = requests_.find(id);
  return found == requests_.end() ? nullptr : &found->second.request;
}

std::optional<std::string> ApprovalDesk::successor(const std::string& id) const {
  const auto found = requests_.find(id);
  if (found == requests_.end() || found->second.successor.empty()) return std::nullopt;
  return found->second.successor;
}

std::vector<ApprovalRequest> ApprovalDesk::pending(std::int64_t now_ms) const {
  std::vector<ApprovalRequest> all;
  for (const auto& [id, kept] : requests_) {
    if (*state(id, now_ms) == ApprovalState::pending) all.push_back(kept.request);
  }
  std::sort(all.begin(), all.end(), [](const auto& a, const auto& b) {
    return a.asked_ms != b.asked_ms ? a.asked_ms < b.asked_ms : a.id < b.id;
  });
  return all;
}

std::int64_t ApprovalDesk::approvals(const std::string& id) const {
  const auto found = requests_.find(id);
  return found == requests_.end() ? 0 : static_cast<std::int64_t>(found->second.yes.size());
}

std::vector<std::string> ApprovalDesk::answered(const std::string& id) const {
  const auto found = requests_.find(id);
  return found == requests_.end() ? std::vector<std::string>() : found->second.answered;
}

Result<void> ApprovalDesk::restore(const ApprovalRequest& request) {
  if (!is_id(request.id) || request.needed < 1) {
    return Err(Code::invalid, "the request's id or its number of approvers is wrong");
  }
  TRY(check_levels(request));
  if (TRY(action_hash(request.action)) != request.hash) {
    return Err(Code::denied, "the request's hash is not that of its action");
  }
  if (requests_.contains(request.id)) {
    return Err(Code::conflict, "the approval " + request.id + " exists already");
  }
  if (requests_.size() >= options_.requests_max) {
    return Err(Code::exhausted, "more approvals are kept than are allowed");
  }
  requests_[request.id].request = request;
  return {};
}

void ApprovalDesk::mark_used(const std::string& id) {
  const auto found = requests_.find(id);
  if (found != requests_.end()) found->second.state = ApprovalState::used;
}

void ApprovalDesk::forget_before(std::int64_t asked_ms) {
  std::erase_if(requests_, [&](const auto& one) {
    const Kept& kept = one.second;
    return kept.request.asked_ms < asked_ms && kept.request.expires_ms < asked_ms;
  });
}

}  // namespace ambit::governance
