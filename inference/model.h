#pragma once

// A model in memory: its shape (Config) and its weights, repacked for the kernels. Immutable once
// loaded, shared by every thread. Dense decoders of the Llama family: Llama, Qwen2 (biases), Qwen3
// (q/k norms).

#include "inference/gguf.h"
#include "inference/tensor.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace ambit::inference {

struct Config {
  std::string architecture;
  std::string name;
  std::size_t layers = 0;
  std::size_t width = 0;  // of the residual stream
  std::size_t heads = 0;
  std::size_t kv_heads = 0;
  std::size_t head_width = 0;
  std::size_t hidden = 0;  // of the feed-forward block
  std::size_t vocabulary = 0;
  std::size_t context = 0;  // positions the model was made for
  float norm_epsilon = 1e-5F;
  double rope_base = 10000.0;
  double rope_scale = 1.0;       // linear scaling: positions are multiplied by this
  std::size_t rope_width = 0;    // leading dimensions of a head that turn
  bool rope_interleaved = true;  // pairs (2i, 2i+1), else (i, i + rope_width / 2)
  friend bool operator==(const Config&, const Config&) = default;
};

// Outputs of a panel: one vector lane owns one output.
inline constexpr std::size_t panel_outputs = 16;

// y = W x, with W cut into panels of 16 outputs, inputs running innermost:
//   float types  panel[input][16]
//   Q8_0         panel[input / 32]{ 16 f16 scales, [32][16] signed bytes }
// Several tensors of the file may be stacked: each starts on a panel border, `parts` says at which
// output.
struct Matrix {
  DType type = DType::f32;
  std::size_t inputs = 0;
  std::size_t outputs = 0;  // a multiple of 16; those beyond a part's own are zero
  std::size_t panel_bytes = 0;
  std::vector<std::size_t> parts;
  AlignedBytes panels;
  [[nodiscard]] std::size_t panel_count() const { return outputs / panel_outputs; }
};

struct Layer {
  std::vector<float> attention_norm;     // [width]
  std::vector<float> feed_forward_norm;  // [width]
  std::vector<float> query_norm;         // [head_width] or empty
  std::vector<float> key_norm;           // [head_width] or empty
  std::vector<float> qkv_bias;           // [qkv.outputs] or empty
  Matrix qkv;            // parts: q [heads * head_width], k, v [kv_heads * head_width]
  Matrix attention_out;  // [width] from [heads * head_width]
  Matrix gate_up;        // parts: gate [hidden], up [hidden]
  Matrix down;           // [width] from [hidden]
};

struct Model {
  Config config;
  std::shared_ptr<const Gguf> file;       // holds the embedding rows
  const TensorView* embedding = nullptr;  // [vocabulary][width], in the file
  std::vector<Layer> layers;
  std::vector<float> output_norm;       // [width]
  Matrix output;                        // [vocabulary] from [width]; the embedding again where tied
  std::vector<float> rope_frequencies;  // [rope_width / 2], scaling included
  std::size_t weight_bytes = 0;
};

}  // namespace ambit::inference
