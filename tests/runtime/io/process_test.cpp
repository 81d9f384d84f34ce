#include "io/process.h"

#include "async/race.h"
#include "io/file.h"
#include "io/uv_world.h"
#include "run_task.h"
#include "temporary_folder.h"

#include <catch2/catch.hpp>
#include <sys/stat.h>

#include <csignal>
#include <fcntl.h>
#include <unistd.h>

namespace ambit::io {
namespace {

using std::chrono::milliseconds;

ProcessOptions shell(const std::string& script) {
  ProcessOptions options;
  options.command = {"/bin/sh", "-c", script};
  return options;
}

Task<Result<std::string>> read_all(Stream& stream) {
  std::string all;
  while (true) {
    const std::string part = co_await ok(stream.read(10'000));
    if (part.empty()) co_return all;
    all += part;
  }
}

struct Ran {
  std::string output;
  std::string errors;
  ExitStatus status;
};

Ran run(UvWorld& world, ProcessOptions options, const std::string& input = "") {
  auto process = world.world().processes.spawn(std::move(options)).value();
  REQUIRE(run_task(world.loop(), process->input().write(input)).has_value());
  process->input().shutdown_write();
  Ran ran;
  ran.output = run_task(world.loop(), read_all(process->output())).value();
  ran.errors = run_task(world.loop(), read_all(process->errors())).value();
  ran.status = run_task(world.loop(), process->wait());
  return ran;
}

bool exists(std::int64_t pid) {
  return kill(static_cast<pid_t>(pid), 0) == 0;
}

// Gone, or a zombie that nobody has reaped.
bool is_dead(std::int64_t pid) {
  std::FILE* file = std::fopen(("/proc/" + std::to_string(pid) + "/stat").c_str(), "r");
  if (file == nullptr) return true;
  char letter = 'X';
  const bool read = std::fscanf(file, "%*d (%*[^)]) %c", &letter) == 1;
  std::fclose(file);
  return !read || letter == 'Z' || letter == 'X';
}

}  // namespace

TEST_CASE("a process gets its input and gives output, errors and a code", "[io]") {
  UvWorld world;
  const Ran ran = run(world, shell("cat; echo oops >&2; exit 7"), "hello");
  CHECK(ran.output == "hello");
  CHECK(ran.errors == "oops\n");
  CHECK(ran.status == ExitStatus{7, 0});
}

TEST_CASE("a process that a signal ended says which", "[io]") {
  UvWorld world;
  auto process = world.world().processes.spawn(shell("exec sleep 100")).value();
  process->signal(SIGTERM);
  CHECK(run_task(world.loop(), process->wait()) == ExitStatus{0, SIGTERM});
  process->signal(SIGTERM);  // reaches nobody
  CHECK(run_task(world.loop(), process->wait()) == ExitStatus{0, SIGTERM});
}

TEST_CASE("a process sees the environment and the folder that it was given, no more", "[io]") {
  UvWorld world;
  ProcessOptions options;
  options.command = {"/usr/bin/env"};
  options.environment = {{"A", "1"}, {"B", "two words"}};
  CHECK(run(world, options).output == "A=1\nB=two words\n");
  options = shell("/bin/pwd");
  options.directory = "/usr";
  CHECK(run(world, options).output == "/usr\n");
}

TEST_CASE("a process inherits the descriptors that were named and no others", "[io]") {
  UvWorld world;
  int ends[2];
  REQUIRE(pipe2(ends, O_CLOEXEC) == 0);
  const int leaky =
      open("/dev/null", O_RDONLY);  // without close-on-exec, as a careless library does
  ProcessOptions options = shell("echo through >&3; exec ls /proc/self/fd");
  options.environment = {{"PATH", "/usr/bin:/bin"}};
  options.inherit = {ends[1]};
  const Ran ran = run(world, options);
  close(ends[1]);
  close(leaky);
  CHECK(ran.output == "0\n1\n2\n3\n4\n");  // 4: the folder that ls itself reads
  auto reading = world.world().network.adopt(ends[0]).value();
  CHECK(run_task(world.loop(), reading->read(100)).value() == "through\n");
}

TEST_CASE("a process leads a session of its own and has the default signals", "[io]") {
  UvWorld world;
  const Ran ran =
      run(world, shell("read -r pid rest < /proc/self/stat; cat /proc/$$/stat; kill -PIPE $$"));
  int pid = 0;
  int parent = 0;
  int group = 0;
  int session = 0;
  REQUIRE(std::sscanf(ran.output.c_str(), "%d (%*[^)]) %*c %d %d %d", &pid, &parent, &group,
                      &session) == 4);
  CHECK(group == pid);
  CHECK(session == pid);
  CHECK(ran.status == ExitStatus{0, SIGPIPE});
}

TEST_CASE("destroying a process kills its whole group and reaps it", "[io]") {
  std::int64_t leader = 0;
  std::int64_t child = 0;
  {
    UvWorld world;
    auto process =
        world.world().processes.spawn(shell("sleep 100 & echo $!; trap '' TERM; wait; sleep 100"));
    REQUIRE(process.has_value());
    leader = (*process)->pid();
    child = std::stoll(run_task(world.loop(), (*process)->output().read(100)).value());
    CHECK(exists(leader));
    CHECK(exists(child));
  }
  CHECK_FALSE(exists(leader));
  // The grandchild is reaped by init (or stays a zombie in a container without one). It was sent
  // SIGKILL, which takes effect when the kernel next runs it.
  for (int i = 0; i < 2000 && !is_dead(child); ++i) ::usleep(1000);
  CHECK(is_dead(child));
}

TEST_CASE("the rest of a group dies with its leader", "[io]") {
  UvWorld world;
  const Ran ran =
      run(world, shell("sleep 100 & exit 3"));  // reading to the end would hang otherwise
  CHECK(ran.status == ExitStatus{3, 0});
}

TEST_CASE("waiting can be cancelled and taken up again", "[io]") {
  UvWorld world;
  auto process = world.world().processes.spawn(shell("read line; exit 4")).value();
  auto impatient = [](Process& p) -> Task<Result<ExitStatus>> {
    const ExitStatus status = co_await p.wait();
    co_return status;
  };
  const auto early = run_task(world.loop(), with_timeout(milliseconds(1), impatient(*process)));
  CHECK(early.error().code == Code::timeout);
  process->input().close();
  CHECK(run_task(world.loop(), process->wait()).code == 4);
}

TEST_CASE("a program that cannot be started is an error that names it", "[io]") {
  UvWorld world;
  Processes& processes = world.world().processes;
  ProcessOptions options;
  CHECK(processes.spawn(options).error().message == "start a process: the command is empty");
  options.command = {"/no/such/program"};
  CHECK(processes.spawn(options).error() ==
        Error{Code::not_found, "start /no/such/program: no such file or directory"});
  const TemporaryFolder folder;
  REQUIRE(write_file(folder.path() + "/text", "not a program", 0644).has_value());
  options.command = {folder.path() + "/text"};
  CHECK(processes.spawn(options).error().code == Code::denied);
  options.command = {"/bin/true"};
  options.directory = "/no/such/folder";
  CHECK(processes.spawn(options).error().message ==
        "start /bin/true in /no/such/folder: no such file or directory");
  options.directory.clear();
  options.environment = {{"A=B", "1"}};
  CHECK(processes.spawn(options).error().code == Code::invalid);
}

TEST_CASE("starting and dropping processes leaves no descriptor and no zombie", "[io]") {
  UvWorld world;
  const auto open_descriptors = [] {
    int count = 0;
    for (int fd = 0; fd < 1024; ++fd) count += fcntl(fd, F_GETFD) != -1 ? 1 : 0;
    return count;
  };
  CHECK(run(world, shell("true")).status.code == 0);  // libuv opens its own on first use
  run_task(world.loop(), delay_task(Duration(0)));
  const int before = open_descriptors();
  std::vector<std::int64_t> pids;
  for (int n = 0; n < 10; ++n) {
    auto process = world.world().processes.spawn(shell("sleep 100")).value();
    pids.push_back(process->pid());
  }
  world.loop().run_until([&] { return !std::any_of(pids.begin(), pids.end(), exists); });
  run_task(world.loop(), delay_task(Duration(0)));
  CHECK(open_descriptors() == before);
}

}  // namespace ambit::io
