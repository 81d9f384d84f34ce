#pragma once

// StdioServer: a Server on a pair of streams (our own stdin and stdout, a socket), one message a
// line, for one client of either era. It ends when the client closes its side.

#include "mcp/server.h"
#include "mcp/stdio.h"
#include "rpc/peer.h"

#include <string>

namespace ambit::mcp {

class StdioServer final : private Wire {
 public:
  // Reads from `in`, writes to `out`; they and the server outlive it.
  StdioServer(Server& server, io::Stream& in, io::Stream& out, std::string principal);

  // Serves until the connection ends; gives the reason (Code::closed: the client has gone).
  Task<Error> run();

 private:
  Task<Result<void>> notify(std::string method, Value params) override;
  Task<Result<rpc::Reply>> ask(std::string method, Value params) override;
  Task<rpc::Reply> answer(rpc::Request request);
  void on_notification(const rpc::Notification& notification);
  Task<void> write();
  Task<void> tell();

  Server& server_;
  std::string principal_;
  Session session_;
  bool telling_ = false;
  StdioTransport transport_;
  rpc::Peer peer_;
  Scope scope_;
};

}  // namespace ambit::mcp
