// ambit autonomy ask | raise: an agent's level rises by two people's word alone. `ask` puts the
// question where `ambit approve` finds it; `raise` takes the signed answers, checks them, and
// writes the new level and the certificate into the state folder.

#include "app/audit_options.h"
#include "app/command.h"
#include "governance/approval_folder.h"
#include "governance/autonomy.h"
#include "io/file.h"
#include "log/sha256.h"

#include <sys/random.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <ctime>
#include <filesystem>

namespace ambit::app {
namespace {

using governance::ApprovalFolder;
using governance::ApprovalRequest;
using governance::AutonomyLevels;

constexpr std::size_t file_bytes_max = 1U << 20;

Result<ApprovalFolder> open_folder(const std::string& state) {
  return ApprovalFolder::open(state + "/approvals", state + "/approvers", now_ms());
}

Result<AutonomyLevels> levels_in(const std::string& state) {
  const std::string path = state + "/autonomy.json";
  if (!std::filesystem::exists(path)) return AutonomyLevels();
  const std::string text = TRY(io::read_file(path, file_bytes_max));
  auto levels = AutonomyLevels::from_json(text);
  if (!levels) return Err(std::move(levels).error().context(path));
  return levels;
}

Result<int> ask(const Options& options, const Context& context) {
  const std::string& agent = options.positional()[0];
  const auto level = TRY(options.integer("level", 0, 2, 5));
  if (options.text("person").empty() || options.text("reason").empty()) {
    return Err(Code::invalid, "--person NAME (you) and --reason TEXT are needed");
  }
  const std::string state = state_of(options, context);
  const AutonomyLevels levels = TRY(levels_in(state));
  if (level <= levels.of(agent)) {
    return Err(Code::invalid,
               agent + " has the level " + std::to_string(levels.of(agent)) + " already");
  }
  std::array<std::uint8_t, 16> nonce{};
  if (::getrandom(nonce.data(), nonce.size(), 0) != static_cast<ssize_t>(nonce.size())) {
    return Err(Code::unavailable, "there is no randomness for an id");
  }
  const std::string id = log::to_hex({reinterpret_cast<const char*>(nonce.data()), nonce.size()});
  ApprovalFolder folder = TRY(open_folder(state));
  const agents::Action action =
      governance::autonomy_action(agent, level, options.text("person"), "autonomy/" + id);
  const ApprovalRequest request = TRY(folder.ask(action, options.text("reason"), 2, id, now_ms()));
  print(request.id + " waits for two people: ambit approve " + request.id + "\n");
  return 0;
}

// The signed answers to one request, as they lie in the folder.
Result<std::vector<std::string>> answers_to(const std::string& folder, const std::string& id) {
  std::vector<std::string> names;
  std::error_code failed;
  for (std::filesystem::directory_iterator at(folder, failed), end; !failed && at != end;
       at.increment(failed)) {
    std::string name = at->path().filename();
    if (name.starts_with(id + ".") && name.ends_with(".answer")) names.push_back(std::move(name));
  }
  if (failed) return Err(Code::unavailable, "cannot read " + folder + ": " + failed.message());
  std::sort(names.begin(), names.end());
  std::vector<std::string> notes;
  for (const std::string& name : names) {
    notes.push_back(TRY(io::read_file(folder + "/" + name, file_bytes_max)));
  }
  return notes;
}

Result<int> raise(const Options& options, const Context& context) {
  const std::string state = state_of(options, context);
  const std::string& id = options.positional()[0];
  ApprovalFolder folder = TRY(open_folder(state));
  const ApprovalRequest* request = folder.desk().request(id);
  if (request == nullptr) return Err(Code::not_found, "there is no approval " + id.substr(0, 64));
  AutonomyLevels levels = TRY(levels_in(state));
  const auto notes = TRY(answers_to(state + "/approvals", id));
  const std::string certificate = governance::autonomy_certificate(*request, notes);
  const agents::Notice notice = TRY(levels.raise(certificate, folder.approvers()));
  // Used up before it counts.
  const ApprovalRequest kept = *request;
  TRY(folder.use(id, kept.action, now_ms(), 2));
  TRY(io::write_file(state + "/approvals/" + id + ".certificate.json", certificate + "\n", 0600));
  TRY(io::write_file(state + "/autonomy.json", levels.to_json() + "\n", 0600));
  print(kept.action.agent + " has the level " + std::to_string(levels.of(kept.action.agent)) +
        " from the next start on\n");
  return 0;
}

}  // namespace

Command autonomy_ask_command() {
  return {
      "autonomy ask",
      "AGENT",
      "ask two people to raise an agent's autonomy level",
      {{"level", "N", "2 to 5"},
       {"person", "NAME", "who asks; cannot answer it"},
       {"reason", "TEXT", "why; they read it"},
       state_option()},
      1,
      1,
      [](const Options& options, const Context& context) { return status(ask(options, context)); }};
}

Command autonomy_raise_command() {
  return {"autonomy raise",
          "ID",
          "raise the level once two people have approved it, and keep their certificate",
          {state_option()},
          1,
          1,
          [](const Options& options, const Context& context) {
            return status(raise(options, context));
          }};
}

}  // namespace ambit::app
