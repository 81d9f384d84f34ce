#include "registry.h"

#include <nlohmann/json.hpp>

#include <fstream>
#include <iterator>
#include <utility>

namespace registry {
namespace {

using ambit::Code;
using ambit::Err;
using ambit::Result;
using ambit::rpc::Json;
using ambit::rpc::Schema;
using ambit::rpc::Value;

constexpr const char* file_schema = R"({
  "type": "object", "required": ["services"], "properties": {"services": {
    "type": "array", "items": {
      "type": "object", "required": ["name", "owner", "environment", "host", "runbook"],
      "properties": {
        "name": {"type": "string"}, "owner": {"type": "string"}, "host": {"type": "string"},
        "environment": {"enum": ["production", "staging"]}, "runbook": {"type": "string"},
        "symptoms": {"type": "object", "additionalProperties": {"type": "string"}}}}}}})";

Json object_schema(const std::vector<std::pair<const char*, const char*>>& properties,
                   std::size_t required) {
  Json schema = {{"type", "object"}, {"properties", Json::object()}, {"required", Json::array()}};
  for (std::size_t i = 0; i < properties.size(); ++i) {
    const auto& [name, description] = properties[i];
    schema["properties"][name] = {{"type", "string"}, {"description", description}};
    if (i < required) schema["required"].push_back(name);
  }
  schema["additionalProperties"] = false;
  return schema;
}

const Json* find_service(const Json& services, const std::string& name) {
  for (const Json& service : services) {
    if (service["name"] == name) return &service;
  }
  return nullptr;
}

Result<Value> lookup_host(const Json& services, const std::string& host) {
  Json found;
  std::string names;
  for (const Json& service : services) {
    if (service["host"] != host) continue;
    names += (names.empty() ? "" : ", ") + service["name"].get<std::string>();
    found = {{"host", host}, {"environment", service["environment"]}, {"owner", service["owner"]}};
  }
  if (names.empty()) return Err(Code::not_found, "not found: host " + host);
  found["services"] = names;
  return Value(found);
}

Result<Value> get_runbook(const Json& service, const std::string& symptom) {
  Json found = {{"service", service["name"]}, {"runbook", service["runbook"]}};
  if (!symptom.empty() && service.contains("symptoms") && service["symptoms"].contains(symptom)) {
    found["runbook"] = service["symptoms"][symptom];
  }
  return Value(found);
}

}  // namespace

Result<Registry> Registry::load(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return Err(Code::not_found, "cannot open " + path);
  const std::string text((std::istreambuf_iterator<char>(file)), {});
  auto data = Value::parse(text);
  if (!data) return Err(std::move(data).error().context(path));
  const Schema schema = TRY(Schema::parse(file_schema));
  if (auto fits = schema.validate(data->json()); !fits)
    return Err(std::move(fits).error().context(path));
  return Registry(std::move(*data));
}

const std::vector<Tool>& Registry::tools() {
  static const std::vector<Tool> all = {
      {"get_runbook", "Get the runbook of a service",
       object_schema({{"service", "name of the service"}, {"symptom", "what is wrong"}}, 1)},
      {"list_runbooks", "List the runbooks", object_schema({}, 0)},
      {"lookup_host", "Look up a host", object_schema({{"host", "name of the host"}}, 1)},
      {"lookup_service", "Look up a service: owner, environment, host, runbook",
       object_schema({{"service", "name of the service"}}, 1)},
  };
  return all;
}

Result<Value> Registry::call(const std::string& tool, const Json& arguments) const {
  const Json& services = data_.json()["services"];
  if (tool == "list_runbooks") {
    Json found = Json::object();
    for (const Json& service : services)
      found[service["name"].get<std::string>()] = service["runbook"];
    return Value(found);
  }
  if (tool == "lookup_host") return lookup_host(services, arguments["host"].get<std::string>());
  const std::string name = arguments["service"].get<std::string>();
  const Json* service = find_service(services, name);
  if (service == nullptr) return Err(Code::not_found, "not found: service " + name);
  if (tool == "get_runbook") return get_runbook(*service, arguments.value("symptom", ""));
  return Value(Json{{"service", name},
                    {"owner", (*service)["owner"]},
                    {"environment", (*service)["environment"]},
                    {"host", (*service)["host"]},
                    {"runbook", (*service)["runbook"]}});
}

}  // namespace registry
