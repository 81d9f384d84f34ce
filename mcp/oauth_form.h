#pragma once

// Form: what OAuth's endpoints take and give in queries and bodies (application/
// x-www-form-urlencoded), and small questions to their metadata. Internal to mcp.

#include "rpc/value.h"

#include <map>
#include <string>
#include <string_view>

namespace ambit::mcp {

using Form = std::map<std::string, std::string>;

std::string escaped(std::string_view text);
std::string to_query(const Form& form);
Form from_query(std::string_view query);

// A member that is text; empty if it is none.
std::string text_in(const rpc::Json& json, const char* key);
// Whether the member is an array with this text in it.
bool lists(const rpc::Json& json, const char* key, std::string_view wanted);
// SHA-256 of the text, in base64url.
std::string sha256_base64url(std::string_view text);

}  // namespace ambit::mcp
