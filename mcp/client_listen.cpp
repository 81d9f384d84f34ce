// The part of Client that asks a server for its news and hears of it for as long as the client
// lives: a modern server by subscriptions/listen, whose stream is opened again when it ends; a
// legacy one tells of its lists unasked, and of resources after resources/subscribe.

#include "async/race.h"
#include "mcp/client_watch.h"
#include "mcp/json_text.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <utility>

namespace ambit::mcp {
namespace {

using rpc::Json;
using rpc::Reply;

constexpr Duration pause_first = std::chrono::milliseconds(500);
constexpr Duration pause_max = std::chrono::seconds(30);
constexpr Duration lasting = std::chrono::seconds(60);

// What cannot be asked for is not there to be asked for again.
bool is_refusal(const Result<Reply>& reply) {
  if (reply) return reply->fault.has_value();
  const Code code = reply.error().code;
  return code == Code::invalid || code == Code::not_found || code == Code::unsupported;
}

}  // namespace

bool tells(const ServerFacts& server, const char* capability, const char* what) {
  const Json& all = server.capabilities.json();
  if (!all.is_object() || !all.contains(capability)) return false;
  const Json& one = all[capability];
  return one.is_object() && one.contains(what) && one[what] == true;
}

void Client::hear_of(Interests wanted) {
  if (wanted == interests_) return;
  interests_ = std::move(wanted);
  interests_changed_.wake_all();
  if (std::exchange(hearing_, true)) return;
  scope_.spawn(keep_hearing());
}

Task<void> Client::keep_hearing() {
  if (server_.era == Era::modern) {
    co_await hear_modern();
  } else {
    co_await hear_legacy();
  }
}

Task<void> Client::other_interests(Interests than) {
  while (interests_ == than) co_await interests_changed_.wait();
}

Task<Result<Reply>> Client::listen_once(Interests wanted) {
  Json filter = Json::object();
  if (wanted.tools) filter["toolsListChanged"] = true;
  if (wanted.prompts) filter["promptsListChanged"] = true;
  if (wanted.resources) filter["resourcesListChanged"] = true;
  if (!wanted.uris.empty()) filter["resourceSubscriptions"] = wanted.uris;
  Value params = Json{{"_meta", meta(std::nullopt).json()}, {"notifications", std::move(filter)}};
  auto reply = co_await peer_.call("subscriptions/listen", std::move(params));
  co_return std::move(reply);
}

Task<void> Client::hear_modern() {
  Duration pause = pause_first;
  bool is_again = false;
  while (!peer_.ended()) {
    const Interests now = interests_;
    if (!now.any()) {
      co_await interests_changed_.wait();
      continue;
    }
    // What has changed between two streams, neither tells.
    if (is_again && now.tools) tools_changed_ = true;
    if (is_again && options_.on_change) {
      if (now.tools) options_.on_change("notifications/tools/list_changed", Value());
      if (now.prompts) options_.on_change("notifications/prompts/list_changed", Value());
      if (now.resources) options_.on_change("notifications/resources/list_changed", Value());
    }
    const Instant started = Loop::current().now();
    auto outcome = co_await race(listen_once(now), other_interests(now));
    is_again = outcome.index() == 0;
    if (!is_again) continue;
    if (is_refusal(std::get<0>(outcome))) co_return;
    pause =
        Loop::current().now() - started > lasting ? pause_first : std::min(pause * 2, pause_max);
    co_await delay(pause);
  }
}

Task<void> Client::hear_legacy() {
  std::set<std::string> subscribed;
  while (!peer_.ended()) {
    std::vector<std::pair<const char*, std::string>> steps;
    for (const std::string& uri : interests_.uris) {
      if (!subscribed.contains(uri)) steps.emplace_back("resources/subscribe", uri);
    }
    for (const std::string& uri : subscribed) {
      if (!interests_.uris.contains(uri)) steps.emplace_back("resources/unsubscribe", uri);
    }
    if (steps.empty()) {
      co_await interests_changed_.wait();
      continue;
    }
    for (const auto& [method, uri] : steps) {
      CallOptions options;
      options.silence = options.total = options_.list_time;
      Value params = Json{{"uri", uri}};
      auto reply = co_await request(method, std::move(params), std::move(options));
      // Refused or not, it is not asked for again.
      if (method == std::string_view("resources/subscribe")) {
        subscribed.insert(uri);
      } else {
        subscribed.erase(uri);
      }
      if (!reply && peer_.ended()) co_return;
    }
  }
}

}  // namespace ambit::mcp
