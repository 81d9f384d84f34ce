#include "inference/requantize.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>

namespace ambit::inference {

namespace {

constexpr Recipe recipes[] = {
    {"F32", DType::f32, DType::f32, 0},       {"F16", DType::f16, DType::f16, 1},
    {"BF16", DType::bf16, DType::bf16, 32},   {"Q8_0", DType::q8_0, DType::q8_0, 7},
    {"Q4_0", DType::q4_0, DType::q6_k, 2},    {"Q4_K", DType::q4_k, DType::q6_k, 15},
    {"Q4_K_M", DType::q4_k, DType::q6_k, 15}, {"Q5_K", DType::q5_k, DType::q6_k, 17},
    {"Q5_K_M", DType::q5_k, DType::q6_k, 17}, {"Q6_K", DType::q6_k, DType::q6_k, 18},
};

// A weight beyond this would have no scale as a half float.
constexpr float weight_max = 60000.0F;

// "blk.12.ffn_down.weight" -> 12
std::optional<std::size_t> layer_of(const std::string& name) {
  if (!name.starts_with("blk.")) return std::nullopt;
  std::size_t layer = 0;
  const auto read = std::from_chars(name.data() + 4, name.data() + name.size(), layer);
  if (read.ec != std::errc()) return std::nullopt;
  return layer;
}

// The first and the last eighth of the layers, and every third between them.
bool is_sensitive_layer(std::size_t layer, std::size_t layers) {
  const std::size_t eighth = layers / 8;
  return layer < eighth || layer >= layers - eighth || (layer - eighth) % 3 == 2;
}

DType type_for(const TensorView& tensor, const Recipe& recipe, std::size_t layers, bool tied) {
  // A router decides: it stays as it is.
  if (tensor.name.ends_with("ffn_gate_inp.weight")) return DType::f32;
  if (tensor.shape.size() < 2 || tensor.dimension(1) < 2) return DType::f32;
  DType type = recipe.type;
  const auto layer = layer_of(tensor.name);
  if (tensor.name == "output.weight" || (tied && tensor.name == "token_embd.weight")) {
    type = recipe.sensitive;
  } else if (layer && recipe.type != DType::q4_0 && is_sensitive_layer(*layer, layers) &&
             (tensor.name.ends_with("attn_v.weight") || tensor.name.ends_with("ffn_down.weight") ||
              tensor.name.ends_with("ffn_down_exps.weight"))) {
    type = recipe.sensitive;
  }
  const std::uint64_t inputs = tensor.dimension(0);
  if (inputs % block_elements(type) != 0) type = DType::q8_0;
  if (inputs % block_elements(type) != 0) type = DType::f16;
  return type;
}

Result<std::vector<std::byte>> converted(const TensorView& tensor, DType type) {
  const std::uint64_t rows = tensor.elements() / tensor.dimension(0);
  const auto inputs = static_cast<std::size_t>(tensor.dimension(0));
  std::vector<std::byte> out(row_bytes(type, inputs) * rows);
  if (type == tensor.type) {
    for (std::size_t row = 0; row < rows; ++row)
      std::memcpy(out.data() + row * row_bytes(type, inputs), tensor.row(row),
                  row_bytes(type, inputs));
    return out;
  }
  std::vector<float> values(inputs);
  for (std::size_t row = 0; row < rows; ++row) {
    to_floats(tensor.type, tensor.row(row), inputs, values.data());
    for (const float value : values)
      if (!(std::fabs(value) <= weight_max))
        return Err(Code::invalid, "the tensor " + tensor.name +
                                      " holds a weight that is no number or beyond " +
                                      std::to_string(static_cast<int>(weight_max)));
    from_floats(type, values.data(), inputs, out.data() + row * row_bytes(type, inputs));
  }
  return out;
}

}  // namespace

std::optional<Recipe> recipe_named(std::string_view name) {
  std::string upper(name);
  std::transform(upper.begin(), upper.end(), upper.begin(), [](char letter) {
    return letter >= 'a' && letter <= 'z' ? static_cast<char>(letter - 'a' + 'A') : letter;
  });
  for (const Recipe& recipe : recipes)
    if (recipe.name == upper) return recipe;
  return std::nullopt;
}

std::vector<std::string_view> recipe_names() {
  std::vector<std::string_view> all;
  for (const Recipe& recipe : recipes) all.push_back(recipe.name);
  return all;
}

Result<Requantized> requantize(const Gguf& file, const Recipe& recipe, const std::string& to) {
  GgufWriter writer;
  for (const auto& [key, value] : file.metadata())
    if (key != "general.file_type" && key != "general.alignment") writer.set(key, value);
  writer.set("general.file_type", recipe.file_type);
  std::size_t layers = 0;
  for (const TensorView& tensor : file.tensors())
    if (const auto layer = layer_of(tensor.name)) layers = std::max(layers, *layer + 1);
  const bool tied = file.find("output.weight") == nullptr;
  Requantized done;
  for (const TensorView& tensor : file.tensors()) {
    const DType type = type_for(tensor, recipe, layers, tied);
    auto data = TRY(converted(tensor, type));
    done.bytes_before += tensor.bytes;
    done.bytes_after += data.size();
    ++done.tensors[std::string(to_string(type))];
    writer.add_bytes(tensor.name, type, tensor.shape, std::move(data));
  }
  TRY(writer.write(to));
  return done;
}

}  // namespace ambit::inference
