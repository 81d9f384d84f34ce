#pragma once

// What the tests of the GPU's kernels share: small models, arrays on the shim's device, noise, and
// the number of comparisons that were equal to the last bit.

#include "cuda/shim.h"
#include "inference/model_file.h"
#include "inference/sampler.h"
#include "inference/synth.h"
#include "inference/tensor.h"

#include <catch2/catch.hpp>

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <memory>
#include <stdexcept>
#include <string>
#include <unistd.h>
#include <vector>

namespace ambit::inference::cuda {

// A random model of this shape; its file is gone again when this returns.
inline std::shared_ptr<const ModelFile> model_of(const SynthShape& shape) {
  const auto path = (std::filesystem::temp_directory_path() /
                     ("ambit_cuda_test." + std::to_string(getpid()) + ".gguf"))
                        .string();
  const auto written = synthesize(shape).write(path);
  auto file = ModelFile::open(path);
  std::filesystem::remove(path);
  REQUIRE(written);
  REQUIRE(file);
  return *file;
}

// One small enough to talk with on the shim.
inline std::shared_ptr<const ModelFile> talking_model() {
  SynthShape shape;
  shape.type = DType::bf16;
  shape.layers = 1;
  shape.width = 32;
  shape.hidden = 48;
  shape.heads = 2;
  shape.kv_heads = 1;
  shape.vocabulary = 300;
  shape.context = 512;
  return model_of(shape);
}

// An array on a device; as large as asked for, not a byte more.
template <class T>
class Array {
 public:
  Array(Device& device, const std::vector<T>& values) : Array(device, values.size()) {
    device_->upload(bytes_, values.data(), values.size() * sizeof(T));
  }
  Array(Device& device, std::size_t count)
      : device_(&device), bytes_(device.allocate(count * sizeof(T))), count_(count) {}
  ~Array() { device_->release(bytes_); }
  Array(const Array&) = delete;
  Array& operator=(const Array&) = delete;
  [[nodiscard]] T* at() const { return reinterpret_cast<T*>(bytes_); }
  [[nodiscard]] std::vector<T> read() const {
    std::vector<T> values(count_);
    device_->download(values.data(), bytes_, count_ * sizeof(T));
    return values;
  }

 private:
  Device* device_;
  std::byte* bytes_;
  std::size_t count_;
};

inline std::vector<float> noise(std::size_t count, std::uint64_t seed, float scale = 1.0F) {
  std::vector<float> values(count);
  for (std::size_t i = 0; i < count; ++i)
    values[i] = scale * static_cast<float>(uniform(seed, i, 0) + uniform(seed, i, 1) - 1.0);
  return values;
}

template <class T>
bool same_bits(const std::vector<T>& a, const std::vector<T>& b) {
  const bool same =
      a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0;
  if (same) shim_tally().equal_values += a.size();
  return same;
}

inline double worst_error(const std::vector<float>& ours, const std::vector<float>& theirs) {
  double worst = 0;
  double largest = 1e-9;
  for (std::size_t i = 0; i < ours.size(); ++i) {
    const double error = std::fabs(static_cast<double>(ours[i]) - static_cast<double>(theirs[i]));
    worst = std::isnan(error) ? 1e9 : std::max(worst, error);
    largest = std::max(largest, std::fabs(static_cast<double>(theirs[i])));
  }
  return worst / largest;
}

// The shim, or the GPU itself where AMBIT_GPU is set: the same tests are for both.
inline std::unique_ptr<Device> test_device(ShimOptions options = {}) {
  if (std::getenv("AMBIT_GPU") == nullptr) return make_shim(options);
  auto device = open_device(0);
  if (!device) throw std::runtime_error(device.error().message);
  return std::move(*device);
}

inline ShimOptions schedule(std::uint64_t seed, unsigned few_rows_max = 64) {
  ShimOptions options;
  options.seed = seed;
  options.few_rows_max = few_rows_max;
  return options;
}

}  // namespace ambit::inference::cuda
