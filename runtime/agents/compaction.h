#pragma once

// Compaction: when a conversation comes near the model's window, its older turns give way to a
// summary that the model itself writes. That is a model turn like any other: decided, paid for and
// recorded; the record keeps what was replaced, and folding it gives the same conversation again.
// Instructions and the task stay as they were; a call is never parted from its result.

#include "agents/fleet.h"
#include "agents/ports.h"
#include "agents/session.h"

#include <cstddef>
#include <cstdint>
#include <string>

namespace ambit::agents {

// How many tokens the next turn would read, at least about: what the last turn took, and a third of
// the bytes that were said since.
std::int64_t context_tokens(const SessionState& state);

// How many messages from the front, with those that stay, a summary should now replace; 0: none. Of
// the turns, the newest ones that fit into the part that is kept stay, and at least one.
std::size_t compaction_due(const SessionState& state, const CompactionSpec& spec,
                           const ModelSpec& model);

// Turns the request for the next turn into the one for the summary of the first `cut` messages.
void ask_for_summary(TurnRequest& request, const SessionState& state, const CompactionSpec& spec,
                     std::size_t cut);

// The summary takes the place of the first `cut` messages. Errors (internal): it would part a call
// from its result, or leave nothing.
Result<void> compact(SessionState& state, std::size_t cut, const std::string& summary);

}  // namespace ambit::agents
