// What stands in the headers of an MCP request. The first byte of the input says what the rest is:
// a header's value, a text that becomes one, or a tool's schema with x-mcp-header.

#include "async/check.h"
#include "http/message.h"
#include "mcp/tool_headers.h"

#include <nlohmann/json.hpp>

#include <cstdint>

using namespace ambit;

namespace {

void write_and_read(std::string_view text) {
  const std::string value = mcp::encode_header(text);
  INVARIANT(http::is_header_value(value));
  const auto back = mcp::decode_header(value);
  INVARIANT(back.has_value());
  INVARIANT(*back == text);
}

void read(std::string_view value) {
  const auto text = mcp::decode_header(value);
  if (text) write_and_read(*text);
}

void annotate(std::string_view bytes) {
  const auto schema = rpc::Value::parse(bytes);
  if (!schema) return;
  const auto parameters = mcp::header_parameters(schema->json());
  if (!parameters) return;
  for (const mcp::HeaderParameter& parameter : *parameters) {
    INVARIANT(http::is_token(parameter.header));
    INVARIANT(parameter.header.starts_with("Mcp-Param-"));
    // Whatever the arguments are; here they are the schema itself.
    const auto value = mcp::header_value(schema->json(), parameter);
    if (value) write_and_read(*value);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view rest(reinterpret_cast<const char*>(data) + 1, size - 1);
  switch (data[0] % 3) {
    case 0:
      read(rest);
      break;
    case 1:
      write_and_read(rest);
      break;
    default:
      annotate(rest);
  }
  return 0;
}
