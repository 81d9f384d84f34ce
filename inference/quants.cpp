#include "inference/quants.h"

#include "async/check.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace ambit::inference {

namespace {

unsigned u8(std::byte value) {
  return std::to_integer<unsigned>(value);
}

// Eight scales and eight offsets of 6 bits in 12 bytes: bytes 0-3 hold the first four scales, 4-7
// the first four offsets, and their upper two bits are those of the last four, whose lower four
// bits are the nibbles of bytes 8-11.
void read_six_bits(const std::byte* in, QuantBlock& block) {
  for (std::size_t i = 0; i < 4; ++i) {
    block.scales[i] = static_cast<std::int8_t>(u8(in[i]) & 63U);
    block.offsets[i] = static_cast<std::uint8_t>(u8(in[i + 4]) & 63U);
    block.scales[i + 4] = static_cast<std::int8_t>((u8(in[i + 8]) & 15U) | (u8(in[i]) >> 6U << 4U));
    block.offsets[i + 4] =
        static_cast<std::uint8_t>((u8(in[i + 8]) >> 4U) | (u8(in[i + 4]) >> 6U << 4U));
  }
}

void write_six_bits(const QuantBlock& block, std::byte* out) {
  for (std::size_t i = 0; i < 4; ++i) {
    const auto low = static_cast<unsigned>(block.scales[i + 4]);
    const unsigned high = block.offsets[i + 4];
    out[i] = static_cast<std::byte>(static_cast<unsigned>(block.scales[i]) | (low >> 4U << 6U));
    out[i + 4] = static_cast<std::byte>(block.offsets[i] | (high >> 4U << 6U));
    out[i + 8] = static_cast<std::byte>((low & 15U) | ((high & 15U) << 4U));
  }
}

// Where Q6_K keeps element i: a nibble of ql and two bits of qh.
struct SixBitPlace {
  std::size_t low;
  unsigned low_shift;
  std::size_t high;
  unsigned high_shift;
};
SixBitPlace six_bit_place(std::size_t i) {
  const std::size_t half = i / 128;
  const std::size_t quarter = i % 128 / 32;
  const std::size_t lane = i % 32;
  return {half * 64 + quarter % 2 * 32 + lane, static_cast<unsigned>(quarter / 2 * 4),
          half * 32 + lane, static_cast<unsigned>(quarter * 2)};
}

void read_k45(bool five, const std::byte* in, QuantBlock& block) {
  block.d = read_u16(in);
  block.m = read_u16(in + 2);
  read_six_bits(in + 4, block);
  const std::byte* high = in + 16;
  const std::byte* low = five ? in + 48 : in + 16;
  for (std::size_t i = 0; i < 256; ++i) {
    const std::size_t group = i / 32;
    unsigned level = (u8(low[group / 2 * 32 + i % 32]) >> (group % 2 * 4)) & 15U;
    if (five) level |= ((u8(high[i % 32]) >> group) & 1U) << 4U;
    block.levels[i] = static_cast<std::uint8_t>(level);
  }
}

void write_k45(bool five, const QuantBlock& block, std::byte* out) {
  write_u16(out, block.d);
  write_u16(out + 2, block.m);
  write_six_bits(block, out + 4);
  std::byte* high = out + 16;
  std::byte* low = five ? out + 48 : out + 16;
  for (std::size_t i = 0; i < 256; ++i) {
    const std::size_t group = i / 32;
    low[group / 2 * 32 + i % 32] |=
        static_cast<std::byte>((block.levels[i] & 15U) << (group % 2 * 4));
    if (five)
      high[i % 32] |=
          static_cast<std::byte>((static_cast<unsigned>(block.levels[i]) >> 4U) << group);
  }
}

}  // namespace

void read_block(DType type, const std::byte* bytes, QuantBlock& block) {
  switch (type) {
    case DType::q8_0:
      block.d = read_u16(bytes);
      for (std::size_t i = 0; i < 32; ++i)
        block.levels[i] = static_cast<std::uint8_t>(u8(bytes[2 + i]) ^ 0x80U);
      return;
    case DType::q4_0:
      block.d = read_u16(bytes);
      for (std::size_t i = 0; i < 32; ++i)
        block.levels[i] = static_cast<std::uint8_t>((u8(bytes[2 + i % 16]) >> (i / 16 * 4)) & 15U);
      return;
    case DType::q4_k:
      return read_k45(false, bytes, block);
    case DType::q5_k:
      return read_k45(true, bytes, block);
    case DType::q6_k:
      for (std::size_t i = 0; i < 256; ++i) {
        const SixBitPlace at = six_bit_place(i);
        block.levels[i] =
            static_cast<std::uint8_t>(((u8(bytes[at.low]) >> at.low_shift) & 15U) |
                                      (((u8(bytes[128 + at.high]) >> at.high_shift) & 3U) << 4U));
      }
      std::memcpy(block.scales, bytes + 192, 16);
      block.d = read_u16(bytes + 208);
      return;
    default:
      INVARIANT(is_quantized(type));
  }
}

void write_block(DType type, const QuantBlock& block, std::byte* bytes) {
  std::memset(bytes, 0, block_bytes(type));
  switch (type) {
    case DType::q8_0:
      write_u16(bytes, block.d);
      for (std::size_t i = 0; i < 32; ++i)
        bytes[2 + i] = static_cast<std::byte>(block.levels[i] ^ 0x80U);
      return;
    case DType::q4_0:
      write_u16(bytes, block.d);
      for (std::size_t i = 0; i < 32; ++i)
        bytes[2 + i % 16] |= static_cast<std::byte>(block.levels[i] << (i / 16 * 4));
      return;
    case DType::q4_k:
      return write_k45(false, block, bytes);
    case DType::q5_k:
      return write_k45(true, block, bytes);
    case DType::q6_k:
      for (std::size_t i = 0; i < 256; ++i) {
        const SixBitPlace at = six_bit_place(i);
        const unsigned level = block.levels[i];
        bytes[at.low] |= static_cast<std::byte>((level & 15U) << at.low_shift);
        bytes[128 + at.high] |= static_cast<std::byte>(level >> 4U << at.high_shift);
      }
      std::memcpy(bytes + 192, block.scales, 16);
      write_u16(bytes + 208, block.d);
      return;
    default:
      INVARIANT(is_quantized(type));
  }
}

void dequantize(DType type, const std::byte* bytes, std::size_t count, float* out) {
  const std::size_t size = block_elements(type);
  QuantBlock block;
  for (std::size_t i = 0; i < count; i += size, bytes += block_bytes(type)) {
    read_block(type, bytes, block);
    const float d = f16_to_float(block.d);
    const float m = f16_to_float(block.m);
    const int zero = zero_level(type);
    for (std::size_t j = 0; j < size; ++j) {
      const auto level = static_cast<float>(static_cast<int>(block.levels[j]) - zero);
      float scale = d;
      float offset = 0;
      if (type == DType::q6_k) {
        scale = d * static_cast<float>(block.scales[j / 16]);
      } else if (type == DType::q4_k || type == DType::q5_k) {
        scale = d * static_cast<float>(block.scales[j / 32]);
        offset = m * static_cast<float>(block.offsets[j / 32]);
      }
      out[i + j] = scale * level - offset;
    }
  }
}

namespace {

// ---- choosing scales

struct Fit {
  double scale = 0;
  double offset = 0;  // w = scale * level - offset, offset >= 0
};

double largest_of(const float* values, std::size_t count) {
  double largest = 0;
  for (std::size_t i = 0; i < count; ++i)
    largest = std::max(largest, std::fabs(static_cast<double>(values[i])));
  return largest;
}

// The straight line through the levels that a first scale gives, for a few first scales.
Fit fit_line(const float* values, std::size_t count, int most) {
  double low = 0;
  double high = 0;
  for (std::size_t i = 0; i < count; ++i) {
    low = std::min(low, static_cast<double>(values[i]));
    high = std::max(high, static_cast<double>(values[i]));
  }
  if (high - low <= 0) return {};
  Fit best;
  double least = -1;
  for (int step = -6; step <= 10; ++step) {
    const double first = (high - low) / (most + 0.1 * step);
    double n = 0, sum_l = 0, sum_ll = 0, sum_x = 0, sum_lx = 0;
    for (std::size_t i = 0; i < count; ++i) {
      const double x = values[i];
      const double level = std::clamp(std::nearbyint((x - low) / first), 0.0, double(most));
      n += 1, sum_l += level, sum_ll += level * level, sum_x += x, sum_lx += level * x;
    }
    const double determinant = n * sum_ll - sum_l * sum_l;
    // All at one level: any scale will do.
    Fit fit = {first, -low};
    if (determinant > 0)
      fit = {(n * sum_lx - sum_l * sum_x) / determinant,
             (sum_l * sum_lx - sum_ll * sum_x) / determinant};
    if (fit.offset < 0) fit = {sum_ll > 0 ? sum_lx / sum_ll : 0, 0};
    if (!(fit.scale > 0)) continue;
    double error = 0;
    for (std::size_t i = 0; i < count; ++i) {
      const double x = values[i];
      const double level =
          std::clamp(std::nearbyint((x + fit.offset) / fit.scale), 0.0, double(most));
      const double off = fit.scale * level - fit.offset - x;
      error += off * off;
    }
    if (least < 0 || error < least) {
      least = error;
      best = fit;
    }
  }
  return best;
}

// A signed scale for levels -most..most-1: the side of the largest value gets the extra level.
double fit_signed(const float* values, std::size_t count, int most) {
  double extreme = 0;
  for (std::size_t i = 0; i < count; ++i)
    if (std::fabs(static_cast<double>(values[i])) > std::fabs(extreme)) extreme = values[i];
  if (extreme == 0) return 0;
  double best = 0;
  double most_gained = -1;
  for (int step = -9; step <= 9; ++step) {
    const double inverse = -(most + 0.1 * step) / extreme;
    double sum_lx = 0, sum_ll = 0;
    for (std::size_t i = 0; i < count; ++i) {
      const double level =
          std::clamp(std::nearbyint(values[i] * inverse), double(-most), double(most - 1));
      sum_lx += level * values[i];
      sum_ll += level * level;
    }
    // The squared error of the best scale for these levels is the sum of squares less this.
    if (sum_ll > 0 && sum_lx * sum_lx / sum_ll > most_gained) {
      most_gained = sum_lx * sum_lx / sum_ll;
      best = sum_lx / sum_ll;
    }
  }
  return best;
}

std::uint8_t level_of(double value, double scale, double offset, int zero, int most) {
  if (scale == 0) return static_cast<std::uint8_t>(zero);
  return static_cast<std::uint8_t>(
      std::clamp(std::nearbyint((value + offset) / scale) + zero, 0.0, double(most)));
}

void choose_simple(DType type, const float* values, QuantBlock& block) {
  const int zero = zero_level(type);
  const double wanted =
      type == DType::q8_0 ? largest_of(values, 32) / 127 : fit_signed(values, 32, zero);
  block.d = float_to_f16(static_cast<float>(wanted));
  const double scale = f16_to_float(block.d);
  for (std::size_t i = 0; i < 32; ++i)
    block.levels[i] = level_of(values[i], scale, 0, zero, 2 * zero - 1);
}

void choose_k45(int most, const float* values, QuantBlock& block) {
  Fit fits[8];
  double scale_most = 0;
  double offset_most = 0;
  for (std::size_t g = 0; g < 8; ++g) {
    fits[g] = fit_line(values + g * 32, 32, most);
    scale_most = std::max(scale_most, fits[g].scale);
    offset_most = std::max(offset_most, fits[g].offset);
  }
  block.d = float_to_f16(static_cast<float>(scale_most / 63));
  block.m = float_to_f16(static_cast<float>(offset_most / 63));
  const double d = f16_to_float(block.d);
  const double m = f16_to_float(block.m);
  for (std::size_t g = 0; g < 8; ++g) {
    block.scales[g] = static_cast<std::int8_t>(level_of(fits[g].scale, d, 0, 0, 63));
    block.offsets[g] = level_of(fits[g].offset, m, 0, 0, 63);
    for (std::size_t i = g * 32; i < g * 32 + 32; ++i)
      block.levels[i] = level_of(values[i], d * block.scales[g], m * block.offsets[g], 0, most);
  }
}

void choose_k6(const float* values, QuantBlock& block) {
  double fits[16];
  double extreme = 0;
  for (std::size_t g = 0; g < 16; ++g) {
    fits[g] = fit_signed(values + g * 16, 16, 32);
    if (std::fabs(fits[g]) > std::fabs(extreme)) extreme = fits[g];
  }
  block.d = float_to_f16(static_cast<float>(extreme / -128));
  const double d = f16_to_float(block.d);
  for (std::size_t g = 0; g < 16; ++g) {
    const double scale = d == 0 ? 0 : std::clamp(std::nearbyint(fits[g] / d), -128.0, 127.0);
    block.scales[g] = static_cast<std::int8_t>(scale);
    for (std::size_t i = g * 16; i < g * 16 + 16; ++i)
      block.levels[i] = level_of(values[i], d * scale, 0, 32, 63);
  }
}

}  // namespace

void quantize(DType type, const float* values, std::size_t count, std::byte* out) {
  const std::size_t size = block_elements(type);
  for (std::size_t i = 0; i < count; i += size, out += block_bytes(type)) {
    QuantBlock block;
    switch (type) {
      case DType::q4_0:
      case DType::q8_0:
        choose_simple(type, values + i, block);
        break;
      case DType::q4_k:
        choose_k45(15, values + i, block);
        break;
      case DType::q5_k:
        choose_k45(31, values + i, block);
        break;
      default:
        INVARIANT(type == DType::q6_k);
        choose_k6(values + i, block);
    }
    write_block(type, block, out);
  }
}

}  // namespace ambit::inference
