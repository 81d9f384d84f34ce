// Agents' keys and mandates: a key an instance, tokens that only narrow, sets of keys that others
// can read; approvals that rise to the next level, and webhooks that tell of them.

#include "governance/identity.h"

#include "governance/approval_folder.h"
#include "governance/approval_webhook.h"
#include "io/file.h"

#include <catch2/catch.hpp>

#include <filesystem>
#include <random>
#include <unistd.h>

using namespace ambit;
using namespace ambit::governance;
namespace fs = std::filesystem;

namespace {

constexpr std::int64_t now = 1'800'000'000;

Mandate mandate(std::vector<std::string> actors = {"clerk"}) {
  return {"ada", std::move(actors),  {"ambit"}, {"read", "refund"},
          3,     {{"tokens", 1000}}, now + 600};
}

TokenVerifier verifier(const std::vector<const AgentIdentity*>& agents) {
  std::vector<TokenKey> keys;
  for (const AgentIdentity* agent : agents) keys.push_back(agent->key());
  TokenOptions options;
  options.audience = "ambit";
  options.single_use = true;
  return *TokenVerifier::create(std::move(keys), options);
}

std::string why(const Result<std::string>& result) {
  return result ? "issued" : result.error().message;
}

}  // namespace

TEST_CASE("each instance of an agent signs with a key of its own", "[identity]") {
  const auto first = AgentIdentity::create("ambit", "clerk", "run-1/clerk");
  const auto second = AgentIdentity::create("ambit", "clerk", "run-2/clerk");
  REQUIRE(first);
  REQUIRE(second);
  CHECK(first->key().id != second->key().id);
  CHECK(first->key().id == *thumbprint_of(first->key().pem));
  const auto token = first->issue(mandate(), "t1", now);
  REQUIRE(token);
  auto knows_first = verifier({&*first});
  auto knows_second = verifier({&*second});
  const auto claims = knows_first.verify(*token, now);
  REQUIRE(claims);
  CHECK(claims->actors == std::vector<std::string>{"clerk"});
  CHECK(mandate_of(*claims)->budget == std::map<std::string, std::int64_t>{{"tokens", 1000}});
  CHECK_FALSE(knows_second.verify(*token, now));
  CHECK_FALSE(knows_first.verify(*token, now));
  CHECK(why(first->issue(mandate({"other"}), "t2", now)) ==
        "an agent signs for itself: the first actor must be clerk");
}

TEST_CASE("what is handed on can only be narrower", "[identity]") {
  const auto boss = AgentIdentity::create("ambit", "boss", "r/boss");
  const auto clerk = AgentIdentity::create("ambit", "clerk", "r/clerk");
  REQUIRE(boss);
  REQUIRE(clerk);
  auto reader = verifier({&*boss, &*clerk});
  const auto held = reader.verify(*boss->issue(mandate({"boss"}), "t1", now), now);
  REQUIRE(held);
  const Mandate same = mandate({"clerk", "boss"});
  const auto handed = clerk->hand_on(*held, same, "t2", now);
  REQUIRE(handed);
  CHECK(reader.verify(*handed, now)->actors == std::vector<std::string>{"clerk", "boss"});
  const auto refused = [&](auto change) {
    Mandate more = same;
    change(more);
    return why(clerk->hand_on(*held, more, "t3", now));
  };
  const std::string start = "what is handed on would be wider than what was given: ";
  CHECK(refused([](Mandate& m) { m.scopes.push_back("wipe"); }) == start + "the scope wipe");
  CHECK(refused([](Mandate& m) { m.audience.push_back("bank"); }) == start + "the audience bank");
  CHECK(refused([](Mandate& m) { m.audience.clear(); }) == start + "it names no audience");
  CHECK(refused([](Mandate& m) { ++m.expires_at_s; }) == start + "it lives longer");
  CHECK(refused([](Mandate& m) { m.autonomy_level = 4; }) == start + "its autonomy level");
  CHECK(refused([](Mandate& m) { m.budget["tokens"] = 1001; }) == start + "the budget of tokens");
  CHECK(refused([](Mandate& m) { m.budget.clear(); }) == start + "the budget of tokens");
  CHECK(refused([](Mandate& m) { m.subject = "eve"; }) == start + "it is for another person");
  CHECK(refused([](Mandate& m) { m.actors = {"clerk"}; }) ==
        start + "its chain of actors does not go on from the given one");
  CHECK(refused([](Mandate& m) { m.budget["tokens"] = 10; }) == "issued");
}

TEST_CASE("a set of keys is read again as it was written", "[identity]") {
  const auto one = AgentIdentity::create("ambit", "clerk", "r/clerk");
  TokenKey rsa{"ambit", "r1", TokenAlgorithm::rs256, ""};
  rsa.pem = *public_key_of(*make_private_key(TokenAlgorithm::rs256));
  const auto text = jwks_of({one->key(), rsa});
  REQUIRE(text);
  CHECK(text->find("\"d\"") == std::string::npos);
  const auto keys = keys_from_jwks(*text, "ambit");
  REQUIRE(keys);
  REQUIRE(keys->size() == 2);
  CHECK((*keys)[0].pem == one->key().pem);
  CHECK((*keys)[1].pem == rsa.pem);
  CHECK(*thumbprint_of((*keys)[0].pem) == one->key().id);
  CHECK_FALSE(thumbprint_of("no key"));
}

TEST_CASE("mutated tokens are refused, every one of them", "[identity]") {
  const auto agent = AgentIdentity::create("ambit", "clerk", "r/clerk");
  REQUIRE(agent);
  TokenOptions options;
  options.audience = "ambit";
  auto reader = *TokenVerifier::create({agent->key()}, options);
  const std::string good = *agent->issue(mandate(), "t1", now);
  REQUIRE(reader.verify(good, now));
  std::mt19937_64 random(7);
  int taken = 0;
  for (int i = 0; i < 20'000; ++i) {
    std::string bad = good;
    for (std::uint64_t edits = 1 + random() % 3; edits > 0; --edits) {
      const std::size_t at = random() % bad.size();
      switch (random() % 4) {
        case 0:
          bad[at] = static_cast<char>(random());
          break;
        case 1:
          bad.erase(at, 1 + random() % 4);
          break;
        case 2:
          bad.insert(at, 1, ".=+/\0 eyJ"[random() % 9]);
          break;
        default:
          std::swap(bad[at], bad[random() % bad.size()]);
      }
      if (bad.empty()) bad = ".";
    }
    if (bad != good && reader.verify(bad, now)) ++taken;
  }
  CHECK(taken == 0);
}

namespace {

log::SignerKey person(const std::string& name) {
  std::array<std::uint8_t, 32> seed{};
  seed[0] = static_cast<std::uint8_t>(name[0]);
  return *log::SignerKey::from_seed(name, seed);
}

agents::Action payment() {
  agents::Action action;
  action.id = "r/s/1";
  action.agent = "clerk";
  action.on_behalf_of = "ada";
  action.tool = "pay";
  action.arguments = R"({"amount":40})";
  return action;
}

std::string yes(const ApprovalRequest& request, const std::string& who, std::int64_t at_ms) {
  return sign({request.id, request.hash, Answer::approve, "seen", "", at_ms}, person(who));
}

std::string state_or_why(const Result<ApprovalState>& result) {
  return result ? std::string(to_string(*result)) : result.error().message;
}

struct Folder {
  std::string path = "/tmp/ambit-levels-" + std::to_string(::getpid());
  Folder() {
    fs::remove_all(path);
    fs::create_directories(path);
  }
  ~Folder() { fs::remove_all(path); }
};

}  // namespace

TEST_CASE("an approval that nobody answers rises to the next level", "[approvals]") {
  auto desk = ApprovalDesk::create(
      {person("eve").verifier(), person("max").verifier(), person("zoe").verifier()}, {});
  REQUIRE(desk);
  const std::string id(32, 'b');
  const std::vector<ApprovalLevel> levels = {{{"eve"}, 0}, {{"max", "zoe"}, 60'000}};
  const auto request = desk->ask(payment(), "large", 1, id, 1000, levels);
  REQUIRE(request);
  CHECK(desk->level(id, 60'999) == 0);
  CHECK(desk->level(id, 61'000) == 1);
  CHECK(state_or_why(desk->answer(yes(*request, "max", 2000), 2000)) ==
        "this is not, or not yet, up to max");
  CHECK(state_or_why(desk->answer(yes(*request, "max", 61'000), 61'000)) == "approved");
  const auto bad = [&](std::vector<ApprovalLevel> some, std::int64_t needed = 1) {
    const auto asked = desk->ask(payment(), "x", needed, std::string(32, 'c'), 0, std::move(some));
    return asked ? "asked" : asked.error().message;
  };
  CHECK(bad({{{"nobody"}, 0}}) == "nobody is asked, and has no key among the approvers");
  const std::string order =
      "each level needs people and a time, in order, before the request expires";
  CHECK(bad({{{"eve"}, 10}, {{"max"}, 5}}) == order);
  CHECK(bad({{{}, 0}}) == order);
  CHECK(bad({{{"eve"}, 15 * 60'000}}) == order);
  CHECK_THAT(bad({{{"eve"}, 0}}, 2), Catch::Matchers::StartsWith("this needs 2 approvers, and 1"));
}

TEST_CASE("what becomes of an approval is told, refusals too", "[approvals]") {
  const Folder folder;
  REQUIRE(io::write_file(
      folder.path + "/approvers",
      person("eve").verifier().text() + "\n" + person("ada").verifier().text() + "\n", 0600));
  auto open = ApprovalFolder::open(folder.path + "/approvals", folder.path + "/approvers", 0);
  REQUIRE(open);
  const std::string id(32, 'd');
  const auto request = open->ask(payment(), "large", 1, id, 1000, {{{"eve"}, 0}, {{"ada"}, 500}});
  REQUIRE(request);
  CHECK_FALSE(open->use(id, payment(), 1500));                  // too early
  CHECK_FALSE(open->answer(yes(*request, "ada", 2000), 2000));  // the requester
  CHECK_FALSE(open->answer("no note", 2000));                   // forged
  CHECK(open->answer(yes(*request, "eve", 2000), 2000));        // good
  CHECK_FALSE(open->answer(yes(*request, "eve", 2100), 2100));  // twice
  agents::Action altered = payment();
  altered.arguments = R"({"amount":4000})";
  CHECK_FALSE(open->use(id, altered, 2200));       // altered
  CHECK_FALSE(open->use(id, payment(), 2200, 2));  // policy asks for two by now
  CHECK(open->use(id, payment(), 2300));           // good
  CHECK_FALSE(open->use(id, payment(), 2400));     // replayed
  std::string types;
  std::string reasons;
  for (const agents::Notice& notice : open->take_notices()) {
    types += notice.type.substr(9) + " ";
    reasons += notice.body + "\n";
  }
  CHECK(types == "asked refused refused refused voted refused refused refused used refused ");
  for (const char* part :
       {"is pending", "asked for this and cannot answer it too", "no good signature",
        "approved already", "approval_action_mismatch", "2 are needed", "is used"}) {
    CHECK_THAT(reasons, Catch::Matchers::Contains(part));
  }
  CHECK(open->take_notices().empty());
  // The levels are still there after a restart.
  const auto again =
      ApprovalFolder::open(folder.path + "/approvals", folder.path + "/approvers", 3000);
  REQUIRE(again);
  CHECK(again->desk().request(id)->levels == request->levels);
}

TEST_CASE("an approval that is used late, or of an altered file, is refused", "[approvals]") {
  auto desk = ApprovalDesk::create({person("eve").verifier(), person("max").verifier()}, {});
  const auto request = desk->ask(payment(), "x", 2, std::string(32, 'e'), 0);
  REQUIRE(request);
  ApprovalRequest altered = *request;
  altered.needed = 1;  // as somebody who can write in the folder would have it
  auto other = ApprovalDesk::create({person("eve").verifier(), person("max").verifier()}, {});
  REQUIRE(other->restore(altered));
  REQUIRE(other->answer(yes(*request, "eve", 5), 5));
  const auto used = other->use(request->id, payment(), 6, 2);
  CHECK_FALSE(used);
  CHECK(used.error().message.find("2 are needed") != std::string::npos);
  REQUIRE(desk->answer(yes(*request, "eve", 5), 5));
  REQUIRE(desk->answer(yes(*request, "max", 5), 5));
  CHECK_FALSE(desk->use(request->id, payment(), request->expires_ms));
}

TEST_CASE("an answer without a reason does not count", "[approvals]") {
  auto desk = ApprovalDesk::create({person("eve").verifier()}, {});
  const auto request = desk->ask(payment(), "x", 1, std::string(32, 'a'), 0);
  REQUIRE(request);
  for (const char* reason : {"", "  ", "\n"}) {
    const ApprovalAnswer answer{request->id, request->hash, Answer::approve, reason, "", 1};
    CHECK(state_or_why(desk->answer(sign(answer, person("eve")), 1)) ==
          "the answer of eve has no reason; without one it is a reflex");
  }
  CHECK(desk->state(request->id, 2) == ApprovalState::pending);
}

TEST_CASE("a webhook tells all of the request, and its receiver can check it", "[approvals]") {
  const std::string secret = "0123456789abcdef0123456789abcdef";
  auto desk = ApprovalDesk::create({person("eve").verifier(), person("max").verifier()}, {});
  const std::string id(32, 'f');
  const auto request = desk->ask(payment(), "large", 1, id, 0, {{{"eve"}, 0}, {{"max"}, 1000}});
  REQUIRE(request);
  const auto first = webhook_of(*desk, id, secret, 500);
  const auto risen = webhook_of(*desk, id, secret, 1500);
  REQUIRE(first);
  REQUIRE(risen);
  CHECK_THAT(first->body, Catch::Matchers::Contains(R"("amount":40)") &&
                              Catch::Matchers::Contains(R"("people":["eve"])") &&
                              Catch::Matchers::Contains(request->hash));
  CHECK_THAT(risen->body, Catch::Matchers::Contains(R"("people":["max"])"));
  CHECK(check_webhook(*first, secret, 500));
  CHECK_FALSE(check_webhook(*first, secret, 500 + 301'000));
  CHECK_FALSE(check_webhook(*first, secret.substr(1), 500));
  WebhookMessage forged = *first;
  forged.body.replace(forged.body.find("40"), 2, "99");
  CHECK_FALSE(check_webhook(forged, secret, 500));
  CHECK_FALSE(webhook_of(*desk, id, "short", 0));
  CHECK_FALSE(webhook_of(*desk, "unknown", secret, 0));
}
