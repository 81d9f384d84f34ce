#include "inference/loader.h"

#include <cmath>
#include <cstring>

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
  to_floats(found->type, found->data, size, values.data());
  return values;
}

Result<std::vector<float>> optional_vector(const Gguf& file, const std::string& name,
                                           std::size_t size) {
  if (file.find(name) == nullptr) return std::vector<float>();
  return vector_of(file, name, size);
}

// Copies one output's row into its lane of a panel.
void pack_row(const Matrix& matrix, const std::byte* row, std::byte* panel, std::size_t lane) {
  if (matrix.type == DType::q8_0) {
    for (std::size_t block = 0; block < matrix.inputs / 32; ++block, row += 34, panel += 544) {
      std::memcpy(panel + 2 * lane, row, 2);
      for (std::size_t i = 0; i < 32; ++i) panel[32 + i * panel_outputs + lane] = row[2 + i];
    }
    return;
  }
  const std::size_t each = block_bytes(matrix.type);
  for (std::size_t i = 0; i < matrix.inputs; ++i)
    std::memcpy(panel + (i * panel_outputs + lane) * each, row + i * each, each);
}

// Stacks tensors that share their inputs. Mixed element types become F32, so that one kernel does
// all.
Matrix pack(const std::vector<const TensorView*>& tensors) {
  Matrix matrix;
  matrix.type = tensors[0]->type;
  matrix.inputs = tensors[0]->dimension(0);
  for (const TensorView* part : tensors) {
    if (part->type != matrix.type) matrix.type = DType::f32;
    matrix.parts.push_back(matrix.outputs);
    const std::size_t outputs = part->dimension(1);
    matrix.outputs += (outputs + panel_outputs - 1) / panel_outputs * panel_outputs;
  }
  matrix.panel_bytes = row_bytes(matrix.type, matrix.inputs) * panel_outputs;
  matrix.panels = AlignedBytes(matrix.panel_count() * matrix.panel_bytes);
  std::vector<float> wide(matrix.inputs);
  for (std::size_t p = 0; p < tensors.size(); ++p) {
    const TensorView& part = *tensors[p];
    const std::size_t bytes = row_bytes(part.type, matrix.inputs);
    for (std::size_t row = 0; row < part.dimension(1); ++row) {
      const std::size_t output = matrix.parts[p] + row;
      const std::byte* source = part.data + row * bytes;
      if (part.type != matrix.type) {
        to_floats(part.type, source, matrix.inputs, wide.data());
        source = reinterpret_cast<const std::byte*>(wide.data());
      }
      pack_row(matrix, source, matrix.panels.data() + output / panel_outputs * matrix.panel_bytes,
               output % panel_outputs);
    }
  }
  return matrix;
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
  layer.qkv = pack({TRY(tensor(file, prefix + "attn_q.weight", config.width, q)),
                    TRY(tensor(file, prefix + "attn_k.weight", config.width, kv)),
                    TRY(tensor(file, prefix + "attn_v.weight", config.width, kv))});
  const char* const biases[] = {"attn_q.bias", "attn_k.bias", "attn_v.bias"};
  for (std::size_t i = 0; i < 3; ++i) {
    const std::vector<float> bias = TRY(optional_vector(file, prefix + biases[i], i == 0 ? q : kv));
    if (bias.empty()) continue;
    layer.qkv_bias.resize(layer.qkv.outputs);
    std::copy(bias.begin(), bias.end(),
              layer.qkv_bias.begin() + static_cast<std::ptrdiff_t>(layer.qkv.parts[i]));
  }
  layer.attention_out = pack({TRY(tensor(file, prefix + "attn_output.weight", q, config.width))});
  layer.gate_up = pack({TRY(tensor(file, prefix + "ffn_gate.weight", config.width, config.hidden)),
                        TRY(tensor(file, prefix + "ffn_up.weight", config.width, config.hidden))});
  layer.down = pack({TRY(tensor(file, prefix + "ffn_down.weight", config.hidden, config.width))});
  return layer;
}

// Angles per position of each pair; Llama 3's factors come as a tensor of divisors.
Result<std::vector<float>> rope_frequencies(const Gguf& file, const Config& config) {
  const std::size_t pairs = config.rope_width / 2;
  std::vector<float> divisors(pairs, 1.0F);
  if (file.find("rope_freqs.weight") != nullptr)
    divisors = TRY(vector_of(file, "rope_freqs.weight", pairs));
  std::vector<float> frequencies(pairs);
  for (std::size_t i = 0; i < pairs; ++i) {
    const double exponent = -2.0 * static_cast<double>(i) / static_cast<double>(config.rope_width);
    frequencies[i] = static_cast<float>(std::pow(config.rope_base, exponent) * config.rope_scale /
                                        static_cast<double>(divisors[i]));
    if (!std::isfinite(frequencies[i]))
      return Err(Code::invalid, "rope_freqs.weight or the RoPE base makes an infinite frequency");
  }
  return frequencies;
}

}  // namespace

Result<Config> read_config(const Gguf& file) {
  Config config;
  const std::string* architecture = file.text("general.architecture");
  if (architecture == nullptr) return Err(Code::invalid, "the file has no general.architecture");
  config.architecture = *architecture;
  if (config.architecture != "llama" && config.architecture != "qwen2" &&
      config.architecture != "qwen3")
    return Err(Code::unsupported, "the architecture \"" + config.architecture +
                                      "\" is not supported (llama, qwen2 and qwen3 are)");
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
  const std::string* scaling = file.text(prefix + "rope.scaling.type");
  if (scaling != nullptr && *scaling != "none" && *scaling != "linear")
    return Err(Code::unsupported,
               "the RoPE scaling \"" + *scaling + "\" is not supported (linear is)");
  if (scaling != nullptr && *scaling == "linear") {
    const double factor = file.number(prefix + "rope.scaling.factor").value_or(1.0);
    if (!(factor > 0)) return Err(Code::invalid, prefix + "rope.scaling.factor is not positive");
    config.rope_scale = 1.0 / factor;
  }
  config.rope_interleaved = config.architecture == "llama";
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

Result<Model> load_model(std::shared_ptr<const Gguf> file) {
  Model model;
  model.config = TRY(read_config(*file));
  const Config& config = model.config;
  model.embedding = TRY(tensor(*file, "token_embd.weight", config.width, config.vocabulary));
  model.output_norm = TRY(vector_of(*file, "output_norm.weight", config.width));
  const bool tied = file->find("output.weight") == nullptr;
  model.output =
      pack({tied ? model.embedding
                 : TRY(tensor(*file, "output.weight", config.width, config.vocabulary))});
  model.rope_frequencies = TRY(rope_frequencies(*file, config));
  for (std::size_t i = 0; i < config.layers; ++i)
    model.layers.push_back(TRY(load_layer(*file, config, i)));
  for (const TensorView& view : file->tensors()) model.weight_bytes += view.bytes;
  model.file = std::move(file);
  return model;
}

}  // namespace ambit::inference
