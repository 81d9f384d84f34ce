#include "agents/fleet_inputs.h"

#include "agents/message.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cctype>
#include <memory>
#include <set>

namespace ambit::agents {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::size_t line_bytes_max = 1 << 20;
constexpr std::size_t inputs_max = 10'000'000;

bool is_id(std::string_view id) {
  return !id.empty() && id.size() <= 128 && std::all_of(id.begin(), id.end(), [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || c == '-' || c == '.';
  });
}

// A field of a record as text; nullopt: it has none.
std::optional<std::string> field_of(const Json& record, std::string_view name) {
  const auto at = record.find(std::string(name));
  if (at == record.end()) return std::nullopt;
  return at->is_string() ? at->get<std::string>() : at->dump();
}

Input read_input(const Workflow& workflow, std::string_view line, std::size_t number) {
  Input input;
  input.id = "line-" + std::to_string(number);
  if (line.size() > line_bytes_max) {
    input.error = "line " + std::to_string(number) + " is longer than 1 MiB";
    return input;
  }
  const Json record = Json::parse(line, nullptr, false);
  if (!record.is_object()) {
    input.error = "line " + std::to_string(number) + " is not a JSON object";
    return input;
  }
  if (record.contains(workflow.id)) {
    const Json& id = record[workflow.id];
    const std::string text = id.is_string() ? id.get<std::string>() : id.dump();
    if (!is_id(text)) {
      input.error = "line " + std::to_string(number) + ": the id " + json_quoted(text) +
                    " must be 1 to 128 of the letters a-z, A-Z, 0-9, '_', '-', '.'";
      return input;
    }
    input.id = text;
  }
  input.record = line;
  const auto field = [&](std::string_view name) { return field_of(record, name); };
  auto subject = expand(workflow.subject, field);
  if (!subject) {
    input.error = "line " + std::to_string(number) + ": the subject: " + subject.error().message;
    return input;
  }
  input.subject = std::move(*subject);
  auto prompt = expand(workflow.prompt, field);
  if (prompt) {
    input.prompt = std::move(*prompt);
  } else {
    input.error =
        "line " + std::to_string(number) + ": the prompt needs a field: " + prompt.error().message;
  }
  return input;
}

}  // namespace

std::vector<Input> read_inputs(const Workflow& workflow, std::string_view json_lines) {
  std::vector<Input> inputs;
  std::set<std::string> ids;
  std::size_t number = 0;
  while (!json_lines.empty() && inputs.size() < inputs_max) {
    const std::size_t end = std::min(json_lines.find('\n'), json_lines.size());
    std::string_view line = json_lines.substr(0, end);
    json_lines.remove_prefix(std::min(end + 1, json_lines.size()));
    ++number;
    while (!line.empty() && (line.back() == '\r' || line.back() == ' ' || line.back() == '\t'))
      line.remove_suffix(1);
    if (line.empty()) continue;
    Input input = read_input(workflow, line, number);
    if (!ids.insert(input.id).second) {
      input.error = "line " + std::to_string(number) + ": the id " + json_quoted(input.id) +
                    " is there already";
      input.id = "line-" + std::to_string(number);
      ids.insert(input.id);
    }
    inputs.push_back(std::move(input));
  }
  return inputs;
}

std::function<std::optional<std::string>(std::string_view)> fields_of(std::string_view record) {
  auto parsed = std::make_shared<const Json>(Json::parse(record, nullptr, false));
  return [parsed](std::string_view name) { return field_of(*parsed, name); };
}

}  // namespace ambit::agents
