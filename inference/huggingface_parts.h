#pragma once

// The three parts of the translation (huggingface.h): shape, vocabulary, names. Internal.

#include "inference/huggingface.h"

#include <nlohmann/json_fwd.hpp>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace ambit::inference {

// What a file said, fit to stand in a message.
std::string shown(std::string_view text);

// A text of the folder as JSON. Not ordered_json: its look-ups are linear.
Result<nlohmann::json> huggingface_json(std::string_view text, const char* file);

// What the names and the order of the tensors depend on.
struct HuggingFaceShape {
  std::string family;  // as GGUF calls it
  std::size_t heads = 0;
  std::size_t kv_heads = 0;
  std::size_t head_width = 0;
  std::optional<bool> tied;  // nothing: the config does not say
  // Divisors of the frequencies, where the config has them: "rope_freqs.weight" and such.
  std::vector<std::pair<std::string, std::vector<float>>> rope_tensors;
};
// config.json; fills the keys of the architecture.
Result<HuggingFaceShape> read_huggingface_config(const nlohmann::json& config,
                                                 GgufMetadata& metadata);

// tokenizer.json and what belongs to it, for an embedding of so many rows.
Result<void> read_huggingface_tokenizer(const HuggingFaceTexts& texts, const nlohmann::json& config,
                                        std::size_t rows, GgufMetadata& metadata);

}  // namespace ambit::inference
