#include "grpc_door/grpc_call.h"

#include <utility>

namespace ambit::a2a {
namespace {

grpc::ByteBuffer buffer_of(const std::string& bytes) {
  const grpc::Slice slice(bytes);
  return {&slice, 1};
}

grpc::Status closing() {
  return {grpc::StatusCode::UNAVAILABLE, "this server is closing"};
}

std::string text_of(grpc::string_ref text) {
  return {text.data(), text.size()};
}

}  // namespace

void GrpcBridge::close() {
  begin_ = nullptr;
  std::set<std::shared_ptr<GrpcCall>> all;
  {
    const std::lock_guard lock(mutex_);
    is_closed_ = true;
    all = all_;
  }
  for (const auto& call : all) call->finish(closing());
}

void GrpcBridge::begin(std::shared_ptr<GrpcCall> call) {
  if (begin_) begin_(std::move(call));
}

bool GrpcBridge::enter(const std::shared_ptr<GrpcCall>& call) {
  const std::lock_guard lock(mutex_);
  all_.insert(call);
  return !is_closed_;
}

bool GrpcBridge::is_closed() {
  const std::lock_guard lock(mutex_);
  return is_closed_;
}

void GrpcBridge::leave(const std::shared_ptr<GrpcCall>& call) {
  const std::lock_guard lock(mutex_);
  all_.erase(call);
}

GrpcCall* GrpcCall::open(std::shared_ptr<GrpcBridge> bridge,
                         grpc::GenericCallbackServerContext* context) {
  const std::shared_ptr<GrpcCall> call(new GrpcCall(std::move(bridge), context));
  call->self_ = call;
  if (call->bridge_->enter(call)) {
    call->StartRead(&call->in_);
  } else {
    call->finish(closing());
  }
  return call.get();
}

GrpcCall::GrpcCall(std::shared_ptr<GrpcBridge> bridge, grpc::GenericCallbackServerContext* context)
    : bridge_(std::move(bridge)), context_(context) {
  head_.method = "POST";
  head_.path = context->method();
  for (const auto& [name, value] : context->client_metadata()) {
    head_.headers.add(text_of(name), text_of(value));
  }
}

void GrpcCall::post(std::function<void(GrpcCall&)> work) {
  bridge_->loop().post_from_thread([call = self_, work = std::move(work)]() { work(*call); });
}

void GrpcCall::OnReadDone(bool good) {
  if (!good) {
    finish(grpc::Status(grpc::StatusCode::INVALID_ARGUMENT, "the call holds no message"));
  } else if (bridge_->is_closed()) {
    finish(closing());
  } else {
    post([](GrpcCall& call) { call.bridge_->begin(call.shared_from_this()); });
  }
}

void GrpcCall::OnWriteDone(bool good) {
  post([good](GrpcCall& call) { call.written_.resolve(good); });
}

void GrpcCall::OnCancel() {
  post([](GrpcCall& call) {
    call.is_cancelled_ = true;
    call.changed_.wake_all();
    call.written_.resolve(false);
  });
}

// The last that gRPC says; the loop may still hold the call, which is then only memory.
void GrpcCall::OnDone() {
  is_finished_ = true;
  // Goes with the letter, read or not: a loop that has ended frees it unread.
  const std::shared_ptr<GrpcCall> last = std::move(self_);
  bridge_->leave(last);
  bridge_->loop().post_from_thread([last] {});
}

Result<std::string> GrpcCall::request() const {
  std::vector<grpc::Slice> slices;
  if (!in_.Valid() || !in_.Dump(&slices).ok()) return Err(Code::invalid, "the message is damaged");
  std::string bytes;
  for (const grpc::Slice& slice : slices) {
    bytes.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
  }
  return bytes;
}

void GrpcCall::add_header(const std::string& name, const std::string& value) {
  if (!is_finished_) context_->AddInitialMetadata(name, value);
}

Task<bool> GrpcCall::write(std::string bytes) {
  if (is_finished_ || is_cancelled_) co_return false;
  auto made = make_pending<bool>();
  written_ = std::move(made.second);
  out_ = buffer_of(bytes);
  StartWrite(&out_);
  const bool good = co_await std::move(made.first);
  co_return good;
}

void GrpcCall::respond(const std::string& bytes) {
  if (is_finished_.exchange(true)) return;
  out_ = buffer_of(bytes);
  StartWriteAndFinish(&out_, grpc::WriteOptions(), grpc::Status::OK);
}

void GrpcCall::finish(const grpc::Status& status) {
  if (is_finished_.exchange(true)) return;
  Finish(status);
}

Task<void> GrpcCall::cancelled(std::shared_ptr<GrpcCall> call) {
  while (!call->is_cancelled_) co_await call->changed_.wait();
}

}  // namespace ambit::a2a
