#pragma once

// GrpcDoor: the gRPC binding beside the Door, on a port of its own, for versions 1.0 and 0.3. The
// messages become the JSON that the operations take, so all bindings do the same. gRPC's threads
// only carry bytes; every decision is made on the loop. A tenant also says which agent is meant,
// because gRPC has no path for that.

#include "a2a/door.h"
#include "async/log.h"
#include "io/world.h"

#include <functional>
#include <memory>
#include <string>

namespace ambit::a2a {

struct GrpcOptions {
  std::string address = "127.0.0.1:0";
  bool speaks_0_3 = true;
  std::size_t message_bytes_max = 16 << 20;
  std::size_t calls_max = 4096;                   // at once; more are refused
  Duration heartbeat = std::chrono::seconds(15);  // of a quiet connection
};

// Which agent a request's tenant means; what names the agent is taken off the tenant. Null: nobody.
using FindService = std::function<Service*(std::string& tenant)>;

class GrpcDoor {
 public:
  // Listens from now on. The world and the services outlive the door. Destroying it ends all calls.
  static Result<std::unique_ptr<GrpcDoor>> listen(io::World& world, GrpcOptions options,
                                                  FindService find,
                                                  Authenticate authenticate = nullptr,
                                                  Log log = Log());
  ~GrpcDoor();
  GrpcDoor(const GrpcDoor&) = delete;
  GrpcDoor& operator=(const GrpcDoor&) = delete;

  // "127.0.0.1:50051": where it really listens.
  [[nodiscard]] const std::string& address() const { return address_; }
  [[nodiscard]] std::size_t calls() const;

 private:
  class Hall;
  GrpcDoor(std::unique_ptr<Hall> hall, std::string address);

  std::string address_;
  std::unique_ptr<Hall> hall_;
};

}  // namespace ambit::a2a
