#include "mcp/toolbox.h"

#include "async/race.h"
#include "mcp/content.h"
#include "mcp/hidden_text.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <utility>

namespace ambit::mcp {
namespace {

using agents::Outcome;
using agents::OutcomeKind;

constexpr std::size_t arguments_bytes_max = 1 << 20;
constexpr std::size_t words_bytes_max = 4096;

// The words may be the server's own: they are bounded, and what they hide is shown.
Outcome failed(OutcomeKind kind, const std::string& content, const std::string& detail) {
  Outcome outcome;
  outcome.kind = kind;
  outcome.content = revealed(rpc::utf8_prefix(content, words_bytes_max));
  outcome.detail = revealed(rpc::utf8_prefix(detail, words_bytes_max));
  return outcome;
}

// What went wrong between us and the server, as the model and the record see it.
Outcome from_error(const std::string& server, const Error& error) {
  if (error.code == Code::timeout) {
    return failed(OutcomeKind::timeout, "error: the tool did not answer in time",
                  server + ": " + error.message);
  }
  return failed(OutcomeKind::protocol_error, "error: the tool's server failed",
                server + ": " + error.message);
}

// Whether starting again can help.
bool is_lasting(Code code) {
  return code == Code::unsupported || code == Code::denied || code == Code::not_found;
}

Result<Value> read_arguments(const OfferedTool& tool, const std::string& text) {
  rpc::ParseLimits limits;
  limits.bytes_max = arguments_bytes_max;
  Value arguments = TRY(Value::parse(text.empty() ? "{}" : text, limits));
  if (!arguments.json().is_object())
    return Err(Code::invalid, "$: the arguments must be a JSON object");
  TRY(tool.input.validate(arguments.json()));
  return arguments;
}

}  // namespace

McpToolbox::McpToolbox(std::string server, Connect connect, ToolboxOptions options)
    : server_(std::move(server)),
      connect_(std::move(connect)),
      options_(std::move(options)),
      era_(options_.client.era),
      in_flight_(options_.calls_at_once) {}

const ServerFacts* McpToolbox::server() const {
  return session_ ? &session_->client.server() : nullptr;
}

Task<Result<std::vector<agents::ToolSpec>>> McpToolbox::list() {
  auto opened = co_await session();
  if (!opened) co_return Err(std::move(opened).error());
  const SessionPointer current = std::move(*opened);
  if (current->client.take_tools_changed()) {
    auto refreshed = co_await refresh(*current);
    if (!refreshed)
      co_return Err(std::move(refreshed).error().context("MCP server \"" + server_ + "\""));
  }
  std::vector<agents::ToolSpec> specs = current->catalogue->specs();
  listed_.clear();
  for (const agents::ToolSpec& spec : specs) listed_[spec.name] = spec.digest;
  problems_ = current->catalogue->problems;
  co_return specs;
}

bool McpToolbox::given_up() const {
  return deaths_ >= options_.deaths_max && Loop::current().now() - last_death_ < options_.cool_down;
}

void McpToolbox::note_death() {
  ++deaths_;
  last_death_ = Loop::current().now();
}

void McpToolbox::bury(const SessionPointer& session) {
  if (!session || session != session_ || !session->client.ended()) return;
  note_death();
  session_.reset();
}

// The living session, or a new one. One caller at a time connects; the others wait for it.
Task<Result<McpToolbox::SessionPointer>> McpToolbox::session() {
  auto permit = co_await connecting_.acquire();
  if (session_ && !session_->client.ended()) co_return session_;
  bury(session_);
  auto opened = co_await open();
  if (!opened) co_return Err(std::move(opened).error().context("MCP server \"" + server_ + "\""));
  session_ = std::move(*opened);
  co_return session_;
}

Task<Result<McpToolbox::SessionPointer>> McpToolbox::open() {
  Error last{Code::unavailable, "not started"};
  for (int attempt = 0; attempt < options_.starts_max; ++attempt) {
    if (given_up()) {
      co_return Err(Code::unavailable, "ended " + std::to_string(deaths_) +
                                           " times in a row and is not started again for now");
    }
    if (deaths_ > 0) {
      const int doublings = std::min(deaths_ - 1, 20);
      const Duration pause = std::min(options_.pause_max, options_.pause_first * (1 << doublings));
      co_await delay(pause);
    }
    auto opened = co_await open_once();
    if (opened) co_return std::move(opened);
    last = std::move(opened).error();
    note_death();
    if (is_lasting(last.code)) break;
  }
  co_return Err(std::move(last));
}

Task<Result<McpToolbox::SessionPointer>> McpToolbox::open_once() {
  ++starts_;
  auto connection = co_await with_timeout(options_.start_time, connect_());
  if (!connection) co_return Err(std::move(connection).error().context("starting it"));
  ClientOptions options = options_.client;
  options.era = era_;
  auto fresh = std::make_shared<Session>(std::move(*connection), std::move(options));
  auto connected = co_await fresh->client.connect();
  if (!connected) {
    // Older servers end at a message that they do not know: then the next start does not ask. If
    // that fails too, it was something else.
    const bool silent_end = era_ == EraChoice::automatic && fresh->client.died_at_discovery();
    era_ = silent_end ? EraChoice::legacy : options_.client.era;
    co_return Err(std::move(connected).error());
  }
  auto refreshed = co_await refresh(*fresh);
  if (!refreshed) co_return Err(std::move(refreshed).error());
  // What changes from now on, the next list() finds; a legacy server tells of it unasked.
  Interests wanted;
  wanted.tools = fresh->client.server().era == Era::modern &&
                 tells(fresh->client.server(), "tools", "listChanged");
  fresh->client.hear_of(std::move(wanted));
  co_return fresh;
}

Task<Result<void>> McpToolbox::refresh(Session& session) {
  auto list = co_await ok(session.client.list_tools());
  session.catalogue = std::make_shared<const Catalogue>(
      make_catalogue(server_, list.tools, std::move(list.rejected), options_.catalogue));
  co_return Result<void>();
}

Task<Outcome> McpToolbox::call(std::string /*session*/, agents::ToolCall call) {
  const Instant started = Loop::current().now();
  auto permit = co_await in_flight_.acquire();
  auto outcome = co_await call_now(std::move(call));
  const Duration took = Loop::current().now() - started;
  outcome.duration_us = std::chrono::duration_cast<std::chrono::microseconds>(took).count();
  co_return outcome;
}

// A call that met a server which had forgotten our session was never done: it is made once more,
// on a new one.
Task<Outcome> McpToolbox::call_now(agents::ToolCall call) {
  bool lost = false;
  agents::ToolCall again = call;
  auto outcome = co_await call_once(std::move(call), lost);
  if (lost) outcome = co_await call_once(std::move(again), lost);
  co_return outcome;
}

Task<Outcome> McpToolbox::call_once(agents::ToolCall call, bool& lost) {
  lost = false;
  auto opened = co_await session();
  if (!opened) co_return from_error(server_, opened.error());
  const SessionPointer current = std::move(*opened);
  // A listing beside this call may put another catalogue in its place.
  const std::shared_ptr<const Catalogue> catalogue = current->catalogue;
  const auto at = catalogue->tools.find(call.name);
  if (at == catalogue->tools.end()) {
    const std::string what = "there is no tool \"" + call.name + "\"";
    co_return failed(OutcomeKind::bad_arguments, "error: " + what, server_ + ": " + what);
  }
  const OfferedTool& tool = at->second;
  const auto listed = listed_.find(call.name);
  if (listed != listed_.end() && listed->second != tool.spec.digest) {
    co_return failed(
        OutcomeKind::protocol_error, "error: the tool is not what it was when it was offered",
        server_ + ": the definition of " + tool.raw_name + " has changed since it was listed");
  }
  auto arguments = read_arguments(tool, call.arguments);
  if (!arguments) {
    const std::string& why = arguments.error().message;
    co_return failed(OutcomeKind::bad_arguments, "error: the arguments do not fit: " + why, why);
  }
  auto answer =
      co_await current->client.call_tool(tool.raw_name, std::move(*arguments), options_.call);
  if (!answer) {
    lost = current->client.has_lost_session();
    bury(current);
    co_return from_error(server_, answer.error());
  }
  deaths_ = 0;
  co_return judge(tool, std::move(*answer));
}

Outcome McpToolbox::judge(const OfferedTool& tool, ToolAnswer answer) const {
  if (answer.fault) {
    const Error error = rpc::to_error(*answer.fault);
    const std::string_view shown = rpc::utf8_prefix(answer.fault->message, 2000);
    return failed(OutcomeKind::tool_error, "error: " + std::string(shown),
                  server_ + ": " + error.message);
  }
  const CallToolResult& result = answer.result;
  if (tool.output && !result.is_error) {
    if (!result.structured.present()) {
      return failed(OutcomeKind::protocol_error, "error: the tool's server failed",
                    server_ + ": " + tool.raw_name + " promises structured content and gave none");
    }
    const auto fits = tool.output->validate(result.structured.json());
    if (!fits) {
      return failed(
          OutcomeKind::protocol_error, "error: the tool's server failed",
          server_ + ": structuredContent of " + tool.raw_name + ": " + fits.error().message);
    }
  }
  Flattened flat = flatten(result, options_.content_bytes_max);
  Outcome outcome;
  outcome.content = std::move(flat.text);
  outcome.truncated = flat.truncated;
  if (flat.truncated) {
    outcome.detail = "cut to " + std::to_string(options_.content_bytes_max) + " bytes";
  }
  if (result.is_error) {
    outcome.kind = OutcomeKind::tool_error;
    if (outcome.content.rfind("error: ", 0) != 0) outcome.content = "error: " + outcome.content;
  } else if (flat.truncated) {
    outcome.kind = OutcomeKind::output_limit;
  }
  return outcome;
}

}  // namespace ambit::mcp
