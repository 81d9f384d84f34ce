#pragma once

// HttpTransport: the Streamable HTTP transport of a client, both eras, and the HTTP+SSE transport
// of MCP 2024-11-05 where the server has only that. Each message is a POST; what the server answers
// (JSON or an event stream) comes out of receive(). Legacy: the session id goes with every request,
// a stream that breaks off is resumed where it stood, a listening stream brings what the server
// says unasked. Modern: standard headers, and a withdrawn call closes its stream. A request that
// fails on the way is told to `on_failure`, so that no call waits for ever. The http::Client
// outlives it.

#include "async/channel.h"
#include "async/pending.h"
#include "async/scope.h"
#include "http/service.h"
#include "http/sse.h"
#include "http/url.h"
#include "mcp/oauth.h"
#include "mcp/transport.h"

#include <cstddef>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace ambit::mcp {

struct HttpTarget {
  std::string url;                                           // http or https
  std::vector<std::pair<std::string, std::string>> headers;  // with every request: credentials
  std::shared_ptr<OAuth> auth = nullptr;  // gets a token when the server asks; may be null
};

struct HttpTransportLimits {
  std::size_t body_bytes_max = 16 << 20;  // of a JSON answer
  std::size_t error_bytes_max = 64 << 10;
  http::SseLimits events;
  std::size_t posts_max = 64;                             // at once; more wait
  int resumptions_max = 8;                                // in a row, without one event in between
  Duration retry_first = std::chrono::milliseconds(500);  // where the server names no time
  Duration retry_max = std::chrono::seconds(30);
};

class HttpTransport final : public ClientTransport {
 public:
  // Checks the URL and the headers.
  static Result<std::unique_ptr<HttpTransport>> make(http::Client& client, HttpTarget target,
                                                     HttpTransportLimits limits = {});

  Task<Result<void>> send(std::string message) override;
  Task<Result<std::string>> receive() override;
  Task<Error> run() override;
  void speak(Era era, const std::string& version) override;
  void mirror(std::map<std::string, HeaderParameters> tools) override { tools_ = std::move(tools); }
  bool withdraw(const rpc::Id& id) override;
  [[nodiscard]] std::optional<std::int64_t> asked_within(const rpc::Id& question) const override;
  Task<void> close() override;
  [[nodiscard]] bool has_lost_session() const override { return lost_; }
  [[nodiscard]] std::string origin() const override { return http::origin(url_); }
  [[nodiscard]] const std::string& session() const { return session_; }

 private:
  struct Withdrawal {};
  struct Post;       // one message on its way
  struct Withdrawn;  // its entry in withdrawable_

  HttpTransport(http::Client& client, HttpTarget target, http::Url url, HttpTransportLimits limits);
  [[nodiscard]] http::Headers headers(const Post& post) const;
  Task<void> exchange(Post post);
  Task<void> deliver(Post& post);
  Task<Result<http::Reply>> open(const Post& post);
  Task<void> answer_of(Post& post, http::Reply reply);
  Task<void> stream_of(Post& post, http::Reply reply);
  Task<Result<bool>> read_events(Post& post, http::Body& body, http::SseParser& parser);
  Task<Result<std::string>> read_all(http::Body& body, std::size_t bytes_max);
  Task<Result<http::Reply>> resume(const std::string& last_event_id);
  Task<void> listen();
  // HTTP+SSE: one stream for all that the server says, which begins with where to post.
  Task<bool> fall_back(int status);
  Task<Result<void>> open_old_stream();
  Task<Result<void>> read_endpoint(http::Body& body, http::SseParser& parser);
  Task<void> read_old_stream(std::unique_ptr<http::Body> body,
                             std::unique_ptr<http::SseParser> parser);
  Task<Result<void>> take_old_events(http::SseParser& parser, const std::string& bytes);
  // For a request that gets no reply any more.
  void fail(const Post& post, Error error);
  void lose_session();

  http::Client& client_;
  HttpTarget target_;
  http::Url url_;
  HttpTransportLimits limits_;
  Era era_ = Era::modern;
  std::string version_;
  std::string session_;
  bool lost_ = false;
  std::string endpoint_;  // of HTTP+SSE: where messages are posted; empty: Streamable HTTP
  bool broken_ = false;   // its stream has ended
  bool listening_ = false;
  std::map<std::string, HeaderParameters> tools_;
  std::map<rpc::Id, Resolver<Withdrawal>> withdrawable_;
  std::map<rpc::Id, std::int64_t> asked_;  // progress tokens of the posts, by the question's id
  Channel<std::string> incoming_;
  Semaphore posts_;
  Waiters over_;
  Scope scope_;
};

// Whether an answer's status alone says that somebody must log in first, and what to do then.
Error http_error(int status, const std::string& url, const std::string& body);

}  // namespace ambit::mcp
