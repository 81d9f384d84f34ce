#include "inference/synth.h"

#include "async/check.h"
#include "inference/sampler.h"
#include "inference/tokenizer.h"

#include <cmath>
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
    CHECK(left < parts.size());
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

}  // namespace

GgufWriter synthesize(const SynthShape& shape) {
  CHECK(shape.vocabulary >= 300);
  GgufWriter writer;
  const std::string prefix = shape.architecture + ".";
  const auto set = [&](const char* key, std::size_t value) {
    writer.set(prefix + key, std::uint64_t{value});
  };
  writer.set("general.architecture", shape.architecture);
  writer.set("general.name", std::string("synthetic"));
  set("block_count", shape.layers);
  set("embedding_length", shape.width);
  set("feed_forward_length", shape.hidden);
  set("context_length", shape.context);
  set("attention.head_count", shape.heads);
  set("attention.head_count_kv", shape.kv_heads);
  set("attention.key_length", shape.head_width);
  set("attention.value_length", shape.head_width);
  set("rope.dimension_count", shape.head_width);
  set("vocab_size", shape.vocabulary);
  writer.set(prefix + "rope.freq_base", 10000.0);
  writer.set(prefix + "attention.layer_norm_rms_epsilon", 1e-5);
  add_vocabulary(writer, shape.vocabulary);

  Weights weights(shape.seed);
  const std::size_t q = shape.heads * shape.head_width;
  const std::size_t kv = shape.kv_heads * shape.head_width;
  const auto matrix = [&](const std::string& name, std::size_t inputs, std::size_t outputs,
                          double gain = 1.0) {
    writer.add(name, shape.type, {inputs, outputs},
               weights.normal(inputs * outputs, gain / std::sqrt(static_cast<double>(inputs))));
  };
  const auto vector = [&](const std::string& name, std::size_t size, double mean) {
    writer.add(name, DType::f32, {size}, weights.normal(size, 0.1, mean));
  };
  matrix("token_embd.weight", shape.width, shape.vocabulary,
         std::sqrt(static_cast<double>(shape.width)) * 0.5);
  if (!shape.tied) matrix("output.weight", shape.width, shape.vocabulary);
  vector("output_norm.weight", shape.width, 1.0);
  if (shape.rope_factors) {
    std::vector<float> factors(shape.head_width / 2);
    for (std::size_t i = 0; i < factors.size(); ++i)
      factors[i] = i < factors.size() / 2 ? 1.0F : 8.0F;
    writer.add("rope_freqs.weight", DType::f32, {factors.size()}, factors);
  }
  for (std::size_t i = 0; i < shape.layers; ++i) {
    const std::string block = "blk." + std::to_string(i) + ".";
    vector(block + "attn_norm.weight", shape.width, 1.0);
    vector(block + "ffn_norm.weight", shape.width, 1.0);
    matrix(block + "attn_q.weight", shape.width, q, 2.0);
    matrix(block + "attn_k.weight", shape.width, kv, 2.0);
    matrix(block + "attn_v.weight", shape.width, kv);
    matrix(block + "attn_output.weight", q, shape.width);
    matrix(block + "ffn_gate.weight", shape.width, shape.hidden);
    matrix(block + "ffn_up.weight", shape.width, shape.hidden);
    matrix(block + "ffn_down.weight", shape.hidden, shape.width);
    if (shape.architecture == "qwen2") {
      vector(block + "attn_q.bias", q, 0.0);
      vector(block + "attn_k.bias", kv, 0.0);
      vector(block + "attn_v.bias", kv, 0.0);
    }
    if (shape.architecture == "qwen3") {
      vector(block + "attn_q_norm.weight", shape.head_width, 1.0);
      vector(block + "attn_k_norm.weight", shape.head_width, 1.0);
    }
  }
  return writer;
}

}  // namespace ambit::inference
