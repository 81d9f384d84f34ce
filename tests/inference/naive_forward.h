#pragma once

// The forward pass once more, written straight from the architecture's definition in double
// precision: no panels, no pages, no chunks. What the engine is compared with.

#include "inference/gguf.h"
#include "inference/tensor.h"

#include <vector>

namespace ambit::inference {

// Logits of every position. Of the two sets of factors of a long RoPE the short one, if asked for.
std::vector<std::vector<double>> naive_logits(const Gguf& file, const std::vector<TokenId>& tokens,
                                              bool is_short = false);

}  // namespace ambit::inference
