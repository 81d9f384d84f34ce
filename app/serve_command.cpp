// ambit serve FLEET: what app/serving.h does, with its options.

#include "app/callers.h"
#include "app/command.h"
#include "app/exposed.h"
#include "app/load_fleet.h"
#include "app/serving.h"

#include <sstream>

namespace ambit::app {
namespace {

std::vector<std::string> split_commas(const std::string& text) {
  std::vector<std::string> parts;
  std::istringstream in(text);
  for (std::string part; std::getline(in, part, ',');) {
    if (!part.empty()) parts.push_back(part);
  }
  return parts;
}

int serve_file(const Options& options, const Context& context) {
  ServeOptions serve;
  serve.listen = options.text("listen", "127.0.0.1:8080");
  serve.url = options.text("url");
  serve.grpc = options.text("grpc");
  serve.grpc_url = options.text("grpc-url");
  serve.hosts = split_commas(options.text("hosts"));
  serve.speaks_0_3 = !options.flag("no-0.3");
  if (options.flag("console")) serve.console = absolute(context, options.text("console"));
  serve.assembly.state = absolute(context, options.text("state", ".ambit"));
  serve.assembly.environment = context.environment;
  const auto drain = options.integer("drain", 10, 0, 3600);
  const auto seed = options.integer("seed", 0, 0, (std::int64_t{1} << 53) - 1);
  const auto batch = options.integer("max-batch", 64, 1, 4096);
  const auto threads = options.integer("threads", 0, 0, 1024);
  const auto rate = options.integer("rate", 0, 0, 1'000'000);
  for (const auto* number : {&drain, &seed, &batch, &threads, &rate}) {
    if (!*number) {
      fail(number->error());
      return 2;
    }
  }
  serve.drain_seconds = *drain;
  serve.seed = static_cast<std::uint64_t>(*seed);
  serve.assembly.batch_max = *batch;
  serve.assembly.threads = *threads;
  auto callers = Callers::read(options, context);
  if (!callers) return fail(callers.error());
  serve.callers = std::make_shared<Callers>(std::move(*callers));
  serve.calls_per_second = *rate;
  const std::string& path = options.positional()[0];
  auto file = load_fleet(context, path);
  if (!file) return fail(file.error());
  if (!file->problems.empty()) return fail(problem_line(path, file->problems.front()));
  const bool wants_agents = !serve.grpc.empty();
  if (!exposes_any(file->fleet) && (wants_agents || file->fleet.models.empty())) {
    return fail(path + ": no agent is exposed" + (wants_agents ? "" : ", and there is no model") +
                "; add \"a2a\": {} to those that others may call" +
                (wants_agents ? ", or leave out --grpc" : ""));
  }
  serve.fleet_file = path;
  serve.read_fleet = [&context, &path] { return load_fleet(context, path); };
  const auto result = serve_fleet(serve, std::move(file->fleet));
  return result ? 0 : fail(result.error());
}

}  // namespace

Command serve_command() {
  std::vector<OptionSpec> specs = {
      {"listen", "ADDRESS", "where to listen (default 127.0.0.1:8080; port 0: any)"},
      {"hosts", "NAMES", "the names it answers to, with commas; needed beyond loopback"},
      {"url", "URL", "how others reach it, for the cards (default: the address)"},
      {"grpc", "ADDRESS", "also listen for gRPC there (default: do not)"},
      {"grpc-url", "ADDRESS", "how others reach that, for the cards (default: the address)"},
      {"rate", "N", "at most N operations a second of one caller (default: any number)"},
      {"no-0.3", "", "speak A2A 1.0 alone"},
      {"console", "FILE", "offer the review page at /console; a line is \"TOKEN NAME ROLE\""},
      {"drain", "SECONDS", "how long to wait for what is under way at the end (default 10)"},
      {"seed", "N", "seed of the sampling (default 0)"},
      {"max-batch", "N", "at most N sessions in one forward pass (default 64)"},
      {"threads", "N", "threads of the engine (default: all processors)"},
      {"state", "DIR", "where journal and work directories are kept (default .ambit)"}};
  const auto callers = Callers::options();
  specs.insert(specs.end(), callers.begin(), callers.end());
  return {"serve",
          "FLEET",
          "offer a fleet's models as OpenAI's API, and its exposed agents over A2A and MCP",
          std::move(specs),
          1,
          1,
          serve_file};
}

}  // namespace ambit::app
