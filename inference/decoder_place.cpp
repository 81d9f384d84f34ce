// What a decoder does about its model's place on a device that it shares with others.

#include "inference/decoder.h"

namespace ambit::inference {

void Decoder::set_wake(std::function<void()> wake) {
  if (place_ != nullptr) place_->set_wake(std::move(wake));
}

void Decoder::step_scheduler() {
  if (place_ == nullptr) return scheduler_.step(generated_);
  awaits_place_ = false;
  if (!scheduler_.idle()) {
    const auto entered = place_->enter(scheduler_.priority());
    if (!entered) return scheduler_.fail_all(entered.error().message, generated_);
    awaits_place_ = !*entered;
    if (awaits_place_) return;
    scheduler_.step(generated_);
  }
  if (scheduler_.idle()) return place_->rest(false);
  if (!place_->must_yield()) return;
  scheduler_.end_passes(generated_);
  place_->rest(!scheduler_.idle());
}

}  // namespace ambit::inference
