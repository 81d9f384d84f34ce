#include "async/check.h"
#include "inference/gguf.h"

#include <cerrno>
#include <cstdio>
#include <cstring>

namespace ambit::inference {

namespace {

constexpr std::size_t alignment = 32;

template <class T>
void put(std::string& out, T value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof value);
}

void put_text(std::string& out, std::string_view text) {
  put<std::uint64_t>(out, text.size());
  out += text;
}

// Numbers as the format's readers expect them: 32 bits wherever they fit.
struct PutValue {
  std::string& out;
  void operator()(std::uint64_t value) const {
    if (value <= 0xFFFFFFFFU) {
      put<std::uint32_t>(out, 4);
      put(out, static_cast<std::uint32_t>(value));
    } else {
      put<std::uint32_t>(out, 10);
      put(out, value);
    }
  }
  void operator()(std::int64_t value) const {
    put<std::uint32_t>(out, 11);
    put(out, value);
  }
  void operator()(double value) const {
    put<std::uint32_t>(out, 6);
    put(out, static_cast<float>(value));
  }
  void operator()(bool value) const {
    put<std::uint32_t>(out, 7);
    put<std::uint8_t>(out, value ? 1 : 0);
  }
  void operator()(const std::string& value) const {
    put<std::uint32_t>(out, 8);
    put_text(out, value);
  }
  void operator()(const std::vector<std::string>& values) const {
    begin_array(8, values.size());
    for (const std::string& value : values) put_text(out, value);
  }
  void operator()(const std::vector<std::int64_t>& values) const {
    begin_array(5, values.size());
    for (const std::int64_t value : values) put(out, static_cast<std::int32_t>(value));
  }
  void operator()(const std::vector<double>& values) const {
    begin_array(6, values.size());
    for (const double value : values) put(out, static_cast<float>(value));
  }
  void begin_array(std::uint32_t kind, std::size_t count) const {
    put<std::uint32_t>(out, 9);
    put(out, kind);
    put<std::uint64_t>(out, count);
  }
};

std::size_t aligned(std::size_t size) {
  return (size + alignment - 1) / alignment * alignment;
}

}  // namespace

void GgufWriter::set(std::string key, GgufValue value) {
  metadata_.emplace_back(std::move(key), std::move(value));
}

void GgufWriter::add(std::string name, DType type, std::vector<std::uint64_t> shape,
                     std::span<const float> values) {
  INVARIANT(!shape.empty() && shape[0] % block_elements(type) == 0);
  Tensor tensor{std::move(name), type, std::move(shape), {}};
  tensor.data.resize(row_bytes(type, values.size()));
  from_floats(type, values.data(), values.size(), tensor.data.data());
  tensors_.push_back(std::move(tensor));
}

void GgufWriter::add_bytes(std::string name, DType type, std::vector<std::uint64_t> shape,
                           std::vector<std::byte> data) {
  tensors_.push_back({std::move(name), type, std::move(shape), std::move(data)});
}

// All before the tensors' data, in whole alignments.
std::string GgufWriter::head() const {
  std::string out = "GGUF";
  put<std::uint32_t>(out, 3);
  put<std::uint64_t>(out, tensors_.size());
  put<std::uint64_t>(out, metadata_.size());
  for (const auto& [key, value] : metadata_) {
    put_text(out, key);
    std::visit(PutValue{out}, value);
  }
  std::size_t offset = 0;
  for (const Tensor& tensor : tensors_) {
    put_text(out, tensor.name);
    put(out, static_cast<std::uint32_t>(tensor.shape.size()));
    for (const std::uint64_t size : tensor.shape) put(out, size);
    put(out, static_cast<std::uint32_t>(tensor.type));
    put<std::uint64_t>(out, offset);
    offset += aligned(tensor.data.size());
  }
  out.resize(aligned(out.size()));
  return out;
}

std::string GgufWriter::bytes() const {
  std::string out = head();
  for (const Tensor& tensor : tensors_) {
    out.append(reinterpret_cast<const char*>(tensor.data.data()), tensor.data.size());
    out.resize(aligned(out.size()));
  }
  return out;
}

// Tensor by tensor: a big model is not held twice.
Result<void> GgufWriter::write(const std::string& path) const {
  std::FILE* file = std::fopen(path.c_str(), "wb");
  if (file == nullptr)
    return Err(Code::denied, "cannot write " + path + ": " + std::strerror(errno));
  const auto put_bytes = [&](const void* data, std::size_t size) {
    return size == 0 || std::fwrite(data, 1, size, file) == size;
  };
  const std::string start = head();
  bool whole = put_bytes(start.data(), start.size());
  const char zeros[alignment] = {};
  for (const Tensor& tensor : tensors_)
    whole = whole && put_bytes(tensor.data.data(), tensor.data.size()) &&
            put_bytes(zeros, aligned(tensor.data.size()) - tensor.data.size());
  const int problem = errno;
  const bool closed = std::fclose(file) == 0;
  if (!whole || !closed)
    return Err(Code::exhausted,
               "cannot write " + path + ": " + std::strerror(whole ? errno : problem));
  return {};
}

}  // namespace ambit::inference
