#pragma once

// RemoteAgent: an agent somewhere else, found by its card and spoken to over the first of its
// interfaces that we can use and that can be reached: JSON-RPC, REST, and gRPC where there is a
// client of it, in 1.0 and 0.3. A stream that breaks is taken up again by itself. The bearer token
// goes only to the origin from which the card came (gRPC: to its host). Deadlines are the caller's:
// with_timeout(...).

#include "a2a/card.h"
#include "a2a/client_wire.h"
#include "http/service.h"
#include "http/sse.h"

#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace ambit::a2a {

struct ClientOptions {
  std::string token;                    // bearer; empty: none
  std::vector<std::string> extensions;  // to ask for
  int resumes_max = 5;  // of a stream, one after the other, without an event between
  Duration resume_delay = std::chrono::milliseconds(250);  // the first; each one doubles it
  http::Client* grpc = nullptr;  // grpc_door/grpc_client.h; outlives the agent. Null: not spoken
  rpc::ParseLimits parse;
  http::SseLimits sse;
};

using RemoteReply = std::variant<TaskRecord, Message>;

class RemoteStream;

class RemoteAgent {
 public:
  // The HTTP client must outlive the agent, and the agent its streams. `card_url` is where the card
  // came from. Fault::unsupported_operation: no interface that we can use.
  static Answer<std::unique_ptr<RemoteAgent>> create(http::Client& http, AgentCard card,
                                                     const std::string& card_url,
                                                     ClientOptions options = {});
  RemoteAgent(const RemoteAgent&) = delete;
  RemoteAgent& operator=(const RemoteAgent&) = delete;

  // Sent once; a message id that the agent has seen gives the same task again, so a caller may send
  // it again.
  Task<Answer<RemoteReply>> send(SendRequest request);
  Task<Answer<std::unique_ptr<RemoteStream>>> stream(SendRequest request);
  Task<Answer<std::unique_ptr<RemoteStream>>> subscribe(std::string task_id);
  Task<Answer<TaskRecord>> get(GetRequest request);
  Task<Answer<TaskRecord>> cancel(std::string task_id);
  Task<Answer<RemotePage>> list(ListRequest request);
  // How the agent tells of a task; what it gives back holds no secrets.
  Task<Answer<PushConfig>> create_push(PushConfig config);
  Task<Answer<PushConfig>> get_push(std::string task_id, std::string config_id);
  Task<Answer<std::vector<PushConfig>>> list_push(std::string task_id);
  Task<Answer<void>> delete_push(std::string task_id, std::string config_id);
  Task<Answer<AgentCard>> extended_card();

  [[nodiscard]] const AgentCard& card() const { return card_; }
  // The interface that the last request went to.
  [[nodiscard]] const Interface& interface() const { return usable_[current_]; }
  [[nodiscard]] const ClientOptions& options() const { return options_; }

 private:
  friend class RemoteStream;
  struct Opened {
    std::unique_ptr<http::Body> body;
    Interface interface;
  };

  RemoteAgent(http::Client& http, AgentCard card, std::string card_origin,
              std::vector<Interface> usable, ClientOptions options)
      : http_(http),
        card_(std::move(card)),
        card_origin_(std::move(card_origin)),
        usable_(std::move(usable)),
        options_(std::move(options)) {}

  Task<Answer<rpc::Value>> call(Operation operation, rpc::Value params);
  Task<Answer<Opened>> open(Operation operation, rpc::Value params);
  Task<Answer<std::unique_ptr<RemoteStream>>> open_stream(Operation operation, rpc::Value params);
  Answer<http::Request> request_for(const Interface& interface, Operation operation,
                                    rpc::Json params);
  http::Client& client_of(const Interface& interface) const;
  [[nodiscard]] bool is_card_host(const Interface& interface) const;
  void name_caller(const Interface& interface, http::Request& request) const;

  http::Client& http_;
  AgentCard card_;
  std::string card_origin_;
  std::vector<Interface> usable_;
  ClientOptions options_;
  std::size_t current_ = 0;
  std::int64_t request_number_ = 0;
};

// The events of a task. After a break the task itself comes first again, with all that was missed:
// a TaskRecord always stands for everything before it.
class RemoteStream {
 public:
  RemoteStream(RemoteAgent& agent, RemoteAgent::Opened opened);

  // None: the stream has come to its end, at a state that ends or interrupts the task. It ends by
  // itself where the task waits for input, whatever its server keeps open.
  Task<Answer<std::optional<StreamEvent>>> next();
  [[nodiscard]] const std::string& task_id() const { return task_id_; }
  [[nodiscard]] int resumes() const { return resumes_all_; }

 private:
  Task<Answer<void>> fill();
  Task<Answer<void>> resume(Failure why);
  Answer<void> take(const std::string& data);
  void note(const StreamEvent& event);

  RemoteAgent& agent_;
  RemoteAgent::Opened opened_;
  http::SseParser parser_;
  std::deque<StreamEvent> ready_;
  std::string task_id_;
  bool is_over_ = false;       // nothing more is to come, and that is right
  bool waits_for_us_ = false;  // nothing more is to come before a further message
  int resumes_ = 0;
  int resumes_all_ = 0;
};

}  // namespace ambit::a2a
