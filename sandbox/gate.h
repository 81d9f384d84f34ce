#pragma once

// What jails ask for while they run, and who decides: every request that goes out through the
// proxy, and every path that a command wants to open beyond its profile. The gate decides and
// records before anything happens (app/ wires it to the Guard and the Journal); without a gate all
// of it is refused.

#include "async/result.h"
#include "async/task.h"

#include <cstdint>
#include <string>
#include <vector>

namespace ambit::sandbox {

struct EgressAsk {
  std::string agent;
  std::string session;
  std::string profile;
  std::string method;  // "CONNECT" for a tunnel
  std::string url;     // scheme, host, port and path; no query, which may hold what is nobody's
  std::string host;
  std::uint16_t port = 0;
  std::vector<std::string> secrets{};  // names of those that are filled in
  std::uint64_t body_bytes = 0;
};

struct EgressResult {
  int status = 0;       // what the jail was answered
  std::string error{};  // why it was not what it asked for
  std::uint64_t sent_bytes = 0;
  std::uint64_t received_bytes = 0;
};

struct OpenAsk {
  std::string agent;
  std::string session;
  std::string profile;
  std::string path;  // absolute, not of the jail
  bool writes = false;
};

class Gate {
 public:
  virtual ~Gate() = default;
  // Decides, and has recorded the decision when it returns; may wait for a person. An error is the
  // reason why not, which the tool gets to read. The origin is one that the profile names.
  virtual Task<Result<void>> may_request(EgressAsk ask) = 0;
  // How it ended; also for requests that the proxy refused by itself, which were not decided on.
  virtual Task<void> requested(EgressAsk ask, EgressResult result) = 0;
  virtual Task<Result<void>> may_open(OpenAsk ask) = 0;
};

}  // namespace ambit::sandbox
