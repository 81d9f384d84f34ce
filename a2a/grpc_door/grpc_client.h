#pragma once

// GrpcClient: agents that are spoken to over gRPC, behind the interface of HTTP that the client of
// A2A uses: a request is a POST to HOST:PORT/SERVICE/METHOD with the JSON of its message, the
// answer has the JSON of the answer's message, one SSE event for each message of a stream, and an
// error is what REST says. gRPC's threads only carry bytes to the loop. TLS, but for loopback and
// http://.

#include "async/loop.h"
#include "http/service.h"

#include <cstddef>
#include <memory>
#include <string>

namespace ambit::a2a {

struct GrpcClientOptions {
  std::size_t message_bytes_max = 16 << 20;
  std::size_t channels_max = 64;                  // to so many addresses; the first one makes room
  std::string ca_file;                            // PEM; empty: the system's
  Duration keepalive = std::chrono::seconds(30);  // of a quiet connection
};

class GrpcClient final : public http::Client {
 public:
  explicit GrpcClient(Loop& loop, GrpcClientOptions options = {});
  ~GrpcClient() override;
  GrpcClient(const GrpcClient&) = delete;
  GrpcClient& operator=(const GrpcClient&) = delete;

  Task<Result<http::Response>> send(http::Request request) override;
  Task<Result<http::Reply>> open(http::Request request) override;

 private:
  class Hall;
  std::unique_ptr<Hall> hall_;
};

}  // namespace ambit::a2a
