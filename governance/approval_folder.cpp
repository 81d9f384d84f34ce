#include "governance/approval_folder.h"

#include "governance/action_json.h"
#include "io/file.h"
#include "log/sha256.h"

#include <nlohmann/json.hpp>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <filesystem>
#include <unistd.h>
#include <utility>

namespace ambit::governance {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

constexpr std::size_t file_bytes_max = 4U << 20;
constexpr std::size_t files_max = 100'000;
constexpr std::size_t refusals_max = 10'000;

Result<std::vector<log::VerifierKey>> read_approvers(const std::string& path) {
  const std::string text = TRY(io::read_file(path, 1U << 20));
  std::vector<log::VerifierKey> keys;
  std::size_t line = 0;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    const std::string_view one = std::string_view(text).substr(at, end - at);
    at = end + 1;
    ++line;
    if (one.empty() || one.starts_with("#")) continue;
    auto key = log::VerifierKey::parse(one);
    if (!key) {
      return Err(std::move(key).error().context(path + ":" + std::to_string(line)));
    }
    keys.push_back(std::move(*key));
  }
  return keys;
}

std::string dumped(const json& value) {
  return value.dump(-1, ' ', false, json::error_handler_t::replace);
}

json levels_json(const ApprovalRequest& request) {
  json levels = json::array();
  for (const ApprovalLevel& level : request.levels) {
    levels.push_back({{"people", level.people}, {"afterMs", level.after_ms}});
  }
  return levels;
}

json to_json(const ApprovalRequest& request) {
  json out = {{"id", request.id},
              {"hash", request.hash},
              {"reason", request.reason},
              {"needed", request.needed},
              {"askedMs", request.asked_ms},
              {"expiresMs", request.expires_ms},
              {"action", governance::to_json(request.action)}};
  // As it was said: what is hashed must not go through a parser's numbers.
  out["arguments"] = request.action.arguments;
  if (!request.levels.empty()) out["levels"] = levels_json(request);
  return out;
}

Result<ApprovalRequest> request_from(const std::string& text) {
  const json value = json::parse(text, nullptr, false);
  const auto bad = [] { return Err(Code::invalid, "this is no request for an approval"); };
  if (!value.is_object()) return bad();
  for (const char* name : {"id", "hash", "reason", "arguments"}) {
    if (!value.contains(name) || !value[name].is_string()) return bad();
  }
  for (const char* name : {"needed", "askedMs", "expiresMs"}) {
    if (!value.contains(name) || !value[name].is_number_integer()) return bad();
  }
  if (!value.contains("action")) return bad();
  std::vector<ApprovalLevel> levels;
  for (const json& level : value.value("levels", json::array())) {
    const bool sound = level.is_object() && level.contains("people") &&
                       level["people"].is_array() && level.contains("afterMs") &&
                       level["afterMs"].is_number_integer();
    if (!sound) return bad();
    levels.push_back({{}, level["afterMs"].get<std::int64_t>()});
    for (const json& who : level["people"]) {
      if (!who.is_string()) return bad();
      levels.back().people.push_back(who.get<std::string>());
    }
  }
  ApprovalRequest request;
  request.action = TRY(action_from_json(value["action"]));
  request.action.arguments = value["arguments"].get<std::string>();
  request.levels = std::move(levels);
  request.id = value["id"].get<std::string>();
  request.hash = value["hash"].get<std::string>();
  request.reason = value["reason"].get<std::string>();
  request.needed = value["needed"].get<std::int64_t>();
  request.asked_ms = value["askedMs"].get<std::int64_t>();
  request.expires_ms = value["expiresMs"].get<std::int64_t>();
  return request;
}

// Sorted, so that every process takes the answers in one order.
Result<std::vector<std::string>> list(const std::string& folder, std::string_view ending) {
  std::vector<std::string> names;
  std::error_code failed;
  for (fs::directory_iterator at(folder, failed), end; !failed && at != end; at.increment(failed)) {
    std::string name = at->path().filename();
    if (name.ends_with(ending)) names.push_back(std::move(name));
    if (names.size() > files_max) {
      return Err(Code::exhausted, folder + " has more than " + std::to_string(files_max) +
                                      " files; move old ones away");
    }
  }
  if (failed) return Err(Code::unavailable, "cannot read " + folder + ": " + failed.message());
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace

Result<ApprovalFolder> ApprovalFolder::open(const std::string& folder, const std::string& approvers,
                                            std::int64_t now_ms, ApprovalDesk::Options options) {
  std::error_code failed;
  fs::create_directories(folder, failed);
  if (failed) return Err(Code::denied, "cannot make " + folder + ": " + failed.message());
  ::chmod(folder.c_str(), 0700);
  const auto keys = TRY(read_approvers(approvers));
  ApprovalFolder made(folder, keys, TRY(ApprovalDesk::create(keys, options)));
  TRY(made.load_requests());
  TRY(made.refresh(now_ms));
  return made;
}

Result<void> ApprovalFolder::load_requests() {
  for (const std::string& name : TRY(list(folder_, ".request.json"))) {
    if (std::binary_search(known_.begin(), known_.end(), name)) continue;
    auto text = io::read_file(folder_ + "/" + name, file_bytes_max);
    if (!text) return Err(std::move(text).error());
    auto request = request_from(*text);
    Result<void> kept;
    if (!request) {
      kept = Err(std::move(request).error());
    } else if (name != request->id + ".request.json") {
      kept = Err(Code::invalid, "the file's name is not the request's id");
    } else {
      kept = desk_.restore(*request);
    }
    if (!kept) refused_.push_back({name, kept.error().message});
    known_.insert(std::upper_bound(known_.begin(), known_.end(), name), name);
  }
  return {};
}

Result<ApprovalRequest> ApprovalFolder::ask(const agents::Action& action, std::string reason,
                                            std::int64_t needed, std::string id,
                                            std::int64_t now_ms, std::vector<ApprovalLevel> levels,
                                            std::int64_t lifetime_ms) {
  ApprovalRequest request = TRY(desk_.ask(action, std::move(reason), needed, std::move(id), now_ms,
                                          std::move(levels), lifetime_ms));
  const std::string name = request.id + ".request.json";
  TRY(io::write_file(folder_ + "/" + name,
                     to_json(request).dump(2, ' ', false, json::error_handler_t::replace) + "\n",
                     0600));
  known_.insert(std::upper_bound(known_.begin(), known_.end(), name), name);
  notices_.push_back({"approval.asked", dumped({{"action", request.action.id},
                                                {"approval", request.id},
                                                {"expiresMs", request.expires_ms},
                                                {"hash", request.hash},
                                                {"levels", levels_json(request)},
                                                {"needed", request.needed},
                                                {"reason", request.reason}})});
  return request;
}

void ApprovalFolder::note_refusal(const std::string& what, const std::string& approval,
                                  const Error& why) {
  // A folder full of bad answers must not fill the memory.
  if (notices_.size() >= files_max) return;
  notices_.push_back({"approval.refused",
                      dumped({{"approval", approval}, {"reason", why.message}, {"what", what}})});
}

std::vector<agents::Notice> ApprovalFolder::take_notices() {
  return std::exchange(notices_, {});
}

// Gives a note to the desk, and says what became of it.
Result<ApprovalState> ApprovalFolder::take_answer(std::string_view note, std::int64_t now_ms) {
  const auto parsed = log::Note::parse(note);
  const auto said =
      parsed ? parse_answer(parsed->text) : Result<ApprovalAnswer>(Err(parsed.error()));
  const std::string id = said ? said->request : "";
  auto state = desk_.answer(note, now_ms);
  if (!state) {
    note_refusal("answer", id, state.error());
    return state;
  }
  // The one whose signature is good: a note can carry other lines that claim anything.
  std::string who;
  for (const log::VerifierKey& key : keys_) {
    if (who.empty() && log::open_note(note, key)) who = key.name;
  }
  json body = {{"approval", id},         {"approvals", desk_.approvals(id)}, {"hash", said->hash},
               {"reason", said->reason}, {"state", to_string(*state)},       {"who", who}};
  if (const auto next = desk_.successor(id)) body["successor"] = *next;
  notices_.push_back({"approval.voted", dumped(body)});
  return state;
}

Result<ApprovalState> ApprovalFolder::answer(std::string_view note, std::int64_t now_ms) {
  auto taken = take_answer(note, now_ms);
  if (!taken) leave_refusal(note, taken.error(), now_ms);
  const ApprovalState state = TRY(std::move(taken));
  const std::string digest = log::to_hex(log::sha256(note)).substr(0, 16);
  const auto parsed = log::Note::parse(note);
  const auto said = parsed ? parse_answer(parsed->text) : Result<ApprovalAnswer>();
  if (!said) return Err(Error(said.error()));
  // The time first, so that the order of the names is the order of the answers.
  std::string time = std::to_string(std::max<std::int64_t>(0, now_ms));
  time.insert(0, 16 - std::min<std::size_t>(16, time.size()), '0');
  const std::string name = said->request + "." + time + "." + digest + ".answer";
  TRY(io::write_file(folder_ + "/" + name, note, 0600));
  known_.insert(std::upper_bound(known_.begin(), known_.end(), name), name);
  return state;
}

// For the process that keeps the record: an answer that did not count, and why. Best effort, and
// bounded: a folder full of refusals must not fill the disk.
void ApprovalFolder::leave_refusal(std::string_view note, const Error& why, std::int64_t now_ms) {
  const auto others = list(folder_, ".refused");
  if (!others || others->size() >= refusals_max) return;
  const auto parsed = log::Note::parse(note);
  const auto said =
      parsed ? parse_answer(parsed->text) : Result<ApprovalAnswer>(Err(parsed.error()));
  const json body = {{"approval", said ? said->request : ""},
                     {"atMs", now_ms},
                     {"reason", why.message},
                     {"what", "answer"}};
  const std::string digest = log::to_hex(log::sha256({note, "\n", dumped(body)})).substr(0, 16);
  // It is told already here.
  const std::string name = digest + ".refused";
  known_.insert(std::upper_bound(known_.begin(), known_.end(), name), name);
  (void)io::write_file(folder_ + "/" + name, dumped(body), 0600);
}

void ApprovalFolder::take_refusals() {
  const auto names = list(folder_, ".refused");
  for (const std::string& name : names ? *names : std::vector<std::string>()) {
    if (std::binary_search(known_.begin(), known_.end(), name)) continue;
    known_.insert(std::upper_bound(known_.begin(), known_.end(), name), name);
    const auto text = io::read_file(folder_ + "/" + name, file_bytes_max);
    const json body = text ? json::parse(*text, nullptr, false) : json();
    if (!body.is_object()) continue;
    const auto said = [&body](const char* key) {
      return body.contains(key) && body[key].is_string() ? body[key].get<std::string>() : "";
    };
    note_refusal("answer", said("approval"), Error{Code::denied, said("reason")});
  }
}

Result<void> ApprovalFolder::refresh(std::int64_t now_ms) {
  TRY(load_requests());
  take_refusals();
  for (const std::string& name : TRY(list(folder_, ".answer"))) {
    if (std::binary_search(known_.begin(), known_.end(), name)) continue;
    known_.insert(std::upper_bound(known_.begin(), known_.end(), name), name);
    const auto note = io::read_file(folder_ + "/" + name, file_bytes_max);
    // An answer counts from when it was given, as its signer says, and never from later than now.
    const auto parsed = note ? log::Note::parse(*note) : Result<log::Note>(Err(note.error()));
    const auto said =
        parsed ? parse_answer(parsed->text) : Result<ApprovalAnswer>(Err(parsed.error()));
    const auto state = said ? take_answer(*note, std::min(now_ms, said->at_ms))
                            : Result<ApprovalState>(Err(said.error()));
    if (!said) note_refusal("answer", "", said.error());
    if (!state) refused_.push_back({name, state.error().message});
  }
  for (const std::string& name : TRY(list(folder_, ".used"))) {
    desk_.mark_used(name.substr(0, name.size() - 5));
  }
  return {};
}

Result<void> ApprovalFolder::use(const std::string& id, const agents::Action& action,
                                 std::int64_t now_ms, std::int64_t needed_least) {
  TRY(refresh(now_ms));
  auto used = desk_.use(id, action, now_ms, needed_least);
  if (used) used = mark_used(id);
  if (used) {
    notices_.push_back({"approval.used", dumped({{"action", action.id}, {"approval", id}})});
  } else {
    note_refusal("use", id, used.error());
  }
  return used;
}

Result<void> ApprovalFolder::mark_used(const std::string& id) const {
  // The file can be made once, whoever tries; it is on disk before anything is done.
  const std::string path = folder_ + "/" + id + ".used";
  const int file = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (file < 0 && errno == EEXIST) {
    return Err(Code::denied, "the approval " + id + " is used, so the action is not done");
  }
  const auto failed = [&](const char* what) {
    return Err(Code::unavailable,
               std::string(what) + path + ": " + std::strerror(errno) + "; the action is not done");
  };
  if (file < 0) return failed("cannot make ");
  const bool written = ::fsync(file) == 0;
  ::close(file);
  const int folder = ::open(folder_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const bool listed = folder >= 0 && ::fsync(folder) == 0;
  if (folder >= 0) ::close(folder);
  if (!written || !listed) return failed("cannot sync ");
  return {};
}

}  // namespace ambit::governance
