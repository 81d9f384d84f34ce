#pragma once

// From a GGUF file to a Model: reads the shape, checks every tensor against it, repacks the
// weights.

#include "async/result.h"
#include "inference/model.h"

namespace ambit::inference {

Result<Config> read_config(const Gguf& file);
Result<Model> load_model(std::shared_ptr<const Gguf> file);

}  // namespace ambit::inference
