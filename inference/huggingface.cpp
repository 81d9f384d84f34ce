#include "inference/huggingface.h"

#include "inference/huggingface_parts.h"
#include "inference/json_text.h"
#include "inference/safetensors.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <charconv>
#include <optional>
#include <set>

namespace ambit::inference {

namespace {

using Json = nlohmann::json;

// Names of a folder's tensors, and of the same ones in GGUF. Within a layer both are without their
// prefix.
struct TensorName {
  std::string_view here;
  std::string_view in_gguf;
};
constexpr TensorName whole_model[] = {
    {"model.embed_tokens.weight", "token_embd.weight"},
    {"model.norm.weight", "output_norm.weight"},
    {"lm_head.weight", "output.weight"},
};
constexpr TensorName of_layer[] = {
    {"input_layernorm.weight", "attn_norm.weight"},
    {"pre_feedforward_layernorm.weight", "ffn_norm.weight"},
    {"post_feedforward_layernorm.weight", "post_ffw_norm.weight"},
    {"self_attn.q_proj.weight", "attn_q.weight"},
    {"self_attn.k_proj.weight", "attn_k.weight"},
    {"self_attn.v_proj.weight", "attn_v.weight"},
    {"self_attn.q_proj.bias", "attn_q.bias"},
    {"self_attn.k_proj.bias", "attn_k.bias"},
    {"self_attn.v_proj.bias", "attn_v.bias"},
    {"self_attn.qkv_proj.weight", "attn_qkv.weight"},
    {"self_attn.o_proj.weight", "attn_output.weight"},
    {"self_attn.q_norm.weight", "attn_q_norm.weight"},
    {"self_attn.k_norm.weight", "attn_k_norm.weight"},
    {"mlp.gate_proj.weight", "ffn_gate.weight"},
    {"mlp.up_proj.weight", "ffn_up.weight"},
    {"mlp.down_proj.weight", "ffn_down.weight"},
    {"mlp.gate_up_proj.weight", "ffn_up.weight"},
    {"mlp.gate.weight", "ffn_gate_inp.weight"},
    {"block_sparse_moe.gate.weight", "ffn_gate_inp.weight"},
};
// Of one expert.
constexpr TensorName of_expert[] = {
    {"gate_proj.weight", "ffn_gate_exps.weight"}, {"up_proj.weight", "ffn_up_exps.weight"},
    {"down_proj.weight", "ffn_down_exps.weight"}, {"w1.weight", "ffn_gate_exps.weight"},
    {"w3.weight", "ffn_up_exps.weight"},          {"w2.weight", "ffn_down_exps.weight"},
};

template <std::size_t count>
std::optional<std::string> look_up(const TensorName (&names)[count], std::string_view name) {
  for (const TensorName& each : names)
    if (each.here == name) return std::string(each.in_gguf);
  return std::nullopt;
}

// A number and a point at the beginning of `text`, which is then what follows. Without zeros in
// front, so that no two names mean one tensor.
std::optional<std::size_t> take_number(std::string_view& text) {
  std::size_t number = 0;
  const auto read = std::from_chars(text.data(), text.data() + text.size(), number);
  const std::string again = std::to_string(number) + ".";
  if (read.ec != std::errc() || number > 65'535 || !text.starts_with(again)) return std::nullopt;
  text.remove_prefix(again.size());
  return number;
}

struct GgufPlace {
  std::string name;
  std::optional<std::size_t> expert;
};

std::optional<GgufPlace> place_of_tensor(std::string_view name, const std::string& family) {
  if (const auto found = look_up(whole_model, name)) return GgufPlace{*found, std::nullopt};
  constexpr std::string_view layers = "model.layers.";
  if (!name.starts_with(layers)) return std::nullopt;
  name.remove_prefix(layers.size());
  const auto layer = take_number(name);
  if (!layer) return std::nullopt;
  const std::string block = "blk." + std::to_string(*layer) + ".";
  if (name == "post_attention_layernorm.weight") {
    const bool after = family == "gemma2" || family == "gemma3";
    return GgufPlace{block + (after ? "post_attention_norm.weight" : "ffn_norm.weight"),
                     std::nullopt};
  }
  if (const auto found = look_up(of_layer, name)) return GgufPlace{block + *found, std::nullopt};
  for (const std::string_view experts : {"mlp.experts.", "block_sparse_moe.experts."}) {
    if (!name.starts_with(experts)) continue;
    name.remove_prefix(experts.size());
    const auto expert = take_number(name);
    const auto found = expert ? look_up(of_expert, name) : std::nullopt;
    if (found) return GgufPlace{block + *found, expert};
    return std::nullopt;
  }
  return std::nullopt;
}

// Gives tensors their names and rows their order in GGUF.
class Translation {
 public:
  Translation(const HuggingFaceShape& shape, Gguf::Memory& memory)
      : shape_(shape), memory_(memory) {}

  Result<std::vector<TensorView>> run(std::vector<TensorView> tensors) {
    bool has_output = false;
    for (TensorView& tensor : tensors) {
      // Frequencies that older files keep; they follow from the config.
      if (tensor.name.ends_with(".rotary_emb.inv_freq")) continue;
      const auto place = place_of_tensor(tensor.name, shape_.family);
      if (!place)
        return Err(Code::unsupported, "the tensor " + shown(tensor.name) +
                                          " is none of the architecture's that are supported");
      if (place->name == "output.weight") {
        if (shape_.tied.value_or(false)) continue;
        has_output = true;
      }
      const std::string was = std::exchange(tensor.name, place->name);
      if (place->expert) {
        if (!experts_[place->name].emplace(*place->expert, std::move(tensor)).second)
          return Err(Code::invalid, "the tensor " + shown(was) + " appears twice");
        continue;
      }
      TRY(order_rows(tensor, was));
      raise_norm(tensor);
      done_.push_back(std::move(tensor));
    }
    if (!shape_.tied.value_or(true) && !has_output)
      return Err(Code::invalid, "the tensor lm_head.weight is missing");
    for (auto& [name, parts] : experts_) TRY(stack(name, parts));
    for (const auto& [name, values] : shape_.rope_tensors)
      done_.push_back(made(name, {values.size()}, values));
    return std::move(done_);
  }

 private:
  TensorView made(const std::string& name, std::vector<std::uint64_t> shape,
                  const std::vector<float>& values) {
    AlignedBytes& bytes = memory_.made.emplace_back(values.size() * sizeof(float));
    std::copy(values.begin(), values.end(), bytes.as<float>());
    TensorView view;
    view.name = name;
    view.shape = std::move(shape);
    view.data = bytes.data();
    view.bytes = bytes.size();
    return view;
  }

  // Where the engine turns neighbours (2i, 2i + 1) of a head, these files have them half a head
  // apart.
  Result<void> order_rows(TensorView& tensor, const std::string& was) {
    if (shape_.family != "llama" && shape_.family != "smollm3") return {};
    const bool query =
        tensor.name.ends_with("attn_q.weight") || tensor.name.ends_with("attn_q.bias");
    const bool key = tensor.name.ends_with("attn_k.weight") || tensor.name.ends_with("attn_k.bias");
    if (!query && !key) return {};
    const std::size_t heads = query ? shape_.heads : shape_.kv_heads;
    const std::size_t rows = heads * shape_.head_width;
    const bool bias = tensor.name.ends_with(".bias");
    if (tensor.shape.size() != (bias ? 1U : 2U) || tensor.shape.back() != rows)
      return Err(Code::invalid,
                 "the tensor " + shown(was) + " does not have " + std::to_string(rows) + " rows");
    const auto from = [&](std::size_t row) {
      const std::size_t in_head = row % shape_.head_width;
      return row - in_head + in_head % 2 * (shape_.head_width / 2) + in_head / 2;
    };
    if (bias) {
      std::vector<float> values(rows);
      std::vector<float> ordered(rows);
      to_floats(tensor.type, tensor.data, rows, values.data());
      for (std::size_t row = 0; row < rows; ++row) ordered[row] = values[from(row)];
      tensor = made(tensor.name, tensor.shape, ordered);
      return {};
    }
    std::vector<const std::byte*> scattered(rows);
    for (std::size_t row = 0; row < rows; ++row) scattered[row] = tensor.row(from(row));
    tensor.scattered = std::move(scattered);
    tensor.data = nullptr;
    return {};
  }

  // Gemma's norms are kept without the 1 that GGUF adds to them.
  void raise_norm(TensorView& tensor) {
    if (!shape_.family.starts_with("gemma") || !tensor.name.ends_with("norm.weight") ||
        tensor.shape.size() != 1)
      return;
    std::vector<float> values(tensor.elements());
    to_floats(tensor.type, tensor.data, values.size(), values.data());
    for (float& value : values) value += 1.0F;
    tensor = made(tensor.name, tensor.shape, values);
  }

  // One tensor of all experts of a layer; their rows stay where they are.
  Result<void> stack(const std::string& name, const std::map<std::size_t, TensorView>& parts) {
    TensorView whole;
    whole.name = name;
    const TensorView& first = parts.begin()->second;
    if (first.shape.size() != 2)
      return Err(Code::invalid, "the experts of " + name + " are no matrices");
    whole.type = first.type;
    whole.shape = {first.shape[0], first.shape[1], parts.size()};
    if (parts.rbegin()->first + 1 != parts.size())
      return Err(Code::invalid, "an expert of " + name + " is missing");
    for (const auto& [expert, part] : parts) {
      if (part.type != first.type || part.shape != first.shape)
        return Err(Code::invalid, "the experts of " + name + " have different types or shapes");
      for (std::size_t row = 0; row < part.shape[1]; ++row)
        whole.scattered.push_back(part.row(row));
      whole.bytes += part.bytes;
    }
    done_.push_back(std::move(whole));
    return {};
  }

  const HuggingFaceShape& shape_;
  Gguf::Memory& memory_;
  std::vector<TensorView> done_;
  std::map<std::string, std::map<std::size_t, TensorView>> experts_;
};

Result<Gguf> translated(const std::string& name, const HuggingFaceTexts& texts,
                        std::vector<TensorView> tensors, std::vector<Gguf::Part> parts,
                        Gguf::Memory memory) {
  const Json config = TRY(huggingface_json(texts.config, "config.json"));
  GgufMetadata metadata;
  metadata["general.name"] = name;
  const HuggingFaceShape shape = TRY(read_huggingface_config(config, metadata));
  std::vector<TensorView> done = TRY(Translation(shape, memory).run(std::move(tensors)));
  const auto embedding = std::find_if(done.begin(), done.end(), [](const TensorView& tensor) {
    return tensor.name == "token_embd.weight";
  });
  if (embedding == done.end())
    return Err(Code::invalid, "the tensor model.embed_tokens.weight is missing");
  const std::uint64_t rows = embedding->dimension(1);
  if (embedding->shape.size() != 2 || rows > (1U << 22U))
    return Err(Code::invalid, "the tensor model.embed_tokens.weight has an impossible shape");
  metadata[shape.family + ".vocab_size"] = rows;
  TRY(read_huggingface_tokenizer(texts, config, static_cast<std::size_t>(rows), metadata));
  return Gguf::of(std::move(metadata), std::move(done), std::move(parts), std::move(memory));
}

// Opens the files of a folder and keeps them.
class FolderReader {
 public:
  FolderReader(std::string folder, const HuggingFaceLimits& limits)
      : folder_(std::move(folder)), limits_(limits) {
    while (folder_.size() > 1 && folder_.ends_with('/')) folder_.pop_back();
  }

  Result<Gguf> run() {
    HuggingFaceTexts texts;
    texts.config = TRY(text("config.json", true));
    texts.tokenizer = TRY(text("tokenizer.json", true));
    texts.tokenizer_config = TRY(text("tokenizer_config.json", false));
    texts.generation_config = TRY(text("generation_config.json", false));
    texts.chat_template = TRY(text("chat_template.jinja", false));
    std::vector<TensorView> tensors = TRY(weights());
    std::sort(parts_.begin(), parts_.end(),
              [](const Gguf::Part& a, const Gguf::Part& b) { return a.name < b.name; });
    return translated(folder_.substr(folder_.rfind('/') + 1), texts, std::move(tensors),
                      std::move(parts_), std::move(memory_));
  }

 private:
  Result<std::span<const std::byte>> bytes(const std::string& name) {
    MappedFile file = TRY(MappedFile::open(folder_ + "/" + name));
    const auto mapped = file.bytes();
    parts_.push_back({name, mapped});
    memory_.files.push_back(std::move(file));
    return mapped;
  }

  Result<std::string_view> text(const char* name, bool required) {
    const auto mapped = bytes(name);
    if (!mapped && mapped.error().code == Code::not_found && !required) return std::string_view();
    if (!mapped) return Err(mapped.error());
    if (mapped->size() > limits_.text_bytes_max)
      return Err(Code::invalid, std::string(name) + " has " + std::to_string(mapped->size()) +
                                    " bytes; at most " + std::to_string(limits_.text_bytes_max) +
                                    " are read");
    return std::string_view(reinterpret_cast<const char*>(mapped->data()), mapped->size());
  }

  Result<std::vector<TensorView>> file_of_tensors(const std::string& name) {
    auto views = parse_safetensors(TRY(bytes(name)));
    if (!views) return Err(std::move(views).error().context(name));
    return views;
  }

  Result<std::vector<TensorView>> weights() {
    constexpr const char* index_name = "model.safetensors.index.json";
    auto single = file_of_tensors("model.safetensors");
    if (single || single.error().code != Code::not_found) return single;
    const auto index_text = text(index_name, false);
    if (!index_text) return Err(index_text.error());
    if (index_text->empty())
      return Err(Code::not_found,
                 "there is neither model.safetensors nor " + std::string(index_name));
    const Json index = TRY(huggingface_json(*index_text, index_name));
    const auto map = index.find("weight_map");
    if (map == index.end() || !map->is_object())
      return Err(Code::invalid, std::string(index_name) + " has no weight_map");
    std::set<std::string> shards;
    for (const auto& [tensor, file] : map->items())
      shards.insert(TRY(shard_name(file, index_name)));
    if (shards.size() > limits_.shards_max)
      return Err(Code::invalid, std::string(index_name) + " names more than " +
                                    std::to_string(limits_.shards_max) + " files");
    std::vector<TensorView> all;
    for (const std::string& shard : shards) {
      std::vector<TensorView> views = TRY(file_of_tensors(shard));
      for (TensorView& view : views) {
        const auto named = map->find(view.name);
        if (named == map->end() || *named != shard)
          return Err(Code::invalid, shown(shard) + " holds the tensor " + shown(view.name) +
                                        ", of which the index says otherwise");
        all.push_back(std::move(view));
      }
    }
    if (all.size() != map->size())
      return Err(Code::invalid, "the index names tensors that its files do not hold");
    return all;
  }

  // A file of this very folder.
  static Result<std::string> shard_name(const Json& file, const std::string& index_name) {
    const std::string name = file.is_string() ? file.get<std::string>() : "";
    if (!name.ends_with(".safetensors") || name.find('/') != std::string::npos ||
        name.find('\0') != std::string::npos || name.size() > 255)
      return Err(Code::invalid,
                 index_name + " names a file that is no safetensors file of its folder");
    return name;
  }

  std::string folder_;
  const HuggingFaceLimits& limits_;
  std::vector<Gguf::Part> parts_;
  Gguf::Memory memory_;
};

}  // namespace

std::string shown(std::string_view text) {
  std::string out = "\"";
  for (const char c : text.substr(0, 80)) out += c >= 0x20 && c < 0x7F && c != '"' ? c : '?';
  return out + (text.size() > 80 ? "...\"" : "\"");
}

Result<Json> huggingface_json(std::string_view text, const char* file) {
  constexpr std::size_t depth_max = 32;
  if (nests_deeper(text, depth_max))
    return Err(Code::invalid, std::string(file) + " is nested too deep");
  Json value = Json::parse(text, nullptr, false);
  if (!value.is_object()) return Err(Code::invalid, std::string(file) + " is not a JSON object");
  return value;
}

Result<Gguf> translate_huggingface(const std::string& name, const HuggingFaceTexts& texts,
                                   std::vector<TensorView> tensors) {
  return translated(name, texts, std::move(tensors), {}, {});
}

Result<Gguf> open_huggingface(const std::string& folder, const HuggingFaceLimits& limits) {
  auto opened = FolderReader(folder, limits).run();
  if (!opened) return Err(std::move(opened).error().context(folder));
  return opened;
}

}  // namespace ambit::inference
