// Approvals: bound to one action, signed, once, in time, by enough people other than the requester.

#include "governance/approvals.h"

#include "governance/action_json.h"
#include "governance/approval_folder.h"
#include "io/file.h"

#include <catch2/catch.hpp>

#include <filesystem>
#include <unistd.h>

using namespace ambit;
using namespace ambit::governance;
namespace fs = std::filesystem;

namespace {

const std::string approval_id(32, 'a');

log::SignerKey key_of(const std::string& name, std::uint8_t seed = 0) {
  std::array<std::uint8_t, 32> bytes{};
  bytes[0] = seed != 0 ? seed : static_cast<std::uint8_t>(name[0]);
  return *log::SignerKey::from_seed(name, bytes);
}

agents::Action refund(const std::string& arguments = R"({"amount":40,"to":"bob"})") {
  agents::Action action;
  action.id = "r/s/3";
  action.agent = "clerk";
  action.tool = "refund";
  action.arguments = arguments;
  action.on_behalf_of = "ada";
  action.run = "r";
  action.session = "s";
  return action;
}

ApprovalDesk desk(ApprovalDesk::Options options = {}) {
  auto made = ApprovalDesk::create(
      {key_of("ada").verifier(), key_of("eve").verifier(), key_of("max").verifier()}, options);
  if (!made) FAIL(made.error().message);
  return std::move(*made);
}

std::string said(const ApprovalRequest& request, Answer answer, const std::string& who,
                 const std::string& arguments = "") {
  return sign({request.id, request.hash, answer, "seen", arguments, request.asked_ms + 1},
              key_of(who));
}

std::string why(const Result<void>& result) {
  return result ? "done" : result.error().message;
}
std::string why(const Result<ApprovalState>& result) {
  return result ? std::string(to_string(*result)) : result.error().message;
}

struct Folder {
  std::string path = "/tmp/ambit-approvals-" + std::to_string(::getpid());
  Folder() {
    fs::remove_all(path);
    fs::create_directories(path);
  }
  ~Folder() { fs::remove_all(path); }
};

}  // namespace

TEST_CASE("an approved action is done once", "[approvals]") {
  ApprovalDesk made = desk();
  const auto request = made.ask(refund(), "over 30", 1, approval_id, 1000);
  REQUIRE(request);
  CHECK(made.pending(1000).size() == 1);
  CHECK(why(made.use(approval_id, refund(), 1001)).find("is pending") != std::string::npos);
  CHECK(why(made.answer(said(*request, Answer::approve, "eve"), 1002)) == "approved");
  CHECK(made.pending(1002).empty());
  CHECK(why(made.use(approval_id, refund(), 1003)) == "done");
  CHECK(why(made.use(approval_id, refund(), 1004)) ==
        "the approval " + approval_id + " is used, so the action is not done");
}

TEST_CASE("an approval does not cover another action", "[approvals]") {
  ApprovalDesk made = desk();
  const auto request = made.ask(refund(), "", 1, approval_id, 0);
  REQUIRE(request);
  REQUIRE(made.answer(said(*request, Answer::approve, "eve"), 1));
  CHECK_THAT(why(made.use(approval_id, refund(R"({"amount":41,"to":"bob"})"), 2)),
             Catch::Contains("approval_action_mismatch"));
  agents::Action other = refund();
  other.id = "r/s/4";
  CHECK_THAT(why(made.use(approval_id, other, 2)), Catch::Contains("approval_action_mismatch"));
  // Another order of the same arguments is the same action.
  CHECK(why(made.use(approval_id, refund(R"({ "to":"bob", "amount":40 })"), 3)) == "done");
}

TEST_CASE("no answer in time is a no", "[approvals]") {
  ApprovalDesk made = desk({1000, 10});
  const auto request = made.ask(refund(), "", 1, approval_id, 0);
  REQUIRE(request);
  CHECK(made.state(approval_id, 999) == ApprovalState::pending);
  CHECK(made.state(approval_id, 1000) == ApprovalState::expired);
  CHECK(why(made.answer(said(*request, Answer::approve, "eve"), 1000)) ==
        "the approval " + approval_id + " is expired already");
  CHECK_FALSE(made.use(approval_id, refund(), 1001));
  const std::string second(32, 'b');
  const auto early = made.ask(refund(), "", 1, second, 0);
  REQUIRE(made.answer(said(*early, Answer::approve, "eve"), 500));
  CHECK_FALSE(made.use(second, refund(), 1000));
}

TEST_CASE("forged, altered and foreign answers are refused", "[approvals]") {
  ApprovalDesk made = desk();
  const auto request = made.ask(refund(), "", 1, approval_id, 0);
  REQUIRE(request);
  const std::string good = said(*request, Answer::deny, "eve");
  std::string altered = good;
  altered.replace(altered.find("answer deny"), 11, "answer approve");
  CHECK_THAT(why(made.answer(altered, 1)), Catch::Contains("no good signature"));
  CHECK_THAT(why(made.answer(said(*request, Answer::approve, "stranger"), 1)),
             Catch::Contains("no good signature"));
  // The right name with another key.
  const ApprovalAnswer plain{request->id, request->hash, Answer::approve, "", "", 1};
  CHECK_THAT(why(made.answer(sign(plain, key_of("eve", 9)), 1)),
             Catch::Contains("no good signature"));
  ApprovalAnswer other = plain;
  other.hash = *action_hash(refund("{}"));
  CHECK_THAT(why(made.answer(sign(other, key_of("eve")), 1)), Catch::Contains("another action"));
  other = plain;
  other.request = std::string(32, 'f');
  CHECK_THAT(why(made.answer(sign(other, key_of("eve")), 1)),
             Catch::Contains("there is no approval"));
  other = plain;
  other.at_ms = -5;
  CHECK_THAT(why(made.answer(sign(other, key_of("eve")), 1)), Catch::Contains("older than"));
  CHECK_FALSE(made.answer("", 1));
  CHECK_FALSE(made.answer(key_of("eve").sign("ambit.approval/v1\nrequest x\n"), 1));
  CHECK(made.state(approval_id, 1) == ApprovalState::pending);
}

TEST_CASE("who asks cannot answer", "[approvals]") {
  ApprovalDesk made = desk();
  const auto request = made.ask(refund(), "", 1, approval_id, 0);
  REQUIRE(request);
  CHECK(why(made.answer(said(*request, Answer::approve, "ada"), 1)) ==
        "ada asked for this and cannot answer it too");
  CHECK(made.state(approval_id, 1) == ApprovalState::pending);
}

TEST_CASE("two of three means two people", "[approvals]") {
  ApprovalDesk made = desk();
  CHECK_FALSE(made.ask(refund(), "", 3, approval_id, 0));  // ada is the requester
  const auto request = made.ask(refund(), "", 2, approval_id, 0);
  REQUIRE(request);
  CHECK(why(made.answer(said(*request, Answer::approve, "eve"), 1)) == "pending");
  CHECK(made.approvals(approval_id) == 1);
  CHECK(why(made.answer(said(*request, Answer::approve, "eve"), 2)) ==
        "eve has answered this already");
  CHECK_FALSE(made.use(approval_id, refund(), 2));
  CHECK(why(made.answer(said(*request, Answer::approve, "max"), 3)) == "approved");
  CHECK(made.use(approval_id, refund(), 4));
  CHECK_FALSE(ApprovalDesk::create({key_of("eve", 7).verifier(), key_of("max", 7).verifier()}, {}));
}

TEST_CASE("one no is a no", "[approvals]") {
  ApprovalDesk made = desk();
  const auto request = made.ask(refund(), "", 2, approval_id, 0);
  REQUIRE(request);
  CHECK(why(made.answer(said(*request, Answer::deny, "eve"), 1)) == "denied");
  CHECK(why(made.answer(said(*request, Answer::approve, "max"), 2)) ==
        "the approval " + approval_id + " is denied already");
  CHECK_FALSE(made.use(approval_id, refund(), 3));
}

TEST_CASE("what is done already is not done again, if enough people say so", "[approvals]") {
  ApprovalDesk made = desk();
  const auto request = made.ask(refund(), "in doubt", 2, approval_id, 0);
  REQUIRE(request);
  CHECK(why(made.answer(said(*request, Answer::done, "eve"), 1)) == "pending");
  CHECK(why(made.answer(said(*request, Answer::approve, "max"), 2)) ==
        "eve says that it is done already; deny it where you cannot agree");
  CHECK_FALSE(made.use(approval_id, refund(), 3));
  CHECK(why(made.answer(said(*request, Answer::done, "max"), 4)) == "done");
  CHECK_FALSE(made.use(approval_id, refund(), 5));
  CHECK(made.pending(6).empty());
  // A yes first, and the other way round.
  ApprovalDesk other = desk();
  REQUIRE(other.ask(refund(), "in doubt", 2, approval_id, 0));
  REQUIRE(other.answer(said(*request, Answer::approve, "eve"), 1));
  CHECK_FALSE(other.answer(said(*request, Answer::done, "max"), 2));
  CHECK(why(other.answer(said(*request, Answer::deny, "max"), 3)) == "denied");
}

TEST_CASE("a modified action is a new one, and the old one can never be done", "[approvals]") {
  ApprovalDesk made = desk();
  const auto request = made.ask(refund(), "", 1, approval_id, 0);
  REQUIRE(request);
  const std::string less = R"({"amount":20,"to":"bob"})";
  CHECK_FALSE(made.answer(said(*request, Answer::modify, "eve", "[]"), 1));
  CHECK_FALSE(made.answer(said(*request, Answer::modify, "eve", refund().arguments), 1));
  CHECK(why(made.answer(said(*request, Answer::modify, "eve", less), 1)) == "superseded");
  CHECK_FALSE(made.use(approval_id, refund(), 2));
  CHECK_FALSE(made.use(approval_id, refund(less), 2));
  const auto next = made.successor(approval_id);
  REQUIRE(next);
  CHECK(made.request(*next)->action.arguments == less);
  CHECK(made.request(approval_id)->action.arguments == refund().arguments);
  CHECK_FALSE(made.use(*next, refund(), 2));
  CHECK(made.use(*next, refund(less), 2));
}

TEST_CASE("approvals outlive the process and are answered from another one", "[approvals]") {
  const Folder folder;
  const std::string keys = folder.path + "/approvers";
  REQUIRE(io::write_file(keys, "# people\n" + key_of("eve").verifier().text() + "\n" +
                                   key_of("ada").verifier().text() + "\n"));
  const std::string path = folder.path + "/approvals";
  auto runtime = ApprovalFolder::open(path, keys, 0);
  if (!runtime) FAIL(runtime.error().message);
  const auto request = runtime->ask(refund(), "over 30", 1, approval_id, 0);
  REQUIRE(request);
  auto cli = ApprovalFolder::open(path, keys, 5);
  REQUIRE(cli);
  REQUIRE(cli->desk().pending(5).size() == 1);
  CHECK(*action_hash(cli->desk().pending(5)[0].action) == *action_hash(refund()));
  CHECK(why(cli->answer(said(*request, Answer::approve, "eve"), 5)) == "approved");
  // A file that anybody can write is no approval.
  REQUIRE(io::write_file(path + "/" + approval_id + ".1.answer", "approved!"));
  auto restarted = ApprovalFolder::open(path, keys, 6);
  REQUIRE(restarted);
  CHECK(restarted->refused().size() == 1);
  CHECK(why(restarted->use(approval_id, refund("{}"), 7)).find("mismatch") != std::string::npos);
  CHECK(why(restarted->use(approval_id, refund(), 7)) == "done");
  CHECK(why(runtime->use(approval_id, refund(), 8)).find("is used") != std::string::npos);
  auto third = ApprovalFolder::open(path, keys, 9);
  REQUIRE(third);
  CHECK(why(third->use(approval_id, refund(), 9)).find("is used") != std::string::npos);
}

TEST_CASE("a request that was altered on disk is not taken up", "[approvals]") {
  const Folder folder;
  const std::string keys = folder.path + "/approvers";
  REQUIRE(io::write_file(keys, key_of("eve").verifier().text() + "\n"));
  const std::string path = folder.path + "/approvals";
  REQUIRE(ApprovalFolder::open(path, keys, 0)->ask(refund(), "", 1, approval_id, 0));
  const std::string file = path + "/" + approval_id + ".request.json";
  std::string text = *io::read_file(file, 1 << 20);
  const std::size_t at = text.rfind("\\\"amount\\\":40");
  REQUIRE(at != std::string::npos);
  text.replace(at, 13, "\\\"amount\\\":99");
  REQUIRE(io::write_file(file, text));
  const auto again = ApprovalFolder::open(path, keys, 1);
  REQUIRE(again);
  CHECK(again->desk().pending(1).empty());
  REQUIRE(again->refused().size() == 1);
  CHECK(again->refused()[0].why == "the request's hash is not that of its action");
}

TEST_CASE("an action goes through JSON unchanged, and its hash knows what matters", "[approvals]") {
  const std::string before = *action_hash(refund());
  agents::Action later = refund();
  later.left.tokens = 5;
  later.tainted = true;
  CHECK(*action_hash(later) == before);
  for (std::string agents::Action::* part :
       {&agents::Action::tool, &agents::Action::agent, &agents::Action::on_behalf_of,
        &agents::Action::tool_digest, &agents::Action::id}) {
    agents::Action other = refund();
    other.*part += "x";
    CHECK(*action_hash(other) != before);
  }
  CHECK_FALSE(action_hash(refund("{\"a\":1,\"a\":2}")));
}

TEST_CASE("who asked for the session cannot answer, and the agent's owner can", "[approvals]") {
  auto made = desk();
  agents::Action action = refund();
  action.requester = "max";  // ada answers for the agent, max started it
  const auto request = made.ask(action, "large", 1, approval_id, 0);
  REQUIRE(request);
  CHECK_THAT(made.answer(said(*request, Answer::approve, "max"), 2).error().message,
             Catch::Contains("asked for this and cannot answer it too"));
  CHECK(made.answer(said(*request, Answer::approve, "ada"), 2));
  // The person is part of what is approved.
  agents::Action other = action;
  other.requester = "eve";
  CHECK_THAT(made.use(approval_id, other, 3).error().message,
             Catch::Contains("approval_action_mismatch"));
  CHECK(made.use(approval_id, action, 3));
}

TEST_CASE("a request can end sooner than the fleet's do, never later", "[approvals]") {
  ApprovalDesk::Options options;
  options.lifetime_ms = 1000;
  auto made = desk(options);
  CHECK(made.ask(refund(), "x", 1, std::string(32, 'b'), 0, {}, 100)->expires_ms == 100);
  CHECK(made.ask(refund(), "x", 1, std::string(32, 'c'), 0, {}, 9000)->expires_ms == 1000);
  CHECK(made.ask(refund(), "x", 1, std::string(32, 'd'), 0)->expires_ms == 1000);
}

TEST_CASE("an answer that another process refused is told to the one that keeps the record",
          "[approvals]") {
  const fs::path folder = fs::temp_directory_path() / ("refusals-" + std::to_string(::getpid()));
  fs::create_directories(folder);
  const std::string approvers = folder / "approvers";
  REQUIRE(io::write_file(
      approvers, key_of("ada").verifier().text() + "\n" + key_of("eve").verifier().text() + "\n",
      0600));
  auto runtime = ApprovalFolder::open(folder / "approvals", approvers, 0);
  REQUIRE(runtime);
  const auto request = runtime->ask(refund(), "large", 1, approval_id, 0);
  REQUIRE(request);
  (void)runtime->take_notices();
  auto tool = ApprovalFolder::open(folder / "approvals", approvers, 1);
  REQUIRE(tool);
  CHECK_FALSE(tool->answer(said(*request, Answer::approve, "ada"), 2));  // the requester
  CHECK_FALSE(tool->answer("no note", 3));
  REQUIRE(runtime->refresh(4));
  std::string told;
  for (const agents::Notice& notice : runtime->take_notices()) told += notice.type + notice.body;
  CHECK_THAT(told, Catch::Contains("approval.refused"));
  CHECK_THAT(told, Catch::Contains("cannot answer it too"));
  CHECK_THAT(told, Catch::Contains("no good signature"));
  REQUIRE(runtime->refresh(5));
  CHECK(runtime->take_notices().empty());
  fs::remove_all(folder);
}
