// What each request of a pass has moved and taken, and what it is told of that at its end.

#include "inference/scheduler.h"
#include "inference/traffic.h"

#include <cmath>

namespace ambit::inference {

void Scheduler::account(const Pass& pass) {
  energy_is_settled_ = false;
  const std::span<const RowWork> rows = pass.lane->traffic().rows();
  const double operations_per_byte = forward_.backend().operations_per_byte();
  for (Running& running : active_) {
    if (running.on != pass.lane) continue;
    RowWork work;
    for (const RowWork& row :
         rows.subspan(running.first_row, running.rows + running.draft.size())) {
      work.bytes += row.bytes;
      work.operations += row.operations;
    }
    running.moved_bytes += work.bytes;
    energy_.add(running.energy, work.bytes + work.operations / operations_per_byte);
  }
}

void Scheduler::settle_energy() {
  energy_is_settled_ = true;
  energy_.settle(now(), [this](const auto& give) {
    for (Running& running : active_) give(running.energy);
  });
}

void Scheduler::finish(Running& running, std::vector<Generated>& ended) {
  agents::Usage& usage = running.result.usage;
  usage.cached_tokens = static_cast<std::int64_t>(running.kv.cached);
  usage.output_tokens = static_cast<std::int64_t>(running.result.tokens.size());
  usage.queue_us = running.admitted_us - running.arrived_us;
  usage.prefill_us = running.first_token_us - running.admitted_us;
  usage.decode_us = now() - running.first_token_us;
  usage.moved_bytes = std::llround(running.moved_bytes);
  if (energy_.measures() && !energy_is_settled_) settle_energy();
  usage.energy_uj = energy_.end_turn(running.energy);
  stats_.cached_tokens += running.kv.cached;
  cache_.close(std::move(running.kv), running.tokens, running.request.session);
  ended.push_back(std::move(running.result));
}

}  // namespace ambit::inference
