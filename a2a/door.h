#pragma once

// Door: a Service behind HTTP, in JSON-RPC and in REST, in versions 1.0 and 0.3, on the same
// addresses; and the agent card, signed where there is a key. It reads and writes the wire and
// decides nothing else.

#include "a2a/operations.h"
#include "http/exchange.h"
#include "jose/key.h"

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ambit::a2a {

struct DoorOptions {
  std::string base;  // "/agents/clerk": all paths are below it; JSON-RPC is at the base itself
  bool speaks_0_3 = true;  // and gives clients that name no version a card for both
  Duration heartbeat = std::chrono::seconds(15);
  std::int64_t card_max_age_seconds = 300;
  // Sign the card; the public halves are served at /.well-known/jwks.json. The first one signs.
  std::vector<jose::Key> keys;
  std::string jwks_url;  // as others reach that; empty: the card does not name it
  rpc::ParseLimits parse;
};

// The caller's name (without a zero byte), or none: they are not known. Without a function
// everybody is "anonymous".
using Authenticate = std::function<std::optional<std::string>(const http::RequestHead&)>;

class Door {
 public:
  // The service must outlive the door; `changed_unix_s` is when the card was made.
  Door(Service& service, std::int64_t changed_unix_s, DoorOptions options = {},
       Authenticate authenticate = nullptr);
  Door(const Door&) = delete;
  Door& operator=(const Door&) = delete;

  // An http::Handler.
  Task<void> handle(http::Exchange& exchange);

 private:
  struct CardText {
    std::string text;
    std::string tag;
  };
  CardText card_text(const AgentCard& card, CardShape shape) const;
  Task<void> give_card(http::Exchange& exchange);
  Task<void> give(http::Exchange& exchange, CardText text, http::Headers headers);
  Task<void> handle_rpc(http::Exchange& exchange);
  Task<void> handle_rest(http::Exchange& exchange, std::string path);
  Task<void> answer_rest(http::Exchange& exchange, Operation operation, Version version, Call call,
                         rpc::Value params);
  Task<void> send_events(http::Exchange& exchange, SubscriptionHandle stream, Version version,
                         std::string before, std::string after, http::Headers headers);
  Task<void> refuse_caller(http::Exchange& exchange);
  Task<void> send_one_event(http::Exchange& exchange, std::string text, http::Headers headers);
  // Which version the client names, if any.
  Answer<std::optional<Version>> version_of(const http::RequestHead& head) const;
  std::optional<Call> call_of(const http::RequestHead& head) const;
  // An empty body is an empty object where `may_be_empty`.
  Answer<rpc::Value> read_json(const http::RequestHead& head, std::string_view body,
                               bool may_be_empty) const;
  http::Headers extension_headers(const Call& call) const;

  Service& service_;
  DoorOptions options_;
  Authenticate authenticate_;
  std::string changed_;
  CardText pure_;
  CardText hybrid_;
  CardText jwks_;
};

// An Authenticate for a fixed list of (token, caller), compared in constant time.
Authenticate bearer_tokens(std::vector<std::pair<std::string, std::string>> callers);

}  // namespace ambit::a2a
