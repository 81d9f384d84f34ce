#include "a2a/client.h"

#include "a2a/v0_3.h"
#include "http/url.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cctype>

namespace ambit::a2a {
namespace {

using http::Request;
using http::Response;
using rpc::Json;

constexpr std::size_t words_max = 300;  // of a message that is no JSON, in our error

std::string escaped(std::string_view text) {
  constexpr std::string_view digits = "0123456789ABCDEF";
  std::string out;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (std::isalnum(byte) != 0 || c == '-' || c == '.' || c == '_' || c == '~') {
      out += c;
    } else {
      out += '%';
      out += digits[byte >> 4];
      out += digits[byte & 15];
    }
  }
  return out;
}

Failure unreachable(const Error& error) {
  const bool is_size = error.code == Code::exhausted;
  return {is_size ? Fault::invalid_agent_response : Fault::unreachable, error.message, ""};
}

std::string member(Json& params, const char* key) {
  const auto at = params.find(key);
  if (at == params.end()) return "";
  std::string text = at->is_string() ? at->get<std::string>() : at->dump();
  params.erase(key);
  return text;
}

std::string query_of(const Json& params) {
  std::string query;
  for (const auto& [name, value] : params.items()) {
    query += (query.empty() ? "?" : "&") + escaped(name) + "=" +
             escaped(value.is_string() ? value.get<std::string>() : value.dump());
  }
  return query;
}

// The path of REST, and what of the parameters is left for the body.
void put_rest(Operation operation, Json& params, Request& request) {
  const std::string tenant = member(params, "tenant");
  if (!tenant.empty()) request.url += "/" + escaped(tenant);
  request.method = "GET";
  switch (operation) {
    case Operation::send:
    case Operation::stream:
      request.method = "POST";
      request.url += operation == Operation::send ? "/message:send" : "/message:stream";
      request.body = rpc::compact(params);
      return;
    case Operation::cancel:
      request.method = "POST";
      request.url += "/tasks/" + escaped(member(params, "id")) + ":cancel";
      request.body = "{}";
      return;
    case Operation::subscribe:
      // The proto says GET, the text of the specification POST; agents of both kinds take POST or
      // say so, and most take both.
      request.method = "POST";
      request.url += "/tasks/" + escaped(member(params, "id")) + ":subscribe";
      request.body = "{}";
      return;
    case Operation::get:
      request.url += "/tasks/" + escaped(member(params, "id"));
      break;
    case Operation::extended_card:
      request.url += "/extendedAgentCard";
      break;
    default:
      request.url += "/tasks";
      break;
  }
  request.url += query_of(params);
}

Failure failure_of_body(const Response& response) {
  const auto value = rpc::Value::parse(response.body);
  if (value && value->json().is_object()) {
    const Json& json = value->json();
    const auto error = json.find("error");
    if (error != json.end() && error->is_object()) {
      std::string message;
      if (error->contains("message") && (*error)["message"].is_string()) {
        message = (*error)["message"].get<std::string>();
      }
      const char* key = error->contains("details") ? "details" : "data";
      const Json details = error->contains(key) ? (*error)[key] : Json();
      const auto code = error->find("code");
      if (code != error->end() && code->is_number_integer() && code->get<std::int64_t>() < 0) {
        return failure_of_rpc(code->get<std::int64_t>(), message, details);
      }
      return failure_of_http(response.status, message, details);
    }
  }
  std::string words(rpc::utf8_prefix(response.body, words_max));
  if (words.empty()) words = "the agent answered " + std::to_string(response.status);
  return failure_of_http(response.status, words, Json());
}

bool is_streamed(const http::Headers& headers) {
  return http::media_type(headers) == "text/event-stream";
}

}  // namespace

std::optional<Version> version_of(const Interface& interface) {
  const std::string& version = interface.protocol_version;
  const bool is_1_0 = version == "1.0" || version.starts_with("1.0.");
  const bool is_0_3 = version == "0.3" || version.starts_with("0.3.");
  if (interface.binding == "JSONRPC" && is_1_0) return Version::v1_0;
  if (interface.binding == "JSONRPC" && is_0_3) return Version::v0_3;
  if (interface.binding == "HTTP+JSON" && is_1_0) return Version::v1_0;
  return std::nullopt;
}

Answer<std::unique_ptr<RemoteAgent>> RemoteAgent::create(http::Client& http, AgentCard card,
                                                         const std::string& card_url,
                                                         ClientOptions options) {
  const auto from = http::parse_url(card_url);
  if (!from) return Fail(Fault::invalid_params, from.error().message);
  std::vector<Interface> usable;
  std::string offered;
  for (const Interface& interface : card.interfaces) {
    offered += (offered.empty() ? "" : ", ") + interface.binding + " " + interface.protocol_version;
    if (version_of(interface) && http::parse_url(interface.url)) usable.push_back(interface);
  }
  if (usable.empty()) {
    return Fail(Fault::unsupported_operation,
                "agent " + card.name + " offers " + offered +
                    "; we speak JSONRPC 1.0 and 0.3, and HTTP+JSON 1.0");
  }
  return std::unique_ptr<RemoteAgent>(new RemoteAgent(http, std::move(card), http::origin(*from),
                                                      std::move(usable), std::move(options)));
}

void RemoteAgent::name_caller(const Interface& interface, Request& request) const {
  if (!options_.token.empty() && http::origin(*http::parse_url(interface.url)) == card_origin_) {
    request.headers.set("Authorization", "Bearer " + options_.token);
  }
  std::string uris;
  for (const std::string& uri : options_.extensions) uris += (uris.empty() ? "" : ", ") + uri;
  const bool is_old = version_of(interface) == Version::v0_3;
  if (!uris.empty()) request.headers.set(is_old ? "X-A2A-Extensions" : "A2A-Extensions", uris);
  if (!is_old) request.headers.set("A2A-Version", "1.0");
}

Answer<Request> RemoteAgent::request_for(const Interface& interface, Operation operation,
                                         Json params) {
  Request request;
  request.url = interface.url;
  const Version version = *version_of(interface);
  if (!interface.tenant.empty() && !params.contains("tenant")) params["tenant"] = interface.tenant;
  const bool is_rest = interface.binding == "HTTP+JSON";
  request.headers.set("Accept", is_streaming(operation) ? "text/event-stream, application/json"
                                                        : "application/json, application/a2a+json");
  if (is_rest) {
    while (request.url.ends_with('/')) request.url.pop_back();
    put_rest(operation, params, request);
  } else {
    const std::string_view method = method_name(operation, version);
    if (method.empty()) {
      return Fail(Fault::unsupported_operation, "A2A 0.3 has no such operation, and agent " +
                                                    card_.name + " speaks nothing newer");
    }
    if (version == Version::v0_3) params = v0_3::downgrade_params(operation, std::move(params));
    Json message = {{"jsonrpc", "2.0"}, {"id", ++request_number_}, {"method", method}};
    message["params"] = std::move(params);
    request.method = "POST";
    request.body = rpc::compact(message);
  }
  if (!request.body.empty()) request.headers.set("Content-Type", "application/json");
  name_caller(interface, request);
  return request;
}

// The result in 1.0's shape.
Answer<rpc::Value> RemoteAgent::result_of(const Interface& interface, Operation operation,
                                          const Response& response) const {
  if (!response.is_success()) return tl::unexpected<Failure>(failure_of_body(response));
  auto value = rpc::Value::parse(response.body, options_.parse);
  if (!value || !value->json().is_object()) {
    return Fail(Fault::invalid_agent_response,
                "the agent's answer is no JSON object" +
                    (value ? std::string() : ": " + value.error().message));
  }
  Json& json = value->edit();
  if (interface.binding == "JSONRPC") {
    if (json.contains("error")) return tl::unexpected<Failure>(failure_of_body(response));
    const auto result = json.find("result");
    if (result == json.end()) {
      return Fail(Fault::invalid_agent_response,
                  "the agent's answer holds neither result nor error");
    }
    Json inner = std::move(*result);
    json = std::move(inner);
  }
  if (version_of(interface) == Version::v0_3 && operation != Operation::extended_card) {
    json = v0_3::upgrade_result(operation, std::move(json));
  }
  return std::move(*value);
}

// An interface that cannot be reached has not seen the request: the next one may.
Task<Answer<rpc::Value>> RemoteAgent::call(Operation operation, rpc::Value params) {
  for (std::size_t tried = 0;; ++tried) {
    const Interface interface = usable_[current_];
    auto request = request_for(interface, operation, params.json());
    if (!request) co_return tl::unexpected<Failure>(request.error());
    auto response = co_await http_.send(std::move(*request));
    if (response) co_return result_of(interface, operation, *response);
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
    auto reply = co_await http_.open(std::move(*request));
    if (!reply) {
      if (reply.error().code != Code::unavailable || tried + 1 >= usable_.size()) {
        co_return tl::unexpected<Failure>(unreachable(reply.error()));
      }
      current_ = (current_ + 1) % usable_.size();
      continue;
    }
    Opened opened;
    opened.version = *version_of(interface);
    opened.is_rpc = interface.binding == "JSONRPC";
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
    auto result = result_of(interface, operation, response);
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
  auto value = rpc::Value::parse(data, agent_.options().parse);
  if (!value || !value->json().is_object()) {
    return Fail(Fault::invalid_agent_response, "an event of the agent's stream is no JSON object");
  }
  Json json = std::move(value->edit());
  if (opened_.is_rpc) {
    if (json.contains("error")) {
      Response response;
      response.status = 200;
      response.body = data;
      return tl::unexpected<Failure>(failure_of_body(response));
    }
    if (!json.contains("result")) {
      return Fail(Fault::invalid_agent_response, "an event holds neither result nor error");
    }
    Json inner = std::move(json["result"]);
    json = std::move(inner);
  }
  if (opened_.version == Version::v0_3) json = v0_3::upgrade_event(std::move(json));
  auto event = read_stream_event(json);
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
