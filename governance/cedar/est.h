#pragma once

// Policies in Cedar's JSON form (EST), both ways. A template keeps its slots; a link becomes a
// policy.

#include "cedar/policy.h"

#include <string>
#include <string_view>
#include <vector>

namespace ambit::cedar {

// Reads one policy object, an array of them, or a set {"staticPolicies", "templates",
// "templateLinks"}: first the policies, then the templates, then the links. Without ids they are
// "policy0", "policy1", ... Errors name the JSON path.
Result<std::vector<Policy>> parse_policies_json(std::string_view json, std::string_view source,
                                                const Limits& limits = {});

// One policy as an EST object, compact.
std::string to_json(const Policy& policy);
// A whole set: {"staticPolicies": {id: ...}, "templates": {id: ...}, "templateLinks": []}.
std::string to_json(const std::vector<Policy>& policies);

}  // namespace ambit::cedar
