#pragma once

// Model files with random weights, made once in the build folder.

#include "inference/requantize.h"
#include "inference/synth.h"

#include <filesystem>
#include <string>

namespace ambit::bench {

// The file of a public shape and a type ("BF16", "Q8_0", ...); empty if it cannot be made.
inline std::string model_file(const std::string& shape_name, const std::string& type) {
  using namespace inference;
  const std::string folder = "build/bench-models";
  std::filesystem::create_directories(folder);
  const std::string path = folder + "/" + shape_name + "-" + type + ".gguf";
  if (std::filesystem::exists(path)) return path;
  const auto shape = named_shape(shape_name);
  if (!shape) return "";
  const std::string source = folder + "/" + shape_name + "-BF16.gguf";
  if (!std::filesystem::exists(source)) {
    SynthShape whole = *shape;
    whole.type = DType::bf16;
    if (!synthesize(whole).write(source)) return "";
  }
  if (type == "BF16") return source;
  const auto file = Gguf::open(source);
  const auto recipe = recipe_named(type);
  if (!file || !recipe || !requantize(*file, *recipe, path)) return "";
  return path;
}

}  // namespace ambit::bench
