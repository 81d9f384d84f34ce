#include "inference/chat.h"

#include "inference/json_text.h"
#include "inference/unicode.h"

#include <nlohmann/json.hpp>

#include <algorithm>

namespace ambit::inference {

namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view chatml =
    "{%- for message in messages -%}"
    "{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' -}}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}";

std::string role_name(agents::Role role) {
  switch (role) {
    case agents::Role::system:
      return "system";
    case agents::Role::user:
      return "user";
    case agents::Role::assistant:
      return "assistant";
    case agents::Role::tool:
      return "tool";
  }
  return "user";
}

// Guards every string in a value, names of members included.
Json guarded(const Tokenizer& tokenizer, const Json& value) {
  if (value.is_string()) return tokenizer.guard(value.get_ref<const std::string&>(), true);
  if (value.is_array()) {
    Json list = Json::array();
    for (const Json& item : value) list.push_back(guarded(tokenizer, item));
    return list;
  }
  if (!value.is_object()) return value;
  Json object = Json::object();
  for (const auto& [key, item] : value.items())
    object[tokenizer.guard(key, true)] = guarded(tokenizer, item);
  return object;
}

Json object_from(const std::string& text) {
  Json value = parse_json(text);
  if (value.is_object()) return value;
  return Json::object();
}

Json message_value(const Tokenizer& tokenizer, const agents::Message& message) {
  // Its own words may hold tags that the template looks for; they are still no control tokens.
  const bool own_words = message.role == agents::Role::assistant;
  Json value = {{"role", role_name(message.role)},
                {"content", tokenizer.guard(valid_utf8(message.content), !own_words)}};
  if (message.role == agents::Role::tool) {
    value["name"] = tokenizer.guard(valid_utf8(message.tool_name), true);
    value["tool_call_id"] = tokenizer.guard(valid_utf8(message.tool_call_id), true);
  }
  for (const agents::ToolCall& call : message.tool_calls) {
    Json function = {{"name", tokenizer.guard(valid_utf8(call.name), true)},
                     {"arguments", guarded(tokenizer, object_from(call.arguments))}};
    value["tool_calls"].push_back(
        {{"id", call.id}, {"type", "function"}, {"function", std::move(function)}});
  }
  return value;
}

Json tool_value(const Tokenizer& tokenizer, const agents::ToolSpec& tool) {
  Json function = {{"name", tokenizer.guard(valid_utf8(tool.name), true)},
                   {"description", tokenizer.guard(valid_utf8(tool.description), true)},
                   {"parameters", guarded(tokenizer, object_from(tool.input_schema))}};
  return {{"type", "function"}, {"function", std::move(function)}};
}

bool speaks_of_tools(const agents::Message& message) {
  return message.role == agents::Role::tool || !message.tool_calls.empty();
}

}  // namespace

Result<Chat> Chat::load(const Gguf& file, const Tokenizer& tokenizer) {
  const std::string* source = file.text("tokenizer.chat_template");
  if (source != nullptr) return parse(*source, tokenizer);
  if (!tokenizer.find("<|im_start|>"))
    return Err(Code::unsupported,
               "the file has no tokenizer.chat_template, so conversations cannot be written for "
               "this model");
  return parse(chatml, tokenizer);
}

Result<Chat> Chat::parse(std::string_view source, const Tokenizer& tokenizer) {
  Chat chat(tokenizer);
  chat.template_ = TRY(Template::parse(source));
  chat.abilities_ = abilities_of(chat.template_);
  return chat;
}

Result<std::string> Chat::render(const std::vector<agents::Message>& messages,
                                 const std::vector<agents::ToolSpec>* tools,
                                 bool add_generation_prompt) const {
  if (!abilities_.tools && ((tools != nullptr && !tools->empty()) ||
                            std::any_of(messages.begin(), messages.end(), speaks_of_tools)))
    return write(tools_in_words(messages, tools), nullptr, add_generation_prompt);
  return write(messages, tools, add_generation_prompt);
}

Result<std::string> Chat::write(const std::vector<agents::Message>& messages,
                                const std::vector<agents::ToolSpec>* tools,
                                bool add_generation_prompt) const {
  Json variables = {{"messages", Json::array()},
                    {"tools", nullptr},
                    {"add_generation_prompt", add_generation_prompt}};
  const auto joined =
      abilities_.system ? std::vector<agents::Message>() : system_in_words(messages);
  for (const agents::Message& message : abilities_.system ? messages : joined)
    variables["messages"].push_back(message_value(*tokenizer_, message));
  if (tools != nullptr && !tools->empty()) {
    variables["tools"] = Json::array();
    for (const agents::ToolSpec& tool : *tools)
      variables["tools"].push_back(tool_value(*tokenizer_, tool));
  }
  const auto token_text = [&](std::optional<TokenId> token) {
    return token ? std::string(tokenizer_->name(*token)) : std::string();
  };
  variables["bos_token"] = token_text(tokenizer_->begin_token());
  variables["eos_token"] = token_text(tokenizer_->end_token());
  return template_.render(variables);
}

Result<std::vector<TokenId>> Chat::prompt(const std::vector<agents::Message>& messages,
                                          const std::vector<agents::ToolSpec>* tools) const {
  return tokenizer_->encode_whole(TRY(render(messages, tools)));
}

}  // namespace ambit::inference
