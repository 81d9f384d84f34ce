#pragma once

// The stdio transport: one JSON-RPC message a line, over any pair of streams. A line has a bound,
// the queue towards the server has a bound, and what the server prints on stderr is read for ever
// but only its end is kept. Who owns the process behind the streams is the Connection's business (a
// jail, a test).

#include "async/channel.h"
#include "io/stream.h"
#include "mcp/transport.h"

#include <cstddef>
#include <memory>
#include <string>

namespace ambit::mcp {

// A server's three streams, or another transport to it; `owner` keeps them (and the process behind
// them) alive. Letting go of the owner must end the server.
struct Connection {
  std::shared_ptr<void> owner;
  io::Stream* input = nullptr;                 // its stdin: we write
  io::Stream* output = nullptr;                // its stdout: we read
  io::Stream* errors = nullptr;                // its stderr, or none
  std::shared_ptr<ClientTransport> transport;  // instead of the streams
};

struct StdioLimits {
  std::size_t line_bytes_max = 16 << 20;
  std::size_t sends_max = 64;  // messages that wait for the server to read
  std::size_t stderr_bytes_kept = 4096;
};

class StdioTransport final : public ClientTransport {
 public:
  StdioTransport(io::Stream& input, io::Stream& output, StdioLimits limits = {});

  // Waits while the queue is full; the message leaves whole even if the waiting task is destroyed.
  Task<Result<void>> send(std::string message) override;
  // The next line that is not blank. Code::exhausted for a line beyond the bound.
  Task<Result<std::string>> receive() override;

  // Writes the queue to the server until that fails.
  Task<Error> run() override;

 private:
  [[nodiscard]] bool take_line(std::string& line);

  io::Stream& input_;
  io::Stream& output_;
  StdioLimits limits_;
  Channel<std::string> outgoing_;
  std::string buffer_;  // read and not yet given away, from `begin_` on
  std::size_t begin_ = 0;
  std::size_t searched_ = 0;  // no line break between begin_ and here
};

// The end of what a server printed on stderr.
class StderrTail {
 public:
  explicit StderrTail(std::size_t bytes_max) : bytes_max_(bytes_max) {}
  // Reads to the end of the stream.
  Task<void> drain(io::Stream& stream);
  // Printable, one line, for a message to a person; empty if it printed nothing.
  [[nodiscard]] std::string text() const;

 private:
  std::size_t bytes_max_;
  std::string kept_;
};

}  // namespace ambit::mcp
