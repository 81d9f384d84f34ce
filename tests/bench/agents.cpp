// bench agents: 32 agents that talk at once, three turns each, one long system prompt that all
// share, with and without an answer that a schema binds: turns/s, tokens/s and time to the first
// token of the engine in process and of `ambit serve` over HTTP, beside llama-server (LLAMA_CPP
// names its folder) over HTTP on the same file, with the same client. Medians of five runs
// (AMBIT_BENCH_REPEATS).

#include "bench/figure.h"
#include "bench/models.h"
#include "bench/process.h"
#include "inference/engine.h"

#include <nlohmann/json.hpp>
#include <sys/wait.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <map>
#include <optional>
#include <thread>

namespace {

using namespace ambit;
using bench::Better;
using bench::Goal;
using Json = nlohmann::ordered_json;
using Clock = std::chrono::steady_clock;

constexpr int agents_count = 32;
constexpr int turns_count = 3;
constexpr int tokens_each = 32;
constexpr const char* key = "a-token-of-at-least-16-characters";
constexpr const char* schema =
    R"({"type":"object","properties":{"ticket":{"type":"string","maxLength":40},"priority":{"enum":["low","normal","high"]},"tags":{"type":"array","items":{"type":"string","maxLength":12},"maxItems":4}},"required":["ticket","priority","tags"],"additionalProperties":false})";
const std::vector<std::string> measures = {"turns_s", "tokens_s", "ttft_p50_ms", "ttft_p99_ms"};

using Figures = std::map<std::string, double>;

double milliseconds_since(Clock::time_point begin) {
  return std::chrono::duration<double, std::milli>(Clock::now() - begin).count();
}

// Instructions and tools, as text: each server would write tools in its own way.
Json work_of(bool bound) {
  std::string system = "You work the desk. Tools: ";
  for (int i = 0; i < 8; ++i)
    system += "tool" + std::to_string(i) + " takes the number of a ticket and a note to add; ";
  Json work = {{"agents", agents_count},
               {"turns", turns_count},
               {"tokens", tokens_each},
               {"system", system},
               {"user", "the printer on the second floor is on fire again, what is to be done?"},
               {"schema", nullptr}};
  if (bound) work["schema"] = Json::parse(schema);
  return work;
}

Figures summary(std::vector<double> firsts, double tokens, double seconds) {
  return {{"turns_s", agents_count * turns_count / seconds},
          {"tokens_s", tokens / seconds},
          {"ttft_p50_ms", bench::quantile(firsts, 0.5)},
          {"ttft_p99_ms", bench::quantile(firsts, 0.99)}};
}

struct Tally {
  std::vector<double> firsts;
  double tokens = 0;
  bool failed = false;
};

Task<void> converse(agents::Model& model, const Json& work, int number, Tally& tally) {
  agents::TurnRequest base;
  base.session = "agent-" + std::to_string(number);
  base.tokens_max = tokens_each;
  base.sampling.temperature = 0;
  if (!work["schema"].is_null()) base.output_schema = work["schema"].dump();
  std::vector<agents::Message> messages = {
      {agents::Role::system, work["system"].get<std::string>(), {}, "", ""}};
  for (int n = 0; n < turns_count; ++n) {
    messages.push_back(
        {agents::Role::user,
         std::to_string(number) + "." + std::to_string(n) + ": " + work["user"].get<std::string>(),
         {},
         "",
         ""});
    agents::TurnRequest request = base;
    for (const agents::Message& message : messages) request.messages.push_back(message);
    std::optional<double> first;
    const Clock::time_point asked = Clock::now();
    request.on_text = [&first, asked](const std::string& /*piece*/) {
      if (!first) first = milliseconds_since(asked);
    };
    auto turn = co_await model.generate(std::move(request));
    if (!turn) {
      std::fprintf(stderr, "in process: %s\n", turn.error().message.c_str());
      tally.failed = true;
      co_return;
    }
    tally.firsts.push_back(first ? *first : milliseconds_since(asked));
    tally.tokens += static_cast<double>(turn->usage.output_tokens);
    messages.push_back({agents::Role::assistant, turn->message.content, {}, "", ""});
  }
}

std::optional<Figures> in_process(const std::string& path, bool bound) {
  io::UvWorld world;
  inference::EngineOptions options;
  options.threads = std::max(1U, std::thread::hardware_concurrency());
  options.batch_max = agents_count;
  auto engine = inference::Engine::open(path, options, world.loop());
  if (!engine) {
    std::fprintf(stderr, "%s\n", engine.error().message.c_str());
    return std::nullopt;
  }
  const Json work = work_of(bound);
  Tally tally;
  const Clock::time_point began = Clock::now();
  {
    Scope scope;
    for (int i = 0; i < agents_count; ++i) scope.spawn(converse(**engine, work, i, tally));
    world.loop().run_until([&] { return scope.size() == 0; });
  }
  if (tally.failed) return std::nullopt;
  return summary(std::move(tally.firsts), tally.tokens, milliseconds_since(began) / 1000);
}

// Runs the client against a server that is there, until it answers at all.
std::optional<Figures> over_http(const std::string& url, const std::string& model, bool bound) {
  const std::string path = "build/bench-agents-work.json";
  std::ofstream(path) << work_of(bound).dump();
  const std::string command = "node '" + std::string(PEER_SCRIPT) + "' '" + url + "' '" + model +
                              "' " + key + " '" + path + "'";
  std::FILE* pipe = popen(command.c_str(), "r");
  if (pipe == nullptr) return std::nullopt;
  std::string text;
  char buffer[4096];
  for (std::size_t n = 0; (n = std::fread(buffer, 1, sizeof buffer, pipe)) > 0;)
    text.append(buffer, n);
  if (pclose(pipe) != 0) return std::nullopt;
  const Json said = Json::parse(text, nullptr, false);
  if (!said.is_object()) return std::nullopt;
  Figures figures;
  for (const std::string& measure : measures) figures[measure] = said.value(measure, 0.0);
  return figures;
}

bool answers(const std::string& url) {
  const std::string command = "curl -s -o /dev/null -f -H 'Authorization: Bearer " +
                              std::string(key) + "' '" + url + "/v1/models'";
  return std::system(command.c_str()) == 0;  // NOLINT(cert-env33-c)
}

// A server for as long as it lives.
class Serving {
 public:
  Serving(const std::string& command, std::string url) : url_(std::move(url)) {
    pid_ = ::fork();
    if (pid_ == 0) {
      ::execl("/bin/sh", "sh", "-c", ("exec " + command).c_str(), nullptr);
      ::_exit(127);
    }
    for (int i = 0; i < 600 && !up_; ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
      up_ = answers(url_);
    }
  }
  ~Serving() {
    ::kill(pid_, SIGKILL);
    ::waitpid(pid_, nullptr, 0);
  }
  Serving(const Serving&) = delete;
  Serving& operator=(const Serving&) = delete;
  [[nodiscard]] bool up() const { return up_; }
  [[nodiscard]] const std::string& url() const { return url_; }

 private:
  std::string url_;
  pid_t pid_ = -1;
  bool up_ = false;
};

Figures medians(const std::vector<Figures>& all) {
  Figures middle;
  for (const std::string& measure : measures) {
    std::vector<double> values;
    for (const Figures& one : all) values.push_back(one.at(measure));
    middle[measure] = bench::quantile(values, 0.5);
  }
  return middle;
}

std::optional<Figures> repeat(const std::string& who,
                              const std::function<std::optional<Figures>()>& once) {
  const char* given = std::getenv("AMBIT_BENCH_REPEATS");
  const int repeats = std::clamp(given != nullptr ? std::atoi(given) : 5, 1, 100);
  std::vector<Figures> all;
  for (int i = 0; i < repeats; ++i) {
    const auto figures = once();
    if (!figures) return std::nullopt;
    all.push_back(*figures);
    std::fprintf(stderr, "%s, run %d of %d: %.1f turns/s\n", who.c_str(), i + 1, repeats,
                 figures->at("turns_s"));
  }
  return medians(all);
}

void print(const std::string& what, const Figures& ours, const std::optional<Figures>& theirs,
           double goal) {
  for (const std::string& measure : measures) {
    bench::Figure line;
    line.bench = "agents";
    line.what = what + ", " + measure;
    line.unit = measure.ends_with("_ms") ? "ms" : "1/s";
    line.better = measure.ends_with("_ms") ? Better::less : Better::more;
    line.ours = ours.at(measure);
    if (theirs) {
      line.peer = "llama-server";
      line.theirs = theirs->at(measure);
      line.goal_on = measure == "turns_s" ? Goal::ratio : Goal::none;
      line.goal = goal;
    }
    bench::print(line);
  }
}

}  // namespace

int main() {
  const char* shape = std::getenv("AMBIT_BENCH_SHAPE");
  const std::string path = bench::model_file(shape != nullptr ? shape : "smollm2-135m", "Q8_0");
  if (path.empty()) return 1;
  const std::string whole = std::filesystem::absolute(path).string();
  const std::string threads = std::to_string(std::max(1U, std::thread::hardware_concurrency()));
  const char* peer = std::getenv("LLAMA_CPP");
  std::map<bool, std::optional<Figures>> theirs;
  if (peer == nullptr) {
    std::fprintf(stderr, "skipped: llama-server (LLAMA_CPP does not name its folder)\n");
  } else {
    // With -fa: its slots share one cache, and without it each walks through the others' part, too.
    const Serving server("'" + std::string(peer) + "/llama-server' -fa -m '" + path + "' -t " +
                             threads + " -tb " + threads + " -np " + std::to_string(agents_count) +
                             " -c " + std::to_string(agents_count * 1280) +
                             " --port 18431 --api-key " + key +
                             " >build/bench-agents-peer.log 2>&1",
                         "http://127.0.0.1:18431");
    for (const bool bound : {false, true})
      theirs[bound] = repeat("llama-server", [&]() -> std::optional<Figures> {
        return server.up() ? over_http(server.url(), "m", bound) : std::nullopt;
      });
    if (!theirs[false])
      std::fprintf(stderr, "skipped: llama-server: see build/bench-agents-peer.log\n");
  }
  const std::string fleet = "build/bench-agents-fleet.json";
  std::ofstream("build/bench-agents.cedar") << "permit (principal, action, resource);\n";
  std::ofstream(fleet) << Json{
      {"policies", {"bench-agents.cedar"}},
      {"models", {{"m", {{"model", whole}, {"contextLength", 2048}}}}},
      {"agents", {{"a", {{"instructions", "-"}, {"model", "m"}, {"a2a", Json::object()}}}}},
      {"workflow",
       {{"agent", "a"},
        {"prompt", "-"}}}}.dump();
  std::filesystem::remove_all("build/bench-agents-state");
  ::setenv("AMBIT_TOKEN", key, 1);
  const Serving ours("build/release/ambit serve " + fleet +
                         " --listen 127.0.0.1:18432 --state build/bench-agents-state "
                         ">build/bench-agents-ours.log 2>&1",
                     "http://127.0.0.1:18432");
  std::map<bool, Figures> unbound;
  for (const bool bound : {false, true}) {
    const std::string kind = bound ? ", bound by a schema" : "";
    const auto inside = repeat("in process", [&] { return in_process(path, bound); });
    if (!inside) return 1;
    print("in process" + kind, *inside, theirs[bound], 2);
    unbound[bound] = *inside;
    const auto outside = repeat("over HTTP", [&]() -> std::optional<Figures> {
      return ours.up() ? over_http(ours.url(), "m", bound) : std::nullopt;
    });
    if (outside)
      print("over HTTP" + kind, *outside, theirs[bound], 1);
    else
      std::fprintf(stderr, "no answer over HTTP: see build/bench-agents-ours.log\n");
  }
  bench::print({"agents", "what the schema costs a token, in process", "part", Better::less,
                unbound[false]["tokens_s"] / unbound[true]["tokens_s"] - 1, "", 0, Goal::ours,
                0.03});
}
