// Any bytes as a safetensors file, and any texts as the other files of a Hugging Face folder: they
// must be refused or translated, never crash. An input begins with the safetensors file's header
// length; what does not is texts with a line of dashes between them.

#include "inference/huggingface.h"

#include "inference/chat.h"
#include "inference/loader.h"
#include "inference/safetensors.h"
#include "inference/tokenizer.h"

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string_view>

namespace {

using namespace ambit::inference;

// The tensors of a model of one layer, 16 wide, all zeros.
std::vector<TensorView> zero_tensors() {
  static const std::array<std::byte, 2 * 64 * 64> zeros{};
  std::vector<TensorView> views;
  const auto add = [&](const char* name, std::vector<std::uint64_t> shape) {
    TensorView view;
    view.name = name;
    view.type = DType::bf16;
    view.shape = std::move(shape);
    view.data = zeros.data();
    view.bytes = row_bytes(view.type, view.elements());
    views.push_back(std::move(view));
  };
  add("model.embed_tokens.weight", {16, 64});
  add("model.norm.weight", {16});
  const std::string layer = "model.layers.0.";
  for (const char* name : {"self_attn.q_proj.weight", "self_attn.k_proj.weight",
                           "self_attn.v_proj.weight", "self_attn.o_proj.weight",
                           "mlp.gate_proj.weight", "mlp.up_proj.weight", "mlp.down_proj.weight"})
    add((layer + name).c_str(), {16, 16});
  for (const char* name : {"input_layernorm.weight", "post_attention_layernorm.weight"})
    add((layer + name).c_str(), {16});
  return views;
}

void translate(std::string_view text) {
  constexpr std::string_view border = "\n---\n";
  HuggingFaceTexts texts;
  for (std::string_view* each : {&texts.config, &texts.tokenizer, &texts.tokenizer_config,
                                 &texts.generation_config, &texts.chat_template}) {
    const std::size_t end = text.find(border);
    *each = text.substr(0, end);
    text = end == std::string_view::npos ? std::string_view() : text.substr(end + border.size());
  }
  auto file = translate_huggingface("fuzzed", texts, zero_tensors());
  if (!file) return;
  if (const auto tokenizer = Tokenizer::load(*file)) {
    (void)tokenizer->decode(tokenizer->encode("Hello <|im_end|> w\xC3\xB6rld 123\n"));
    (void)Chat::load(*file, *tokenizer);
  }
  (void)load_model(std::make_shared<const Gguf>(std::move(*file)));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::span bytes(reinterpret_cast<const std::byte*>(data), size);
  if (const auto views = parse_safetensors(bytes)) {
    std::size_t sum = 0;
    for (const TensorView& view : *views)
      for (std::uint64_t row = 0; row < view.elements() / view.shape[0]; ++row)
        sum += std::to_integer<std::size_t>(*view.row(static_cast<std::size_t>(row)));
    if (sum > 255 * size) __builtin_trap();
  }
  translate({reinterpret_cast<const char*>(data), size});
  return 0;
}
