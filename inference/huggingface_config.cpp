// config.json as the keys of a GGUF file.

#include "inference/huggingface_parts.h"

#include <nlohmann/json.hpp>

#include <cmath>
#include <numbers>

namespace ambit::inference {

namespace {

using Json = nlohmann::json;

struct Family {
  std::string_view architecture;  // as config.json names it
  std::string_view name;          // as GGUF does
};
constexpr Family known_families[] = {
    {"LlamaForCausalLM", "llama"},     {"MistralForCausalLM", "llama"},
    {"MixtralForCausalLM", "llama"},   {"Qwen2ForCausalLM", "qwen2"},
    {"Qwen3ForCausalLM", "qwen3"},     {"Qwen3MoeForCausalLM", "qwen3moe"},
    {"SmolLM3ForCausalLM", "smollm3"}, {"Phi3ForCausalLM", "phi3"},
    {"GemmaForCausalLM", "gemma"},     {"Gemma2ForCausalLM", "gemma2"},
    {"Gemma3ForCausalLM", "gemma3"},
};

Error config_error(Code code, const std::string& what) {
  return Error{code, "config.json: " + what};
}

// Reads config.json key by key; null is the same as absent.
class ConfigReader {
 public:
  ConfigReader(const Json& config, GgufMetadata& metadata) : config_(config), metadata_(metadata) {}

  Result<HuggingFaceShape> run() {
    TRY(find_family());
    prefix_ = shape_.family + ".";
    metadata_["general.architecture"] = shape_.family;
    TRY(sizes());
    TRY(attention());
    TRY(experts());
    TRY(rope());
    TRY(patterns());
    return std::move(shape_);
  }

 private:
  [[nodiscard]] bool is(std::string_view family) const { return shape_.family == family; }
  [[nodiscard]] bool is_gemma() const { return shape_.family.starts_with("gemma"); }

  static const Json* member(const Json& object, const char* key) {
    const auto at = object.find(key);
    return at == object.end() || at->is_null() ? nullptr : &*at;
  }
  static Result<std::optional<std::int64_t>> integer(const Json& object, const char* key) {
    const Json* value = member(object, key);
    if (value == nullptr) return std::optional<std::int64_t>();
    if (!value->is_number_integer() ||
        (value->is_number_unsigned() && value->get<std::uint64_t>() > (1ULL << 62U)))
      return Err(config_error(Code::invalid, std::string(key) + " is not a whole number"));
    return std::optional(value->get<std::int64_t>());
  }
  static Result<std::optional<double>> number(const Json& object, const char* key) {
    const Json* value = member(object, key);
    if (value == nullptr) return std::optional<double>();
    if (!value->is_number())
      return Err(config_error(Code::invalid, std::string(key) + " is not a number"));
    return std::optional(value->get<double>());
  }
  static Result<bool> flag(const Json& object, const char* key) {
    const Json* value = member(object, key);
    if (value == nullptr) return false;
    if (!value->is_boolean())
      return Err(config_error(Code::invalid, std::string(key) + " is neither true nor false"));
    return value->get<bool>();
  }
  static std::string text(const Json& object, const char* key) {
    const Json* value = member(object, key);
    return value != nullptr && value->is_string() ? value->get<std::string>() : std::string();
  }

  Result<void> find_family() {
    const Json* names = member(config_, "architectures");
    if (names == nullptr || !names->is_array() || names->size() != 1 || !(*names)[0].is_string())
      return Err(config_error(Code::invalid, "architectures does not name one architecture"));
    const auto& named = (*names)[0].get_ref<const std::string&>();
    std::string all;
    for (const Family& family : known_families) {
      if (family.architecture == named) shape_.family = std::string(family.name);
      all += (all.empty() ? "" : ", ") + std::string(family.architecture);
    }
    if (shape_.family.empty())
      return Err(config_error(Code::unsupported, "the architecture " + shown(named) +
                                                     " is not supported; these are: " + all));
    if (member(config_, "quantization_config") != nullptr)
      return Err(config_error(Code::unsupported,
                              "quantised weights are not supported here (F32, F16, BF16 are); "
                              "take the original and `ambit model quantize`"));
    return {};
  }

  // Negative ones are refused by who reads the key.
  void set(const std::string& key, std::int64_t value) {
    if (value < 0)
      metadata_[prefix_ + key] = value;
    else
      metadata_[prefix_ + key] = static_cast<std::uint64_t>(value);
  }

  // The key must be there.
  Result<std::int64_t> put(const char* key, const char* as) {
    const auto value = TRY(integer(config_, key));
    if (!value) return Err(config_error(Code::invalid, std::string("it has no ") + key));
    set(as, *value);
    return *value;
  }

  Result<void> sizes() {
    TRY(put("num_hidden_layers", "block_count"));
    TRY(put("hidden_size", "embedding_length"));
    TRY(put("intermediate_size", "feed_forward_length"));
    TRY(put("max_position_embeddings", "context_length"));
    const auto epsilon = TRY(number(config_, "rms_norm_eps"));
    if (!epsilon) return Err(config_error(Code::invalid, "it has no rms_norm_eps"));
    metadata_[prefix_ + "attention.layer_norm_rms_epsilon"] = *epsilon;
    if (member(config_, "tie_word_embeddings") != nullptr)
      shape_.tied = TRY(flag(config_, "tie_word_embeddings"));
    std::string gate = text(config_, "hidden_activation");
    if (gate.empty()) gate = text(config_, "hidden_act");
    const bool known =
        is_gemma() ? gate.empty() || gate == "gelu_pytorch_tanh" || gate == "gelu" : gate == "silu";
    if (!known)
      return Err(config_error(Code::unsupported, "the activation " + shown(gate) +
                                                     " is not supported for this architecture"));
    return {};
  }

  Result<void> attention() {
    const std::int64_t heads = TRY(put("num_attention_heads", "attention.head_count"));
    const std::int64_t kv_heads = TRY(integer(config_, "num_key_value_heads")).value_or(heads);
    const std::int64_t width = TRY(integer(config_, "hidden_size")).value_or(0);
    if (heads < 1 || heads > 1024 || kv_heads < 1 || kv_heads > heads)
      return Err(config_error(Code::invalid, "the number of heads is impossible"));
    const std::int64_t head_width = TRY(integer(config_, "head_dim")).value_or(width / heads);
    if (head_width < 2 || head_width > 1024 || head_width % 2 != 0)
      return Err(config_error(Code::invalid, "the width of a head is impossible"));
    set("attention.head_count_kv", kv_heads);
    set("attention.key_length", head_width);
    set("attention.value_length", head_width);
    const double part = TRY(number(config_, "partial_rotary_factor")).value_or(1.0);
    if (part != 1.0 && !(is("phi3") && part > 0 && part < 1))
      return Err(config_error(Code::unsupported, "partial_rotary_factor is not supported"));
    rope_width_ = static_cast<std::int64_t>(part * static_cast<double>(head_width));
    set("rope.dimension_count", rope_width_);
    shape_.heads = static_cast<std::size_t>(heads);
    shape_.kv_heads = static_cast<std::size_t>(kv_heads);
    shape_.head_width = static_cast<std::size_t>(head_width);
    if (is("gemma2") || is("gemma3")) {
      // The engine knows which of the two widths a family's sizes scale by (loader.cpp).
      const auto scalar = TRY(number(config_, "query_pre_attn_scalar"));
      const std::int64_t layers = TRY(integer(config_, "num_hidden_layers")).value_or(0);
      const std::int64_t scaled = layers == (is("gemma2") ? 46 : 62) ? width / heads : head_width;
      if (scalar && *scalar != static_cast<double>(scaled))
        return Err(config_error(Code::unsupported, "query_pre_attn_scalar is not supported"));
    }
    for (const auto& [key, as] :
         {std::pair("attn_logit_softcapping", "attn_logit_softcapping"),
          std::pair("final_logit_softcapping", "final_logit_softcapping")}) {
      const auto cap = TRY(number(config_, key));
      if (!cap) continue;
      if (!is("gemma2") && !is("gemma3"))
        return Err(config_error(Code::unsupported, std::string(key) + " is not supported"));
      metadata_[prefix_ + as] = *cap;
    }
    return {};
  }

  Result<void> experts() {
    const char* const key = is("llama") ? "num_local_experts" : "num_experts";
    const std::int64_t count = TRY(integer(config_, key)).value_or(0);
    if (count == 0 && !is("qwen3moe")) return {};
    set("expert_count", count);
    TRY(put("num_experts_per_tok", "expert_used_count"));
    if (!is("qwen3moe")) return {};
    TRY(put("moe_intermediate_size", "expert_feed_forward_length"));
    const Json* dense = member(config_, "mlp_only_layers");
    if (TRY(integer(config_, "decoder_sparse_step")).value_or(1) != 1 ||
        (dense != nullptr && !dense->empty()))
      return Err(config_error(Code::unsupported, "layers without experts are not supported"));
    if (!TRY(flag(config_, "norm_topk_prob")))
      return Err(config_error(Code::unsupported, "norm_topk_prob must be true"));
    return {};
  }

  Result<void> rope() {
    const Json* scaling = member(config_, "rope_scaling");
    double base = TRY(number(config_, "rope_theta")).value_or(10000.0);
    std::optional<double> window_base = TRY(number(config_, "rope_local_base_freq"));
    // Newer files have all of it in one place, some for each kind of layer.
    if (const Json* parameters = member(config_, "rope_parameters")) {
      if (!parameters->is_object())
        return Err(config_error(Code::invalid, "rope_parameters is not an object"));
      if (const Json* windowed = member(*parameters, "sliding_attention")) {
        if (!windowed->is_object())
          return Err(config_error(Code::invalid, "rope_parameters is not understood"));
        window_base = TRY(number(*windowed, "rope_theta"));
      }
      if (const Json* full = member(*parameters, "full_attention")) parameters = full;
      if (!parameters->is_object())
        return Err(config_error(Code::invalid, "rope_parameters is not understood"));
      base = TRY(number(*parameters, "rope_theta")).value_or(base);
      scaling = parameters;
    }
    base_ = base;
    metadata_[prefix_ + "rope.freq_base"] = base;
    if (is("gemma3") && window_base) metadata_[prefix_ + "rope.freq_base_swa"] = *window_base;
    if (scaling == nullptr) return {};
    if (!scaling->is_object())
      return Err(config_error(Code::invalid, "rope_scaling is not an object"));
    return scale(*scaling);
  }

  Result<void> scale(const Json& scaling) {
    std::string type = text(scaling, "rope_type");
    if (type.empty()) type = text(scaling, "type");
    if (type.empty() || type == "default") return {};
    if (type == "su") type = "longrope";  // as the first Phi-3 files call it
    const auto original = [&]() -> Result<std::optional<std::int64_t>> {
      const auto inside = TRY(integer(scaling, "original_max_position_embeddings"));
      if (inside) return inside;
      return integer(config_, "original_max_position_embeddings");
    };
    for (const char* key : {"short_mscale", "long_mscale", "mscale", "mscale_all_dim"})
      if (member(scaling, key) != nullptr)
        return Err(config_error(Code::unsupported, std::string(key) + " is not supported"));
    if (member(scaling, "truncate") != nullptr && !TRY(flag(scaling, "truncate")))
      return Err(config_error(Code::unsupported, "rope_scaling without truncate is not supported"));
    if (type == "llama3") return llama3(scaling, TRY(original()));
    if (type == "longrope") return longrope(scaling, TRY(original()));
    if (type != "linear" && type != "yarn")
      return Err(config_error(Code::unsupported,
                              "the RoPE scaling " + shown(type) +
                                  " is not supported (linear, yarn, longrope and llama3 are)"));
    const auto factor = TRY(number(scaling, "factor"));
    if (!factor) return Err(config_error(Code::invalid, "rope_scaling has no factor"));
    const std::string to = prefix_ + "rope.scaling.";
    metadata_[to + "type"] = type;
    metadata_[to + "factor"] = *factor;
    if (type == "linear") return {};
    if (const auto context = TRY(original())) set("rope.scaling.original_context_length", *context);
    if (const auto fast = TRY(number(scaling, "beta_fast")))
      metadata_[to + "yarn_beta_fast"] = *fast;
    if (const auto slow = TRY(number(scaling, "beta_slow")))
      metadata_[to + "yarn_beta_slow"] = *slow;
    if (const auto attention = TRY(number(scaling, "attention_factor")))
      metadata_[to + "attn_factor"] = *attention / (1.0 + 0.1 * std::log(*factor));
    return {};
  }

  // Slow turns are divided by the factor, fast ones are left, those between in between.
  Result<void> llama3(const Json& scaling, std::optional<std::int64_t> original) {
    const double factor = TRY(number(scaling, "factor")).value_or(0);
    const double low = TRY(number(scaling, "low_freq_factor")).value_or(0);
    const double high = TRY(number(scaling, "high_freq_factor")).value_or(0);
    const auto context = static_cast<double>(original.value_or(0));
    if (!(factor > 0) || !(low > 0) || !(high > low) || !(context > 0) || !(base_ > 1))
      return Err(config_error(Code::invalid, "the RoPE scaling llama3 is incomplete"));
    std::vector<float> divisors;
    for (std::int64_t i = 0; i < rope_width_ / 2; ++i) {
      const double wave =
          2 * std::numbers::pi *
          std::pow(base_, static_cast<double>(2 * i) / static_cast<double>(rope_width_));
      const double kept = (context / wave - low) / (high - low);
      double divisor = 1 / ((1 - kept) / factor + kept);
      if (wave < context / high) divisor = 1;
      if (wave > context / low) divisor = factor;
      divisors.push_back(static_cast<float>(divisor));
    }
    shape_.rope_tensors.emplace_back("rope_freqs.weight", std::move(divisors));
    return {};
  }

  Result<void> longrope(const Json& scaling, std::optional<std::int64_t> original) {
    if (!original)
      return Err(config_error(Code::invalid, "longrope needs original_max_position_embeddings"));
    const std::string to = prefix_ + "rope.scaling.";
    metadata_[to + "type"] = std::string("longrope");
    set("rope.scaling.original_context_length", *original);
    if (const auto attention = TRY(number(scaling, "attention_factor")))
      metadata_[to + "attn_factor"] = *attention;
    for (const char* which : {"long", "short"}) {
      const Json* list = member(scaling, (std::string(which) + "_factor").c_str());
      if (list == nullptr || !list->is_array() ||
          list->size() != static_cast<std::size_t>(rope_width_) / 2)
        return Err(config_error(Code::invalid, std::string("longrope needs one ") + which +
                                                   "_factor for each pair of a head"));
      std::vector<float> factors;
      for (const Json& value : *list) {
        if (!value.is_number())
          return Err(config_error(Code::invalid, std::string(which) + "_factor holds no number"));
        factors.push_back(value.get<float>());
      }
      shape_.rope_tensors.emplace_back(std::string("rope_factors_") + which + ".weight",
                                       std::move(factors));
    }
    return {};
  }

  // Which layers have a window, and which do not turn: as the engine has it, or not at all.
  Result<void> patterns() {
    const Json* uses = member(config_, "use_sliding_window");
    const bool has_window = uses == nullptr || *uses != false;
    const auto window = has_window ? TRY(integer(config_, "sliding_window")) : std::nullopt;
    if (window && shape_.family.starts_with("qwen") && uses != nullptr)
      return Err(config_error(Code::unsupported, "use_sliding_window is not supported"));
    if (window) set("attention.sliding_window", *window);
    const std::size_t period = is("gemma2") ? 2 : is("gemma3") ? 6 : 0;
    if (period > 0 &&
        TRY(integer(config_, "sliding_window_pattern"))
                .value_or(static_cast<std::int64_t>(period)) != static_cast<std::int64_t>(period))
      return Err(config_error(Code::unsupported, "sliding_window_pattern is not supported"));
    if (const Json* layers = member(config_, "layer_types"); layers != nullptr && period > 0) {
      if (!layers->is_array())
        return Err(config_error(Code::invalid, "layer_types is not an array"));
      for (std::size_t i = 0; i < layers->size(); ++i) {
        const bool full = (i + 1) % period == 0;
        if ((*layers)[i] != (full ? "full_attention" : "sliding_attention"))
          return Err(
              config_error(Code::unsupported, "the pattern of layer_types is not supported"));
      }
    }
    if (const Json* turning = member(config_, "no_rope_layers"); turning && is("smollm3")) {
      if (!turning->is_array())
        return Err(config_error(Code::invalid, "no_rope_layers is not an array"));
      for (std::size_t i = 0; i < turning->size(); ++i)
        if ((*turning)[i] != ((i + 1) % 4 == 0 ? 0 : 1))
          return Err(
              config_error(Code::unsupported, "the pattern of no_rope_layers is not supported"));
    }
    return {};
  }

  const Json& config_;
  GgufMetadata& metadata_;
  HuggingFaceShape shape_;
  std::string prefix_;
  std::int64_t rope_width_ = 0;
  double base_ = 10000.0;
};

}  // namespace

Result<HuggingFaceShape> read_huggingface_config(const Json& config, GgufMetadata& metadata) {
  return ConfigReader(config, metadata).run();
}

}  // namespace ambit::inference
