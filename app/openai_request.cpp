// The half of openai_wire.h that reads requests.

#include "agents/message.h"
#include "app/openai_wire.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <map>

namespace ambit::app {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::size_t inputs_max = 2048;
constexpr std::size_t stops_max = 4;
constexpr std::int64_t top_logprobs_max = 20;

std::string compact_text(const Json& value) {
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
      fail(key, "Invalid '" + key + "': it must lie between " + compact_text(least) + " and " +
                    compact_text(most) + ".");
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
         arguments.is_string() ? arguments.get<std::string>() : compact_text(arguments)});
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
  text = compact_text(*messages);
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
    spec.input_schema = compact_text(
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
    turn.output_schema = compact_text(wrapped["schema"]);
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

}  // namespace

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

}  // namespace ambit::app
