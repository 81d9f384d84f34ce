#include "app/current_runner.h"

#include <utility>

namespace ambit::app {
namespace {

constexpr std::size_t older_max = 4;
constexpr std::size_t conversations_max = 1000;

}  // namespace

// Who asks in a context again is answered by who answered there before.
std::shared_ptr<CurrentRunner::Edition> CurrentRunner::edition_of(const a2a::Run& run) {
  std::string key = run.caller + '\0' + run.tenant + '\0' + run.context_id;
  const auto at = conversations_.find(key);
  if (at != conversations_.end()) {
    recent_.splice(recent_.begin(), recent_, at->second.recent);
    return at->second.edition;
  }
  if (conversations_.size() >= conversations_max) {
    conversations_.erase(recent_.back());
    recent_.pop_back();
  }
  recent_.push_front(key);
  conversations_.emplace(std::move(key), Conversation{now_, recent_.begin()});
  return now_;
}

void CurrentRunner::adopt(std::shared_ptr<Edition> next) {
  older_.push_back(std::exchange(now_, std::move(next)));
}

void CurrentRunner::forget(const Edition& edition) {
  for (auto at = recent_.begin(); at != recent_.end();) {
    const auto known = conversations_.find(*at);
    if (known->second.edition.get() != &edition) {
      ++at;
      continue;
    }
    conversations_.erase(known);
    at = recent_.erase(at);
  }
}

Task<void> CurrentRunner::trim() {
  while (older_.size() > older_max) {
    const std::shared_ptr<Edition> oldest = older_.front();
    forget(*oldest);
    // Its tasks still run: it stays until another reload.
    if (oldest.use_count() > 2) co_return;
    co_await oldest->runner->settle();
    older_.pop_front();
  }
}

Task<Result<std::optional<a2a::Message>>> CurrentRunner::answer(a2a::Run run) {
  const std::shared_ptr<Edition> edition = edition_of(run);
  auto answer = co_await edition->runner->answer(std::move(run));
  co_return answer;
}

Task<Result<void>> CurrentRunner::run(a2a::Run run, a2a::RunEvents& events) {
  const std::shared_ptr<Edition> edition = edition_of(run);
  auto done = co_await edition->runner->run(std::move(run), events);
  co_return done;
}

Task<Result<void>> CurrentRunner::resume(a2a::Run run, a2a::TaskRecord so_far,
                                         a2a::RunEvents& events) {
  const std::shared_ptr<Edition> edition = edition_of(run);
  auto done = co_await edition->runner->resume(std::move(run), std::move(so_far), events);
  co_return done;
}

Task<void> CurrentRunner::settle() {
  for (const auto& edition : older_) co_await edition->runner->settle();
  co_await now_->runner->settle();
}

void CurrentRunner::leave_open() {
  for (const auto& edition : older_) edition->runner->leave_open();
  now_->runner->leave_open();
}

}  // namespace ambit::app
