#pragma once

// How a call of either kind ended, from what its jail, its zygote and its control groups say.

#include "agents/ports.h"
#include "sandbox/cgroup.h"
#include "sandbox/outcome.h"
#include "sandbox/zygote_process.h"

#include <chrono>

namespace ambit::sandbox {

// A killed jail that is not reported gone by then takes its zygote along.
inline constexpr Duration last_resort = std::chrono::seconds(2);

agents::JailOutcome outcome_of(const ZygoteCall& call, const agents::Profile& profile,
                               const Circumstances& known);
// What the groups of a call say about its end; the peak, 0 without groups.
std::int64_t ask_groups(const ZygoteCall& call, Circumstances& known,
                        const CgroupPool::Lease* lease);
// It never got the call, and not because this jail cannot be made: another one may take it.
bool may_try_again(const ZygoteCall& call);

}  // namespace ambit::sandbox
