#pragma once

// GrpcCall: one call between gRPC's threads and the loop. gRPC tells its threads what happened, and
// each such thing is posted to the loop; from there alone writes and the end are asked for. It
// keeps itself alive until gRPC is done with it. Internal to grpc_door.

#include "async/pending.h"
#include "async/waiters.h"
#include "http/request_parser.h"

#include <atomic>
#include <functional>
#include <grpcpp/generic/async_generic_service.h>
#include <grpcpp/grpcpp.h>
#include <memory>
#include <mutex>
#include <set>
#include <string>

namespace ambit::a2a {

class GrpcCall;

// Where calls come in, on the loop's thread. close() ends all there are and all to come, so that
// gRPC can shut down while the loop waits for it.
class GrpcBridge {
 public:
  using Begin = std::function<void(std::shared_ptr<GrpcCall>)>;
  GrpcBridge(Loop& loop, Begin begin) : loop_(loop), begin_(std::move(begin)) {}
  void close();
  void begin(std::shared_ptr<GrpcCall> call);
  // By gRPC's threads; false: the door is closed.
  bool enter(const std::shared_ptr<GrpcCall>& call);
  bool is_closed();
  void leave(const std::shared_ptr<GrpcCall>& call);
  Loop& loop() { return loop_; }

 private:
  Loop& loop_;
  Begin begin_;
  std::mutex mutex_;
  bool is_closed_ = false;
  std::set<std::shared_ptr<GrpcCall>> all_;
};

class GrpcCall final : public grpc::ServerGenericBidiReactor,
                       public std::enable_shared_from_this<GrpcCall> {
 public:
  // On a thread of gRPC's, which gives it back by OnDone().
  static GrpcCall* open(std::shared_ptr<GrpcBridge> bridge,
                        grpc::GenericCallbackServerContext* context);

  // On any thread, the first time counts.
  void finish(const grpc::Status& status);
  // All of the following on the loop's thread.
  [[nodiscard]] const http::RequestHead& head() const { return head_; }
  // "/lf.a2a.v1.A2AService/SendMessage"
  [[nodiscard]] const std::string& method() const { return head_.path; }
  [[nodiscard]] Result<std::string> request() const;
  void add_header(const std::string& name, const std::string& value);
  // False: the client is gone.
  Task<bool> write(std::string bytes);
  // The one answer of a call that has one.
  void respond(const std::string& bytes);
  [[nodiscard]] bool is_finished() const { return is_finished_; }
  static Task<void> cancelled(std::shared_ptr<GrpcCall> call);

 private:
  GrpcCall(std::shared_ptr<GrpcBridge> bridge, grpc::GenericCallbackServerContext* context);
  void OnReadDone(bool good) override;
  void OnWriteDone(bool good) override;
  void OnCancel() override;
  void OnDone() override;
  void post(std::function<void(GrpcCall&)> work);

  std::shared_ptr<GrpcBridge> bridge_;
  std::shared_ptr<GrpcCall> self_;
  grpc::GenericCallbackServerContext* context_;
  http::RequestHead head_;
  grpc::ByteBuffer in_;
  grpc::ByteBuffer out_;
  Resolver<bool> written_;
  Waiters changed_;
  bool is_cancelled_ = false;
  std::atomic<bool> is_finished_ = false;
};

}  // namespace ambit::a2a
