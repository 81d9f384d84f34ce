#pragma once

// Directory: agent cards by URL, kept as long as their server says and then asked for again with
// the tag that came with them.

#include "a2a/card.h"
#include "http/service.h"
#include "jose/key.h"
#include "rpc/value.h"

#include <map>
#include <memory>
#include <string>
#include <vector>

namespace ambit::a2a {

struct FoundCard {
  AgentCard card;
  rpc::Value json;        // as it came
  std::string url;        // where it was found
  std::string signed_by;  // the id of the trusted key; empty: no keys were given
};

struct DirectoryOptions {
  std::string token;             // sent to the named URL alone
  std::size_t cards_max = 1000;  // the one that was fetched longest ago makes room
  std::size_t card_bytes_max = 1 << 20;
  Duration age_max = std::chrono::hours(1);  // however long a server wants it kept
  // Where there are any, a card must be signed by one of them. A card's own `jku` is never
  // followed: who could change the card could change that.
  std::vector<jose::Key> trusted;
};

class Directory {
 public:
  explicit Directory(http::Client& http, DirectoryOptions options = {})
      : http_(http), options_(std::move(options)) {}

  // `url` is a card's own (it ends in ".json"), or an agent's: then the card lies at
  // /.well-known/agent-card.json below it, or below its origin.
  Task<Answer<std::shared_ptr<const FoundCard>>> find(std::string url);
  [[nodiscard]] std::size_t size() const { return kept_.size(); }

 private:
  struct Kept {
    std::shared_ptr<const FoundCard> card;
    std::string tag;
    Instant fetched{};
    Duration age_max{};
  };
  // Null: there is none at this place.
  Task<Answer<std::shared_ptr<const FoundCard>>> fetch(std::string url);
  void keep(const std::string& url, const http::Headers& headers,
            std::shared_ptr<const FoundCard> card);

  http::Client& http_;
  DirectoryOptions options_;
  std::map<std::string, Kept> kept_;  // by the card's own URL
};

}  // namespace ambit::a2a
