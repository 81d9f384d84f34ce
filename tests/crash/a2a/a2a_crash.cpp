// a2a_crash TASKS KILLS: a server of A2A on a real journal, and as many clients as there are tasks,
// each following the stream of its own. The server is killed with kill -9 while they stream, and
// started again; what each client holds in the end must be what its task said, no word missing and
// none twice. (a2a_crash serve FOLDER ADDRESS is the server.)

#include "a2a/client.h"
#include "a2a/door.h"
#include "a2a/journal_store.h"
#include "a2a/service.h"
#include "async/race.h"
#include "http/curl_client.h"
#include "http/server.h"
#include "io/uv_world.h"
#include "log/journal.h"
#include "log/verify.h"
#include "temporary_folder.h"

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

namespace ambit::a2a {
namespace {

constexpr int chunks = 200;
constexpr Duration pause_between = std::chrono::milliseconds(50);

std::string word(int n) {
  return std::to_string(n) + " ";
}

// Says its words one by one and goes on behind the last that is recorded.
class Counting final : public TaskRunner {
 public:
  Task<Result<std::optional<Message>>> answer(Run /*run*/) override {
    co_return std::optional<Message>();
  }
  Task<Result<void>> run(Run /*run*/, RunEvents& events) override {
    co_await ok(events.status(TaskState::working, std::nullopt));
    co_return co_await count(0, events);
  }
  Task<Result<void>> resume(Run /*run*/, TaskRecord so_far, RunEvents& events) override {
    const std::size_t said = so_far.artifacts.empty() ? 0 : so_far.artifacts[0].parts.size();
    co_return co_await count(static_cast<int>(said), events);
  }

 private:
  static Task<Result<void>> count(int from, RunEvents& events) {
    for (int n = from; n < chunks; ++n) {
      co_await delay(pause_between);
      Artifact artifact;
      artifact.id = "words";
      artifact.parts.push_back(text_part(word(n)));
      co_await ok(events.artifact(std::move(artifact), n > 0, n + 1 == chunks));
    }
    co_return co_await events.status(TaskState::completed, std::nullopt);
  }
};

AgentCard card_at(const std::string& url) {
  AgentCard card;
  card.name = "counting";
  card.description = "Counts.";
  card.version = "1";
  card.interfaces = {{url + "/", "JSONRPC", "1.0", ""}};
  return card;
}

int serve(const std::string& folder, const std::string& address) {
  io::UvWorld world;
  log::JournalOptions options;
  options.writer.folder = folder;
  auto journal = log::LogJournal::open(world.world(), options);
  if (!journal) {
    std::fprintf(stderr, "a2a_crash: %s\n", journal.error().message.c_str());
    return 1;
  }
  StoreLimits limits;
  limits.tasks_max = 100'000;
  JournalTaskStore store(**journal, "counting", limits);
  log::Filter filter;
  filter.type = "task.created";
  std::vector<std::string> ids;
  const auto read = (*journal)->reader().for_each(filter, [&](const log::Leaf& leaf) {
    ids.push_back(leaf.run);
    return true;
  });
  const auto restored = store.restore(ids);
  for (const Error& error : restored.left_out) {
    std::fprintf(stderr, "a2a_crash: left out: %s\n", error.message.c_str());
  }
  Counting runner;
  ServiceOptions service_options;
  service_options.card = card_at("http://" + address);
  service_options.runs_max = 100'000;
  Service service(world.world(), store, runner, service_options);
  Door door(service, 0);
  http::ServerOptions server_options;
  server_options.address = address;
  server_options.connections_max = 10'000;
  auto server = http::Server::listen(world.world(), server_options, [&](http::Exchange& exchange) {
    return door.handle(exchange);
  });
  if (!read || !server) {
    std::fprintf(stderr, "a2a_crash: cannot serve\n");
    return 1;
  }
  std::printf("%s resumed %zu\n", (*server)->address().c_str(), service.recover());
  std::fflush(stdout);
  world.loop().run();
  return 0;
}

struct Outcome {
  std::string text;
  TaskState state = TaskState::unspecified;
  std::string error;
  int resumes = 0;
  bool is_begun = false;
};

// What a client holds: a task that comes whole stands for all before it.
void hear(Outcome& outcome, const StreamEvent& event) {
  outcome.is_begun = true;
  if (const auto* task = std::get_if<TaskRecord>(&event)) {
    outcome.text.clear();
    outcome.state = task->status.state;
    for (const Artifact& artifact : task->artifacts) {
      for (const Part& part : artifact.parts) outcome.text += part.text;
    }
  } else if (const auto* status = std::get_if<StatusUpdate>(&event)) {
    outcome.state = status->status.state;
  } else if (const auto* chunk = std::get_if<ArtifactUpdate>(&event)) {
    for (const Part& part : chunk->artifact.parts) outcome.text += part.text;
  }
}

Task<void> follow(http::Client& http, std::string url, int number, Outcome& outcome) {
  ClientOptions options;
  options.resumes_max = 12;
  auto agent = RemoteAgent::create(http, card_at(url), url, options);
  SendRequest request;
  request.message.id = "m" + std::to_string(number);
  request.message.role = Role::user;
  request.message.parts.push_back(text_part("count"));
  auto stream = co_await (*agent)->stream(std::move(request));
  if (!stream) {
    outcome.error = stream.error().message;
    co_return;
  }
  while (true) {
    auto event = co_await (*stream)->next();
    if (!event) outcome.error = event.error().message;
    if (!event || !*event) break;
    hear(outcome, **event);
  }
  outcome.resumes = (*stream)->resumes();
}

class Crash {
 public:
  Crash(std::string program, int tasks)
      : program_(std::move(program)), outcomes_(static_cast<std::size_t>(tasks)) {}

  int run(int kills) {
    start("127.0.0.1:0");
    http::CurlOptions options;
    options.transfers_max = outcomes_.size() + 100;
    options.connections_per_host_max = 0;
    {
      http::CurlClient http(world_.watcher(), options);
      Scope scope;
      for (std::size_t n = 0; n < outcomes_.size(); ++n) {
        scope.spawn(follow(http, "http://" + address_, static_cast<int>(n), outcomes_[n]));
      }
      wait_until_begun();
      for (int n = 0; n < kills; ++n) {
        wait(std::chrono::milliseconds(n == 0 ? 1000 : 4000));
        kill_and_restart();
      }
      world_.loop().run_until([&] { return scope.size() == 0; });
    }
    return report(kills);
  }

 private:
  void wait(Duration duration) {
    bool is_over = false;
    Scope scope;
    scope.spawn([](Duration time, bool& over) -> Task<void> {
      co_await delay(time);
      over = true;
    }(duration, is_over));
    world_.loop().run_until([&] { return is_over; });
  }

  // A task that its server never heard of could not be lost.
  void wait_until_begun() {
    const auto has_come = [](const Outcome& outcome) {
      return outcome.is_begun || !outcome.error.empty();
    };
    world_.loop().run_until(
        [&] { return std::all_of(outcomes_.begin(), outcomes_.end(), has_come); });
  }

  void start(const std::string& address) {
    io::ProcessOptions options;
    options.command = {program_, "serve", folder_.path(), address};
    server_ = std::move(*world_.world().processes.spawn(std::move(options)));
    std::string line;
    Scope scope;
    scope.spawn([](io::Stream& output, std::string& said) -> Task<void> {
      while (said.find('\n') == std::string::npos) {
        auto part = co_await output.read(256);
        if (!part || part->empty()) co_return;
        said += *part;
      }
    }(server_->output(), line));
    world_.loop().run_until([&] { return scope.size() == 0; });
    if (line.find(' ') == std::string::npos) {
      std::fprintf(stderr, "a2a_crash: the server did not start\n");
      std::exit(1);
    }
    address_ = line.substr(0, line.find(' '));
    std::printf("%s", line.substr(line.find(' ') + 1).c_str());
  }

  void kill_and_restart() {
    server_->signal(SIGKILL);
    // Until it is gone the log is its own.
    {
      Scope scope;
      scope.spawn(
          [](io::Process& process) -> Task<void> { (void)co_await process.wait(); }(*server_));
      world_.loop().run_until([&] { return scope.size() == 0; });
    }
    server_.reset();
    start(address_);
  }

  int report(int kills) {
    std::string expected;
    for (int n = 0; n < chunks; ++n) expected += word(n);
    std::size_t good = 0;
    std::size_t resumes = 0;
    for (const Outcome& outcome : outcomes_) {
      resumes += static_cast<std::size_t>(outcome.resumes);
      const bool is_whole = outcome.text == expected && outcome.state == TaskState::completed;
      good += is_whole ? 1 : 0;
      if (!is_whole && outcomes_.size() - good < 5) {
        std::printf("bad: %s, state %d, %zu of %zu bytes\n", outcome.error.c_str(),
                    static_cast<int>(outcome.state), outcome.text.size(), expected.size());
      }
    }
    server_->signal(SIGKILL);
    server_.reset();
    const auto log = log::verify_log(folder_.path());
    const bool is_sound = log && log->good();
    std::printf(
        "crash: %d kills -9 in the middle of %zu streaming tasks of %d events; resumed "
        "streams %zu; tasks lost, events lost or doubled %zu; the log %s\n",
        kills, outcomes_.size(), chunks, resumes, outcomes_.size() - good,
        is_sound ? "verifies" : "DOES NOT VERIFY");
    return good == outcomes_.size() && is_sound ? 0 : 1;
  }

  std::string program_;
  io::UvWorld world_;
  TemporaryFolder folder_;
  std::unique_ptr<io::Process> server_;
  std::string address_;
  std::vector<Outcome> outcomes_;
};

}  // namespace
}  // namespace ambit::a2a

int main(int count, char** arguments) {
  if (count == 4 && std::string_view(arguments[1]) == "serve") {
    return ambit::a2a::serve(arguments[2], arguments[3]);
  }
  if (count != 3) {
    std::fprintf(stderr, "usage: a2a_crash TASKS KILLS\n");
    return 2;
  }
  ambit::a2a::Crash crash(arguments[0], std::atoi(arguments[1]));
  return crash.run(std::atoi(arguments[2]));
}
