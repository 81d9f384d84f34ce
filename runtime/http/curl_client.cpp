#include "http/curl_client.h"

#include "http/curl_transfer.h"

#include <utility>

namespace ambit::http {
namespace {

Task<Result<std::shared_ptr<Transfer>>> begin(std::shared_ptr<CurlMulti> multi, Request request,
                                              Transfer::Mode mode) {
  auto place = co_await multi->place_for(request.url);
  co_return Transfer::start(multi, std::move(place), std::move(request), mode);
}

Task<Result<Response>> send_whole(std::shared_ptr<CurlMulti> multi, Request request) {
  const auto transfer =
      co_await ok(begin(std::move(multi), std::move(request), Transfer::Mode::whole));
  while (!transfer->done()) co_await transfer->changed().wait();
  if (auto failure = transfer->failure()) co_return Err(std::move(*failure));
  Response response;
  response.status = transfer->status();
  response.headers = transfer->take_headers();
  response.body = transfer->take_bytes();
  co_return response;
}

class CurlBody final : public Body {
 public:
  explicit CurlBody(std::shared_ptr<Transfer> transfer) : transfer_(std::move(transfer)) {}
  Task<Result<std::string>> read() override { return read_from(transfer_); }

 private:
  static Task<Result<std::string>> read_from(std::shared_ptr<Transfer> transfer) {
    while (!transfer->has_bytes() && !transfer->done()) co_await transfer->changed().wait();
    if (transfer->has_bytes()) co_return transfer->take_bytes();
    if (auto failure = transfer->failure()) co_return Err(std::move(*failure));
    co_return std::string();
  }

  std::shared_ptr<Transfer> transfer_;
};

Task<Result<Reply>> open_streamed(std::shared_ptr<CurlMulti> multi, Request request) {
  auto transfer =
      co_await ok(begin(std::move(multi), std::move(request), Transfer::Mode::streamed));
  while (!transfer->has_head() && !transfer->done()) co_await transfer->changed().wait();
  if (!transfer->has_head()) co_return Err(transfer->failure().value());
  Reply reply;
  reply.status = transfer->status();
  reply.headers = transfer->take_headers();
  reply.body = std::make_unique<CurlBody>(std::move(transfer));
  co_return std::move(reply);
}

}  // namespace

CurlClient::CurlClient(io::FdWatcher& watcher, CurlOptions options)
    : multi_(std::make_shared<CurlMulti>(watcher, std::move(options))) {}
CurlClient::~CurlClient() = default;

Task<Result<Response>> CurlClient::send(Request request) {
  return send_whole(multi_, std::move(request));
}

Task<Result<Reply>> CurlClient::open(Request request) {
  return open_streamed(multi_, std::move(request));
}

}  // namespace ambit::http
