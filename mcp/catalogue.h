#pragma once

// Catalogue: the tools of one server as agents see them: a name that is unique in the fleet and
// safe in any prompt, the digest of the definition, and the compiled schemas. Made once a listing;
// sorted by name.

#include "agents/ports.h"
#include "mcp/protocol.h"
#include "rpc/schema.h"

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace ambit::mcp {

// "mcp__<server>__<tool>": letters, digits, '_' and '-' stay, everything else becomes '_'. A name
// that had to be changed or cut (64 characters at most), or whose server's name could be taken for
// another's, ends in 8 hex digits of the original's SHA-256, so two tools never share one, whatever
// this server or another lists.
std::string offered_name(std::string_view server, std::string_view tool);

// SHA-256 of name, description and input schema in canonical form.
std::string definition_digest(const Tool& tool);

struct OfferedTool {
  std::string raw_name;  // what the server calls it
  agents::ToolSpec spec;
  rpc::Schema input;
  std::optional<rpc::Schema> output;
};

struct Catalogue {
  std::map<std::string, OfferedTool> tools;  // by offered name
  std::vector<std::string> problems;         // left out or not fully checked, and why
  [[nodiscard]] std::vector<agents::ToolSpec> specs() const;
};

struct CatalogueOptions {
  bool trust_annotations = true;  // else every tool counts as able to destroy
  std::size_t description_bytes_max = 4096;
};

Catalogue make_catalogue(std::string_view server, const std::vector<Tool>& tools,
                         std::vector<std::string> rejected, const CatalogueOptions& options);

}  // namespace ambit::mcp
