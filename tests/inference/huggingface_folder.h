#pragma once

// Writes a GGUF file's content as a Hugging Face folder: names, rows and norms as they stand there.

#include "inference/gguf.h"

#include <nlohmann/json_fwd.hpp>

#include <string>
#include <utility>
#include <vector>

namespace ambit::inference {

struct StoredTensor {
  std::string name;
  std::string dtype;                 // "BF16"
  std::vector<std::uint64_t> shape;  // outermost first
  std::string bytes;
};

std::string safetensors_text(const std::vector<StoredTensor>& tensors);
std::string safetensors_text(const std::string& header, const std::string& data);

nlohmann::json huggingface_config_of(const Gguf& file);
// tokenizer.json; for scored vocabularies with the merges that their scores stand for.
nlohmann::json huggingface_tokenizer_of(const Gguf& file);
nlohmann::json huggingface_tokenizer_config_of(const Gguf& file);
std::vector<StoredTensor> huggingface_tensors_of(const Gguf& file);

void write_file(const std::string& path, const std::string& bytes);
// In so many files; one has no index.
void write_huggingface(const Gguf& file, const std::string& folder, std::size_t shards);

}  // namespace ambit::inference
