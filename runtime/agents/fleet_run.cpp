#include "agents/fleet_run.h"

#include "agents/message.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <set>

namespace ambit::agents {
namespace {

using json = nlohmann::ordered_json;

constexpr std::size_t line_bytes_max = 1 << 20;
constexpr std::size_t inputs_max = 10'000'000;

bool is_id(std::string_view id) {
  return !id.empty() && id.size() <= 128 && std::all_of(id.begin(), id.end(), [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || c == '-' || c == '.';
  });
}

Input read_input(const Workflow& workflow, std::string_view line, std::size_t number) {
  Input input;
  input.id = "line-" + std::to_string(number);
  if (line.size() > line_bytes_max) {
    input.error = "line " + std::to_string(number) + " is longer than 1 MiB";
    return input;
  }
  const json record = json::parse(line, nullptr, false);
  if (!record.is_object()) {
    input.error = "line " + std::to_string(number) + " is not a JSON object";
    return input;
  }
  if (record.contains(workflow.id)) {
    const json& id = record[workflow.id];
    const std::string text = id.is_string() ? id.get<std::string>() : id.dump();
    if (!is_id(text)) {
      input.error = "line " + std::to_string(number) + ": the id " + json_quoted(text) +
                    " must be 1 to 128 of the letters a-z, A-Z, 0-9, '_', '-', '.'";
      return input;
    }
    input.id = text;
  }
  auto field = [&](std::string_view name) -> std::optional<std::string> {
    const auto at = record.find(std::string(name));
    if (at == record.end()) return std::nullopt;
    return at->is_string() ? at->get<std::string>() : at->dump();
  };
  auto prompt = expand(workflow.prompt, field);
  if (prompt) {
    input.prompt = std::move(*prompt);
  } else {
    input.error =
        "line " + std::to_string(number) + ": the prompt needs a field: " + prompt.error().message;
  }
  return input;
}

Cost spent_by(const SessionState& state) {
  return {state.turns, static_cast<std::int64_t>(state.calls.size()),
          state.usage.input_tokens - state.usage.cached_tokens + state.usage.output_tokens};
}

}  // namespace

std::vector<Input> read_inputs(const Workflow& workflow, std::string_view json_lines) {
  std::vector<Input> inputs;
  std::set<std::string> ids;
  std::size_t number = 0;
  while (!json_lines.empty() && inputs.size() < inputs_max) {
    const std::size_t end = std::min(json_lines.find('\n'), json_lines.size());
    std::string_view line = json_lines.substr(0, end);
    json_lines.remove_prefix(std::min(end + 1, json_lines.size()));
    ++number;
    while (!line.empty() && (line.back() == '\r' || line.back() == ' ' || line.back() == '\t'))
      line.remove_suffix(1);
    if (line.empty()) continue;
    Input input = read_input(workflow, line, number);
    if (!ids.insert(input.id).second) {
      input.error = "line " + std::to_string(number) + ": the id " + json_quoted(input.id) +
                    " is there already";
      input.id = "line-" + std::to_string(number);
      ids.insert(input.id);
    }
    inputs.push_back(std::move(input));
  }
  return inputs;
}

FleetRun::FleetRun(const Fleet& fleet, RunOptions options, std::map<std::string, Model*> models,
                   std::vector<Toolbox*> toolboxes, Ports ports)
    : fleet_(fleet),
      options_(std::move(options)),
      models_(std::move(models)),
      toolboxes_(std::move(toolboxes)),
      ports_(std::move(ports)),
      ledger_(std::make_unique<Ledger>("run " + options_.run, fleet.limits, Loop::current().now(),
                                       nullptr)),
      places_(std::make_unique<Semaphore>(static_cast<std::size_t>(fleet.workflow.concurrency))) {}

Result<void> FleetRun::restore(Journal& journal) {
  Result<void> good;
  bool found = false;
  auto visit = [&](const StoredEvent& stored) {
    found = true;
    if (stored.event.type == "run.started") {
      const json body = json::parse(stored.event.body, nullptr, false);
      if (body.is_object()) {
        options_.seed = body.value("seed", options_.seed);
        options_.repeat = body.value("repeat", options_.repeat);
      }
    }
    if (stored.event.type.starts_with("run.")) return true;
    good = apply(restored_[stored.event.session], stored.event);
    return good.has_value();
  };
  TRY(journal.read(options_.run, visit));
  TRY(good);
  if (!found) return Err(Code::not_found, "there is no run " + options_.run + " in this journal");
  resumed_ = true;
  return {};
}

Task<Result<void>> FleetRun::run(std::vector<Input> inputs) {
  inputs_ = std::move(inputs);
  catalogue_ = co_await ok(list_tools(*fleet_.agent(fleet_.workflow.agent), toolboxes_));
  Event started{resumed_ ? "run.resumed" : "run.started", options_.run, "", "", "{}", {}};
  started.body = json{{"fleet", fleet_.name},      {"principal", options_.principal},
                      {"seed", options_.seed},     {"inputs", inputs_.size()},
                      {"repeat", options_.repeat}, {"tools", catalogue_.specs->size()}}
                     .dump();
  co_await ok(ports_.journal.append(std::move(started)));
  // Before any session spends more, and also for those that have ended.
  for (const auto& [id, state] : restored_) ledger_->restore(spent_by(state));
  for (int k = 0; k < options_.repeat; ++k) {
    for (const Input& input : inputs_) {
      const std::string id = k == 0 ? input.id : input.id + "#" + std::to_string(k + 1);
      auto session = std::make_unique<FleetSession>(FleetSession{id, &input, {}});
      if (const auto at = restored_.find(id); at != restored_.end())
        session->state = std::move(at->second);
      sessions_.push_back(std::move(session));
      if (sessions_.back()->state.end == SessionEnd::running)
        scope_.spawn(admitted(*sessions_.back()));
    }
  }
  co_await scope_.join();
  if (!failure_) co_return Err(std::move(failure_).error());
  Event ended{"run.ended", options_.run, "", "", "{}", {}};
  json body = json::object();
  for (const auto& [end, count] : progress().ends) body[std::string(to_string(end))] = count;
  ended.body = body.dump();
  co_await ok(ports_.journal.append(std::move(ended)));
  co_return Result<void>();
}

// Waits for a place, then runs the session; a failure of the journal ends the whole run.
Task<void> FleetRun::admitted(FleetSession& session) {
  const auto permit = co_await places_->acquire();
  if (!failure_) co_return;
  ++live_;
  auto result = co_await run_session(session);
  --live_;
  if (!result && failure_) failure_ = std::move(result);
}

Task<Result<void>> FleetRun::run_session(FleetSession& session) {
  const AgentSpec& agent = *fleet_.agent(fleet_.workflow.agent);
  const ModelSpec& model_spec = *fleet_.model(agent.model);
  Model& model = *models_.at(agent.model);
  SessionState& state = session.state;
  Ledger ledger("session " + session.id, agent.limits, Loop::current().now(), ledger_.get());
  ledger.restore(spent_by(state));
  TurnLoop loop(options_.run, agent, model_spec, model, catalogue_, ports_, ledger,
                session_seed(options_.seed, session.id));
  if (state.id.empty()) {
    SessionStarted started{options_.principal, agent.instructions, session.input->prompt};
    co_await ok(loop.start(state, session.id, std::move(started)));
  }
  const std::string& error = session.input->error;
  if (!error.empty()) co_return co_await loop.end(state, SessionEnd::failed, "", error);
  co_return co_await loop.run(state);
}

RunProgress FleetRun::progress() const {
  RunProgress sum;
  sum.sessions = static_cast<std::int64_t>(inputs_.size()) * options_.repeat;
  sum.live = live_;
  for (const auto& session : sessions_) {
    const SessionState& state = session->state;
    sum.turns += state.turns;
    sum.tool_calls += static_cast<std::int64_t>(state.calls.size());
    sum.input_tokens += state.usage.input_tokens;
    sum.cached_tokens += state.usage.cached_tokens;
    sum.output_tokens += state.usage.output_tokens;
    if (state.end == SessionEnd::running) continue;
    ++sum.ended;
    ++sum.ends[state.end];
  }
  return sum;
}

std::string transcript(const SessionState& state) {
  json out = {{"session", state.id}, {"agent", state.agent}, {"state", to_string(state.end)}};
  if (!state.error.empty()) out["error"] = state.error;
  for (const Message& message : state.messages)
    out["messages"].push_back(json::parse(to_json(message)));
  out["decisions"] = json::array();
  for (const CallRecord& record : state.calls) {
    out["decisions"].push_back({{"call", record.call.id},
                                {"tool", record.call.name},
                                {"verdict", to_string(record.verdict)},
                                {"policies", record.policies},
                                {"reason", record.reason},
                                {"outcome", record.outcome ? to_string(*record.outcome) : "none"}});
  }
  return out.dump(-1, ' ', false, json::error_handler_t::replace);
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
