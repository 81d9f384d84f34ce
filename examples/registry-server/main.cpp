// registry-server: an MCP server on stdio in one small file. It answers both eras: a client of
// 2025-11-25 says `initialize` first, one of 2026-07-28 sends its version with every request and
// may ask `server/discover`. It reads one data file, prints nothing but messages on stdout, and
// ends with its stdin.
//
//   registry-server registry.json

#include "registry.h"
#include "rpc/message.h"

#include <nlohmann/json.hpp>

#include <iostream>
#include <string>

namespace {

using namespace ambit::rpc;
using ambit::Code;
using registry::Registry;

constexpr std::size_t line_bytes_max = 1 << 20;
constexpr const char* modern_version = "2026-07-28";
constexpr const char* legacy_version = "2025-11-25";
constexpr std::int64_t unsupported_version = -32022;
constexpr const char* version_key = "io.modelcontextprotocol/protocolVersion";
constexpr const char* capabilities_key = "io.modelcontextprotocol/clientCapabilities";

const Json& server_info() {
  static const Json info = {{"name", "registry-server"}, {"version", "1.0.0"}};
  return info;
}

Reply fault(std::int64_t code, std::string message, Value data = {}) {
  Reply reply;
  reply.fault = Fault{code, std::move(message), std::move(data)};
  return reply;
}

// What a request says about its era: nothing (legacy), or its version in _meta (modern).
enum class Era { legacy, modern, broken };

Era era_of(const Request& request, Reply& refusal) {
  const Json& params = request.params.json();
  if (!params.is_object() || !params.contains("_meta") || !params["_meta"].is_object())
    return Era::legacy;
  const Json& meta = params["_meta"];
  if (!meta.contains(version_key)) return Era::legacy;
  if (meta[version_key] != modern_version) {
    refusal = fault(
        unsupported_version, "unsupported protocol version",
        Json{{"supported", {modern_version, legacy_version}}, {"requested", meta[version_key]}});
    return Era::broken;
  }
  if (!meta.contains(capabilities_key) || !meta[capabilities_key].is_object()) {
    refusal =
        fault(invalid_params, std::string("$.params._meta: ") + capabilities_key + " is missing");
    return Era::broken;
  }
  return Era::modern;
}

Json capabilities() {
  return {{"tools", Json::object()}};
}

Json initialize(const Json& params) {
  const std::string wanted = params.is_object() ? params.value("protocolVersion", "") : "";
  const bool known = wanted == "2024-11-05" || wanted == "2025-03-26" || wanted == "2025-06-18";
  return {{"protocolVersion", known ? wanted : legacy_version},
          {"capabilities", capabilities()},
          {"serverInfo", server_info()}};
}

Json discover() {
  return {{"supportedVersions",
           {modern_version, legacy_version, "2025-06-18", "2025-03-26", "2024-11-05"}},
          {"capabilities", capabilities()},
          {"ttlMs", 3'600'000},
          {"cacheScope", "public"}};
}

Json list_tools(Era era) {
  Json list = {{"tools", Json::array()}};
  for (const registry::Tool& tool : Registry::tools()) {
    list["tools"].push_back({{"name", tool.name},
                             {"description", tool.description},
                             {"inputSchema", tool.input_schema.json()},
                             {"annotations", {{"readOnlyHint", true}, {"openWorldHint", false}}}});
  }
  if (era == Era::modern) {
    list["ttlMs"] = 3'600'000;
    list["cacheScope"] = "public";
  }
  return list;
}

Json text_result(const std::string& text) {
  const Json block = {{"type", "text"}, {"text", text}};
  return {{"content", Json::array({block})}};
}

// Wrong arguments and unknown names are errors of the tool, which the model can read and mend.
Json tool_error(const std::string& what) {
  Json result = text_result("error: " + what);
  result["isError"] = true;
  return result;
}

Reply call_tool(const Registry& registry, const Json& params) {
  if (!params.is_object() || !params.contains("name") || !params["name"].is_string()) {
    return fault(invalid_params, "$.params.name: must be a string");
  }
  const auto name = params["name"].get<std::string>();
  const Json arguments = params.contains("arguments") ? params["arguments"] : Json::object();
  for (const registry::Tool& tool : Registry::tools()) {
    if (tool.name != name) continue;
    Reply reply;
    const auto schema = Schema::compile(tool.input_schema.json());
    const auto fits = schema->validate(arguments);
    if (!fits) {
      reply.result = tool_error("bad arguments: " + fits.error().message);
      return reply;
    }
    const auto found = registry.call(name, arguments);
    if (!found) {
      reply.result = tool_error(found.error().message);
      return reply;
    }
    std::string text;
    for (const auto& [key, value] : found->json().items()) {
      text += (text.empty() ? "" : "\n") + key + ": " + value.get<std::string>();
    }
    Json result = text_result(text);
    result["structuredContent"] = found->json();
    reply.result = std::move(result);
    return reply;
  }
  return fault(invalid_params, "unknown tool: " + name);
}

Reply answer(const Registry& registry, const Request& request) {
  Reply reply;
  const Era era = era_of(request, reply);
  if (era == Era::broken) return reply;
  const Json& params = request.params.json();
  if (request.method == "tools/list") {
    reply.result = list_tools(era);
  } else if (request.method == "tools/call") {
    reply = call_tool(registry, params);
  } else if (era == Era::legacy && request.method == "initialize") {
    reply.result = initialize(params);
  } else if (era == Era::legacy && request.method == "ping") {
    reply.result = Json::object();
  } else if (era == Era::modern && request.method == "server/discover") {
    reply.result = discover();
  } else {
    reply = fault(method_not_found, "no method " + request.method);
  }
  if (era == Era::modern && !reply.fault) {
    reply.result.edit()["resultType"] = "complete";
    reply.result.edit()["_meta"]["io.modelcontextprotocol/serverInfo"] = server_info();
  }
  return reply;
}

// False at the end of the input. A line beyond the bound is read and answered as a parse error.
bool read_line(std::string& line, bool& too_long) {
  line.clear();
  too_long = false;
  char c = 0;
  while (std::cin.get(c)) {
    if (c == '\n') return true;
    if (line.size() < line_bytes_max) {
      line += c;
    } else {
      too_long = true;
    }
  }
  return false;
}

int serve(const Registry& registry) {
  std::string line;
  bool too_long = false;
  while (read_line(line, too_long)) {
    if (line.empty() && !too_long) continue;
    auto message = too_long ? ambit::Err(Code::exhausted, "the line is too long") : decode(line);
    Reply reply;
    if (!message) {
      reply = fault(parse_error, message.error().message);
    } else if (const auto* request = std::get_if<Request>(&*message)) {
      reply = answer(registry, *request);
      reply.id = request->id;
    } else {
      continue;  // notifications and replies need no answer; calls are over before a cancellation
                 // comes
    }
    std::cout << encode(reply) << '\n' << std::flush;
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "usage: registry-server FILE.json\n";
    return 2;
  }
  std::ios::sync_with_stdio(false);
  const auto registry = Registry::load(argv[1]);
  if (!registry) {
    std::cerr << "registry-server: " << registry.error().message << '\n';
    return 1;
  }
  return serve(*registry);
}
