#include "app/options.h"

#include <catch2/catch.hpp>

namespace ambit::app {
namespace {

const std::vector<OptionSpec> known_specs = {
    {"json", "", ""}, {"seed", "N", ""}, {"state", "DIR", ""}};

Result<Options> parse(const std::vector<std::string>& words) {
  return Options::parse(words, known_specs, 1, 2);
}

}  // namespace

TEST_CASE("flags stand anywhere, with a space or an equals sign", "[app]") {
  const auto options = parse({"--seed", "7", "fleet.json", "--state=x y", "--json"});
  REQUIRE(options);
  CHECK(options->flag("json"));
  CHECK(options->text("state") == "x y");
  CHECK(options->integer("seed", 0, 0, 9).value() == 7);
  CHECK(options->positional() == std::vector<std::string>{"fleet.json"});
}

TEST_CASE("a wrong command line is one error with the right word", "[app]") {
  const std::pair<std::vector<std::string>, const char*> cases[] = {
      {{"a", "--jsn"}, "there is no flag --jsn; did you mean --json?"},
      {{"a", "--seed"}, "--seed needs a value: --seed N"},
      {{"a", "--json=1"}, "--json takes no value"},
      {{}, "an argument is missing"},
      {{"a", "b", "c"}, "one argument too many: \"c\""},
      {{"a", "-j"}, "there are no short flags: \"-j\""},
  };
  for (const auto& [words, message] : cases) CHECK(parse(words).error().message == message);
  CHECK(parse({"a", "--seed", "x"})->integer("seed", 0, 0, 9).error().message ==
        "--seed must be a whole number from 0 to 9, not \"x\"");
  CHECK(parse({"--", "-a", "--json"})->positional() == std::vector<std::string>{"-a", "--json"});
}

}  // namespace ambit::app
