#pragma once

// TCP and Unix sockets by libuv as io::Network. Accepting happens only while someone awaits
// accept(): libuv stops listening as long as a connection waits to be taken.

#include "io/world.h"

#include <uv.h>

#include <memory>
#include <string>

namespace ambit::io {

class UvNetwork final : public Network {
 public:
  explicit UvNetwork(uv_loop_t* loop) : loop_(loop) {}
  Task<Result<std::unique_ptr<Stream>>> connect(std::string address) override;
  Result<std::unique_ptr<Listener>> listen(const std::string& address) override;
  Result<std::unique_ptr<Stream>> adopt(int descriptor) override;

 private:
  uv_loop_t* loop_;
};

}  // namespace ambit::io
