#include "a2a/remote_tools.h"

#include "agents/gate.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <utility>

namespace ambit::a2a {
namespace {

using agents::OutcomeKind;
using rpc::Json;

constexpr std::string_view prefix = "agent__";
constexpr std::size_t actors_max = 32;
constexpr std::size_t name_bytes_max = 256;

agents::Outcome outcome(OutcomeKind kind, std::string text) {
  agents::Outcome made = agents::Outcome::failed(kind, std::move(text));
  if (!made.is_error()) made.content = std::exchange(made.detail, "");
  return made;
}

std::string text_of(const std::vector<Part>& parts) {
  std::string text;
  for (const Part& part : parts) {
    if (part.kind == Part::Kind::text) text += part.text;
    if (part.kind == Part::Kind::data) text += part.data.text();
    if (part.kind == Part::Kind::url) text += "[file " + part.text + "]";
    if (part.kind == Part::Kind::raw) text += "[file " + part.filename + "]";
  }
  return text;
}

std::string answer_of(const TaskRecord& task) {
  std::string text;
  for (const Artifact& artifact : task.artifacts) {
    text += (text.empty() ? "" : "\n") + text_of(artifact.parts);
  }
  if (text.empty() && task.status.message) text = text_of(task.status.message->parts);
  return text;
}

// The one place where a remote task's state becomes the outcome of a call.
agents::Outcome outcome_of(const TaskRecord& task, const std::string& agent) {
  const std::string words = task.status.message ? text_of(task.status.message->parts) : "";
  const std::string who = "the agent " + agent;
  switch (task.status.state) {
    case TaskState::completed:
      return outcome(OutcomeKind::ok, answer_of(task));
    case TaskState::rejected:
      return outcome(OutcomeKind::denied, who + " refused: " + words);
    case TaskState::auth_required:
      return outcome(OutcomeKind::escalated, who + " waits for a person: " + words);
    case TaskState::input_required:
      return outcome(OutcomeKind::tool_error, who + " asks: " + words);
    case TaskState::canceled:
      return outcome(OutcomeKind::tool_error, "the task of " + who + " was cancelled");
    default:
      return outcome(OutcomeKind::tool_error, who + " failed: " + words);
  }
}

agents::Outcome outcome_of(const Failure& failure, const std::string& agent) {
  const std::string text = "the agent " + agent + ": " + failure.message;
  switch (failure.fault) {
    case Fault::unauthenticated:
    case Fault::permission_denied:
      return outcome(OutcomeKind::denied, text);
    case Fault::invalid_params:
    case Fault::content_type_not_supported:
      return outcome(OutcomeKind::bad_arguments, text);
    default:
      return outcome(OutcomeKind::protocol_error, text);
  }
}

}  // namespace

Json to_json(const Delegation& delegation) {
  Json json = Json::object();
  if (!delegation.person.empty()) json["sub"] = delegation.person;
  // RFC 8693: who acts now, and in it who acted before.
  Json act;
  for (auto at = delegation.actors.rbegin(); at != delegation.actors.rend(); ++at) {
    Json one = {{"sub", *at}};
    if (!act.is_null()) one["act"] = std::move(act);
    act = std::move(one);
  }
  if (!act.is_null()) json["act"] = std::move(act);
  return json;
}

Result<std::optional<Delegation>> read_delegation(const rpc::Value& metadata) {
  std::optional<Delegation> found;
  const Json& json = metadata.json();
  if (!json.is_object() || !json.contains(Delegation::uri)) return found;
  const auto unsound = [] {
    return Err(Code::invalid,
               std::string("metadata: ") + Delegation::uri + " is no chain of \"sub\" and \"act\"");
  };
  const auto name_of = [](const Json& one) {
    const auto at = one.find("sub");
    return at != one.end() && at->is_string() ? at->get<std::string>() : std::string();
  };
  found.emplace();
  const Json* at = &json[Delegation::uri];
  if (!at->is_object()) return unsound();
  found->person = name_of(*at);
  while (at->contains("act")) {
    at = &(*at)["act"];
    std::string name = at->is_object() ? name_of(*at) : "";
    const bool is_sound = !name.empty() && name.size() <= name_bytes_max &&
                          name.find('\0') == std::string::npos && found->actors.size() < actors_max;
    if (!is_sound) return unsound();
    found->actors.push_back(std::move(name));
  }
  return found;
}

Delegation delegation_of(const agents::Roster::Entry& session, const std::string& fleet) {
  Delegation delegation;
  const agents::Roster::Entry* first = &session;
  for (const agents::Roster::Entry* by = &session; by != nullptr; by = by->parent) {
    delegation.actors.push_back(fleet + "/" + by->agent.name);
    first = by;
  }
  const agents::Outside& asked = *first->outside;
  delegation.actors.insert(delegation.actors.end(), asked.through.rbegin(), asked.through.rend());
  delegation.person = asked.person.empty() ? first->agent.owner : asked.person;
  return delegation;
}

std::string RemoteTools::tool_name(const std::string& agent) {
  return std::string(prefix) + agent;
}

// Tells the remote agent that nobody waits any more, unless its task has been heard to end.
class RemoteTools::Cancelling {
 public:
  Cancelling(RemoteTools& tools, RemoteAgent& agent) : tools_(tools), agent_(agent) {}
  Cancelling(const Cancelling&) = delete;
  Cancelling& operator=(const Cancelling&) = delete;
  ~Cancelling() {
    if (!task_id.empty()) tools_.cancelling_.spawn(tools_.cancel(agent_, task_id));
  }
  std::string task_id;

 private:
  RemoteTools& tools_;
  RemoteAgent& agent_;
};

RemoteTools::RemoteTools(http::Client& http, std::vector<RemoteSpec> specs,
                         RemoteToolsOptions options)
    : http_(http), options_(std::move(options)) {
  for (RemoteSpec& spec : specs) {
    Remote remote;
    DirectoryOptions directory;
    directory.token = spec.token;
    directory.trusted = spec.trusted;
    remote.directory = std::make_unique<Directory>(http_, std::move(directory));
    const std::string name = tool_name(spec.name);
    remote.spec = std::move(spec);
    remotes_.emplace(name, std::move(remote));
  }
}

RemoteTools::~RemoteTools() = default;

Task<void> RemoteTools::cancel(RemoteAgent& agent, std::string task_id) {
  co_await agent.cancel(std::move(task_id));
}

Task<Result<void>> RemoteTools::connect(Remote& remote) {
  auto found = co_await remote.directory->find(remote.spec.card_url);
  if (!found) {
    co_return Err(Code::unavailable, "agent " + remote.spec.name + ": " + found.error().message);
  }
  ClientOptions options;
  options.token = remote.spec.token;
  options.grpc = options_.grpc;
  auto agent = RemoteAgent::create(http_, (*found)->card, (*found)->url, std::move(options));
  if (!agent) {
    co_return Err(Code::unavailable, "agent " + remote.spec.name + ": " + agent.error().message);
  }
  remote.agent = std::move(*agent);
  co_return Result<void>();
}

Task<Result<std::vector<agents::ToolSpec>>> RemoteTools::list() {
  std::vector<agents::ToolSpec> specs;
  for (auto& [name, remote] : remotes_) {
    if (!remote.agent) co_await ok(connect(remote));
    agents::ToolSpec spec;
    spec.name = name;
    spec.agent = remote.spec.name;
    spec.description = "Give the agent " + remote.spec.name + " a task and get its answer. " +
                       remote.agent->card().description;
    spec.input_schema =
        R"({"type":"object","properties":{"task":{"type":"string"}},"required":["task"],"additionalProperties":false})";
    // What it does out there nobody here sees; its task is found again by its message.
    spec.read_only = false;
    spec.destructive = true;
    spec.idempotent = true;
    specs.push_back(std::move(spec));
  }
  co_return specs;
}

Task<agents::Outcome> RemoteTools::call(std::string session, agents::ToolCall call) {
  const auto at = remotes_.find(call.name);
  if (at == remotes_.end()) {
    co_return outcome(OutcomeKind::refused, "there is no agent " + call.name);
  }
  agents::Roster::Entry* entry = nullptr;
  agents::Hold hold;
  const agents::Cost one{0, 0, 0, 0, 1};
  if (options_.roster != nullptr) {
    entry = options_.roster->find(session);
    if (entry == nullptr) {
      co_return outcome(OutcomeKind::refused, "the session " + session + " cannot delegate");
    }
    const auto reserved = entry->ledger.reserve(one, Loop::current().now());
    if (!reserved) co_return outcome(OutcomeKind::refused, reserved.error().message);
    hold = agents::Hold(entry->ledger, one);
  }
  auto done = co_await delegate(at->second, std::move(session), std::move(call));
  hold.settle(one, false);
  co_return done;
}

Task<agents::Outcome> RemoteTools::delegate(Remote& remote, std::string session,
                                            agents::ToolCall call) {
  const auto arguments = rpc::Value::parse(call.arguments);
  const Json* task = nullptr;
  if (arguments && arguments->json().is_object() && arguments->json().contains("task")) {
    task = &arguments->json()["task"];
  }
  if (task == nullptr || !task->is_string()) {
    co_return outcome(OutcomeKind::bad_arguments, "task: must be a text");
  }
  SendRequest request;
  request.message.id = session + "." + call.id;
  Delegation delegation;
  if (options_.delegation_of) {
    delegation = options_.delegation_of(session);
  } else if (options_.roster != nullptr) {
    const agents::Roster::Entry& entry = *options_.roster->find(session);
    delegation = a2a::delegation_of(entry, options_.fleet);
    // Sessions of two runs may have one name.
    request.message.id = entry.run + "/" + request.message.id;
  }
  if (delegation.actors.size() > options_.depth_max) {
    co_return outcome(OutcomeKind::denied, "agents have called agents to the depth of " +
                                               std::to_string(options_.depth_max) +
                                               "; no further one is called");
  }
  request.message.role = Role::user;
  request.message.parts.push_back(text_part(task->get<std::string>()));
  if (delegation != Delegation()) {
    Json metadata = Json::object();
    metadata[Delegation::uri] = to_json(delegation);
    request.message.metadata = rpc::Value(std::move(metadata));
  }
  if (!remote.agent) {
    auto connected = co_await connect(remote);
    if (!connected) {
      co_return outcome(OutcomeKind::protocol_error, connected.error().message);
    }
  }
  co_return co_await ask(remote, std::move(request));
}

// Sends, and follows the task to where it ends or needs somebody.
Task<agents::Outcome> RemoteTools::ask(Remote& remote, SendRequest request) {
  Cancelling cancelling(*this, *remote.agent);
  const std::string& name = remote.spec.name;
  if (!remote.agent->card().has_streaming) {
    auto reply = co_await remote.agent->send(std::move(request));
    if (!reply) co_return outcome_of(reply.error(), name);
    if (const auto* message = std::get_if<Message>(&*reply)) {
      co_return outcome(OutcomeKind::ok, text_of(message->parts));
    }
    co_return outcome_of(std::get<TaskRecord>(*reply), name);
  }
  auto stream = co_await remote.agent->stream(std::move(request));
  if (!stream) co_return outcome_of(stream.error(), name);
  TaskRecord task;
  std::size_t bytes = 0;
  while (true) {
    auto event = co_await (*stream)->next();
    if (!event) co_return outcome_of(event.error(), name);
    if (!*event) break;
    StreamEvent& heard = **event;
    if (auto* message = std::get_if<Message>(&heard)) {
      co_return outcome(OutcomeKind::ok, text_of(message->parts));
    }
    if (auto* whole = std::get_if<TaskRecord>(&heard)) task = std::move(*whole);
    if (auto* status = std::get_if<StatusUpdate>(&heard)) task.status = std::move(status->status);
    if (auto* chunk = std::get_if<ArtifactUpdate>(&heard)) {
      Artifact& artifact = chunk->artifact;
      bytes += text_of(artifact.parts).size();
      const auto known = std::find_if(task.artifacts.begin(), task.artifacts.end(),
                                      [&](const Artifact& one) { return one.id == artifact.id; });
      if (known == task.artifacts.end()) {
        task.artifacts.push_back(std::move(artifact));
      } else if (chunk->append) {
        known->parts.insert(known->parts.end(), artifact.parts.begin(), artifact.parts.end());
      } else {
        *known = std::move(artifact);
      }
    }
    cancelling.task_id = (*stream)->task_id();
    if (bytes > options_.answer_bytes_max) {
      co_return outcome(OutcomeKind::output_limit,
                        std::string(rpc::utf8_prefix(answer_of(task), options_.answer_bytes_max)));
    }
  }
  // Who waits for its client is not at work; it stays as it is.
  cancelling.task_id.clear();
  co_return outcome_of(task, name);
}

}  // namespace ambit::a2a
