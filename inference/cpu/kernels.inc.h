// The kernels, once for all instruction sets. Included by kernels_*.cpp, each of which is compiled
// for its instruction set and defines Vector: 16 floats with the operations used here, in an
// unnamed namespace, so that no code made for one machine can be linked into another. No standard
// library functions for the same reason.

#include "inference/ops.h"

#include <cstddef>
#include <cstdint>

namespace ambit::inference {
namespace {

constexpr std::size_t lanes = 16;
constexpr float minus_infinity = -__builtin_inff();

// exp(x) by 2^n * exp(r), |r| <= ln 2 / 2, a polynomial of degree 6. Below -87 it gives 0.
inline Vector exp(Vector x) {
  const Vector low = Vector::all(-87.0F);
  const Vector clamped = min(max(x, low), Vector::all(88.0F));
  const Vector magic = Vector::all(12582912.0F);  // 1.5 * 2^23: adding it rounds to an integer
  const Vector n = sub(fma(clamped, Vector::all(1.44269504F), magic), magic);
  Vector r = fma(n, Vector::all(-0.693359375F), clamped);
  r = fma(n, Vector::all(2.12194440e-4F), r);
  Vector p = Vector::all(1.3981999507e-3F);
  p = fma(p, r, Vector::all(8.3334519073e-3F));
  p = fma(p, r, Vector::all(4.1665795894e-2F));
  p = fma(p, r, Vector::all(1.6666665459e-1F));
  p = fma(p, r, Vector::all(5.0000001201e-1F));
  p = fma(p, mul(r, r), add(r, Vector::all(1.0F)));
  return select_less(x, low, Vector::all(0.0F), scale_by_power(p, n));
}

// The fold of the 16 lanes: halves onto halves, always the same tree.
inline float sum_of(Vector v) {
  alignas(64) float x[lanes];
  v.store(x);
  for (std::size_t half = lanes / 2; half > 0; half /= 2)
    for (std::size_t i = 0; i < half; ++i) x[i] += x[i + half];
  return x[0];
}

}  // namespace
}  // namespace ambit::inference

#include "inference/cpu/bf16.inc.h"
#include "inference/cpu/quants.inc.h"

namespace ambit::inference {
namespace {

// ---- matmul

struct F32Panel {
  const float* at;
  explicit F32Panel(const std::byte* panel) : at(reinterpret_cast<const float*>(panel)) {}
  Vector next() {
    const Vector v = Vector::load(at);
    at += lanes;
    return v;
  }
};
struct F16Panel {
  const std::uint16_t* at;
  explicit F16Panel(const std::byte* panel) : at(reinterpret_cast<const std::uint16_t*>(panel)) {}
  Vector next() {
    const Vector v = Vector::load_f16(at);
    at += lanes;
    return v;
  }
};
template <class Panel, std::size_t Rows, std::size_t Panels>
void tile(const MatmulJob& job, std::size_t panel, std::size_t row) {
  const std::byte* start = job.panels + panel * job.panel_bytes;
  Vector sums[Rows][Panels];
  for (auto& of_row : sums)
    for (Vector& sum : of_row) sum = Vector::all(0.0F);
  const auto weights_at = [&](std::size_t p) { return Panel(start + p * job.panel_bytes); };
  Panel weights[8] = {weights_at(0),
                      weights_at(Panels > 1 ? 1 : 0),
                      weights_at(Panels > 2 ? 2 : 0),
                      weights_at(Panels > 3 ? 3 : 0),
                      weights_at(Panels > 4 ? 4 : 0),
                      weights_at(Panels > 5 ? 5 : 0),
                      weights_at(Panels > 6 ? 6 : 0),
                      weights_at(Panels > 7 ? 7 : 0)};
  static_assert(Panels <= 8);
  const float* in = job.in + row * job.in_stride;
  for (std::size_t k = 0; k < job.inputs; ++k) {
    Vector w[Panels];
#pragma GCC unroll 8
    for (std::size_t p = 0; p < Panels; ++p) w[p] = weights[p].next();
#pragma GCC unroll 8
    for (std::size_t r = 0; r < Rows; ++r) {
      const Vector x = Vector::all(in[r * job.in_stride + k]);
#pragma GCC unroll 8
      for (std::size_t p = 0; p < Panels; ++p) sums[r][p] = fma(x, w[p], sums[r][p]);
    }
  }
  float* out = job.out + row * job.out_stride + panel * lanes;
  for (std::size_t r = 0; r < Rows; ++r)
    for (std::size_t p = 0; p < Panels; ++p) sums[r][p].store(out + r * job.out_stride + p * lanes);
}

template <class Panel, std::size_t Panels>
void all_rows(const MatmulJob& job, std::size_t panel) {
  std::size_t row = 0;
  if constexpr (Vector::registers > 0) {
    for (; row + 4 <= job.rows; row += 4) tile<Panel, 4, Panels>(job, panel, row);
    if (row + 2 <= job.rows) {
      tile<Panel, 2, Panels>(job, panel, row);
      row += 2;
    }
  }
  for (; row < job.rows; ++row) tile<Panel, 1, Panels>(job, panel, row);
}

// One row: many panels side by side keep the adders busy. More rows: fewer panels.
template <class Panel>
void panels_of(const MatmulJob& job, std::size_t first, std::size_t last) {
  constexpr std::size_t wide = Vector::registers >= 32 ? 8 : Vector::registers >= 16 ? 4 : 1;
  constexpr std::size_t narrow = Vector::registers >= 32 ? 4 : 1;
  std::size_t panel = first;
  if (job.rows == 1)
    for (; panel + wide <= last; panel += wide) tile<Panel, 1, wide>(job, panel, 0);
  for (; panel + narrow <= last; panel += narrow) all_rows<Panel, narrow>(job, panel);
  for (; panel < last; ++panel) all_rows<Panel, 1>(job, panel);
}

void matmul(const MatmulJob& job, std::size_t first, std::size_t last) {
  switch (job.type) {
    case DType::f32:
      return panels_of<F32Panel>(job, first, last);
    case DType::f16:
      return panels_of<F16Panel>(job, first, last);
    case DType::bf16:
      return bf16_panels_of(job, first, last);
    case DType::q8_0:
      return quant_panels_of<Q8Panel>(job, first, last);
    case DType::q4_0:
      return quant_panels_of<Q4Panel>(job, first, last);
    case DType::q4_k:
      return quant_panels_of<Q45KPanel<false>>(job, first, last);
    case DType::q5_k:
      return quant_panels_of<Q45KPanel<true>>(job, first, last);
    case DType::q6_k:
      return quant_panels_of<Q6KPanel>(job, first, last);
  }
}

// ---- attention

inline Vector load_kv(const float* at) {
  return Vector::load(at);
}
inline Vector load_kv(const std::uint16_t* at) {
  return Vector::load_f16(at);
}
inline Vector load_kv(const std::int8_t* at) {
  return Vector::load_i8(at);
}
// The scales of a page's keys or values, [page_tokens], after both.
inline const float* scales_after(const std::int8_t* keys, std::size_t width) {
  return reinterpret_cast<const float*>(keys + 2 * width * page_tokens);
}

// scores[head][position] for Pages pages of one chunk: one lane a position, added along the head.
template <class T, std::size_t Heads, std::size_t Pages>
void score_pages(const T* const* keys, const float* query, std::size_t width, float scale,
                 float* scores) {
  constexpr std::size_t per_page = page_tokens / lanes;
  Vector sums[Heads][Pages * per_page];
  for (auto& of_head : sums)
    for (Vector& sum : of_head) sum = Vector::all(0.0F);
  for (std::size_t d = 0; d < width; ++d) {
#pragma GCC unroll 8
    for (std::size_t p = 0; p < Pages * per_page; ++p) {
      const Vector k = load_kv(keys[p / per_page] + d * page_tokens + p % per_page * lanes);
#pragma GCC unroll 8
      for (std::size_t h = 0; h < Heads; ++h)
        sums[h][p] = fma(Vector::all(query[h * width + d]), k, sums[h][p]);
    }
  }
  for (std::size_t h = 0; h < Heads; ++h)
    for (std::size_t p = 0; p < Pages * per_page; ++p) {
      if constexpr (sizeof(T) == 1)
        sums[h][p] = mul(sums[h][p], Vector::load(scales_after(keys[p / per_page], width) +
                                                  p % per_page * lanes));
      mul(sums[h][p], Vector::all(scale)).store(scores + h * chunk_tokens + p * lanes);
    }
}

template <class T, std::size_t Heads>
void score_chunk(const T* const* keys, std::size_t pages, const float* query, std::size_t width,
                 float scale, float* scores) {
  constexpr std::size_t together = Heads == 1 ? 4 : Heads == 2 ? 2 : 1;
  std::size_t page = 0;
  for (; page + together <= pages; page += together)
    score_pages<T, Heads, together>(keys + page, query, width, scale, scores + page * page_tokens);
  for (; page < pages; ++page)
    score_pages<T, Heads, 1>(keys + page, query, width, scale, scores + page * page_tokens);
}

// sum over the positions of weight * value, Vectors * 16 dimensions at once, positions in order.
template <class T, std::size_t Heads, std::size_t Vectors>
void weigh_values(const T* const* values, std::size_t count, const float* weights,
                  std::size_t width, float* out) {
  Vector sums[Heads][Vectors];
  for (auto& of_head : sums)
    for (Vector& sum : of_head) sum = Vector::all(0.0F);
  for (std::size_t start = 0; start < count; start += page_tokens) {
    const T* value = values[start / page_tokens];
    const std::size_t end = count - start < page_tokens ? count - start : page_tokens;
    for (std::size_t j = 0; j < end; ++j, value += width) {
#pragma GCC unroll 8
      for (std::size_t v = 0; v < Vectors; ++v) {
        const Vector loaded = load_kv(value + v * lanes);
#pragma GCC unroll 8
        for (std::size_t h = 0; h < Heads; ++h)
          sums[h][v] = fma(Vector::all(weights[h * chunk_tokens + start + j]), loaded, sums[h][v]);
      }
    }
  }
  for (std::size_t h = 0; h < Heads; ++h)
    for (std::size_t v = 0; v < Vectors; ++v) sums[h][v].store(out + h * width + v * lanes);
}

template <class T, std::size_t Heads>
void weigh_chunk(const T* const* values, std::size_t count, const float* weights, std::size_t width,
                 float* out) {
  const T* shifted[chunk_tokens / page_tokens];
  const std::size_t pages = (count + page_tokens - 1) / page_tokens;
  std::size_t d = 0;
  for (; d < width; d += 4 * lanes) {
    for (std::size_t p = 0; p < pages; ++p) shifted[p] = values[p] + d;
    if (d + 4 * lanes > width) break;
    weigh_values<T, Heads, 4>(shifted, count, weights, width, out + d);
  }
  for (; d < width; d += lanes) {
    for (std::size_t p = 0; p < pages; ++p) shifted[p] = values[p] + d;
    weigh_values<T, Heads, 1>(shifted, count, weights, width, out + d);
  }
}

// cap * tanh(x / cap) in place; `count` in whole vectors.
inline void soft_cap(float* values, std::size_t count, float cap) {
  const Vector one = Vector::all(1.0F);
  const Vector two = Vector::all(2.0F);
  for (std::size_t i = 0; i < count; i += lanes) {
    const Vector x = mul(Vector::load(values + i), Vector::all(2.0F / cap));
    const Vector tanh = sub(one, div(two, add(exp(x), one)));
    mul(tanh, Vector::all(cap)).store(values + i);
  }
}

// exp(score - maximum) in place; gives {maximum, sum}. The first `hidden` positions and those from
// `count` to the next 16 weigh nothing.
inline void soften(float* scores, std::size_t hidden, std::size_t count, float cap, float& most,
                   float& sum) {
  const std::size_t padded = (count + lanes - 1) / lanes * lanes;
  if (cap > 0) soft_cap(scores, padded, cap);
  for (std::size_t i = 0; i < hidden; ++i) scores[i] = minus_infinity;
  for (std::size_t i = count; i < padded; ++i) scores[i] = minus_infinity;
  Vector peak = Vector::load(scores);
  for (std::size_t i = lanes; i < padded; i += lanes) peak = max(peak, Vector::load(scores + i));
  most = largest_of(peak);
  Vector total = Vector::all(0.0F);
  for (std::size_t i = 0; i < padded; i += lanes) {
    const Vector weight = exp(sub(Vector::load(scores + i), Vector::all(most)));
    weight.store(scores + i);
    total = add(total, weight);
  }
  sum = sum_of(total);
}

inline float exp_one(float x) {
  alignas(64) float out[lanes];
  exp(Vector::all(x)).store(out);
  return out[0];
}

template <class T, std::size_t Heads>
void attend_heads(const AttentionShape& shape, const AttentionRow& row, std::size_t kv_head,
                  std::size_t head, float* scratch) {
  const std::size_t width = shape.head_width;
  const float* query = row.query + head * width;
  float* out = row.out + head * width;
  float* scores = scratch;
  float* part = scratch + Heads * chunk_tokens;
  const std::size_t count = row.position + 1;
  float most[Heads] = {};
  float sums[Heads] = {};
  const std::size_t offset = shape.layer_offset + kv_head * shape.head_bytes;
  const std::size_t begin = row.first / chunk_tokens * chunk_tokens;
  for (std::size_t start = begin; start < count; start += chunk_tokens) {
    const std::size_t hidden = start < row.first ? row.first - start : 0;
    const std::size_t here = count - start < chunk_tokens ? count - start : chunk_tokens;
    const std::size_t pages = (here + page_tokens - 1) / page_tokens;
    const T* keys[chunk_tokens / page_tokens];
    const T* values[chunk_tokens / page_tokens];
    for (std::size_t p = 0; p < pages; ++p) {
      keys[p] = reinterpret_cast<const T*>(row.pages[start / page_tokens + p] + offset);
      values[p] = keys[p] + width * page_tokens;
    }
    score_chunk<T, Heads>(keys, pages, query, width, shape.scale, scores);
    float chunk_most[Heads];
    float chunk_sum[Heads];
    for (std::size_t h = 0; h < Heads; ++h)
      soften(scores + h * chunk_tokens, hidden, here, shape.cap, chunk_most[h], chunk_sum[h]);
    if constexpr (sizeof(T) == 1) {
      for (std::size_t at = 0; at < here; at += lanes) {
        const Vector of_values = Vector::load(scales_after(keys[at / page_tokens], width) +
                                              page_tokens + at % page_tokens);
        for (std::size_t h = 0; h < Heads; ++h) {
          float* weights = scores + h * chunk_tokens + at;
          mul(Vector::load(weights), of_values).store(weights);
        }
      }
    }
    weigh_chunk<T, Heads>(values, here, scores, width, start == begin ? out : part);
    for (std::size_t h = 0; h < Heads; ++h) {
      if (start == begin) {
        most[h] = chunk_most[h];
        sums[h] = chunk_sum[h];
        continue;
      }
      const float peak = most[h] > chunk_most[h] ? most[h] : chunk_most[h];
      const float before = exp_one(most[h] - peak);
      const float now = exp_one(chunk_most[h] - peak);
      sums[h] = sums[h] * before + chunk_sum[h] * now;
      most[h] = peak;
      for (std::size_t d = 0; d < width; d += lanes) {
        const Vector kept = mul(Vector::load(out + h * width + d), Vector::all(before));
        fma(Vector::load(part + h * width + d), Vector::all(now), kept).store(out + h * width + d);
      }
    }
  }
  for (std::size_t h = 0; h < Heads; ++h)
    for (std::size_t d = 0; d < width; d += lanes)
      mul(Vector::load(out + h * width + d), Vector::all(1.0F / sums[h]))
          .store(out + h * width + d);
}

template <class T>
void attend_group(const AttentionShape& shape, const AttentionRow& row, std::size_t kv_head,
                  float* scratch) {
  const std::size_t group = shape.heads / shape.kv_heads;
  std::size_t head = kv_head * group;
  const std::size_t end = head + group;
  for (; head + 4 <= end; head += 4) attend_heads<T, 4>(shape, row, kv_head, head, scratch);
  for (; head + 2 <= end; head += 2) attend_heads<T, 2>(shape, row, kv_head, head, scratch);
  for (; head < end; ++head) attend_heads<T, 1>(shape, row, kv_head, head, scratch);
}

void attend(const AttentionShape& shape, KvType type, const AttentionRow& row, std::size_t kv_head,
            float* scratch) {
  if (type == KvType::q8)
    attend_group<std::int8_t>(shape, row, kv_head, scratch);
  else if (type == KvType::f16)
    attend_group<std::uint16_t>(shape, row, kv_head, scratch);
  else
    attend_group<float>(shape, row, kv_head, scratch);
}

// ---- rows

void rms_norm(const float* in, const float* weight, float epsilon, std::size_t width, float* out) {
  Vector squares = Vector::all(0.0F);
  for (std::size_t i = 0; i < width; i += lanes) {
    const Vector x = Vector::load(in + i);
    squares = fma(x, x, squares);
  }
  const float mean = sum_of(squares) / static_cast<float>(width);
  const Vector scale = Vector::all(1.0F / __builtin_sqrtf(mean + epsilon));
  for (std::size_t i = 0; i < width; i += lanes)
    mul(mul(Vector::load(in + i), scale), Vector::load(weight + i)).store(out + i);
}

void swiglu(const float* gate, const float* up, std::size_t width, float* out) {
  const Vector one = Vector::all(1.0F);
  for (std::size_t i = 0; i < width; i += lanes) {
    const Vector g = Vector::load(gate + i);
    const Vector silu = div(g, add(one, exp(sub(Vector::all(0.0F), g))));
    mul(silu, Vector::load(up + i)).store(out + i);
  }
}

// gelu(gate) * up, with the usual approximation by a hyperbolic tangent.
void geglu(const float* gate, const float* up, std::size_t width, float* out) {
  const Vector one = Vector::all(1.0F);
  for (std::size_t i = 0; i < width; i += lanes) {
    const Vector g = Vector::load(gate + i);
    const Vector cubed = mul(mul(g, g), g);
    const Vector inner = fma(cubed, Vector::all(0.044715F), g);
    // 0.5 * (1 + tanh(z)) is 1 / (1 + exp(-2 z)), z = sqrt(2 / pi) * inner.
    const Vector minus = mul(inner, Vector::all(-1.5957691216F));
    mul(div(g, add(one, exp(minus))), Vector::load(up + i)).store(out + i);
  }
}

void to_f16(const float* in, std::size_t count, std::uint16_t* out) {
  for (std::size_t i = 0; i < count; i += lanes) Vector::load(in + i).store_f16(out + i);
}

}  // namespace
}  // namespace ambit::inference
