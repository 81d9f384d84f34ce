// Any text through each pre-tokenizer, the tokenizer of a small model and the readers of model
// output: every byte comes back, and guarded text never becomes a control token.

#include "inference/tokenizer.h"

#include "inference/chat.h"
#include "inference/dialect.h"
#include "inference/synth.h"

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace ambit::inference;
  static const std::string bytes = synthesize({}).bytes();
  static const auto file =
      Gguf::parse({reinterpret_cast<const std::byte*>(bytes.data()), bytes.size()});
  static const auto tokenizer = Tokenizer::load(*file);
  const std::string text(reinterpret_cast<const char*>(data), size);
  for (const PreTokenizer kind :
       {PreTokenizer::gpt2, PreTokenizer::llama3, PreTokenizer::qwen2, PreTokenizer::smollm}) {
    std::size_t covered = 0;
    for (const std::string_view piece : pre_tokenize(kind, text)) covered += piece.size();
    if (covered != size) std::abort();
  }
  if (tokenizer->decode(tokenizer->encode(text, false)) != text &&
      text.find("\xEF\xB7\x90") == std::string::npos)
    std::abort();
  for (const TokenId token : tokenizer->encode(tokenizer->guard(text, true)))
    if (tokenizer->kind(token) == TokenKind::control) std::abort();
  (void)read_turn(Dialect::hermes, text);
  (void)read_turn(Dialect::llama, text);
  return 0;
}
