#include "inference/gguf.h"

#include <sys/mman.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <limits>
#include <unistd.h>
#include <utility>

namespace ambit::inference {

namespace {

enum Kind : std::uint32_t {
  kind_u8,
  kind_i8,
  kind_u16,
  kind_i16,
  kind_u32,
  kind_i32,
  kind_f32,
  kind_bool,
  kind_string,
  kind_array,
  kind_u64,
  kind_i64,
  kind_f64,
};

std::size_t kind_bytes(std::uint32_t kind) {
  switch (kind) {
    case kind_u8:
    case kind_i8:
    case kind_bool:
      return 1;
    case kind_u16:
    case kind_i16:
      return 2;
    case kind_u32:
    case kind_i32:
    case kind_f32:
      return 4;
    case kind_u64:
    case kind_i64:
    case kind_f64:
      return 8;
    case kind_string:
      return 8;  // at least its length
    default:
      return 0;
  }
}

std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : text.substr(0, 80)) out += c >= 0x20 && c < 0x7F && c != '"' ? c : '?';
  return out + (text.size() > 80 ? "...\"" : "\"");
}

}  // namespace

Result<MappedFile> MappedFile::open(const std::string& path) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0)
    return Err(errno == ENOENT ? Code::not_found : Code::denied,
               "cannot open " + path + ": " + std::strerror(errno));
  struct stat status{};
  if (fstat(descriptor, &status) != 0 || !S_ISREG(status.st_mode)) {
    close(descriptor);
    return Err(Code::invalid, path + " is not a regular file");
  }
  MappedFile file;
  const auto size = static_cast<std::size_t>(status.st_size);
  if (size > 0) {
    void* memory = mmap(nullptr, size, PROT_READ, MAP_PRIVATE, descriptor, 0);
    if (memory == MAP_FAILED) {
      const int reason = errno;
      close(descriptor);
      return Err(Code::unavailable, "cannot map " + path + ": " + std::strerror(reason));
    }
    file.bytes_ = {static_cast<const std::byte*>(memory), size};
  }
  close(descriptor);
  return file;
}

MappedFile::MappedFile(MappedFile&& other) noexcept : bytes_(std::exchange(other.bytes_, {})) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(bytes_, other.bytes_);
  return *this;
}

MappedFile::~MappedFile() {
  if (!bytes_.empty()) munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
}

// Walks the file once from the front. Every read asks first whether the bytes are there.
class GgufParser {
 public:
  GgufParser(std::span<const std::byte> bytes, const GgufLimits& limits)
      : bytes_(bytes), limits_(limits) {}

  Result<Gguf> run() {
    Gguf file;
    file.parts_ = {{"", bytes_}};
    if (bytes_.size() < 4 || std::memcmp(bytes_.data(), "GGUF", 4) != 0)
      return Err(Code::invalid, "not a GGUF file: it does not begin with \"GGUF\"");
    position_ = 4;
    const auto version = TRY(scalar<std::uint32_t>("the version"));
    if (version == 0x03000000U || version == 0x02000000U)
      return Err(Code::unsupported, "the file is big-endian; convert it on this machine");
    if (version != 3 && version != 2)
      return Err(Code::unsupported,
                 "GGUF version " + std::to_string(version) + " is not supported (2 and 3 are)");
    const auto tensors = TRY(scalar<std::uint64_t>("the tensor count"));
    const auto keys = TRY(scalar<std::uint64_t>("the metadata count"));
    if (tensors > limits_.tensors_max)
      return Err(Code::invalid, "it claims " + std::to_string(tensors) + " tensors; at most " +
                                    std::to_string(limits_.tensors_max) + " are read");
    if (keys > limits_.metadata_max)
      return Err(Code::invalid, "it claims " + std::to_string(keys) + " metadata keys; at most " +
                                    std::to_string(limits_.metadata_max) + " are read");
    for (std::uint64_t i = 0; i < keys; ++i) TRY(metadata(file));
    TRY(alignment(file));
    for (std::uint64_t i = 0; i < tensors; ++i) TRY(tensor(file));
    TRY(place(file));
    return file;
  }

 private:
  [[nodiscard]] std::size_t left() const { return bytes_.size() - position_; }

  Error truncated(const std::string& what) const {
    return Error{Code::invalid, "the file ends inside " + what + " (at byte " +
                                    std::to_string(position_) + " of " +
                                    std::to_string(bytes_.size()) + ")"};
  }

  template <class T>
  Result<T> scalar(const std::string& what) {
    if (left() < sizeof(T)) return Err(truncated(what));
    T value{};
    std::memcpy(&value, bytes_.data() + position_, sizeof(T));
    position_ += sizeof(T);
    return value;
  }

  Result<std::string> text(const std::string& what, std::uint64_t bytes_max) {
    const auto size = TRY(scalar<std::uint64_t>(what));
    if (size > bytes_max)
      return Err(Code::invalid, what + " claims " + std::to_string(size) + " bytes; at most " +
                                    std::to_string(bytes_max) + " are read");
    if (size > left()) return Err(truncated(what));
    std::string value(reinterpret_cast<const char*>(bytes_.data() + position_), size);
    position_ += size;
    return value;
  }

  Result<void> metadata(Gguf& file) {
    const auto key = TRY(text("a metadata key", limits_.key_bytes_max));
    if (key.empty()) return Err(Code::invalid, "a metadata key is empty");
    const std::string what = "metadata " + quoted(key);
    const auto kind = TRY(scalar<std::uint32_t>(what));
    auto value = TRY(kind == kind_array ? array(what) : single(kind, what));
    if (!file.metadata_.emplace(key, std::move(value)).second)
      return Err(Code::invalid, what + " appears twice");
    return {};
  }

  Result<GgufValue> single(std::uint32_t kind, const std::string& what) {
    switch (kind) {
      case kind_u8:
        return GgufValue(std::uint64_t{TRY(scalar<std::uint8_t>(what))});
      case kind_i8:
        return GgufValue(std::int64_t{TRY(scalar<std::int8_t>(what))});
      case kind_u16:
        return GgufValue(std::uint64_t{TRY(scalar<std::uint16_t>(what))});
      case kind_i16:
        return GgufValue(std::int64_t{TRY(scalar<std::int16_t>(what))});
      case kind_u32:
        return GgufValue(std::uint64_t{TRY(scalar<std::uint32_t>(what))});
      case kind_i32:
        return GgufValue(std::int64_t{TRY(scalar<std::int32_t>(what))});
      case kind_u64:
        return GgufValue(TRY(scalar<std::uint64_t>(what)));
      case kind_i64:
        return GgufValue(TRY(scalar<std::int64_t>(what)));
      case kind_f32:
        return GgufValue(double{TRY(scalar<float>(what))});
      case kind_f64:
        return GgufValue(TRY(scalar<double>(what)));
      case kind_string:
        return GgufValue(TRY(text(what, limits_.string_bytes_max)));
      case kind_bool: {
        const auto value = TRY(scalar<std::uint8_t>(what));
        if (value > 1) return Err(Code::invalid, what + " is a boolean that is neither 0 nor 1");
        return GgufValue(value == 1);
      }
      default:
        return Err(Code::invalid, what + " has the unknown type " + std::to_string(kind));
    }
  }

  Result<GgufValue> array(const std::string& what) {
    const auto kind = TRY(scalar<std::uint32_t>(what));
    const auto count = TRY(scalar<std::uint64_t>(what));
    if (kind == kind_array) return Err(Code::unsupported, what + " is an array of arrays");
    const std::size_t each = kind_bytes(kind);
    if (each == 0)
      return Err(Code::invalid, what + " has the unknown type " + std::to_string(kind));
    if (count > limits_.array_max)
      return Err(Code::invalid, what + " claims " + std::to_string(count) + " elements; at most " +
                                    std::to_string(limits_.array_max) + " are read");
    if (count * each > left()) return Err(truncated(what));  // count is bounded: no overflow
    if (kind == kind_string) {
      std::vector<std::string> values;
      values.reserve(count);
      for (std::uint64_t i = 0; i < count; ++i)
        values.push_back(TRY(text(what, limits_.string_bytes_max)));
      return GgufValue(std::move(values));
    }
    if (kind == kind_f32 || kind == kind_f64) {
      std::vector<double> values;
      values.reserve(count);
      for (std::uint64_t i = 0; i < count; ++i)
        values.push_back(std::get<double>(TRY(single(kind, what))));
      return GgufValue(std::move(values));
    }
    std::vector<std::int64_t> values;
    values.reserve(count);
    for (std::uint64_t i = 0; i < count; ++i) {
      const GgufValue value = TRY(single(kind, what));
      if (const auto* number = std::get_if<std::uint64_t>(&value)) {
        if (*number > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()))
          return Err(Code::unsupported, what + " holds an integer beyond 2^63");
        values.push_back(static_cast<std::int64_t>(*number));
      } else if (const auto* flag = std::get_if<bool>(&value)) {
        values.push_back(*flag ? 1 : 0);
      } else {
        values.push_back(std::get<std::int64_t>(value));
      }
    }
    return GgufValue(std::move(values));
  }

  Result<void> alignment(const Gguf& file) {
    if (!file.metadata_.contains("general.alignment")) return {};
    const auto given = file.integer("general.alignment");
    const auto value = static_cast<std::uint64_t>(given.value_or(0));
    if (!given || value < 8 || value > limits_.alignment_max || (value & (value - 1)) != 0)
      return Err(Code::invalid, "general.alignment must be a power of two from 8 to " +
                                    std::to_string(limits_.alignment_max));
    alignment_ = value;
    return {};
  }

  Result<void> tensor(Gguf& file) {
    TensorView view;
    view.name = TRY(text("a tensor's name", limits_.key_bytes_max));
    const std::string what = "tensor " + quoted(view.name);
    const auto dimensions = TRY(scalar<std::uint32_t>(what));
    if (dimensions == 0 || dimensions > 4)
      return Err(Code::invalid,
                 what + " has " + std::to_string(dimensions) + " dimensions; 1 to 4 are possible");
    std::uint64_t elements = 1;
    for (std::uint32_t i = 0; i < dimensions; ++i) {
      const auto size = TRY(scalar<std::uint64_t>(what));
      // 2^40 elements of 4 bytes are 4 TiB; below that no later product overflows.
      if (size == 0 || size > (std::uint64_t{1} << 40U) / elements)
        return Err(Code::invalid, what + " has an impossible shape");
      elements *= size;
      view.shape.push_back(size);
    }
    const auto type = TRY(scalar<std::uint32_t>(what));
    const auto known = type_numbered(type);
    if (!known) return Err(Code::unsupported, what + " has element type " + unknown_type(type));
    view.type = *known;
    if (view.shape[0] % block_elements(view.type) != 0)
      return Err(Code::invalid, what + ": rows of " + std::to_string(view.shape[0]) +
                                    " elements do not divide into blocks of " +
                                    std::to_string(block_elements(view.type)));
    view.bytes = row_bytes(view.type, elements);
    offsets_.push_back(TRY(scalar<std::uint64_t>(what)));
    if (!file.index_.emplace(view.name, file.tensors_.size()).second)
      return Err(Code::invalid, what + " appears twice");
    file.tensors_.push_back(std::move(view));
    return {};
  }

  static std::string unknown_type(std::uint32_t type) {
    std::string text = std::to_string(type) + "; supported are";
    const char* comma = " ";
    for (const DType each : all_types) {
      text += comma + std::string(to_string(each)) + " (" +
              std::to_string(static_cast<std::uint32_t>(each)) + ")";
      comma = ", ";
    }
    return text;
  }

  // Turns offsets into pointers: aligned, inside the file, apart from each other.
  Result<void> place(Gguf& file) const {
    const std::uint64_t start = (position_ + alignment_ - 1) / alignment_ * alignment_;
    const std::uint64_t space = start < bytes_.size() ? bytes_.size() - start : 0;
    std::vector<std::size_t> order(offsets_.size());
    for (std::size_t i = 0; i < order.size(); ++i) {
      order[i] = i;
      TensorView& view = file.tensors_[i];
      const std::string what = "tensor " + quoted(view.name);
      if (offsets_[i] % alignment_ != 0)
        return Err(Code::invalid, what + " is not aligned to " + std::to_string(alignment_));
      if (offsets_[i] > space || view.bytes > space - offsets_[i])
        return Err(Code::invalid, what + " lies outside the file (offset " +
                                      std::to_string(offsets_[i]) + ", " +
                                      std::to_string(view.bytes) + " bytes, file has " +
                                      std::to_string(space) + "): is the file cut short?");
      view.data = bytes_.data() + start + offsets_[i];
    }
    std::sort(order.begin(), order.end(),
              [this](std::size_t a, std::size_t b) { return offsets_[a] < offsets_[b]; });
    for (std::size_t i = 1; i < order.size(); ++i) {
      const TensorView& before = file.tensors_[order[i - 1]];
      if (offsets_[order[i - 1]] + before.bytes > offsets_[order[i]])
        return Err(Code::invalid, "tensors " + quoted(before.name) + " and " +
                                      quoted(file.tensors_[order[i]].name) + " overlap");
    }
    return {};
  }

  std::span<const std::byte> bytes_;
  const GgufLimits& limits_;
  std::size_t position_ = 0;
  std::uint64_t alignment_ = 32;
  std::vector<std::uint64_t> offsets_;
};

Result<Gguf> Gguf::parse(std::span<const std::byte> bytes, const GgufLimits& limits) {
  return GgufParser(bytes, limits).run();
}

Result<Gguf> Gguf::open(const std::string& path, const GgufLimits& limits) {
  MappedFile file = TRY(MappedFile::open(path));
  auto parsed = parse(file.bytes(), limits);
  if (!parsed) return Err(std::move(parsed).error().context(path));
  parsed->parts_[0].name = path.substr(path.rfind('/') + 1);
  parsed->memory_.files.push_back(std::move(file));
  return parsed;
}

Result<Gguf> Gguf::of(GgufMetadata metadata, std::vector<TensorView> tensors,
                      std::vector<Part> parts, Memory memory) {
  Gguf file;
  file.metadata_ = std::move(metadata);
  file.tensors_ = std::move(tensors);
  file.parts_ = std::move(parts);
  file.memory_ = std::move(memory);
  for (std::size_t i = 0; i < file.tensors_.size(); ++i)
    if (!file.index_.emplace(file.tensors_[i].name, i).second)
      return Err(Code::invalid, "tensor " + quoted(file.tensors_[i].name) + " appears twice");
  return file;
}

const TensorView* Gguf::find(std::string_view name) const {
  const auto at = index_.find(name);
  return at == index_.end() ? nullptr : &tensors_[at->second];
}

const GgufValue* Gguf::value(std::string_view key) const {
  const auto at = metadata_.find(key);
  return at == metadata_.end() ? nullptr : &at->second;
}

const std::string* Gguf::text(std::string_view key) const {
  return std::get_if<std::string>(value(key));
}

std::optional<std::int64_t> Gguf::integer(std::string_view key) const {
  const GgufValue* found = value(key);
  if (found == nullptr) return std::nullopt;
  if (const auto* number = std::get_if<std::int64_t>(found)) return *number;
  if (const auto* number = std::get_if<std::uint64_t>(found)) {
    if (*number <= static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()))
      return static_cast<std::int64_t>(*number);
  }
  return std::nullopt;
}

std::optional<double> Gguf::number(std::string_view key) const {
  if (const auto* number = std::get_if<double>(value(key))) return *number;
  if (const auto whole = integer(key)) return static_cast<double>(*whole);
  return std::nullopt;
}

std::optional<bool> Gguf::boolean(std::string_view key) const {
  if (const auto* flag = std::get_if<bool>(value(key))) return *flag;
  return std::nullopt;
}

const std::vector<std::string>* Gguf::strings(std::string_view key) const {
  return std::get_if<std::vector<std::string>>(value(key));
}

const std::vector<std::int64_t>* Gguf::integers(std::string_view key) const {
  return std::get_if<std::vector<std::int64_t>>(value(key));
}

const std::vector<double>* Gguf::numbers(std::string_view key) const {
  return std::get_if<std::vector<double>>(value(key));
}

}  // namespace ambit::inference
