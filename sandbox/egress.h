#pragma once

// The proxy of one call: what its jail may reach of the network. It reads a request, finds the rule
// that permits it, asks the gate (which decides and records), fills in secrets and carries it out;
// names are resolved here and not by the jail, and only public addresses are connected to unless
// the rule says otherwise. Redirects are answers like any other: following one is a new request.

#include "http/service.h"
#include "io/world.h"
#include "sandbox/egress_request.h"
#include "sandbox/gate.h"

#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace ambit::sandbox {

struct EgressLimits {
  std::size_t connections_max = 16;  // of one call at once; more are closed
  std::size_t requests_max = 256;    // of one call
  std::size_t body_bytes_max = 4 << 20;
  std::uint64_t response_bytes_max = 64 << 20;
  std::uint64_t tunnel_bytes_max = 256 << 20;  // each way
  Duration connect_timeout = std::chrono::seconds(10);
};

// What a runner needs for level net; `client` nullptr: there is none.
struct EgressOptions {
  http::Client* client = nullptr;          // connects to public addresses alone
  http::Client* private_client = nullptr;  // for rules of private origins; nullptr: none work
  // The value of a secret, by the name in a rule.
  std::function<std::optional<std::string>(const std::string& name)> secret{};
  // Addresses of a host as text; absent: the system's resolver, in Workers.
  std::function<Task<Result<std::vector<std::string>>>(std::string host)> resolve{};
  EgressLimits limits{};
};

class EgressProxy {
 public:
  // Everything outlives the proxy, and the proxy its tasks.
  EgressProxy(io::World& world, const EgressOptions& options, Gate& gate,
              const agents::JailCall& call, egress::Secrets secrets);
  // One connection of the jail's, to its end: one request, or one tunnel.
  Task<void> serve(std::unique_ptr<io::Stream> jail);

  // The secrets of the call's rules with placeholders of their own. Error: one has no value.
  static Result<egress::Secrets> make_secrets(io::World& world, const EgressOptions& options,
                                              const agents::Profile& profile);

 private:
  struct Exchange;
  Task<egress::Judged<std::string>> read_body(Exchange& exchange);
  Task<egress::Judged<http::Request>> prepare(Exchange& exchange);
  Task<void> forward(Exchange& exchange);
  Task<void> answer(Exchange& exchange, http::Reply reply);
  Task<void> tunnel(Exchange& exchange);
  Task<Result<std::unique_ptr<io::Stream>>> connect(Exchange& exchange);
  Task<Result<std::vector<std::string>>> resolve(std::string host);
  static Task<void> refuse(Exchange& exchange, int status, std::string why);

  io::World& world_;
  const EgressOptions& options_;
  Gate& gate_;
  agents::Profile profile_;
  std::string agent_;
  std::string session_;
  egress::Secrets secrets_;
  std::size_t requests_ = 0;
};

}  // namespace ambit::sandbox
