#include "a2a/push.h"

#include "a2a/operations.h"
#include "async/race.h"
#include "http/public_address.h"
#include "http/url.h"
#include "io/uuid.h"
#include "jose/base64url.h"

#include <nlohmann/json.hpp>

#include <algorithm>

namespace ambit::a2a {
namespace {

constexpr std::int64_t token_lifetime_s = 300;

bool is_worth_another_try(const Result<http::Response>& response) {
  if (!response)
    return response.error().code != Code::denied && response.error().code != Code::invalid;
  return response->status >= 500 || response->status == 408 || response->status == 429;
}

}  // namespace

Answer<void> PushSender::check(const PushConfig& config) const {
  const auto url = http::parse_url(config.url);
  if (!url) return Fail(Fault::invalid_params, "url: " + url.error().message, "url");
  const bool is_token = config.scheme.empty() || http::is_token(config.scheme);
  if (!is_token || !http::is_header_value(config.credentials) ||
      !http::is_header_value(config.token)) {
    return Fail(Fault::invalid_params, "authentication: cannot be sent in a header",
                "authentication");
  }
  if (options_.takes_any_url) return {};
  if (!url->is_https) return Fail(Fault::invalid_params, "url: must begin with https://", "url");
  if (!http::is_public_or_name(url->host)) {
    return Fail(Fault::invalid_params, "url: must lead to the public internet", "url");
  }
  return {};
}

void PushSender::notify(const PushConfig& config, std::shared_ptr<const Update> update) {
  const Key key(config.task_id, config.id);
  auto at = lanes_.find(key);
  if (at == lanes_.end()) {
    if (lanes_.size() >= options_.lanes_max) {
      ++given_up_;
      log_.warn("a2a.push_dropped", {{"task", std::string_view(config.task_id)}});
      return;
    }
    auto lane = std::make_shared<Lane>();
    lane->config = config;
    at = lanes_.emplace(key, lane).first;
    scope_.spawn(work(key, lane));
  }
  auto& waiting = at->second->waiting;
  if (waiting.size() >= options_.waiting_max) {
    waiting.pop_front();
    ++given_up_;
    log_.warn("a2a.push_dropped", {{"task", std::string_view(config.task_id)}});
  }
  waiting.push_back(std::move(update));
}

void PushSender::forget(const std::string& task_id, const std::string& config_id) {
  const auto at = lanes_.find(Key(task_id, config_id));
  if (at == lanes_.end()) return;
  at->second->is_gone = true;
  at->second->waiting.clear();
}

Task<void> PushSender::settle() {
  co_await scope_.join();
}

Task<void> PushSender::work(Key key, std::shared_ptr<Lane> lane) {
  // What comes in the same moment goes in its order.
  co_await delay(Duration(0));
  while (!lane->waiting.empty()) {
    auto update = std::move(lane->waiting.front());
    lane->waiting.pop_front();
    const bool is_sent = co_await deliver(lane, std::move(update));
    if (lane->is_gone) continue;
    if (is_sent) {
      ++sent_;
    } else {
      ++given_up_;
      log_.warn("a2a.push_given_up", {{"task", std::string_view(key.first)}});
    }
  }
  lanes_.erase(key);
}

PushToken push_signer(io::World& world, jose::Key key, std::string issuer) {
  return [&world, key = std::move(key), issuer = std::move(issuer)](
             const std::string& to, const std::string& task_id,
             const std::string& body) -> Result<std::string> {
    const std::int64_t now_s = world.clock.unix_ns() / 1'000'000'000;
    const auto url = TRY(http::parse_url(to));
    const rpc::Json claims = {{"iss", issuer},
                              {"aud", http::origin(url)},
                              {"iat", now_s},
                              {"exp", now_s + token_lifetime_s},
                              {"jti", io::uuid_v4(world.entropy)},
                              {"taskId", task_id},
                              {"request_body_sha256", jose::to_base64url(jose::sha256(body))}};
    return jose::sign_jwt(key, rpc::Json({{"typ", "JWT"}}), claims);
  };
}

Task<bool> PushSender::deliver(std::shared_ptr<Lane> lane, std::shared_ptr<const Update> update) {
  const PushConfig& config = lane->config;
  http::Request request;
  request.method = "POST";
  request.url = config.url;
  request.headers.set("Content-Type", config.is_0_3 ? "application/json" : "application/a2a+json");
  if (!config.token.empty()) request.headers.set("X-A2A-Notification-Token", config.token);
  if (!config.scheme.empty()) {
    request.headers.set(
        "Authorization",
        config.scheme + (config.credentials.empty() ? "" : " " + config.credentials));
  }
  request.body = event_text(*update, config.is_0_3 ? Version::v0_3 : Version::v1_0);
  Duration pause = options_.pause_first;
  for (int tried = 1; !lane->is_gone; ++tried) {
    http::Request copy = request;
    if (options_.token && config.scheme.empty()) {
      // A new one each time: those of earlier tries may have been seen.
      auto token = options_.token(config.url, config.task_id, request.body);
      if (token) copy.headers.set("Authorization", "Bearer " + *token);
    }
    auto response = co_await with_timeout(options_.answer_timeout, http_.send(std::move(copy)));
    if (response && response->is_success()) co_return true;
    if (tried >= options_.tries_max || !is_worth_another_try(response)) break;
    co_await delay(pause);
    pause = std::min(pause * 2, options_.pause_max);
  }
  co_return false;
}

}  // namespace ambit::a2a
