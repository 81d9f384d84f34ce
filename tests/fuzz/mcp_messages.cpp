// What an MCP server or client may send, as JSON, in every place where it is read: what is taken
// survives being written and read again, and what a model gets to see is bounded and hides nothing.

#include "async/check.h"
#include "mcp/catalogue.h"
#include "mcp/content.h"
#include "mcp/gateway.h"
#include "mcp/hidden_text.h"
#include "mcp/questions.h"
#include "mcp/skill.h"
#include "mcp/task_record.h"

#include <nlohmann/json.hpp>

#include <cstdint>

using namespace ambit;

namespace {

template <class T>
void round_trip(const rpc::Value& value) {
  T first;
  if (!mcp::from_value(value, first)) return;
  T second;
  const auto again = mcp::from_value(mcp::to_value(first), second);
  INVARIANT(again.has_value());
  INVARIANT(second == first);
}

void show(const rpc::Value& value) {
  constexpr std::size_t bytes_max = 200;
  mcp::CallToolResult result;
  if (!mcp::from_value(value, result)) return;
  const mcp::Flattened flat = mcp::flatten(result, bytes_max);
  INVARIANT(flat.text.size() <= bytes_max);
  INVARIANT(!mcp::hides_text(flat.text));
}

void offer(const rpc::Value& value) {
  mcp::ListToolsResult list;
  if (!mcp::from_value(value, list)) return;
  const mcp::Catalogue made = mcp::make_catalogue("desk", list.tools, {}, {});
  for (const agents::ToolSpec& spec : made.specs()) {
    INVARIANT(spec.name.size() <= 64 && spec.name.starts_with("mcp__desk__"));
    INVARIANT(!mcp::hides_text(spec.description) && !mcp::hides_text(spec.input_schema));
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto value = rpc::Value::parse({reinterpret_cast<const char*>(data), size});
  if (!value) return 0;
  round_trip<mcp::InitializeParams>(*value);
  round_trip<mcp::InitializeResult>(*value);
  round_trip<mcp::DiscoverResult>(*value);
  round_trip<mcp::ListToolsParams>(*value);
  round_trip<mcp::CallToolParams>(*value);
  round_trip<mcp::ProgressParams>(*value);
  round_trip<mcp::CancelledParams>(*value);
  round_trip<mcp::SkillEntry>(*value);
  show(*value);
  offer(*value);
  mcp::TaskRecord record;
  static_cast<void>(mcp::from_value(*value, record));
  mcp::Pins pins;
  static_cast<void>(mcp::from_value(*value, pins));
  static_cast<void>(mcp::why_not_ask("elicitation/create", *value));
  return 0;
}
