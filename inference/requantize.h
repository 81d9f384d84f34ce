#pragma once

// Writes a model file anew with its matrices in another type: what `ambit model quantize` does.
// What a format cannot hold (rows that do not divide into its blocks, vectors, norms) goes to the
// next that can, and the output says so in its counts.

#include "async/result.h"
#include "inference/gguf.h"

#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace ambit::inference {

struct Recipe {
  std::string_view name;  // "Q4_K_M"
  DType type = DType::q8_0;
  // Of tensors that lose most by being small: the output, and in some layers the values and the way
  // back to the residual.
  DType sensitive = DType::q8_0;
  std::uint64_t file_type = 0;  // as the format numbers it
};

std::optional<Recipe> recipe_named(std::string_view name);
std::vector<std::string_view> recipe_names();

struct Requantized {
  std::size_t bytes_before = 0;
  std::size_t bytes_after = 0;
  std::map<std::string, std::size_t> tensors;  // by type
};
// invalid: a weight is no finite number of reasonable size.
Result<Requantized> requantize(const Gguf& file, const Recipe& recipe, const std::string& to);

}  // namespace ambit::inference
