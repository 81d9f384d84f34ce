#include "mcp/catalogue.h"

#include "mcp/digest.h"
#include "mcp/hidden_text.h"

#include <nlohmann/json.hpp>

#include <utility>

namespace ambit::mcp {
namespace {

constexpr std::size_t name_bytes_max = 64;
constexpr std::size_t suffix_bytes = 9;  // "_" and 8 hex digits

bool is_safe(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
         c == '-';
}

std::string sanitised(std::string_view name) {
  std::string safe;
  for (const char c : name) safe += is_safe(c) ? c : '_';
  return safe;
}

agents::ToolSpec to_spec(std::string name, const Tool& tool, const CatalogueOptions& options) {
  agents::ToolSpec spec;
  spec.name = std::move(name);
  const std::string& description = tool.description.empty() ? tool.title : tool.description;
  spec.description = revealed(rpc::utf8_prefix(description, options.description_bytes_max));
  spec.input_schema = revealed(tool.input_schema.text());
  spec.digest = definition_digest(tool);
  if (!options.trust_annotations) return spec;
  spec.read_only = tool.annotations.read_only.value_or(false);
  spec.destructive = !spec.read_only && tool.annotations.destructive.value_or(true);
  spec.idempotent = spec.read_only || tool.annotations.idempotent.value_or(false);
  return spec;
}

void note_unchecked(const rpc::Schema& schema, const std::string& tool,
                    std::vector<std::string>& problems) {
  for (const std::string& what : schema.unchecked()) {
    problems.push_back("tool \"" + tool + "\": not checked: " + what);
  }
}

}  // namespace

std::string offered_name(std::string_view server, std::string_view tool) {
  const std::string prefix = "mcp__" + sanitised(server) + "__";
  std::string name = prefix + sanitised(tool);
  // A server's name that holds the separator could be read as another server and a longer tool.
  const bool clear = server.find("__") == server.npos && !server.ends_with('_');
  const bool same = clear && name == "mcp__" + std::string(server) + "__" + std::string(tool);
  if (same && name.size() <= name_bytes_max) return name;
  const std::string digest = sha256_hex(std::string(server) + '\0' + std::string(tool));
  if (name.size() > name_bytes_max - suffix_bytes) name.resize(name_bytes_max - suffix_bytes);
  return name + "_" + digest.substr(0, suffix_bytes - 1);
}

std::string definition_digest(const Tool& tool) {
  const rpc::Json definition = {{"description", tool.description},
                                {"inputSchema", tool.input_schema.json()},
                                {"name", tool.name}};
  return sha256_hex(rpc::canonical(definition));
}

std::vector<agents::ToolSpec> Catalogue::specs() const {
  std::vector<agents::ToolSpec> specs;
  for (const auto& [name, tool] : tools) specs.push_back(tool.spec);
  return specs;
}

Catalogue make_catalogue(std::string_view server, const std::vector<Tool>& tools,
                         std::vector<std::string> rejected, const CatalogueOptions& options) {
  Catalogue catalogue;
  catalogue.problems = std::move(rejected);
  for (const Tool& tool : tools) {
    auto input = rpc::Schema::compile(tool.input_schema.json());
    if (!input) {
      catalogue.problems.push_back("tool \"" + tool.name + "\" left out: " + input.error().message);
      continue;
    }
    note_unchecked(*input, tool.name, catalogue.problems);
    std::optional<rpc::Schema> output;
    if (tool.output_schema.present()) {
      auto compiled = rpc::Schema::compile(tool.output_schema.json());
      if (compiled) {
        output = std::move(*compiled);
      } else {
        catalogue.problems.push_back("tool \"" + tool.name +
                                     "\": output not checked: " + compiled.error().message);
      }
    }
    if (hides_text(tool.description) || hides_text(tool.input_schema.text())) {
      catalogue.problems.push_back("tool \"" + revealed(tool.name) +
                                   "\": hides characters; they are shown as <U+...>");
    }
    std::string name = offered_name(server, tool.name);
    agents::ToolSpec spec = to_spec(name, tool, options);
    OfferedTool offered{tool.name, std::move(spec), std::move(*input), std::move(output)};
    if (!catalogue.tools.emplace(std::move(name), std::move(offered)).second) {
      catalogue.problems.push_back("tool \"" + tool.name +
                                   "\" left out: another has the same offered name");
    }
  }
  return catalogue;
}

}  // namespace ambit::mcp
