#include "sandbox/ending.h"

namespace ambit::sandbox {

using agents::JailOutcome;
using agents::Profile;

JailOutcome outcome_of(const ZygoteCall& call, const Profile& profile, const Circumstances& known) {
  if (!call.ended()) {
    JailOutcome outcome;
    outcome.kind = agents::OutcomeKind::crashed;
    outcome.detail = "the jail could not be ended in time and was given up with its helper";
    return outcome;
  }
  const Result<protocol::Report>& report = *call.ended();
  if (report) return classify(*report, profile, known);
  if (!call.zygote().was_ready()) return refused(report.error().message);
  JailOutcome outcome;
  outcome.kind = agents::OutcomeKind::crashed;
  outcome.detail = report.error().message + ", and the call with it";
  return outcome;
}

namespace {

bool ended_well(const ZygoteCall& call) {
  if (!call.ended() || !*call.ended()) return false;
  const protocol::Report& report = **call.ended();
  return (report.flags & protocol::Report::has_status) != 0 && report.wait_status == 0;
}

}  // namespace

std::int64_t ask_groups(const ZygoteCall& call, Circumstances& known,
                        const CgroupPool::Lease* lease) {
  if (lease == nullptr) return 0;
  known.memory_is_counted = true;
  // No limit has ended what ended well.
  if (ended_well(call)) return lease->memory_peak_bytes();
  const CgroupPool::Usage usage = lease->usage();
  known.memory_killed = usage.memory_killed;
  known.processes_refused = usage.processes_refused;
  return usage.memory_peak_bytes;
}

bool may_try_again(const ZygoteCall& call) {
  if (!call.ended() || !call.zygote().was_ready()) return false;
  return !*call.ended() || (**call.ended()).stage == protocol::Stage::none;
}

}  // namespace ambit::sandbox
