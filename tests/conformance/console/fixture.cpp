// What the console's suite needs beside a run of the incident desk.
//   console_fixture approvals STATE: keys of two owners, and two actions that wait for an answer
//   console_fixture big STATE RECORDS: a log of that many records, as runs write them
//   console_fixture damage STATE INDEX: flips one byte of the stored record

#include "governance/approval_folder.h"
#include "io/file.h"
#include "log/writer.h"

#include <chrono>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <random>

using namespace ambit;

namespace {

std::int64_t now_ms() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

Result<void> approvals(const std::string& state) {
  std::string lines;
  for (const char* name : {"olga", "oscar"}) {
    std::array<std::uint8_t, 32> seed{};
    seed.fill(static_cast<std::uint8_t>(name[1]));
    const log::SignerKey key = TRY(log::SignerKey::from_seed(name, seed));
    TRY(io::write_file(state + "/" + name + ".key", key.text() + "\n", 0600));
    lines += key.verifier().text() + "\n";
  }
  TRY(io::write_file(state + "/approvers", lines));
  auto folder =
      TRY(governance::ApprovalFolder::open(state + "/approvals", state + "/approvers", now_ms()));
  agents::Action action;
  action.id = "run-7/INC-2041/12";
  action.agent = "clerk";
  action.session = "INC-2041";
  action.run = "run-7";
  action.on_behalf_of = "jane@example.com";
  action.tool = "restart_service";
  action.arguments =
      R"({"service":"payments-db","environment":"production","drain_seconds":30,"note":"replica lag over 90 s since 08:12; the report is in logs/db.log"})";
  action.tainted = true;
  TRY(folder.ask(action, "a person must approve: a restart in production (restart-prod)", 1,
                 std::string(32, 'a'), now_ms()));
  action.id = "run-7/INC-2042/5";
  action.session = "INC-2042";
  action.tool = "delete_logs";
  action.arguments = R"({"path":"logs/2026-11","older_than_days":0})";
  TRY(folder.ask(action, "a person must approve: what is deleted stays deleted (delete)", 2,
                 std::string(32, 'b'), now_ms()));
  return {};
}

agents::Event event_of(std::mt19937& random, std::uint64_t number) {
  constexpr const char* tools[] = {"read_file", "grep", "lookup", "send_mail", "delete_logs"};
  const std::uint64_t session = number / 40 % 500;
  const auto tool = random() % 5;
  agents::Event event;
  event.run = "run-" + std::to_string(number / 20'000);
  event.session = "INC-" + std::to_string(session);
  event.agent = session % 3 == 0 ? "triage" : "clerk";
  const std::string action = event.run + "/" + event.session + "/" + std::to_string(number / 3);
  if (number % 3 == 0) {
    event.type = "turn.completed";
    event.body = "{\"action\":\"" + action +
                 "\",\"finish\":\"tool_calls\",\"model\":\"desk@sha256:6b1f\",\"usage\":{"
                 "\"cachedTokens\":" +
                 std::to_string(random() % 900) +
                 ",\"decodeUs\":" + std::to_string(random() % 90'000) +
                 ",\"draftedTokens\":6,\"forcedTokens\":11,\"inputTokens\":" +
                 std::to_string(900 + random() % 300) +
                 ",\"outputTokens\":" + std::to_string(random() % 120) +
                 ",\"prefillUs\":4000,\"queueUs\":300}}";
  } else if (number % 3 == 1) {
    const bool denied = tool == 4 && random() % 2 == 0;
    event.type = "action.decided";
    event.body = "{\"action\":\"" + action +
                 "\",\"kind\":\"tool_call\",\"left\":{\"tokens\":9000,\"toolCalls\":12,\"turns\":8,"
                 "\"wallMs\":60000},\"onBehalfOf\":\"jane@example.com\",\"policies\":[\"" +
                 (denied ? "no-deletes" : "desk-tools") + "\"],\"policySet\":\"00\",\"reason\":\"" +
                 (denied ? "forbidden by no-deletes" : "permitted by desk-tools") +
                 "\",\"step\":1,\"tainted\":false,\"tool\":\"" + tools[tool] + "\",\"verdict\":\"" +
                 (denied ? "deny" : "allow") + "\"}";
    event.payloads = {{"arguments", "{\"path\":\"logs/web-" + std::to_string(number) + ".log\"}"}};
  } else {
    event.type = "action.outcome";
    event.body = "{\"action\":\"" + action +
                 "\",\"call\":\"call_1\",\"detail\":\"\",\"durationUs\":" +
                 std::to_string(random() % 40'000) + ",\"outcome\":\"ok\",\"tool\":\"" +
                 tools[tool] + "\",\"truncated\":false}";
    event.payloads = {{"result", "line of ticket INC-" + std::to_string(number)}};
  }
  if (number == 77'777) {
    event.body = R"({"detail":"the needle in this haystack","outcome":"ok","tool":"grep"})";
    event.type = "action.outcome";
  }
  return event;
}

Result<void> big(const std::string& state, std::uint64_t records) {
  std::filesystem::create_directories(state);
  std::mt19937 random(11);
  const auto fill = [&random](std::span<std::uint8_t> bytes) {
    for (std::uint8_t& byte : bytes) byte = static_cast<std::uint8_t>(random());
  };
  auto writer = TRY(log::LogWriter::open({state + "/journal", "ambit/console-big"}, fill));
  std::int64_t time_ns = 1'795'219'200'000'000'000;
  for (std::uint64_t number = 0; number < records;) {
    std::vector<log::Prepared> group;
    for (; group.size() < 1000 && number < records; ++number) {
      time_ns += 5'000'000 + static_cast<std::int64_t>(random() % 30'000'000);
      group.push_back(TRY(log::prepare(event_of(random, number), time_ns, [&fill] {
        std::array<std::uint8_t, 32> salt{};
        fill(salt);
        return std::string(reinterpret_cast<const char*>(salt.data()), salt.size());
      })));
    }
    TRY(writer->append(group));
  }
  return writer->seal();
}

Result<void> damage(const std::string& state, const std::string& text) {
  const std::string path = state + "/journal/data.mdb";
  std::string bytes = TRY(io::read_file(path, std::size_t{1} << 30));
  const std::size_t at = bytes.find(text);
  if (at == std::string::npos) return Err(Code::not_found, "no \"" + text + "\" there");
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(static_cast<std::streamoff>(at));
  file.put('X');
  return {};
}

}  // namespace

int main(int count, char** arguments) {
  const std::string what = count > 2 ? arguments[1] : "";
  Result<void> done = Err(Code::invalid, "usage: console_fixture approvals|big|damage STATE [N]");
  if (what == "approvals") done = approvals(arguments[2]);
  if (what == "big" && count == 4) done = big(arguments[2], std::stoull(arguments[3]));
  if (what == "damage" && count == 4) done = damage(arguments[2], arguments[3]);
  if (done) return 0;
  std::fprintf(stderr, "%s\n", done.error().message.c_str());
  return 1;
}
