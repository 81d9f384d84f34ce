#pragma once

// The MCP messages of a client of tools, as plain structs, for the revisions 2024-11-05 ...
// 2026-07-28. "Legacy" are those up to 2025-11-25 (initialize), "modern" is 2026-07-28 (no
// handshake; every request says its version in _meta). from_value() names what is wrong by its
// path; members that a revision does not know are left out by leaving the field empty.

#include "rpc/binder.h"
#include "rpc/message.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace ambit::mcp {

using rpc::Value;

enum class Era { legacy, modern };
constexpr std::string_view modern_version = "2026-07-28";
constexpr std::string_view legacy_version = "2025-11-25";  // the newest, offered first
bool is_legacy_version(std::string_view version);
// Of both eras, the newest first.
std::vector<std::string> served_versions();

// Keys of _meta.
constexpr const char* meta_version = "io.modelcontextprotocol/protocolVersion";
constexpr const char* meta_client_info = "io.modelcontextprotocol/clientInfo";
constexpr const char* meta_client_capabilities = "io.modelcontextprotocol/clientCapabilities";
constexpr const char* meta_server_info = "io.modelcontextprotocol/serverInfo";
constexpr const char* meta_log_level = "io.modelcontextprotocol/logLevel";
constexpr const char* meta_subscription = "io.modelcontextprotocol/subscriptionId";

constexpr std::int64_t header_mismatch = -32020;
constexpr std::int64_t missing_client_capability = -32021;
constexpr std::int64_t unsupported_protocol_version = -32022;

struct Implementation {
  std::string name;
  std::string version;
  friend bool operator==(const Implementation&, const Implementation&) = default;
};

struct InitializeParams {
  std::string protocol_version;
  Value capabilities;
  Implementation client_info;
  friend bool operator==(const InitializeParams&, const InitializeParams&) = default;
};
Result<void> from_value(const Value& value, InitializeParams& out);
Value to_value(const InitializeParams& params);

struct InitializeResult {
  std::string protocol_version;
  Value capabilities;
  Implementation server_info;
  std::string instructions;
  friend bool operator==(const InitializeResult&, const InitializeResult&) = default;
};
Result<void> from_value(const Value& value, InitializeResult& out);
Value to_value(const InitializeResult& result);

// For how long a modern result may be kept, and by whom.
struct Caching {
  std::int64_t ttl_ms = 0;
  std::string scope = "private";  // or public
  friend bool operator==(const Caching&, const Caching&) = default;
};

struct DiscoverResult {
  std::vector<std::string> supported_versions;
  Value capabilities;
  std::string instructions;
  std::optional<Implementation> server_info;  // from _meta
  Caching caching;
  friend bool operator==(const DiscoverResult&, const DiscoverResult&) = default;
};
Result<void> from_value(const Value& value, DiscoverResult& out);
Value to_value(const DiscoverResult& result);

// Hints of the server about its own tool: true only if the server is trusted.
struct ToolAnnotations {
  std::optional<bool> read_only;
  std::optional<bool> destructive;
  std::optional<bool> idempotent;
  std::optional<bool> open_world;
  friend bool operator==(const ToolAnnotations&, const ToolAnnotations&) = default;
};

struct Tool {
  std::string name;
  std::string title;
  std::string description;
  Value input_schema;
  Value output_schema;  // or not present
  ToolAnnotations annotations;
  friend bool operator==(const Tool&, const Tool&) = default;
};
Value to_value(const Tool& tool);

struct ListToolsParams {
  std::optional<std::string> cursor;
  Value meta;
  friend bool operator==(const ListToolsParams&, const ListToolsParams&) = default;
};
Result<void> from_value(const Value& value, ListToolsParams& out);
Value to_value(const ListToolsParams& params);

struct ListToolsResult {
  std::vector<Tool> tools;
  std::optional<std::string> next_cursor;
  std::vector<std::string> rejected;  // tools left out because they are malformed, and why
  std::optional<Caching> caching;     // modern
  friend bool operator==(const ListToolsResult&, const ListToolsResult&) = default;
};
Result<void> from_value(const Value& value, ListToolsResult& out);
Value to_value(const ListToolsResult& result);

struct CallToolParams {
  std::string name;
  Value arguments;
  Value meta;
  friend bool operator==(const CallToolParams&, const CallToolParams&) = default;
};
Result<void> from_value(const Value& value, CallToolParams& out);
Value to_value(const CallToolParams& params);

enum class ContentKind { text, image, audio, resource, resource_link };

// One block of a result. Which fields are used depends on the kind.
struct Content {
  ContentKind kind = ContentKind::text;
  std::string text;  // text; resource: its text, if it is text
  std::string data;  // image, audio, resource: base64
  std::string mime_type;
  std::string uri;   // resource, resource_link
  std::string name;  // resource_link
  friend bool operator==(const Content&, const Content&) = default;
};

struct CallToolResult {
  std::vector<Content> content;
  Value structured;  // structuredContent
  bool is_error = false;
  std::string result_type;  // modern; empty means complete
  friend bool operator==(const CallToolResult&, const CallToolResult&) = default;
};
Result<void> from_value(const Value& value, CallToolResult& out);
Value to_value(const CallToolResult& result);

struct ProgressParams {
  rpc::Id token;
  double progress = 0;
  std::optional<double> total;
  std::string message;
  friend bool operator==(const ProgressParams&, const ProgressParams&) = default;
};
Result<void> from_value(const Value& value, ProgressParams& out);
Value to_value(const ProgressParams& params);

struct CancelledParams {
  rpc::Id request;
  std::string reason;
  friend bool operator==(const CancelledParams&, const CancelledParams&) = default;
};
Result<void> from_value(const Value& value, CancelledParams& out);
Value to_value(const CancelledParams& params);

struct LogParams {
  std::string level;
  std::string logger;
  Value data;
  friend bool operator==(const LogParams&, const LogParams&) = default;
};
Result<void> from_value(const Value& value, LogParams& out);

// `data` of an unsupported_protocol_version fault; empty if it does not say.
std::vector<std::string> supported_versions(const rpc::Fault& fault);

// The _meta of a request. Legacy requests have one only to ask for progress.
struct RequestMeta {
  Era era = Era::legacy;
  Implementation client_info;
  Value client_capabilities;  // {} if not present
  std::optional<std::int64_t> progress_token;
  std::string log_level;  // modern: which log messages the caller wants; empty: none
};
Value to_value(const RequestMeta& meta);

}  // namespace ambit::mcp
