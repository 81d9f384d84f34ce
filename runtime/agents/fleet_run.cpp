#include "agents/fleet_run.h"

#include "agents/aside.h"
#include "agents/message.h"
#include "agents/sub_agents.h"
#include "async/waiters.h"

#include <nlohmann/json.hpp>

#include <algorithm>

namespace ambit::agents {
namespace {

using Json = nlohmann::ordered_json;

}  // namespace

// What one flow needs of the run: sessions, and its place among those that live.
class FleetRun::Errand final : public FlowSessions, public Parking {
 public:
  Errand(FleetRun& run, FleetFlow& flow) : run_(run), flow_(flow) {}

  Task<void> take_place() {
    auto permit = co_await run_.places_->acquire();
    place_.emplace(std::move(permit));
  }
  Task<Result<FlowAnswer>> run(FlowOrder order) override {
    FleetSession& session =
        flow_.only != nullptr ? *flow_.only : run_.add_session(order.id, flow_.input);
    return run_.run_session(session, std::make_unique<FlowOrder>(std::move(order)), *this);
  }
  void abandon(const std::string& session, const std::string& why) override {
    abandoned_.emplace_back(session, why);
    std::vector<std::string> live;
    run_.roster().for_each([&](const Roster::Entry& entry) {
      if (belongs(entry.state.id, session)) live.push_back(entry.state.id);
    });
    for (const std::string& id : live) {
      run_.roster().stop(Selector{run_.options_.run, "", id}, why);
    }
  }
  [[nodiscard]] std::string describe(const std::string& agent) const override {
    return "- " + agent + ": " + run_.fleet_.agent(agent)->description;
  }
  // Why a session must not begin; empty: it may.
  [[nodiscard]] std::string refuses(const std::string& session) const {
    for (const auto& [id, why] : abandoned_) {
      if (belongs(session, id)) return why;
    }
    return "";
  }
  void leave() override {
    ++run_.parked_;
    place_.reset();
  }
  Task<void> come_back() override {
    --run_.parked_;
    // One session queues for the place of all: a second one would wait for what the flow holds.
    while (!place_ && queues_) {
      if (!queued_) queued_ = std::make_unique<Waiters>();
      co_await queued_->wait();
    }
    if (place_) co_return;
    const Queueing queueing(*this);
    auto place = co_await run_.places_->acquire();
    place_.emplace(std::move(place));
  }

 private:
  // Also ends when the session that queues is cancelled: then another one does.
  class Queueing {
   public:
    explicit Queueing(Errand& errand) : errand_(errand) { errand_.queues_ = true; }
    Queueing(const Queueing&) = delete;
    Queueing& operator=(const Queueing&) = delete;
    ~Queueing() {
      errand_.queues_ = false;
      if (errand_.queued_) errand_.queued_->wake_all();
    }

   private:
    Errand& errand_;
  };

  static bool belongs(std::string_view id, std::string_view to) {
    return id == to || (id.starts_with(to) && id.substr(to.size()).starts_with('.'));
  }

  FleetRun& run_;
  FleetFlow& flow_;
  std::optional<Semaphore::Permit> place_;
  bool queues_ = false;              // one of its sessions, for the place
  std::unique_ptr<Waiters> queued_;  // the others; most flows have none
  std::vector<std::pair<std::string, std::string>> abandoned_;
};

FleetRun::FleetRun(const Fleet& fleet, RunOptions options, std::map<std::string, Model*> models,
                   std::vector<Toolbox*> toolboxes, Ports ports)
    : fleet_(fleet),
      options_(std::move(options)),
      models_(std::move(models)),
      toolboxes_(std::move(toolboxes)),
      ports_(std::move(ports)),
      ledger_(std::make_unique<Ledger>("run " + options_.run, fleet.limits, Loop::current().now(),
                                       nullptr)),
      places_(std::make_unique<Semaphore>(static_cast<std::size_t>(fleet.workflow.concurrency))) {
  if (ports_.roster == nullptr) ports_.roster = &own_roster_;
}

Result<void> FleetRun::restore(Journal& journal) {
  Result<void> good;
  bool found = false;
  auto& restored = ports_.roster->restored;
  auto visit = [&](const StoredEvent& stored) {
    const Event& event = stored.event;
    found = true;
    if (event.type == "run.started") {
      const Json body = Json::parse(event.body, nullptr, false);
      if (body.is_object()) {
        options_.seed = body.value("seed", options_.seed);
        options_.repeat = body.value("repeat", options_.repeat);
      }
    }
    if (!event.session.empty()) good = apply(restored[event.session], event);
    return good.has_value();
  };
  TRY(journal.recover(options_.run, visit));
  TRY(good);
  if (!found) return Err(Code::not_found, "there is no run " + options_.run + " in this journal");
  resumed_ = true;
  return {};
}

Task<Result<void>> FleetRun::list_all() {
  if (cast_) co_return Result<void>();
  auto made = std::make_shared<Cast>();
  made->fleet = &fleet_;
  made->catalogues = co_await ok(cast_tools(fleet_, toolboxes_, ports_.check_tool));
  cast_ = std::move(made);
  co_return Result<void>();
}

Event FleetRun::started_event() const {
  Event started{resumed_ ? "run.resumed" : "run.started", options_.run, "", "", "{}", {}};
  std::size_t tools = 0;
  for (const auto& [agent, catalogue] : cast_->catalogues) tools += catalogue.specs->size();
  Json body = {{"fleet", fleet_.name},      {"principal", options_.principal},
               {"seed", options_.seed},     {"inputs", inputs_.size()},
               {"repeat", options_.repeat}, {"tools", tools}};
  if (fleet_.workflow.pattern != "single") body["pattern"] = fleet_.workflow.pattern;
  started.body = body.dump();
  started.payloads = options_.sources;
  return started;
}

FleetSession& FleetRun::add_session(const std::string& id, const Input* input) {
  sessions_.push_back(std::make_unique<FleetSession>(FleetSession{id, input, {}}));
  auto& restored = ports_.roster->restored;
  if (const auto at = restored.find(id); at != restored.end()) {
    sessions_.back()->state = std::move(at->second);
    restored.erase(at);
  }
  return *sessions_.back();
}

void FleetRun::add_flows() {
  const auto& nodes = fleet_.workflow.graph.nodes;
  const bool is_single =
      nodes.size() <= 1 && (nodes.empty() || (!nodes[0].plan && nodes[0].for_each.empty()));
  for (int k = 0; k < options_.repeat; ++k) {
    for (const Input& input : inputs_) {
      const std::string id = k == 0 ? input.id : input.id + "#" + std::to_string(k + 1);
      flows_.push_back(std::make_unique<FleetFlow>());
      flows_.back()->id = id;
      flows_.back()->input = &input;
      if (is_single) flows_.back()->only = &add_session(id, &input);
    }
  }
}

Task<Result<void>> FleetRun::run(std::vector<Input> inputs) {
  inputs_ = std::move(inputs);
  co_await ok(list_all());
  Event started = started_event();
  co_await ok(ports_.journal.append(std::move(started)));
  const std::shared_ptr<const Cast> first = cast_;
  for (const auto& [agent, catalogue] : first->catalogues) {
    for (Event& event : quarantine_events(catalogue, options_.run, agent)) {
      co_await ok(ports_.journal.append(std::move(event)));
    }
  }
  // Before any session spends more, and also for those that have ended.
  for (const auto& [id, state] : ports_.roster->restored) ledger_->restore(spent_by(state));
  add_flows();
  for (const auto& flow : flows_) {
    const bool has_ended = flow->only != nullptr && flow->only->state.end != SessionEnd::running;
    flow->ended = has_ended;
    if (!has_ended) scope_.spawn(admitted(*flow));
  }
  co_await scope_.join();
  if (!failure_) co_return Err(std::move(failure_).error());
  sort_sessions();
  co_return co_await record_end();
}

Task<Result<void>> FleetRun::record_end() {
  Event ended{"run.ended", options_.run, "", "", "{}", {}};
  Json body = Json::object();
  const RunProgress now = progress();
  for (const auto& [end, count] : now.ends) body[std::string(to_string(end))] = count;
  std::int64_t not_begun = 0;
  for (const auto& session : sessions_) not_begun += session->state.id.empty() ? 1 : 0;
  if (not_begun > 0) body["notBegun"] = not_begun;
  ended.body = body.dump();
  co_await ok(ports_.journal.append(std::move(ended)));
  co_return Result<void>();
}

void FleetRun::sort_sessions() {
  if (flows_.empty() || flows_.front()->only != nullptr) return;
  std::map<const Input*, std::size_t> order;
  for (const Input& input : inputs_) order.emplace(&input, order.size());
  std::sort(sessions_.begin(), sessions_.end(), [&](const auto& a, const auto& b) {
    const std::size_t left = order.at(a->input);
    const std::size_t right = order.at(b->input);
    return left != right ? left < right : a->id < b->id;
  });
}

// Waits for a place, then runs the flow; a failure of the journal ends the whole run.
Task<void> FleetRun::admitted(FleetFlow& flow) {
  Errand errand(*this, flow);
  const AgentSpec& first = *fleet_.agent(fleet_.workflow.agent);
  if (first.latency) co_await become(*first.latency);
  co_await errand.take_place();
  if (!failure_) co_return;
  ++live_;
  Task<Result<FlowAnswer>> answer = run_flow(flow, errand);
  co_await answer;
  --live_;
  flow.ended = true;
  keep_answer(flow, answer.take());
}

void FleetRun::keep_answer(FleetFlow& flow, Result<FlowAnswer> result) {
  if (result) {
    flow.answer = Shared(std::move(*result));
  } else if (failure_) {
    failure_ = Err(std::move(result).error());
  }
}

Task<Result<FlowAnswer>> FleetRun::run_flow(FleetFlow& flow, Errand& errand) {
  // A flow of one session needs nobody to say what comes next.
  if (flow.only == nullptr) return run_graph(flow, errand);
  FlowOrder order;
  order.id = flow.id;
  order.agent = fleet_.workflow.agent;
  order.prompt = flow.input->prompt;
  return run_session(*flow.only, std::make_unique<FlowOrder>(std::move(order)), errand);
}

Task<Result<FlowAnswer>> FleetRun::run_graph(FleetFlow& flow, Errand& errand) {
  if (!flow.input->error.empty()) {
    FlowAnswer unusable;
    unusable.error = flow.input->error;
    co_return unusable;
  }
  FlowInput input{flow.id, flow.input->prompt, fields_of(flow.input->record)};
  Flow steps(fleet_.workflow.graph, errand, std::move(input));
  co_return co_await steps.run();
}

// A session that begins on an agent's word is an effect of that agent. Empty: it may.
Task<Result<std::string>> FleetRun::may_spawn(const std::string& session, const FlowOrder& order) {
  Action action;
  action.id = options_.run + "/" + session + "/spawn";
  action.kind = ActionKind::spawn;
  action.agent = order.by;
  action.session = session;
  action.run = options_.run;
  const AgentSpec* by = cast_->fleet->agent(order.by);
  action.on_behalf_of = (by != nullptr ? by : fleet_.agent(order.by))->owner;
  action.requester = options_.principal;
  action.tool = order.agent;
  action.arguments =
      Json({{"task", order.prompt}}).dump(-1, ' ', false, Json::error_handler_t::replace);
  action.destructive = false;
  action.tainted = order.tainted;
  action.left = ledger_->left(Loop::current().now());
  Aside aside(ports_.guard, ports_.journal, ports_.approvals);
  const std::string family = "spawn";
  auto refused = co_await aside.pass(std::move(action), family);
  co_return refused;
}

// What a session needs while it lives, beside its state.
struct FleetRun::Seat {
  Seat(FleetRun& run, const FleetSession& session, std::shared_ptr<const Cast> of,
       const AgentSpec& plays, const std::string& output_schema)
      : cast(std::move(of)),
        held(output_schema.empty() ? nullptr : std::make_unique<AgentSpec>(plays)),
        agent(held ? *held : plays),
        ledger("session " + session.id, agent.limits, Loop::current().now(), run.ledger_.get()),
        loop(run.options_.run, agent, *cast->fleet->model(agent.model),
             *run.models_.at(agent.model), cast->catalogues.at(agent.name), run.ports_, ledger,
             session_seed(run.options_.seed, session.id)) {
    if (held) held->output_schema = output_schema;
    ledger.restore(spent_in(run.ports_.roster->restored, session.state));
    loop.route_by(routes_of(*cast->fleet, agent, run.models_));
    loop.work_on(session.input->subject);
  }

  std::shared_ptr<const Cast> cast;  // to the end of this session
  std::unique_ptr<AgentSpec> held;   // the agent, where its order holds its answer to another form
  const AgentSpec& agent;
  Ledger ledger;
  TurnLoop loop;
};

// One of the two; neither: it has ended before.
struct FleetRun::Begun {
  std::unique_ptr<Seat> seat;
  std::unique_ptr<FlowAnswer> refused;

  static Begun refusal(SessionEnd end, std::string why) {
    Begun begun;
    begun.refused = std::make_unique<FlowAnswer>();
    begun.refused->end = end;
    begun.refused->error = std::move(why);
    return begun;
  }
};

Task<Result<FlowAnswer>> FleetRun::run_session(FleetSession& session,
                                               std::unique_ptr<FlowOrder> order, Errand& errand) {
  const Begun begun = co_await ok(begin_session(session, std::move(order), errand));
  if (begun.refused) co_return std::move(*begun.refused);
  if (!begun.seat) co_return answer_of(session.state);
  Task<Result<void>> going = go_on(session, *begun.seat);
  co_await going;
  Result<void> done = going.take();
  if (!done) co_return Err(std::move(done).error());
  co_return answer_of(session.state);
}

Task<Result<FleetRun::Begun>> FleetRun::begin_session(FleetSession& session,
                                                      std::unique_ptr<FlowOrder> order,
                                                      Errand& errand) {
  SessionState& state = session.state;
  std::string refused = ports_.roster->refuses(options_.run, order->agent, session.id);
  if (refused.empty()) refused = errand.refuses(session.id);
  if (state.end == SessionEnd::running && state.id.empty() && !refused.empty()) {
    co_return Begun::refusal(SessionEnd::stopped, std::move(refused));
  }
  if (state.id.empty() && !order->by.empty()) {
    refused = co_await ok(may_spawn(session.id, *order));
    if (!refused.empty()) co_return Begun::refusal(SessionEnd::denied, std::move(refused));
  }
  Begun begun;
  if (state.end != SessionEnd::running) co_return begun;
  const AgentSpec* agent = cast_->fleet->agent(order->agent);
  if (agent == nullptr || !cast_->catalogues.contains(order->agent)) {
    co_return Begun::refusal(SessionEnd::denied,
                             "the fleet has no agent " + order->agent + " any more");
  }
  begun.seat = std::make_unique<Seat>(*this, session, cast_, *agent, order->output_schema);
  begun.seat->loop.park_with(&errand);
  if (!state.id.empty()) co_return begun;
  SessionStarted started{options_.principal, agent->instructions, std::move(order->prompt)};
  started.earlier = std::move(order->earlier);
  started.tainted = order->tainted;
  started.output_schema = std::move(order->output_schema);
  co_await ok(begun.seat->loop.start(state, session.id, std::move(started)));
  co_return begun;
}

Task<Result<void>> FleetRun::go_on(FleetSession& session, Seat& seat) {
  // All that work on one input hear of each other.
  const AgentSpec* first = seat.cast->fleet->agent(fleet_.workflow.agent);
  std::string refusal = first != nullptr ? residency_refusal(*first, seat.agent) : "";
  if (!refusal.empty()) {
    return seat.loop.end(session.state, SessionEnd::denied, "", std::move(refusal));
  }
  const std::string& error = session.input->error;
  if (!error.empty()) return seat.loop.end(session.state, SessionEnd::failed, "", error);
  return seat.loop.run(session.state);
}

FlowAnswer FleetRun::answer_of(const SessionState& state) {
  FlowAnswer answer;
  answer.end = state.end;
  answer.answer = state.answer;
  answer.error = state.error;
  answer.handoff = handed_over_to(state);
  if (!answer.handoff.empty() && answer.answer.empty()) answer.answer = handoff_message(state);
  answer.tainted = state.tainted;
  return answer;
}

bool FleetRun::only_waits() const {
  return parked_ > 0 && static_cast<std::size_t>(parked_) == ports_.roster->size();
}

RunProgress FleetRun::progress() const {
  RunProgress sum;
  sum.sessions = static_cast<std::int64_t>(std::max(flows_.size(), sessions_.size()));
  sum.live = live_;
  for (const auto& session : sessions_) {
    const SessionState& state = session->state;
    sum.turns += state.turns;
    sum.tool_calls += state.call_count();
    sum.input_tokens += state.usage.input_tokens;
    sum.cached_tokens += state.usage.cached_tokens;
    sum.output_tokens += state.usage.output_tokens;
    sum.cost_micros += state.cost_micros;
    sum.energy_uj += state.usage.energy_uj;
    sum.moved_bytes += state.usage.moved_bytes;
    if (state.waits() != nullptr) ++sum.waiting;
    if (state.end == SessionEnd::running) continue;
    ++sum.ended;
    ++sum.ends[state.end];
  }
  return sum;
}

std::string transcript(const SessionState& state) {
  Json out = {{"session", state.id}, {"agent", state.agent}, {"state", to_string(state.end)}};
  if (!state.error.empty()) out["error"] = state.error;
  for (const Message& message : state.messages)
    out["messages"].push_back(Json::parse(to_json(message)));
  if (state.earlier_calls.count > 0) out["earlierDecisions"] = state.earlier_calls.count;
  out["decisions"] = Json::array();
  for (const CallRecord& record : state.calls) {
    out["decisions"].push_back({{"call", record.call.id},
                                {"tool", record.call.name},
                                {"verdict", to_string(record.verdict)},
                                {"policies", record.policies},
                                {"reason", record.reason},
                                {"outcome", record.outcome ? to_string(*record.outcome) : "none"}});
  }
  return out.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::uint64_t session_seed(std::uint64_t seed, std::string_view session) {
  std::uint64_t hash = seed ^ 0x9E3779B97F4A7C15ULL;
  for (const char c : session) {
    hash ^= static_cast<unsigned char>(c);
    hash *= 0x100000001B3ULL;
    hash ^= hash >> 29;
  }
  return hash;
}

}  // namespace ambit::agents
