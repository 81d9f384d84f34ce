#include "app/load_fleet.h"

#include "io/file.h"
#include "log/sha256.h"

#include <sys/stat.h>

namespace ambit::app {
namespace {

constexpr std::size_t fleet_bytes_max = 8 << 20;

// Without "." and "..", so that messages and jails show the path that is meant.
std::string normal(const std::string& path) {
  std::vector<std::string> parts;
  std::size_t at = 0;
  while (at < path.size()) {
    const std::size_t end = std::min(path.find('/', at), path.size());
    const std::string part = path.substr(at, end - at);
    if (part == "..") {
      if (!parts.empty()) parts.pop_back();
    } else if (!part.empty() && part != ".") {
      parts.push_back(part);
    }
    at = end + 1;
  }
  std::string out;
  for (const std::string& part : parts) out += "/" + part;
  return out.empty() ? "/" : out;
}

}  // namespace

Result<agents::FleetFile> load_fleet(const Context& context, const std::string& path) {
  const std::string full = normal(absolute(context, path));
  const std::string text = TRY(io::read_file(full, fleet_bytes_max));
  agents::FleetContext files;
  files.directory = full.substr(0, std::max<std::size_t>(1, full.rfind('/')));
  files.read_file = [](const std::string& file) { return io::read_file(file, fleet_bytes_max); };
  files.file_exists = [](const std::string& file) {
    struct stat found{};
    return ::stat(file.c_str(), &found) == 0;
  };
  files.environment = [&context](const std::string& name) -> std::optional<std::string> {
    const auto at = context.environment.find(name);
    return at != context.environment.end() ? std::optional(at->second) : std::nullopt;
  };
  agents::FleetFile file = agents::parse_fleet(text, files);
  const std::string definition = definition_of(file.fleet);
  for (agents::AgentSpec& agent : file.fleet.agents) agent.definition = definition;
  return file;
}

std::string definition_of(const agents::Fleet& fleet) {
  return log::to_hex(log::bytes_of(log::sha256(fleet.source))).substr(0, 16);
}

std::string problem_line(const std::string& path, const agents::Problem& problem) {
  return (problem.file.empty() ? path : problem.file) + ":" + std::to_string(problem.line) + ":" +
         std::to_string(problem.column) + ": " + (problem.path.empty() ? "" : problem.path + ": ") +
         problem.message;
}

}  // namespace ambit::app
