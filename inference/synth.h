#pragma once

// Makes model files with random weights and a small real vocabulary, in any shape: for tests, and
// for measuring where no weights can be had. The same shape and seed give the same bytes.

#include "inference/gguf.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace ambit::inference {

struct SynthShape {
  std::string architecture = "llama";  // one that the loader knows
  DType type = DType::f32;             // of the matrices
  std::string name = "synthetic";
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
  std::size_t window = 0;     // of Gemma's windowed layers
  std::size_t experts = 0;    // of which each token uses two; `hidden` is of one
  std::string rope_scaling;   // "linear", "yarn", "longrope": of 4; empty: none
  std::uint64_t seed = 1;
};

// Weights of matrices beyond a million are drawn from a small stock, so that big ones are made at
// the speed of the disk.
GgufWriter synthesize(const SynthShape& shape);

// The shapes of public models: "llama-3.2-1b", "qwen2.5-0.5b", "qwen3-0.6b", ... Only the
// vocabulary is ours, at their size.
std::optional<SynthShape> named_shape(std::string_view name);
std::vector<std::string_view> shape_names();

}  // namespace ambit::inference
