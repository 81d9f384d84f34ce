#pragma once

// A Hugging Face folder (config.json, tokenizer.json, model.safetensors or an index with its
// shards) as the model file that it would be in GGUF: the same names, keys and order of rows, so
// that everything above reads one kind of file. What the engine could not follow exactly is
// refused, never dropped.

#include "async/result.h"
#include "inference/gguf.h"

#include <string>
#include <string_view>
#include <vector>

namespace ambit::inference {

// The texts of a folder; empty where there is no such file.
struct HuggingFaceTexts {
  std::string_view config;             // config.json
  std::string_view tokenizer;          // tokenizer.json
  std::string_view tokenizer_config;   // tokenizer_config.json
  std::string_view generation_config;  // generation_config.json
  std::string_view chat_template;      // chat_template.jinja
};

struct HuggingFaceLimits {
  std::size_t text_bytes_max = 48U << 20U;  // of any one of the texts
  std::size_t shards_max = 1024;
};

// One error names the file and what is wrong with it.
Result<Gguf> open_huggingface(const std::string& folder, const HuggingFaceLimits& limits = {});

// The same from what was read: `tensors` under their names in the folder, pointing into memory that
// outlives the result.
Result<Gguf> translate_huggingface(const std::string& name, const HuggingFaceTexts& texts,
                                   std::vector<TensorView> tensors);

}  // namespace ambit::inference
