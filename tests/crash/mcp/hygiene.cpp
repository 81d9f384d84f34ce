// Thousands of MCP servers on stdio, each in its jail, started and ended at a random moment:
// before, within and after the handshake, in a call, by the client that closes, by their own death.
// Then supervisors that are killed with servers running. Counts what is left: processes,
// descriptors, mounts, control groups, namespaces, memory. Prints one line of JSON for each, and
// the suite's.

#include "../../attack/soak_frame.h"
#include "../../attack/suite.h"
#include "async/race.h"
#include "mcp/client.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <map>
#include <random>
#include <string>

namespace ambit::mcp {
namespace {

using sandbox::Jails;
using sandbox::Left;
using sandbox::processes_left;

constexpr int at_once = 8;
// A sanitizer keeps freed memory on purpose. Only clang knows __has_feature, only g++ the macro.
#if defined(__SANITIZE_ADDRESS__)
constexpr bool is_sanitized = true;
#elif defined(__has_feature)
constexpr bool is_sanitized = __has_feature(address_sanitizer);
#else
constexpr bool is_sanitized = false;
#endif
constexpr std::array<const char*, 7> manners = {"honest", "late", "stubborn", "family",
                                                "dies",   "deaf", "talker"};

Task<Result<void>> wait(Duration time) {
  co_await delay(time);
  co_return Err(Code::timeout, "its time has come");
}

class Hygiene {
 public:
  Hygiene(Jails& jails, std::string program, unsigned seed)
      : jails_(jails), program_(std::move(program)), random_(seed) {}

  // One server after the other until `starts` are spent or, below 0, for ever.
  Task<void> worker(int& starts) {
    while (starts != 0) {
      if (starts > 0) --starts;
      const std::string how = manners[random_() % manners.size()];
      co_await live(how, random_() % 4);
    }
    --working_;
    jails_.world.loop().post_from_thread([] {});
  }

  void go(int starts) {
    Scope scope;
    working_ = at_once;
    for (int i = 0; i < at_once; ++i) scope.spawn(worker(starts));
    jails_.world.loop().run_until([&] { return working_ == 0; });
  }

  std::map<std::string, int> counts;

 private:
  Result<Connection> start(const std::string& how,
                           std::shared_ptr<sandbox::JailedProcess>& process) {
    agents::JailCall call;
    call.profile.level = "fs-read";
    call.profile.read_paths = {std::filesystem::path(program_).parent_path()};
    call.command = {program_, how};
    auto started = jails_.runner->start(std::move(call));
    if (!started) return Err(std::move(started).error());
    process = std::move(*started);
    Connection connection;
    connection.input = &process->input();
    connection.output = &process->output();
    connection.errors = &process->errors();
    connection.owner = process;
    return connection;
  }

  // One life of a server, and its end.
  Task<void> live(std::string how, unsigned long end) {
    std::shared_ptr<sandbox::JailedProcess> process;
    auto connection = start(how, process);
    if (!connection) {
      ++counts["not started: " + connection.error().message];
      co_return;
    }
    ++counts["started"];
    if (end == 0) {  // before anything was said
      co_await delay(std::chrono::microseconds(random_() % 2000));
      ++counts["ended before the handshake"];
      co_return;
    }
    ClientOptions options;
    options.era = random_() % 2 == 0 ? EraChoice::legacy : EraChoice::automatic;
    // Who never answers is not waited for as long as who may be slow on a busy machine.
    const bool answers = how != "deaf" && how != "talker";
    options.discover_time = std::chrono::milliseconds(answers ? 10'000 : 50);
    options.initialize_time = options.discover_time;
    options.peer.unasked_max = 10'000;
    Client client(std::move(*connection), std::move(options));
    if (end == 1) {  // in the middle of the handshake, or shortly after
      const Duration moment = std::chrono::microseconds(random_() % 8000);
      co_await race(client.connect(), wait(moment));
      ++counts["ended within the handshake"];
      co_return;
    }
    auto connected = co_await client.connect();
    if (!connected) {
      if (how == "dies" || !answers) {
        ++counts["no handshake"];
        co_return;
      }
      const agents::JailOutcome ended = co_await process->wait();
      ++counts["no handshake, though " + how + ": " + connected.error().message +
               "; it ended: " + std::string(agents::to_string(ended.kind)) + " " +
               std::to_string(ended.exit_code) + " " + ended.detail];
      co_return;
    }
    if (end == 2) {  // in the middle of a call
      const Duration moment = std::chrono::microseconds(random_() % 1000);
      Value none = Json::object();
      co_await race(client.call_tool("echo", std::move(none)), wait_answer(moment));
      ++counts["ended in a call"];
      co_return;
    }
    Value none = Json::object();
    const auto answer = co_await client.call_tool("echo", std::move(none));
    co_await client.close();
    ++counts[answer ? "ended after its call" : "no answer from " + how];
  }
  static Task<Result<ToolAnswer>> wait_answer(Duration time) {
    co_await delay(time);
    co_return Err(Code::timeout, "its time has come");
  }

  using Json = rpc::Json;
  Jails& jails_;
  std::string program_;
  std::minstd_rand random_;
  int working_ = 0;
};

bool soak_servers(const std::string& program, int starts, unsigned seed) {
  {
    Jails warm_up;
    Hygiene(warm_up, program, seed).go(std::min(starts, 400));
  }
  (void)processes_left(program);
  const Left before = sandbox::look();
  nlohmann::ordered_json resident = nlohmann::ordered_json::array();
  resident.push_back(sandbox::resident_kib());
  std::map<std::string, int> counts;
  bool no_orphans = true;
  {
    Jails jails;
    Hygiene hygiene(jails, program, seed + 1);
    for (int part = 0; part < 4; ++part) {
      hygiene.go(starts / 4);
      resident.push_back(sandbox::resident_kib());
      // While the supervisor still lives: nothing waits for its death.
      no_orphans = no_orphans && processes_left(program) == 0;
    }
    counts = hygiene.counts;
  }
  const Left after = sandbox::look_again(before);
  const int orphans = processes_left(program);
  bool as_expected = counts["started"] == starts / 4 * 4;
  for (const auto& [what, count] : counts) {
    as_expected = as_expected && !what.starts_with("not started") &&
                  !what.starts_with("no handshake,") && !what.starts_with("no answer");
  }
  // What the allocator keeps is found in the first quarter.
  const std::size_t grown =
      resident[4].get<std::size_t>() -
      std::min(resident[1].get<std::size_t>(), resident[4].get<std::size_t>());
  const bool flat = is_sanitized || grown < 8 * 1024;
  const nlohmann::ordered_json line = {{"soak", "MCP servers"},
                                       {"starts", counts["started"]},
                                       {"ends", counts},
                                       {"orphans", orphans},
                                       {"orphans beside a living supervisor", no_orphans ? 0 : 1},
                                       {"descriptors", {before.descriptors, after.descriptors}},
                                       {"mounts", {before.mounts, after.mounts}},
                                       {"groups", {before.groups, after.groups}},
                                       {"namespaces", {before.namespaces, after.namespaces}},
                                       {"resident KiB", resident}};
  std::printf("%s\n", line.dump().c_str());
  std::fflush(stdout);
  return orphans == 0 && no_orphans && after == before && as_expected && flat;
}

}  // namespace
}  // namespace ambit::mcp

int main(int count, char** words) {
  using namespace ambit;
  std::signal(SIGPIPE, SIG_IGN);
  return sandbox::soak(
      count, words,
      {"PEST [STARTS [SEED]]", 4,
       [](const std::string& pest) {
         sandbox::Jails jails;
         int for_ever = -1;
         mcp::Hygiene(jails, pest, 1).go(for_ever);
       },
       [](const std::string& pest, int starts, unsigned seed) {
         const int passed = (mcp::soak_servers(pest, starts, seed) ? 1 : 0) +
                            (sandbox::soak_supervisors("supervisors of MCP servers", pest,
                                                       std::clamp(starts / 200, 3, 50), seed)
                                 ? 1
                                 : 0);
         std::printf("{\"suite\":\"crash mcp\",\"passed\":%d,\"failed\":%d,\"skipped\":0}\n",
                     passed, 2 - passed);
         return passed == 2;
       }});
}
