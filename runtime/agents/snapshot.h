#pragma once

// Snapshots of a session: its folded state as a fact of its own, so that a restart reads from there
// on and not the whole story. Written between two steps, when as many bytes have been recorded
// since the last one as it will take itself: so it at most doubles the record, and a short session
// has none. What it holds is bounded: of the conversation what the model still reads, of what was
// read before as much as a guard keeps, of calls the newest ones.

#include "agents/fact.h"
#include "agents/ports.h"
#include "async/result.h"

#include <cstddef>

namespace ambit::agents {

struct SnapshotLimits {
  std::size_t bytes_min = 64U << 10;  // of the record, between two of them
  std::size_t heard_bytes_max = agents::heard_bytes_max;
  std::size_t calls_max = 32;  // the newest ones, and as many of those before that were not allowed
};

// Nothing of the session is open, and enough was recorded.
bool snapshot_due(const SessionState& state, const SnapshotLimits& limits);
// Its texts are as settle_texts() leaves them.
SessionSnapshot snapshot_of(const SessionState& state, const SnapshotLimits& limits);

// For fact.cpp: type, body and payloads of the event; and back. Errors (internal): it is damaged;
// also throws what the JSON library throws.
void write_snapshot(Event& event, const SessionState& state);
Result<SessionSnapshot> read_snapshot(const Event& event);

}  // namespace ambit::agents
