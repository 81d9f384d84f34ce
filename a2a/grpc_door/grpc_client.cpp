#include "grpc_door/grpc_client.h"

#include "async/waiters.h"
#include "grpc_door/grpc_message.h"
#include "grpc_door/grpc_status.h"
#include "io/file.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cctype>
#include <condition_variable>
#include <deque>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/grpcpp.h>
#include <list>
#include <mutex>
#include <optional>
#include <set>
#include <utility>

namespace ambit::a2a {
namespace {

using rpc::Json;

constexpr std::size_t ca_bytes_max = 4 << 20;

// "https://host:443/lf.a2a.v1.A2AService/SendMessage" as address and path; a scheme may be missing.
struct Place {
  std::string address;
  std::string path;
  bool is_plain = false;
};

Place place_of(std::string url) {
  Place place;
  const std::size_t scheme = url.find("://");
  if (scheme != std::string::npos) {
    place.is_plain = url.compare(0, scheme, "http") == 0;
    url.erase(0, scheme + 3);
  }
  // Service and method are the last two segments.
  const std::size_t method = url.rfind('/');
  const std::size_t service =
      method == std::string::npos || method == 0 ? std::string::npos : url.rfind('/', method - 1);
  if (service == std::string::npos) return place;
  place.path = url.substr(service);
  place.address = url.substr(0, std::min(service, url.find('/')));
  if (scheme == std::string::npos) {
    place.is_plain = place.address.starts_with("127.0.0.1:") ||
                     place.address.starts_with("localhost:") || place.address.starts_with("[::1]:");
  }
  return place;
}

std::string bytes_of(const grpc::ByteBuffer& buffer) {
  std::vector<grpc::Slice> slices;
  std::string bytes;
  if (!buffer.Dump(&slices).ok()) return bytes;
  for (const grpc::Slice& slice : slices) {
    bytes.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
  }
  return bytes;
}

class Exchange;

// The calls that gRPC is not done with; the client waits for them before the loop may go.
struct Calls {
  std::mutex mutex;
  std::condition_variable changed;
  std::set<Exchange*> live;
};

// One call. What has "on the loop" beside it is the loop's, the rest is under the mutex. It keeps
// itself alive until gRPC is done with it; a hold makes gRPC wait while nobody reads.
class Exchange final : public grpc::ClientBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>,
                       public std::enable_shared_from_this<Exchange> {
 public:
  Exchange(Loop& loop, std::shared_ptr<Calls> calls) : loop_(loop), calls_(std::move(calls)) {}

  void start(grpc::GenericStub& stub, const Place& place, const http::Headers& headers,
             const std::string& bytes) {
    self_ = shared_from_this();
    {
      const std::lock_guard<std::mutex> lock(calls_->mutex);
      calls_->live.insert(this);
    }
    for (const http::Header& header : headers) {
      std::string name = header.name;
      for (char& c : name) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
      if (name != "accept" && name != "content-type") context_.AddMetadata(name, header.value);
    }
    const grpc::Slice slice(bytes);
    out_ = grpc::ByteBuffer(&slice, 1);
    stub.PrepareBidiStreamingCall(&context_, place.path, grpc::StubOptions(), this);
    AddHold();
    StartWriteLast(&out_, grpc::WriteOptions());
    StartRead(&in_);
    StartCall();
  }
  // On the loop, also more than once.
  void cancel() {
    const auto self = shared_from_this();
    context_.TryCancel();
    bool drops = false;
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      is_closing_ = true;
      drops = !is_reading_ && !std::exchange(is_dropped_, true);
    }
    if (drops) RemoveHold();
  }
  // On the loop: the next message; none: the call has ended, see status().
  static Task<std::optional<std::string>> next(std::shared_ptr<Exchange> call) {
    while (call->ready_.empty() && !call->status_) co_await call->changed_.wait();
    std::optional<std::string> message;
    if (call->ready_.empty()) co_return message;
    message = std::move(call->ready_.front());
    call->ready_.pop_front();
    call->read_on();
    co_return message;
  }
  [[nodiscard]] bool has_ended() const { return status_.has_value(); }
  [[nodiscard]] const grpc::Status& status() const { return *status_; }

 private:
  // On the loop. One message is read ahead, so that a slow reader slows the agent down.
  void read_on() {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      if (is_reading_ || is_closing_ || is_dropped_ || ready_.size() > 1) return;
      is_reading_ = true;
    }
    StartRead(&in_);
  }
  void OnReadDone(bool good) override {
    const auto self = shared_from_this();
    if (good) {
      loop_.post_from_thread([self, bytes = bytes_of(in_)]() mutable {
        self->ready_.push_back(std::move(bytes));
        self->read_on();
        self->changed_.wake_all();
      });
    }
    bool drops = false;
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      is_reading_ = false;
      drops = (!good || is_closing_) && !std::exchange(is_dropped_, true);
    }
    if (drops) RemoveHold();
  }
  void OnDone(const grpc::Status& status) override {
    std::shared_ptr<Exchange> self = std::move(self_);
    const std::shared_ptr<Calls> calls = calls_;
    const std::lock_guard<std::mutex> lock(calls->mutex);
    calls->live.erase(this);
    loop_.post_from_thread([self = std::move(self), status]() {
      self->status_ = status;
      self->changed_.wake_all();
    });
    calls->changed.notify_all();
  }

  Loop& loop_;
  std::shared_ptr<Calls> calls_;
  std::shared_ptr<Exchange> self_;
  grpc::ClientContext context_;
  grpc::ByteBuffer out_;
  grpc::ByteBuffer in_;
  std::mutex mutex_;
  bool is_reading_ = true;
  bool is_closing_ = false;
  bool is_dropped_ = false;
  // On the loop.
  std::deque<std::string> ready_;
  std::optional<grpc::Status> status_;
  Waiters changed_;
};

// Ends the call when nobody wants it any more.
class Held {
 public:
  explicit Held(std::shared_ptr<Exchange> call) : call_(std::move(call)) {}
  Held(Held&&) noexcept = default;
  Held& operator=(Held&&) = delete;
  ~Held() {
    if (call_) call_->cancel();
  }
  [[nodiscard]] const std::shared_ptr<Exchange>& call() const { return call_; }
  // Somebody else sees to it.
  void release() { call_.reset(); }

 private:
  std::shared_ptr<Exchange> call_;
};

Error unavailable(const grpc::Status& status) {
  return {Code::unavailable, "gRPC: " + status.error_message()};
}

bool is_lost(const grpc::Status& status) {
  return status.error_code() == grpc::StatusCode::UNAVAILABLE ||
         status.error_code() == grpc::StatusCode::CANCELLED;
}

http::Response refused(const grpc::Status& status) {
  http::Response response;
  Json error = to_rest_error(status);
  response.status = error["error"]["code"].get<int>();
  response.body = rpc::compact(error);
  return response;
}

}  // namespace

class GrpcClient::Hall {
 public:
  Hall(Loop& loop, GrpcClientOptions options)
      : loop_(loop), options_(std::move(options)), calls_(std::make_shared<Calls>()) {}
  Hall(const Hall&) = delete;
  Hall& operator=(const Hall&) = delete;
  // Afterwards gRPC's threads know nothing of the loop any more.
  ~Hall() {
    std::vector<std::shared_ptr<Exchange>> all;
    std::unique_lock<std::mutex> lock(calls_->mutex);
    for (Exchange* call : calls_->live) all.push_back(call->shared_from_this());
    lock.unlock();
    for (const auto& call : all) call->cancel();
    lock.lock();
    calls_->changed.wait(lock, [this] { return calls_->live.empty(); });
  }

  struct Begun {
    std::shared_ptr<Exchange> call;
    GrpcMethod method;
  };
  Result<Begun> begin(const http::Request& request) {
    const Place place = place_of(request.url);
    const auto method = find_grpc_method(place.path);
    if (!method) return Err(Code::invalid, "gRPC has no method " + place.path);
    auto bytes = request_bytes(*method, request.body);
    if (!bytes) return Err(Code::invalid, bytes.error().message);
    auto* stub = TRY(stub_of(place));
    Begun begun{std::make_shared<Exchange>(loop_, calls_), *method};
    begun.call->start(*stub, place, request.headers, *bytes);
    return begun;
  }

 private:
  struct Known {
    std::string key;
    std::shared_ptr<grpc::Channel> channel;
    std::unique_ptr<grpc::GenericStub> stub;
  };
  Result<grpc::GenericStub*> stub_of(const Place& place) {
    const std::string key = (place.is_plain ? "plain " : "tls ") + place.address;
    for (const Known& known : known_) {
      if (known.key == key) return known.stub.get();
    }
    if (known_.size() >= options_.channels_max) known_.pop_front();
    grpc::ChannelArguments arguments;
    arguments.SetMaxReceiveMessageSize(static_cast<int>(options_.message_bytes_max));
    const auto quiet =
        std::chrono::duration_cast<std::chrono::milliseconds>(options_.keepalive).count();
    arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, static_cast<int>(quiet));
    std::shared_ptr<grpc::ChannelCredentials> credentials = grpc::InsecureChannelCredentials();
    if (!place.is_plain) {
      grpc::SslCredentialsOptions tls;
      if (!options_.ca_file.empty()) {
        tls.pem_root_certs = TRY(io::read_file(options_.ca_file, ca_bytes_max));
      }
      credentials = grpc::SslCredentials(tls);
    }
    Known made;
    made.key = key;
    made.channel = grpc::CreateCustomChannel(place.address, credentials, arguments);
    made.stub = std::make_unique<grpc::GenericStub>(made.channel);
    known_.push_back(std::move(made));
    return known_.back().stub.get();
  }

  Loop& loop_;
  GrpcClientOptions options_;
  std::shared_ptr<Calls> calls_;
  std::list<Known> known_;
};

namespace {

// The messages of a stream as events of one.
class Events final : public http::Body {
 public:
  // `is_over`: the call has failed, and `first` is all there is.
  Events(std::shared_ptr<Exchange> call, GrpcMethod method, std::string first, bool is_over)
      : held_(std::move(call)), method_(method), first_(std::move(first)), has_failed_(is_over) {}

  Task<Result<std::string>> read() override {
    if (!first_.empty()) co_return std::exchange(first_, "");
    auto message = co_await Exchange::next(held_.call());
    if (!message) {
      const grpc::Status& status = held_.call()->status();
      if (status.ok() || has_failed_) co_return std::string();
      if (is_lost(status)) co_return tl::unexpected<Error>(unavailable(status));
      // Once, as the event of an error.
      has_failed_ = true;
      co_return "data: " + refused(status).body + "\n\n";
    }
    auto json = response_json(method_, *message);
    if (!json) co_return Err(Code::invalid, json.error().message);
    co_return "data: " + *json + "\n\n";
  }

 private:
  Held held_;
  GrpcMethod method_;
  std::string first_;
  bool has_failed_;
};

}  // namespace

GrpcClient::GrpcClient(Loop& loop, GrpcClientOptions options)
    : hall_(std::make_unique<Hall>(loop, std::move(options))) {}

GrpcClient::~GrpcClient() = default;

Task<Result<http::Response>> GrpcClient::send(http::Request request) {
  auto begun = hall_->begin(request);
  if (!begun) co_return Err(std::move(begun).error());
  const Held held(begun->call);
  auto message = co_await Exchange::next(held.call());
  // Whatever comes behind the one answer is the status.
  if (message) co_await Exchange::next(held.call());
  const bool has_status = !message || held.call()->has_ended();
  if (has_status && !held.call()->status().ok()) {
    if (is_lost(held.call()->status())) {
      co_return tl::unexpected<Error>(unavailable(held.call()->status()));
    }
    co_return refused(held.call()->status());
  }
  http::Response response;
  response.status = 200;
  if (!message) co_return response;
  auto json = response_json(begun->method, *message);
  if (!json) co_return Err(Code::invalid, json.error().message);
  response.body = std::move(*json);
  co_return response;
}

Task<Result<http::Reply>> GrpcClient::open(http::Request request) {
  auto begun = hall_->begin(request);
  if (!begun) co_return Err(std::move(begun).error());
  Held held(begun->call);
  http::Reply reply;
  auto message = co_await Exchange::next(held.call());
  if (!message && is_lost(held.call()->status())) {
    co_return tl::unexpected<Error>(unavailable(held.call()->status()));
  }
  std::string first;
  if (!message && !held.call()->status().ok()) {
    // What was refused before anything came is an answer of its own.
    const http::Response response = refused(held.call()->status());
    reply.status = response.status;
    first = response.body;
  } else {
    reply.status = 200;
    reply.headers.set("Content-Type", "text/event-stream");
    if (message) {
      auto json = response_json(begun->method, *message);
      if (!json) co_return Err(Code::invalid, json.error().message);
      first = "data: " + *json + "\n\n";
    }
  }
  const bool is_over = reply.status != 200;
  reply.body = std::make_unique<Events>(begun->call, begun->method, std::move(first), is_over);
  held.release();
  co_return reply;
}

}  // namespace ambit::a2a
