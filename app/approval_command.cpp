// ambit pending | approve | deny, and ambit approver new: people answer what the fleet asks them.

#include "app/audit_options.h"
#include "app/command.h"
#include "governance/action_json.h"
#include "governance/approval_folder.h"
#include "io/file.h"

#include <nlohmann/json.hpp>
#include <sys/random.h>
#include <sys/stat.h>

#include <array>
#include <ctime>

namespace ambit::app {
namespace {

using Json = nlohmann::ordered_json;
using governance::Answer;
using governance::ApprovalFolder;
using governance::ApprovalRequest;

Result<ApprovalFolder> open_folder(const Options& options, const Context& context) {
  const std::string state = state_of(options, context);
  const std::string approvers = options.flag("approvers")
                                    ? absolute(context, options.text("approvers"))
                                    : state + "/approvers";
  auto folder = ApprovalFolder::open(state + "/approvals", approvers, now_ms());
  if (!folder) {
    return Err(std::move(folder).error().context(
        "approvals need a file of approvers' keys (ambit approver new makes one)"));
  }
  return folder;
}

std::string seconds_left(const ApprovalRequest& request) {
  return std::to_string((request.expires_ms - now_ms()) / 1000) + " s";
}

// Everything that would be done, uncut: nobody approves what was not shown.
void print_request(const ApprovalRequest& request, std::int64_t approvals) {
  const agents::Action& action = request.action;
  print(request.id + "  expires in " + seconds_left(request) + ", " + std::to_string(approvals) +
        " of " + std::to_string(request.needed) + " approvals\n");
  print("  agent      " + action.agent + " for " + action.on_behalf_of + "\n");
  print("  action     " + std::string(to_string(action.kind)) + " " + action.tool +
        (action.destructive ? ", destructive" : "") + (action.tainted ? ", tainted" : "") + "\n");
  print("  arguments  " + action.arguments + "\n");
  print("  why asked  " + request.reason + "\n");
  print("  hash       " + request.hash + "\n\n");
}

Result<int> pending(const Options& options, const Context& context) {
  const ApprovalFolder folder = TRY(open_folder(options, context));
  const auto requests = folder.desk().pending(now_ms());
  for (const ApprovalRequest& request : requests) {
    const std::int64_t approvals = folder.desk().approvals(request.id);
    if (!options.flag("json")) {
      print_request(request, approvals);
      continue;
    }
    const Json out = {{"id", request.id},
                      {"hash", request.hash},
                      {"reason", request.reason},
                      {"needed", request.needed},
                      {"approvals", approvals},
                      {"expiresMs", request.expires_ms},
                      {"action", Json::parse(governance::to_json(request.action).dump())}};
    print(out.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n");
  }
  if (requests.empty() && !options.flag("json")) print("nothing waits for an answer\n");
  return 0;
}

Result<log::SignerKey> read_key(const Options& options, const Context& context) {
  if (!options.flag("key")) {
    return Err(Code::invalid, "--key FILE is needed: the private key that you answer with");
  }
  const std::string path = absolute(context, options.text("key"));
  struct stat found{};
  if (::stat(path.c_str(), &found) == 0 && (found.st_mode & 077) != 0) {
    return Err(Code::denied, path + " can be read by others, so it proves nothing; chmod 600 it");
  }
  std::string text = TRY(io::read_file(path, 1 << 16));
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r')) text.pop_back();
  auto key = log::SignerKey::parse(text);
  if (!key) return Err(std::move(key).error().context(path));
  return key;
}

// The one pending request whose id starts with what was said.
Result<ApprovalRequest> find_request(const ApprovalFolder& folder, const std::string& said) {
  std::vector<ApprovalRequest> found;
  for (const ApprovalRequest& request : folder.desk().pending(now_ms())) {
    if (!said.empty() && request.id.starts_with(said)) found.push_back(request);
  }
  if (found.size() == 1) return found.front();
  if (!found.empty()) return Err(Code::invalid, "\"" + said + "\" begins several ids; say more");
  const auto state = folder.desk().state(said, now_ms());
  if (state) return Err(Code::conflict, "that approval is " + std::string(to_string(*state)));
  return Err(Code::not_found, "nothing pending has the id " + said + " (see: ambit pending)");
}

Result<int> answer(const Options& options, const Context& context, Answer kind) {
  if (kind == Answer::approve && options.flag("arguments")) kind = Answer::modify;
  if (kind != Answer::deny && options.flag("done")) {
    if (kind == Answer::modify) {
      return Err(Code::invalid, "--done takes no --arguments: nothing is done any more");
    }
    kind = Answer::done;
  }
  const log::SignerKey key = TRY(read_key(options, context));
  ApprovalFolder folder = TRY(open_folder(options, context));
  const ApprovalRequest request = TRY(find_request(folder, options.positional()[0]));
  // Without a reason it is a reflex, and a record of it says nothing.
  if (options.text("reason").empty()) {
    return Err(Code::invalid, "--reason TEXT is needed; the record keeps it");
  }
  const governance::ApprovalAnswer said{
      request.id, request.hash, kind, options.text("reason"), options.text("arguments"), now_ms()};
  const auto state = TRY(folder.answer(sign(said, key), now_ms()));
  print(request.id + " is " + std::string(to_string(state)) + "\n");
  if (const auto next = folder.desk().successor(request.id)) {
    print("the modified action is " + *next + ", " +
          std::string(to_string(*folder.desk().state(*next, now_ms()))) + "\n");
  }
  return 0;
}

Result<int> new_approver(const Options& options, const Context& context) {
  const std::string& name = options.positional()[0];
  const std::string path = absolute(context, options.positional()[1]);
  struct stat found{};
  if (::lstat(path.c_str(), &found) == 0) {
    return Err(Code::conflict, path + " exists already; a key is never overwritten");
  }
  std::array<std::uint8_t, 32> seed{};
  if (::getrandom(seed.data(), seed.size(), 0) != static_cast<ssize_t>(seed.size())) {
    return Err(Code::unavailable, "there is no randomness for a key");
  }
  const log::SignerKey key = TRY(log::SignerKey::from_seed(name, seed));
  TRY(io::write_file(path, key.text() + "\n", 0600));
  print(key.verifier().text() + "\n");
  return 0;
}

const OptionSpec approvers_option = {"approvers", "FILE",
                                     "the approvers' public keys; DIR/approvers if not said"};
const OptionSpec key_option = {"key", "FILE", "your private key (ambit approver new)"};
const OptionSpec reason_option = {"reason", "TEXT", "why; goes into the record"};

}  // namespace

Command pending_command() {
  return {"pending",
          "",
          "the actions that wait for a person, with everything they would do",
          {state_option(), approvers_option, {"json", "", "one JSON object a line"}},
          0,
          0,
          [](const Options& options, const Context& context) {
            return status(pending(options, context));
          }};
}

Command approve_command() {
  return {
      "approve",
      "ID",
      "say yes to one pending action, once; --arguments approves it with others instead",
      {key_option,
       reason_option,
       {"arguments", "JSON", "do it with these arguments: a new action, the old one is dead"},
       {"done", "", "it is done already: not again, and the agent goes on as if it had done it"},
       state_option(),
       approvers_option},
      1,
      1,
      [](const Options& options, const Context& context) {
        return status(answer(options, context, Answer::approve));
      }};
}

Command deny_command() {
  return {"deny",
          "ID",
          "say no to one pending action",
          {key_option, reason_option, state_option(), approvers_option},
          1,
          1,
          [](const Options& options, const Context& context) {
            return status(answer(options, context, Answer::deny));
          }};
}

Command approver_new_command() {
  return {"approver new",
          "NAME FILE",
          "make a person's private key; prints the line for the file of approvers",
          {},
          2,
          2,
          [](const Options& options, const Context& context) {
            return status(new_approver(options, context));
          }};
}

}  // namespace ambit::app
