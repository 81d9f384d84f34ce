#include "app/jailed_servers.h"

#include <algorithm>
#include <utility>

namespace ambit::app {

Task<Result<std::vector<agents::ToolSpec>>> ServerPerCaller::list() {
  if (!first_) first_ = make_();
  if (!key_of_) start_ahead();
  auto listed = co_await first_->list();
  co_return listed;
}

// What goes wrong here goes wrong again, and is told, when a call comes.
Task<void> ServerPerCaller::start(std::shared_ptr<agents::Toolbox> box) {
  (void)co_await box->list();
}

void ServerPerCaller::start_ahead() {
  while (ahead_.size() < limits_.ahead_max) {
    ahead_.push_back(make_());
    scope_.spawn(start(ahead_.back()));
  }
}

std::shared_ptr<agents::Toolbox> ServerPerCaller::take_fresh() {
  std::shared_ptr<agents::Toolbox> taken;
  if (!ahead_.empty()) {
    taken = std::move(ahead_.front());
    ahead_.pop_front();
  } else {
    taken = make_();
  }
  start_ahead();
  return taken;
}

bool ServerPerCaller::make_room() {
  if (servers_.size() < limits_.servers_max) return true;
  const auto idle = std::find_if(servers_.begin(), servers_.end(),
                                 [](const Server& one) { return one.calls == 0; });
  if (idle == servers_.end()) return false;
  servers_.erase(idle);
  return true;
}

ServerPerCaller::Server* ServerPerCaller::server_of(const std::string& session) {
  const std::string key = key_of_(session);
  const auto found = std::find_if(servers_.begin(), servers_.end(),
                                  [&](const Server& one) { return one.key == key; });
  if (found != servers_.end()) {
    servers_.splice(servers_.end(), servers_, found);
    return &servers_.back();
  }
  if (!make_room()) return nullptr;
  servers_.push_back(Server{key, make_(), 0});
  return &servers_.back();
}

Task<agents::Outcome> ServerPerCaller::call(std::string session, agents::ToolCall call) {
  if (!key_of_) {
    auto permit = co_await calls_.acquire();
    const std::shared_ptr<agents::Toolbox> box = take_fresh();
    agents::Outcome outcome = co_await box->call(std::move(session), std::move(call));
    co_return outcome;
  }
  Server* const server = server_of(session);
  if (server == nullptr) {
    co_return agents::Outcome::failed(agents::OutcomeKind::protocol_error,
                                      "all " + std::to_string(limits_.servers_max) +
                                          " servers of this kind are at work; try again later");
  }
  // Cancelled or not, it is free again afterwards.
  struct Busy {
    std::size_t& calls;
    explicit Busy(std::size_t& count) : calls(count) { ++calls; }
    Busy(const Busy&) = delete;
    Busy& operator=(const Busy&) = delete;
    ~Busy() { --calls; }
  };
  const Busy busy(server->calls);
  const std::shared_ptr<agents::Toolbox> box = server->box;
  agents::Outcome outcome = co_await box->call(std::move(session), std::move(call));
  co_return outcome;
}

}  // namespace ambit::app
