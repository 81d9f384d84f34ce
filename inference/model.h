#pragma once

// A model in memory: its shape (Config) and its weights, repacked for the kernels. Immutable once
// loaded, shared by every thread. Decoders of the Llama family and its cousins: Llama,
// Mistral, SmolLM, Qwen2 (biases), Qwen3 (q/k norms), Phi-3 (fused tensors), Gemma 2 and 3 (norms
// after, too, windows, soft caps); and mixtures of experts: Mixtral, Qwen3-MoE.

#include "inference/gguf.h"
#include "inference/tensor.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace ambit::inference {

// How positions beyond the first training's context are told apart.
struct RopeScaling {
  enum class Kind { none, linear, yarn, longrope };
  Kind kind = Kind::none;
  double factor = 1.0;  // new context / original context
  std::size_t original_context = 0;
  bool is_short = false;          // longrope: sessions stay within it, and have its factors
  double beta_fast = 32.0;        // yarn: turns beyond which a pair is left as it is
  double beta_slow = 1.0;         // yarn: turns below which a pair is scaled in full
  float attention_factor = 1.0F;  // of cosines and sines
  friend bool operator==(const RopeScaling&, const RopeScaling&) = default;
};

struct Config {
  std::string architecture;
  std::string name;
  std::size_t layers = 0;
  std::size_t width = 0;  // of the residual stream
  std::size_t heads = 0;
  std::size_t kv_heads = 0;
  std::size_t head_width = 0;
  std::size_t hidden = 0;        // of the feed-forward block, or of one expert
  std::size_t experts = 0;       // of each layer; 0: one block for all tokens
  std::size_t experts_used = 0;  // by one token
  std::size_t vocabulary = 0;
  std::size_t context = 0;  // positions the model was made for
  float norm_epsilon = 1e-5F;
  double rope_base = 10000.0;
  RopeScaling rope_scaling;
  std::size_t rope_width = 0;    // leading dimensions of a head that turn
  bool rope_interleaved = true;  // pairs (2i, 2i+1), else (i, i + rope_width / 2)
  float attention_scale = 0;     // of the scores
  float attention_cap = 0;       // cap * tanh(score / cap); 0: none
  float logit_cap = 0;           // the same for the logits
  bool pools_last = false;       // embeddings are the last token's state, not the mean of all
  float embedding_scale = 1;     // of the first residual
  bool gelu = false;             // gates by gelu instead of silu
  std::size_t window = 0;        // positions that a windowed layer sees; 0: there are none
  // Of every `window_period` layers the last one sees everything; 0: all have the window.
  std::size_t window_period = 0;
  double window_rope_base = 0;  // of windowed layers; 0: as the others
  // Of every `unturned_period` layers the last one does not turn its heads; 0: all turn.
  std::size_t unturned_period = 0;
  [[nodiscard]] bool is_windowed(std::size_t layer) const {
    return window > 0 && (window_period == 0 || (layer + 1) % window_period != 0);
  }
  [[nodiscard]] bool turns(std::size_t layer) const {
    return unturned_period == 0 || (layer + 1) % unturned_period != 0;
  }
  friend bool operator==(const Config&, const Config&) = default;
};

// Outputs of a panel: one vector lane owns one output.
inline constexpr std::size_t panel_outputs = 16;

// y = W x, with W cut into panels of 16 outputs, inputs running innermost:
//   F32, F16     panel[input][16]
//   BF16         panel[input / 32][input / 2 % 16][16][input % 2], zeros up to whole blocks
//   others       blocks of 32 inputs: { scales of 16 outputs, levels[8][16 outputs][4 inputs] },
//   the
//                levels of 4 bits two groups to a byte (G and G + 4), further bits in planes after
//                them; with every 256 inputs first the half floats that scale the scales
// A segment is a stretch of panels of one type.
struct Segment {
  DType type = DType::f32;
  std::size_t first_output = 0;
  std::size_t panel_count = 0;
  std::size_t panel_bytes = 0;
  AlignedBytes panels;
};

// Several tensors of the file may be stacked: each starts on a panel border, `parts` says at which
// output.
struct Matrix {
  std::size_t inputs = 0;
  std::size_t outputs = 0;  // a multiple of 16; those beyond a part's own are zero
  std::vector<std::size_t> parts;
  std::vector<Segment> segments;
  [[nodiscard]] bool is_quantized() const {
    for (const Segment& segment : segments)
      if (inference::is_quantized(segment.type)) return true;
    return false;
  }
  [[nodiscard]] bool has(DType type) const {
    for (const Segment& segment : segments)
      if (segment.type == type) return true;
    return false;
  }
  [[nodiscard]] std::size_t bytes() const {
    std::size_t sum = 0;
    for (const Segment& segment : segments) sum += segment.panels.size();
    return sum;
  }
};

// Feed-forward blocks of which each token takes the few that the router likes best.
struct Experts {
  Matrix router;                // [experts] from [width]
  std::vector<Matrix> gate_up;  // of each expert, as in Layer
  std::vector<Matrix> down;
  [[nodiscard]] bool empty() const { return gate_up.empty(); }
};

struct Layer {
  std::vector<float> attention_norm;     // [width]
  std::vector<float> feed_forward_norm;  // [width]
  std::vector<float> attention_after;    // [width] or empty: norms of what is added to the residual
  std::vector<float> feed_forward_after;
  std::vector<float> query_norm;  // [head_width] or empty
  std::vector<float> key_norm;    // [head_width] or empty
  std::vector<float> qkv_bias;    // [qkv.outputs] or empty
  Matrix qkv;                     // parts: q [heads * head_width], k, v [kv_heads * head_width]
  Matrix attention_out;           // [width] from [heads * head_width]
  Matrix gate_up;                 // parts: gate [hidden], up [hidden]
  Matrix down;                    // [width] from [hidden]
  Experts experts;                // in the place of gate_up and down
};

struct Model {
  Config config;
  std::shared_ptr<const Gguf> file;       // holds the embedding rows
  const TensorView* embedding = nullptr;  // [vocabulary][width], in the file
  std::vector<Layer> layers;
  std::vector<float> output_norm;       // [width]
  Matrix output;                        // [vocabulary] from [width]; the embedding again where tied
  std::vector<float> rope_frequencies;  // [rope_width / 2], scaling included
  std::vector<float> window_rope_frequencies;  // of windowed layers, where they differ; else empty
  std::size_t weight_bytes = 0;
};

}  // namespace ambit::inference
