#include "mcp/stdio_server.h"

#include <nlohmann/json.hpp>

#include <limits>
#include <utility>

namespace ambit::mcp {
namespace {

constexpr std::size_t calls_in_max = 256;

// A client need never reply to us, so the number of its messages has no meaning here.
rpc::PeerLimits limits_of_server() {
  rpc::PeerLimits limits;
  limits.calls_in_max = calls_in_max;
  limits.unasked_max = std::numeric_limits<std::size_t>::max() - 1;
  return limits;
}

}  // namespace

StdioServer::StdioServer(Server& server, io::Stream& in, io::Stream& out, std::string principal)
    : server_(server),
      principal_(std::move(principal)),
      session_(server),
      transport_(out, in),
      peer_(transport_,
            {[this](rpc::Request request) { return answer(std::move(request)); },
             [this](const rpc::Notification& notification) { on_notification(notification); },
             nullptr},
            limits_of_server()) {}

Task<Error> StdioServer::run() {
  scope_.spawn(write());
  auto reason = co_await peer_.run();
  co_return reason;
}

Task<void> StdioServer::write() {
  auto reason = co_await transport_.run();
  peer_.end(std::move(reason));
}

Task<void> StdioServer::tell() {
  Value no_meta;
  co_await server_.tell(session_.watcher, *this, std::move(no_meta));
}

Task<rpc::Reply> StdioServer::answer(rpc::Request request) {
  auto answer = co_await server_.answer(std::move(request), &session_, *this, principal_);
  co_return std::move(answer.reply);
}

void StdioServer::on_notification(const rpc::Notification& notification) {
  if (notification.method == "notifications/cancelled") {
    CancelledParams cancelled;
    if (from_value(notification.params, cancelled)) peer_.cancel_incoming(cancelled.request);
  } else if (notification.method == "notifications/initialized" && !telling_) {
    telling_ = true;
    scope_.spawn(tell());
  }
}

Task<Result<void>> StdioServer::notify(std::string method, Value params) {
  return peer_.notify(std::move(method), std::move(params));
}

Task<Result<rpc::Reply>> StdioServer::ask(std::string method, Value params) {
  return peer_.call(std::move(method), std::move(params));
}

}  // namespace ambit::mcp
