#include "inference/chat_words.h"

#include "inference/json_text.h"

#include <nlohmann/json.hpp>

#include <utility>

namespace ambit::inference {

namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view system_said = "a probe of system words";
constexpr std::string_view user_said = "a probe of a question";
constexpr std::string_view described = "a probe of a description";
constexpr std::string_view tool_said = "a probe of a result";
constexpr std::string_view tool_name = "probe_call";

bool contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

// Nothing: the template refuses it.
std::string written(const Template& chat, Json messages, Json tools) {
  const auto text = chat.render({{"messages", std::move(messages)},
                                 {"tools", std::move(tools)},
                                 {"add_generation_prompt", true},
                                 {"bos_token", ""},
                                 {"eos_token", ""}});
  return text ? *text : std::string();
}

Json probe_tools() {
  const Json schema = {{"type", "object"}, {"properties", {{"key", {{"type", "string"}}}}}};
  const Json function = {{"name", tool_name}, {"description", described}, {"parameters", schema}};
  return Json::array({{{"type", "function"}, {"function", function}}});
}

// A question that is answered by a call, and the result.
std::string written_call(const Template& chat) {
  const Json arguments = {{"key", "value"}};
  const Json call = {{"id", "probe0001"},  // some templates ask for nine letters and figures
                     {"type", "function"},
                     {"function", {{"name", tool_name}, {"arguments", arguments}}}};
  return written(chat,
                 {{{"role", "user"}, {"content", user_said}},
                  {{"role", "assistant"}, {"content", ""}, {"tool_calls", Json::array({call})}},
                  {{"role", "tool"},
                   {"content", tool_said},
                   {"name", tool_name},
                   {"tool_call_id", call["id"]}}},
                 probe_tools());
}

void add(std::string& text, std::string_view more, std::string_view between) {
  if (!text.empty() && !more.empty()) text += between;
  text += more;
}

// A result may say anything; inside a JSON string it cannot close what it stands in.
std::string quoted_result(std::string_view text) {
  const std::string json = Json(text).dump(-1, ' ', false, Json::error_handler_t::replace);
  std::string out;
  for (std::size_t i = 0; i < json.size(); ++i) {
    if (json[i] == '/' && i > 0 && json[i - 1] == '<') out += '\\';
    out += json[i];
  }
  return out;
}

std::string instructions(const std::vector<agents::ToolSpec>& tools) {
  std::string text =
      "You can call functions. Each line between <tools> and </tools> describes one:\n<tools>\n";
  for (const agents::ToolSpec& tool : tools) {
    const Json parameters = parse_json(tool.input_schema);
    text += python_dumps({{"name", tool.name},
                          {"description", tool.description},
                          {"parameters", parameters.is_object() ? parameters : Json::object()}});
    text += '\n';
  }
  return text +
         "</tools>\nTo call one, write its name and its arguments like this, and nothing after it "
         "but further calls:\n<tool_call>\n{\"name\": \"...\", \"arguments\": "
         "{...}}\n</tool_call>\nWhat it returns comes between <tool_response> and "
         "</tool_response>.";
}

}  // namespace

ChatAbilities abilities_of(const Template& chat) {
  ChatAbilities found;
  const Json told = {{{"role", "system"}, {"content", system_said}},
                     {{"role", "user"}, {"content", user_said}}};
  // Some templates cannot do without tools.
  found.system = contains(written(chat, told, nullptr), system_said) ||
                 contains(written(chat, told, probe_tools()), system_said);
  const std::string text = written_call(chat);
  const std::size_t question = text.rfind(user_said);
  if (question == std::string::npos || !contains(text, described) || !contains(text, tool_said))
    return found;
  const std::string_view after = std::string_view(text).substr(question + user_said.size());
  const SpokenTurn said = read_turn(Dialect::hermes, after);
  const bool is_hermes = said.calls.size() == 1 && said.calls[0].name == tool_name &&
                         said.calls[0].arguments == R"({"key":"value"})";
  const bool is_llama =
      contains(after, R"({"name": "probe_call", "parameters": {"key": "value"}})");
  found.tools = is_hermes || is_llama;
  found.dialect = is_llama && !is_hermes ? Dialect::llama : Dialect::hermes;
  return found;
}

std::vector<agents::Message> tools_in_words(const std::vector<agents::Message>& messages,
                                            const std::vector<agents::ToolSpec>* tools) {
  std::vector<agents::Message> out;
  if (tools != nullptr && !tools->empty()) {
    out.push_back({agents::Role::system, "", {}, "", ""});
    if (!messages.empty() && messages[0].role == agents::Role::system)
      out[0].content = messages[0].content;
    add(out[0].content, instructions(*tools), "\n\n");
  }
  for (std::size_t i = 0; i < messages.size(); ++i) {
    if (i == 0 && !out.empty() && messages[0].role == agents::Role::system) continue;
    agents::Message said = {messages[i].role, messages[i].content, {}, "", ""};
    for (const agents::ToolCall& call : messages[i].tool_calls) {
      const Json arguments = parse_json(call.arguments);
      add(said.content,
          "<tool_call>\n" +
              python_dumps({{"name", call.name},
                            {"arguments", arguments.is_object() ? arguments : Json::object()}}) +
              "\n</tool_call>",
          "\n");
    }
    if (said.role == agents::Role::tool) {
      said.role = agents::Role::user;
      said.content = "<tool_response>\n{\"name\": " + quoted_result(messages[i].tool_name) +
                     ", \"result\": " + quoted_result(said.content) + "}\n</tool_response>";
    }
    if (!out.empty() && out.back().role == said.role)
      add(out.back().content, said.content, "\n");
    else
      out.push_back(std::move(said));
  }
  return out;
}

std::vector<agents::Message> system_in_words(const std::vector<agents::Message>& messages) {
  std::vector<agents::Message> out;
  std::string system;
  for (const agents::Message& message : messages) {
    if (message.role == agents::Role::system) {
      add(system, message.content, "\n\n");
      continue;
    }
    agents::Message said = message;
    if (!system.empty() && said.role == agents::Role::user) {
      said.content = std::exchange(system, "") + "\n\n" + said.content;
    } else if (!system.empty()) {
      out.push_back({agents::Role::user, std::exchange(system, ""), {}, "", ""});
    }
    out.push_back(std::move(said));
  }
  if (!system.empty()) out.push_back({agents::Role::user, std::move(system), {}, "", ""});
  return out;
}

}  // namespace ambit::inference
