#pragma once

// Two ends of a stream in memory: what one writes, the other reads. Bounded like a pipe: a write
// waits while the other end has many chunks unread. For servers and clients that are tested in one
// process.

#include "async/channel.h"
#include "io/stream.h"

#include <algorithm>
#include <memory>
#include <string>
#include <utility>

namespace ambit {

class MemoryStream final : public io::Stream {
 public:
  using Pipe = std::shared_ptr<Channel<std::string>>;

  static std::pair<std::unique_ptr<MemoryStream>, std::unique_ptr<MemoryStream>> pair(
      std::size_t chunks = 16) {
    auto there = std::make_shared<Channel<std::string>>(chunks);
    auto back = std::make_shared<Channel<std::string>>(chunks);
    return {std::make_unique<MemoryStream>(back, there),
            std::make_unique<MemoryStream>(there, back)};
  }

  MemoryStream(Pipe in, Pipe out) : in_(std::move(in)), out_(std::move(out)) {}
  ~MemoryStream() override { close_pipes(); }

  Task<Result<std::string>> read(std::size_t max) override {
    if (closed_) co_return Err(Code::closed, "the stream is closed");
    if (left_.empty()) {
      auto chunk = co_await in_->receive();
      if (closed_) co_return Err(Code::closed, "the stream is closed");
      if (!chunk) co_return std::string();
      left_ = std::move(*chunk);
    }
    std::string bytes = left_.substr(0, max);
    left_.erase(0, bytes.size());
    co_return bytes;
  }
  Task<Result<void>> write(std::string bytes) override {
    auto sent = co_await out_->send(std::move(bytes));
    if (!sent) co_return Err(Code::closed, "the other end is closed");
    co_return Result<void>();
  }
  void shutdown_write() override { out_->close(); }
  void close() override {
    closed_ = true;
    close_pipes();
  }

 private:
  void close_pipes() {
    in_->close();
    out_->close();
  }

  Pipe in_;
  Pipe out_;
  std::string left_;
  bool closed_ = false;
};

}  // namespace ambit
