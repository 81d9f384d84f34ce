#pragma once

// Login: the person's part of OAuth. It prints the address of the login page and waits, on a port
// of this machine, for the browser to come back.

#include "async/waiters.h"
#include "http/server.h"
#include "io/world.h"

#include <memory>
#include <string>

namespace ambit::app {

class Login {
 public:
  static Result<std::unique_ptr<Login>> open(io::World& world);

  // Where browsers are to be sent back to.
  [[nodiscard]] std::string redirect_uri() const;
  // The address that the browser came back with; Code::timeout if nobody logs in.
  Task<Result<std::string>> browse(std::string url);

 private:
  Login() = default;
  Task<void> serve(http::Exchange& exchange);
  Task<Result<std::string>> came_back();

  std::string back_;
  Waiters waiters_;
  std::unique_ptr<http::Server> server_;
};

}  // namespace ambit::app
