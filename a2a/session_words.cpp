#include "a2a/session_words.h"

#include <utility>

namespace ambit::a2a {

Message words(std::string text) {
  Message message;
  message.role = Role::agent;
  message.parts.push_back(text_part(std::move(text)));
  return message;
}

SessionWords::SessionWords(const agents::SessionState& state, std::string approver,
                           Semaphore& places, RunEvents& events, bool has_told_wait)
    : state_(state),
      approver_(std::move(approver)),
      places_(places),
      events_(events),
      waits_(has_told_wait),
      has_told_wait_(has_told_wait) {}

Task<void> SessionWords::take_place() {
  Semaphore::Permit permit = co_await places_.acquire();
  place_.emplace(std::move(permit));
}

void SessionWords::begins() {
  said_.clear();
  whole_ = 0;
  told_ = 0;
}

void SessionWords::hears(const std::string& piece) {
  if (piece.empty()) return;
  whole_ = said_.size();
  said_ += piece;
  if (whole_ > told_) changed_.wake_all();
}

void SessionWords::leave() {
  waits_ = true;
  place_.reset();
  changed_.wake_all();
}

Task<void> SessionWords::come_back() {
  co_await take_place();
  waits_ = false;
  changed_.wake_all();
}

void SessionWords::close() {
  is_closed_ = true;
  changed_.wake_all();
}

Task<Result<void>> SessionWords::tell_waiting() {
  has_told_wait_ = waits_;
  if (!waits_) co_return co_await events_.status(TaskState::working, std::nullopt);
  std::string text = "waits for the approval of " + approver_;
  if (const agents::CallRecord* call = state_.waits(); call != nullptr) {
    text += ": " + call->call.name + ": " + call->reason;
  }
  co_return co_await events_.status(TaskState::auth_required, words(std::move(text)));
}

Task<Result<void>> SessionWords::tell_words(std::size_t end, bool is_last) {
  Artifact artifact;
  artifact.id = state_.id;
  artifact.name = "answer";
  artifact.parts.push_back(text_part(said_.substr(told_, end - told_)));
  const bool goes_on = told_ > 0;
  told_ = end;
  co_return co_await events_.artifact(std::move(artifact), goes_on, is_last);
}

Task<Result<void>> SessionWords::pump() {
  while (true) {
    if (waits_ != has_told_wait_) {
      co_await ok(tell_waiting());
    } else if (whole_ > told_) {
      co_await ok(tell_words(whole_, false));
    } else if (is_closed_) {
      co_return Result<void>();
    } else {
      co_await changed_.wait();
    }
  }
}

Task<Result<void>> SessionWords::finish() {
  if (state_.answer.empty()) co_return Result<void>();
  if (said_ != state_.answer) {
    said_ = state_.answer;
    told_ = 0;
  }
  co_return co_await tell_words(said_.size(), true);
}

}  // namespace ambit::a2a
