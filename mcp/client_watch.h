#pragma once

// What a Client knows of a call under way: how long its server has been silent, and how often it
// asks. Internal to mcp.

#include "mcp/client.h"

namespace ambit::mcp {

// How long a call has been silent; known to on_notification by its progress token.
struct Client::Watch {
  Client& client;
  std::int64_t token;
  Instant started = Loop::current().now();
  Instant heard = started;
  std::size_t asking = 0;  // questions of the server that we have not answered yet
  const CallOptions* options = nullptr;

  explicit Watch(Client& owner) : client(owner), token(owner.next_token_++) {
    client.watches_.emplace(token, this);
  }
  Watch(const Watch&) = delete;
  Watch& operator=(const Watch&) = delete;
  ~Watch() { client.watches_.erase(token); }
};

// While the server waits for us, it is not the one who is silent, and the call's time stands still.
struct Client::Asking {
  Client& client;
  std::int64_t token;
  Instant since = Loop::current().now();

  Asking(Client& owner, std::int64_t call) : client(owner), token(call) {
    const auto at = client.watches_.find(token);
    if (at != client.watches_.end()) ++at->second->asking;
  }
  Asking(const Asking&) = delete;
  Asking& operator=(const Asking&) = delete;
  ~Asking() {
    const auto at = client.watches_.find(token);
    if (at == client.watches_.end() || at->second->asking == 0) return;
    Watch& watch = *at->second;
    if (--watch.asking > 0) return;
    watch.heard = Loop::current().now();
    watch.started += watch.heard - since;
  }
};

}  // namespace ambit::mcp
