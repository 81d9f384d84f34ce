#pragma once

// The OpenAI-compatible forms of requests (openai_request.cpp reads them) and answers
// (openai_wire.cpp writes them). Pure: openai_door.h does
// the rest. What a request says and is not understood is an error that names the parameter.

#include "agents/ports.h"
#include "async/result.h"

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace ambit::app {

// A refusal in OpenAI's shape.
struct ApiError {
  int status = 400;
  std::string message;
  std::string param;                           // which parameter; empty: null
  std::string code;                            // "model_not_found"; empty: null
  std::string type = "invalid_request_error";  // "permission_error", "server_error", ...
};
std::string to_json(const ApiError& error);
// What a model's failure is for a client.
ApiError to_api_error(const Error& error);

struct ChatRequest {
  std::string model;
  agents::TurnRequest turn;
  bool stream = false;
  bool stream_usage = false;
  bool is_chat = true;  // false: /v1/completions
  std::string text;     // of the messages, as they came: for the record
};

struct EmbeddingsRequest {
  std::string model;
  std::vector<std::string> inputs;
  bool base64 = false;
};

template <class T>
using Parsed = tl::expected<T, ApiError>;

Parsed<ChatRequest> parse_chat(const std::string& body);
Parsed<ChatRequest> parse_completion(const std::string& body);
Parsed<EmbeddingsRequest> parse_embeddings(const std::string& body);

// What every answer carries.
struct Answer {
  std::string id;  // "chatcmpl-..."
  std::string model;
  std::int64_t created = 0;  // seconds since 1970
  bool is_chat = true;
};
std::string to_json(const Answer& answer, const agents::Turn& turn, bool with_logprobs);
// Parts of a stream, each the data of one event.
std::string first_chunk(const Answer& answer);
std::string text_chunk(const Answer& answer, const std::string& text);
// The calls, if there are any, and why it ended.
std::vector<std::string> last_chunks(const Answer& answer, const agents::Turn& turn,
                                     bool with_logprobs);
std::string usage_chunk(const Answer& answer, const agents::Usage& usage);

std::string to_json(const std::string& model, const std::vector<agents::Embedding>& embeddings,
                    bool base64);
// {"object": "list", ...}, or one model.
std::string models_json(const std::vector<std::string>& names);
std::string model_json(const std::string& name);

}  // namespace ambit::app
