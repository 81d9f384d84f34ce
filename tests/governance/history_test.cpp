// History: recorded denials, the least grants that would have allowed them, and nothing else.

#include "governance/history.h"

#include "governance/difference.h"

#include <catch2/catch.hpp>

using namespace ambit;
using namespace ambit::governance;
using agents::Verdict;

namespace {

const std::string start =
    "@id(\"think\") permit(principal, action == Action::\"model_call\", resource);"
    "@id(\"never\") forbid(principal, action, resource == Tool::\"wipe\");";

std::unique_ptr<PolicyGuard> guard_of(const std::string& more = "") {
  auto guard = PolicyGuard::create({{"desk.cedar", start + more}}, {});
  if (!guard) FAIL(guard.error().message + "\n" + more);
  return std::move(*guard);
}

PastDecision denial(const std::string& tool, const std::string& arguments, bool tainted = false) {
  PastDecision past;
  past.action.agent = "clerk";
  past.action.tool = tool;
  past.action.arguments = arguments;
  past.action.tainted = tainted;
  past.index = 7;
  return past;
}

}  // namespace

TEST_CASE("the learned grants allow what was denied and little else", "[history]") {
  const auto guard = guard_of();
  Lessons lessons(*guard);
  std::vector<PastDecision> past;
  for (int i = 0; i < 12; ++i) {
    past.push_back(denial("read_file", "{\"path\":\"logs/*" + std::to_string(i) + ".log\"}"));
    past.push_back(denial("count", "{\"limit\":" + std::to_string(i * 10) + ",\"all\":true}"));
  }
  past.push_back(denial("open", R"({"door \"a\"":"front"})", true));
  past.push_back(denial("open", R"({"door \"a\"":"back","if":1})", true));
  for (const PastDecision& one : past) CHECK(lessons.add(one));
  CHECK(lessons.denials() == past.size());
  CHECK(lessons.grants() == 3);
  const auto taught = guard_of(lessons.cedar());
  for (const PastDecision& one : past) {
    INFO(one.action.tool + " " + one.action.arguments);
    CHECK(taught->decide(one.action).verdict == Verdict::allow);
  }
  for (const PastDecision& other :
       {denial("read_file", R"({"path":"/etc/shadow"})"),
        denial("read_file", R"({"path":"logs/x"})"),
        denial("read_file", R"({"path":"logs/*1.log"})", true), denial("read_file", "{}"),
        denial("count", R"({"limit":111,"all":true})"),
        denial("count", R"({"limit":0,"all":false})"), denial("open", R"({"door \"a\"":"side"})"),
        denial("open", R"({"door \"a\"":"back","if":2})"), denial("close", "{}")}) {
    INFO(other.action.tool + " " + other.action.arguments);
    CHECK(taught->decide(other.action).verdict == Verdict::deny);
  }
  PastDecision stranger = past.front();
  stranger.action.agent = "other";
  CHECK(taught->decide(stranger.action).verdict == Verdict::deny);
}

TEST_CASE("what a policy forbids, what is allowed by now and what a limit denied teach nothing",
          "[history]") {
  const auto guard = guard_of();
  Lessons lessons(*guard);
  CHECK(lessons.add(denial("wipe", "{}")));
  PastDecision model = denial("tiny", "");
  model.action.kind = agents::ActionKind::model_call;
  CHECK(lessons.add(model));
  PastDecision limited = denial("read_file", "{}");
  limited.decision.policies = {"think"};
  limited.decision.reason = "limit \"calls\": 1 calls wanted, 0 of 3 left";
  CHECK(lessons.add(limited));
  CHECK(lessons.cedar().empty());
  CHECK(lessons.denials() == 2);
  CHECK(lessons.forbidden() == std::map<std::string, std::size_t>{{"never", 1}});
}

TEST_CASE("a set that drops a condition on provenance or autonomy is found out", "[difference]") {
  const std::string pay = "permit(principal, action, resource == Tool::\"pay\");";
  const auto differs = [](const std::string& before, const std::string& after) {
    auto old_guard = PolicyGuard::create({{"old.cedar", before}}, {});
    auto new_guard = PolicyGuard::create({{"new.cedar", after}}, {});
    REQUIRE(old_guard);
    REQUIRE(new_guard);
    return compare(**old_guard, **new_guard).wider.size();
  };
  for (const char* condition :
       {"forbid(principal, action, resource) when { context.unvouched.contains(\"to\") };",
        "forbid(principal, action, resource) when { context.untrusted.containsAny([\"to\", "
        "\"cc\"]) };",
        "forbid(principal, action, resource) unless { context.provenance has to && "
        "context.provenance.to.trust == \"user\" };",
        "forbid(principal, action, resource) when { principal.autonomyLevel < 3 };"}) {
    INFO(condition);
    CHECK(differs(pay + condition, pay) > 0);
    CHECK(differs(pay, pay + condition) == 0);
    CHECK(differs(pay + condition, pay + condition) == 0);
  }
}
