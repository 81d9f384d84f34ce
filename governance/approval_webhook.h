#pragma once

// Webhooks: what is posted to a person's tool when an approval waits, rises to the next level, or
// is decided. Signed as Standard Webhooks has it (HMAC-SHA256 over id, time and body), so that the
// receiver can tell ours from others'. The answer that comes back is a signed note like any other:
// the webhook itself approves nothing. Pure: who sends it is app's affair.

#include "async/result.h"
#include "governance/approvals.h"

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ambit::governance {

struct WebhookMessage {
  std::vector<std::pair<std::string, std::string>> headers;
  std::string body;  // JSON
};

// The whole request, uncut, and the people of its level. `secret`: 24 to 64 bytes, as they are.
Result<WebhookMessage> webhook_of(const ApprovalDesk& desk, const std::string& id,
                                  std::string_view secret, std::int64_t now_ms);

// Whether such a message is ours and not older (or younger) than five minutes.
Result<void> check_webhook(const WebhookMessage& message, std::string_view secret,
                           std::int64_t now_ms);

}  // namespace ambit::governance
