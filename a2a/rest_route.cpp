#include "a2a/rest_route.h"

#include "a2a/v0_3_shape.h"
#include "http/target.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <charconv>

namespace ambit::a2a {
namespace {

using rpc::Json;

bool is_number(std::string_view text, std::int64_t& out) {
  const auto [end, fault] = std::from_chars(text.data(), text.data() + text.size(), out);
  return !text.empty() && fault == std::errc() && end == text.data() + text.size();
}

// A query has text alone; the members of requests that are none get their kind here. What does not
// fit stays text, and reading the request finds the fault.
Json query_value(const std::string& name, const std::string& text) {
  std::int64_t number = 0;
  if ((name == "pageSize" || name == "historyLength") && is_number(text, number)) return number;
  if (name == "includeArtifacts" && (text == "true" || text == "false")) return text == "true";
  return text;
}

void route_task(RestRoute& route, std::string_view method, const std::string& segment) {
  const std::size_t colon = segment.rfind(':');
  const std::string verb = colon == std::string::npos ? "" : segment.substr(colon);
  const bool has_verb = verb == ":cancel" || verb == ":subscribe";
  route.id = has_verb ? segment.substr(0, colon) : segment;
  route.is_known = true;
  if (!has_verb && method == "GET") route.operation = Operation::get;
  if (verb == ":cancel" && method == "POST") route.operation = Operation::cancel;
  // The text of the specification says POST, its proto says GET.
  if (verb == ":subscribe" && (method == "GET" || method == "POST")) {
    route.operation = Operation::subscribe;
  }
  route.has_body = has_verb && method == "POST";
}

void route_configs(RestRoute& route, std::string_view method, bool has_id) {
  route.is_known = true;
  if (!has_id && method == "GET") route.operation = Operation::list_push;
  if (!has_id && method == "POST") route.operation = Operation::create_push;
  if (has_id && method == "GET") route.operation = Operation::get_push;
  if (has_id && method == "DELETE") route.operation = Operation::delete_push;
  route.has_body = method == "POST";
}

}  // namespace

RestRoute find_rest_route(std::string_view method, std::string_view path) {
  RestRoute route;
  auto segments = http::split_path(path);
  if (!segments) return route;
  const auto is_first = [](const std::string& segment) {
    return segment == "tasks" || segment == "message:send" || segment == "message:stream" ||
           segment == "extendedAgentCard";
  };
  if (segments->size() > 1 && !is_first(segments->front())) {
    route.tenant = segments->front();
    segments->erase(segments->begin());
  }
  const std::size_t size = segments->size();
  const std::string& first = segments->front();
  if (!is_first(first) || std::count(segments->begin(), segments->end(), "") > 0) return route;
  if (first != "tasks") {
    if (size > 1) return route;
    route.is_known = true;
    if (first == "extendedAgentCard") {
      if (method == "GET") route.operation = Operation::extended_card;
    } else if (method == "POST") {
      route.operation = first == "message:send" ? Operation::send : Operation::stream;
      route.has_body = true;
    }
  } else if (size == 1) {
    route.is_known = true;
    if (method == "GET") route.operation = Operation::list;
  } else if (size == 2) {
    route_task(route, method, (*segments)[1]);
  } else if (size <= 4 && (*segments)[2] == "pushNotificationConfigs") {
    route.id = (*segments)[1];
    if (size == 4) route.config_id = (*segments)[3];
    route_configs(route, method, size == 4);
  }
  return route;
}

RestRoute find_old_rest_route(std::string_view method, std::string_view path) {
  path.remove_prefix(std::string_view("/v1").size());
  RestRoute route;
  if (path == "/card") {
    route.is_known = true;
    if (method == "GET") route.operation = Operation::extended_card;
    return route;
  }
  route = find_rest_route(method, path);
  // 0.3 knew no list, no tenants, and another name for the card.
  const bool is_new = route.operation == Operation::list || !route.tenant.empty() ||
                      route.operation == Operation::extended_card;
  return is_new ? RestRoute() : route;
}

Answer<rpc::Value> rest_params(const RestRoute& route, std::string_view query, rpc::Value body) {
  Json params = body.present() ? std::move(body.edit()) : Json::object();
  if (!params.is_object()) return Fail(Fault::invalid_params, "the body must be a JSON object");
  const auto pairs = http::split_query(query);
  if (!pairs) return Fail(Fault::invalid_params, "the query holds a broken escape");
  if (!route.has_body) {
    for (const auto& [name, value] : *pairs) {
      const std::string member = v0_3_shape::json_name(name);
      params[member] = query_value(member, value);
    }
  }
  if (!route.tenant.empty()) params["tenant"] = route.tenant;
  const bool is_push =
      route.operation == Operation::create_push || route.operation == Operation::get_push ||
      route.operation == Operation::list_push || route.operation == Operation::delete_push;
  if (!route.id.empty()) params[is_push ? "taskId" : "id"] = route.id;
  if (!route.config_id.empty()) params["id"] = route.config_id;
  return rpc::Value(std::move(params));
}

}  // namespace ambit::a2a
