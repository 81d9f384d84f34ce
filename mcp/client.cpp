#include "mcp/client.h"

#include "async/race.h"
#include "mcp/client_watch.h"
#include "mcp/json_text.h"
#include "mcp/task_record.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <set>
#include <utility>

namespace ambit::mcp {
namespace {

using rpc::Json;
using rpc::Reply;

constexpr const char* discover_method = "server/discover";
constexpr const char* initialize_method = "initialize";

Task<Result<Reply>> within(Duration limit, Task<Result<Reply>> call) {
  auto reply = co_await with_timeout(limit, std::move(call));
  co_return reply;
}

std::string joined(const std::vector<std::string>& parts) {
  std::string text;
  for (const std::string& part : parts) text += (text.empty() ? "" : ", ") + part;
  return text.empty() ? "none" : text;
}

rpc::Peer::Handlers handlers_for(
    rpc::Binder& requests, std::function<void(rpc::Notification)> on_notification,
    std::function<void(const rpc::Id&, const std::string&)> on_abandoned) {
  rpc::Peer::Handlers handlers;
  handlers.on_request = [&requests](rpc::Request request) {
    return requests.dispatch(std::move(request));
  };
  handlers.on_notification = std::move(on_notification);
  handlers.on_abandoned = std::move(on_abandoned);
  return handlers;
}

// Whether a server refuses an older version and says that it speaks the modern one.
bool names_modern(const rpc::Fault& fault) {
  if (fault.code != unsupported_protocol_version) return false;
  const std::vector<std::string> versions = supported_versions(fault);
  return std::find(versions.begin(), versions.end(), modern_version) != versions.end();
}

// Whether an error means that the other end did not understand a modern request, rather than that
// nobody is there or that we may not.
bool may_be_older(const Error& error) {
  return error.code == Code::invalid || error.code == Code::not_found ||
         error.code == Code::unsupported;
}

}  // namespace

Client::Client(Connection connection, ClientOptions options)
    : connection_(std::move(connection)),
      options_(std::move(options)),
      stderr_(options_.stdio.stderr_bytes_kept),
      stdio_(connection_.transport ? nullptr
                                   : std::make_unique<StdioTransport>(
                                         *connection_.input, *connection_.output, options_.stdio)),
      transport_(connection_.transport ? *connection_.transport : *stdio_),
      peer_(transport_,
            handlers_for(
                requests_,
                [this](const rpc::Notification& notification) { on_notification(notification); },
                [this](const rpc::Id& id, const std::string& method) { on_abandoned(id, method); }),
            options_.peer) {
  bind_requests();
  transport_.on_failure = [this](const rpc::Id& id, Error error) {
    peer_.fail(id, std::move(error));
  };
  scope_.spawn(run_writer());
  scope_.spawn(run_peer());
  if (connection_.errors != nullptr) scope_.spawn(stderr_.drain(*connection_.errors));
}

void Client::bind_requests() {
  requests_.bind("ping", [](rpc::Empty empty) -> Result<rpc::Empty> { return empty; });
  for (const char* method : {"roots/list", "sampling/createMessage", "elicitation/create"}) {
    requests_.bind_raw(method,
                       [this](rpc::Request request) { return answer_input(std::move(request)); });
  }
}

Task<Reply> Client::answer_input(rpc::Request request) {
  Reply reply;
  if (server_.era == Era::modern) {
    reply.fault = rpc::Fault{rpc::method_not_found,
                             "since MCP 2026-07-28 a server asks by its answer (input_required)",
                             {}};
    co_return reply;
  }
  const std::int64_t token = token_of(request);
  const auto watch = watches_.find(token);
  const bool is_answered =
      options_.on_input || (watch != watches_.end() && watch->second->options->on_input);
  if (!is_answered) {
    if (request.method == "roots/list") {
      reply.result = Json{{"roots", Json::array()}};
    } else {
      const std::string what = request.method.substr(0, request.method.find('/'));
      reply.fault = rpc::Fault{rpc::method_not_found, "this client does not offer " + what, {}};
    }
    co_return reply;
  }
  const Asking asking(*this, token);
  auto answer = co_await answer_one(request.method, std::move(request.params), token);
  if (answer) {
    reply.result = std::move(*answer);
  } else {
    reply.fault = rpc::to_fault(answer.error());
  }
  co_return reply;
}

Task<void> Client::run_peer() {
  auto reason = co_await peer_.run();
  // Everything that waits has been told why; ended() keeps it.
  peer_.end(std::move(reason));
}

Task<void> Client::run_writer() {
  auto reason = co_await transport_.run();
  // What the server said before it stopped reading still counts: its replies may be in the pipe.
  co_await delay(std::chrono::milliseconds(100));
  peer_.end(std::move(reason));
}

Value Client::meta(std::optional<std::int64_t> progress_token) const {
  RequestMeta meta;
  meta.era = server_.era;
  meta.client_info = options_.info;
  meta.client_capabilities = options_.capabilities;
  if (meta.era == Era::modern && options_.takes_tasks) {
    meta.client_capabilities.edit()["extensions"][tasks_extension] = Json::object();
  }
  meta.progress_token = progress_token;
  if (options_.on_log) meta.log_level = "debug";
  return to_value(meta);
}

Task<Result<void>> Client::connect() {
  if (options_.era == EraChoice::modern_unasked) {
    server_.era = Era::modern;
    server_.protocol_version = modern_version;
    transport_.speak(Era::modern, server_.protocol_version);
    co_return Result<void>();
  }
  const std::string origin = transport_.origin();
  bool known_legacy = false;
  if (options_.era == EraChoice::automatic && options_.eras && options_.eras->contains(origin)) {
    known_legacy = options_.eras->at(origin) == Era::legacy;
  }
  if (options_.era != EraChoice::legacy && !known_legacy) {
    const bool modern = co_await ok(discover());
    if (modern) {
      remember();
      co_return Result<void>();
    }
    if (options_.era == EraChoice::modern) {
      co_return Err(Code::unsupported,
                    "the server does not speak MCP " + std::string(modern_version));
    }
  }
  auto done = co_await initialize();
  if (done) {
    remember();
  } else if (known_legacy) {
    options_.eras->erase(origin);  // it may have been upgraded: the next connection asks again
  }
  co_return std::move(done);
}

void Client::remember() {
  const std::string origin = transport_.origin();
  if (options_.eras && !origin.empty()) (*options_.eras)[origin] = server_.era;
}

// True: the server is modern. False: nothing says that it is.
Task<Result<bool>> Client::discover() {
  server_.era = Era::modern;
  transport_.speak(Era::modern, std::string(modern_version));
  const Value asked = meta(std::nullopt);
  server_.era = Era::legacy;
  for (int attempt = 0; attempt < 2; ++attempt) {
    Value params = Json{{"_meta", asked.json()}};
    auto reply =
        co_await within(options_.discover_time, peer_.call(discover_method, std::move(params)));
    if (!reply) {
      if (reply.error().code == Code::timeout) co_return false;
      if (!stdio_ && may_be_older(reply.error())) co_return false;
      died_at_discovery_ = stdio_ != nullptr;
      co_return Err(explained(std::move(reply).error()).context("server/discover"));
    }
    const Verdict verdict = co_await ok(judge_discovery(std::move(*reply)));
    if (verdict != Verdict::ask_again) co_return verdict == Verdict::modern;
  }
  co_return Err(Code::unsupported,
                "server/discover: the server refuses the version that it says it supports");
}

Result<Client::Verdict> Client::judge_discovery(Reply reply) {
  std::vector<std::string> versions;
  if (reply.fault) {
    const std::int64_t code = reply.fault->code;
    versions = supported_versions(*reply.fault);
    if (code == header_mismatch || code == missing_client_capability) {
      return Err(rpc::to_error(*reply.fault).context("server/discover"));
    }
    if (code != unsupported_protocol_version) return Verdict::legacy;
    if (std::find(versions.begin(), versions.end(), modern_version) != versions.end()) {
      return Verdict::ask_again;
    }
  } else {
    // Servers that answer everything with an empty result are older than the method.
    if (!reply.result.json().is_object() || !reply.result.json().contains("supportedVersions"))
      return Verdict::legacy;
    DiscoverResult result;
    if (auto read = from_value(reply.result, result); !read) {
      return Err(std::move(read).error().context("server/discover"));
    }
    versions = result.supported_versions;
    if (std::find(versions.begin(), versions.end(), modern_version) != versions.end()) {
      server_ = {Era::modern, std::string(modern_version), std::move(result.server_info),
                 std::move(result.capabilities), std::move(result.instructions)};
      return Verdict::modern;
    }
  }
  if (versions.empty() || std::any_of(versions.begin(), versions.end(), is_legacy_version))
    return Verdict::legacy;
  return Err(Code::unsupported, "the server speaks only MCP " + joined(versions) + ", we speak " +
                                    std::string(modern_version) + " and " +
                                    std::string(legacy_version) + " and older");
}

Task<Result<void>> Client::initialize() {
  InitializeParams params;
  params.protocol_version = legacy_version;
  params.client_info = options_.info;
  params.capabilities = options_.capabilities;
  transport_.speak(Era::legacy, std::string(legacy_version));
  auto call = peer_.call(initialize_method, to_value(params));
  auto reply = co_await within(options_.initialize_time, std::move(call));
  if (!reply) co_return Err(explained(std::move(reply).error()).context(initialize_method));
  if (reply->fault && options_.era == EraChoice::automatic && names_modern(*reply->fault)) {
    // It was slow to start, not old.
    const bool modern = co_await ok(discover());
    if (modern) co_return Result<void>();
  }
  if (reply->fault) co_return Err(rpc::to_error(*reply->fault).context(initialize_method));
  InitializeResult result;
  auto read = from_value(reply->result, result);
  if (!read) co_return Err(std::move(read).error().context(initialize_method));
  if (!is_legacy_version(result.protocol_version)) {
    co_return Err(Code::unsupported, "the server wants to speak MCP \"" + result.protocol_version +
                                         "\", which we do not know");
  }
  server_ = {Era::legacy, std::move(result.protocol_version), std::move(result.server_info),
             std::move(result.capabilities), std::move(result.instructions)};
  transport_.speak(Era::legacy, server_.protocol_version);
  Value no_params;
  auto notified = co_await peer_.notify("notifications/initialized", std::move(no_params));
  co_return std::move(notified);
}

Task<Result<ToolList>> Client::list_tools() {
  ToolList list;
  std::set<std::string> names;
  std::set<std::string> cursors;
  std::optional<std::string> cursor;
  tools_changed_ = false;
  for (std::size_t page = 0; page < options_.pages_max; ++page) {
    auto result = co_await ok(list_page(cursor));
    for (std::string& why : result.rejected) list.rejected.push_back(std::move(why));
    for (Tool& tool : result.tools) {
      if (names.size() >= options_.tools_max) {
        co_return Err(Code::exhausted,
                      "tools/list: more than " + std::to_string(options_.tools_max) + " tools");
      }
      if (names.insert(tool.name).second) {
        list.tools.push_back(std::move(tool));
      } else {
        list.rejected.push_back("a second tool with the name \"" + tool.name + "\"");
      }
    }
    if (!result.next_cursor) {
      note_headers(list);
      co_return list;
    }
    if (!cursors.insert(*result.next_cursor).second) {
      co_return Err(Code::invalid, "tools/list: the server gives the same cursor twice");
    }
    cursor = std::move(result.next_cursor);
  }
  co_return Err(Code::exhausted,
                "tools/list: more than " + std::to_string(options_.pages_max) + " pages");
}

// Tools whose arguments go into headers too. One whose annotations are wrong is left out: a
// gateway on the way would be told something else than the server.
void Client::note_headers(ToolList& list) {
  if (server_.era != Era::modern) return;
  std::map<std::string, HeaderParameters> mirrored;
  std::erase_if(list.tools, [&](const Tool& tool) {
    auto parameters = header_parameters(tool.input_schema.json());
    if (!parameters) {
      list.rejected.push_back("tool \"" + tool.name + "\": " + parameters.error().message);
      return true;
    }
    if (!parameters->empty()) mirrored.emplace(tool.name, std::move(*parameters));
    return false;
  });
  transport_.mirror(std::move(mirrored));
}

Task<Result<Value>> Client::list_all(std::string method, std::string key) {
  Json items = Json::array();
  std::set<std::string> cursors;
  Json params = Json::object();
  CallOptions options;
  options.silence = options.total = options_.list_time;
  for (std::size_t page = 0; page < options_.pages_max; ++page) {
    auto reply = co_await ok(request(method, Value(params), options));
    if (reply.fault) co_return Err(rpc::to_error(*reply.fault).context(method));
    const Json& result = reply.result.json();
    if (!result.is_object() || !result.contains(key) || !result[key].is_array()) {
      co_return Err(Code::invalid, method + ": $.result." + key + ": must be an array");
    }
    for (const Json& item : result[key]) items.push_back(item);
    if (items.size() > options_.tools_max) {
      co_return Err(Code::exhausted,
                    method + ": more than " + std::to_string(options_.tools_max) + " items");
    }
    if (!result.contains("nextCursor")) co_return Value(std::move(items));
    const Json& cursor = result["nextCursor"];
    if (!cursor.is_string() || !cursors.insert(cursor.get<std::string>()).second) {
      co_return Err(Code::invalid, method + ": the server gives no good cursor, or one twice");
    }
    params["cursor"] = cursor;
  }
  co_return Err(Code::exhausted,
                method + ": more than " + std::to_string(options_.pages_max) + " pages");
}

Task<Result<ListToolsResult>> Client::list_page(std::optional<std::string> cursor) {
  ListToolsParams params;
  params.cursor = std::move(cursor);
  params.meta = meta(std::nullopt);
  auto call = peer_.call("tools/list", to_value(params));
  auto reply = co_await within(options_.list_time, std::move(call));
  if (!reply) co_return Err(explained(std::move(reply).error()).context("tools/list"));
  if (reply->fault) co_return Err(rpc::to_error(*reply->fault).context("tools/list"));
  ListToolsResult result;
  auto read = from_value(reply->result, result);
  if (!read) co_return Err(std::move(read).error().context("tools/list"));
  co_return result;
}

Task<void> Client::watch(Watch& watch, CallOptions& options) {
  while (true) {
    const Instant now = Loop::current().now();
    const Instant deadline = std::min(watch.heard + options.silence, watch.started + options.total);
    if (now >= deadline && watch.asking == 0) co_return;
    co_await delay(now >= deadline ? options.silence : deadline - now);
  }
}

// A request and what the server asks before it answers (multi round-trip requests, modern).
Task<Result<Reply>> Client::converse(std::string method, Value params, std::int64_t token) {
  Json said = params.present() ? params.json() : Json::object();
  const Value about = meta(token);
  if (about.present()) said["_meta"] = about.json();
  for (std::size_t round = 0; round <= options_.input_rounds_max; ++round) {
    auto reply = co_await ok(peer_.call(method, Value(said)));
    if (is_task(reply)) co_return co_await follow_task(std::move(reply.result), token);
    const Json& result = reply.result.json();
    if (reply.fault || !result.is_object()) co_return reply;
    if (server_.era == Era::legacy && said.contains("task") && result.contains("task")) {
      co_return co_await follow_legacy_task(std::move(reply.result), token);
    }
    const auto watch = watches_.find(token);
    const bool can_answer =
        options_.on_input || (watch != watches_.end() && watch->second->options->on_input);
    const bool asks = server_.era == Era::modern && can_answer &&
                      text_of(result, "resultType") == "input_required";
    if (!asks) co_return reply;
    said.erase("requestState");
    if (result.contains("requestState")) said["requestState"] = result["requestState"];
    const Value answers = co_await ok(answer_inputs(std::move(reply.result), token));
    said["inputResponses"] = answers.json();
  }
  co_return Err(Code::exhausted, "the server asks more than " +
                                     std::to_string(options_.input_rounds_max) + " times");
}

Task<Result<Reply>> Client::request(std::string method, Value params, CallOptions options) {
  Watch watched(*this);
  watched.options = &options;
  auto call = converse(std::move(method), std::move(params), watched.token);
  auto outcome = co_await race(std::move(call), watch(watched, options));
  if (outcome.index() == 1) {
    const Duration waited = Loop::current().now() - watched.started;
    const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(waited).count();
    co_return Err(Code::timeout, "no answer from the server after " + std::to_string(ms) + " ms");
  }
  auto reply = std::get<0>(std::move(outcome));
  if (!reply) co_return Err(explained(std::move(reply).error()));
  co_return std::move(reply);
}

Task<Result<ToolAnswer>> Client::call_tool(std::string name, Value arguments, CallOptions options) {
  CallToolParams params;
  params.name = std::move(name);
  params.arguments = std::move(arguments);
  auto reply = co_await ok(request("tools/call", to_value(params), std::move(options)));
  ToolAnswer answer;
  if (reply.fault) {
    answer.fault = std::move(reply.fault);
    co_return answer;
  }
  auto read = from_value(reply.result, answer.result);
  if (!read) co_return Err(std::move(read).error());
  const std::string& type = answer.result.result_type;
  if (!type.empty() && type != "complete") {
    co_return Err(Code::unsupported, "the server answers with a result of type \"" + type +
                                         "\", which this client has not offered to take");
  }
  co_return answer;
}

// A sign of life of what the request with this progress token asked for.
void Client::hear(std::int64_t token, std::string message) {
  const auto at = watches_.find(token);
  if (at == watches_.end()) return;
  at->second->heard = Loop::current().now();
  if (message.empty() || !at->second->options->on_progress) return;
  ProgressParams progress;
  progress.token = token;
  progress.message = std::move(message);
  at->second->options->on_progress(progress);
}

void Client::on_notification(const rpc::Notification& notification) {
  if (notification.method == "notifications/progress") {
    ProgressParams progress;
    if (!from_value(notification.params, progress)) return;
    const auto* token = std::get_if<std::int64_t>(&progress.token);
    const auto at = token == nullptr ? watches_.end() : watches_.find(*token);
    if (at == watches_.end()) return;
    at->second->heard = Loop::current().now();
    if (at->second->options->on_progress) at->second->options->on_progress(progress);
  } else if (notification.method.ends_with("/list_changed") ||
             notification.method == "notifications/resources/updated") {
    if (notification.method == "notifications/tools/list_changed") tools_changed_ = true;
    if (options_.on_change) options_.on_change(notification.method, notification.params);
  } else if (notification.method == "notifications/cancelled") {
    CancelledParams cancelled;
    if (from_value(notification.params, cancelled)) peer_.cancel_incoming(cancelled.request);
  } else if (notification.method == "notifications/message" && options_.on_log) {
    LogParams log;
    if (from_value(notification.params, log)) options_.on_log(log);
  }
}

// The handshake may not be cancelled; a server that takes no messages is not sent ever more.
void Client::on_abandoned(const rpc::Id& id, const std::string& method) {
  if (method == initialize_method || method == discover_method) return;
  if (transport_.withdraw(id) || cancelling_ >= cancelling_max) return;
  scope_.spawn(send_cancelled(id));
}

Task<void> Client::send_cancelled(rpc::Id id) {
  struct Leave {
    std::size_t& count;
    ~Leave() { --count; }
  };
  ++cancelling_;
  const Leave leave{cancelling_};
  CancelledParams params;
  params.request = std::move(id);
  params.reason = "the caller does not wait any more";
  auto sent = co_await peer_.notify("notifications/cancelled", to_value(params));
  if (!sent) co_return;
}

Error Client::explained(Error error) const {
  const std::string printed = stderr_.text();
  if (!printed.empty()) error.message += "; its stderr ends with: " + printed;
  return error;
}

}  // namespace ambit::mcp
