#pragma once

#include "inference/forward.h"

#include <vector>

namespace ambit::inference {

// Logits of all positions, computed `chunk` rows at a time.
std::vector<std::vector<float>> engine_logits(const Model& model, const Kernels& kernels,
                                              KvType type, const std::vector<TokenId>& tokens,
                                              std::size_t chunk, std::size_t threads = 1);

}  // namespace ambit::inference
