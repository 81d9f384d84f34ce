#include "../support/temporary_folder.h"
#include "evidence/bundle.h"
#include "evidence/facts.h"
#include "evidence/formats.h"
#include "log_fixture.h"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include <filesystem>
#include <fstream>
#include <sstream>

using ambit::TemporaryFolder;
using namespace ambit::evidence;
using ambit::log::Leaf;
using nlohmann::json;

namespace {

Leaf decided() {
  Leaf leaf;
  leaf.index = 7;
  leaf.unix_ns = 1'795'219'200'123'456'789;
  leaf.type = "action.decided";
  leaf.run = "run-1";
  leaf.session = "INC-7";
  leaf.agent = "clerk";
  leaf.body =
      R"({"action":"run-1/INC-7/3","kind":"tool_call","onBehalfOf":"ann","policies":["no-mail"],)"
      R"("policySet":"ab","reason":"mail is for people","tainted":true,"tool":"send_mail","verdict":"deny"})";
  return leaf;
}

Leaf ended(const std::string& type, const std::string& body) {
  Leaf leaf = decided();
  leaf.type = type;
  leaf.body = body;
  return leaf;
}

const Source source = {"ambit/log-1", std::string(64, 'a')};

json line(Format format, const Leaf& leaf) {
  Exporter exporter(format);
  return json::parse(exporter.line(leaf, source));
}

std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

}  // namespace

TEST_CASE("the facts of a record are found, and none in one that has none", "[evidence]") {
  const Facts facts = facts_of(decided());
  CHECK(facts.person == "ann");
  CHECK(facts.verdict == "deny");
  CHECK(facts.policies == std::vector<std::string>{"no-mail"});
  CHECK(facts.tainted);
  CHECK(gist(decided(), facts) == "deny send_mail by no-mail: mail is for people");
  const Facts nothing =
      facts_of(ended("x", R"({"tool":7,"policies":{},"usage":[],"verdict":null})"));
  CHECK(nothing.tool.empty());
  CHECK(nothing.policies.empty());
}

TEST_CASE("a denial in OCSF is a blocked API activity with the policy and the hash", "[evidence]") {
  const json out = line(Format::ocsf, decided());
  CHECK(out["class_uid"] == 6003);
  CHECK(out["type_uid"] == 600399);
  CHECK(out["time"] == 1'795'219'200'123);
  CHECK(out["action_id"] == 2);
  CHECK(out["disposition_id"] == 2);
  CHECK(out["severity_id"] == 4);
  CHECK(out["policy"]["name"] == "no-mail");
  CHECK(out["actor"]["user"]["name"] == "ann");
  CHECK(out["metadata"]["version"] == "1.8.0");
  CHECK(out["raw_data_hash"]["value"] == source.hash);
  CHECK(line(Format::ocsf, ended("session.ended", R"({"state":"failed"})"))["class_uid"] == 6002);
}

TEST_CASE("spans carry the names of GenAI and lie within their session's span", "[evidence]") {
  Exporter exporter(Format::otel);
  Leaf start = ended("session.started", "{}");
  CHECK(exporter.line(start, source).empty());
  Leaf turn = ended("turn.completed",
                    R"({"model":"m","usage":{"decodeUs":2000,"inputTokens":5,"outputTokens":3}})");
  turn.unix_ns += 5'000'000;
  const json chat = json::parse(exporter.line(turn, source));
  const json span = chat["resourceSpans"][0]["scopeSpans"][0]["spans"][0];
  CHECK(span["name"] == "chat m");
  CHECK(span["startTimeUnixNano"] == "1795219200126456789");
  CHECK(span["endTimeUnixNano"] == "1795219200128456789");
  CHECK(span["attributes"].dump().find("gen_ai.usage.output_tokens") != std::string::npos);
  const json end =
      json::parse(exporter.line(ended("session.ended", R"({"state":"completed"})"), source));
  const json root = end["resourceSpans"][0]["scopeSpans"][0]["spans"][0];
  CHECK(root["name"] == "invoke_agent clerk");
  CHECK(root["startTimeUnixNano"] == "1795219200123456789");
  CHECK(root["spanId"] == span["parentSpanId"]);
  CHECK(root["traceId"] == span["traceId"]);
  CHECK(root["traceId"].get<std::string>().size() == 32);
}

TEST_CASE("a CloudEvent has what version 1.0 asks for", "[evidence]") {
  const json out = line(Format::cloud_events, decided());
  CHECK(out["specversion"] == "1.0");
  CHECK(out["id"] == "7");
  CHECK(out["source"] == "urn:ambit:ambit/log-1");
  CHECK(out["type"] == "ambit.action.decided");
  CHECK(out["time"] == "2026-11-21T00:00:00.123456789Z");
  CHECK(out["data"]["body"]["tool"] == "send_mail");
}

TEST_CASE("an unknown format is an error that names those that there are", "[evidence]") {
  CHECK(format_named("ocsf").has_value());
  CHECK_THAT(format_named("cef").error().message,
             Catch::Contains("jsonl, ocsf, otel, cloudevents"));
}

TEST_CASE("a bundle's records, proofs and payloads fit together", "[evidence]") {
  TemporaryFolder folder;
  auto writer = ambit::log::open_writer(folder.path() + "/log");
  ambit::log::fill(*writer, 40);
  const ambit::log::LogReader reader(writer->store());
  BundleOptions options;
  options.folder = folder.path() + "/bundle";
  options.filter.session = "s2";
  options.payloads = true;
  const auto report = write_bundle(reader, writer->verifier(), options);
  REQUIRE(report);
  CHECK(report->records == 8);
  CHECK(report->payloads == 8);
  std::istringstream records(read_file(options.folder + "/records.jsonl"));
  std::istringstream payloads(read_file(options.folder + "/payloads.jsonl"));
  std::string bytes;
  std::string payload;
  std::string previous;
  while (std::getline(records, bytes)) {
    const json record = json::parse(bytes);
    const std::string proof = read_file(options.folder + "/proofs/" +
                                        std::to_string(record["index"].get<int>()) + ".tlog-proof");
    const auto checkpoint = ambit::log::verify_tlog_proof(proof, bytes, writer->verifier());
    REQUIRE(checkpoint);
    CHECK(checkpoint->size == 40);
    CHECK(record["previous"].get<std::string>() == previous);
    previous = ambit::log::to_hex(ambit::log::leaf_hash(bytes));
    REQUIRE(std::getline(payloads, payload));
    const json beside = json::parse(payload);
    const auto salt = ambit::log::from_hex(beside["salt"].get<std::string>());
    const auto content = ambit::log::from_base64(beside["bytes"].get<std::string>());
    CHECK(ambit::log::to_hex(ambit::log::commitment(*salt, *content)) ==
          record["payloads"][0]["commitment"].get<std::string>());
  }
  // A second bundle in the same place, and one of nothing, are refused.
  CHECK_FALSE(write_bundle(reader, writer->verifier(), options));
  options.folder += "-2";
  options.filter.session = "nobody";
  CHECK_FALSE(write_bundle(reader, writer->verifier(), options));
  CHECK_FALSE(std::filesystem::exists(options.folder));
}

TEST_CASE("a bundle without payloads says of each that it is withheld", "[evidence]") {
  TemporaryFolder folder;
  auto writer = ambit::log::open_writer(folder.path() + "/log");
  ambit::log::fill(*writer, 10);
  REQUIRE(writer->append({ambit::log::event_of("s", "{}", "of jane", "jane")}));
  REQUIRE(writer->erase("jane", "x", "y", 1));
  BundleOptions options;
  options.folder = folder.path() + "/bundle";
  const auto report =
      write_bundle(ambit::log::LogReader(writer->store()), writer->verifier(), options);
  REQUIRE(report);
  CHECK(report->payloads == 0);
  CHECK(report->withheld == 11);
  const std::string redactions = read_file(options.folder + "/redactions.jsonl");
  CHECK_THAT(redactions, Catch::Contains(R"("why":"erased")"));
  CHECK_THAT(redactions, Catch::Contains(R"("why":"not included")"));
  CHECK_FALSE(std::filesystem::exists(options.folder + "/payloads.jsonl"));
}

TEST_CASE("a bundle has the policies of what it holds, and says what was never recorded",
          "[evidence]") {
  TemporaryFolder folder;
  auto writer = ambit::log::open_writer(folder.path() + "/log");
  const auto append = [&writer](ambit::agents::Event event) {
    const auto prepared = ambit::log::prepare(std::move(event), 1'795'219'200'000'000'000, [] {
      return std::string(ambit::log::salt_bytes, 's');
    });
    REQUIRE(prepared);
    REQUIRE(writer->append({*prepared}));
  };
  append(
      {"serve.started", "p-1", "", "", "{}", {{"fleet", "{}"}, {"policy a.cedar", "permit a;"}}});
  append({"run.started", "r", "", "", "{}", {{"policy b.cedar", "permit b;"}}});
  append({"action.decided",
          "r",
          "s",
          "clerk",
          R"({"redacted":["arguments.iban"],"tool":"pay"})",
          {{"arguments", R"({"iban":"[redacted]"})"}}});
  BundleOptions options;
  options.folder = folder.path() + "/bundle";
  options.filter.run = "r";
  const auto report =
      write_bundle(ambit::log::LogReader(writer->store()), writer->verifier(), options);
  REQUIRE(report);
  for (const std::string text : {"permit a;", "permit b;"}) {
    const std::string hash = ambit::log::to_hex(ambit::log::sha256(text));
    CHECK(read_file(options.folder + "/policies/" + hash) == text);
  }
  CHECK_THAT(
      read_file(options.folder + "/redactions.jsonl"),
      Catch::Contains(
          R"({"index":2,"name":"arguments.iban","why":"taken out before it was recorded"})"));
}
