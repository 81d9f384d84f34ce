#include "governance/approval_webhook.h"

#include "governance/action_json.h"
#include "log/sha256.h"

#include <nlohmann/json.hpp>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <algorithm>
#include <array>
#include <charconv>

namespace ambit::governance {
namespace {

using nlohmann::json;

constexpr std::size_t secret_bytes_min = 24;
constexpr std::size_t secret_bytes_max = 64;
constexpr std::int64_t age_max_s = 300;

Result<std::string> signature_of(std::string_view secret, const std::string& text) {
  if (secret.size() < secret_bytes_min || secret.size() > secret_bytes_max) {
    return Err(Code::invalid, "a webhook's secret has 24 to 64 bytes");
  }
  std::array<unsigned char, EVP_MAX_MD_SIZE> sum{};
  unsigned int size = 0;
  const auto* bytes = reinterpret_cast<const unsigned char*>(text.data());
  if (HMAC(EVP_sha256(), secret.data(), static_cast<int>(secret.size()), bytes, text.size(),
           sum.data(), &size) == nullptr) {
    return Err(Code::internal, "the webhook could not be signed");
  }
  return "v1," + log::to_base64({reinterpret_cast<const char*>(sum.data()), size});
}

std::string header(const WebhookMessage& message, std::string_view name) {
  for (const auto& [key, value] : message.headers) {
    if (key == name) return value;
  }
  return {};
}

}  // namespace

Result<WebhookMessage> webhook_of(const ApprovalDesk& desk, const std::string& id,
                                  std::string_view secret, std::int64_t now_ms) {
  const ApprovalRequest* request = desk.request(id);
  if (request == nullptr) return Err(Code::not_found, "there is no approval " + id.substr(0, 64));
  const std::size_t level = desk.level(id, now_ms);
  const std::string state(to_string(*desk.state(id, now_ms)));
  json body = {{"type", "approval." + state},
               {"approval", id},
               {"hash", request->hash},
               {"reason", request->reason},
               {"needed", request->needed},
               {"approvals", desk.approvals(id)},
               {"expiresMs", request->expires_ms},
               {"level", level},
               {"action", to_json(request->action)}};
  if (!request->levels.empty()) body["people"] = request->levels[level].people;
  WebhookMessage message;
  message.body = body.dump(-1, ' ', false, json::error_handler_t::replace);
  // One id for one thing to tell: who sends it again sends the same one.
  const std::string name = "msg_" + id + "_" + state + "_" + std::to_string(level);
  const std::string time = std::to_string(now_ms / 1000);
  std::string signature = TRY(signature_of(secret, name + "." + time + "." + message.body));
  message.headers = {{"content-type", "application/json"},
                     {"webhook-id", name},
                     {"webhook-timestamp", time},
                     {"webhook-signature", std::move(signature)}};
  return message;
}

Result<void> check_webhook(const WebhookMessage& message, std::string_view secret,
                           std::int64_t now_ms) {
  const std::string time = header(message, "webhook-timestamp");
  std::int64_t at_s = 0;
  const auto [end, error] = std::from_chars(time.data(), time.data() + time.size(), at_s);
  if (error != std::errc() || end != time.data() + time.size() || at_s < 0) {
    return Err(Code::invalid, "the webhook has no time");
  }
  const std::string text = header(message, "webhook-id") + "." + time + "." + message.body;
  const std::string good = TRY(signature_of(secret, text));
  const std::string said = header(message, "webhook-signature");
  if (said.size() != good.size() || CRYPTO_memcmp(said.data(), good.data(), good.size()) != 0) {
    return Err(Code::denied, "the webhook's signature is wrong");
  }
  const std::int64_t age_s = now_ms / 1000 - at_s;
  if (age_s > age_max_s || age_s < -age_max_s) {
    return Err(Code::denied, "the webhook is not of these minutes");
  }
  return {};
}

}  // namespace ambit::governance
