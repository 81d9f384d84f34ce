// Replays the public conformance corpus of the Cedar language: the decision, the determining
// policies and the policies in error must be equal, from the text and from the JSON form, and the
// validator's verdict too. The small sample lies in tests/data/cedar; the whole corpus is read from
// the shared folder where there is one, and skipped aloud where not.

#include "cedar/est.h"
#include "cedar/policy_set.h"
#include "cedar/validate.h"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iostream>
#include <map>
#include <sstream>
#include <zlib.h>

namespace fs = std::filesystem;
using ambit::cedar::Answer;
using ambit::cedar::Entities;
using ambit::cedar::EntityUid;
using ambit::cedar::Policy;
using ambit::cedar::PolicySet;
using ambit::cedar::Request;
using nlohmann::json;

namespace {

struct Tally {
  std::size_t requests = 0;
  std::size_t passed = 0;
  std::vector<std::string> failures;  // the first few
  void add(bool ok, const std::string& what) {
    ++requests;
    passed += ok ? 1 : 0;
    if (!ok && failures.size() < 12) failures.push_back(what);
  }
};

fs::path shared_folder() {
  const char* given = std::getenv("AMBIT_SHARED");
  return given != nullptr ? fs::path(given) : fs::path(PROJECT_ROOT) / ".." / "shared";
}

std::string read_file(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

// Calls `visit` for each line of a text file, compressed or not.
void for_each_line(const fs::path& path, const std::function<void(const std::string&)>& visit) {
  gzFile file = gzopen(path.c_str(), "rb");
  REQUIRE(file != nullptr);
  std::string line;
  std::vector<char> buffer(1U << 16);
  while (gzgets(file, buffer.data(), static_cast<int>(buffer.size())) != nullptr) {
    line += buffer.data();
    if (line.back() != '\n') continue;
    visit(line);
    line.clear();
  }
  if (!line.empty()) visit(line);
  gzclose(file);
}

EntityUid uid(const json& value) {
  return EntityUid{value["type"].get<std::string>(), value["id"].get<std::string>()};
}

std::vector<std::string> sorted(std::vector<std::string> names) {
  std::sort(names.begin(), names.end());
  return names;
}

void replay(const std::string& name, const PolicySet& set, const Entities& entities,
            const json& requests, Tally& tally) {
  for (const json& wanted : requests) {
    const auto context = ambit::cedar::value_from_json(wanted["context"].dump());
    const std::string what = name + ", " + wanted["description"].get<std::string>();
    if (!context) {
      tally.add(false, what + ": " + context.error().message);
      continue;
    }
    Request request =
        Request::make(uid(wanted["principal"]), uid(wanted["action"]), uid(wanted["resource"]));
    request.context = *context;
    const Answer answer = set.decide(request, entities);
    std::vector<std::string> reasons;
    for (const Policy* policy : answer.determining()) reasons.push_back(policy->id);
    std::vector<std::string> errors;
    for (const auto& error : answer.errors) errors.push_back(error.policy->id);
    const bool ok =
        (answer.allowed() ? "allow" : "deny") == wanted["decision"].get<std::string>() &&
        sorted(reasons) == sorted(wanted["reason"].get<std::vector<std::string>>()) &&
        sorted(errors) == sorted(wanted["errors"].get<std::vector<std::string>>());
    tally.add(ok, what + (answer.errors.empty() ? "" : ": " + answer.errors[0].message));
  }
}

void run_case(const std::string& name, const std::string& policies, const std::string& entities,
              const json& requests, Tally& tally) {
  ambit::cedar::Limits limits;
  limits.arguments_counted = false;
  auto parsed = ambit::cedar::parse_policies(policies, name, limits);
  if (!parsed) return tally.add(false, parsed.error().message);
  auto list = ambit::cedar::entities_from_json(entities);
  if (!list) return tally.add(false, name + " entities " + list.error().message);
  auto store = Entities::create(std::move(*list));
  if (!store) return tally.add(false, name + ": " + store.error().message);
  const auto set = PolicySet::create(std::move(*parsed));
  if (!set) return tally.add(false, set.error().message);
  replay(name, *set, *store, requests, tally);
}

void run_lines(const fs::path& path, Tally& tally) {
  for_each_line(path, [&tally](const std::string& line) {
    const json test = json::parse(line);
    run_case(test["id"].get<std::string>(), test["text"].get<std::string>(),
             test["entities"].dump(), test["test"]["requests"], tally);
  });
}

// The same policy from its JSON form, and from the JSON form that we write.
void run_json_forms(const fs::path& path, Tally& given, Tally& written) {
  for_each_line(path, [&](const std::string& line) {
    const json test = json::parse(line);
    const std::string name = test["id"].get<std::string>();
    const json& requests = test["test"]["requests"];
    ambit::cedar::Limits limits;
    limits.arguments_counted = false;
    auto list = ambit::cedar::entities_from_json(test["entities"].dump());
    REQUIRE(list);
    const auto entities = Entities::create(std::move(*list));
    REQUIRE(entities);
    const auto run = [&](ambit::Result<std::vector<Policy>> policies, Tally& tally) {
      if (!policies) return tally.add(false, policies.error().message);
      const auto set = PolicySet::create(std::move(*policies));
      if (!set) return tally.add(false, set.error().message);
      replay(name, *set, *entities, requests, tally);
    };
    // Where a number of the policy is beyond 53 bits, the JSON that is given has lost it.
    if (test.value("policies", json()).is_array() && !test.value("bigint_policy", false)) {
      run(ambit::cedar::parse_policies_json(test["policies"].dump(), name, limits), given);
    }
    const auto parsed = ambit::cedar::parse_policies(test["text"].get<std::string>(), name, limits);
    if (!parsed) return written.add(false, parsed.error().message);
    run(ambit::cedar::parse_policies_json(ambit::cedar::to_json(*parsed), name, limits), written);
  });
}

// "valid", "invalid", or why there is no verdict.
std::string verdict_of(const std::string& name, const std::string& policies,
                       const std::string& schema_text, std::string& why) {
  ambit::cedar::Limits limits;
  limits.arguments_counted = false;
  const auto schema = ambit::cedar::Schema::from_text(schema_text, name + ".cedarschema");
  if (!schema) return schema.error().message;
  const auto parsed = ambit::cedar::parse_policies(policies, name, limits);
  if (!parsed) return parsed.error().message;
  ambit::cedar::ValidateOptions options;
  options.inapplicable_is_error = true;  // as the version that the corpus is from
  const auto findings = ambit::cedar::validate(*parsed, *schema, options);
  for (const auto& finding : findings) {
    if (finding.error) why = to_text(finding);
  }
  return ambit::cedar::has_error(findings) ? "invalid" : "valid";
}

void check_verdict(const std::string& name, const std::string& policies, const std::string& schema,
                   bool valid, Tally& tally) {
  std::string why;
  const std::string ours = verdict_of(name, policies, schema, why);
  tally.add(ours == (valid ? "valid" : "invalid"),
            name + ": should be " + (valid ? "valid" : "invalid") + ", is " + ours + " " + why);
}

// The files of a tar archive that end in `ending`, by name without their folder.
std::map<std::string, std::string> files_of_tar(const fs::path& path, const std::string& ending) {
  gzFile file = gzopen(path.c_str(), "rb");
  REQUIRE(file != nullptr);
  std::map<std::string, std::string> files;
  std::string header(512, '\0');
  while (gzread(file, header.data(), 512) == 512 && header[0] != '\0') {
    const std::string name = fs::path(std::string(header.c_str())).filename();
    const std::size_t size = std::strtoul(header.substr(124, 12).c_str(), nullptr, 8);
    std::string content((size + 511) / 512 * 512, '\0');
    REQUIRE(gzread(file, content.data(), static_cast<unsigned>(content.size())) ==
            static_cast<int>(content.size()));
    content.resize(size);
    if (name.ends_with(ending)) files[name.substr(0, name.size() - ending.size())] = content;
  }
  gzclose(file);
  return files;
}

// The hand-written entities rely on a schema to tell references from records: mark them.
void mark_references(json& value) {
  if (value.is_object() && value.size() == 2 && value.contains("type") && value.contains("id")) {
    value = json{{"__entity", value}};
    return;
  }
  for (json& inner : value) {
    if (inner.is_structured()) mark_references(inner);
  }
}

void run_folder(const fs::path& root, Tally& tally) {
  for (const auto& entry : fs::recursive_directory_iterator(root / "tests")) {
    if (entry.path().extension() != ".json") continue;
    const json test = json::parse(read_file(entry.path()));
    json entities = json::parse(read_file(root / test["entities"].get<std::string>()));
    for (json& entity : entities) mark_references(entity["attrs"]);
    run_case(entry.path().lexically_relative(root),
             read_file(root / test["policies"].get<std::string>()), entities.dump(),
             test["requests"], tally);
  }
}

void report(const char* what, const Tally& tally) {
  for (const std::string& failure : tally.failures) std::cout << "  " << failure << "\n";
  std::cout << what << ": " << tally.passed << " of " << tally.requests << " requests passed\n";
}

}  // namespace

TEST_CASE("the sample of the Cedar corpus is decided as the reference decides it", "[cedar]") {
  Tally tally;
  run_lines(fs::path(TEST_DATA) / "cedar" / "corpus_sample.jsonl", tally);
  run_folder(fs::path(TEST_DATA) / "cedar", tally);
  report("cedar sample", tally);
  CHECK(tally.requests > 300);
  CHECK(tally.passed == tally.requests);
}

TEST_CASE("the whole Cedar corpus is decided as the reference decides it", "[cedar]") {
  const fs::path root = shared_folder() / "data" / "cedar";
  if (!fs::exists(root / "corpus_est.jsonl.gz")) {
    WARN("SKIPPED: no corpus in " << root
                                  << "; set AMBIT_SHARED to the folder that holds data/cedar");
    return;
  }
  Tally corpus;
  run_lines(root / "corpus_est.jsonl.gz", corpus);
  report("cedar corpus", corpus);
  Tally written;
  run_folder(root, written);
  report("cedar hand-written tests", written);
  CHECK(corpus.requests > 30'000);
  CHECK(corpus.passed == corpus.requests);
  CHECK(written.requests > 40);
  CHECK(written.passed == written.requests);
}

TEST_CASE("the sample is decided in the same way from the JSON form", "[cedar]") {
  Tally given;
  Tally written;
  run_json_forms(fs::path(TEST_DATA) / "cedar" / "corpus_sample.jsonl", given, written);
  report("cedar sample, JSON form", written);
  CHECK(written.requests > 300);
  CHECK(written.passed == written.requests);
}

TEST_CASE("the whole corpus is decided in the same way from the JSON form", "[cedar]") {
  const fs::path root = shared_folder() / "data" / "cedar";
  if (!fs::exists(root / "corpus_est.jsonl.gz")) {
    WARN("SKIPPED: no corpus in " << root);
    return;
  }
  Tally given;
  Tally written;
  run_json_forms(root / "corpus_est.jsonl.gz", given, written);
  report("cedar corpus, JSON form as given", given);
  report("cedar corpus, JSON form as we write it", written);
  CHECK(given.requests > 30'000);
  CHECK(given.passed == given.requests);
  CHECK(written.passed == written.requests);
}

TEST_CASE("the sample is validated as the reference validates it", "[cedar]") {
  Tally tally;
  for_each_line(fs::path(TEST_DATA) / "cedar" / "validator_sample.jsonl",
                [&tally](const std::string& line) {
                  const json test = json::parse(line);
                  check_verdict(test["id"], test["text"], test["schema"],
                                test["shouldValidate"].get<bool>(), tally);
                });
  report("cedar validator sample", tally);
  CHECK(tally.requests == 120);
  CHECK(tally.passed == tally.requests);
}

TEST_CASE("the whole corpus is validated as the reference validates it", "[cedar]") {
  const fs::path root = shared_folder() / "data" / "cedar";
  if (!fs::exists(root / "corpus-tests.tar.gz")) {
    WARN("SKIPPED: no corpus in " << root);
    return;
  }
  const auto schemas = files_of_tar(root / "corpus-tests.tar.gz", ".cedarschema");
  Tally tally;
  for_each_line(root / "corpus_est.jsonl.gz", [&](const std::string& line) {
    const json test = json::parse(line);
    const std::string name = test["id"].get<std::string>();
    const auto schema = schemas.find(name);
    if (schema == schemas.end()) return tally.add(false, name + ": no schema");
    check_verdict(name, test["text"].get<std::string>(), schema->second,
                  test["test"]["shouldValidate"].get<bool>(), tally);
  });
  for (const auto& entry : fs::recursive_directory_iterator(root / "tests")) {
    if (entry.path().extension() != ".json") continue;
    const json test = json::parse(read_file(entry.path()));
    check_verdict(entry.path().lexically_relative(root),
                  read_file(root / test["policies"].get<std::string>()),
                  read_file(root / test["schema"].get<std::string>()),
                  test["shouldValidate"].get<bool>(), tally);
  }
  report("cedar validator", tally);
  CHECK(tally.requests > 4'000);
  CHECK(tally.passed == tally.requests);
}
