#pragma once

// What the tests of this room share: small random models in temporary files, and where the shared
// data is.

#include "inference/decoder.h"
#include "inference/model_file.h"
#include "inference/synth.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <string>
#include <unistd.h>

namespace ambit::inference {

inline std::string temporary_path(const std::string& name) {
  return (std::filesystem::temp_directory_path() / (name + "." + std::to_string(getpid())))
      .string();
}

// The file is gone again when this returns; the model keeps its mapping.
inline std::shared_ptr<const ModelFile> synthetic(const SynthShape& shape,
                                                  std::size_t context_max = 0) {
  const std::string path = temporary_path("ambit_synthetic");
  const auto written = synthesize(shape).write(path);
  auto file = ModelFile::open(path, context_max);
  std::filesystem::remove(path);
  if (!written || !file) return nullptr;
  return *file;
}

inline std::unique_ptr<Decoder> decoder_for(std::shared_ptr<const ModelFile> file,
                                            EngineOptions options = {}) {
  auto made = Decoder::make(std::move(file), std::move(options));
  return made ? std::move(*made) : nullptr;
}

inline std::optional<std::string> read_text(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return std::nullopt;
  return std::string(std::istreambuf_iterator<char>(file), {});
}

// Public data that is not part of the repository; tests that need it say so when it is absent.
inline std::string shared_data(const std::string& name) {
  const char* root = std::getenv("AMBIT_SHARED");
  return (root != nullptr ? std::string(root) : std::string(PROJECT_ROOT "/../shared")) + "/data/" +
         name;
}

inline agents::TurnRequest ask(const std::string& text, std::int64_t tokens_max = 24,
                               const std::string& session = "") {
  agents::TurnRequest request;
  request.session = session;
  request.messages = {{agents::Role::user, text, {}, "", ""}};
  request.tokens_max = tokens_max;
  return request;
}

}  // namespace ambit::inference
