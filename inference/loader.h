#pragma once

// From a GGUF file to a Model: reads the shape, checks every tensor against it, repacks the
// weights.

#include "async/result.h"
#include "inference/model.h"

namespace ambit::inference {

Result<Config> read_config(const Gguf& file);
// For sessions of at most `context_max` tokens (0: what it was made for), which decides whether the
// long or the short factors of a long RoPE are taken.
Result<Model> load_model(std::shared_ptr<const Gguf> file, std::size_t context_max = 0);

}  // namespace ambit::inference
