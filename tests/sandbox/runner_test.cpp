#include "sandbox/runner.h"

#include "async/race.h"
#include "jail_fixture.h"

#include <catch2/catch.hpp>
#include <sys/mount.h>
#include <sys/stat.h>

#include <array>
#include <csignal>
#include <dirent.h>
#include <unistd.h>

namespace ambit::sandbox {
namespace {

using agents::JailCall;
using agents::JailOutcome;
using agents::OutcomeKind;

std::string told(const JailOutcome& outcome) {
  return std::string(agents::to_string(outcome.kind)) + ": " + outcome.detail + "\n" +
         outcome.output.substr(0, 500) + outcome.errors.substr(0, 500);
}

std::size_t entries(const char* folder) {
  std::size_t count = 0;
  DIR* open_folder = ::opendir(folder);
  while (open_folder != nullptr && ::readdir(open_folder) != nullptr) ++count;
  if (open_folder != nullptr) ::closedir(open_folder);
  return count;
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

TEST_CASE("a command reads its input to the end", "[sandbox]") {
  Jails jails;
  JailCall call = shell("wc -c");
  call.input = std::string(300'000, 'x');
  const JailOutcome outcome = jails.run(std::move(call));
  INFO(told(outcome));
  CHECK(outcome.output == "300000\n");
}

TEST_CASE("input that nobody reads does not hold a call up", "[sandbox]") {
  Jails jails;
  JailCall call = shell("echo done");
  call.input = std::string(300'000, 'x');
  const JailOutcome outcome = jails.run(std::move(call));
  INFO(told(outcome));
  CHECK(outcome.kind == OutcomeKind::ok);
  CHECK(outcome.output == "done\n");
}

TEST_CASE("the environment is what the call gives and nothing else", "[sandbox]") {
  Jails jails;
  JailCall call;
  call.profile.level = "compute";
  call.command = {"env"};
  call.environment = {{"COLOUR", "green = blue"}};
  const JailOutcome outcome = jails.run(std::move(call));
  INFO(told(outcome));
  CHECK(outcome.output == "COLOUR=green = blue\n");
}

TEST_CASE("a path is seen under its own name, for reading or for writing", "[sandbox]") {
  const WorkFolder readable;
  const WorkFolder writable;
  readable.write("facts", "42\n");
  Jails jails;
  JailCall call = shell("cat '" + readable.file("facts") + "'; echo new > answer; touch '" +
                            readable.file("no") + "'",
                        "fs-write");
  call.profile.read_paths = {readable.path()};
  call.profile.write_paths = {writable.path()};
  call.directory = writable.path();
  const JailOutcome outcome = jails.run(std::move(call));
  INFO(told(outcome));
  CHECK(outcome.output == "42\n");
  CHECK(outcome.exit_code != 0);
  CHECK(writable.read("answer") == "new\n");
  CHECK(::access(readable.file("no").c_str(), F_OK) != 0);
}

TEST_CASE("a folder below /tmp is seen in the private /tmp", "[sandbox]") {
  std::string folder = "/tmp/ambit-jail-XXXXXX";
  REQUIRE(::mkdtemp(folder.data()) != nullptr);
  std::ofstream(folder + "/given") << "yes\n";
  Jails jails;
  JailCall call = shell("cat given; ls /tmp | wc -l; echo back > made", "fs-write");
  call.profile.write_paths = {folder};
  call.directory = folder;
  const JailOutcome outcome = jails.run(std::move(call));
  INFO(told(outcome));
  CHECK(outcome.output == "yes\n1\n");
  CHECK(::access((folder + "/made").c_str(), F_OK) == 0);
  std::filesystem::remove_all(folder);
}

TEST_CASE("calls of one profile share no /tmp", "[sandbox]") {
  Jails jails;
  CHECK(jails.run(shell("echo secret > /tmp/left")).kind == OutcomeKind::ok);
  const JailOutcome second = jails.run(shell("ls -A /tmp"));
  CHECK(second.output.empty());
  CHECK(jails.runner->zygotes() == 1);
}

TEST_CASE("a file that is replaced between calls is seen as it is now", "[sandbox]") {
  const WorkFolder folder;
  Jails jails;
  for (const char* word : {"old", "new", "newest"}) {
    folder.write("next", word);
    std::filesystem::rename(folder.file("next"), folder.file("config"));
    JailCall call = shell("cat '" + folder.file("config") + "'");
    call.profile.read_paths = {folder.file("config")};
    CHECK(jails.run(std::move(call)).output == word);
  }
}

TEST_CASE("a work folder that is made anew between calls is the one that is written", "[sandbox]") {
  const WorkFolder all;
  RunnerOptions options;
  options.work_root = all.path();
  Jails jails(options);
  for (int round = 0; round < 4; ++round) {
    std::filesystem::remove_all(all.file("session"));
    std::filesystem::create_directory(all.file("session"));
    JailCall call = shell("ls; echo here > made", "fs-write");
    call.profile.write_paths = {all.file("session")};
    call.directory = all.file("session");
    const JailOutcome outcome = jails.run(std::move(call));
    INFO(told(outcome));
    CHECK(outcome.output.empty());
    CHECK(all.read("session/made") == "here\n");
  }
}

TEST_CASE("one zygote serves the work folders of all sessions", "[sandbox]") {
  const WorkFolder all;
  RunnerOptions options;
  options.work_root = all.path();
  Jails jails(options);
  for (const char* name : {"run/one", "run/two", "run/three"}) {
    std::filesystem::create_directories(all.file(name));
    JailCall call = shell("pwd; echo mine > mine; ls ..", "fs-write");
    call.profile.write_paths = {all.file(name)};
    call.directory = all.file(name);
    const JailOutcome outcome = jails.run(std::move(call));
    INFO(told(outcome));
    const std::string session = std::string(name).substr(4);
    CHECK(outcome.output == all.file(name) + "\n" + session + "\n");
    CHECK(all.read(std::string(name) + "/mine") == "mine\n");
  }
  if (jails.runner->limits_by() != "rlimits") CHECK(jails.runner->zygotes() == 1);
}

TEST_CASE("secrets are read from descriptors and stand nowhere else", "[sandbox]") {
  Jails jails;
  JailCall call =
      shell("cat <&$TOKEN_FD; echo; eval \"cat <&$KEY_FD\"; env | grep -c hush; exit 0");
  call.secrets = {{"TOKEN", "hush-1"}, {"KEY", std::string(60'000, 'k')}};
  const JailOutcome outcome = jails.run(std::move(call));
  INFO(told(outcome));
  CHECK(outcome.output == "hush-1\n" + std::string(60'000, 'k') + "0\n");
}

TEST_CASE("more or larger secrets than a jail can hold are refused", "[sandbox]") {
  Jails jails;
  JailCall large = shell("true");
  large.secrets = {{"TOKEN", std::string(1 << 20, 'x')}};
  JailCall many = shell("true");
  many.secrets.assign(9, {"TOKEN", "x"});
  for (const JailCall& call : {large, many}) {
    const JailOutcome outcome = jails.run(call);
    INFO(told(outcome));
    CHECK(outcome.kind == OutcomeKind::refused);
  }
}

TEST_CASE("jails are made ahead after a call, taken by the next, and never used twice",
          "[sandbox]") {
  Jails jails;
  const auto spare_is_there = [&]() -> Task<bool> {
    for (int i = 0; i < 500; ++i) {
      if (jails.runner->spares() > 0) co_return true;
      co_await delay(std::chrono::milliseconds(10));
    }
    co_return false;
  };
  CHECK(jails.runner->spares() == 0);
  for (int round = 0; round < 3; ++round) {
    const JailOutcome outcome = jails.run(shell("ls -A /tmp; echo x > /tmp/left; umask; umask 0"));
    CHECK(outcome.output == "0022\n");
    CHECK(jails.wait(spare_is_there()));
  }
}

TEST_CASE("a runner that makes nothing ahead makes each jail for its call", "[sandbox]") {
  RunnerOptions options;
  options.spares_max = 0;
  Jails jails(options);
  for (int round = 0; round < 3; ++round) CHECK(jails.run(shell("echo fine")).output == "fine\n");
  CHECK(jails.runner->spares() == 0);
}

TEST_CASE("each way to end has its own type", "[sandbox]") {
  Jails jails;
  struct Ending {
    OutcomeKind kind;
    JailCall call;
  };
  std::vector<Ending> endings;
  const auto add = [&](OutcomeKind kind, const std::string& script) -> agents::Profile& {
    endings.push_back({kind, shell(script)});
    return endings.back().call.profile;
  };
  add(OutcomeKind::timeout, "sleep 30").wall_ms = 100;
  add(OutcomeKind::timeout, "kill -STOP $$").wall_ms = 100;
  add(OutcomeKind::cpu_limit, "while :; do :; done").cpu_ms = 50;
  add(OutcomeKind::output_limit, "yes").output_bytes = 1000;
  add(OutcomeKind::output_limit, "yes no-newline | tr -d '\\n' >&2").output_bytes = 1000;
  add(OutcomeKind::crashed, "kill -SEGV $$");
  add(OutcomeKind::process_limit, "while :; do sleep 30 & done");
  agents::Profile& memory = add(OutcomeKind::memory_limit, "yes | tr -d '\\n' | tail -n 1");
  memory.memory_bytes = 32 << 20;
  add(OutcomeKind::file_size_limit, "exec dd if=/dev/urandom of=/tmp/big bs=65536").file_bytes =
      1 << 20;
  add(OutcomeKind::file_size_limit, "cat /dev/urandom > /tmp/a").scratch_bytes = 1 << 20;
  for (Ending& ending : endings) {
    const std::string script = ending.call.command[2];
    const JailOutcome outcome = jails.run(std::move(ending.call));
    INFO(script + "\n" + told(outcome));
    CHECK(agents::to_string(outcome.kind) == agents::to_string(ending.kind));
    CHECK(!outcome.detail.empty());
    CHECK(outcome.truncated == (ending.kind == OutcomeKind::output_limit));
  }
}

TEST_CASE("cut output keeps what fits", "[sandbox]") {
  Jails jails;
  JailCall call = shell("yes");
  call.profile.output_bytes = 1000;
  const JailOutcome outcome = jails.run(std::move(call));
  CHECK(outcome.output.size() == 1000);
}

TEST_CASE("output is told while the command writes it", "[sandbox]") {
  const WorkFolder work;
  Jails jails;
  // It goes on once the first part was told, and not before.
  JailCall call = shell("echo one; while [ ! -e go ]; do sleep 0.01; done; echo oops >&2; echo two",
                        "fs-write");
  call.profile.write_paths = {work.path()};
  call.directory = work.path();
  std::vector<std::string> pieces;
  call.on_output = [&](std::string_view piece) {
    pieces.emplace_back(piece);
    work.write("go", "");
  };
  const JailOutcome outcome = jails.run(std::move(call));
  INFO(told(outcome));
  CHECK(outcome.output == "one\ntwo\n");
  CHECK(pieces == std::vector<std::string>{"one\n", "two\n"});
}

TEST_CASE("no more output is told than there will be", "[sandbox]") {
  Jails jails;
  JailCall call = shell("yes");
  call.profile.output_bytes = 1000;
  std::string all;
  call.on_output = [&](std::string_view piece) { all += piece; };
  const JailOutcome outcome = jails.run(std::move(call));
  CHECK(outcome.kind == OutcomeKind::output_limit);
  CHECK(all.size() == 1000);
  CHECK(all == outcome.output);
}

TEST_CASE("nothing is told of a call that was cancelled", "[sandbox]") {
  Jails jails;
  JailCall call = shell("while :; do echo on; done");
  call.profile.output_bytes = 1 << 30;
  std::size_t pieces = 0;
  call.on_output = [&](std::string_view) {
    if (pieces++ == 0) jails.world.loop().post_from_thread([] {});
  };
  {
    Scope scope;
    const auto run = [](Jails& in, JailCall what) -> Task<void> {
      co_await in.runner->run(std::move(what));
    };
    scope.spawn(run(jails, std::move(call)));
    jails.world.loop().run_until([&] { return pieces > 0; });
  }
  const std::size_t before = pieces;
  const auto pause = []() -> Task<int> {
    co_await delay(std::chrono::milliseconds(100));
    co_return 0;
  };
  jails.wait(pause());
  CHECK(pieces == before);
}

TEST_CASE("what cannot be made is refused with the reason", "[sandbox]") {
  Jails jails;
  JailCall missing_command;
  missing_command.command = {"no-such-program"};
  JailCall missing_folder = shell("true");
  missing_folder.directory = "/no/such/folder";
  JailCall missing_path = shell("true");
  missing_path.profile.read_paths = {"/no/such/path"};
  JailCall no_command;
  JailCall net = shell("true", "net");
  JailCall zero_byte = shell(std::string("a\0b", 3));
  for (const JailCall& call :
       {missing_command, missing_folder, missing_path, no_command, net, zero_byte}) {
    const JailOutcome outcome = jails.run(call);
    INFO(told(outcome));
    CHECK(outcome.kind == OutcomeKind::refused);
    CHECK(!outcome.detail.empty());
  }
}

TEST_CASE("many calls at once all come back", "[sandbox]") {
  Jails jails;
  std::vector<Task<JailOutcome>> tasks;
  for (int i = 0; i < 40; ++i)
    tasks.push_back(jails.runner->run(shell("echo " + std::to_string(i))));
  const auto all = [](std::vector<Task<JailOutcome>> some) -> Task<std::vector<JailOutcome>> {
    auto outcomes = co_await join(std::move(some));
    co_return outcomes;
  };
  const std::vector<JailOutcome> outcomes = jails.wait(all(std::move(tasks)));
  REQUIRE(outcomes.size() == 40);
  for (std::size_t i = 0; i < outcomes.size(); ++i) {
    INFO(told(outcomes[i]));
    CHECK(outcomes[i].output == std::to_string(i) + "\n");
  }
}

TEST_CASE("calls that wait for a place go in the order of their classes and deadlines",
          "[sandbox]") {
  RunnerOptions options;
  options.calls_max = 1;
  Jails jails(options);
  std::vector<std::string> order;
  const auto call = [](ZygoteRunner& in, std::string name, Urgency urgency,
                       std::vector<std::string>& to) -> Task<void> {
    co_await become(urgency);
    JailCall asked = shell("echo " + name);
    const JailOutcome outcome = co_await in.run(std::move(asked));
    to.push_back(outcome.output);
  };
  Scope scope;
  scope.spawn(call(*jails.runner, "batch", Urgency{LatencyClass::batch}, order));
  scope.spawn(call(*jails.runner, "normal", Urgency{}, order));
  scope.spawn(call(*jails.runner, "due", Urgency{LatencyClass::normal, 0}, order));
  scope.spawn(call(*jails.runner, "interactive", Urgency{LatencyClass::interactive}, order));
  jails.world.loop().run_until([&] { return scope.size() == 0; });
  const std::vector<std::string> wanted = {"interactive\n", "due\n", "normal\n", "batch\n"};
  CHECK(std::is_permutation(order.begin(), order.end(), wanted.begin(), wanted.end()));
  // Whichever found the place free has it; all others go as they should.
  std::vector<std::string> rest = wanted;
  REQUIRE_FALSE(order.empty());
  std::erase(rest, order.front());
  CHECK(std::vector<std::string>(order.begin() + 1, order.end()) == rest);
}

TEST_CASE("cancelling a call kills everything in its jail", "[sandbox]") {
  const WorkFolder work;
  Jails jails;
  JailCall call =
      shell("setsid sh -c 'sleep 0.4; touch later' & touch started; sleep 30", "fs-write");
  call.profile.write_paths = {work.path()};
  call.directory = work.path();
  {
    Scope scope;
    bool ended = false;
    const auto run = [](Jails& in, JailCall what, bool& over) -> Task<void> {
      co_await in.runner->run(std::move(what));
      over = true;
    };
    scope.spawn(run(jails, std::move(call), ended));
    const auto started = [&]() -> Task<bool> {
      for (int i = 0; i < 500; ++i) {
        if (::access(work.file("started").c_str(), F_OK) == 0) co_return true;
        co_await delay(std::chrono::milliseconds(10));
      }
      co_return false;
    };
    REQUIRE(jails.wait(started()));
    CHECK(!ended);
  }
  const auto pause = []() -> Task<int> {
    co_await delay(std::chrono::milliseconds(700));
    co_return 0;
  };
  jails.wait(pause());
  CHECK(::access(work.file("later").c_str(), F_OK) != 0);
}

TEST_CASE("a zygote that dies fails its call and is made anew", "[sandbox]") {
  Jails jails;
  // The jail's init is a child of the zygote, so from here the zygote is found as our only child.
  CHECK(jails.run(shell("true")).kind == OutcomeKind::ok);
  std::ifstream children("/proc/self/task/" + std::to_string(::getpid()) + "/children");
  pid_t zygote = 0;
  children >> zygote;
  REQUIRE(zygote > 0);
  ::kill(zygote, SIGKILL);
  JailOutcome outcome = jails.run(shell("echo again"));
  if (outcome.kind != OutcomeKind::ok) outcome = jails.run(shell("echo again"));
  INFO(told(outcome));
  CHECK(outcome.output == "again\n");
}

TEST_CASE("a jailed server speaks over its pipes until it is killed", "[sandbox]") {
  Jails jails;
  auto started = jails.runner->start(shell("while read line; do echo \"heard $line\"; done"));
  REQUIRE(started);
  JailedProcess& server = **started;
  for (const char* word : {"one", "two"}) {
    REQUIRE(jails.wait(server.input().write(std::string(word) + "\n")));
    const auto answer = jails.wait(server.output().read(100));
    REQUIRE(answer);
    CHECK(*answer == std::string("heard ") + word + "\n");
  }
  server.kill();
  const JailOutcome outcome = jails.wait(server.wait());
  CHECK(outcome.kind == OutcomeKind::crashed);
  const auto end = jails.wait(server.output().read(100));
  REQUIRE(end);
  CHECK(end->empty());
}

TEST_CASE("a jailed server that ends by itself says how", "[sandbox]") {
  Jails jails;
  auto started = jails.runner->start(shell("read line; exit 7"));
  REQUIRE(started);
  (*started)->input().close();
  const JailOutcome outcome = jails.wait((*started)->wait());
  INFO(told(outcome));
  CHECK(outcome.exit_code == 7);
}

TEST_CASE("a jail without cgroups holds a plain user's calls to their limits", "[sandbox]") {
  RunnerOptions options;
  options.cgroups = false;
  Jails jails(options);
  const JailOutcome outcome = jails.run(shell("echo fine"));
  INFO(told(outcome));
  // Root is exempt from the limit on processes, so root is refused rather than unbounded.
  CHECK(outcome.kind == (::geteuid() == 0 ? OutcomeKind::refused : OutcomeKind::ok));
}

TEST_CASE("two runners of one process do not meet in their control groups", "[sandbox]") {
  Jails jails;
  auto second = ZygoteRunner::open(jails.world.world(), {});
  REQUIRE(second);
  CHECK((*second)->limits_by() == jails.runner->limits_by());
  CHECK(jails.run(shell("echo one")).output == "one\n");
  CHECK(jails.wait((*second)->run(shell("echo two"))).output == "two\n");
}

TEST_CASE("nothing is left of calls: no child, no descriptor", "[sandbox]") {
  {
    Jails warm_up;
    CHECK(warm_up.run(shell("true")).kind == OutcomeKind::ok);
  }
  const std::size_t before = entries("/proc/self/fd");
  {
    Jails jails;
    for (int i = 0; i < 20; ++i)
      CHECK(jails.run(shell("sleep 100 & true")).kind == OutcomeKind::ok);
  }
  CHECK(entries("/proc/self/fd") == before);
  std::ifstream children("/proc/self/task/" + std::to_string(::getpid()) + "/children");
  std::string left;
  std::getline(children, left);
  CHECK(left.empty());
}

}  // namespace
}  // namespace ambit::sandbox
