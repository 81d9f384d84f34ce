// Any text as the chat template of a model: it is refused, or it renders a conversation, twice the
// same, within its bounds of output; what it costs is for the fuzzer's limits of time and memory.

#include "inference/template.h"

#include <nlohmann/json.hpp>

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

namespace {

const nlohmann::ordered_json& conversation() {
  static const auto parsed = nlohmann::ordered_json::parse(R"({
    "bos_token": "<s>", "eos_token": "</s>", "add_generation_prompt": true,
    "messages": [
      {"role": "system", "content": " Be brief.\n"},
      {"role": "user", "content": "W\u00f6rld, <tool_call>?"},
      {"role": "assistant", "content": "<think>a\nb</think>c", "tool_calls": [
        {"id": "1", "type": "function",
         "function": {"name": "look", "arguments": {"at": "mail", "n": [1, 2.5, null]}}}]},
      {"role": "tool", "name": "look", "tool_call_id": "1", "content": "{\"owner\": \"blue\"}"},
      {"role": "user", "content": ""}],
    "tools": [{"type": "function", "function": {"name": "look", "description": "Looks.",
      "parameters": {"type": "object", "properties": {"at": {"type": "string"}},
                     "required": ["at"]}}}]})");
  return parsed;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace ambit::inference;
  TemplateLimits limits;
  limits.steps_max = 50'000;
  limits.output_bytes_max = 1U << 20U;
  const auto parsed = Template::parse({reinterpret_cast<const char*>(data), size}, limits);
  if (!parsed) return 0;
  const auto text = parsed->render(conversation());
  const auto again = parsed->render(conversation());
  if (text.has_value() != again.has_value()) std::abort();
  if (!text) return 0;
  if (*text != *again || text->size() > limits.output_bytes_max) std::abort();
  return 0;
}
