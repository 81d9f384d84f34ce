#pragma once

// ClientTransport: what a Client needs of the way to its server beside whole messages: somebody who
// runs it, the facts that were negotiated, and how a call is withdrawn. stdio.h and
// http_transport.h implement it.

#include "mcp/protocol.h"
#include "mcp/tool_headers.h"
#include "rpc/peer.h"

#include <functional>
#include <map>
#include <optional>
#include <string>

namespace ambit::mcp {

class ClientTransport : public rpc::Transport {
 public:
  // Hears of requests that will get no reply, and why.
  std::function<void(const rpc::Id&, Error)> on_failure;

  // Runs until nothing can be sent any more; gives the reason. Once, in a Scope.
  virtual Task<Error> run() = 0;

  // What is spoken from the next message on. A legacy server has been initialized by then.
  virtual void speak(Era /*era*/, const std::string& /*version*/) {}
  // For servers whose calls carry arguments in headers too, by tool.
  // NOLINTNEXTLINE(performance-unnecessary-value-param): who overrides it keeps them.
  virtual void mirror(std::map<std::string, HeaderParameters> /*tools*/) {}
  // The caller does not wait for this request any more. False: the server must be told by
  // notifications/cancelled.
  virtual bool withdraw(const rpc::Id& /*id*/) { return false; }
  // The progress token of our request on whose stream the server has asked this, where the
  // transport can tell.
  [[nodiscard]] virtual std::optional<std::int64_t> asked_within(
      const rpc::Id& /*question*/) const {
    return std::nullopt;
  }
  // Says goodbye where the protocol has a way to.
  virtual Task<void> close() { co_return; }
  // The server has forgotten who we are: nothing of the last request was done, and a fresh
  // connection can try it again.
  [[nodiscard]] virtual bool has_lost_session() const { return false; }
  // Servers of one origin speak one era; empty: the verdict is not worth remembering.
  [[nodiscard]] virtual std::string origin() const { return ""; }
};

}  // namespace ambit::mcp
