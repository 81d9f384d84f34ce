// Do all instruction sets of this machine give the bits of the plain one? A program of its own,
// with nothing but the kernels in it, so that it can also be compiled for another machine and run
// there or in an emulator. Prints one line a set; fails if any bit differs.

#include "inference/ops.h"
#include "inference/quants.h"
#include "inference/repack.h"

#include <cstdio>
#include <cstring>
#include <functional>
#include <random>

using namespace ambit::inference;

namespace {

std::vector<float> noise(std::size_t count, unsigned seed) {
  std::mt19937 bits(seed);
  std::vector<float> values(count);
  for (float& value : values)
    value = static_cast<float>(static_cast<int>(bits() >> 8U) - (1 << 23)) * 0x1p-23F;
  return values;
}

using Values = std::vector<float>;

Values product(const Kernels& kernels, DType type, std::size_t rows) {
  constexpr std::size_t inputs = 512;
  constexpr std::size_t outputs = 88;  // five panels and a half
  const Values weights = noise(inputs * outputs, 1);
  std::vector<std::byte> bytes(row_bytes(type, inputs) * outputs);
  from_floats(type, weights.data(), weights.size(), bytes.data());
  const TensorView tensor = {"w", type, {inputs, outputs}, bytes.data(), bytes.size()};
  const WeightRows part = all_rows(tensor);
  const Matrix matrix = repack({&part, 1});
  const Segment& segment = matrix.segments.at(0);
  const Values in = noise(inputs * rows, 2);
  const std::size_t padded = (rows + row_padding - 1) / row_padding * row_padding;
  std::vector<std::int8_t> levels(padded * inputs);
  std::vector<InputBlock> blocks(padded * inputs / input_block);
  std::vector<std::uint16_t> rounded(padded * inputs);
  for (std::size_t r = 0; r < rows; ++r) {
    kernels.quantize_row(&in[r * inputs], inputs, &levels[levels_at(r, inputs)],
                         &blocks[block_at(r, inputs)]);
    kernels.round_row(&in[r * inputs], inputs, &rounded[levels_at(r, inputs)]);
  }
  Values out(rows * matrix.outputs);
  kernels.matmul({type, segment.panels.data(), segment.panel_bytes, inputs, in.data(), inputs,
                  levels.data(), blocks.data(), rounded.data(), out.data(), matrix.outputs, rows},
                 0, segment.panel_count);
  return out;
}

// Four heads share a key head; a first chunk, and a second that is not full.
Values attention(const Kernels& kernels, KvType type) {
  constexpr std::size_t width = 80;
  constexpr std::size_t heads = 7;
  constexpr std::size_t position = 300;
  const AttentionShape shape = {heads, 1, width, 0, kv_head_bytes(type, width), 0.1F, 30.0F};
  const Values queries = noise(heads * width, 3);
  const std::size_t pages = position / page_tokens + 1;
  std::vector<std::byte> memory(pages * shape.head_bytes);
  constexpr std::size_t count = 2 * width * page_tokens;
  for (std::size_t i = 0; i < pages; ++i) {
    std::byte* at = &memory[i * shape.head_bytes];
    const Values values = noise(count + 2 * page_tokens, static_cast<unsigned>(4 + i));
    if (type == KvType::f32) std::memcpy(at, values.data(), shape.head_bytes);
    if (type == KvType::f16)
      kernels.to_f16(values.data(), count, reinterpret_cast<std::uint16_t*>(at));
    if (type != KvType::q8) continue;
    for (std::size_t k = 0; k < count; ++k)
      at[k] = static_cast<std::byte>(static_cast<int>(values[k] * 127.0F));
    std::memcpy(at + count, &values[count], shape.head_bytes - count);
  }
  std::vector<const std::byte*> page(pages);
  for (std::size_t i = 0; i < pages; ++i) page[i] = &memory[i * shape.head_bytes];
  Values out(heads * width);
  Values scratch(attention_scratch(shape));
  kernels.attend(shape, type, {page.data(), position, 5, queries.data(), out.data()}, 0,
                 scratch.data());
  return out;
}

Values rows(const Kernels& kernels) {
  constexpr std::size_t width = 96;
  const Values x = noise(width, 5);
  const Values y = noise(width, 6);
  Values out(4 * width);
  kernels.rms_norm(x.data(), y.data(), 1e-5F, width, out.data());
  kernels.swiglu(x.data(), y.data(), width, &out[width]);
  kernels.geglu(x.data(), y.data(), width, &out[2 * width]);
  std::memcpy(&out[3 * width], x.data(), width * sizeof(float));
  kernels.soft_cap(&out[3 * width], width, 0.5F);
  return out;
}

bool same(const Values& a, const Values& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

}  // namespace

int main() {
  const std::vector<const Kernels*> sets = usable_kernels();
  const Kernels& plain = *sets.back();
  std::size_t differing = 0;
  for (const Kernels* set : sets) {
    std::size_t compared = 0;
    std::size_t wrong = 0;
    const auto compare = [&](const char* what, const std::function<Values(const Kernels&)>& of) {
      ++compared;
      if (same(of(*set), of(plain))) return;
      ++wrong;
      std::fprintf(stderr, "%s: %s differs from plain\n", set->name.data(), what);
    };
    for (const DType type : all_types) {
      if (type == DType::bf16 && set->name == "amx") continue;  // it adds in an order of its own
      for (const std::size_t count : {1U, 2U, 3U, 8U, 31U})
        compare(to_string(type).data(),
                [&](const Kernels& kernels) { return product(kernels, type, count); });
    }
    for (const KvType type : {KvType::f32, KvType::f16, KvType::q8})
      compare("attention", [&](const Kernels& kernels) { return attention(kernels, type); });
    compare("a row's operation", rows);
    std::printf("%s: %zu compared with plain, %zu differ\n", set->name.data(), compared, wrong);
    differing += wrong;
  }
  return differing == 0 ? 0 : 1;
}
