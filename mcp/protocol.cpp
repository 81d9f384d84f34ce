#include "mcp/protocol.h"

#include "rpc/fields.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <utility>

namespace ambit::mcp {
namespace {

constexpr std::array<std::string_view, 4> legacy_versions = {legacy_version, "2025-06-18",
                                                             "2025-03-26", "2024-11-05"};

using rpc::Fields;
using rpc::Json;

Json to_json(const Implementation& info) {
  return {{"name", info.name}, {"version", info.version}};
}

void read_implementation(Fields& outer, const char* key, Implementation& out) {
  const Json* object = outer.find_object(key, true);
  if (object == nullptr) return;
  Fields fields(*object, outer.path(key));
  fields.read("name", out.name);
  fields.read("version", out.version);
  if (auto read = fields.result(); !read) outer.fail(std::move(read).error());
}

void read_caching(Fields& fields, Caching& out) {
  std::optional<std::int64_t> ttl;
  fields.maybe("ttlMs", ttl);
  fields.maybe("cacheScope", out.scope);
  out.ttl_ms = std::max<std::int64_t>(0, ttl.value_or(0));
}

void put_caching(Json& json, const Caching& caching) {
  json["ttlMs"] = caching.ttl_ms;
  json["cacheScope"] = caching.scope;
}

// A request id or progress token.
void read_id(Fields& fields, const char* key, rpc::Id& out) {
  const Json* member = fields.find(key);
  if (member == nullptr) {
    fields.fail(fields.path(key), "is missing");
  } else if (member->is_string()) {
    out = member->get<std::string>();
  } else if (member->is_number_integer()) {
    out = member->get<std::int64_t>();
  } else {
    fields.fail(fields.path(key), "must be a string or an integer");
  }
}

Json to_json(const rpc::Id& id) {
  if (const auto* number = std::get_if<std::int64_t>(&id)) return *number;
  return std::get<std::string>(id);
}

Result<Tool> read_tool(const Json& json, const std::string& path) {
  Tool tool;
  Fields fields(json, path);
  fields.read("name", tool.name);
  fields.maybe("title", tool.title);
  fields.maybe("description", tool.description);
  fields.read_object("inputSchema", tool.input_schema);
  fields.maybe_object("outputSchema", tool.output_schema);
  if (const Json* hints = fields.find_object("annotations", false)) {
    Fields inner(*hints, fields.path("annotations"));
    inner.maybe("readOnlyHint", tool.annotations.read_only);
    inner.maybe("destructiveHint", tool.annotations.destructive);
    inner.maybe("idempotentHint", tool.annotations.idempotent);
    inner.maybe("openWorldHint", tool.annotations.open_world);
    if (auto read = inner.result(); !read) fields.fail(std::move(read).error());
  }
  if (fields.ok() && tool.name.empty()) fields.fail(fields.path("name"), "must not be empty");
  TRY(fields.result());
  return tool;
}

}  // namespace

bool is_legacy_version(std::string_view version) {
  return std::find(legacy_versions.begin(), legacy_versions.end(), version) !=
         legacy_versions.end();
}

std::vector<std::string> served_versions() {
  std::vector<std::string> all{std::string(modern_version)};
  all.insert(all.end(), legacy_versions.begin(), legacy_versions.end());
  return all;
}

Result<void> from_value(const Value& value, InitializeParams& out) {
  Fields fields(value.json(), "$.params");
  fields.read("protocolVersion", out.protocol_version);
  fields.read_object("capabilities", out.capabilities);
  read_implementation(fields, "clientInfo", out.client_info);
  return fields.result();
}

Value to_value(const InitializeParams& params) {
  return Json{
      {"protocolVersion", params.protocol_version},
      {"capabilities", params.capabilities.present() ? params.capabilities.json() : Json::object()},
      {"clientInfo", to_json(params.client_info)}};
}

Result<void> from_value(const Value& value, InitializeResult& out) {
  Fields fields(value.json(), "$.result");
  fields.read("protocolVersion", out.protocol_version);
  fields.read_object("capabilities", out.capabilities);
  read_implementation(fields, "serverInfo", out.server_info);
  fields.maybe("instructions", out.instructions);
  return fields.result();
}

Value to_value(const InitializeResult& result) {
  Json json = {
      {"protocolVersion", result.protocol_version},
      {"capabilities", result.capabilities.present() ? result.capabilities.json() : Json::object()},
      {"serverInfo", to_json(result.server_info)}};
  if (!result.instructions.empty()) json["instructions"] = result.instructions;
  return json;
}

Result<void> from_value(const Value& value, DiscoverResult& out) {
  Fields fields(value.json(), "$.result");
  fields.read("supportedVersions", out.supported_versions);
  fields.read_object("capabilities", out.capabilities);
  fields.maybe("instructions", out.instructions);
  read_caching(fields, out.caching);
  if (const Json* meta = fields.find_object("_meta", false);
      meta != nullptr && meta->contains(meta_server_info)) {
    Fields inner(*meta, fields.path("_meta"));
    Implementation info;
    read_implementation(inner, meta_server_info, info);
    if (auto read = inner.result(); !read) fields.fail(std::move(read).error());
    out.server_info = std::move(info);
  }
  return fields.result();
}

Value to_value(const DiscoverResult& result) {
  Json json = {{"resultType", "complete"},
               {"supportedVersions", result.supported_versions},
               {"capabilities",
                result.capabilities.present() ? result.capabilities.json() : Json::object()}};
  put_caching(json, result.caching);
  if (!result.instructions.empty()) json["instructions"] = result.instructions;
  if (result.server_info) json["_meta"][meta_server_info] = to_json(*result.server_info);
  return json;
}

Value to_value(const Tool& tool) {
  Json json = {{"name", tool.name}};
  if (!tool.title.empty()) json["title"] = tool.title;
  if (!tool.description.empty()) json["description"] = tool.description;
  json["inputSchema"] =
      tool.input_schema.present() ? tool.input_schema.json() : Json{{"type", "object"}};
  if (tool.output_schema.present()) json["outputSchema"] = tool.output_schema.json();
  const auto hint = [&](const char* key, const std::optional<bool>& set) {
    if (set) json["annotations"][key] = *set;
  };
  hint("readOnlyHint", tool.annotations.read_only);
  hint("destructiveHint", tool.annotations.destructive);
  hint("idempotentHint", tool.annotations.idempotent);
  hint("openWorldHint", tool.annotations.open_world);
  return json;
}

Result<void> from_value(const Value& value, ListToolsParams& out) {
  if (!value.present()) return {};
  Fields fields(value.json(), "$.params");
  fields.maybe("cursor", out.cursor);
  fields.maybe_object("_meta", out.meta);
  return fields.result();
}

Value to_value(const ListToolsParams& params) {
  Json json = Json::object();
  if (params.meta.present()) json["_meta"] = params.meta.json();
  if (params.cursor) json["cursor"] = *params.cursor;
  return json;
}

Result<void> from_value(const Value& value, ListToolsResult& out) {
  Fields fields(value.json(), "$.result");
  fields.maybe("nextCursor", out.next_cursor);
  const Json* tools = fields.find_array("tools", true);
  for (std::size_t i = 0; tools != nullptr && i < tools->size(); ++i) {
    auto tool = read_tool((*tools)[i], rpc::path_at("$.result.tools", i));
    if (tool) {
      out.tools.push_back(std::move(*tool));
    } else {
      out.rejected.push_back(tool.error().message);
    }
  }
  if (fields.find("ttlMs") != nullptr) read_caching(fields, out.caching.emplace());
  return fields.result();
}

Value to_value(const ListToolsResult& result) {
  Json json = Json::object();
  if (result.caching) {
    json["resultType"] = "complete";
    put_caching(json, *result.caching);
  }
  json["tools"] = Json::array();
  for (const Tool& tool : result.tools) json["tools"].push_back(to_value(tool).json());
  if (result.next_cursor) json["nextCursor"] = *result.next_cursor;
  return json;
}

Result<void> from_value(const Value& value, CallToolParams& out) {
  Fields fields(value.json(), "$.params");
  fields.read("name", out.name);
  fields.maybe_object("arguments", out.arguments);
  fields.maybe_object("_meta", out.meta);
  return fields.result();
}

Value to_value(const CallToolParams& params) {
  Json json = Json::object();
  if (params.meta.present()) json["_meta"] = params.meta.json();
  json["name"] = params.name;
  if (params.arguments.present()) json["arguments"] = params.arguments.json();
  return json;
}

Result<void> from_value(const Value& value, ProgressParams& out) {
  Fields fields(value.json(), "$.params");
  read_id(fields, "progressToken", out.token);
  fields.read("progress", out.progress);
  fields.maybe("total", out.total);
  fields.maybe("message", out.message);
  return fields.result();
}

Value to_value(const ProgressParams& params) {
  Json json = {{"progressToken", to_json(params.token)}, {"progress", params.progress}};
  if (params.total) json["total"] = *params.total;
  if (!params.message.empty()) json["message"] = params.message;
  return json;
}

Result<void> from_value(const Value& value, CancelledParams& out) {
  Fields fields(value.json(), "$.params");
  read_id(fields, "requestId", out.request);
  fields.maybe("reason", out.reason);
  return fields.result();
}

Value to_value(const CancelledParams& params) {
  Json json = {{"requestId", to_json(params.request)}};
  if (!params.reason.empty()) json["reason"] = params.reason;
  return json;
}

Result<void> from_value(const Value& value, LogParams& out) {
  Fields fields(value.json(), "$.params");
  fields.read("level", out.level);
  fields.maybe("logger", out.logger);
  fields.read("data", out.data);
  return fields.result();
}

std::vector<std::string> supported_versions(const rpc::Fault& fault) {
  std::vector<std::string> versions;
  if (fault.code != unsupported_protocol_version || !fault.data.json().is_object()) return versions;
  Fields fields(fault.data.json(), "$.error.data");
  fields.read("supported", versions);
  if (!fields.ok()) versions.clear();
  return versions;
}

Value to_value(const RequestMeta& meta) {
  Json json = Json::object();
  if (meta.progress_token) json["progressToken"] = *meta.progress_token;
  if (meta.era == Era::modern) {
    json[meta_version] = modern_version;
    json[meta_client_info] = to_json(meta.client_info);
    json[meta_client_capabilities] =
        meta.client_capabilities.present() ? meta.client_capabilities.json() : Json::object();
    if (!meta.log_level.empty()) json[meta_log_level] = meta.log_level;
  }
  if (json.empty()) return {};
  return json;
}

}  // namespace ambit::mcp
