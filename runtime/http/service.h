#pragma once

// What a caller of HTTP uses: Client. One is made in main and handed down; tests hand down a fake.
// (Its dual, what a server calls, is the Handler of server.h.)

#include "async/task.h"
#include "http/message.h"

#include <memory>
#include <string>

namespace ambit::http {

// The body of a response as it arrives. Nothing is fetched ahead beyond a small buffer: a slow
// reader slows the server down. Destroying it ends the transfer.
class Body {
 public:
  virtual ~Body() = default;
  // At least one byte; an empty string is the end, an error says that the end is missing. One
  // reader.
  virtual Task<Result<std::string>> read() = 0;
};

struct Reply {
  int status = 0;
  Headers headers;
  std::unique_ptr<Body> body;
};

class Client {
 public:
  virtual ~Client() = default;
  // The whole response, its body bounded by the client's limits. Every status is a Response; an
  // Error means that there is none. Cancelling the task ends the transfer.
  virtual Task<Result<Response>> send(Request request) = 0;
  // Returns when the headers are there; the body is read from the Reply, without a bound on its
  // length.
  virtual Task<Result<Reply>> open(Request request) = 0;
};

}  // namespace ambit::http
