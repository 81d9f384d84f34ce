#pragma once

// Client over libcurl's multi interface, driven by the loop: no thread of its own but libcurl's for
// names. Connections are kept and used again. TLS certificates are always checked, redirects are
// answers like any other, the environment's proxy settings are ignored, only http and https are
// spoken. libcurl is seen by this folder alone.

#include "http/service.h"
#include "io/fd_watch.h"

#include <cstddef>
#include <memory>
#include <string>

namespace ambit::http {

class CurlMulti;

struct CurlOptions {
  Duration connect_timeout = std::chrono::seconds(10);
  // A transfer in which nothing moves for so long has failed; whole seconds. Deadlines for a whole
  // request are the caller's: with_timeout(...).
  Duration silence_timeout = std::chrono::seconds(120);
  std::size_t header_bytes_max = 64 << 10;
  std::size_t body_bytes_max = 16 << 20;    // of a response to send()
  std::size_t buffer_bytes_max = 64 << 10;  // of a streamed body, read ahead
  std::size_t transfers_max = 256;          // further requests wait, the more urgent ones less
  // Of one scheme, host and port: further requests wait in the same way, and take no place of
  // others meanwhile. One that speaks HTTP/2 takes many requests on each. 0: as many as there are.
  int connections_per_host_max = 32;
  // For URLs that come from somebody else: connects to public addresses alone, whatever a name
  // stands for at that moment.
  bool connects_to_public_alone = false;
  std::string proxy;    // "http://host:port"; empty: none
  std::string ca_file;  // PEM; empty: the system's
  std::string user_agent = "ambit";
};

class CurlClient final : public Client {
 public:
  // The watcher must outlive the client and all of its bodies.
  explicit CurlClient(io::FdWatcher& watcher, CurlOptions options = {});
  ~CurlClient() override;
  CurlClient(const CurlClient&) = delete;
  CurlClient& operator=(const CurlClient&) = delete;

  Task<Result<Response>> send(Request request) override;
  Task<Result<Reply>> open(Request request) override;

 private:
  std::shared_ptr<CurlMulti> multi_;
};

}  // namespace ambit::http
