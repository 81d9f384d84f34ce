#pragma once

// What the readers of JSON share: entities, values, policies (EST) and schemas. `path` is the JSON
// path so far, for messages.

#include "cedar/value.h"

#include <nlohmann/json_fwd.hpp>

#include <string>
#include <string_view>

namespace ambit::cedar {

// Text that is not JSON, or nested too deep, is refused.
Result<nlohmann::json> read_json(std::string_view text);
tl::unexpected<Error> bad(const std::string& path, const std::string& what);
// Null if `object` is none, or has no such member.
const nlohmann::json* member(const nlohmann::json& object, const char* name);
Result<std::string> text_of(const nlohmann::json& object, const char* name,
                            const std::string& path);
// {"type": "T", "id": "i"}, or that inside of {"__entity": ...}.
Result<EntityUid> uid_of(const nlohmann::json& value, const std::string& path);
Result<Value> json_value(const nlohmann::json& value, const std::string& path);

}  // namespace ambit::cedar
