#include "app/jailed_servers.h"

#include <algorithm>
#include <utility>

namespace ambit::app {
namespace {

constexpr std::size_t servers_max = 64;
constexpr std::size_t ahead_max = 2;

}  // namespace

Task<Result<std::vector<agents::ToolSpec>>> ServerPerCaller::list() {
  if (!first_) first_ = make_();
  auto listed = co_await first_->list();
  co_return listed;
}

// What goes wrong here goes wrong again, and is told, when a call comes.
Task<void> ServerPerCaller::start(std::shared_ptr<agents::Toolbox> box) {
  (void)co_await box->list();
}

std::shared_ptr<agents::Toolbox> ServerPerCaller::take_fresh() {
  std::shared_ptr<agents::Toolbox> taken;
  if (!ahead_.empty()) {
    taken = std::move(ahead_.front());
    ahead_.pop_front();
  } else {
    taken = make_();
  }
  while (ahead_.size() < ahead_max) {
    ahead_.push_back(make_());
    scope_.spawn(start(ahead_.back()));
  }
  return taken;
}

void ServerPerCaller::make_room() {
  if (servers_.size() < servers_max) return;
  const auto idle = std::find_if(servers_.begin(), servers_.end(),
                                 [](const Server& one) { return one.calls == 0; });
  if (idle != servers_.end()) servers_.erase(idle);
}

ServerPerCaller::Server& ServerPerCaller::server_of(const std::string& session) {
  const std::string key = key_of_(session);
  const auto found = std::find_if(servers_.begin(), servers_.end(),
                                  [&](const Server& one) { return one.key == key; });
  if (found != servers_.end()) {
    servers_.splice(servers_.end(), servers_, found);
    return servers_.back();
  }
  make_room();
  servers_.push_back(Server{key, make_(), 0});
  return servers_.back();
}

Task<agents::Outcome> ServerPerCaller::call(std::string session, agents::ToolCall call) {
  if (!key_of_) {
    const std::shared_ptr<agents::Toolbox> box = take_fresh();
    agents::Outcome outcome = co_await box->call(std::move(session), std::move(call));
    co_return outcome;
  }
  Server& server = server_of(session);
  // Cancelled or not, it is free again afterwards.
  struct Busy {
    std::size_t& calls;
    explicit Busy(std::size_t& count) : calls(count) { ++calls; }
    Busy(const Busy&) = delete;
    Busy& operator=(const Busy&) = delete;
    ~Busy() { --calls; }
  };
  const Busy busy(server.calls);
  const std::shared_ptr<agents::Toolbox> box = server.box;
  agents::Outcome outcome = co_await box->call(std::move(session), std::move(call));
  co_return outcome;
}

}  // namespace ambit::app
