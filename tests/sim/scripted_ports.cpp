#include "scripted_ports.h"

#include "async/pending.h"

#include <nlohmann/json.hpp>

#include <algorithm>

namespace ambit::sim {
namespace {

using agents::OutcomeKind;
using agents::Role;
using agents::Verdict;

}  // namespace

std::uint64_t hash_of(std::uint64_t seed, std::string_view text) {
  Trace trace;
  trace.add(seed);
  trace.add(text);
  return Random(trace.digest()).next();
}

// ---- SimJournal
// -----------------------------------------------------------------------------------

Task<Result<std::uint64_t>> SimJournal::append(agents::Event event) {
  auto [stored, done] = make_pending<Result<std::uint64_t>>();
  send({std::move(event), false, epoch_, std::move(done)});
  auto index = co_await std::move(stored);
  co_return index;
}

Result<void> SimJournal::post(agents::Event event) {
  send({std::move(event), true, epoch_, {}});
  return {};
}

void SimJournal::send(Landing landing) {
  const Instant now = poller_.now();
  last_landing_ =
      std::max(last_landing_, now + std::chrono::microseconds(random_.between(1, 20'000)));
  ++on_the_way_;
  poller_.after(last_landing_ - now, "journal.append",
                [this, landing = std::move(landing)]() mutable { land(std::move(landing)); });
}

void SimJournal::land(Landing landing) {
  --on_the_way_;
  if (landing.epoch != epoch_) {
    if (survivors_ == 0) return;
    --survivors_;
  }
  const std::pair session(landing.event.run, landing.event.session);
  const bool follows = broken_.contains(session);
  const bool fails = !follows && random_.chance(failure_);
  // An fsync that fails says nothing of the bytes.
  const bool stored_anyway = fails && random_.chance(0.5);
  has_failed_ = has_failed_ || fails;
  if (fails && landing.is_posted) broken_.insert(session);
  if (!follows && (!fails || stored_anyway)) store(std::move(landing.event));
  if (fails || follows) {
    landing.done.resolve(Err(Code::unavailable, "the disk is full"));
  } else {
    landing.done.resolve(std::uint64_t{events_.size() - 1});
  }
}

void SimJournal::store(agents::Event event) {
  poller_.trace().add(event.type);
  poller_.trace().add(event.session);
  poller_.trace().add(event.body);
  const auto body = nlohmann::json::parse(event.body, nullptr, false);
  if (event.type == "action.decided" && body.value("verdict", "") == "allow") {
    allowed_.emplace(event.session, body.value("call", ""));
  }
  if (event.type == "action.decided") calls_[body.value("action", "")] = body.value("call", "");
  if (event.type == "approval.answered" && body.value("answer", "") == "approved") {
    allowed_.emplace(event.session, calls_[body.value("action", "")]);
  }
  if (event.type == "action.outcome") done_.emplace(event.session, body.value("call", ""));
  events_.push_back({events_.size(), poller_.now().count(), std::move(event)});
}

void SimJournal::crash() {
  ++epoch_;
  survivors_ = random_.below(on_the_way_ + 1);
  broken_.clear();
}

Result<void> SimJournal::read(const std::string& run,
                              const std::function<bool(const agents::StoredEvent&)>& visit) {
  for (const agents::StoredEvent& stored : events_) {
    if (stored.event.run == run && !visit(stored)) break;
  }
  return {};
}

agents::SnapshotLimits low_limits(Random& random) {
  agents::SnapshotLimits limits;
  limits.bytes_min = static_cast<std::size_t>(random.between(1, 4096));
  limits.heard_bytes_max = static_cast<std::size_t>(random.between(1, 4096));
  limits.calls_max = static_cast<std::size_t>(random.between(1, 4));
  return limits;
}

Result<void> check_recovery(SimJournal& journal, const std::string& run,
                            const std::map<std::string, agents::SessionState>& folded) {
  std::map<std::string, agents::SessionState> recovered;
  Result<void> applied;
  TRY(journal.recover(run, [&](const agents::StoredEvent& stored) {
    const std::string& session = stored.event.session;
    if (!session.empty()) applied = agents::apply(recovered[session], stored.event);
    return applied.has_value();
  }));
  TRY(applied);
  for (const auto& [id, state] : recovered) {
    const auto whole = folded.find(id);
    if (whole == folded.end() || whole->second != state) {
      return Err(Code::internal, id + ": from its snapshot it is another session");
    }
  }
  return {};
}

// ---- SimModel
// -------------------------------------------------------------------------------------

Task<Result<agents::Turn>> SimModel::generate(agents::TurnRequest request) {
  compare(request);
  co_await delay(std::chrono::microseconds(random_.between(0, 300'000)));
  if (random_.chance(failure_)) co_return Err(Code::unavailable, "the engine is busy");
  agents::Turn turn;
  turn.message = say(request);
  turn.finish = turn.message.tool_calls.empty() ? agents::FinishReason::stop
                                                : agents::FinishReason::tool_calls;
  if (turn.message.content == "cut") turn.finish = agents::FinishReason::length;
  bool is_new = true;
  for (auto at = request.messages.rbegin(); at != request.messages.rend(); ++at) {
    is_new = is_new && at->role != Role::assistant;
    const auto tokens = static_cast<std::int64_t>(at->content.size());
    turn.usage.input_tokens += tokens;
    if (!is_new) turn.usage.cached_tokens += tokens;
  }
  turn.usage.output_tokens = random_.between(1, request.tokens_max);
  co_return turn;
}

void SimModel::foresee(agents::TurnRequest request, std::string result) {
  auto asked = request.messages.rbegin();
  while (asked->role != Role::assistant) ++asked;
  const auto answered = static_cast<std::size_t>(asked - request.messages.rbegin());
  const std::string call = asked->tool_calls.at(answered).id;
  auto& [known_call, known] = foreseen_[request.session];
  if (!result.empty() && (known_call != call || !result.starts_with(known))) {
    violation_ = request.session + "/" + call + ": a result was told with a gap";
  }
  known_call = call;
  known = std::move(result);
}

// What was told of a result is how it begins, unless something else took its place.
void SimModel::compare(const agents::TurnRequest& request) {
  const auto foreseen = foreseen_.extract(request.session);
  if (foreseen.empty()) return;
  const auto& [call, told] = foreseen.mapped();
  for (const agents::Message& message : request.messages) {
    if (message.role != Role::tool || message.tool_call_id != call) continue;
    const std::string& content = message.content;
    if (content.starts_with("error: ") || content.starts_with("done already, ")) continue;
    if (!content.starts_with(told)) {
      violation_ = request.session + "/" + call + ": another result was told than there is";
    }
  }
}

agents::Message SimModel::say(const agents::TurnRequest& request) const {
  Random random(
      hash_of(request.sampling.seed, request.session + std::to_string(request.messages.size())));
  agents::Message message;
  message.role = Role::assistant;
  const auto mood = random.below(10);
  if (mood == 0) message.content = "cut";
  if (mood == 1) message.content = "done";
  if (mood < 2) return message;
  const auto calls = random.between(1, 3);
  for (std::int64_t n = 0; n < calls; ++n) {
    agents::ToolCall call;
    // One beyond the end: a tool that was never offered.
    const auto which = random.below(tools_.size() + 1);
    call.name = which < tools_.size() ? tools_[which] : "imagined";
    call.arguments =
        random.chance(0.1) ? "{\"bad\":" : "{\"n\":" + std::to_string(random.below(100)) + "}";
    message.tool_calls.push_back(std::move(call));
  }
  return message;
}

// ---- SimGuard
// -------------------------------------------------------------------------------------

agents::Decision SimGuard::decide(const agents::Action& action) {
  agents::Decision decision;
  const auto roll = hash_of(seed_, action.tool + action.arguments) % 20;
  const bool is_model = action.kind == agents::ActionKind::model_call;
  decision.verdict = roll < (is_model ? 0U : 3U)   ? Verdict::deny
                     : roll < (is_model ? 0U : 6U) ? Verdict::escalate
                                                   : Verdict::allow;
  decision.reason = "rule " + std::to_string(roll);
  decision.policies = {"sim"};
  return decision;
}

// ---- SimToolbox
// -----------------------------------------------------------------------------------

Task<Result<std::vector<agents::ToolSpec>>> SimToolbox::list() {
  co_await delay(std::chrono::milliseconds(random_.between(0, 5)));
  co_return specs_;
}

void SimToolbox::watch(const std::string& session, const agents::ToolCall& call) {
  const std::string what = session + "/" + call.id + " (" + call.name + ")";
  const auto spec = std::find_if(specs_.begin(), specs_.end(),
                                 [&](const auto& each) { return each.name == call.name; });
  int& begun = begun_[{session, call.id}];
  ++begun;
  if (spec == specs_.end()) {
    violation_ = what + ": a tool ran that is not offered";
  } else if (!journal_.is_allowed(session, call.id)) {
    violation_ = what + ": a tool ran without a durable permit";
  } else if (journal_.is_done(session, call.id)) {
    violation_ = what + ": a tool ran after its outcome was recorded";
  } else if (begun > 1 && !spec->idempotent && !spec->read_only) {
    violation_ = what + ": a tool that must run once ran again";
  }
}

agents::Outcome SimToolbox::make_outcome() {
  agents::Outcome outcome;
  const OutcomeKind kinds[] = {OutcomeKind::ok,      OutcomeKind::ok,
                               OutcomeKind::ok,      OutcomeKind::timeout,
                               OutcomeKind::crashed, OutcomeKind::tool_error,
                               OutcomeKind::refused, OutcomeKind::protocol_error};
  outcome.kind = kinds[random_.below(std::size(kinds))];
  const auto bytes = random_.below(random_.chance(0.02)  ? 100'000
                                   : random_.chance(0.1) ? 4000
                                                         : 200);
  for (std::uint64_t i = 0; i < bytes; ++i) {
    outcome.content += static_cast<char>('a' + (i * i + bytes) % 23);
  }
  return outcome;
}

Task<agents::Outcome> SimToolbox::call_aloud(std::string session, agents::ToolCall call,
                                             agents::OnOutput on_output) {
  struct Running {
    explicit Running(int& count) : running(count) { ++running; }
    ~Running() { --running; }
    Running(const Running&) = delete;
    Running& operator=(const Running&) = delete;
    int& running;
  };
  const Running here(running_);
  watch(session, call);
  const bool slow = random_.chance(0.05);
  const auto takes_us = random_.between(0, slow ? 600'000'000 : 50'000);
  agents::Outcome outcome = make_outcome();
  Random random = random_.fork();
  const auto pieces = on_output ? random.between(0, 8) : 0;
  std::size_t told = 0;
  for (std::int64_t n = 0; n < pieces; ++n) {
    co_await delay(std::chrono::microseconds(takes_us / (pieces + 1)));
    const std::string_view rest = std::string_view(outcome.content).substr(told);
    const std::string_view piece = rest.substr(0, random.below(rest.size() + 1));
    told += piece.size();
    on_output(piece);
  }
  co_await delay(std::chrono::microseconds(takes_us / (pieces + 1)));
  co_return outcome;
}

std::int64_t SimToolbox::calls_of(const std::string& session) const {
  return std::count_if(begun_.begin(), begun_.end(),
                       [&](const auto& entry) { return entry.first.first == session; });
}

}  // namespace ambit::sim
