#include "agents/ports.h"

namespace ambit::agents {

Result<void> Journal::recover(const std::string& run,
                              const std::function<bool(const StoredEvent&)>& visit) {
  RecoveryStarts starts;
  TRY(read(run, [&](const StoredEvent& stored) {
    starts.see(stored.index, stored.event.type, stored.event.session);
    return true;
  }));
  return read(run, [&](const StoredEvent& stored) {
    return !starts.needs(stored.index, stored.event.session) || visit(stored);
  });
}

void RecoveryStarts::see(std::uint64_t index, std::string_view type, std::string_view session) {
  if (type == snapshot_type) newest_[std::string(session)] = index;
}

bool RecoveryStarts::needs(std::uint64_t index, std::string_view session) const {
  const auto newest = newest_.find(session);
  return newest == newest_.end() || index >= newest->second;
}

std::string_view to_string(OutcomeKind kind) {
  switch (kind) {
    case OutcomeKind::ok:
      return "ok";
    case OutcomeKind::tool_error:
      return "tool_error";
    case OutcomeKind::denied:
      return "denied";
    case OutcomeKind::escalated:
      return "escalated";
    case OutcomeKind::timeout:
      return "timeout";
    case OutcomeKind::cpu_limit:
      return "cpu_limit";
    case OutcomeKind::memory_limit:
      return "memory_limit";
    case OutcomeKind::process_limit:
      return "process_limit";
    case OutcomeKind::file_size_limit:
      return "file_size_limit";
    case OutcomeKind::output_limit:
      return "output_limit";
    case OutcomeKind::policy_violation:
      return "policy_violation";
    case OutcomeKind::crashed:
      return "crashed";
    case OutcomeKind::refused:
      return "refused";
    case OutcomeKind::protocol_error:
      return "protocol_error";
    case OutcomeKind::bad_arguments:
      return "bad_arguments";
  }
  return "refused";
}

std::string_view to_string(ActionKind kind) {
  switch (kind) {
    case ActionKind::model_call:
      return "model_call";
    case ActionKind::tool_call:
      return "tool_call";
    case ActionKind::delegation:
      return "delegation";
    case ActionKind::message:
      return "message";
    case ActionKind::memory_write:
      return "memory_write";
    case ActionKind::spawn:
      return "spawn";
    case ActionKind::egress:
      return "egress";
  }
  return "tool_call";
}

std::string_view to_string(Trust trust) {
  switch (trust) {
    case Trust::user:
      return "user";
    case Trust::trusted:
      return "trusted";
    case Trust::unknown:
      return "unknown";
    case Trust::untrusted:
      return "untrusted";
  }
  return "untrusted";
}

std::string_view to_string(ApprovalEnd end) {
  switch (end) {
    case ApprovalEnd::approved:
      return "approved";
    case ApprovalEnd::denied:
      return "denied";
    case ApprovalEnd::expired:
      return "expired";
    case ApprovalEnd::modified:
      return "modified";
    case ApprovalEnd::done:
      return "done";
  }
  return "denied";
}

std::string_view to_string(Verdict verdict) {
  switch (verdict) {
    case Verdict::allow:
      return "allow";
    case Verdict::deny:
      return "deny";
    case Verdict::escalate:
      return "escalate";
  }
  return "deny";
}

Task<Result<Embedding>> Model::embed(EmbeddingRequest /*request*/) {
  co_return Err(Code::unsupported, "the model " + identity() + " makes no embeddings");
}

}  // namespace ambit::agents
