#include "remote/chat_wire.h"

#include <nlohmann/json.hpp>

#include <algorithm>

namespace ambit::remote {
namespace {

using Json = nlohmann::json;
using OrderedJson = nlohmann::ordered_json;

constexpr std::size_t said_bytes_max = 300;

std::string_view role_name(agents::Role role) {
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

OrderedJson to_json(const agents::Message& message) {
  OrderedJson json;
  json["role"] = role_name(message.role);
  json["content"] = message.content;
  if (message.role == agents::Role::tool) json["tool_call_id"] = message.tool_call_id;
  for (const agents::ToolCall& call : message.tool_calls) {
    OrderedJson function{{"name", call.name}, {"arguments", call.arguments}};
    json["tool_calls"].push_back(
        {{"id", call.id}, {"type", "function"}, {"function", std::move(function)}});
  }
  if (!message.tool_calls.empty() && message.content.empty()) json["content"] = nullptr;
  return json;
}

Result<OrderedJson> parse_schema(const std::string& text, const std::string& what) {
  OrderedJson schema = OrderedJson::parse(text, nullptr, false);
  if (!schema.is_object()) return Err(Code::invalid, what + " is no JSON Schema object");
  return schema;
}

std::int64_t count(const Json& json, const char* name) {
  const auto at = json.find(name);
  return at != json.end() && at->is_number_integer()
             ? std::max<std::int64_t>(at->get<std::int64_t>(), 0)
             : 0;
}

agents::Usage to_usage(const Json& json) {
  agents::Usage usage;
  const auto at = json.find("usage");
  if (at == json.end() || !at->is_object()) return usage;
  usage.input_tokens = count(*at, "prompt_tokens");
  usage.output_tokens = count(*at, "completion_tokens");
  const auto details = at->find("prompt_tokens_details");
  if (details != at->end() && details->is_object()) {
    usage.cached_tokens = std::min(count(*details, "cached_tokens"), usage.input_tokens);
  }
  return usage;
}

const Json* member(const Json& json, const char* name) {
  if (!json.is_object()) return nullptr;
  const auto at = json.find(name);
  return at != json.end() ? &*at : nullptr;
}

const std::string* text_member(const Json& json, const char* name) {
  const Json* found = member(json, name);
  return found != nullptr ? found->get_ptr<const std::string*>() : nullptr;
}

Result<agents::ToolCall> to_call(const Json& json) {
  const Json* function = member(json, "function");
  const std::string* name = function != nullptr ? text_member(*function, "name") : nullptr;
  if (name == nullptr || name->empty()) {
    return Err(Code::invalid, "the endpoint's tool call has no function.name");
  }
  const std::string* arguments = text_member(*function, "arguments");
  const std::string text = arguments == nullptr || arguments->empty() ? "{}" : *arguments;
  const OrderedJson parsed = OrderedJson::parse(text, nullptr, false);
  if (!parsed.is_object()) {
    return Err(Code::invalid, "the endpoint's call of " + name->substr(0, 100) +
                                  " has arguments that are no JSON object");
  }
  const std::string* id = text_member(json, "id");
  return agents::ToolCall{id != nullptr ? *id : "", *name, parsed.dump()};
}

}  // namespace

Result<std::string> to_request(const std::string& model, const agents::TurnRequest& request) {
  OrderedJson json;
  json["model"] = model;
  json["messages"] = OrderedJson::array();
  for (const agents::Message& message : request.messages) {
    json["messages"].push_back(to_json(message));
  }
  const bool offers =
      request.tools && !request.tools->empty() && request.tool_choice != agents::ToolChoice::none;
  if (offers) {
    for (const agents::ToolSpec& tool : *request.tools) {
      OrderedJson parameters = TRY(parse_schema(tool.input_schema, "the schema of " + tool.name));
      OrderedJson function{{"name", tool.name},
                           {"description", tool.description},
                           {"parameters", std::move(parameters)}};
      json["tools"].push_back({{"type", "function"}, {"function", std::move(function)}});
    }
    json["tool_choice"] = request.tool_choice == agents::ToolChoice::required ? "required" : "auto";
  }
  if (!request.output_schema.empty()) {
    OrderedJson schema = TRY(parse_schema(request.output_schema, "the output schema"));
    OrderedJson named{{"name", "answer"}, {"strict", true}, {"schema", std::move(schema)}};
    json["response_format"] = {{"type", "json_schema"}, {"json_schema", std::move(named)}};
  }
  const agents::Sampling& sampling = request.sampling;
  json["temperature"] = sampling.temperature;
  if (sampling.top_p < 1.0) json["top_p"] = sampling.top_p;
  if (sampling.top_k > 0) json["top_k"] = sampling.top_k;
  if (sampling.min_p > 0.0) json["min_p"] = sampling.min_p;
  if (sampling.repeat_penalty != 1.0) json["repeat_penalty"] = sampling.repeat_penalty;
  json["seed"] = sampling.seed;
  json["max_tokens"] = request.tokens_max;
  json["stream"] = false;
  // Text that is no UTF-8 (a tool's output) is shown with replacement characters.
  return json.dump(-1, ' ', false, OrderedJson::error_handler_t::replace);
}

Result<agents::Turn> to_turn(std::string_view body) {
  const Json json = Json::parse(body, nullptr, false);
  const Json* choices = member(json, "choices");
  const Json* message = choices != nullptr && choices->is_array() && !choices->empty()
                            ? member(choices->front(), "message")
                            : nullptr;
  if (message == nullptr || !message->is_object()) {
    return Err(Code::invalid, "the endpoint's answer is no chat completion");
  }
  agents::Turn turn;
  turn.message.role = agents::Role::assistant;
  if (const std::string* content = text_member(*message, "content")) {
    turn.message.content = *content;
  }
  const Json* calls = member(*message, "tool_calls");
  if (calls != nullptr && calls->is_array()) {
    for (const Json& call : *calls) turn.message.tool_calls.push_back(TRY(to_call(call)));
  }
  const std::string* refusal = text_member(*message, "refusal");
  if (refusal != nullptr && turn.message.content.empty()) turn.message.content = *refusal;
  const std::string* finish = text_member(choices->front(), "finish_reason");
  if (finish != nullptr && *finish == "content_filter") {
    return Err(Code::denied, "the endpoint's content filter refused the answer");
  }
  turn.usage = to_usage(json);
  if (!turn.message.tool_calls.empty()) {
    turn.finish = agents::FinishReason::tool_calls;
  } else if (finish != nullptr && *finish == "length") {
    turn.finish = agents::FinishReason::length;
  }
  return turn;
}

agents::Usage usage_of(std::string_view body) {
  return to_usage(Json::parse(body, nullptr, false));
}

std::string error_message(std::string_view body) {
  const Json json = Json::parse(body, nullptr, false);
  const Json* error = member(json, "error");
  const std::string* said = nullptr;
  if (error != nullptr)
    said =
        error->is_string() ? error->get_ptr<const std::string*>() : text_member(*error, "message");
  if (said == nullptr) said = text_member(json, "message");
  if (said == nullptr) return "";
  std::string line = said->substr(0, said_bytes_max);
  // Not through the middle of a character.
  while (said->size() > line.size() && !line.empty() &&
         (static_cast<unsigned char>((*said)[line.size()]) & 0xC0) == 0x80) {
    line.pop_back();
  }
  for (char& c : line) {
    if (static_cast<unsigned char>(c) < 0x20) c = ' ';
  }
  return line;
}

bool is_context_overflow(std::string_view body) {
  const Json json = Json::parse(body, nullptr, false);
  const Json* error = member(json, "error");
  if (error == nullptr) return false;
  for (const char* name : {"code", "type"}) {
    const std::string* value = text_member(*error, name);
    if (value != nullptr &&
        (*value == "context_length_exceeded" || *value == "exceed_context_size_error")) {
      return true;
    }
  }
  return false;
}

}  // namespace ambit::remote
