#include "agents/budget.h"

#include <catch2/catch.hpp>

namespace ambit::agents {

using std::chrono::milliseconds;

TEST_CASE("64 parallel calls against a budget for 10: exactly 10 get a reservation", "[agents]") {
  Ledger ledger("session a", Limits{-1, 10, -1, -1}, Instant{}, nullptr);
  int granted = 0;
  for (int n = 0; n < 64; ++n) granted += ledger.reserve(Cost{0, 1, 0}, Instant{}) ? 1 : 0;
  CHECK(granted == 10);
  for (int n = 0; n < 10; ++n) ledger.settle(Cost{0, 1, 0}, Cost{0, 1, 0});
  CHECK(ledger.reserve(Cost{0, 1, 0}, Instant{}).error() ==
        Error{Code::exhausted, "the limit maxToolCalls = 10 of session a is used up"});
}

TEST_CASE("what was reserved and not spent comes back", "[agents]") {
  Ledger ledger("session a", Limits{-1, -1, 100, -1}, Instant{}, nullptr);
  REQUIRE(ledger.reserve(Cost{0, 0, 100}, Instant{}));
  CHECK(ledger.left(Instant{}).tokens == 0);
  ledger.settle(Cost{0, 0, 100}, Cost{0, 0, 30});
  CHECK(ledger.left(Instant{}).tokens == 70);
}

TEST_CASE("a session cannot spend what its run has not left, and nothing is half booked",
          "[agents]") {
  Ledger run("run r", Limits{3, -1, -1, -1}, Instant{}, nullptr);
  Ledger one("session 1", Limits{2, -1, -1, -1}, Instant{}, &run);
  Ledger two("session 2", Limits{2, -1, -1, -1}, Instant{}, &run);
  CHECK(one.reserve(Cost{2, 0, 0}, Instant{}));
  CHECK(two.left(Instant{}).turns == 1);
  CHECK(two.reserve(Cost{2, 0, 0}, Instant{}).error().message ==
        "the limit maxTurns = 3 of run r is used up");
  CHECK(two.left(Instant{}).turns == 1);
  CHECK(two.reserve(Cost{1, 0, 0}, Instant{}));
}

TEST_CASE("wall time ends a session at its limit", "[agents]") {
  Ledger ledger("session a", Limits{-1, -1, -1, 50}, milliseconds(100), nullptr);
  CHECK(ledger.reserve(Cost{1, 0, 0}, milliseconds(149)));
  CHECK(ledger.left(milliseconds(120)).wall_ms == 30);
  CHECK(ledger.reserve(Cost{1, 0, 0}, milliseconds(150)).error().message ==
        "the limit maxWallTime = 50 ms of session a is used up");
}

TEST_CASE("a limit of zero tool calls means none", "[agents]") {
  Ledger ledger("session a", Limits{-1, 0, -1, -1}, Instant{}, nullptr);
  CHECK_FALSE(ledger.reserve(Cost{0, 1, 0}, Instant{}));
  CHECK(ledger.reserve(Cost{1, 0, 0}, Instant{}));
}

}  // namespace ambit::agents
