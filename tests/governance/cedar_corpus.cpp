// Replays the public conformance corpus of the Cedar language: the decision, the determining
// policies and the policies in error must be equal. The small sample lies in tests/data/cedar; the
// whole corpus is read from the shared folder where there is one, and skipped aloud where not.

#include "cedar/policy_set.h"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iostream>
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
