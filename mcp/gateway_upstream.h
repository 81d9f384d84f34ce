#pragma once

// Gateway::Upstream: one server behind a gateway, its client, which is made anew when the
// connection has ended, and the calls that are under way there. Internal to mcp.

#include "mcp/gateway.h"

#include <nlohmann/json.hpp>

#include <cstdint>
#include <map>
#include <memory>
#include <set>
#include <string>

namespace ambit::mcp {

class Gateway::Upstream {
 public:
  using Heard = std::function<void(const std::string& method, const Value& params)>;
  Upstream(std::string name, Connect connect, const GatewayOptions& options, Heard heard);
  ~Upstream();
  Upstream(const Upstream&) = delete;
  Upstream& operator=(const Upstream&) = delete;

  [[nodiscard]] const std::string& name() const { return name_; }
  std::map<std::string, Offer> offered;  // by the name of their pin
  std::set<std::string> resources;       // URIs and templates that are ours
  std::set<std::string> skill_files;     // URIs there; they are offered with their skills alone
  bool is_stale = false;                 // will be listed again soon
  Duration pause{};                      // before that
  Instant refreshed{};                   // when it was listed again last
  [[nodiscard]] bool owns(const std::string& uri) const;

  Task<Result<std::shared_ptr<Client>>> client();
  // Of all the resources that somebody watches, ours are watched there.
  void watch(const std::set<std::string>& watched);
  // The upstream's answer as it is; `call` hears of its progress and answers its questions.
  Task<Result<Value>> pass(std::string method, rpc::Json params, Call& call);

 private:
  class Conversation;
  struct Attached;
  Task<Result<std::shared_ptr<Client>>> connect(EraChoice era, bool& died);
  void hear(Client& client) const;
  Result<std::shared_ptr<Conversation>> resume(const Call& call) const;
  std::shared_ptr<Conversation> begin(std::string method, rpc::Json params, const Call& call);
  Task<void> work(Conversation& talk, std::string method, rpc::Json params);
  Task<Result<rpc::Reply>> ask_once(Conversation& talk, std::string method, rpc::Json params,
                                    bool& lost);
  Task<Result<void>> attend(Conversation& talk, Call& call);
  Task<Result<void>> put_questions(Conversation& talk, Call& call);
  Task<Result<Value>> outcome_of(Conversation& talk, Call& call);
  void park(Conversation& talk);
  Task<void> expire(std::string id, std::uint64_t stay);

  std::string name_;
  Connect connect_;
  const GatewayOptions& options_;
  Heard heard_;
  std::shared_ptr<Client> client_;
  std::set<std::string> watched_;
  std::map<std::string, std::shared_ptr<Conversation>> talks_;
  std::uint64_t begun_ = 0;
  Semaphore connecting_{1};
  Scope scope_;
};

bool has_capability(const Client& client, const char* name);

}  // namespace ambit::mcp
