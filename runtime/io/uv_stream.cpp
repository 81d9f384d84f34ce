#include "io/uv_stream.h"

#include <sys/socket.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <fcntl.h>
#include <unistd.h>
#include <utility>
#include <vector>

namespace ambit::io {

// Reads while it lives. Its end (data came, or the reader was cancelled) stops the reading, so that
// the kernel's buffer fills and the peer is slowed down.
class UvStreamState::Reading {
 public:
  explicit Reading(UvStreamState& state) : state_(state) {}
  ~Reading() { state_.stop_reading(); }
  Reading(const Reading&) = delete;
  Reading& operator=(const Reading&) = delete;

 private:
  UvStreamState& state_;
};

struct UvStreamState::WriteRequest {
  uv_write_t request{};
  std::string bytes;
  Resolver<Result<void>> done;
};

struct UvStreamState::ShutdownRequest {
  uv_shutdown_t request{};
  std::shared_ptr<UvStreamState> state;
};

std::shared_ptr<UvStreamState> UvStreamState::make_tcp(uv_loop_t* loop) {
  auto state = std::make_shared<UvStreamState>();
  INVARIANT(uv_tcp_init(loop, state->tcp()) == 0);
  state->opened();
  return state;
}

std::shared_ptr<UvStreamState> UvStreamState::make_pipe(uv_loop_t* loop) {
  auto state = std::make_shared<UvStreamState>();
  INVARIANT(uv_pipe_init(loop, state->pipe(), 0) == 0);
  state->opened();
  return state;
}

Result<std::shared_ptr<UvStreamState>> UvStreamState::adopt(uv_loop_t* loop, int descriptor) {
  struct stat status{};
  if (fstat(descriptor, &status) != 0) return Err(uv_error(-errno, "adopt a descriptor"));
  const bool is_socket = S_ISSOCK(status.st_mode);
  if (!is_socket && !S_ISFIFO(status.st_mode)) {
    ::close(descriptor);
    return Err(Code::unsupported, "adopt a descriptor: it is neither a socket nor a pipe");
  }
  sockaddr_storage name{};
  socklen_t length = sizeof name;
  if (is_socket && getsockname(descriptor, reinterpret_cast<sockaddr*>(&name), &length) != 0) {
    const int reason = -errno;
    ::close(descriptor);
    return Err(uv_error(reason, "adopt a socket"));
  }
  fcntl(descriptor, F_SETFD, FD_CLOEXEC);
  const bool is_tcp = is_socket && name.ss_family != AF_UNIX;
  auto state = is_tcp ? make_tcp(loop) : make_pipe(loop);
  const int status_of_open =
      is_tcp ? uv_tcp_open(state->tcp(), descriptor) : uv_pipe_open(state->pipe(), descriptor);
  if (status_of_open != 0) {
    ::close(descriptor);
    state->close();
    return Err(uv_error(status_of_open, "adopt a descriptor"));
  }
  return state;
}

Result<void> UvStreamState::start_reading(std::size_t max) {
  read_max_ = max;
  const int status = uv_read_start(
      stream(),
      [](uv_handle_t* from, std::size_t, uv_buf_t* buffer) {
        auto& shared = *static_cast<std::vector<char>*>(from->loop->data);
        const std::size_t wanted = std::min(shared.size(), of<UvStreamState>(from).read_max_);
        *buffer = uv_buf_init(shared.data(), static_cast<unsigned>(wanted));
      },
      [](uv_stream_t* from, ssize_t count, const uv_buf_t* buffer) {
        of<UvStreamState>(from).arrived(count, buffer->base);
      });
  if (status != 0) return Err(uv_error(status, "read"));
  return {};
}

void UvStreamState::stop_reading() {
  if (!closing()) uv_read_stop(stream());
}

void UvStreamState::arrived(ssize_t count, const char* bytes) {
  if (count == 0) return;  // nothing there after all
  if (count > 0) {
    buffer_.assign(bytes, static_cast<std::size_t>(count));
  } else if (count == UV_EOF) {
    ended_ = true;
  } else {
    failure_ = uv_error(static_cast<int>(count), "read");
  }
  stop_reading();
  readable_.wake_all();
}

Task<Result<std::string>> UvStreamState::read(std::shared_ptr<UvStreamState> state,
                                              std::size_t max) {
  INVARIANT(max > 0);
  INVARIANT(state->readable_.empty());  // one reader at a time
  while (!state->has_news()) {
    auto started = state->start_reading(max);
    if (!started) co_return Err(std::move(started).error());
    const Reading reading(*state);
    co_await state->readable_.wait();
  }
  if (state->closing()) co_return Err(Code::closed, "read: the stream was closed");
  if (!state->buffer_.empty()) {
    if (state->buffer_.size() <= max) co_return std::exchange(state->buffer_, std::string());
    std::string part = state->buffer_.substr(0, max);
    state->buffer_.erase(0, max);
    co_return part;
  }
  if (state->failure_) co_return Err(*state->failure_);
  co_return std::string();
}

void UvStreamState::start_write(const std::shared_ptr<UvStreamState>& state, std::string bytes,
                                std::size_t sent, Resolver<Result<void>> done) {
  auto* write = new WriteRequest{{}, std::move(bytes), std::move(done)};
  write->request.data = write;
  const std::size_t left = write->bytes.size() - sent;
  const uv_buf_t buffer = uv_buf_init(write->bytes.data() + sent, static_cast<unsigned>(left));
  const auto finished = [](uv_write_t* request, int status) {
    const std::unique_ptr<WriteRequest> self(static_cast<WriteRequest*>(request->data));
    self->done.resolve(status == 0 ? Result<void>() : Err(uv_error(status, "write")));
  };
  const int status = uv_write(&write->request, state->stream(), &buffer, 1, finished);
  if (status != 0) finished(&write->request, status);
}

Task<Result<void>> UvStreamState::write(std::shared_ptr<UvStreamState> state, std::string bytes) {
  constexpr std::size_t write_bytes_max = std::size_t{1} << 30;
  INVARIANT(bytes.size() <= write_bytes_max);
  if (state->closing()) co_return Err(Code::closed, "write: the stream was closed");
  if (bytes.empty()) co_return Result<void>();
  std::size_t sent = 0;
  const uv_buf_t buffer = uv_buf_init(bytes.data(), static_cast<unsigned>(bytes.size()));
  // Most writes fit the kernel's buffer: no request, no waiting.
  const int status = uv_try_write(state->stream(), &buffer, 1);
  if (status >= 0) sent = static_cast<std::size_t>(status);
  if (sent == bytes.size()) co_return Result<void>();
  if (status < 0 && status != UV_EAGAIN) co_return Err(uv_error(status, "write"));
  auto made = make_pending<Result<void>>();
  start_write(state, std::move(bytes), sent, std::move(made.second));
  auto outcome = co_await std::move(made.first);
  co_return outcome;
}

std::optional<std::uint32_t> UvStreamState::peer_user() const {
  uv_os_fd_t descriptor = -1;
  if (closing() || uv_fileno(&any_.handle, &descriptor) != 0) return std::nullopt;
  constexpr uid_t nobodys = static_cast<uid_t>(-1);  // what other sockets are
  ucred peer{};
  socklen_t size = sizeof peer;
  const bool told = ::getsockopt(descriptor, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 &&
                    size == sizeof peer && peer.uid != nobodys;
  return told ? std::optional<std::uint32_t>(peer.uid) : std::nullopt;
}

void UvStreamState::shutdown_write() {
  if (closing()) return;
  auto* shutdown =
      new ShutdownRequest{{}, std::static_pointer_cast<UvStreamState>(shared_from_this())};
  shutdown->request.data = shutdown;
  const int status =
      uv_shutdown(&shutdown->request, stream(), [](uv_shutdown_t* request, int ended) {
        const std::unique_ptr<ShutdownRequest> self(static_cast<ShutdownRequest*>(request->data));
        // A pipe has one direction: its end is to be closed.
        if (ended == UV_ENOTSOCK) self->state->close();
      });
  if (status != 0) delete shutdown;  // ended already, or a pipe for reading only
}

}  // namespace ambit::io
