#include "agents/message.h"

#include "agents/json_writer.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <iterator>

namespace ambit::agents {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view role_names[] = {"system", "user", "assistant", "tool"};

}  // namespace

std::string to_json(const Message& message) {
  std::string out;
  JsonWriter writer(out);
  writer.begin_object();
  writer.key("role").text(role_names[static_cast<std::size_t>(message.role)]);
  writer.key("content").text(message.content);
  if (!message.tool_calls.empty()) {
    writer.key("tool_calls").begin_array();
    for (const ToolCall& call : message.tool_calls) {
      writer.begin_object().key("id").text(call.id).key("type").text("function");
      writer.key("function").begin_object().key("name").text(call.name);
      writer.key("arguments").text(call.arguments).end_object().end_object();
    }
    writer.end_array();
  }
  if (message.role == Role::tool) {
    writer.key("tool_call_id").text(message.tool_call_id);
    writer.key("name").text(message.tool_name);
  }
  writer.end_object();
  return out;
}

namespace {

Result<Message> message_from(const Json& in) {
  Message message;
  const std::string role = in.value("role", "");
  const auto* at = std::find(std::begin(role_names), std::end(role_names), role);
  if (at == std::end(role_names))
    return Err(Code::invalid, "a message of the unknown role \"" + role + "\"");
  message.role = static_cast<Role>(at - std::begin(role_names));
  if (in.contains("content") && in["content"].is_string())
    message.content = in["content"].get<std::string>();
  const Json calls = in.value("tool_calls", Json::array());
  for (const Json& item : calls) {
    const Json function = item.value("function", Json::object());
    ToolCall call;
    call.id = item.value("id", "");
    call.name = function.value("name", "");
    if (function.contains("arguments")) {
      const Json& arguments = function["arguments"];
      call.arguments = arguments.is_string() ? arguments.get<std::string>() : arguments.dump();
    }
    message.tool_calls.push_back(std::move(call));
  }
  message.tool_call_id = in.value("tool_call_id", "");
  message.tool_name = in.value("name", "");
  return message;
}

}  // namespace

Result<Message> message_from_json(const std::string& text) {
  const Json in = Json::parse(text, nullptr, false);
  if (!in.is_object()) return Err(Code::invalid, "a message that is not a JSON object");
  try {
    return message_from(in);
  } catch (const Json::exception& error) {
    return Err(Code::invalid, std::string("a message of the wrong shape: ") + error.what());
  }
}

std::string to_json_lines(const std::vector<Message>& messages) {
  std::string lines;
  for (const Message& message : messages) lines += to_json(message) + "\n";
  return lines;
}

Result<std::vector<Message>> messages_from_json_lines(const std::string& lines) {
  std::vector<Message> messages;
  for (std::size_t at = 0; at < lines.size();) {
    const std::size_t end = std::min(lines.find('\n', at), lines.size());
    messages.push_back(TRY(message_from_json(lines.substr(at, end - at))));
    at = end + 1;
  }
  return messages;
}

}  // namespace ambit::agents
