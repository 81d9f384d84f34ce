#include "agents/command_tools.h"

#include "agents/json_writer.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <optional>
#include <string_view>
#include <utility>

namespace ambit::agents {
namespace {

using Json = nlohmann::ordered_json;

std::string as_text(const Json& value) {
  return value.is_string() ? value.get<std::string>() : value.dump();
}

// Tells what a command writes as to_outcome() will have it: without the newlines at its end, which
// may be here.
class Teller {
 public:
  explicit Teller(OnOutput tell) : tell_(std::move(tell)) {}

  void hear(std::string_view bytes) {
    std::string text = begun_;
    text += bytes;
    begun_ = text.substr(whole_characters(text));
    text.resize(text.size() - begun_.size());
    const std::size_t end = text.find_last_not_of('\n') + 1;
    const std::size_t newlines = text.size() - end;
    text.resize(end);
    if (text.empty()) {
      newlines_ += newlines;
      return;
    }
    tell_(std::string(std::exchange(newlines_, newlines), '\n') + text);
  }

 private:
  OnOutput tell_;
  std::string begun_;  // the beginning of a character
  std::size_t newlines_ = 0;
};

// What the model reads of a call that ended.
Outcome to_outcome(JailOutcome ended) {
  Outcome outcome;
  outcome.kind = ended.kind;
  outcome.truncated = ended.truncated;
  outcome.detail = ended.detail;
  outcome.content = std::move(ended.output);
  while (!outcome.content.empty() && outcome.content.back() == '\n') outcome.content.pop_back();
  if (ended.kind == OutcomeKind::ok && ended.exit_code != 0) {
    outcome.kind = OutcomeKind::tool_error;
    outcome.detail = "exit status " + std::to_string(ended.exit_code);
    std::string said = ended.errors.substr(0, ended.errors.find('\n')).substr(0, 400);
    if (said.empty()) said = outcome.content.substr(0, 400);
    outcome.content = "error: " + (said.empty() ? outcome.detail : said);
  } else if (outcome.is_error()) {
    outcome.content = "error: " + std::string(to_string(outcome.kind)) +
                      (outcome.detail.empty() ? "" : ": " + outcome.detail);
  }
  // For the record, which keeps the detail.
  if (!ended.isolation.empty()) outcome.detail += "; " + ended.isolation;
  return outcome;
}

}  // namespace

CommandTools::CommandTools(const Fleet& fleet, Runner& runner, WorkDirectory work_directory,
                           AgentOf agent_of)
    : fleet_(fleet),
      runner_(runner),
      work_directory_(std::move(work_directory)),
      agent_of_(std::move(agent_of)) {}

Task<Result<std::vector<ToolSpec>>> CommandTools::list() {
  std::vector<ToolSpec> specs;
  for (const CommandToolSpec& tool : fleet_.tools) specs.push_back(tool.spec);
  co_return specs;
}

Result<JailCall> jail_call(const Fleet& fleet, const CommandToolSpec& tool,
                           const std::string& arguments, const std::string& work_directory) {
  const Json given = Json::parse(arguments, nullptr, false);
  if (!given.is_object()) return Err(Code::invalid, "the arguments are not a JSON object");
  const Json schema = Json::parse(tool.spec.input_schema, nullptr, false);
  auto value = [&](std::string_view name) -> std::optional<std::string> {
    if (name == "workdir") return work_directory;
    if (name == "fleetdir") return fleet.directory;
    if (name == "arguments") return arguments;
    const std::string key(name);
    if (const auto at = given.find(key); at != given.end()) return as_text(*at);
    if (schema.is_object() && schema.contains("properties") && schema["properties"].contains(key))
      return "";
    return std::nullopt;
  };
  JailCall call;
  const Profile* profile = fleet.profile(tool.profile);
  if (profile == nullptr) return Err(Code::invalid, "there is no profile \"" + tool.profile + "\"");
  call.profile = *profile;
  for (std::string& path : call.profile.read_paths) path = TRY(expand(path, value));
  for (std::string& path : call.profile.write_paths) path = TRY(expand(path, value));
  for (const std::string& part : tool.command) call.command.push_back(TRY(expand(part, value)));
  call.input = TRY(expand(tool.input, value));
  for (const std::string& part : call.command) {
    if (part.find('\0') != std::string::npos)
      return Err(Code::invalid, "an argument holds a NUL byte");
  }
  const auto& writes = call.profile.write_paths;
  const auto& reads = call.profile.read_paths;
  call.directory = !writes.empty() ? writes.front() : !reads.empty() ? reads.front() : "/tmp";
  return call;
}

Task<Outcome> CommandTools::call(std::string session, ToolCall call) {
  return call_aloud(std::move(session), std::move(call), nullptr);
}

Task<Outcome> CommandTools::call_aloud(std::string session, ToolCall call, OnOutput on_output) {
  const bool is_heard = on_output != nullptr;
  Outcome outcome;
  const auto at =
      std::find_if(fleet_.tools.begin(), fleet_.tools.end(),
                   [&](const CommandToolSpec& tool) { return tool.spec.name == call.name; });
  if (at == fleet_.tools.end()) {
    outcome.kind = OutcomeKind::refused;
    outcome.content = "error: there is no tool \"" + call.name + "\"";
    co_return outcome;
  }
  auto directory = work_directory_(session);
  Result<JailCall> jailed = directory ? jail_call(fleet_, *at, call.arguments, *directory)
                                      : Result<JailCall>(Err(std::move(directory).error()));
  if (!jailed) {
    outcome.kind =
        jailed.error().code == Code::invalid ? OutcomeKind::bad_arguments : OutcomeKind::refused;
    outcome.detail = jailed.error().message;
    outcome.content = "error: " + outcome.detail;
    co_return outcome;
  }
  // Without a name for its agent, a session shares no jail with another.
  jailed->agent = agent_of_ ? agent_of_(session) : session;
  jailed->session = session;
  Teller teller(std::move(on_output));
  if (is_heard) jailed->on_output = [&teller](std::string_view bytes) { teller.hear(bytes); };
  JailOutcome ended = co_await runner_.run(std::move(*jailed));
  co_return to_outcome(std::move(ended));
}

}  // namespace ambit::agents
