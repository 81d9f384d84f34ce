#include "sandbox/runner.h"

#include "jail_fixture.h"

#include <catch2/catch.hpp>

namespace ambit::sandbox {
namespace {

using agents::JailCall;
using agents::JailOutcome;
using agents::OutcomeKind;

std::string told(const JailOutcome& outcome) {
  return std::string(agents::to_string(outcome.kind)) + ": " + outcome.detail + "\n" + outcome.output +
         outcome.errors;
}

TEST_CASE("a command runs in a jail and its output comes back", "[sandbox]") {
  Jails jails;
  const JailOutcome outcome = jails.run(shell("echo hello; echo oops >&2; exit 3"));
  INFO(told(outcome));
  CHECK(outcome.kind == OutcomeKind::ok);
  CHECK(outcome.exit_code == 3);
  CHECK(outcome.output == "hello\n");
  CHECK(outcome.errors == "oops\n");
}

}  // namespace
}  // namespace ambit::sandbox
