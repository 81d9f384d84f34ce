#pragma once

// EventStream: an answer of server-sent events. It sends what a bounded channel gives, several
// events in one write when several are there, and a comment whenever nothing came for a heartbeat:
// that keeps middle boxes from closing the connection, and tells us when the client is gone.

#include "async/channel.h"
#include "async/race.h"
#include "http/exchange.h"
#include "http/sse.h"

#include <string>
#include <utility>

namespace ambit::http {

class EventStream {
 public:
  // `exchange` must outlive the stream.
  EventStream(Exchange& exchange, Duration heartbeat)
      : exchange_(exchange), heartbeat_(heartbeat) {}

  // Status 200 and the headers of an event stream, beside `headers`.
  Task<Result<void>> open(Headers headers) {
    headers.set("Content-Type", "text/event-stream");
    headers.set("Cache-Control", "no-store");
    co_return co_await exchange_.begin(200, std::move(headers));
  }
  // Whole events, as format_event() writes them.
  Task<Result<void>> send(std::string events) {
    co_return co_await exchange_.write(std::move(events));
  }
  Task<Result<void>> end() { co_return co_await exchange_.end(); }

  // The next item of the channel; Code::closed at its end.
  template <class T>
  Task<Result<T>> receive(Channel<T>& source) {
    while (true) {
      std::optional<T> ready = source.try_receive();
      if (ready) co_return std::move(*ready);
      Result<T> item = co_await with_timeout(heartbeat_, source.receive());
      if (item || item.error().code != Code::timeout) co_return std::move(item);
      co_await ok(exchange_.write(format_comment("")));
    }
  }

 private:
  Exchange& exchange_;
  Duration heartbeat_;
};

}  // namespace ambit::http
