#include "app/openai_wire.h"

#include "agents/message.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <bit>
#include <cstring>
#include <map>

namespace ambit::app {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::size_t inputs_max = 2048;
constexpr std::size_t stops_max = 4;
constexpr std::int64_t top_logprobs_max = 20;

std::string dumped(const Json& value) {
  return value.dump(-1, ' ', false, Json::error_handler_t::replace);
}

// Reads parameters and remembers which were known; the first mistake counts.
class Parameters {
 public:
  explicit Parameters(const std::string& body) : body_(Json::parse(body, nullptr, false)) {
    if (body_.is_discarded()) {
      fail("", "We could not parse the JSON body of your request.");
      body_ = Json::object();
    } else if (!body_.is_object()) {
      fail("", "The body of the request must be a JSON object.");
      body_ = Json::object();
    }
  }

  void fail(const std::string& param, const std::string& message, const std::string& code = "") {
    if (!error_) error_ = ApiError{400, message, param, code};
  }
  [[nodiscard]] const std::optional<ApiError>& error() const { return error_; }

  // Null if it is not there, or null.
  const Json* get(const std::string& key) {
    known_.push_back(key);
    const auto at = body_.find(key);
    return at == body_.end() || at->is_null() ? nullptr : &*at;
  }
  std::string text(const std::string& key, bool is_required) {
    const Json* value = get(key);
    if (value == nullptr) {
      if (is_required)
        fail(key, "you must provide a " + key + " parameter", "missing_required_parameter");
      return "";
    }
    if (!value->is_string())
      fail(key, "Invalid type for '" + key + "': expected a string.", "invalid_type");
    return value->is_string() ? value->get<std::string>() : "";
  }
  bool flag(const std::string& key) {
    const Json* value = get(key);
    if (value == nullptr) return false;
    if (!value->is_boolean())
      fail(key, "Invalid type for '" + key + "': expected a boolean.", "invalid_type");
    return value->is_boolean() && value->get<bool>();
  }
  double number(const std::string& key, double fallback, double least, double most) {
    const Json* value = get(key);
    if (value == nullptr) return fallback;
    if (!value->is_number()) {
      fail(key, "Invalid type for '" + key + "': expected a number.", "invalid_type");
      return fallback;
    }
    const double found = value->get<double>();
    if (!(found >= least && found <= most)) {
      fail(key, "Invalid '" + key + "': it must lie between " + dumped(least) + " and " +
                    dumped(most) + ".");
      return fallback;
    }
    return found;
  }
  std::int64_t integer(const std::string& key, std::int64_t fallback, std::int64_t least,
                       std::int64_t most) {
    const Json* value = get(key);
    if (value == nullptr) return fallback;
    if (!value->is_number_integer()) {
      fail(key, "Invalid type for '" + key + "': expected an integer.", "invalid_type");
      return fallback;
    }
    const auto found = value->get<std::int64_t>();
    if (found >= least && found <= most) return found;
    fail(key, "Invalid '" + key + "': it must lie between " + std::to_string(least) + " and " +
                  std::to_string(most) + ".");
    return fallback;
  }
  // What changes nothing of the answer here.
  void ignore(std::initializer_list<const char*> keys) {
    known_.insert(known_.end(), keys.begin(), keys.end());
  }
  void done() {
    for (const auto& [key, value] : body_.items()) {
      if (std::find(known_.begin(), known_.end(), key) == known_.end()) {
        fail(key, "Unrecognized request argument supplied: " + key, "unknown_parameter");
      }
    }
  }

 private:
  Json body_;
  std::vector<std::string> known_;
  std::optional<ApiError> error_;
};

// A text, or parts that are texts.
std::string content_of(Parameters& from, const Json& message, const std::string& at) {
  if (!message.contains("content") || message["content"].is_null()) return "";
  const Json& content = message["content"];
  if (content.is_string()) return content.get<std::string>();
  std::string text;
  if (content.is_array()) {
    for (const Json& part : content) {
      const bool is_text = part.is_object() && part.value("type", "") == "text" &&
                           part.contains("text") && part["text"].is_string();
      if (!is_text) {
        from.fail(at + ".content",
                  "These models read text: every part must be {\"type\": \"text\"}.");
        return text;
      }
      text += part["text"].get<std::string>();
    }
    return text;
  }
  from.fail(at + ".content", "Invalid type for '" + at + ".content': expected a string or parts.",
            "invalid_type");
  return text;
}

void read_calls(Parameters& from, const Json& calls, const std::string& at, agents::Message& made) {
  if (!calls.is_array()) {
    from.fail(at, "Invalid type for '" + at + "': expected an array.", "invalid_type");
    return;
  }
  for (const Json& call : calls) {
    const Json function = call.is_object() ? call.value("function", Json()) : Json();
    const bool good = function.is_object() && function.contains("name") &&
                      function["name"].is_string() && call.contains("id") && call["id"].is_string();
    if (!good) {
      from.fail(at, "A call needs an id and a function with a name.");
      return;
    }
    const Json arguments = function.value("arguments", Json("{}"));
    made.tool_calls.push_back(
        {call["id"].get<std::string>(), function["name"].get<std::string>(),
         arguments.is_string() ? arguments.get<std::string>() : dumped(arguments)});
  }
}

void read_messages(Parameters& from, agents::TurnRequest& turn, std::string& text) {
  const Json* messages = from.get("messages");
  if (messages == nullptr) {
    from.fail("messages", "you must provide a messages parameter", "missing_required_parameter");
    return;
  }
  if (!messages->is_array() || messages->empty()) {
    from.fail("messages", "Invalid 'messages': expected an array with at least one message.");
    return;
  }
  text = dumped(*messages);
  std::map<std::string, std::string> tools;  // names by call
  for (std::size_t i = 0; i < messages->size(); ++i) {
    const Json& item = (*messages)[i];
    const std::string at = "messages[" + std::to_string(i) + "]";
    const std::string role = item.is_object() ? item.value("role", "") : "";
    agents::Message made;
    if (role == "system" || role == "developer") {
      made.role = agents::Role::system;
    } else if (role == "user") {
      made.role = agents::Role::user;
    } else if (role == "assistant") {
      made.role = agents::Role::assistant;
    } else if (role == "tool") {
      made.role = agents::Role::tool;
      made.tool_call_id = item.value("tool_call_id", "");
      made.tool_name = tools.contains(made.tool_call_id) ? tools[made.tool_call_id] : "";
      if (made.tool_name.empty()) {
        from.fail(at + ".tool_call_id",
                  "No call before this message has the id '" + made.tool_call_id + "'.");
      }
    } else {
      from.fail(at + ".role",
                "Invalid value: '" + role +
                    "'. Supported values are: 'system', 'developer', 'user', 'assistant', 'tool'.",
                "invalid_value");
      return;
    }
    made.content = content_of(from, item, at);
    if (item.contains("tool_calls") && made.role == agents::Role::assistant) {
      read_calls(from, item["tool_calls"], at + ".tool_calls", made);
      for (const agents::ToolCall& call : made.tool_calls) tools[call.id] = call.name;
    }
    turn.messages.push_back(std::move(made));
  }
}

void read_tools(Parameters& from, agents::TurnRequest& turn) {
  auto specs = std::make_shared<std::vector<agents::ToolSpec>>();
  const Json* tools = from.get("tools");
  for (std::size_t i = 0; tools != nullptr && i < tools->size(); ++i) {
    const std::string at = "tools[" + std::to_string(i) + "]";
    const Json& tool = tools->is_array() ? (*tools)[i] : *tools;
    const Json function = tool.is_object() ? tool.value("function", Json()) : Json();
    const bool good = tools->is_array() && tool.is_object() &&
                      tool.value("type", "") == "function" && function.is_object() &&
                      function.contains("name") && function["name"].is_string();
    if (!good) {
      from.fail(at, "Invalid '" + at +
                        "': expected {\"type\": \"function\", \"function\": {\"name\", ...}}.");
      return;
    }
    agents::ToolSpec spec;
    spec.name = function["name"].get<std::string>();
    spec.description = function.value("description", "");
    spec.input_schema = dumped(
        function.value("parameters", Json({{"type", "object"}, {"properties", Json::object()}})));
    specs->push_back(std::move(spec));
  }
  turn.tool_choice = specs->empty() ? agents::ToolChoice::none : agents::ToolChoice::automatic;
  if (const Json* choice = from.get("tool_choice")) {
    const std::string word = choice->is_string() ? choice->get<std::string>() : "";
    if (word == "none") {
      turn.tool_choice = agents::ToolChoice::none;
    } else if (word == "required") {
      turn.tool_choice = agents::ToolChoice::required;
    } else if (choice->is_object()) {
      const std::string name = choice->value("function", Json::object()).value("name", "");
      std::erase_if(*specs, [&](const agents::ToolSpec& spec) { return spec.name != name; });
      if (specs->empty())
        from.fail("tool_choice", "Invalid 'tool_choice': there is no tool '" + name + "'.");
      turn.tool_choice = agents::ToolChoice::required;
    } else if (word != "auto") {
      from.fail("tool_choice",
                "Invalid 'tool_choice': expected 'none', 'auto', 'required' or a function.");
    }
    if (turn.tool_choice == agents::ToolChoice::required && specs->empty()) {
      from.fail("tool_choice", "Invalid 'tool_choice': there are no tools.");
    }
  }
  turn.tools = std::move(specs);
}

void read_format(Parameters& from, agents::TurnRequest& turn) {
  const Json* format = from.get("response_format");
  if (format == nullptr) return;
  const std::string type = format->is_object() ? format->value("type", "") : "";
  if (type == "json_object") {
    turn.output_schema = R"({"type":"object"})";
  } else if (type == "json_schema") {
    const Json wrapped = format->value("json_schema", Json());
    if (!wrapped.is_object() || !wrapped.contains("schema") || !wrapped["schema"].is_object()) {
      from.fail("response_format.json_schema",
                "Missing required parameter: 'response_format.json_schema.schema'.",
                "missing_required_parameter");
      return;
    }
    turn.output_schema = dumped(wrapped["schema"]);
  } else if (type != "text") {
    from.fail("response_format.type",
              "Invalid value: '" + type +
                  "'. Supported values are: 'text', 'json_object', 'json_schema'.",
              "invalid_value");
  }
}

void read_stop(Parameters& from, agents::TurnRequest& turn) {
  const Json* stop = from.get("stop");
  if (stop == nullptr) return;
  if (stop->is_string()) {
    turn.stop.push_back(stop->get<std::string>());
  } else if (stop->is_array()) {
    for (const Json& one : *stop) {
      if (one.is_string()) turn.stop.push_back(one.get<std::string>());
    }
    if (turn.stop.size() != stop->size()) from.fail("stop", "Invalid 'stop': expected strings.");
  } else {
    from.fail("stop", "Invalid 'stop': expected a string or an array of strings.", "invalid_type");
  }
  if (turn.stop.size() > stops_max) from.fail("stop", "Invalid 'stop': at most 4 sequences.");
}

void read_sampling(Parameters& from, agents::TurnRequest& turn) {
  agents::Sampling& sampling = turn.sampling;
  sampling.temperature = from.number("temperature", 1, 0, 2);
  sampling.top_p = from.number("top_p", 1, 0, 1);
  sampling.presence_penalty = from.number("presence_penalty", 0, -2, 2);
  sampling.frequency_penalty = from.number("frequency_penalty", 0, -2, 2);
  sampling.seed = static_cast<std::uint64_t>(from.integer("seed", 0, INT64_MIN, INT64_MAX));
  if (const Json* bias = from.get("logit_bias")) {
    if (!bias->is_object())
      from.fail("logit_bias", "Invalid 'logit_bias': expected an object.", "invalid_type");
    for (const auto& [token, amount] : bias->items()) {
      const bool digits = !token.empty() && token.size() < 10 &&
                          token.find_first_not_of("0123456789") == std::string::npos;
      if (!digits || !amount.is_number()) {
        from.fail("logit_bias", "Invalid 'logit_bias': expected token ids with numbers.");
        break;
      }
      sampling.logit_bias.emplace_back(std::stoi(token), amount.get<double>());
    }
  }
}

void read_stream(Parameters& from, ChatRequest& made) {
  made.stream = from.flag("stream");
  const Json* options = from.get("stream_options");
  if (options == nullptr) return;
  if (!made.stream)
    from.fail("stream_options",
              "The 'stream_options' parameter is only allowed when 'stream' is enabled.");
  made.stream_usage = options->is_object() && options->value("include_usage", false);
}

void one_choice(Parameters& from) {
  if (from.integer("n", 1, 1, 128) != 1)
    from.fail("n", "Only one choice is made here: leave out 'n'.");
}

Json usage_json(const agents::Usage& usage) {
  return {{"prompt_tokens", usage.input_tokens},
          {"completion_tokens", usage.output_tokens},
          {"total_tokens", usage.input_tokens + usage.output_tokens},
          {"prompt_tokens_details", {{"cached_tokens", usage.cached_tokens}}}};
}

Json bytes_json(const std::string& text) {
  Json bytes = Json::array();
  for (const char c : text) bytes.push_back(static_cast<unsigned char>(c));
  return bytes;
}

Json logprobs_json(const agents::Turn& turn, bool is_chat) {
  if (is_chat) {
    Json content = Json::array();
    for (const agents::TokenLogprob& token : turn.logprobs) {
      Json top = Json::array();
      for (const auto& [text, logprob] : token.likeliest) {
        top.push_back({{"token", text}, {"logprob", logprob}, {"bytes", bytes_json(text)}});
      }
      content.push_back({{"token", token.text},
                         {"logprob", token.logprob},
                         {"bytes", bytes_json(token.text)},
                         {"top_logprobs", std::move(top)}});
    }
    return {{"content", std::move(content)}, {"refusal", nullptr}};
  }
  Json out = {{"tokens", Json::array()},
              {"token_logprobs", Json::array()},
              {"top_logprobs", Json::array()},
              {"text_offset", Json::array()}};
  std::size_t offset = 0;
  for (const agents::TokenLogprob& token : turn.logprobs) {
    out["tokens"].push_back(token.text);
    out["token_logprobs"].push_back(token.logprob);
    Json top = Json::object();
    for (const auto& [text, logprob] : token.likeliest) top[text] = logprob;
    out["top_logprobs"].push_back(std::move(top));
    out["text_offset"].push_back(offset);
    offset += token.text.size();
  }
  return out;
}

std::string finish_of(const agents::Turn& turn) {
  if (!turn.message.tool_calls.empty()) return "tool_calls";
  return turn.finish == agents::FinishReason::length ? "length" : "stop";
}

Json call_json(const Answer& answer, const agents::ToolCall& call, std::size_t index) {
  // Ids of calls must be unique over the conversation, and ours are not given by the model.
  const std::string id =
      "call_" + answer.id.substr(answer.id.rfind('-') + 1) + "_" + std::to_string(index);
  return {{"id", id},
          {"type", "function"},
          {"function", {{"name", call.name}, {"arguments", call.arguments}}}};
}

Json chunk(const Answer& answer, Json choice) {
  Json out = {{"id", answer.id},
              {"object", answer.is_chat ? "chat.completion.chunk" : "text_completion"},
              {"created", answer.created},
              {"model", answer.model},
              {"choices", Json::array()}};
  if (!choice.is_null()) out["choices"].push_back(std::move(choice));
  return out;
}

Json choice_of(const Answer& answer, Json delta, const Json& finish) {
  Json choice = {{"index", 0}};
  if (answer.is_chat) {
    choice["delta"] = std::move(delta);
  } else {
    choice["text"] = std::move(delta);
  }
  choice["logprobs"] = nullptr;
  choice["finish_reason"] = finish;
  return choice;
}

std::string base64_of(const std::vector<float>& values) {
  static_assert(std::endian::native == std::endian::little);
  constexpr std::string_view digits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string bytes(values.size() * sizeof(float), '\0');
  std::memcpy(bytes.data(), values.data(), bytes.size());
  std::string out;
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    const std::size_t count = std::min<std::size_t>(3, bytes.size() - i);
    std::uint32_t three = 0;
    for (std::size_t k = 0; k < 3; ++k) {
      three = (three << 8) | (k < count ? static_cast<unsigned char>(bytes[i + k]) : 0);
    }
    for (std::size_t k = 0; k < 4; ++k) {
      out += k <= count ? digits[(three >> (18 - 6 * k)) & 63] : '=';
    }
  }
  return out;
}

}  // namespace

std::string to_json(const ApiError& error) {
  const auto or_null = [](const std::string& text) {
    return text.empty() ? Json(nullptr) : Json(text);
  };
  return dumped({{"error",
                  {{"message", error.message},
                   {"type", error.type},
                   {"param", or_null(error.param)},
                   {"code", or_null(error.code)}}}});
}

ApiError to_api_error(const Error& error) {
  switch (error.code) {
    case Code::exhausted:
      if (error.message.find("context") != std::string::npos) {
        return {400, error.message, "messages", "context_length_exceeded"};
      }
      return {429, error.message, "", "rate_limit_exceeded", "rate_limit_error"};
    case Code::invalid:
    case Code::unsupported:
      return {400, error.message, "", ""};
    case Code::denied:
      return {403, error.message, "", "denied", "permission_error"};
    case Code::unavailable:
    case Code::closed:
      return {503, error.message, "", "unavailable", "server_error"};
    case Code::timeout:
      return {504, error.message, "", "timeout", "server_error"};
    default:
      return {500, error.message, "", "", "server_error"};
  }
}

Parsed<ChatRequest> parse_chat(const std::string& body) {
  Parameters from(body);
  ChatRequest made;
  made.model = from.text("model", true);
  read_messages(from, made.turn, made.text);
  read_tools(from, made.turn);
  read_format(from, made.turn);
  read_sampling(from, made.turn);
  read_stop(from, made.turn);
  read_stream(from, made);
  one_choice(from);
  const std::int64_t fallback = from.integer("max_tokens", 512, 1, 1'000'000);
  made.turn.tokens_max = from.integer("max_completion_tokens", fallback, 1, 1'000'000);
  const bool logprobs = from.flag("logprobs");
  const std::int64_t top = from.integer("top_logprobs", 0, 0, top_logprobs_max);
  if (logprobs) made.turn.logprobs = static_cast<int>(top);
  if (!logprobs && top > 0)
    from.fail("top_logprobs",
              "The 'top_logprobs' parameter is only allowed when 'logprobs' is enabled.");
  from.ignore({"user", "store", "metadata", "parallel_tool_calls", "service_tier",
               "safety_identifier", "prompt_cache_key", "reasoning_effort", "verbosity"});
  from.done();
  if (from.error()) return tl::unexpected(*from.error());
  return made;
}

Parsed<ChatRequest> parse_completion(const std::string& body) {
  Parameters from(body);
  ChatRequest made;
  made.is_chat = false;
  made.model = from.text("model", true);
  const Json* prompt = from.get("prompt");
  if (prompt != nullptr && prompt->is_array() && prompt->size() == 1 &&
      prompt->front().is_string()) {
    made.turn.text = prompt->front().get<std::string>();
  } else if (prompt != nullptr && prompt->is_string()) {
    made.turn.text = prompt->get<std::string>();
  } else {
    from.fail("prompt", "Give one prompt, as a string.",
              prompt == nullptr ? "missing_required_parameter" : "invalid_type");
  }
  made.text = made.turn.text;
  made.turn.tools = std::make_shared<std::vector<agents::ToolSpec>>();
  made.turn.tool_choice = agents::ToolChoice::none;
  read_sampling(from, made.turn);
  read_stop(from, made.turn);
  read_stream(from, made);
  one_choice(from);
  made.turn.tokens_max = from.integer("max_tokens", 16, 1, 1'000'000);
  made.turn.logprobs = static_cast<int>(from.integer("logprobs", -1, 0, top_logprobs_max));
  if (from.flag("echo")) from.fail("echo", "The prompt is not said again here: leave out 'echo'.");
  if (from.get("suffix") != nullptr) from.fail("suffix", "A suffix is not supported.");
  if (from.integer("best_of", 1, 1, 20) != 1)
    from.fail("best_of", "Only one choice is made here: leave out 'best_of'.");
  from.ignore({"user"});
  from.done();
  if (from.error()) return tl::unexpected(*from.error());
  return made;
}

Parsed<EmbeddingsRequest> parse_embeddings(const std::string& body) {
  Parameters from(body);
  EmbeddingsRequest made;
  made.model = from.text("model", true);
  const Json* input = from.get("input");
  if (input != nullptr && input->is_string()) {
    made.inputs.push_back(input->get<std::string>());
  } else if (input != nullptr && input->is_array() && !input->empty() &&
             input->size() <= inputs_max) {
    for (const Json& one : *input) {
      if (one.is_string()) made.inputs.push_back(one.get<std::string>());
    }
    if (made.inputs.size() != input->size())
      from.fail("input", "Invalid 'input': expected texts.", "invalid_type");
  } else {
    from.fail("input", "Invalid 'input': expected a text, or 1 to 2048 of them.");
  }
  const std::string format = from.text("encoding_format", false);
  made.base64 = format == "base64";
  if (!format.empty() && format != "float" && format != "base64") {
    from.fail("encoding_format",
              "Invalid value: '" + format + "'. Supported values are: 'float', 'base64'.");
  }
  if (from.get("dimensions") != nullptr)
    from.fail("dimensions", "This model's embeddings have one size only.");
  from.ignore({"user"});
  from.done();
  if (from.error()) return tl::unexpected(*from.error());
  return made;
}

std::string to_json(const Answer& answer, const agents::Turn& turn, bool with_logprobs) {
  Json choice = {{"index", 0}};
  if (answer.is_chat) {
    Json message = {{"role", "assistant"}, {"content", turn.message.content}, {"refusal", nullptr}};
    for (std::size_t i = 0; i < turn.message.tool_calls.size(); ++i) {
      message["tool_calls"].push_back(call_json(answer, turn.message.tool_calls[i], i));
    }
    if (message.contains("tool_calls") && turn.message.content.empty())
      message["content"] = nullptr;
    choice["message"] = std::move(message);
  } else {
    choice["text"] = turn.message.content;
  }
  choice["logprobs"] = with_logprobs ? logprobs_json(turn, answer.is_chat) : Json(nullptr);
  choice["finish_reason"] = finish_of(turn);
  return dumped({{"id", answer.id},
                 {"object", answer.is_chat ? "chat.completion" : "text_completion"},
                 {"created", answer.created},
                 {"model", answer.model},
                 {"choices", Json::array({std::move(choice)})},
                 {"usage", usage_json(turn.usage)}});
}

std::string first_chunk(const Answer& answer) {
  return dumped(
      chunk(answer, choice_of(answer, {{"role", "assistant"}, {"content", ""}}, nullptr)));
}

std::string text_chunk(const Answer& answer, const std::string& text) {
  Json delta = answer.is_chat ? Json({{"content", text}}) : Json(text);
  return dumped(chunk(answer, choice_of(answer, std::move(delta), nullptr)));
}

std::vector<std::string> last_chunks(const Answer& answer, const agents::Turn& turn,
                                     bool with_logprobs) {
  std::vector<std::string> chunks;
  for (std::size_t i = 0; i < turn.message.tool_calls.size(); ++i) {
    Json call = call_json(answer, turn.message.tool_calls[i], i);
    call["index"] = i;
    chunks.push_back(
        dumped(chunk(answer, choice_of(answer, {{"tool_calls", Json::array({call})}}, nullptr))));
  }
  Json last = choice_of(answer, answer.is_chat ? Json::object() : Json(""), finish_of(turn));
  if (with_logprobs) last["logprobs"] = logprobs_json(turn, answer.is_chat);
  chunks.push_back(dumped(chunk(answer, std::move(last))));
  return chunks;
}

std::string usage_chunk(const Answer& answer, const agents::Usage& usage) {
  Json out = chunk(answer, nullptr);
  out["usage"] = usage_json(usage);
  return dumped(out);
}

std::string to_json(const std::string& model, const std::vector<agents::Embedding>& embeddings,
                    bool base64) {
  Json data = Json::array();
  std::int64_t tokens = 0;
  for (std::size_t i = 0; i < embeddings.size(); ++i) {
    tokens += embeddings[i].tokens;
    data.push_back({{"object", "embedding"},
                    {"index", i},
                    {"embedding",
                     base64 ? Json(base64_of(embeddings[i].values)) : Json(embeddings[i].values)}});
  }
  return dumped({{"object", "list"},
                 {"data", std::move(data)},
                 {"model", model},
                 {"usage", {{"prompt_tokens", tokens}, {"total_tokens", tokens}}}});
}

std::string model_json(const std::string& name) {
  return dumped({{"id", name}, {"object", "model"}, {"created", 0}, {"owned_by", "ambit"}});
}

std::string models_json(const std::vector<std::string>& names) {
  std::string data;
  for (const std::string& name : names) data += (data.empty() ? "" : ",") + model_json(name);
  return "{\"object\":\"list\",\"data\":[" + data + "]}";
}

}  // namespace ambit::app
