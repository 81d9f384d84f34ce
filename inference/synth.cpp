#include "inference/synth.h"

#include "async/check.h"
#include "inference/sampler.h"
#include "inference/tokenizer.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <set>

namespace ambit::inference {

namespace {

constexpr const char* chat_template =
    "{%- if tools -%}{{- '<|im_start|>system\\nTools:\\n' -}}"
    "{%- for tool in tools -%}{{- tool.function | tojson ~ '\\n' -}}{%- endfor -%}"
    "{{- 'Call: <tool_call>\\n{\"name\": ..., \"arguments\": ...}\\n</tool_call><|im_end|>\\n' "
    "-}}{%- endif -%}"
    "{%- for m in messages -%}{{- '<|im_start|>' ~ m.role ~ '\\n' ~ m.content -}}"
    "{%- for c in m.tool_calls -%}{{- '<tool_call>\\n{\"name\": \"' ~ c.function.name ~ '\", "
    "\"arguments\": ' ~ "
    "(c.function.arguments | tojson) ~ '}\\n</tool_call>' -}}{%- endfor -%}{{- '<|im_end|>\\n' "
    "-}}{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}";

// Normally distributed weights, each a function of the seed, the tensor and the place.
class Weights {
 public:
  explicit Weights(std::uint64_t seed) : seed_(seed) {}
  std::vector<float> normal(std::size_t count, double deviation, double mean = 0) {
    ++tensor_;
    std::vector<float> values(count);
    for (std::size_t i = 0; i < count; ++i) {
      // The sum of four uniforms: close enough to normal, and cheap.
      double sum = 0;
      for (std::uint64_t part = 0; part < 4; ++part)
        sum += uniform(seed_, tensor_, 4 * i + part) - 0.5;
      values[i] = static_cast<float>(mean + sum * std::sqrt(3.0) * deviation);
    }
    return values;
  }

  // Elements [0, count) of `type`, taken block by block from a stock of `stock` elements.
  std::vector<std::byte> stocked(DType type, std::size_t count, double deviation) {
    constexpr std::size_t run = 256;  // whole blocks of every type
    constexpr std::size_t stock = 256 * run;
    const std::vector<float> values = normal(stock, deviation);
    std::vector<std::byte> blocks(row_bytes(type, stock));
    from_floats(type, values.data(), stock, blocks.data());
    const std::size_t bytes = row_bytes(type, run);
    std::vector<std::byte> out(row_bytes(type, count));
    std::uint64_t state = seed_ * 0x9E3779B97F4A7C15U + tensor_;
    for (std::size_t at = 0; at < out.size(); at += bytes) {
      state = state * 6364136223846793005U + 1442695040888963407U;
      std::memcpy(out.data() + at, blocks.data() + (state >> 33U) % (stock / run) * bytes,
                  std::min(bytes, out.size() - at));
    }
    return out;
  }

 private:
  std::uint64_t seed_;
  std::uint64_t tensor_ = 0;
};

// Bytes, three control tokens, then merges of what is there: pairs of letters first, then pairs of
// pairs.
void add_vocabulary(GgufWriter& writer, std::size_t size) {
  std::vector<std::string> tokens;
  std::vector<std::string> merges;
  for (int byte = 0; byte < 256; ++byte)
    tokens.push_back(byte_level_spelling(std::string(1, static_cast<char>(byte))));
  std::vector<std::int64_t> kinds(size, 1);
  for (const char* control : {"<|endoftext|>", "<|im_start|>", "<|im_end|>"}) {
    kinds[tokens.size()] = 3;
    tokens.emplace_back(control);
  }
  std::set<std::string> known(tokens.begin(), tokens.end());
  const std::string letters = "etaoinshrdlu ";
  std::vector<std::string> parts;
  for (const char letter : letters) parts.push_back(byte_level_spelling(std::string(1, letter)));
  for (std::size_t left = 0; tokens.size() < size; ++left) {
    INVARIANT(left < parts.size());
    for (std::size_t right = 0; right + 1 < letters.size() && tokens.size() < size; ++right) {
      const std::string both = parts[left] + parts[right];
      if (!known.insert(both).second) continue;
      merges.push_back(parts[left] + " " + parts[right]);
      tokens.push_back(both);
      parts.push_back(both);
    }
  }
  writer.set("tokenizer.ggml.model", std::string("gpt2"));
  writer.set("tokenizer.ggml.pre", std::string("llama-bpe"));
  writer.set("tokenizer.ggml.tokens", std::move(tokens));
  writer.set("tokenizer.ggml.token_type", std::move(kinds));
  writer.set("tokenizer.ggml.merges", std::move(merges));
  writer.set("tokenizer.ggml.bos_token_id", std::uint64_t{256});
  writer.set("tokenizer.ggml.eos_token_id", std::uint64_t{258});
  writer.set("tokenizer.ggml.add_bos_token", false);
  writer.set("tokenizer.chat_template", std::string(chat_template));
}

// Writes one model; each function one part of it.
class Synthesis {
 public:
  explicit Synthesis(const SynthShape& shape)
      : shape_(shape), prefix_(shape.architecture + "."), weights_(shape.seed) {}

  GgufWriter make() {
    metadata();
    add_vocabulary(writer_, shape_.vocabulary);
    matrix("token_embd.weight", shape_.width, shape_.vocabulary,
           std::sqrt(static_cast<double>(shape_.width)) * 0.5 / embedding_scale());
    if (!shape_.tied) matrix("output.weight", shape_.width, shape_.vocabulary);
    vector("output_norm.weight", shape_.width, 1.0);
    if (shape_.rope_factors) factors("rope_freqs.weight", 8.0F);
    if (shape_.rope_scaling == "longrope") {
      factors("rope_factors_long.weight", 4.0F);
      factors("rope_factors_short.weight", 1.5F);
    }
    for (std::size_t i = 0; i < shape_.layers; ++i) layer("blk." + std::to_string(i) + ".");
    return std::move(writer_);
  }

 private:
  [[nodiscard]] bool is(std::string_view family) const { return shape_.architecture == family; }
  [[nodiscard]] bool has_norms_after() const { return is("gemma2") || is("gemma3"); }
  // Gemma multiplies its embeddings by this; its files hold them divided.
  [[nodiscard]] double embedding_scale() const {
    return shape_.architecture.starts_with("gemma") ? std::sqrt(static_cast<double>(shape_.width))
                                                    : 1.0;
  }
  void set(const char* key, std::size_t value) { writer_.set(prefix_ + key, std::uint64_t{value}); }

  void metadata() {
    writer_.set("general.architecture", shape_.architecture);
    writer_.set("general.name", shape_.name);
    set("block_count", shape_.layers);
    set("embedding_length", shape_.width);
    set("feed_forward_length", shape_.hidden);
    set("context_length", shape_.context);
    set("attention.head_count", shape_.heads);
    set("attention.head_count_kv", shape_.kv_heads);
    set("attention.key_length", shape_.head_width);
    set("attention.value_length", shape_.head_width);
    set("rope.dimension_count", shape_.head_width);
    set("vocab_size", shape_.vocabulary);
    writer_.set(prefix_ + "rope.freq_base", 10000.0);
    writer_.set(prefix_ + "attention.layer_norm_rms_epsilon", 1e-5);
    // Of Phi-3 files it is always said.
    if (shape_.window > 0 || is("phi3")) set("attention.sliding_window", shape_.window);
    if (shape_.experts > 0) {
      set("expert_count", shape_.experts);
      set("expert_used_count", 2);
      set("expert_feed_forward_length", shape_.hidden);
    }
    if (is("gemma2")) {
      writer_.set(prefix_ + "attn_logit_softcapping", 50.0);
      writer_.set(prefix_ + "final_logit_softcapping", 30.0);
    }
    if (shape_.rope_scaling.empty()) return;
    writer_.set(prefix_ + "rope.scaling.type", shape_.rope_scaling);
    const std::size_t original = shape_.context / 4;
    set("rope.scaling.original_context_length", original);
    if (shape_.rope_scaling == "longrope")  // whose factors are tensors
      writer_.set(prefix_ + "rope.scaling.attn_factor",
                  std::sqrt(1 + std::log(4.0) / std::log(static_cast<double>(original))));
    else
      writer_.set(prefix_ + "rope.scaling.factor", 4.0);
  }

  void matrix(const std::string& name, std::size_t inputs, std::size_t outputs, double gain = 1.0) {
    constexpr std::size_t drawn_max = 1U << 20U;
    const double deviation = gain / std::sqrt(static_cast<double>(inputs));
    const std::size_t count = inputs * outputs;
    if (count <= drawn_max)
      writer_.add(name, shape_.type, {inputs, outputs}, weights_.normal(count, deviation));
    else
      writer_.add_bytes(name, shape_.type, {inputs, outputs},
                        weights_.stocked(shape_.type, count, deviation));
  }
  void vector(const std::string& name, std::size_t size, double mean) {
    writer_.add(name, DType::f32, {size}, weights_.normal(size, 0.1, mean));
  }
  void factors(const std::string& name, float last) {
    std::vector<float> values(shape_.head_width / 2);
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = i < values.size() / 2 ? 1.0F : last;
    writer_.add(name, DType::f32, {values.size()}, values);
  }

  void layer(const std::string& block) {
    const std::size_t q = shape_.heads * shape_.head_width;
    const std::size_t kv = shape_.kv_heads * shape_.head_width;
    vector(block + "attn_norm.weight", shape_.width, 1.0);
    vector(block + "ffn_norm.weight", shape_.width, 1.0);
    if (has_norms_after()) {
      vector(block + "post_attention_norm.weight", shape_.width, 1.0);
      vector(block + "post_ffw_norm.weight", shape_.width, 1.0);
    }
    if (is("phi3")) {
      matrix(block + "attn_qkv.weight", shape_.width, q + 2 * kv, 2.0);
    } else {
      matrix(block + "attn_q.weight", shape_.width, q, 2.0);
      matrix(block + "attn_k.weight", shape_.width, kv, 2.0);
      matrix(block + "attn_v.weight", shape_.width, kv);
    }
    matrix(block + "attn_output.weight", q, shape_.width);
    feed_forward(block);
    if (is("qwen2")) {
      vector(block + "attn_q.bias", q, 0.0);
      vector(block + "attn_k.bias", kv, 0.0);
      vector(block + "attn_v.bias", kv, 0.0);
    }
    if (is("qwen3") || is("qwen3moe") || is("gemma3")) {
      vector(block + "attn_q_norm.weight", shape_.head_width, 1.0);
      vector(block + "attn_k_norm.weight", shape_.head_width, 1.0);
    }
  }

  void feed_forward(const std::string& block) {
    const std::size_t width = shape_.width;
    const std::size_t hidden = shape_.hidden;
    if (shape_.experts > 0) {
      writer_.add(
          block + "ffn_gate_inp.weight", DType::f32, {width, shape_.experts},
          weights_.normal(width * shape_.experts, 2.0 / std::sqrt(static_cast<double>(width))));
      experts(block + "ffn_gate_exps.weight", width, hidden);
      experts(block + "ffn_up_exps.weight", width, hidden);
      experts(block + "ffn_down_exps.weight", hidden, width);
      return;
    }
    if (is("phi3")) {
      matrix(block + "ffn_up.weight", width, 2 * hidden);
    } else {
      matrix(block + "ffn_gate.weight", width, hidden);
      matrix(block + "ffn_up.weight", width, hidden);
    }
    matrix(block + "ffn_down.weight", hidden, width);
  }
  void experts(const std::string& name, std::size_t inputs, std::size_t outputs) {
    const std::size_t count = inputs * outputs * shape_.experts;
    writer_.add_bytes(
        name, shape_.type, {inputs, outputs, shape_.experts},
        weights_.stocked(shape_.type, count, 1.0 / std::sqrt(static_cast<double>(inputs))));
  }

  const SynthShape& shape_;
  std::string prefix_;
  Weights weights_;
  GgufWriter writer_;
};

struct Named {
  std::string_view name;
  const char* architecture;
  std::size_t layers, width, heads, kv_heads, head_width, hidden, vocabulary, context;
  bool tied;
};
constexpr Named names[] = {
    {"llama-15m", "llama", 6, 288, 6, 6, 48, 768, 32000, 1024, true},
    {"smollm2-135m", "llama", 30, 576, 9, 3, 64, 1536, 49152, 8192, true},
    {"smollm2-360m", "llama", 32, 960, 15, 5, 64, 2560, 49152, 8192, true},
    {"llama-3.2-1b", "llama", 16, 2048, 32, 8, 64, 8192, 128256, 131072, true},
    {"llama-3.2-3b", "llama", 28, 3072, 24, 8, 128, 8192, 128256, 131072, true},
    {"llama-3.1-8b", "llama", 32, 4096, 32, 8, 128, 14336, 128256, 131072, false},
    {"mistral-7b", "llama", 32, 4096, 32, 8, 128, 14336, 32768, 32768, false},
    {"qwen2.5-0.5b", "qwen2", 24, 896, 14, 2, 64, 4864, 151936, 32768, true},
    {"qwen2.5-1.5b", "qwen2", 28, 1536, 12, 2, 128, 8960, 151936, 32768, true},
    {"qwen3-0.6b", "qwen3", 28, 1024, 16, 8, 128, 3072, 151936, 40960, true},
    {"qwen3-1.7b", "qwen3", 28, 2048, 16, 8, 128, 6144, 151936, 40960, true},
    {"qwen3-4b", "qwen3", 36, 2560, 32, 8, 128, 9728, 151936, 40960, true},
    {"phi-3-mini", "phi3", 32, 3072, 32, 32, 96, 8192, 32064, 4096, false},
    {"gemma-2-2b", "gemma2", 26, 2304, 8, 4, 256, 9216, 256000, 8192, true},
    {"gemma-3-1b", "gemma3", 26, 1152, 4, 1, 256, 6912, 262144, 32768, true},
};

}  // namespace

std::optional<SynthShape> named_shape(std::string_view name) {
  for (const Named& known : names) {
    if (known.name != name) continue;
    SynthShape shape;
    shape.architecture = known.architecture;
    shape.name = std::string(known.name) + " (random weights)";
    shape.layers = known.layers;
    shape.width = known.width;
    shape.heads = known.heads;
    shape.kv_heads = known.kv_heads;
    shape.head_width = known.head_width;
    shape.hidden = known.hidden;
    shape.vocabulary = known.vocabulary;
    shape.context = known.context;
    shape.tied = known.tied;
    shape.rope_factors = name.starts_with("llama-3");
    if (shape.architecture == "phi3") shape.window = 2047;
    if (shape.architecture == "gemma2") shape.window = 4096;
    if (shape.architecture == "gemma3") shape.window = 512;
    return shape;
  }
  return std::nullopt;
}

std::vector<std::string_view> shape_names() {
  std::vector<std::string_view> all;
  for (const Named& known : names) all.push_back(known.name);
  return all;
}

GgufWriter synthesize(const SynthShape& shape) {
  INVARIANT(shape.vocabulary >= 300);
  return Synthesis(shape).make();
}

}  // namespace ambit::inference
