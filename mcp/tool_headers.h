#pragma once

// Tool arguments that travel in HTTP headers too (x-mcp-header, MCP 2026-07-28): which of a tool's
// properties, how a value is written, and whether what came fits the body. Shared by both sides.

#include "rpc/value.h"

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace ambit::mcp {

struct HeaderParameter {
  std::vector<std::string> path;  // of the property within the arguments
  std::string header;             // "Mcp-Param-Region"
  friend bool operator==(const HeaderParameter&, const HeaderParameter&) = default;
};
using HeaderParameters = std::vector<HeaderParameter>;

// Of a tool's input schema. An error says which annotation is wrong: such a tool must not be used.
Result<HeaderParameters> header_parameters(const rpc::Json& input_schema);

// The header's value for this argument; none for null, for what is no primitive and for what is
// not there.
std::optional<std::string> header_value(const rpc::Json& arguments,
                                        const HeaderParameter& parameter);
// As it stands if that is safe in a header, else "=?base64?...?=".
std::string encode_header(std::string_view text);
// The text behind a header's value. An error: it claims to be base64 and is not.
Result<std::string> decode_header(std::string_view value);

// The member of a request's params that the header Mcp-Name repeats; null: none.
const char* named_by(const std::string& method);

}  // namespace ambit::mcp
