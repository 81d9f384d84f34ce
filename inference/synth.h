#pragma once

// Makes model files with random weights and a small real vocabulary, in any shape: for tests, and
// for measuring where no weights can be had. The same shape and seed give the same bytes.

#include "inference/gguf.h"

#include <cstdint>
#include <string>

namespace ambit::inference {

struct SynthShape {
  std::string architecture = "llama";  // llama, qwen2 (biases), qwen3 (q/k norms)
  DType type = DType::f32;             // of the matrices
  std::size_t layers = 2;
  std::size_t width = 64;
  std::size_t heads = 4;
  std::size_t kv_heads = 2;
  std::size_t head_width = 16;
  std::size_t hidden = 128;
  std::size_t vocabulary = 512;  // at least 300
  std::size_t context = 2048;
  bool tied = true;
  bool rope_factors = false;  // as Llama 3.1 has them
  std::uint64_t seed = 1;
};

GgufWriter synthesize(const SynthShape& shape);

}  // namespace ambit::inference
