#pragma once

// The paths of the REST binding (A2A 1.0, section 11.3), each also below a tenant: which operation
// a method and path mean, and its parameters from path, query and body in one JSON object. Pure.

#include "a2a/operations.h"

#include <optional>
#include <string>
#include <string_view>

namespace ambit::a2a {

struct RestRoute {
  bool is_known = false;  // some method fits the path
  std::optional<Operation> operation;
  std::string tenant;
  std::string id;
  std::string config_id;
  bool has_body = false;
};
RestRoute find_rest_route(std::string_view method, std::string_view path);

// The paths of 0.3, which begin with "/v1/".
RestRoute find_old_rest_route(std::string_view method, std::string_view path);

// What the client says in path and query goes over what it says in the body.
Answer<rpc::Value> rest_params(const RestRoute& route, std::string_view query, rpc::Value body);

}  // namespace ambit::a2a
