#pragma once

// GGUF version 3: a model file of typed metadata and tensors. Opening maps the file and checks all
// of it (sizes, offsets, counts, alignment, duplicates) before anything is used, so that a
// truncated or hostile file gives one Error and never a read outside the mapping. Tensors are views
// into the mapping. What comes from other formats (huggingface.h) has the same names and keys.

#include "async/result.h"
#include "inference/tensor.h"

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <variant>
#include <vector>

namespace ambit::inference {

using GgufValue =
    std::variant<std::uint64_t, std::int64_t, double, bool, std::string, std::vector<std::string>,
                 std::vector<std::int64_t>, std::vector<double>>;

// What a file may ask for. More is refused.
struct GgufLimits {
  std::uint64_t metadata_max = 1U << 16U;
  std::uint64_t tensors_max = 1U << 16U;
  std::uint64_t key_bytes_max = 65'535;
  std::uint64_t string_bytes_max = 16U << 20U;
  std::uint64_t array_max = 1U << 24U;
  std::uint64_t alignment_max = 1U << 16U;
};

// A file mapped read-only. Cutting it short while it is mapped kills the process: the kernel's
// rule.
class MappedFile {
 public:
  static Result<MappedFile> open(const std::string& path);
  MappedFile() = default;
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  ~MappedFile();
  [[nodiscard]] std::span<const std::byte> bytes() const { return bytes_; }

 private:
  std::span<const std::byte> bytes_;
};

using GgufMetadata = std::map<std::string, GgufValue, std::less<>>;

class Gguf {
 public:
  // A file that this was read from.
  struct Part {
    std::string name;
    std::span<const std::byte> bytes;
  };
  // What tensors point into.
  struct Memory {
    std::vector<MappedFile> files;
    std::vector<AlignedBytes> made;
  };

  static Result<Gguf> open(const std::string& path, const GgufLimits& limits = {});
  // Reads from memory that outlives the result.
  static Result<Gguf> parse(std::span<const std::byte> bytes, const GgufLimits& limits = {});
  // What another format said, in this one's words. invalid: two tensors have one name.
  static Result<Gguf> of(GgufMetadata metadata, std::vector<TensorView> tensors,
                         std::vector<Part> parts, Memory memory);

  [[nodiscard]] const GgufMetadata& metadata() const { return metadata_; }
  [[nodiscard]] const std::vector<TensorView>& tensors() const { return tensors_; }
  [[nodiscard]] const TensorView* find(std::string_view name) const;
  // One, or the files of a folder in the order of their names.
  [[nodiscard]] const std::vector<Part>& parts() const { return parts_; }

  // Typed access: nullptr or nullopt when the key is absent or holds something else.
  [[nodiscard]] const std::string* text(std::string_view key) const;
  [[nodiscard]] std::optional<std::int64_t> integer(std::string_view key) const;
  [[nodiscard]] std::optional<double> number(std::string_view key) const;
  [[nodiscard]] std::optional<bool> boolean(std::string_view key) const;
  [[nodiscard]] const std::vector<std::string>* strings(std::string_view key) const;
  [[nodiscard]] const std::vector<std::int64_t>* integers(std::string_view key) const;
  [[nodiscard]] const std::vector<double>* numbers(std::string_view key) const;

 private:
  friend class GgufParser;
  Gguf() = default;
  [[nodiscard]] const GgufValue* value(std::string_view key) const;

  Memory memory_;
  std::vector<Part> parts_;
  GgufMetadata metadata_;
  std::vector<TensorView> tensors_;
  std::map<std::string, std::size_t, std::less<>> index_;
};

// Writes GGUF version 3: for tests, and for tools that make models.
class GgufWriter {
 public:
  void set(std::string key, GgufValue value);
  // Values are rounded to `type`; shape[0] must be a multiple of its block.
  void add(std::string name, DType type, std::vector<std::uint64_t> shape,
           std::span<const float> values);
  // The same with bytes that are of the type already.
  void add_bytes(std::string name, DType type, std::vector<std::uint64_t> shape,
                 std::vector<std::byte> data);
  [[nodiscard]] std::string bytes() const;
  [[nodiscard]] Result<void> write(const std::string& path) const;

 private:
  struct Tensor {
    std::string name;
    DType type;
    std::vector<std::uint64_t> shape;
    std::vector<std::byte> data;
  };
  [[nodiscard]] std::string head() const;
  std::vector<std::pair<std::string, GgufValue>> metadata_;
  std::vector<Tensor> tensors_;
};

}  // namespace ambit::inference
