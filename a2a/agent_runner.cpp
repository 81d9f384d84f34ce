#include "a2a/agent_runner.h"

#include "a2a/remote_tools.h"
#include "a2a/session_words.h"
#include "agents/artifacts.h"
#include "agents/fleet_run.h"
#include "agents/sub_agents.h"
#include "async/race.h"
#include "jose/base64url.h"

#include <nlohmann/json.hpp>

#include <algorithm>

namespace ambit::a2a {
namespace {

using agents::SessionEnd;
using agents::SessionState;
using rpc::Json;

std::string session_of(const Run& run) {
  // Each message of a task is a session of its own; the name tells them apart and is the same in
  // every replay.
  std::uint64_t hash = agents::session_seed(0, run.message.id);
  std::string name = run.task_id + ".";
  for (int n = 0; n < 8; ++n, hash >>= 4) name += "0123456789abcdef"[hash & 15];
  return name;
}

// Of base64 with its padding, or without.
std::optional<std::string> bytes_of(std::string base64) {
  while (base64.ends_with('=')) base64.pop_back();
  std::replace(base64.begin(), base64.end(), '+', '-');
  std::replace(base64.begin(), base64.end(), '/', '_');
  return jose::from_base64url(base64);
}

std::string conversation_of(const Run& run) {
  return run.caller + std::string(1, '\0') + run.tenant + std::string(1, '\0') + run.context_id;
}

// "restart_service: production needs an approval; ..." for the calls with this verdict.
std::string calls_with(const SessionState& state, agents::Verdict verdict) {
  std::string text;
  for (const agents::CallRecord& call : state.calls) {
    if (call.verdict != verdict) continue;
    text += (text.empty() ? "" : "; ") + call.call.name + ": " + call.reason;
  }
  return text;
}

// Who asks from outside, as the record and the policies know them. No name of theirs is one of an
// agent of this fleet.
std::vector<std::string> through_of(const Delegation& delegation) {
  std::vector<std::string> through;
  for (auto at = delegation.actors.rbegin(); at != delegation.actors.rend(); ++at) {
    through.push_back(at->find('/') == std::string::npos ? "elsewhere/" + *at : *at);
  }
  return through;
}

std::string text_of_field(const Json& value) {
  return value.is_string() ? value.get<std::string>() : rpc::compact(value);
}

}  // namespace

// Sees to it that a session which is cut off has its end in the record, and frees what the engine
// keeps of it.
class AgentRunner::Ending {
 public:
  Ending(AgentRunner& runner, const std::string& run, const SessionState& state)
      : runner_(runner), run_(run), state_(state) {}
  Ending(const Ending&) = delete;
  Ending& operator=(const Ending&) = delete;
  ~Ending() {
    if (state_.id.empty() || state_.end != SessionEnd::running) return;
    runner_.model_.observe(state_.id, agents::SessionEvent::gone);
    if (runner_.leaves_open_) return;
    agents::Fact ended = agents::SessionEnded{SessionEnd::failed,
                                              state_.turns,
                                              state_.call_count(),
                                              state_.usage,
                                              "the task was cancelled, or the journal failed",
                                              ""};
    agents::settle_texts(ended);
    runner_.endings_.spawn(
        runner_.record_end(agents::to_event(ended, {run_, state_.id, state_.agent})));
  }

 private:
  AgentRunner& runner_;
  const std::string& run_;
  const SessionState& state_;
};

AgentRunner::AgentRunner(const agents::Fleet& fleet, const agents::AgentSpec& agent,
                         agents::Model& model, agents::Ports ports, AgentRunnerOptions options)
    : fleet_(fleet),
      agent_(agent),
      model_(model),
      ports_(std::move(ports)),
      options_(options),
      places_(options.sessions_max) {}

AgentRunner::~AgentRunner() = default;

Task<Result<void>> AgentRunner::open(std::vector<agents::Toolbox*> toolboxes) {
  catalogue_ = co_await ok(agents::list_tools(agent_, std::move(toolboxes), ports_.check_tool));
  co_return Result<void>();
}

Task<void> AgentRunner::settle() {
  co_await endings_.join();
}

Task<void> AgentRunner::record_end(agents::Event ended) {
  co_await ports_.journal.append(std::move(ended));
}

Task<Result<std::optional<Message>>> AgentRunner::answer(Run /*run*/) {
  co_return std::optional<Message>();
}

// Text as it is. A data part alone, sent to the agent of the workflow, is a record like those of
// its input file.
// Files become artifacts of the task, of which the agent reads what it wants to; where it cannot
// read any, prompt_of() refuses them.
Task<Result<void>> AgentRunner::keep_files(Run& run) {
  const bool reads = ports_.artifacts != nullptr && agent_.offers(agents::artifact_tool);
  for (Part& part : run.message.parts) {
    if (!reads || part.kind != Part::Kind::raw) continue;
    auto bytes = bytes_of(part.text);
    if (!bytes) co_return Err(Code::invalid, "a file of the message is no base64");
    const std::string about = (part.filename.empty() ? "a file" : part.filename) + ", " +
                              std::to_string(bytes->size()) + " bytes";
    agents::ArtifactSource source{run.task_id, session_of(run), agent_.name, "", "", run.caller};
    auto kept = co_await ok(ports_.artifacts->keep(std::move(source), std::move(*bytes)));
    if (kept.id.empty()) co_return Err(Code::exhausted, about + ": " + kept.refusal);
    part = text_part("[" + about + ": artifact " + kept.id + "]");
  }
  co_return Result<void>();
}

Result<std::string> AgentRunner::prompt_of(const Message& message) const {
  std::string text;
  const bool is_record = message.parts.size() == 1 && message.parts[0].kind == Part::Kind::data &&
                         message.parts[0].data.json().is_object() &&
                         agent_.name == fleet_.workflow.agent;
  if (is_record) {
    const Json& record = message.parts[0].data.json();
    return agents::expand(fleet_.workflow.prompt,
                          [&](std::string_view name) -> std::optional<std::string> {
                            const auto at = record.find(std::string(name));
                            if (at == record.end()) return std::nullopt;
                            return text_of_field(*at);
                          });
  }
  for (const Part& part : message.parts) {
    if (part.kind == Part::Kind::raw || part.kind == Part::Kind::url) {
      return Err(Code::denied, "agent " + agent_.name + " reads text and data, no files");
    }
    if (!text.empty()) text += '\n';
    text += part.kind == Part::Kind::text ? part.text : part.data.text();
  }
  return text;
}

void AgentRunner::remember(const std::string& key, const std::string& prompt,
                           const SessionState& state) {
  if (options_.conversations_max == 0) return;
  auto at = conversations_.find(key);
  if (at == conversations_.end()) {
    if (conversations_.size() >= options_.conversations_max) {
      conversations_.erase(recent_.back());
      recent_.pop_back();
    }
    at = conversations_.emplace(key, Conversation()).first;
    recent_.push_front(key);
  } else {
    recent_.erase(at->second.recent);
    recent_.push_front(key);
  }
  at->second.recent = recent_.begin();
  at->second.tainted = at->second.tainted || state.tainted;
  auto& messages = at->second.messages;
  messages.push_back({agents::Role::user, prompt, {}, "", ""});
  messages.push_back({agents::Role::assistant, state.answer, {}, "", ""});
  std::size_t bytes = 0;
  for (const agents::Message& message : messages) bytes += message.content.size();
  while (!messages.empty() && bytes > options_.conversation_bytes_max) {
    // Question and answer go together.
    bytes -= messages[0].content.size() + messages[1].content.size();
    messages.erase(messages.begin(), messages.begin() + 2);
  }
}

Task<Result<void>> AgentRunner::append(agents::Event event) {
  co_await ok(ports_.journal.append(std::move(event)));
  co_return Result<void>();
}

agents::SessionStarted AgentRunner::started_by(const Run& run, const std::string& prompt) const {
  agents::SessionStarted started{run.caller, agent_.instructions, prompt};
  const auto known = conversations_.find(conversation_of(run));
  if (known != conversations_.end()) {
    started.earlier = known->second.messages;
    started.tainted = known->second.tainted;
  }
  return started;
}

// Its words are told beside it, and to the last of them.
Task<Result<void>> AgentRunner::run_aloud(agents::TurnLoop& loop, SessionState& state,
                                          SessionWords& words) {
  auto ran = co_await loop.run(state);
  words.close();
  co_return ran;
}

Task<Result<void>> AgentRunner::work(Run run, std::string prompt, SessionState& state,
                                     SessionWords& words) {
  const std::string id = session_of(run);
  const bool is_resumed = !state.id.empty();
  agents::Event begun{
      is_resumed ? "run.resumed" : "run.started", run.task_id, "", agent_.name, "{}", {}};
  auto delegation = co_await ok(read_delegation(run.message.metadata));
  begun.body = rpc::compact(Json({{"fleet", fleet_.name},
                                  {"principal", run.caller},
                                  {"tenant", run.tenant},
                                  {"seed", options_.seed},
                                  {"by", "a2a"},
                                  {"context", run.context_id},
                                  {"message", run.message.id},
                                  {"delegation", delegation ? to_json(*delegation) : Json()}}));
  co_await ok(append(std::move(begun)));
  for (agents::Event& event : agents::quarantine_events(catalogue_, run.task_id, agent_.name)) {
    co_await ok(append(std::move(event)));
  }
  const Ending ending(*this, run.task_id, state);
  agents::Ledger whole("run " + run.task_id, fleet_.limits, Loop::current().now(), nullptr);
  agents::Ledger ledger("session " + id, agent_.limits, Loop::current().now(), &whole);
  agents::TurnLoop loop(run.task_id, agent_, *fleet_.model(agent_.model), model_, catalogue_,
                        ports_, ledger, agents::session_seed(options_.seed, id));
  loop.route_by(agents::routes_of(fleet_, agent_, options_.models));
  loop.park_with(&words);
  loop.tell(&words);
  loop.has_sequel();
  const bool names_person = delegation && !delegation->person.empty();
  loop.ask_for(names_person ? delegation->person : run.caller,
               delegation ? through_of(*delegation) : std::vector<std::string>());
  if (is_resumed) {
    const agents::Cost spent = ports_.roster != nullptr
                                   ? agents::spent_in(ports_.roster->restored, state)
                                   : agents::spent_by(state);
    whole.restore(spent);
    ledger.restore(spent);
  } else {
    agents::SessionStarted started = started_by(run, prompt);
    co_await ok(loop.start(state, id, std::move(started)));
  }
  std::vector<Task<Result<void>>> both;
  both.push_back(run_aloud(loop, state, words));
  both.push_back(words.pump());
  auto ran = co_await join(std::move(both));
  co_await ok(std::move(ran.front()));
  remember(conversation_of(run), prompt, state);
  agents::Event ended{"run.ended", run.task_id, "", agent_.name, "{}", {}};
  ended.body = rpc::compact(Json({{std::string(agents::to_string(state.end)), 1}}));
  co_return co_await append(std::move(ended));
}

// The one place where a session's end becomes a task's state.
Task<Result<void>> AgentRunner::tell(const SessionState& state, SessionWords& answer,
                                     RunEvents& events) {
  co_await ok(answer.finish());
  const std::string denied = calls_with(state, agents::Verdict::deny);
  TaskState end = TaskState::failed;
  std::optional<Message> message;
  switch (state.end) {
    case SessionEnd::completed:
      end = TaskState::completed;
      break;
    case SessionEnd::escalated:
      end = TaskState::auth_required;
      message = words("waits for the approval of " + agent_.owner + ": " +
                      calls_with(state, agents::Verdict::escalate));
      break;
    case SessionEnd::denied:
      // It gave its answer all the same, or it could not even begin.
      end = state.answer.empty() ? TaskState::rejected : TaskState::completed;
      message = words("refused by policy: " + (denied.empty() ? state.error : denied));
      break;
    case SessionEnd::limit:
      message = words("stopped at a limit: " + state.error);
      break;
    case SessionEnd::stopped:
      end = TaskState::canceled;
      message = words(state.error.empty() ? "stopped" : state.error);
      break;
    case SessionEnd::failed:
    case SessionEnd::running:
      message = words(state.error.empty() ? "the agent failed" : state.error);
      break;
  }
  co_return co_await events.status(end, std::move(message));
}

// Whoever calls says through whom it acts; who says that it is deep enough is believed.
Result<void> AgentRunner::check_depth(const Run& run) const {
  const auto delegation = read_delegation(run.message.metadata);
  if (!delegation) return Err(Code::denied, delegation.error().message);
  if (!*delegation || (*delegation)->actors.size() <= options_.depth_max) return {};
  return Err(Code::denied, "agents have called agents to the depth of " +
                               std::to_string(options_.depth_max) + "; no further one is called");
}

Task<Result<void>> AgentRunner::run(Run run, RunEvents& events) {
  co_await ok(check_depth(run));
  co_await ok(keep_files(run));
  auto prompt = prompt_of(run.message);
  if (!prompt) co_return Err(std::move(prompt).error());
  SessionState state;
  SessionWords answer(state, agent_.owner, places_, events, false);
  co_await answer.take_place();
  co_await ok(events.status(TaskState::working, std::nullopt));
  co_await ok(work(std::move(run), std::move(*prompt), state, answer));
  co_return co_await tell(state, answer, events);
}

// The session as the record has it; those that it delegated to are left in the roster, which they
// go on from.
Result<SessionState> AgentRunner::recorded(const Run& run) {
  const std::string id = session_of(run);
  std::map<std::string, SessionState> all;
  Result<void> folded;
  TRY(ports_.journal.recover(run.task_id, [&](const agents::StoredEvent& stored) {
    const std::string& session = stored.event.session;
    if (!session.empty()) folded = agents::apply(all[session], stored.event);
    return folded.has_value();
  }));
  TRY(folded);
  SessionState state = std::move(all[id]);
  for (auto& [name, other] : all) {
    if (ports_.roster != nullptr && name.starts_with(id + ".") && !other.parent.empty()) {
      ports_.roster->restored[name] = std::move(other);
    }
  }
  return state;
}

Task<Result<void>> AgentRunner::resume(Run run, TaskRecord so_far, RunEvents& events) {
  co_await ok(keep_files(run));
  auto prompt = prompt_of(run.message);
  if (!prompt) co_return Err(std::move(prompt).error());
  SessionState state = co_await ok(recorded(run));
  const bool waits = is_interrupted(so_far.status.state);
  // Its session has ended, and its client has been told.
  if (waits && state.end != SessionEnd::running) co_return Result<void>();
  SessionWords answer(state, agent_.owner, places_, events, waits);
  co_await answer.take_place();
  if (!waits && so_far.status.state != TaskState::working) {
    co_await ok(events.status(TaskState::working, std::nullopt));
  }
  if (state.end == SessionEnd::running) {
    co_await ok(work(std::move(run), std::move(*prompt), state, answer));
  }
  co_return co_await tell(state, answer, events);
}

AgentCard card_of(const agents::Fleet& fleet, const agents::AgentSpec& agent,
                  const std::string& url, bool speaks_0_3, bool needs_bearer_token) {
  AgentCard card;
  card.name = agent.name;
  card.description = agent.description.empty() ? "Agent " + agent.name + " of fleet " + fleet.name
                                               : agent.description;
  card.version = agent.a2a ? agent.a2a->version : "1";
  card.interfaces = {{url, "JSONRPC", "1.0", ""}, {url, "HTTP+JSON", "1.0", ""}};
  if (speaks_0_3) {
    card.interfaces.push_back({url, "JSONRPC", "0.3", ""});
    card.interfaces.push_back({url, "HTTP+JSON", "0.3", ""});
  }
  card.has_extended_card = needs_bearer_token;
  card.needs_bearer_token = needs_bearer_token;
  card.input_modes = {"text/plain", "application/json"};
  if (fleet.artifacts && agent.offers(agents::artifact_tool)) {
    card.input_modes.emplace_back("application/octet-stream");
  }
  card.output_modes = {"text/plain"};
  Skill skill;
  skill.id = agent.name;
  skill.name = agent.name;
  skill.description = card.description;
  skill.tags = {fleet.name};
  if (agent.a2a) {
    skill.tags.insert(skill.tags.end(), agent.a2a->tags.begin(), agent.a2a->tags.end());
    skill.examples = agent.a2a->examples;
  }
  card.skills.push_back(std::move(skill));
  return card;
}

AgentCard extended_card_of(AgentCard card, const std::vector<agents::ToolSpec>& tools) {
  for (const agents::ToolSpec& tool : tools) {
    Skill skill;
    skill.id = tool.name;
    skill.name = tool.name;
    skill.description = tool.description;
    skill.tags = {"tool", tool.read_only ? "reads" : tool.destructive ? "changes" : "adds"};
    card.skills.push_back(std::move(skill));
  }
  return card;
}

}  // namespace ambit::a2a
