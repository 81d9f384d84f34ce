#include "io/uv_network.h"

#include "async/pending.h"
#include "async/waiters.h"
#include "io/address.h"
#include "io/uv_handle.h"
#include "io/uv_stream.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <vector>

namespace ambit::io {
namespace {

constexpr int backlog = 511;

// Closes a stream that is not handed on: the awaiter was cancelled, or the connection failed.
class Unfinished {
 public:
  explicit Unfinished(std::shared_ptr<UvStreamState> state) : state_(std::move(state)) {}
  ~Unfinished() {
    if (state_) state_->close();
  }
  Unfinished(const Unfinished&) = delete;
  Unfinished& operator=(const Unfinished&) = delete;
  UvStreamState& operator*() { return *state_; }
  std::unique_ptr<Stream> done() { return std::make_unique<UvStream>(std::move(state_)); }

 private:
  std::shared_ptr<UvStreamState> state_;
};

struct ConnectRequest {
  uv_connect_t request{};
  Resolver<int> done;

  static void finished(uv_connect_t* request, int status) {
    const std::unique_ptr<ConnectRequest> self(static_cast<ConnectRequest*>(request->data));
    self->done.resolve(status);
  }
};

Pending<int> start_connect_pipe(UvStreamState& state, const std::string& path) {
  auto made = make_pending<int>();
  auto* connect = new ConnectRequest{{}, std::move(made.second)};
  connect->request.data = connect;
  uv_pipe_connect(&connect->request, state.pipe(), path.c_str(), ConnectRequest::finished);
  return std::move(made.first);
}

Pending<int> start_connect_tcp(UvStreamState& state, const sockaddr_storage& to) {
  auto made = make_pending<int>();
  auto* connect = new ConnectRequest{{}, std::move(made.second)};
  connect->request.data = connect;
  const int status =
      uv_tcp_connect(&connect->request, state.tcp(), reinterpret_cast<const sockaddr*>(&to),
                     ConnectRequest::finished);
  if (status != 0) ConnectRequest::finished(&connect->request, status);
  return std::move(made.first);
}

struct Resolved {
  int status = 0;
  std::vector<sockaddr_storage> addresses;
};

struct ResolveRequest {
  uv_getaddrinfo_t request{};
  Resolver<Resolved> done;

  static void finished(uv_getaddrinfo_t* request, int status, addrinfo* list) {
    const std::unique_ptr<ResolveRequest> self(static_cast<ResolveRequest*>(request->data));
    constexpr std::size_t addresses_max = 16;
    Resolved resolved;
    resolved.status = status;
    for (addrinfo* at = list; at != nullptr && resolved.addresses.size() < addresses_max;
         at = at->ai_next) {
      sockaddr_storage storage{};
      std::copy_n(reinterpret_cast<const char*>(at->ai_addr), at->ai_addrlen,
                  reinterpret_cast<char*>(&storage));
      resolved.addresses.push_back(storage);
    }
    uv_freeaddrinfo(list);
    self->done.resolve(std::move(resolved));
  }
};

// Several threads resolve names; a cancelled awaiter leaves the request to end by itself.
Pending<Resolved> start_resolve(uv_loop_t* loop, const Address& address) {
  auto made = make_pending<Resolved>();
  auto* resolve = new ResolveRequest{{}, std::move(made.second)};
  resolve->request.data = resolve;
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  const int status =
      uv_getaddrinfo(loop, &resolve->request, ResolveRequest::finished, address.host.c_str(),
                     std::to_string(address.port).c_str(), &hints);
  if (status != 0) ResolveRequest::finished(&resolve->request, status, nullptr);
  return std::move(made.first);
}

bool literal(const Address& address, sockaddr_storage& out) {
  return uv_ip4_addr(address.host.c_str(), address.port, reinterpret_cast<sockaddr_in*>(&out)) ==
             0 ||
         uv_ip6_addr(address.host.c_str(), address.port, reinterpret_cast<sockaddr_in6*>(&out)) ==
             0;
}

Task<Result<std::unique_ptr<Stream>>> connect_unix(uv_loop_t* loop, Address address) {
  Unfinished made(UvStreamState::make_pipe(loop));
  const int status = co_await start_connect_pipe(*made, address.path);
  if (status != 0) co_return Err(uv_error(status, "connect to " + to_string(address)));
  co_return made.done();
}

Task<Result<std::unique_ptr<Stream>>> connect_tcp(uv_loop_t* loop, Address address) {
  Resolved resolved;
  sockaddr_storage storage{};
  if (literal(address, storage)) {
    resolved.addresses.push_back(storage);
  } else {
    resolved = co_await start_resolve(loop, address);
  }
  int status = resolved.status;
  for (const sockaddr_storage& to : resolved.addresses) {
    Unfinished made(UvStreamState::make_tcp(loop));
    status = co_await start_connect_tcp(*made, to);
    if (status == 0) {
      uv_tcp_nodelay((*made).tcp(), 1);
      co_return made.done();
    }
  }
  co_return Err(uv_error(status, "connect to " + to_string(address)));
}

Task<Result<std::unique_ptr<Stream>>> fail(Error error) {
  co_return Err(std::move(error));
}

class UvListenerState final : public UvHandle {
 public:
  // On failure the handle is closed; what libuv made so far goes with it.
  static Result<std::shared_ptr<UvListenerState>> open(uv_loop_t* loop, const Address& address) {
    auto state = std::make_shared<UvListenerState>();
    const int status = state->listen(loop, address);
    if (status == 0) return state;
    if (state->any_.handle.data != nullptr) state->close();
    return Err(uv_error(status, "listen on " + to_string(address)));
  }

  static Task<Result<std::unique_ptr<Stream>>> accept(std::shared_ptr<UvListenerState> state) {
    while (state->waiting_ == 0 && state->failure_ == 0 && !state->closing()) {
      co_await state->acceptable_.wait();
    }
    if (state->closing()) co_return Err(Code::closed, "accept: the listener was closed");
    if (state->waiting_ == 0) {
      const int failure = std::exchange(state->failure_, 0);
      co_return Err(uv_error(failure, "accept on " + state->address_));
    }
    --state->waiting_;
    uv_loop_t* loop = state->any_.handle.loop;
    auto stream = state->is_tcp_ ? UvStreamState::make_tcp(loop) : UvStreamState::make_pipe(loop);
    const int status = uv_accept(&state->any_.stream, stream->stream());
    if (status != 0) {
      stream->close();
      co_return Err(uv_error(status, "accept on " + state->address_));
    }
    if (state->is_tcp_) uv_tcp_nodelay(stream->tcp(), 1);
    co_return std::make_unique<UvStream>(std::move(stream));
  }

  [[nodiscard]] const std::string& address() const { return address_; }

 private:
  uv_handle_t* handle() override { return &any_.handle; }
  void on_close() override { acceptable_.wake_all(); }

  int listen(uv_loop_t* loop, const Address& address) {
    is_tcp_ = address.path.empty();
    address_ = to_string(address);
    sockaddr_storage storage{};
    if (is_tcp_ && !literal(address, storage)) {
      if (address.host != "localhost") return UV_EINVAL;
      INVARIANT(uv_ip4_addr("127.0.0.1", address.port, reinterpret_cast<sockaddr_in*>(&storage)) ==
                0);
    }
    if (const int status =
            is_tcp_ ? uv_tcp_init(loop, &any_.tcp) : uv_pipe_init(loop, &any_.pipe, 0)) {
      return status;
    }
    opened();
    if (const int status = is_tcp_
                               ? uv_tcp_bind(&any_.tcp, reinterpret_cast<sockaddr*>(&storage), 0)
                               : uv_pipe_bind(&any_.pipe, address.path.c_str())) {
      return status;
    }
    const int status = uv_listen(&any_.stream, backlog, [](uv_stream_t* from, int outcome) {
      auto& self = of<UvListenerState>(from);
      if (outcome == 0) {
        ++self.waiting_;
      } else {
        self.failure_ = outcome;
      }
      self.acceptable_.wake_one();
    });
    if (status == 0 && is_tcp_) read_port_back(address);
    return status;
  }

  void read_port_back(Address address) {
    sockaddr_storage name{};
    int length = sizeof name;
    if (uv_tcp_getsockname(&any_.tcp, reinterpret_cast<sockaddr*>(&name), &length) != 0) return;
    address.port =
        ntohs(name.ss_family == AF_INET6 ? reinterpret_cast<sockaddr_in6*>(&name)->sin6_port
                                         : reinterpret_cast<sockaddr_in*>(&name)->sin_port);
    address_ = to_string(address);
  }

  union {
    uv_handle_t handle;
    uv_stream_t stream;
    uv_tcp_t tcp;
    uv_pipe_t pipe;
  } any_{};
  bool is_tcp_ = false;
  std::string address_;
  int waiting_ = 0;
  int failure_ = 0;
  Waiters acceptable_;
};

class UvListener final : public Listener {
 public:
  explicit UvListener(std::shared_ptr<UvListenerState> state) : state_(std::move(state)) {}
  ~UvListener() override { state_->close(); }
  UvListener(const UvListener&) = delete;
  UvListener& operator=(const UvListener&) = delete;
  Task<Result<std::unique_ptr<Stream>>> accept() override {
    return UvListenerState::accept(state_);
  }
  [[nodiscard]] std::string address() const override { return state_->address(); }

 private:
  std::shared_ptr<UvListenerState> state_;
};

}  // namespace

Task<Result<std::unique_ptr<Stream>>> UvNetwork::connect(std::string address) {
  auto parsed = parse_address(address);
  if (!parsed) return fail(std::move(parsed).error());
  return parsed->path.empty() ? connect_tcp(loop_, std::move(*parsed))
                              : connect_unix(loop_, std::move(*parsed));
}

Result<std::unique_ptr<Listener>> UvNetwork::listen(const std::string& address) {
  const Address parsed = TRY(parse_address(address));
  auto state = TRY(UvListenerState::open(loop_, parsed));
  return std::make_unique<UvListener>(std::move(state));
}

Result<std::unique_ptr<Stream>> UvNetwork::adopt(int descriptor) {
  auto state = TRY(UvStreamState::adopt(loop_, descriptor));
  return std::make_unique<UvStream>(std::move(state));
}

}  // namespace ambit::io
