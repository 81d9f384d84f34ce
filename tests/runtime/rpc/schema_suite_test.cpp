// The official cases (https://github.com/json-schema-org/JSON-Schema-Test-Suite) against our
// validator. Debian's package has draft-07; of draft2020-12 a part lies in tests/data/mcp, and the
// whole is used where CMake is told of a checkout (-DAMBIT_JSON_SCHEMA_SUITE=folder). What we do
// not support is listed here by name: a case outside the list that fails is a fault, and so is a
// listed one that has come to work.

#include "rpc/schema.h"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <map>
#include <set>
#include <string>
#include <vector>

namespace ambit::rpc {
namespace {

namespace fs = std::filesystem;

struct Score {
  int passed = 0;
  int unsupported = 0;  // Schema::unchecked() said so
  std::set<std::string> failed;
};

void run_file(const fs::path& path, Dialect dialect, Score& score) {
  std::ifstream file(path);
  const Json groups = Json::parse(std::string((std::istreambuf_iterator<char>(file)), {}));
  SchemaOptions options;
  options.dialect = dialect;
  for (const Json& group : groups) {
    const auto name = path.stem().string() + ": " + group["description"].get<std::string>();
    const auto schema = Schema::compile(group["schema"], options);
    for (const Json& test : group["tests"]) {
      const bool valid = test["valid"].get<bool>();
      if (schema && !schema->unchecked().empty()) {
        ++score.unsupported;
      } else if (schema && schema->validate(test["data"]).has_value() == valid) {
        ++score.passed;
      } else {
        score.failed.insert(name + ": " + test["description"].get<std::string>());
      }
    }
  }
}

std::map<std::string, Score> run_folder(const fs::path& folder, Dialect dialect) {
  std::map<std::string, Score> scores;
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.path().extension() != ".json") continue;
    run_file(entry.path(), dialect, scores[entry.path().stem().string()]);
  }
  return scores;
}

void judge(const std::map<std::string, Score>& scores, const std::set<std::string>& known_failures,
           const std::set<std::string>& unsupported_files, int passed_at_least) {
  int passed = 0;
  int unsupported = 0;
  std::set<std::string> failed;
  for (const auto& [keyword, score] : scores) {
    passed += score.passed;
    unsupported += score.unsupported;
    failed.insert(score.failed.begin(), score.failed.end());
    std::cout << "  " << keyword << ": " << score.passed << " passed, " << score.failed.size()
              << " failed, " << score.unsupported << " unsupported\n";
    INFO(keyword << " has cases that the validator says it cannot check");
    CHECK((score.unsupported == 0 || unsupported_files.contains(keyword)));
  }
  std::cout << "  all: " << passed << " passed, " << failed.size() << " failed, " << unsupported
            << " unsupported\n";
  CHECK(failed == known_failures);
  CHECK(passed >= passed_at_least);
}

}  // namespace

TEST_CASE("the official draft-07 cases pass", "[rpc]") {
  const fs::path folder = "/usr/share/json-schema-test-suite/tests/draft7";
  if (!fs::exists(folder)) {
    WARN("SKIPPED: " << folder << " is not there (apt install json-schema-test-suite)");
    return;
  }
  judge(run_folder(folder, Dialect::draft_07), {}, {"definitions", "ref", "refRemote"}, 390);
}

TEST_CASE("the official draft2020-12 cases pass", "[rpc]") {
  std::vector<fs::path> whole = {fs::path(PROJECT_ROOT) / "../shared/data/json-schema"};
#ifdef JSON_SCHEMA_SUITE
  whole.insert(whole.begin(), JSON_SCHEMA_SUITE);
#endif
  for (const fs::path& suite : whole) {
    const fs::path folder = suite / "tests/draft2020-12";
    if (!fs::exists(folder)) continue;
    // A decimal fraction of a number beyond 2^53, and a metaschema that switches validation off.
    const std::set<std::string> known = {
        "multipleOf: small multiple of large integer: any integer is a multiple of 1e-8",
        "vocabulary: schema that uses custom metaschema with with no validation vocabulary: no "
        "validation: invalid number, but it still validates"};
    judge(run_folder(folder, Dialect::draft_2020_12), known,
          {"anchor", "defs", "dynamicRef", "pattern", "patternProperties", "ref", "refRemote",
           "unevaluatedItems", "unevaluatedProperties", "vocabulary"},
          1200);
    return;
  }
  WARN("SKIPPED: the whole suite is not there; only the part in tests/data/mcp is run");
  judge(run_folder(fs::path(TEST_DATA) / "mcp/json-schema/tests/draft2020-12",
                   Dialect::draft_2020_12),
        {}, {"ref", "unevaluatedItems"}, 600);
}

}  // namespace ambit::rpc
