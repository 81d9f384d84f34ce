#pragma once

// PushSender: tells a task's webhooks of its events: in order for each configuration, at least
// once, tried again with growing pauses. A hook that stays away loses the oldest of what waits for
// it, never the newest. The URLs come from callers: only https and public addresses are taken,
// unless the operator opens that.

#include "a2a/service.h"
#include "http/service.h"
#include "io/world.h"
#include "jose/key.h"

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>

namespace ambit::a2a {

// A token for one notification: to which URL, of which task, with which body.
using PushToken = std::function<Result<std::string>(
    const std::string& url, const std::string& task_id, const std::string& body)>;
// JWTs of this key, each for five minutes. The world outlives it; whoever gets them finds the
// public half among the Door's keys.
PushToken push_signer(io::World& world, jose::Key key, std::string issuer);

struct PushOptions {
  bool takes_any_url = false;  // also http, and hosts of our own networks: for tests and labs
  int tries_max = 6;           // of one event
  Duration pause_first = std::chrono::seconds(1);  // each one doubles it
  Duration pause_max = std::chrono::seconds(60);
  Duration answer_timeout = std::chrono::seconds(15);
  std::size_t waiting_max = 256;  // events of one configuration
  std::size_t lanes_max = 10'000;
  // Signs the notifications of configurations that name no other authentication; see push_signer().
  PushToken token;
};

class PushSender final : public PushPort {
 public:
  // Give it a client that connects to public addresses alone. Both must outlive the sender, and
  // that must outlive the Service.
  explicit PushSender(http::Client& http, PushOptions options = {}, Log log = Log())
      : http_(http), options_(std::move(options)), log_(std::move(log)) {}

  [[nodiscard]] Answer<void> check(const PushConfig& config) const override;
  void notify(const PushConfig& config, std::shared_ptr<const Update> update) override;
  void forget(const std::string& task_id, const std::string& config_id) override;
  // Waits until everything is sent or given up; for the end of the program, with a deadline.
  Task<void> settle();

  [[nodiscard]] std::size_t sent() const { return sent_; }
  [[nodiscard]] std::size_t given_up() const { return given_up_; }

 private:
  struct Lane {
    PushConfig config;
    std::deque<std::shared_ptr<const Update>> waiting;
    bool is_gone = false;  // forgotten while it was at work
  };
  using Key = std::pair<std::string, std::string>;

  Task<void> work(Key key, std::shared_ptr<Lane> lane);
  Task<bool> deliver(std::shared_ptr<Lane> lane, std::shared_ptr<const Update> update);

  http::Client& http_;
  PushOptions options_;
  Log log_;
  std::map<Key, std::shared_ptr<Lane>> lanes_;  // with something to do, by task and configuration
  std::size_t sent_ = 0;
  std::size_t given_up_ = 0;
  Scope scope_;
};

}  // namespace ambit::a2a
