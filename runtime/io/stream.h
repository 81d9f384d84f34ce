#pragma once

// A two-way byte stream and a listener for them. Back-pressure by construction: bytes are read only
// while someone awaits read(), and write() is awaited until the peer (or the kernel) has taken the
// bytes.

#include "async/result.h"
#include "async/task.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace ambit::io {

class Stream {
 public:
  virtual ~Stream() = default;
  // At least one byte and at most `max`; an empty string is the end of the stream. One reader at a
  // time.
  virtual Task<Result<std::string>> read(std::size_t max) = 0;
  // All of `bytes`, or an error. Writes are sent in the order in which they were started.
  virtual Task<Result<void>> write(std::string bytes) = 0;
  // Ends our direction (FIN, end of file); reading goes on.
  virtual void shutdown_write() = 0;
  // Closes both directions at once; pending reads and writes end with Code::closed.
  virtual void close() = 0;
  // The user whose program is at the other end of a Unix socket, as the kernel says; none: it is
  // not known.
  [[nodiscard]] virtual std::optional<std::uint32_t> peer_user() const { return std::nullopt; }
};

class Listener {
 public:
  virtual ~Listener() = default;
  virtual Task<Result<std::unique_ptr<Stream>>> accept() = 0;
  // "127.0.0.1:4000", "unix:/path": where it really listens (port 0 resolved).
  [[nodiscard]] virtual std::string address() const = 0;
};

}  // namespace ambit::io
