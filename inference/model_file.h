#pragma once

// A model file ready for use: weights, tokenizer, chat template and what identifies it. Immutable.
// A path is that of a GGUF file or of a Hugging Face folder; nothing above this knows which.

#include "async/result.h"
#include "inference/chat.h"
#include "inference/model.h"
#include "inference/tokenizer.h"

#include <memory>
#include <string>

namespace ambit::inference {

// The weights alone, and what the file says of them.
Result<Gguf> open_weights(const std::string& path);

class ModelFile {
 public:
  // For sessions of at most `context_max` tokens; 0: what the model was made for.
  static Result<std::shared_ptr<const ModelFile>> open(const std::string& path,
                                                       std::size_t context_max = 0);
  ModelFile(const ModelFile&) = delete;
  ModelFile& operator=(const ModelFile&) = delete;

  [[nodiscard]] const Gguf& file() const { return *file_; }
  [[nodiscard]] const Model& model() const { return model_; }
  [[nodiscard]] const Tokenizer& tokenizer() const { return *tokenizer_; }
  [[nodiscard]] const Chat& chat() const { return *chat_; }
  // "name@sha256:<of the whole file, or of the list of a folder's files and their digests>", and
  // "+short-rope" where a long RoPE's short factors are taken.
  [[nodiscard]] const std::string& identity() const { return identity_; }

 private:
  ModelFile() = default;
  std::shared_ptr<const Gguf> file_;
  Model model_;
  std::unique_ptr<const Tokenizer> tokenizer_;
  std::unique_ptr<const Chat> chat_;
  std::string identity_;
};

}  // namespace ambit::inference
