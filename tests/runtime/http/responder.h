#pragma once

// A tiny HTTP responder over io::Network: each connection is answered by a script of pieces of raw
// bytes, so that tests can say anything a server could, also what it should not.

#include "async/scope.h"
#include "io/world.h"

#include <deque>
#include <memory>
#include <string>
#include <vector>

namespace ambit::http {

// What the responder does after a request has come in.
struct Script {
  std::vector<std::string> pieces;
  Duration between = Duration::zero();
  bool keep_open = false;  // wait for the next request on the same connection
  bool hang = false;       // say no more, but keep the connection
};

class Responder {
 public:
  explicit Responder(io::World& world) : listener_(world.network.listen("127.0.0.1:0").value()) {
    scope_.spawn(serve());
  }
  [[nodiscard]] std::string url(const std::string& path = "/") const {
    return "http://" + listener_->address() + path;
  }
  void then(Script script) { scripts_.push_back(std::move(script)); }
  // One request after the other, headers and body as they came.
  [[nodiscard]] const std::vector<std::string>& requests() const { return requests_; }
  [[nodiscard]] int connections() const { return connections_; }
  // Bytes that could be sent in the answer that is being written.
  [[nodiscard]] std::size_t sent() const { return sent_; }
  [[nodiscard]] bool idle() const { return scope_.size() == 1; }

 private:
  Task<void> serve() {
    while (true) {
      auto stream = co_await listener_->accept();
      if (!stream) co_return;
      ++connections_;
      scope_.spawn(answer(std::move(*stream)));
    }
  }

  Task<void> answer(std::unique_ptr<io::Stream> stream) {
    std::string bytes;
    bool open = true;
    while (open && !scripts_.empty()) {
      while (request_size(bytes) == 0) {
        auto part = co_await stream->read(4096);
        if (!part || part->empty()) co_return;
        bytes += *part;
      }
      requests_.push_back(bytes.substr(0, request_size(bytes)));
      bytes.erase(0, request_size(bytes));
      if (scripts_.empty()) co_return;
      const Script script = std::move(scripts_.front());
      scripts_.pop_front();
      sent_ = 0;
      for (const std::string& piece : script.pieces) {
        auto written = co_await stream->write(piece);
        if (!written) co_return;
        sent_ += piece.size();
        co_await delay(script.between);
      }
      while (script.hang) {
        auto part = co_await stream->read(4096);
        if (!part || part->empty()) co_return;
      }
      open = script.keep_open;
    }
  }

  // Of the first whole request in `bytes`; 0: it is not there yet.
  static std::size_t request_size(const std::string& bytes) {
    const std::size_t end = bytes.find("\r\n\r\n");
    if (end == std::string::npos) return 0;
    const std::size_t at = bytes.find("Content-Length: ");
    const std::size_t length = at < end ? std::stoul(bytes.substr(at + 16)) : 0;
    return bytes.size() >= end + 4 + length ? end + 4 + length : 0;
  }

  std::unique_ptr<io::Listener> listener_;
  std::deque<Script> scripts_;
  std::vector<std::string> requests_;
  int connections_ = 0;
  std::size_t sent_ = 0;
  Scope scope_;
};

}  // namespace ambit::http
