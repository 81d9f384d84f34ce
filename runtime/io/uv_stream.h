#pragma once

// A connected libuv stream (TCP, Unix socket, pipe) as io::Stream. The state is shared by the
// Stream, by the tasks that read and write, and by libuv, so each may go first.

#include "async/pending.h"
#include "async/waiters.h"
#include "io/stream.h"
#include "io/uv_handle.h"

#include <uv.h>

#include <memory>
#include <optional>
#include <string>

namespace ambit::io {

class UvStreamState final : public UvHandle {
 public:
  // A handle of the wanted kind, not connected to anything yet.
  static std::shared_ptr<UvStreamState> make_tcp(uv_loop_t* loop);
  static std::shared_ptr<UvStreamState> make_pipe(uv_loop_t* loop);
  // Takes over a connected socket or a pipe's end. Owns `descriptor`, also if it fails.
  static Result<std::shared_ptr<UvStreamState>> adopt(uv_loop_t* loop, int descriptor);

  uv_stream_t* stream() { return &any_.stream; }
  uv_tcp_t* tcp() { return &any_.tcp; }
  uv_pipe_t* pipe() { return &any_.pipe; }

  static Task<Result<std::string>> read(std::shared_ptr<UvStreamState> state, std::size_t max);
  static Task<Result<void>> write(std::shared_ptr<UvStreamState> state, std::string bytes);
  void shutdown_write();
  [[nodiscard]] std::optional<std::uint32_t> peer_user() const;

 private:
  class Reading;
  struct WriteRequest;
  struct ShutdownRequest;

  uv_handle_t* handle() override { return &any_.handle; }
  void on_close() override { readable_.wake_all(); }
  [[nodiscard]] bool has_news() const {
    return !buffer_.empty() || ended_ || failure_ || closing();
  }
  Result<void> start_reading(std::size_t max);
  void stop_reading();
  void arrived(ssize_t count, const char* bytes);
  static void start_write(const std::shared_ptr<UvStreamState>& state, std::string bytes,
                          std::size_t sent, Resolver<Result<void>> done);

  union {
    uv_handle_t handle;
    uv_stream_t stream;
    uv_tcp_t tcp;
    uv_pipe_t pipe;
  } any_{};
  // Bytes that came for a reader who was cancelled in the same moment; at most what one read asked
  // for.
  std::string buffer_;
  std::size_t read_max_ = 0;
  bool ended_ = false;
  std::optional<Error> failure_;
  Waiters readable_;
};

class UvStream final : public Stream {
 public:
  explicit UvStream(std::shared_ptr<UvStreamState> state) : state_(std::move(state)) {}
  ~UvStream() override { state_->close(); }
  UvStream(const UvStream&) = delete;
  UvStream& operator=(const UvStream&) = delete;

  Task<Result<std::string>> read(std::size_t max) override {
    return UvStreamState::read(state_, max);
  }
  Task<Result<void>> write(std::string bytes) override {
    return UvStreamState::write(state_, std::move(bytes));
  }
  void shutdown_write() override { state_->shutdown_write(); }
  void close() override { state_->close(); }
  [[nodiscard]] std::optional<std::uint32_t> peer_user() const override {
    return state_->peer_user();
  }

 private:
  std::shared_ptr<UvStreamState> state_;
};

}  // namespace ambit::io
