#include "inference/model_file.h"

#include "async/check.h"
#include "inference/huggingface.h"
#include "inference/loader.h"

#include <openssl/evp.h>

#include <filesystem>

namespace ambit::inference {

namespace {

std::string sha256_hex(std::span<const std::byte> bytes) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  INVARIANT(EVP_Digest(bytes.data(), bytes.size(), digest, &size, EVP_sha256(), nullptr) == 1);
  std::string hex;
  for (unsigned int i = 0; i < size; ++i) {
    hex += "0123456789abcdef"[digest[i] >> 4U];
    hex += "0123456789abcdef"[digest[i] & 15U];
  }
  return hex;
}

// Of one file its own digest; of a folder the digest of what `sha256sum *` prints for its parts.
std::string digest(const Gguf& file) {
  if (file.parts().size() == 1) return sha256_hex(file.parts()[0].bytes);
  std::string lines;
  for (const Gguf::Part& part : file.parts())
    lines += sha256_hex(part.bytes) + "  " + part.name + "\n";
  return sha256_hex(std::as_bytes(std::span(lines)));
}

std::string base_name(std::string path) {
  while (path.size() > 1 && path.ends_with('/')) path.pop_back();
  std::string name = path.substr(path.rfind('/') + 1);
  if (name.ends_with(".gguf")) name.resize(name.size() - 5);
  return name;
}

}  // namespace

Result<Gguf> open_weights(const std::string& path) {
  std::error_code none;
  if (std::filesystem::is_directory(path, none)) return open_huggingface(path);
  return Gguf::open(path);
}

Result<std::shared_ptr<const ModelFile>> ModelFile::open(const std::string& path,
                                                         std::size_t context_max) {
  auto made = std::shared_ptr<ModelFile>(new ModelFile());
  made->file_ = std::make_shared<const Gguf>(TRY(open_weights(path)));
  const auto load = [&]() -> Result<void> {
    made->model_ = TRY(load_model(made->file_, context_max));
    made->tokenizer_ = std::make_unique<const Tokenizer>(TRY(Tokenizer::load(*made->file_)));
    if (made->tokenizer_->size() != made->model_.config.vocabulary)
      return Err(Code::invalid, "the vocabulary has " + std::to_string(made->tokenizer_->size()) +
                                    " tokens, the embedding " +
                                    std::to_string(made->model_.config.vocabulary) + " rows");
    made->chat_ = std::make_unique<const Chat>(TRY(Chat::load(*made->file_, *made->tokenizer_)));
    return {};
  };
  if (auto loaded = load(); !loaded) return Err(std::move(loaded).error().context(path));
  made->identity_ = base_name(path) + "@sha256:" + digest(*made->file_);
  if (made->model_.config.rope_scaling.is_short) made->identity_ += "+short-rope";
  return std::shared_ptr<const ModelFile>(std::move(made));
}

}  // namespace ambit::inference
