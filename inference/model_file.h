#pragma once

// A model file ready for use: weights, tokenizer, chat template and what identifies it. Immutable.

#include "async/result.h"
#include "inference/chat.h"
#include "inference/model.h"
#include "inference/tokenizer.h"

#include <memory>
#include <string>

namespace ambit::inference {

class ModelFile {
 public:
  static Result<std::shared_ptr<const ModelFile>> open(const std::string& path);
  ModelFile(const ModelFile&) = delete;
  ModelFile& operator=(const ModelFile&) = delete;

  [[nodiscard]] const Gguf& file() const { return *file_; }
  [[nodiscard]] const Model& model() const { return model_; }
  [[nodiscard]] const Tokenizer& tokenizer() const { return *tokenizer_; }
  [[nodiscard]] const Chat& chat() const { return *chat_; }
  // "name@sha256:<of the whole file>"
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
