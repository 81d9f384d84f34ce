#include "grpc_door/grpc_door.h"

#include "async/race.h"
#include "grpc_door/grpc_call.h"
#include "grpc_door/grpc_message.h"
#include "grpc_door/grpc_status.h"

#include <nlohmann/json.hpp>

#include <list>

namespace ambit::a2a {
namespace {

using rpc::Json;

class Generic final : public grpc::CallbackGenericService {
 public:
  explicit Generic(std::shared_ptr<GrpcBridge> bridge) : bridge_(std::move(bridge)) {}
  grpc::ServerGenericBidiReactor* CreateReactor(
      grpc::GenericCallbackServerContext* context) override {
    return GrpcCall::open(bridge_, context);
  }

 private:
  std::shared_ptr<GrpcBridge> bridge_;
};

}  // namespace

// What the door does on the loop's thread.
class GrpcDoor::Hall {
 public:
  Hall(io::World& world, GrpcOptions options, FindService find, Authenticate authenticate, Log log)
      : options_(std::move(options)),
        find_(std::move(find)),
        authenticate_(std::move(authenticate)),
        log_(std::move(log)),
        bridge_(std::make_shared<GrpcBridge>(
            world.loop, [this](std::shared_ptr<GrpcCall> call) { begin(std::move(call)); })),
        service_(bridge_) {}
  Hall(const Hall&) = delete;
  Hall& operator=(const Hall&) = delete;
  ~Hall() {
    calls_.cancel();
    bridge_->close();
    // Waits for gRPC's threads, which wait for nothing of ours any more.
    if (server_) server_->Shutdown(gpr_time_0(GPR_CLOCK_REALTIME));
  }

  Result<std::string> listen() {
    grpc::ServerBuilder builder;
    int port = 0;
    builder.AddListeningPort(options_.address, grpc::InsecureServerCredentials(), &port);
    builder.RegisterCallbackGenericService(&service_);
    builder.SetMaxReceiveMessageSize(static_cast<int>(options_.message_bytes_max));
    const auto heartbeat =
        std::chrono::duration_cast<std::chrono::milliseconds>(options_.heartbeat).count();
    builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, static_cast<int>(heartbeat));
    builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 5000);
    builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
    server_ = builder.BuildAndStart();
    if (!server_ || port == 0) {
      return Err(Code::unavailable, "cannot listen for gRPC on " + options_.address);
    }
    return options_.address.substr(0, options_.address.rfind(':') + 1) + std::to_string(port);
  }
  [[nodiscard]] std::size_t calls() const { return live_.size(); }

 private:
  void begin(std::shared_ptr<GrpcCall> call) {
    if (live_.size() >= options_.calls_max) {
      call->finish(to_status({Fault::exhausted, "this server has as many calls as it may", ""}));
      return;
    }
    live_.push_front(call);
    calls_.spawn(serve(live_.begin()));
  }

  Task<void> serve(std::list<std::shared_ptr<GrpcCall>>::iterator at) {
    const std::shared_ptr<GrpcCall> call = *at;
    co_await race(answer(call), GrpcCall::cancelled(call));
    if (!call->is_finished()) {
      call->finish(grpc::Status(grpc::StatusCode::CANCELLED, "the client has gone"));
    }
    live_.erase(at);
  }

  Answer<Call> caller_of(const GrpcCall& call, const GrpcMethod& method) const {
    Call caller;
    caller.caller = "anonymous";
    if (authenticate_) {
      auto named = authenticate_(call.head());
      if (!named) return Fail(Fault::unauthenticated, "send a token of this agent");
      caller.caller = std::move(*named);
    }
    for (const http::Header& header : call.head().headers) {
      if (http::same_name(header.name, "a2a-extensions")) {
        for (std::string& uri : split_list(header.value)) {
          caller.extensions.push_back(std::move(uri));
        }
      }
      const bool is_1_0 = method.version == Version::v1_0;
      if (http::same_name(header.name, "a2a-version") && !header.value.empty() &&
          header.value != (is_1_0 ? "1.0" : "0.3")) {
        return Fail(Fault::version_not_supported,
                    "this service speaks A2A " + std::string(is_1_0 ? "1.0" : "0.3"));
      }
    }
    return caller;
  }

  Task<void> answer(std::shared_ptr<GrpcCall> call) {
    auto done = co_await perform_call(call);
    if (!done) call->finish(to_status(done.error()));
  }

  Task<Answer<void>> perform_call(std::shared_ptr<GrpcCall> call) {
    const auto method = find_grpc_method(call->method());
    const bool is_old = method && method->version != Version::v1_0;
    if (!method || (is_old && !options_.speaks_0_3)) {
      co_return Fail(Fault::method_not_found, "there is no method " + call->method());
    }
    auto caller = caller_of(*call, *method);
    if (!caller) co_return tl::unexpected<Failure>(caller.error());
    const auto bytes = call->request();
    if (!bytes) co_return Fail(Fault::invalid_params, bytes.error().message);
    auto params = request_json(*method, *bytes);
    if (!params) co_return tl::unexpected<Failure>(params.error());
    Json& json = params->edit();
    std::string tenant = json.contains("tenant") ? json["tenant"].get<std::string>() : "";
    Service* service = find_(tenant);
    if (service == nullptr) co_return Fail(Fault::task_not_found, "there is no agent " + tenant);
    json.erase("tenant");
    caller->tenant = tenant;
    const std::string activated = activated_extensions(service->options().card, *caller);
    if (!activated.empty()) call->add_header("a2a-extensions", activated);
    auto outcome = co_await perform(*service, method->operation, method->version,
                                    std::move(*caller), std::move(*params));
    if (!outcome) co_return tl::unexpected<Failure>(outcome.error());
    if (is_streaming(method->operation)) {
      co_return co_await send_events(call, *method, std::move(outcome->stream));
    }
    auto answer = response_bytes(*method, outcome->result == "null" ? "{}" : outcome->result);
    if (!answer) co_return tl::unexpected<Failure>(answer.error());
    call->respond(*answer);
    co_return Answer<void>();
  }

  static Task<Answer<void>> send_events(std::shared_ptr<GrpcCall> call, GrpcMethod method,
                                        SubscriptionHandle stream) {
    while (true) {
      auto update = co_await stream->queue().receive();
      if (!update) break;
      auto bytes = response_bytes(method, event_text(**update, method.version));
      if (!bytes) co_return tl::unexpected<Failure>(bytes.error());
      const bool is_sent = co_await call->write(std::move(*bytes));
      if (!is_sent) co_return Answer<void>();
    }
    if (stream->was_dropped()) {
      co_return Fail(Fault::exhausted, "the stream fell too far behind; subscribe again");
    }
    call->finish(grpc::Status::OK);
    co_return Answer<void>();
  }

  GrpcOptions options_;
  FindService find_;
  Authenticate authenticate_;
  Log log_;
  std::shared_ptr<GrpcBridge> bridge_;
  Generic service_;
  std::unique_ptr<grpc::Server> server_;
  std::list<std::shared_ptr<GrpcCall>> live_;
  Scope calls_;
};

GrpcDoor::GrpcDoor(std::unique_ptr<Hall> hall, std::string address)
    : address_(std::move(address)), hall_(std::move(hall)) {}

GrpcDoor::~GrpcDoor() = default;

std::size_t GrpcDoor::calls() const {
  return hall_->calls();
}

Result<std::unique_ptr<GrpcDoor>> GrpcDoor::listen(io::World& world, GrpcOptions options,
                                                   FindService find, Authenticate authenticate,
                                                   Log log) {
  auto hall = std::make_unique<Hall>(world, std::move(options), std::move(find),
                                     std::move(authenticate), std::move(log));
  std::string address = TRY(hall->listen());
  return std::unique_ptr<GrpcDoor>(new GrpcDoor(std::move(hall), std::move(address)));
}

}  // namespace ambit::a2a
