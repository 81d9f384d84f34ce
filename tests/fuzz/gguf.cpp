// Any bytes as a model file: parsing, tokenizer, template and weights must refuse or load, never
// crash.

#include "inference/gguf.h"

#include "inference/chat.h"
#include "inference/loader.h"
#include "inference/tokenizer.h"

#include <cstddef>
#include <cstdint>
#include <memory>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace ambit::inference;
  auto file = Gguf::parse({reinterpret_cast<const std::byte*>(data), size});
  if (!file) return 0;
  if (const auto tokenizer = Tokenizer::load(*file)) {
    (void)tokenizer->decode(tokenizer->encode("Hello <|im_end|> w\xC3\xB6rld 123\n"));
    (void)Chat::load(*file, *tokenizer);
  }
  (void)load_model(std::make_shared<const Gguf>(std::move(*file)));
  return 0;
}
