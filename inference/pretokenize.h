#pragma once

// Splits text into the pieces inside which byte-level BPE may merge. Each scanner does by hand what
// the public regular expression of its family says; in the order of its alternatives.

#include <optional>
#include <string_view>
#include <vector>

namespace ambit::inference {

enum class PreTokenizer { gpt2, llama3, qwen2, smollm };

// By the name in `tokenizer.ggml.pre`.
std::optional<PreTokenizer> pre_tokenizer_named(std::string_view name);

// The pieces, in order, without a gap; they point into `text`.
std::vector<std::string_view> pre_tokenize(PreTokenizer kind, std::string_view text);

}  // namespace ambit::inference
