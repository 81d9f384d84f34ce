#include "app/openai_wire.h"

#include "agents/message.h"
#include "app/json_text.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <bit>
#include <cstring>

namespace ambit::app {
namespace {

using Json = nlohmann::ordered_json;

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
