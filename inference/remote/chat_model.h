#pragma once

// ChatModel: the port agents::Model over an OpenAI-compatible endpoint. All sessions share one
// client and one view of the endpoint: when it asks to wait, everybody waits, and fails at once
// where that is too long. What fails for a passing reason is tried again a bounded number of times,
// and not beyond the budget of whoever asks.

#include "agents/ports.h"
#include "async/loop.h"
#include "http/service.h"

#include <cstdint>
#include <string>

namespace ambit::remote {

// What is known of one endpoint: shared by all models that are asked there under the same key.
struct Endpoint {
  Instant open_again{};  // nobody asks before
};

struct ChatOptions {
  std::string name;      // in the fleet file
  std::string model;     // what the endpoint calls it
  std::string base_url;  // "https://api.example.com/v1", without a slash at its end
  std::string key;       // a secret: sent as a bearer token, found in no message and no record
  int attempts_max = 4;
  Duration backoff = std::chrono::milliseconds(500);     // doubled after each failure
  Duration backoff_max = std::chrono::seconds(30);       // and the longest wait that is obeyed
  Duration attempt_timeout = std::chrono::seconds(600);  // of one request
  Endpoint* endpoint = nullptr;  // outlives the model; null: it has one of its own
};

class ChatModel final : public agents::Model {
 public:
  // The client outlives the model.
  ChatModel(http::Client& client, ChatOptions options)
      : client_(client),
        options_(std::move(options)),
        endpoint_(options_.endpoint != nullptr ? *options_.endpoint : own_) {}

  // Errors: exhausted (the context is full), denied (the key), not_found (the model), invalid (the
  // request or the answer can never work), unavailable (every attempt failed).
  Task<Result<agents::Turn>> generate(agents::TurnRequest request) override;
  // "name@https://host/v1 model": the endpoint's own weights cannot be named by a hash.
  [[nodiscard]] std::string identity() const override;

 private:
  struct Attempt;
  Task<Attempt> attempt(const std::string& body);
  Task<Result<void>> wait_until_open();
  Attempt judge(const http::Response& response);
  [[nodiscard]] Duration pause_before(int attempt) const;

  http::Client& client_;
  ChatOptions options_;
  Endpoint own_;
  Endpoint& endpoint_;
};

}  // namespace ambit::remote
