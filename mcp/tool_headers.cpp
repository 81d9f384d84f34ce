#include "mcp/tool_headers.h"

#include "http/message.h"
#include "mcp/base64.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cctype>
#include <utility>

namespace ambit::mcp {
namespace {

using rpc::Json;

constexpr std::string_view annotation = "x-mcp-header";
constexpr std::string_view base64_begin = "=?base64?";
constexpr std::string_view base64_end = "?=";
constexpr std::size_t depth_max = 16;
constexpr std::size_t parameters_max = 64;

bool is_primitive(const Json& schema) {
  const auto type = schema.find("type");
  return type != schema.end() && (*type == "string" || *type == "integer" || *type == "boolean");
}

std::string lower(std::string text) {
  for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return text;
}

class Collector {
 public:
  Result<void> walk(const Json& schema, std::size_t depth) {
    const auto properties = schema.is_object() ? schema.find("properties") : schema.end();
    if (!schema.is_object() || properties == schema.end() || !properties->is_object()) return {};
    if (depth > depth_max) return {};
    for (const auto& [name, property] : properties->items()) {
      path_.push_back(name);
      TRY(take(property));
      TRY(walk(property, depth + 1));
      path_.pop_back();
    }
    return {};
  }
  HeaderParameters take_all() { return std::move(found_); }

 private:
  Result<void> take(const Json& property) {
    if (!property.is_object() || !property.contains(annotation)) return {};
    const Json& said = property[annotation];
    const std::string name = said.is_string() ? said.get<std::string>() : "";
    const std::string where = std::string(annotation) + " of \"" + path_.back() + "\": ";
    if (!http::is_token(name)) {
      return Err(Code::invalid,
                 where + "must be a header name: letters, digits and -_.!#$%&'*+^`|~");
    }
    if (!is_primitive(property)) {
      return Err(Code::invalid, where + "only strings, integers and booleans can be in a header");
    }
    for (const HeaderParameter& other : found_) {
      if (lower(other.header) == lower("Mcp-Param-" + name)) {
        return Err(Code::invalid, where + "another property has the same header");
      }
    }
    if (found_.size() >= parameters_max) {
      return Err(Code::exhausted,
                 where + "more than " + std::to_string(parameters_max) + " headers");
    }
    found_.push_back({path_, "Mcp-Param-" + name});
    return {};
  }

  std::vector<std::string> path_;
  HeaderParameters found_;
};

}  // namespace

Result<HeaderParameters> header_parameters(const Json& input_schema) {
  Collector collector;
  TRY(collector.walk(input_schema, 0));
  return collector.take_all();
}

std::optional<std::string> header_value(const Json& arguments, const HeaderParameter& parameter) {
  const Json* at = &arguments;
  for (const std::string& key : parameter.path) {
    if (!at->is_object()) return std::nullopt;
    const auto next = at->find(key);
    if (next == at->end()) return std::nullopt;
    at = &*next;
  }
  if (at->is_string()) return at->get<std::string>();
  if (at->is_boolean()) return at->get<bool>() ? "true" : "false";
  if (at->is_number_integer()) return at->dump();
  return std::nullopt;
}

std::string encode_header(std::string_view text) {
  const bool printable =
      std::all_of(text.begin(), text.end(), [](char c) { return c >= 0x20 && c < 0x7F; });
  const bool trimmed = text.empty() || (text.front() != ' ' && text.back() != ' ');
  const bool looks_encoded = text.starts_with(base64_begin) && text.ends_with(base64_end);
  if (printable && trimmed && !looks_encoded) return std::string(text);
  return std::string(base64_begin) + to_base64(text) + std::string(base64_end);
}

Result<std::string> decode_header(std::string_view value) {
  if (!value.starts_with(base64_begin) || !value.ends_with(base64_end) ||
      value.size() < base64_begin.size() + base64_end.size()) {
    return std::string(value);
  }
  value.remove_prefix(base64_begin.size());
  value.remove_suffix(base64_end.size());
  auto text = from_base64(value);
  if (!text) return Err(Code::invalid, "the header's value is not base64");
  return std::move(*text);
}

const char* named_by(const std::string& method) {
  if (method == "tools/call" || method == "prompts/get") return "name";
  if (method == "resources/read") return "uri";
  const bool is_of_task =
      method == "tasks/get" || method == "tasks/update" || method == "tasks/cancel";
  return is_of_task ? "taskId" : nullptr;
}

}  // namespace ambit::mcp
