#pragma once

// HttpEndpoint: a Server at one path of an HTTP server, for clients of both eras at once. Modern
// requests stand alone: checked headers, an answer in JSON or, once there is something to say
// before it, an event stream; a client that closes it cancels the request. Legacy clients get
// sessions with resumable streams. Requests from web pages of other origins are refused.

#include "http/server.h"
#include "mcp/http_session.h"

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace ambit::mcp {

struct HttpEndpointOptions {
  std::string path = "/mcp";
  std::vector<std::string> origins;  // beside pages of this machine: "https://console.example"
  std::size_t sessions_max = 1024;   // the one that was silent longest makes room
  Duration session_idle = std::chrono::minutes(30);
  Duration heartbeat = std::chrono::seconds(15);  // of a silent event stream
  Duration retry = std::chrono::seconds(1);       // when a client may come back for the rest
  StreamLimits streams;
  // Who is asking, or Code::denied (401). Null: "anonymous".
  std::function<Result<std::string>(const http::RequestHead&)> authenticate;
};

class HttpEndpoint {
 public:
  HttpEndpoint(Server& server, io::Entropy& entropy, HttpEndpointOptions options = {});
  ~HttpEndpoint();
  HttpEndpoint(const HttpEndpoint&) = delete;
  HttpEndpoint& operator=(const HttpEndpoint&) = delete;

  // One HTTP request; for http::Server's Handler.
  Task<void> handle(http::Exchange& exchange);
  [[nodiscard]] std::size_t sessions() const { return sessions_.size(); }

 private:
  class ModernWire;
  using SessionPointer = std::shared_ptr<HttpSession>;

  Task<void> post(http::Exchange& exchange, std::string principal);
  Task<void> post_modern(http::Exchange& exchange, rpc::Request request, std::string principal);
  Task<void> post_legacy(http::Exchange& exchange, rpc::Message message, std::string principal);
  Task<void> start_session(http::Exchange& exchange, rpc::Request request, std::string principal);
  Task<void> get(http::Exchange& exchange, std::string principal);
  Task<void> remove(http::Exchange& exchange, std::string principal);
  Task<void> read_log(http::Exchange& exchange, SessionPointer session,
                      std::shared_ptr<EventLog> log, std::uint64_t from, bool may_be_json);
  [[nodiscard]] bool is_origin_allowed(std::string_view origin) const;
  [[nodiscard]] std::optional<rpc::Fault> fault_of_headers(const http::Headers& headers,
                                                           const rpc::Request& request) const;
  SessionPointer find_session(const http::RequestHead& head, const std::string& principal);
  void drop_idle_sessions();

  Server& server_;
  io::Entropy& entropy_;
  HttpEndpointOptions options_;
  std::map<std::string, SessionPointer> sessions_;
};

}  // namespace ambit::mcp
