#include "mcp/content.h"

#include "mcp/hidden_text.h"
#include "rpc/fields.h"

#include <nlohmann/json.hpp>

#include <utility>

namespace ambit::mcp {
namespace {

using rpc::Fields;
using rpc::Json;

constexpr std::pair<ContentKind, const char*> kinds[] = {
    {ContentKind::text, "text"},
    {ContentKind::image, "image"},
    {ContentKind::audio, "audio"},
    {ContentKind::resource, "resource"},
    {ContentKind::resource_link, "resource_link"},
};

const char* name_of(ContentKind kind) {
  for (const auto& [known, name] : kinds) {
    if (known == kind) return name;
  }
  return "text";
}

void read_kind(Fields& fields, ContentKind& out) {
  std::string name;
  fields.read("type", name);
  if (!fields.ok()) return;
  for (const auto& [kind, known] : kinds) {
    if (name == known) {
      out = kind;
      return;
    }
  }
  fields.fail(fields.path("type"),
              "must be text, image, audio, resource or resource_link, is \"" + name + "\"");
}

void read_resource(Fields& outer, Content& out) {
  const Json* resource = outer.find_object("resource", true);
  if (resource == nullptr) return;
  Fields fields(*resource, outer.path("resource"));
  fields.read("uri", out.uri);
  fields.maybe("mimeType", out.mime_type);
  if (fields.find("blob") != nullptr) {
    fields.read("blob", out.data);
  } else {
    fields.read("text", out.text);
  }
  if (auto read = fields.result(); !read) outer.fail(std::move(read).error());
}

Result<Content> read_content(const Json& json, const std::string& path) {
  Content content;
  Fields fields(json, path);
  read_kind(fields, content.kind);
  switch (content.kind) {
    case ContentKind::text:
      fields.read("text", content.text);
      break;
    case ContentKind::image:
    case ContentKind::audio:
      fields.read("data", content.data);
      fields.read("mimeType", content.mime_type);
      break;
    case ContentKind::resource:
      read_resource(fields, content);
      break;
    case ContentKind::resource_link:
      fields.read("uri", content.uri);
      fields.read("name", content.name);
      fields.maybe("mimeType", content.mime_type);
      break;
  }
  TRY(fields.result());
  return content;
}

Json to_json(const Content& content) {
  Json json = {{"type", name_of(content.kind)}};
  switch (content.kind) {
    case ContentKind::text:
      json["text"] = content.text;
      break;
    case ContentKind::image:
    case ContentKind::audio:
      json["data"] = content.data;
      json["mimeType"] = content.mime_type;
      break;
    case ContentKind::resource: {
      Json resource = {{"uri", content.uri}};
      if (!content.mime_type.empty()) resource["mimeType"] = content.mime_type;
      if (content.data.empty()) {
        resource["text"] = content.text;
      } else {
        resource["blob"] = content.data;
      }
      json["resource"] = std::move(resource);
      break;
    }
    case ContentKind::resource_link:
      json["uri"] = content.uri;
      json["name"] = content.name;
      if (!content.mime_type.empty()) json["mimeType"] = content.mime_type;
      break;
  }
  return json;
}

std::string described(const Content& content) {
  const auto bytes = [&] { return std::to_string(content.data.size() / 4 * 3) + " bytes"; };
  const std::string type = content.mime_type.empty() ? "" : " " + content.mime_type;
  switch (content.kind) {
    case ContentKind::text:
      return content.text;
    case ContentKind::image:
    case ContentKind::audio:
      return std::string("[") + name_of(content.kind) + type + ", " + bytes() + "]";
    case ContentKind::resource:
      if (content.data.empty()) return content.text;
      return "[resource " + content.uri + type + ", " + bytes() + "]";
    case ContentKind::resource_link:
      return "[link " + content.name + ": " + content.uri + "]";
  }
  return "";
}

}  // namespace

Result<void> from_value(const Value& value, CallToolResult& out) {
  Fields fields(value.json(), "$.result");
  fields.maybe("resultType", out.result_type);
  // A result that asks for something else first has no content yet.
  const bool complete = out.result_type.empty() || out.result_type == "complete";
  std::optional<bool> is_error;
  fields.maybe("isError", is_error);
  out.is_error = is_error.value_or(false);
  fields.maybe("structuredContent", out.structured);
  const Json* blocks = fields.find_array("content", complete);
  for (std::size_t i = 0; blocks != nullptr && i < blocks->size(); ++i) {
    auto content = read_content((*blocks)[i], rpc::path_at("$.result.content", i));
    if (!content) return Err(std::move(content).error());
    out.content.push_back(std::move(*content));
  }
  return fields.result();
}

Value to_value(const CallToolResult& result) {
  Json json = Json::object();
  if (!result.result_type.empty()) json["resultType"] = result.result_type;
  json["content"] = Json::array();
  for (const Content& content : result.content) json["content"].push_back(to_json(content));
  if (result.structured.present()) json["structuredContent"] = result.structured.json();
  if (result.is_error) json["isError"] = true;
  return json;
}

Flattened flatten(const CallToolResult& result, std::size_t bytes_max) {
  Flattened out;
  for (const Content& content : result.content) {
    if (!out.text.empty()) out.text += '\n';
    out.text += described(content);
    if (out.text.size() > bytes_max) break;
  }
  if (result.content.empty() && result.structured.present()) out.text = result.structured.text();
  out.truncated = out.text.size() > bytes_max;
  // What is hidden grows when it is shown: cut before and after.
  out.text = revealed(rpc::utf8_prefix(out.text, bytes_max));
  out.truncated = out.truncated || out.text.size() > bytes_max;
  out.text.resize(rpc::utf8_prefix(out.text, bytes_max).size());
  return out;
}

}  // namespace ambit::mcp
