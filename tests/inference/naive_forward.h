#pragma once

// The forward pass once more, written straight from the architecture's definition in double
// precision: no panels, no pages, no chunks. What the engine is compared with.

#include "inference/gguf.h"
#include "inference/tensor.h"

#include <vector>

namespace ambit::inference {

// Logits of every position.
std::vector<std::vector<double>> naive_logits(const Gguf& file, const std::vector<TokenId>& tokens);

}  // namespace ambit::inference
