#include "a2a/client.h"

#include "a2a/client_wire.h"
#include "http/url.h"

#include <nlohmann/json.hpp>

#include <algorithm>

namespace ambit::a2a {
namespace {

using http::Request;
using http::Response;
using rpc::Json;

Failure unreachable(const Error& error) {
  const bool is_size = error.code == Code::exhausted;
  return {is_size ? Fault::invalid_agent_response : Fault::unreachable, error.message, ""};
}

bool is_streamed(const http::Headers& headers) {
  return http::media_type(headers) == "text/event-stream";
}

}  // namespace

Answer<std::unique_ptr<RemoteAgent>> RemoteAgent::create(http::Client& http, AgentCard card,
                                                         const std::string& card_url,
                                                         ClientOptions options) {
  const auto from = http::parse_url(card_url);
  if (!from) return Fail(Fault::invalid_params, from.error().message);
  std::vector<Interface> usable;
  std::string offered;
  for (const Interface& interface : card.interfaces) {
    offered += (offered.empty() ? "" : ", ") + interface.binding + " " + interface.protocol_version;
    if (!version_of(interface)) continue;
    const bool is_grpc = interface.binding == "GRPC";
    const bool can_use =
        is_grpc ? options.grpc != nullptr : http::parse_url(interface.url).has_value();
    if (can_use) usable.push_back(interface);
  }
  if (usable.empty()) {
    return Fail(Fault::unsupported_operation,
                "agent " + card.name + " offers " + offered +
                    "; we speak 1.0 and 0.3 over JSONRPC and HTTP+JSON" +
                    (options.grpc != nullptr ? ", and over GRPC" : ""));
  }
  return std::unique_ptr<RemoteAgent>(new RemoteAgent(http, std::move(card), http::origin(*from),
                                                      std::move(usable), std::move(options)));
}

void RemoteAgent::name_caller(const Interface& interface, Request& request) const {
  const auto url = http::parse_url(interface.url);
  // gRPC listens on a port of its own; the same host is meant by the same name.
  const bool is_same = url ? http::origin(*url) == card_origin_ : false;
  if (!options_.token.empty() &&
      (is_same || (interface.binding == "GRPC" && is_card_host(interface)))) {
    request.headers.set("Authorization", "Bearer " + options_.token);
  }
  std::string uris;
  for (const std::string& uri : options_.extensions) uris += (uris.empty() ? "" : ", ") + uri;
  const bool is_old = version_of(interface) != Version::v1_0;
  if (!uris.empty()) request.headers.set(is_old ? "X-A2A-Extensions" : "A2A-Extensions", uris);
  if (!is_old) request.headers.set("A2A-Version", "1.0");
}

// Without a scheme, as gRPC's addresses often are, or with one.
bool RemoteAgent::is_card_host(const Interface& interface) const {
  std::string text = interface.url;
  if (text.find("://") == std::string::npos) text = "https://" + text;
  const auto url = http::parse_url(text);
  const auto from = http::parse_url(card_origin_);
  return url && from && url->host == from->host;
}

Answer<Request> RemoteAgent::request_for(const Interface& interface, Operation operation,
                                         Json params) {
  if (!interface.tenant.empty() && !params.contains("tenant")) params["tenant"] = interface.tenant;
  auto request = wire_request(interface, operation, std::move(params), ++request_number_);
  if (request) name_caller(interface, *request);
  return request;
}

http::Client& RemoteAgent::client_of(const Interface& interface) const {
  return interface.binding == "GRPC" ? *options_.grpc : http_;
}

// An interface that cannot be reached has not seen the request: the next one may.
Task<Answer<rpc::Value>> RemoteAgent::call(Operation operation, rpc::Value params) {
  for (std::size_t tried = 0;; ++tried) {
    const Interface interface = usable_[current_];
    auto request = request_for(interface, operation, params.json());
    if (!request) co_return tl::unexpected<Failure>(request.error());
    auto response = co_await client_of(interface).send(std::move(*request));
    if (response) co_return wire_result(interface, operation, *response, options_.parse);
    if (response.error().code != Code::unavailable || tried + 1 >= usable_.size()) {
      co_return tl::unexpected<Failure>(unreachable(response.error()));
    }
    current_ = (current_ + 1) % usable_.size();
  }
}

Task<Answer<RemoteAgent::Opened>> RemoteAgent::open(Operation operation, rpc::Value params) {
  for (std::size_t tried = 0;; ++tried) {
    const Interface interface = usable_[current_];
    auto request = request_for(interface, operation, params.json());
    if (!request) co_return tl::unexpected<Failure>(request.error());
    auto reply = co_await client_of(interface).open(std::move(*request));
    if (!reply) {
      if (reply.error().code != Code::unavailable || tried + 1 >= usable_.size()) {
        co_return tl::unexpected<Failure>(unreachable(reply.error()));
      }
      current_ = (current_ + 1) % usable_.size();
      continue;
    }
    Opened opened;
    opened.interface = interface;
    if (reply->status == 200 && is_streamed(reply->headers)) {
      opened.body = std::move(reply->body);
      co_return opened;
    }
    Response response;
    response.status = reply->status;
    response.headers = reply->headers;
    while (response.body.size() < options_.parse.bytes_max) {
      auto part = co_await reply->body->read();
      if (!part || part->empty()) break;
      response.body += *part;
    }
    auto result = wire_result(interface, operation, response, options_.parse);
    if (!result) co_return tl::unexpected<Failure>(result.error());
    co_return Fail(Fault::invalid_agent_response, "the agent did not answer with an event stream");
  }
}

Task<Answer<RemoteReply>> RemoteAgent::send(SendRequest request) {
  rpc::Value params(to_json(request));
  auto result = co_await call(Operation::send, std::move(params));
  if (!result) co_return tl::unexpected<Failure>(result.error());
  auto event = read_stream_event(result->json());
  if (!event) co_return tl::unexpected<Failure>(event.error());
  if (auto* task = std::get_if<TaskRecord>(&*event)) co_return RemoteReply(std::move(*task));
  if (auto* message = std::get_if<Message>(&*event)) co_return RemoteReply(std::move(*message));
  co_return Fail(Fault::invalid_agent_response, "the agent's answer is neither task nor message");
}

Task<Answer<std::unique_ptr<RemoteStream>>> RemoteAgent::open_stream(Operation operation,
                                                                     rpc::Value params) {
  auto opened = co_await open(operation, std::move(params));
  if (!opened) co_return tl::unexpected<Failure>(opened.error());
  co_return std::make_unique<RemoteStream>(*this, std::move(*opened));
}

Task<Answer<std::unique_ptr<RemoteStream>>> RemoteAgent::stream(SendRequest request) {
  rpc::Value params(to_json(request));
  co_return co_await open_stream(Operation::stream, std::move(params));
}

Task<Answer<std::unique_ptr<RemoteStream>>> RemoteAgent::subscribe(std::string task_id) {
  Json json = Json::object();
  json["id"] = task_id;
  rpc::Value params(std::move(json));
  co_return co_await open_stream(Operation::subscribe, std::move(params));
}

Task<Answer<TaskRecord>> RemoteAgent::get(GetRequest request) {
  Json json = Json::object();
  json["id"] = request.id;
  if (request.history_length) json["historyLength"] = *request.history_length;
  rpc::Value params(std::move(json));
  auto result = co_await call(Operation::get, std::move(params));
  if (!result) co_return tl::unexpected<Failure>(result.error());
  co_return read_task(result->json());
}

Task<Answer<TaskRecord>> RemoteAgent::cancel(std::string task_id) {
  Json json = Json::object();
  json["id"] = task_id;
  rpc::Value params(std::move(json));
  auto result = co_await call(Operation::cancel, std::move(params));
  if (!result) co_return tl::unexpected<Failure>(result.error());
  co_return read_task(result->json());
}

Task<Answer<RemotePage>> RemoteAgent::list(ListRequest request) {
  Json json = Json::object();
  if (!request.context_id.empty()) json["contextId"] = request.context_id;
  if (request.status != TaskState::unspecified) json["status"] = to_string(request.status);
  if (request.page_size) json["pageSize"] = *request.page_size;
  if (!request.page_token.empty()) json["pageToken"] = request.page_token;
  if (request.history_length) json["historyLength"] = *request.history_length;
  if (request.include_artifacts) json["includeArtifacts"] = true;
  rpc::Value params(std::move(json));
  auto result = co_await call(Operation::list, std::move(params));
  if (!result) co_return tl::unexpected<Failure>(result.error());
  co_return read_page(result->json());
}

namespace {

// What an agent says of a configuration is its fault where it is wrong.
Answer<PushConfig> told_config(const Json& json) {
  auto config = read_push_config(json, "");
  if (!config) return Fail(Fault::invalid_agent_response, config.error().message);
  return config;
}

rpc::Value names_of(const std::string& task_id, const std::string& config_id) {
  Json json = Json::object();
  json["taskId"] = task_id;
  if (!config_id.empty()) json["id"] = config_id;
  return rpc::Value(std::move(json));
}

}  // namespace

Task<Answer<PushConfig>> RemoteAgent::create_push(PushConfig config) {
  rpc::Value params(to_request_json(config));
  auto result = co_await call(Operation::create_push, std::move(params));
  if (!result) co_return tl::unexpected<Failure>(result.error());
  co_return told_config(result->json());
}

Task<Answer<PushConfig>> RemoteAgent::get_push(std::string task_id, std::string config_id) {
  rpc::Value params = names_of(task_id, config_id);
  auto result = co_await call(Operation::get_push, std::move(params));
  if (!result) co_return tl::unexpected<Failure>(result.error());
  co_return told_config(result->json());
}

Task<Answer<std::vector<PushConfig>>> RemoteAgent::list_push(std::string task_id) {
  rpc::Value params = names_of(task_id, "");
  auto result = co_await call(Operation::list_push, std::move(params));
  if (!result) co_return tl::unexpected<Failure>(result.error());
  std::vector<PushConfig> configs;
  const Json& json = result->json();
  if (!json.contains("configs")) co_return configs;
  if (!json["configs"].is_array()) {
    co_return Fail(Fault::invalid_agent_response, "configs: must be an array");
  }
  for (const Json& one : json["configs"]) {
    auto config = told_config(one);
    if (!config) co_return tl::unexpected<Failure>(config.error());
    configs.push_back(std::move(*config));
  }
  co_return configs;
}

Task<Answer<void>> RemoteAgent::delete_push(std::string task_id, std::string config_id) {
  rpc::Value params = names_of(task_id, config_id);
  auto result = co_await call(Operation::delete_push, std::move(params));
  if (!result) co_return tl::unexpected<Failure>(result.error());
  co_return Answer<void>();
}

Task<Answer<AgentCard>> RemoteAgent::extended_card() {
  rpc::Value params(Json::object());
  auto result = co_await call(Operation::extended_card, std::move(params));
  if (!result) co_return tl::unexpected<Failure>(result.error());
  co_return read_card(result->json());
}

RemoteStream::RemoteStream(RemoteAgent& agent, RemoteAgent::Opened opened)
    : agent_(agent), opened_(std::move(opened)), parser_(agent.options().sse) {}

void RemoteStream::note(const StreamEvent& event) {
  const auto see = [&](const std::string& id, TaskState state) {
    if (task_id_.empty()) task_id_ = id;
    // A stream goes on while somebody logs in; that it may also end there is for next() to see.
    is_over_ = is_terminal(state) || is_interrupted(state);
    waits_for_us_ = state == TaskState::input_required;
  };
  if (const auto* task = std::get_if<TaskRecord>(&event)) {
    see(task->id, task->status.state);
  } else if (const auto* update = std::get_if<StatusUpdate>(&event)) {
    see(update->task_id, update->status.state);
  } else if (const auto* chunk = std::get_if<ArtifactUpdate>(&event)) {
    if (task_id_.empty()) task_id_ = chunk->task_id;
  } else {
    is_over_ = true;
  }
}

Answer<void> RemoteStream::take(const std::string& data) {
  auto event = wire_event(opened_.interface, data, agent_.options().parse);
  if (!event) return tl::unexpected<Failure>(event.error());
  note(*event);
  ready_.push_back(std::move(*event));
  return {};
}

// Reads until at least one event is there, or the stream has ended.
Task<Answer<void>> RemoteStream::fill() {
  while (ready_.empty() && opened_.body) {
    auto bytes = co_await opened_.body->read();
    if (!bytes || bytes->empty()) {
      opened_.body.reset();
      if (is_over_) co_return Answer<void>();
      Failure why{Fault::unreachable, "the agent's stream ended before its task", ""};
      if (!bytes) why.message = bytes.error().message;
      co_return co_await resume(std::move(why));
    }
    auto events = parser_.feed(*bytes);
    if (!events) co_return Fail(Fault::invalid_agent_response, events.error().message);
    for (const http::ServerEvent& event : *events) {
      auto taken = take(event.data);
      if (!taken) co_return taken;
    }
    if (!ready_.empty()) resumes_ = 0;
  }
  co_return Answer<void>();
}

// Subscribes again; a task that has ended in the meantime is fetched. Either way the task as it
// stands comes next.
Task<Answer<void>> RemoteStream::resume(Failure why) {
  if (task_id_.empty()) co_return tl::unexpected<Failure>(why);
  while (resumes_ < agent_.options().resumes_max) {
    co_await delay(agent_.options().resume_delay * (1 << std::min(resumes_, 10)));
    ++resumes_;
    ++resumes_all_;
    Json json = Json::object();
    json["id"] = task_id_;
    rpc::Value params(std::move(json));
    auto opened = co_await agent_.open(Operation::subscribe, std::move(params));
    if (opened) {
      opened_ = std::move(*opened);
      parser_ = http::SseParser(agent_.options().sse);
      co_return Answer<void>();
    }
    if (opened.error().fault == Fault::unreachable || opened.error().fault == Fault::exhausted) {
      why = opened.error();
      continue;
    }
    GetRequest request;
    request.id = task_id_;
    auto task = co_await agent_.get(std::move(request));
    if (!task) co_return tl::unexpected<Failure>(task.error());
    if (!is_terminal(task->status.state) && !is_interrupted(task->status.state)) {
      co_return tl::unexpected<Failure>(opened.error());
    }
    is_over_ = true;
    ready_.emplace_back(std::move(*task));
    co_return Answer<void>();
  }
  co_return tl::unexpected<Failure>(why);
}

Task<Answer<std::optional<StreamEvent>>> RemoteStream::next() {
  while (ready_.empty()) {
    if (waits_for_us_) opened_.body.reset();
    if (!opened_.body) co_return std::optional<StreamEvent>();
    auto filled = co_await fill();
    if (!filled) {
      opened_.body.reset();
      co_return tl::unexpected<Failure>(filled.error());
    }
  }
  std::optional<StreamEvent> event(std::move(ready_.front()));
  ready_.pop_front();
  co_return event;
}

}  // namespace ambit::a2a
