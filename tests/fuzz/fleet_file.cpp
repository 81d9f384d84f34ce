// Any text as a fleet file: it is sound, or every problem has a place and a message.

#include "agents/fleet.h"
#include "async/check.h"

#include <cstdint>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  ambit::agents::FleetContext context;
  context.directory = "/fleet";
  context.environment = [](const std::string&) { return std::optional<std::string>("value"); };
  const auto file = ambit::agents::parse_fleet(text, context);
  for (const auto& problem : file.problems) {
    INVARIANT(!problem.message.empty());
    INVARIANT(problem.line >= 0 && problem.column >= 0);
  }
  const std::string& first = file.fleet.workflow.agent;
  if (file.problems.empty()) INVARIANT(first.empty() || file.fleet.agent(first) != nullptr);
  return 0;
}
