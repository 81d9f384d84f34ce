#include "inference/loader.h"

#include "inference/repack.h"

#include <algorithm>
#include <cmath>
#include <iterator>
#include <numbers>
#include <span>

namespace ambit::inference {

namespace {

std::string shape_text(const std::vector<std::uint64_t>& shape) {
  std::string text = "[";
  for (std::size_t i = 0; i < shape.size(); ++i)
    text += (i > 0 ? ", " : "") + std::to_string(shape[i]);
  return text + "]";
}

Result<const TensorView*> tensor(const Gguf& file, const std::string& name, std::size_t inputs,
                                 std::size_t outputs) {
  const TensorView* found = file.find(name);
  if (found == nullptr) return Err(Code::invalid, "the tensor " + name + " is missing");
  if (found->dimension(0) != inputs || found->dimension(1) != outputs ||
      found->elements() != std::uint64_t{inputs} * outputs)
    return Err(Code::invalid, "the tensor " + name + " has the shape " + shape_text(found->shape) +
                                  " instead of [" + std::to_string(inputs) + ", " +
                                  std::to_string(outputs) + "]");
  return found;
}

Result<std::vector<float>> vector_of(const Gguf& file, const std::string& name, std::size_t size) {
  const TensorView* found = TRY(tensor(file, name, size, 1));
  std::vector<float> values(size);
  to_floats(found->type, found->row(0), size, values.data());
  return values;
}

Result<std::vector<float>> optional_vector(const Gguf& file, const std::string& name,
                                           std::size_t size) {
  if (file.find(name) == nullptr) return std::vector<float>();
  return vector_of(file, name, size);
}

Matrix pack(std::initializer_list<WeightRows> parts) {
  return repack(std::span(parts.begin(), parts.size()));
}

// Three tensors, or one that holds their rows one after the other.
Result<Matrix> load_qkv(const Gguf& file, const Config& config, const std::string& prefix) {
  const std::size_t q = config.heads * config.head_width;
  const std::size_t kv = config.kv_heads * config.head_width;
  if (file.find(prefix + "attn_qkv.weight") != nullptr) {
    const TensorView* fused =
        TRY(tensor(file, prefix + "attn_qkv.weight", config.width, q + 2 * kv));
    return pack({{fused, 0, q}, {fused, q, kv}, {fused, q + kv, kv}});
  }
  return pack({all_rows(*TRY(tensor(file, prefix + "attn_q.weight", config.width, q))),
               all_rows(*TRY(tensor(file, prefix + "attn_k.weight", config.width, kv))),
               all_rows(*TRY(tensor(file, prefix + "attn_v.weight", config.width, kv)))});
}

Result<Matrix> load_gate_up(const Gguf& file, const Config& config, const std::string& prefix) {
  const std::size_t hidden = config.hidden;
  if (file.find(prefix + "ffn_gate.weight") == nullptr) {
    const TensorView* fused = TRY(tensor(file, prefix + "ffn_up.weight", config.width, 2 * hidden));
    return pack({{fused, 0, hidden}, {fused, hidden, hidden}});
  }
  return pack({all_rows(*TRY(tensor(file, prefix + "ffn_gate.weight", config.width, hidden))),
               all_rows(*TRY(tensor(file, prefix + "ffn_up.weight", config.width, hidden)))});
}

// The experts' tensors hold one after the other.
Result<const TensorView*> tensor_of_experts(const Gguf& file, const std::string& name,
                                            std::size_t inputs, std::size_t outputs,
                                            std::size_t experts) {
  const TensorView* found = file.find(name);
  if (found == nullptr) return Err(Code::invalid, "the tensor " + name + " is missing");
  if (found->shape.size() != 3 || found->dimension(0) != inputs || found->dimension(1) != outputs ||
      found->dimension(2) != experts)
    return Err(Code::invalid, "the tensor " + name + " has the shape " + shape_text(found->shape) +
                                  " instead of [" + std::to_string(inputs) + ", " +
                                  std::to_string(outputs) + ", " + std::to_string(experts) + "]");
  return found;
}

Result<Experts> load_experts(const Gguf& file, const Config& config, const std::string& prefix) {
  const std::size_t hidden = config.hidden;
  Experts experts;
  experts.router = pack(
      {all_rows(*TRY(tensor(file, prefix + "ffn_gate_inp.weight", config.width, config.experts)))});
  const TensorView* gate = TRY(tensor_of_experts(file, prefix + "ffn_gate_exps.weight",
                                                 config.width, hidden, config.experts));
  const TensorView* up = TRY(
      tensor_of_experts(file, prefix + "ffn_up_exps.weight", config.width, hidden, config.experts));
  const TensorView* down = TRY(tensor_of_experts(file, prefix + "ffn_down_exps.weight", hidden,
                                                 config.width, config.experts));
  for (std::size_t i = 0; i < config.experts; ++i) {
    experts.gate_up.push_back(pack({{gate, i * hidden, hidden}, {up, i * hidden, hidden}}));
    experts.down.push_back(pack({{down, i * config.width, config.width}}));
  }
  return experts;
}

Result<Layer> load_layer(const Gguf& file, const Config& config, std::size_t index) {
  const std::string prefix = "blk." + std::to_string(index) + ".";
  const std::size_t q = config.heads * config.head_width;
  const std::size_t kv = config.kv_heads * config.head_width;
  Layer layer;
  layer.attention_norm = TRY(vector_of(file, prefix + "attn_norm.weight", config.width));
  layer.feed_forward_norm = TRY(vector_of(file, prefix + "ffn_norm.weight", config.width));
  layer.query_norm = TRY(optional_vector(file, prefix + "attn_q_norm.weight", config.head_width));
  layer.key_norm = TRY(optional_vector(file, prefix + "attn_k_norm.weight", config.head_width));
  if (layer.query_norm.empty() != layer.key_norm.empty())
    return Err(Code::invalid, prefix + "attn_q_norm and attn_k_norm must come together");
  layer.attention_after =
      TRY(optional_vector(file, prefix + "post_attention_norm.weight", config.width));
  layer.feed_forward_after =
      TRY(optional_vector(file, prefix + "post_ffw_norm.weight", config.width));
  layer.qkv = TRY(load_qkv(file, config, prefix));
  const char* const biases[] = {"attn_q.bias", "attn_k.bias", "attn_v.bias"};
  for (std::size_t i = 0; i < 3; ++i) {
    const std::vector<float> bias = TRY(optional_vector(file, prefix + biases[i], i == 0 ? q : kv));
    if (bias.empty()) continue;
    layer.qkv_bias.resize(layer.qkv.outputs);
    std::copy(bias.begin(), bias.end(),
              layer.qkv_bias.begin() + static_cast<std::ptrdiff_t>(layer.qkv.parts[i]));
  }
  layer.attention_out =
      pack({all_rows(*TRY(tensor(file, prefix + "attn_output.weight", q, config.width)))});
  if (config.experts > 0) {
    layer.experts = TRY(load_experts(file, config, prefix));
    return layer;
  }
  layer.gate_up = TRY(load_gate_up(file, config, prefix));
  layer.down =
      pack({all_rows(*TRY(tensor(file, prefix + "ffn_down.weight", config.hidden, config.width)))});
  return layer;
}

// How much of a pair's own frequency yarn keeps: pairs that turn often keep all of it, pairs that
// never turn once within the original context none.
double kept_by_yarn(const Config& config, std::size_t pair) {
  const RopeScaling& scaling = config.rope_scaling;
  const auto width = static_cast<double>(config.rope_width);
  const auto pair_of_turns = [&](double turns) {
    return width *
           std::log(static_cast<double>(scaling.original_context) /
                    (turns * 2 * std::numbers::pi)) /
           (2 * std::log(config.rope_base));
  };
  const double low = std::max(0.0, std::floor(pair_of_turns(scaling.beta_fast)));
  const double high = std::min(width - 1, std::ceil(pair_of_turns(scaling.beta_slow)));
  const double along = (static_cast<double>(pair) - low) / std::max(0.001, high - low);
  return 1 - std::clamp(along, 0.0, 1.0);
}

// Divisors of the frequencies that come as tensors: Llama 3's, or the short or long ones of Phi-3.
// Which of the latter is decided once, by the longest context that sessions may have, so that a
// position's angles never depend on how long a session became.
Result<std::vector<float>> rope_divisors(const Gguf& file, const Config& config) {
  const std::size_t pairs = config.rope_width / 2;
  if (file.find("rope_freqs.weight") != nullptr) return vector_of(file, "rope_freqs.weight", pairs);
  if (config.rope_scaling.kind == RopeScaling::Kind::longrope) {
    return vector_of(
        file,
        config.rope_scaling.is_short ? "rope_factors_short.weight" : "rope_factors_long.weight",
        pairs);
  }
  return std::vector<float>(pairs, 1.0F);
}

// Angles per position of each pair.
Result<std::vector<float>> rope_frequencies(const Gguf& file, const Config& config) {
  const std::size_t pairs = config.rope_width / 2;
  const RopeScaling& scaling = config.rope_scaling;
  const std::vector<float> divisors = TRY(rope_divisors(file, config));
  std::vector<float> frequencies(pairs);
  for (std::size_t i = 0; i < pairs; ++i) {
    const double exponent = -2.0 * static_cast<double>(i) / static_cast<double>(config.rope_width);
    double scale = 1.0;
    if (scaling.kind == RopeScaling::Kind::linear) scale = 1.0 / scaling.factor;
    if (scaling.kind == RopeScaling::Kind::yarn) {
      const double kept = kept_by_yarn(config, i);
      scale = kept + (1 - kept) / scaling.factor;
    }
    frequencies[i] = static_cast<float>(std::pow(config.rope_base, exponent) * scale /
                                        static_cast<double>(divisors[i]));
    if (!std::isfinite(frequencies[i]))
      return Err(Code::invalid, "the RoPE factors or the RoPE base make an infinite frequency");
  }
  return frequencies;
}

std::vector<float> window_frequencies(const Config& config) {
  std::vector<float> frequencies;
  if (config.window_rope_base <= 0) return frequencies;
  for (std::size_t i = 0; i < config.rope_width / 2; ++i)
    frequencies.push_back(static_cast<float>(
        std::pow(config.window_rope_base,
                 -2.0 * static_cast<double>(i) / static_cast<double>(config.rope_width))));
  return frequencies;
}

Result<RopeScaling> read_scaling(const Gguf& file, const std::string& prefix, std::size_t context) {
  RopeScaling scaling;
  const auto number = [&](const char* key, double fallback) {
    return file.number(prefix + "rope.scaling." + key).value_or(fallback);
  };
  std::string type = "none";
  if (const std::string* named = file.text(prefix + "rope.scaling.type")) type = *named;
  if (type == "none" && file.find("rope_factors_long.weight") != nullptr) type = "longrope";
  if (type == "none") return scaling;
  scaling.factor = number("factor", 1.0);
  scaling.original_context = static_cast<std::size_t>(
      std::clamp(number("original_context_length", static_cast<double>(context)), 1.0, 0x1p40));
  if (!(scaling.factor >= 0x1p-20 && scaling.factor <= 0x1p20))
    return Err(Code::invalid, prefix + "rope.scaling.factor is not positive");
  if (type == "linear") {
    scaling.kind = RopeScaling::Kind::linear;
  } else if (type == "yarn") {
    scaling.kind = RopeScaling::Kind::yarn;
    scaling.beta_fast = number("yarn_beta_fast", 32.0);
    scaling.beta_slow = number("yarn_beta_slow", 1.0);
    if (!(scaling.beta_fast > 0) || !(scaling.beta_slow > 0))
      return Err(Code::invalid, prefix + "rope.scaling.yarn_beta_fast and _slow must be positive");
    scaling.attention_factor =
        static_cast<float>(number("attn_factor", 1.0) * (1.0 + 0.1 * std::log(scaling.factor)));
  } else if (type == "longrope") {
    scaling.kind = RopeScaling::Kind::longrope;
    const double ratio =
        static_cast<double>(context) / static_cast<double>(scaling.original_context);
    const double usual =
        ratio > 1 && scaling.original_context > 1
            ? std::sqrt(1 +
                        std::log(ratio) / std::log(static_cast<double>(scaling.original_context)))
            : 1.0;
    scaling.attention_factor = static_cast<float>(number("attn_factor", usual));
  } else {
    return Err(Code::unsupported, "the RoPE scaling \"" + type +
                                      "\" is not supported (linear, yarn and longrope are)");
  }
  if (!std::isfinite(scaling.attention_factor))
    return Err(Code::invalid, prefix + "rope.scaling.attn_factor is not a number");
  return scaling;
}

// Positions that a windowed layer sees, as the file says, and which layers those are.
Result<void> apply_window(const Gguf& file, const std::string& prefix, Config& config) {
  const std::string& family = config.architecture;
  const bool in_turn = family == "gemma2" || family == "gemma3";
  if (!in_turn && family != "llama" && family != "phi3") return {};
  const std::int64_t window = file.integer(prefix + "attention.sliding_window").value_or(0);
  if (window < 0) return Err(Code::invalid, prefix + "attention.sliding_window is negative");
  config.window = static_cast<std::size_t>(window);
  if (in_turn) config.window_period = family == "gemma2" ? 2 : 6;
  return {};
}

// What sets one family apart from Llama.
Result<void> apply_family(const Gguf& file, const std::string& prefix, Config& config) {
  constexpr std::int64_t last_pooling = 3;
  config.pools_last = file.integer(prefix + "pooling_type").value_or(0) == last_pooling;
  const std::string& family = config.architecture;
  config.rope_interleaved = family == "llama" || family == "smollm3";
  config.attention_scale = 1.0F / std::sqrt(static_cast<float>(config.head_width));
  if (family == "smollm3") config.unturned_period = 4;
  TRY(apply_window(file, prefix, config));
  if (!family.starts_with("gemma")) return {};
  config.gelu = true;
  config.embedding_scale = std::sqrt(static_cast<float>(config.width));
  const auto cap = [&](const char* key) {
    return static_cast<float>(file.number(prefix + key).value_or(0.0));
  };
  config.attention_cap = cap("attn_logit_softcapping");
  config.logit_cap = cap("final_logit_softcapping");
  if (!(config.attention_cap >= 0) || !(config.logit_cap >= 0))
    return Err(Code::invalid, prefix + "the soft caps must not be negative");
  // The 27-billion-parameter ones scale by the width that a head would have if they filled the
  // residual stream.
  if (config.layers == (family == "gemma2" ? 46U : 62U) && family != "gemma")
    config.attention_scale =
        1.0F / std::sqrt(static_cast<float>(config.width) / static_cast<float>(config.heads));
  if (family == "gemma3") {
    config.window_rope_base = file.number(prefix + "rope.freq_base_swa").value_or(10000.0);
    if (!(config.window_rope_base > 0) || !std::isfinite(config.window_rope_base))
      return Err(Code::invalid, prefix + "rope.freq_base_swa is not positive");
  }
  return {};
}

constexpr std::string_view families[] = {"llama", "qwen2", "qwen3",  "qwen3moe", "smollm3",
                                         "phi3",  "gemma", "gemma2", "gemma3"};

}  // namespace

Result<Config> read_config(const Gguf& file) {
  Config config;
  const std::string* architecture = file.text("general.architecture");
  if (architecture == nullptr) return Err(Code::invalid, "the file has no general.architecture");
  config.architecture = *architecture;
  if (std::find(std::begin(families), std::end(families), config.architecture) ==
      std::end(families)) {
    std::string known;
    for (const std::string_view family : families)
      known += (known.empty() ? "" : ", ") + std::string(family);
    return Err(Code::unsupported, "the architecture \"" + config.architecture +
                                      "\" is not supported; these are: " + known);
  }
  if (const std::string* name = file.text("general.name")) config.name = *name;
  const std::string prefix = config.architecture + ".";
  const auto size = [&](const char* key, std::size_t most,
                        std::optional<std::size_t> fallback = std::nullopt) -> Result<std::size_t> {
    const auto value = file.integer(prefix + key);
    if (!value && fallback) return *fallback;
    if (!value) return Err(Code::invalid, "the file has no " + prefix + key);
    if (*value < 1 || static_cast<std::uint64_t>(*value) > most)
      return Err(Code::invalid, prefix + key + " is " + std::to_string(*value) + "; 1 to " +
                                    std::to_string(most) + " is possible");
    return static_cast<std::size_t>(*value);
  };
  config.layers = TRY(size("block_count", 1024));
  config.width = TRY(size("embedding_length", 1U << 16U));
  config.hidden = TRY(size("feed_forward_length", 1U << 18U));
  if (file.integer(prefix + "expert_count").value_or(0) != 0) {
    config.experts = TRY(size("expert_count", 1024));
    config.experts_used = TRY(size("expert_used_count", config.experts));
    config.hidden = TRY(size("expert_feed_forward_length", 1U << 18U, config.hidden));
  }
  if ((config.architecture == "qwen3moe") != (config.experts > 0) && config.architecture != "llama")
    return Err(Code::unsupported, "the architecture \"" + config.architecture + "\" with " +
                                      std::to_string(config.experts) + " experts is not supported");
  config.context = TRY(size("context_length", 1U << 24U));
  config.heads = TRY(size("attention.head_count", 1024));
  config.kv_heads = TRY(size("attention.head_count_kv", 1024, config.heads));
  config.head_width = TRY(size("attention.key_length", 1024, config.width / config.heads));
  if (TRY(size("attention.value_length", 1024, config.head_width)) != config.head_width)
    return Err(Code::unsupported, "keys and values of different widths are not supported");
  config.rope_width = TRY(size("rope.dimension_count", 1024, config.head_width));
  if (config.kv_heads > config.heads || config.heads % config.kv_heads != 0)
    return Err(Code::invalid, std::to_string(config.heads) + " heads cannot share " +
                                  std::to_string(config.kv_heads) + " key heads evenly");
  if (config.width % 16 != 0 || config.hidden % 16 != 0 || config.head_width % 16 != 0)
    return Err(
        Code::unsupported,
        "the widths of the model, its heads and its feed-forward block must be multiples of 16");
  if (config.rope_width > config.head_width || config.rope_width % 2 != 0)
    return Err(Code::invalid,
               prefix + "rope.dimension_count must be even and at most the width of a head");
  config.norm_epsilon =
      static_cast<float>(file.number(prefix + "attention.layer_norm_rms_epsilon").value_or(1e-5));
  config.rope_base = file.number(prefix + "rope.freq_base").value_or(10000.0);
  if (!(config.rope_base > 0) || !std::isfinite(config.rope_base))
    return Err(Code::invalid, prefix + "rope.freq_base is not positive");
  config.rope_scaling = TRY(read_scaling(file, prefix, config.context));
  TRY(apply_family(file, prefix, config));
  const TensorView* embedding = file.find("token_embd.weight");
  if (embedding == nullptr)
    return Err(Code::invalid,
               "the tensor token_embd.weight is missing: is this a vocabulary-only file?");
  if (embedding->shape.size() != 2 || embedding->dimension(0) != config.width ||
      embedding->dimension(1) > (1U << 22U))
    return Err(Code::invalid,
               "the tensor token_embd.weight has the shape " + shape_text(embedding->shape));
  config.vocabulary = embedding->dimension(1);
  return config;
}

Result<Model> load_model(std::shared_ptr<const Gguf> file, std::size_t context_max) {
  Model model;
  model.config = TRY(read_config(*file));
  std::size_t& context = model.config.context;
  if (context_max > 0) context = std::min(context, context_max);
  RopeScaling& scaling = model.config.rope_scaling;
  scaling.is_short =
      scaling.kind == RopeScaling::Kind::longrope && context <= scaling.original_context;
  const Config& config = model.config;
  model.embedding = TRY(tensor(*file, "token_embd.weight", config.width, config.vocabulary));
  model.output_norm = TRY(vector_of(*file, "output_norm.weight", config.width));
  const bool tied = file->find("output.weight") == nullptr;
  model.output = pack(
      {all_rows(tied ? *model.embedding
                     : *TRY(tensor(*file, "output.weight", config.width, config.vocabulary)))});
  model.rope_frequencies = TRY(rope_frequencies(*file, config));
  model.window_rope_frequencies = window_frequencies(config);
  for (std::size_t i = 0; i < config.layers; ++i)
    model.layers.push_back(TRY(load_layer(*file, config, i)));
  for (const TensorView& view : file->tensors()) model.weight_bytes += view.bytes;
  model.file = std::move(file);
  return model;
}

}  // namespace ambit::inference
