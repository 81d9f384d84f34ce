// ambit audit list | show | verify: the record, for people who trust nobody.

#include "app/command.h"
#include "log/reader.h"
#include "log/verify.h"

#include <nlohmann/json.hpp>
#include <sys/wait.h>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <functional>
#include <unistd.h>

namespace ambit::app {
namespace {

using json = nlohmann::ordered_json;

Result<std::string> journal_of(const Options& options, const Context& context) {
  const std::string state = absolute(context, options.text("state", ".ambit"));
  std::error_code unreadable;
  if (!std::filesystem::exists(state + "/journal/data.mdb", unreadable))
    return Err(Code::not_found, "there is no record in " + state +
                                    " (ambit run writes one; --state names another folder)");
  return state + "/journal";
}

Result<log::Filter> filter_of(const Options& options) {
  log::Filter filter;
  filter.run = options.text("run");
  filter.session = options.text("session");
  filter.agent = options.text("agent");
  filter.type = options.text("type");
  filter.verdict = options.text("verdict");
  filter.tool = options.text("tool");
  if (options.flag("from")) filter.from_unix_ns = TRY(log::parse_time(options.text("from")));
  if (options.flag("until")) filter.until_unix_ns = TRY(log::parse_time(options.text("until")));
  return filter;
}

json to_json(const log::Leaf& leaf) {
  json out = {{"index", leaf.index},
              {"time", log::time_text(leaf.unix_ns)},
              {"type", leaf.type},
              {"run", leaf.run},
              {"session", leaf.session},
              {"agent", leaf.agent},
              {"body", json::parse(leaf.body, nullptr, false)}};
  for (const log::Commitment& item : leaf.payloads) {
    out["payloads"].push_back(
        {{"name", item.name}, {"bytes", item.bytes}, {"commitment", log::to_hex(item.hash)}});
  }
  return out;
}

// The few words of a record that matter most to a reader.
std::string gist(const log::Leaf& leaf) {
  const json body = json::parse(leaf.body, nullptr, false);
  if (!body.is_object()) return "";
  auto text = [&body](const char* key) {
    const auto at = body.find(key);
    return at != body.end() && at->is_string() ? at->get<std::string>() : std::string();
  };
  if (leaf.type == "action.decided") {
    std::string policies;
    for (const json& policy : body.value("policies", json::array()))
      policies += " " + policy.get<std::string>();
    return text("verdict") + " " + text("tool") + (policies.empty() ? "" : " by" + policies);
  }
  if (leaf.type == "action.outcome") return text("outcome") + " " + text("tool");
  if (leaf.type == "turn.completed") {
    const json usage = body.value("usage", json::object());
    return text("finish") + ", " + std::to_string(usage.value("outputTokens", 0)) + " tokens";
  }
  return text("state");
}

std::string padded(std::string text, std::size_t width) {
  text.resize(std::max(width, text.size() + 1), ' ');
  return text;
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
            padded(leaf.session, 14) + padded(leaf.type, 17) + gist(leaf) + "\n");
    }
    return ++shown < limit;
  });
}

Result<void> show(const Options& options, const Context& context) {
  const std::string folder = TRY(journal_of(options, context));
  const auto reader = TRY(log::LogReader::open(folder));
  std::uint64_t index = 0;
  const std::string& number = options.positional()[0];
  if (number.empty() || number.size() > 18 ||
      number.find_first_not_of("0123456789") != std::string::npos) {
    return Err(Code::invalid,
               "\"" + number + "\" is not the index of a record (see: ambit audit list)");
  }
  index = std::stoull(number);
  const log::ProvenRecord record = TRY(reader->get(index));
  json out = to_json(record.leaf);
  out["leafHash"] = log::to_hex(record.hash);
  out["previous"] = record.leaf.previous;
  json contents = json::object();
  for (const agents::Payload& payload : record.payloads) contents[payload.name] = payload.bytes;
  out["contents"] = contents;
  out["proof"] = record.tlog_proof();
  print(out.dump(options.flag("json") ? -1 : 2, ' ', false, json::error_handler_t::replace) + "\n");
  return {};
}

json bad_record(const log::VerifyReport& report) {
  json bad = {{"what", report.what}};
  if (report.bad_index) bad["index"] = *report.bad_index;
  return bad;
}

int verify(const Options& options, const Context& context) {
  const auto folder = journal_of(options, context);
  if (!folder) return fail(folder.error());
  const auto report = log::verify_log(*folder, options.text("vkey"));
  if (!report) return fail(report.error());
  if (options.flag("json")) {
    json out = {{"log", *folder}, {"records", report->records}, {"verified", report->good()}};
    if (!report->good()) out["firstBad"] = bad_record(*report);
    print(out.dump() + "\n");
  } else if (report->good()) {
    print(std::to_string(report->records) + " records verified: " + *folder + "\n" +
          report->summary);
  }
  if (report->good()) return 0;
  return fail("the record is damaged: " + report->what);
}

// A damaged file can crash LMDB, so it is read in a child: then the parent says what happened.
int read_apart(const std::function<Result<void>()>& read) {
  const pid_t child = ::fork();
  if (child < 0) return fail(std::string("cannot start a process: ") + std::strerror(errno));
  if (child == 0) {
    for (const int signal : {SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL}) ::signal(signal, SIG_DFL);
    const Result<void> result = read();
    const int code = result ? 0 : fail(result.error());
    std::fflush(nullptr);
    ::_exit(code);
  }
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
  if (WIFEXITED(status)) return WEXITSTATUS(status);
  return fail("the record is damaged: reading it failed (ambit audit verify names the place)");
}

const OptionSpec state_option = {"state", "DIR", "the state folder of the run (default .ambit)"};

}  // namespace

Command audit_list_command() {
  return {"audit list",
          "",
          "list the record, one line an event",
          {state_option,
           {"run", "RUN", "only this run"},
           {"session", "ID", "only this session"},
           {"agent", "NAME", "only this agent"},
           {"type", "TYPE", "only this type, such as action.decided"},
           {"verdict", "VERDICT", "only decisions of this verdict: allow, deny, escalate"},
           {"tool", "NAME", "only this tool"},
           {"from", "TIME", "from this time on, such as 2026-11-21T08:30:00Z"},
           {"until", "TIME", "before this time"},
           {"limit", "N", "at most N records"},
           {"json", "", "one JSON object a line"}},
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
          {state_option, {"json", "", "on one line"}},
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
          {state_option,
           {"vkey", "KEY", "the log's key, from somewhere else than the log's own folder"},
           {"json", "", "print the result as JSON"}},
          0,
          0,
          verify};
}

}  // namespace ambit::app
