#pragma once

// A world with a proxy, a gate that listens and a server that jails reach by the rules alone: for
// the tests of level net and of opens, and for the attacks on them.

#include "http/curl_client.h"
#include "http/responder.h"
#include "jail_fixture.h"

#include <cstdlib>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace ambit::sandbox {

// Says yes unless it is told to refuse, and keeps what it heard.
class ListeningGate final : public Gate {
 public:
  Task<Result<void>> may_request(EgressAsk ask) override {
    asked.push_back(ask.method + " " + ask.url);
    secrets = ask.secrets;
    urgency = Loop::current().urgency();
    if (refuses) co_return Err(Code::denied, "policy says no");
    co_return Result<void>{};
  }
  Task<void> requested(EgressAsk ask, EgressResult result) override {
    ended.push_back(std::to_string(result.status) + " " + ask.url);
    last = std::move(result);
    co_return;
  }
  Task<Result<void>> may_open(OpenAsk ask) override {
    opens.push_back((ask.writes ? "write " : "read ") + ask.path);
    urgency = Loop::current().urgency();
    co_await delay(std::chrono::milliseconds(5));
    if (refuses) co_return Err(Code::denied, "policy says no");
    co_return Result<void>{};
  }
  bool refuses = false;
  std::vector<std::string> asked;
  std::vector<std::string> ended;
  std::vector<std::string> opens;
  std::vector<std::string> secrets;
  Urgency urgency;  // of what was asked last
  EgressResult last;
};

struct Outdoors {
  explicit Outdoors(RunnerOptions options = {})
      : private_client(world.watcher()),
        public_client(world.watcher(), public_alone()),
        server(world.world()) {
    options.gate = &gate;
    options.egress.client = &public_client;
    options.egress.private_client = &private_client;
    options.egress.secret = [](const std::string& name) {
      return name == "API_KEY" ? std::optional<std::string>("hunter2") : std::nullopt;
    };
    options.egress.resolve = [this](std::string host) { return look_up(std::move(host)); };
    auto opened = ZygoteRunner::open(world.world(), std::move(options));
    if (!opened) std::abort();
    runner = std::move(*opened);
  }
  static http::CurlOptions public_alone() {
    http::CurlOptions options;
    options.connects_to_public_alone = true;
    return options;
  }
  Task<Result<std::vector<std::string>>> look_up(std::string host) {
    looked_up.push_back(std::move(host));
    co_return addresses;
  }
  agents::JailOutcome run(agents::JailCall call, Urgency urgency = {}) {
    std::optional<agents::JailOutcome> outcome;
    const auto keep = [](ZygoteRunner& in, agents::JailCall what,
                         std::optional<agents::JailOutcome>& into, Loop& loop,
                         Urgency of) -> Task<void> {
      co_await become(of);
      into = co_await in.run(std::move(what));
      loop.post_from_thread([] {});
    };
    Scope scope;
    scope.spawn(keep(*runner, std::move(call), outcome, world.loop(), urgency));
    world.loop().run_until([&] { return outcome.has_value(); });
    return std::move(*outcome);
  }
  // "http://127.0.0.1:4711", "127.0.0.1:4711", "4711"
  [[nodiscard]] std::string origin() const { return server.url(""); }
  [[nodiscard]] std::string host() const { return origin().substr(7); }
  [[nodiscard]] std::string port() const { return host().substr(host().find(':') + 1); }

  io::UvWorld world;
  http::CurlClient private_client;
  http::CurlClient public_client;
  http::Responder server;
  ListeningGate gate;
  std::vector<std::string> addresses;  // what every name stands for
  std::vector<std::string> looked_up;
  std::unique_ptr<ZygoteRunner> runner;
};

// Says `text` to the proxy and prints the answer, or does what `script` does with descriptor 3.
inline agents::JailCall saying(const std::string& text, std::vector<agents::EgressRule> rules,
                               const std::string& script = "printf '%b' \"$1\" >&3; cat <&3") {
  agents::JailCall call;
  call.profile.level = "net";
  call.profile.egress = std::move(rules);
  call.profile.wall_ms = 5000;
  call.command = {"bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/${http_proxy##*:}; " + script, "bash",
                  text};
  return call;
}

}  // namespace ambit::sandbox
