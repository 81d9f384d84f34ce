#pragma once

// SessionRecorder: where the gate's facts about a session go. For the files of the turn loop alone.

#include "agents/turn_loop.h"

namespace ambit::agents {

// What the gate finds out goes into this session.
class TurnLoop::SessionRecorder final : public Recorder {
 public:
  SessionRecorder(TurnLoop& loop, SessionState& state) : loop_(loop), state_(state) {}
  Task<Result<void>> record(Fact& fact) override { return loop_.record(state_, state_.id, fact); }
  std::string next_action() override { return loop_.action_id(state_, state_.actions + 1); }
  void parked() override {
    loop_.model_.observe(state_.id, SessionEvent::parked);
    if (loop_.parking_ != nullptr) loop_.parking_->leave();
  }
  Task<void> unparked() override {
    loop_.model_.observe(state_.id, SessionEvent::call_ends_soon);
    if (loop_.parking_ != nullptr) co_await loop_.parking_->come_back();
  }

 private:
  TurnLoop& loop_;
  SessionState& state_;
};

}  // namespace ambit::agents
