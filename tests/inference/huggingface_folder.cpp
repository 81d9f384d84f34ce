#include "huggingface_folder.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>

namespace ambit::inference {

namespace {

using Json = nlohmann::json;

std::string dtype_name(DType type) {
  return std::string(to_string(type));
}

// The name in the folder of a tensor of a layer.
std::string name_of_layer_tensor(const std::string& family, const std::string& name) {
  static const std::map<std::string, std::string> names = {
      {"attn_norm.weight", "input_layernorm.weight"},
      {"attn_q.weight", "self_attn.q_proj.weight"},
      {"attn_k.weight", "self_attn.k_proj.weight"},
      {"attn_v.weight", "self_attn.v_proj.weight"},
      {"attn_q.bias", "self_attn.q_proj.bias"},
      {"attn_k.bias", "self_attn.k_proj.bias"},
      {"attn_v.bias", "self_attn.v_proj.bias"},
      {"attn_qkv.weight", "self_attn.qkv_proj.weight"},
      {"attn_output.weight", "self_attn.o_proj.weight"},
      {"attn_q_norm.weight", "self_attn.q_norm.weight"},
      {"attn_k_norm.weight", "self_attn.k_norm.weight"},
      {"ffn_gate.weight", "mlp.gate_proj.weight"},
      {"ffn_down.weight", "mlp.down_proj.weight"},
      {"post_attention_norm.weight", "post_attention_layernorm.weight"},
      {"post_ffw_norm.weight", "post_feedforward_layernorm.weight"},
  };
  if (name == "ffn_norm.weight")
    return family == "gemma2" || family == "gemma3" ? "pre_feedforward_layernorm.weight"
                                                    : "post_attention_layernorm.weight";
  if (name == "ffn_up.weight")
    return family == "phi3" ? "mlp.gate_up_proj.weight" : "mlp.up_proj.weight";
  if (name == "ffn_gate_inp.weight")
    return family == "llama" ? "block_sparse_moe.gate.weight" : "mlp.gate.weight";
  return names.at(name);
}

std::string name_of_expert(const std::string& family, const std::string& name, std::size_t expert) {
  const bool mixtral = family == "llama";
  const std::string part = name == "ffn_gate_exps.weight" ? (mixtral ? "w1" : "gate_proj")
                           : name == "ffn_up_exps.weight" ? (mixtral ? "w3" : "up_proj")
                                                          : (mixtral ? "w2" : "down_proj");
  return (mixtral ? "block_sparse_moe.experts." : "mlp.experts.") + std::to_string(expert) + "." +
         part + ".weight";
}

std::string text_at(const std::byte* bytes, std::size_t size) {
  return {reinterpret_cast<const char*>(bytes), size};
}

// Rows of heads as the folder has them: first the even ones of a head, then the odd ones.
std::string halves_of_heads(const TensorView& tensor, std::size_t heads) {
  const std::size_t bytes = row_bytes(tensor.type, tensor.shape[0]);
  const std::size_t width = tensor.dimension(1) / heads;
  std::string out;
  for (std::size_t head = 0; head < heads; ++head)
    for (std::size_t odd = 0; odd < 2; ++odd)
      for (std::size_t i = 0; i < width / 2; ++i)
        out += text_at(tensor.data + (head * width + 2 * i + odd) * bytes, bytes);
  return out;
}

StoredTensor stored(const Gguf& file, const std::string& family, const TensorView& tensor) {
  StoredTensor out{"", dtype_name(tensor.type), tensor.shape, text_at(tensor.data, tensor.bytes)};
  std::reverse(out.shape.begin(), out.shape.end());
  const auto heads = [&](const char* key) {
    return static_cast<std::size_t>(*file.integer(family + ".attention." + key));
  };
  const bool turned = family == "llama" || family == "smollm3";
  if (turned && tensor.name.ends_with("attn_q.weight"))
    out.bytes = halves_of_heads(tensor, heads("head_count"));
  if (turned && tensor.name.ends_with("attn_k.weight"))
    out.bytes = halves_of_heads(tensor, heads("head_count_kv"));
  if (family.starts_with("gemma") && tensor.name.ends_with("norm.weight")) {
    std::vector<float> values(tensor.elements());
    to_floats(tensor.type, tensor.data, values.size(), values.data());
    for (float& value : values) value -= 1.0F;
    out.bytes = text_at(reinterpret_cast<const std::byte*>(values.data()), 4 * values.size());
  }
  return out;
}

}  // namespace

std::string safetensors_text(const std::string& header, const std::string& data) {
  std::string out;
  for (std::size_t i = 0; i < 8; ++i)
    out += static_cast<char>(static_cast<std::uint64_t>(header.size()) >> (8 * i) & 255U);
  return out + header + data;
}

std::string safetensors_text(const std::vector<StoredTensor>& tensors) {
  Json header = {{"__metadata__", {{"format", "pt"}}}};
  std::string data;
  for (const StoredTensor& tensor : tensors) {
    header[tensor.name] = {{"dtype", tensor.dtype},
                           {"shape", tensor.shape},
                           {"data_offsets", {data.size(), data.size() + tensor.bytes.size()}}};
    data += tensor.bytes;
  }
  return safetensors_text(header.dump(), data);
}

std::vector<StoredTensor> huggingface_tensors_of(const Gguf& file) {
  const std::string family = *file.text("general.architecture");
  std::vector<StoredTensor> out;
  for (const TensorView& tensor : file.tensors()) {
    if (tensor.name.starts_with("rope_")) continue;
    StoredTensor each = stored(file, family, tensor);
    if (tensor.name == "token_embd.weight") each.name = "model.embed_tokens.weight";
    if (tensor.name == "output_norm.weight") each.name = "model.norm.weight";
    if (tensor.name == "output.weight") each.name = "lm_head.weight";
    if (!each.name.empty()) {
      out.push_back(std::move(each));
      continue;
    }
    const std::size_t gap = tensor.name.find('.', 4);
    const std::string layer = "model.layers." + tensor.name.substr(4, gap - 4) + ".";
    const std::string part = tensor.name.substr(gap + 1);
    if (tensor.shape.size() < 3) {
      each.name = layer + name_of_layer_tensor(family, part);
      out.push_back(std::move(each));
      continue;
    }
    const std::size_t bytes = tensor.bytes / tensor.shape[2];
    for (std::size_t expert = 0; expert < tensor.shape[2]; ++expert)
      out.push_back({layer + name_of_expert(family, part, expert),
                     each.dtype,
                     {tensor.shape[1], tensor.shape[0]},
                     each.bytes.substr(expert * bytes, bytes)});
  }
  return out;
}

Json huggingface_config_of(const Gguf& file) {
  const std::string family = *file.text("general.architecture");
  static const std::map<std::string, std::string> architectures = {
      {"llama", "LlamaForCausalLM"},     {"qwen2", "Qwen2ForCausalLM"},
      {"qwen3", "Qwen3ForCausalLM"},     {"qwen3moe", "Qwen3MoeForCausalLM"},
      {"smollm3", "SmolLM3ForCausalLM"}, {"phi3", "Phi3ForCausalLM"},
      {"gemma", "GemmaForCausalLM"},     {"gemma2", "Gemma2ForCausalLM"},
      {"gemma3", "Gemma3ForCausalLM"},
  };
  const auto number = [&](const std::string& key) { return *file.integer(family + "." + key); };
  const bool gemma = family.starts_with("gemma");
  Json config = {{"architectures", {architectures.at(family)}},
                 {"num_hidden_layers", number("block_count")},
                 {"hidden_size", number("embedding_length")},
                 {"intermediate_size", number("feed_forward_length")},
                 {"max_position_embeddings", number("context_length")},
                 {"num_attention_heads", number("attention.head_count")},
                 {"num_key_value_heads", number("attention.head_count_kv")},
                 {"head_dim", number("attention.key_length")},
                 {"rms_norm_eps", *file.number(family + ".attention.layer_norm_rms_epsilon")},
                 {"rope_theta", *file.number(family + ".rope.freq_base")},
                 {"hidden_act", gemma ? "gelu_pytorch_tanh" : "silu"},
                 {"tie_word_embeddings", file.find("output.weight") == nullptr}};
  if (const auto window = file.integer(family + ".attention.sliding_window"))
    config["sliding_window"] = *window;
  for (const char* cap : {"attn_logit_softcapping", "final_logit_softcapping"})
    if (const auto value = file.number(family + "." + cap)) config[cap] = *value;
  if (const auto experts = file.integer(family + ".expert_count")) {
    config["architectures"] = {family == "llama" ? "MixtralForCausalLM" : "Qwen3MoeForCausalLM"};
    config[family == "llama" ? "num_local_experts" : "num_experts"] = *experts;
    config["num_experts_per_tok"] = number("expert_used_count");
    config["moe_intermediate_size"] = number("expert_feed_forward_length");
    config["norm_topk_prob"] = true;
  }
  const std::string* scaling = file.text(family + ".rope.scaling.type");
  if (scaling == nullptr) return config;
  const std::int64_t original = number("rope.scaling.original_context_length");
  config["rope_scaling"] = {{"rope_type", *scaling},
                            {"factor", *file.number(family + ".rope.scaling.factor")},
                            {"original_max_position_embeddings", original}};
  for (const char* which : {"long", "short"}) {
    const TensorView* factors = file.find(std::string("rope_factors_") + which + ".weight");
    if (factors == nullptr) continue;
    std::vector<float> values(factors->elements());
    to_floats(factors->type, factors->data, values.size(), values.data());
    config["rope_scaling"][std::string(which) + "_factor"] = values;
  }
  return config;
}

Json huggingface_tokenizer_of(const Gguf& file) {
  const auto& tokens = *file.strings("tokenizer.ggml.tokens");
  const auto* kinds = file.integers("tokenizer.ggml.token_type");
  const bool scored = *file.text("tokenizer.ggml.model") == "llama";
  Json vocabulary = Json::object();
  Json added = Json::array();
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    const std::int64_t kind = kinds == nullptr ? 1 : (*kinds)[i];
    if (kind == 5) continue;
    if (kind == 3 || kind == 4)
      added.push_back({{"id", i}, {"content", tokens[i]}, {"special", kind == 3}});
    else
      vocabulary[tokens[i]] = i;
  }
  Json model = {{"type", "BPE"}, {"vocab", vocabulary}, {"byte_fallback", scored}};
  Json out = {{"added_tokens", added}};
  if (!scored) {
    model["merges"] = *file.strings("tokenizer.ggml.merges");
    model["ignore_merges"] = *file.text("tokenizer.ggml.pre") == "llama-bpe";
    const std::string digits = *file.text("tokenizer.ggml.pre") == "llama-bpe" ? "{1,3}" : "";
    const Json pattern = {
        {"Regex", R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N})" + digits +
                      R"(| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)"}};
    const bool plain = *file.text("tokenizer.ggml.pre") == "gpt-2";
    Json bytes = {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", plain}};
    if (plain)
      out["pre_tokenizer"] = bytes;
    else
      out["pre_tokenizer"] = {
          {"type", "Sequence"},
          {"pretokenizers",
           {{{"type", "Split"}, {"pattern", pattern}, {"behavior", "Isolated"}, {"invert", false}},
            bytes}}};
    out["model"] = model;
    return out;
  }
  model["unk_token"] = "<unk>";
  const auto& scores = *file.numbers("tokenizer.ggml.scores");
  std::vector<std::size_t> order;
  for (std::size_t i = 0; i < tokens.size(); ++i)
    if ((*kinds)[i] == 1) order.push_back(i);
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return std::pair(-scores[a], a) < std::pair(-scores[b], b);
  });
  Json merges = Json::array();
  for (const std::size_t token : order) {
    const std::string& text = tokens[token];
    for (std::size_t cut = 1; cut < text.size(); ++cut)
      if (vocabulary.contains(text.substr(0, cut)) && vocabulary.contains(text.substr(cut)))
        merges.push_back({text.substr(0, cut), text.substr(cut)});
  }
  model["merges"] = merges;
  out["model"] = model;
  out["normalizer"] = {
      {"type", "Sequence"},
      {"normalizers",
       {{{"type", "Prepend"}, {"prepend", "\xE2\x96\x81"}},
        {{"type", "Replace"}, {"pattern", {{"String", " "}}}, {"content", "\xE2\x96\x81"}}}}};
  return out;
}

Json huggingface_tokenizer_config_of(const Gguf& file) {
  const auto& tokens = *file.strings("tokenizer.ggml.tokens");
  Json out = Json::object();
  if (const auto id = file.integer("tokenizer.ggml.bos_token_id"))
    out["bos_token"] = tokens[static_cast<std::size_t>(*id)];
  if (const auto id = file.integer("tokenizer.ggml.eos_token_id"))
    out["eos_token"] = {{"content", tokens[static_cast<std::size_t>(*id)]}};
  if (const auto adds = file.boolean("tokenizer.ggml.add_bos_token")) out["add_bos_token"] = *adds;
  if (const std::string* text = file.text("tokenizer.chat_template")) out["chat_template"] = *text;
  return out;
}

void write_file(const std::string& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
}

void write_huggingface(const Gguf& file, const std::string& folder, std::size_t shards) {
  std::filesystem::create_directories(folder);
  write_file(folder + "/config.json", huggingface_config_of(file).dump());
  write_file(folder + "/tokenizer.json", huggingface_tokenizer_of(file).dump());
  write_file(folder + "/tokenizer_config.json", huggingface_tokenizer_config_of(file).dump());
  const std::vector<StoredTensor> tensors = huggingface_tensors_of(file);
  if (shards == 1) {
    write_file(folder + "/model.safetensors", safetensors_text(tensors));
    return;
  }
  Json map = Json::object();
  std::vector<std::vector<StoredTensor>> parts(shards);
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    parts[i % shards].push_back(tensors[i]);
    map[tensors[i].name] = "model-" + std::to_string(i % shards) + ".safetensors";
  }
  for (std::size_t i = 0; i < shards; ++i)
    write_file(folder + "/model-" + std::to_string(i) + ".safetensors", safetensors_text(parts[i]));
  write_file(folder + "/model.safetensors.index.json", Json{{"weight_map", map}}.dump());
}

}  // namespace ambit::inference
