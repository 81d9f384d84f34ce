#include "inference/safetensors.h"

#include "inference/json_text.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <optional>
#include <string>

namespace ambit::inference {

namespace {

using Json = nlohmann::json;

std::string tensor_text(const std::string& name) {
  std::string out = "the tensor \"";
  for (const char c : name.substr(0, 80)) out += c >= 0x20 && c < 0x7F && c != '"' ? c : '?';
  return out + (name.size() > 80 ? "...\"" : "\"");
}

std::optional<DType> stored_type(const Json& name) {
  if (name == "F32") return DType::f32;
  if (name == "F16") return DType::f16;
  if (name == "BF16") return DType::bf16;
  return std::nullopt;
}

// A whole number that is not negative.
std::optional<std::uint64_t> size_of(const Json& value) {
  if (!value.is_number_unsigned()) return std::nullopt;
  return value.get<std::uint64_t>();
}

// Reads one entry of the header; `data` is what follows the header.
Result<TensorView> tensor_from(const std::string& name, const Json& entry,
                               std::span<const std::byte> data) {
  const std::string what = tensor_text(name);
  if (!entry.is_object() || !entry.contains("dtype") || !entry.contains("shape") ||
      !entry.contains("data_offsets"))
    return Err(Code::invalid, what + " has no dtype, shape and data_offsets");
  const Json& shape = entry["shape"];
  const Json& offsets = entry["data_offsets"];
  const auto type = stored_type(entry["dtype"]);
  if (!type)
    return Err(Code::unsupported, what + " has a type that is not supported (F32, F16, BF16 are)");
  if (!shape.is_array() || shape.empty() || shape.size() > 4)
    return Err(Code::invalid, what + " does not have 1 to 4 dimensions");
  TensorView view;
  view.name = name;
  view.type = *type;
  std::uint64_t elements = 1;
  for (const Json& dimension : shape) {
    const auto size = size_of(dimension);
    // 2^40 elements of 4 bytes are 4 TiB; below that no later product overflows.
    if (!size || *size == 0 || *size > (std::uint64_t{1} << 40U) / elements)
      return Err(Code::invalid, what + " has an impossible shape");
    elements *= *size;
    view.shape.insert(view.shape.begin(), *size);
  }
  const auto begin = offsets.is_array() && offsets.size() == 2 ? size_of(offsets[0]) : std::nullopt;
  const auto end = begin ? size_of(offsets[1]) : std::nullopt;
  if (!end || *begin > *end || *end > data.size())
    return Err(Code::invalid, what + " lies outside the file: is the file cut short?");
  view.bytes = row_bytes(*type, elements);
  if (*end - *begin != view.bytes)
    return Err(Code::invalid, what + " has " + std::to_string(*end - *begin) +
                                  " bytes; its shape needs " + std::to_string(view.bytes));
  view.data = data.data() + *begin;
  return view;
}

// Parses the header; a name that is given twice is a mistake.
Result<Json> header_from(std::string_view text) {
  if (nests_deeper(text, 3))
    return Err(Code::invalid, "the header is nested deeper than any safetensors header");
  std::vector<std::string> names;
  const auto note = [&names](int depth, Json::parse_event_t event, const Json& parsed) {
    if (event == Json::parse_event_t::key && depth == 1)
      names.push_back(parsed.get_ref<const std::string&>());
    return true;
  };
  Json header = Json::parse(text, note, false);
  if (!header.is_object()) return Err(Code::invalid, "the header is not a JSON object");
  std::sort(names.begin(), names.end());
  const auto twice = std::adjacent_find(names.begin(), names.end());
  if (twice != names.end()) return Err(Code::invalid, tensor_text(*twice) + " appears twice");
  return header;
}

}  // namespace

Result<std::vector<TensorView>> parse_safetensors(std::span<const std::byte> bytes,
                                                  const SafetensorsLimits& limits) {
  if (bytes.size() < 8) return Err(Code::invalid, "not a safetensors file: it has no header");
  std::uint64_t header_bytes = 0;
  for (std::size_t i = 8; i-- > 0;)
    header_bytes = header_bytes << 8U | std::to_integer<std::uint64_t>(bytes[i]);
  if (header_bytes > limits.header_bytes_max)
    return Err(Code::invalid, "not a safetensors file, or one whose header claims " +
                                  std::to_string(header_bytes) + " bytes; at most " +
                                  std::to_string(limits.header_bytes_max) + " are read");
  if (header_bytes > bytes.size() - 8)
    return Err(Code::invalid, "the file ends inside its header: is it cut short?");
  const Json header = TRY(
      header_from({reinterpret_cast<const char*>(bytes.data()) + 8, std::size_t{header_bytes}}));
  if (header.size() > limits.tensors_max + 1)
    return Err(Code::invalid, "it holds " + std::to_string(header.size()) + " tensors; at most " +
                                  std::to_string(limits.tensors_max) + " are read");
  const auto data = bytes.subspan(8 + std::size_t{header_bytes});
  std::vector<TensorView> views;
  for (const auto& [name, entry] : header.items()) {
    if (name == "__metadata__") continue;
    if (name.empty() || name.size() > limits.name_bytes_max)
      return Err(Code::invalid, tensor_text(name) + " has a name that is empty or too long");
    if (std::any_of(name.begin(), name.end(), [](char c) { return c < 0x20 || c > 0x7E; }))
      return Err(Code::invalid, tensor_text(name) + " has a name that is not plain ASCII");
    views.push_back(TRY(tensor_from(name, entry, data)));
  }
  std::sort(views.begin(), views.end(),
            [](const TensorView& a, const TensorView& b) { return a.data < b.data; });
  const std::byte* next = data.data();
  for (const TensorView& view : views) {
    if (view.data != next)
      return Err(Code::invalid,
                 tensor_text(view.name) + (view.data < next ? " overlaps with another one"
                                                            : " has unused bytes before it"));
    next += view.bytes;
  }
  if (next != data.data() + data.size())
    return Err(Code::invalid, "the file goes on after its last tensor");
  return views;
}

}  // namespace ambit::inference
