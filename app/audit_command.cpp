// ambit audit list | show | verify: the record, for people who trust nobody.

#include "app/audit_options.h"
#include "evidence/facts.h"
#include "log/verify.h"

#include <nlohmann/json.hpp>

namespace ambit::app {
namespace {

using Json = nlohmann::ordered_json;

Json to_json(const log::Leaf& leaf) {
  Json out = {{"index", leaf.index},
              {"time", log::time_text(leaf.unix_ns)},
              {"type", leaf.type},
              {"run", leaf.run},
              {"session", leaf.session},
              {"agent", leaf.agent},
              {"body", Json::parse(leaf.body, nullptr, false)}};
  for (const log::Commitment& item : leaf.payloads) {
    out["payloads"].push_back(
        {{"name", item.name}, {"bytes", item.bytes}, {"commitment", log::to_hex(item.hash)}});
  }
  return out;
}

Result<void> list(const Options& options, const Context& context) {
  const std::string folder = TRY(journal_of(options, context));
  const auto reader = TRY(log::LogReader::open(folder));
  const log::Filter filter = TRY(filter_of(options));
  const std::int64_t limit = TRY(options.integer("limit", 1'000'000'000, 1, 1'000'000'000));
  const bool as_json = options.flag("json");
  if (!as_json) print("INDEX   TIME                      SESSION       TYPE             WHAT\n");
  std::int64_t shown = 0;
  return reader->for_each(filter, [&](const log::Leaf& leaf) {
    if (as_json) {
      print(to_json(leaf).dump() + "\n");
    } else {
      print(padded(std::to_string(leaf.index), 8) +
            padded(log::time_text(leaf.unix_ns).substr(0, 23) + "Z", 26) +
            padded(leaf.session, 14) + padded(leaf.type, 17) +
            evidence::gist(leaf, evidence::facts_of(leaf)) + "\n");
    }
    return ++shown < limit;
  });
}

Result<void> show(const Options& options, const Context& context) {
  const std::string folder = TRY(journal_of(options, context));
  const auto reader = TRY(log::LogReader::open(folder));
  const std::uint64_t index = TRY(index_of(options.positional()[0]));
  const log::ProvenRecord record = TRY(reader->get(index));
  Json out = to_json(record.leaf);
  out["leafHash"] = log::to_hex(record.hash);
  out["previous"] = record.leaf.previous;
  Json contents = Json::object();
  for (const agents::Payload& payload : record.payloads) contents[payload.name] = payload.bytes;
  out["contents"] = contents;
  if (!record.erased.empty()) out["erased"] = record.erased;
  if (!record.expired.empty()) out["expired"] = record.expired;
  out["proof"] = record.tlog_proof();
  print(out.dump(options.flag("json") ? -1 : 2, ' ', false, Json::error_handler_t::replace) + "\n");
  return {};
}

Json bad_record(const log::VerifyReport& report) {
  Json bad = {{"what", report.what}};
  if (report.bad_index) bad["index"] = *report.bad_index;
  return bad;
}

int verify(const Options& options, const Context& context) {
  const auto folder = journal_of(options, context);
  if (!folder) return fail(folder.error());
  const auto report = log::verify_log(*folder, options.text("vkey"));
  if (!report) return fail(report.error());
  if (options.flag("json")) {
    Json out = {
        {"log", *folder},           {"records", report->records}, {"payloads", report->payloads},
        {"erased", report->erased}, {"expired", report->expired}, {"verified", report->good()}};
    if (!report->good()) out["firstBad"] = bad_record(*report);
    print(out.dump() + "\n");
  } else if (report->good()) {
    print(std::to_string(report->records) + " records verified: " + *folder + "\n" +
          report->summary);
  }
  if (report->good()) return 0;
  return fail("the record is damaged: " + report->what);
}

}  // namespace

Command audit_list_command() {
  return {
      "audit list",
      "",
      "list the record, one line an event",
      filter_options({{"limit", "N", "at most N records"}, {"json", "", "one JSON object a line"}}),
      0,
      0,
      [](const Options& options, const Context& context) {
        return read_apart([&] { return list(options, context); });
      }};
}

Command audit_show_command() {
  return {"audit show",
          "INDEX",
          "show one record: its body, its payloads, the proof that it is in the log",
          {state_option(), {"json", "", "on one line"}},
          1,
          1,
          [](const Options& options, const Context& context) {
            return read_apart([&] { return show(options, context); });
          }};
}

Command audit_verify_command() {
  return {"audit verify",
          "",
          "check every record, hash and signature; name the first bad record",
          {state_option(),
           {"vkey", "KEY", "the log's key, from somewhere else than the log's own folder"},
           {"json", "", "print the result as JSON"}},
          0,
          0,
          verify};
}

}  // namespace ambit::app
