#include "inference/cpu/backend.h"

#include "async/check.h"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace ambit::inference {

namespace {

std::size_t whole_panels(std::size_t outputs) {
  return (outputs + panel_outputs - 1) / panel_outputs * panel_outputs;
}

std::size_t whole_blocks(std::size_t inputs) {
  return (inputs + input_block - 1) / input_block * input_block;
}

std::size_t layer_bytes(const Config& config, KvType type) {
  return config.kv_heads * kv_head_bytes(type, config.head_width);
}

// A head's key or value as whole numbers, `apart` from each other; gives their scale: the largest
// becomes 127.
float to_levels(const float* values, std::size_t width, std::size_t apart, std::int8_t* levels) {
  float most = 0;
  for (std::size_t d = 0; d < width; ++d) most = std::max(most, std::abs(values[d]));
  const float inverse = most > 0 ? 127.0F / most : 0.0F;
  for (std::size_t d = 0; d < width; ++d)
    levels[d * apart] = static_cast<std::int8_t>(std::lrint(values[d] * inverse));
  return most / 127.0F;
}

}  // namespace

std::byte* HeapPages::make_page(std::size_t bytes) {
  storage_.emplace_back(bytes);
  return storage_.back().data();
}

void HeapPages::copy_page(std::byte* to, const std::byte* from, std::size_t bytes) {
  std::memcpy(to, from, bytes);
}

std::size_t cpu_page_bytes(const Config& config, KvType type) {
  return config.layers * layer_bytes(config, type);
}

CpuBackend::CpuBackend(const Model& model, const Kernels& kernels, Pool& pool, KvType kv_type,
                       std::size_t rows_max)
    : model_(model),
      kernels_(kernels),
      pool_(pool),
      kv_type_(kv_type),
      traffic_(model, weight_bytes(model),
               static_cast<double>(layer_bytes(model.config, kv_type)) / page_tokens, rows_max),
      layer_bytes_(layer_bytes(model.config, kv_type)),
      page_bytes_(cpu_page_bytes(model.config, kv_type)),
      query_width_(model.config.heads * model.config.head_width) {
  const Config& config = model.config;
  x_.resize(rows_max * config.width);
  normed_.resize(rows_max * config.width);
  qkv_.resize(rows_max * model.layers[0].qkv.outputs);
  attended_.resize(rows_max * query_width_);
  projected_.resize(rows_max * whole_panels(config.width));
  const Experts& experts = model.layers[0].experts;
  const Matrix& gate_up = experts.empty() ? model.layers[0].gate_up : experts.gate_up[0];
  gate_up_.resize(rows_max * gate_up.outputs);
  if (!experts.empty()) {
    likes_.resize(rows_max * experts.router.outputs);
    choices_.resize(rows_max * config.experts_used);
    gathered_.resize(rows_max * config.width);
    answered_.resize(rows_max * whole_panels(config.width));
  }
  hidden_.resize(rows_max * config.hidden);
  cosines_.resize(rows_max * config.rope_width / 2);
  sines_.resize(rows_max * config.rope_width / 2);
  halves_.resize(rows_max * config.head_width);
  if (!model.window_rope_frequencies.empty()) {
    window_cosines_.resize(cosines_.size());
    window_sines_.resize(sines_.size());
  }
  std::size_t widest = 0;
  std::size_t widest_bf16 = 0;
  const auto consider = [&](const Matrix& matrix) {
    if (matrix.is_quantized()) widest = std::max(widest, matrix.inputs);
    if (matrix.has(DType::bf16)) widest_bf16 = std::max(widest_bf16, matrix.inputs);
  };
  consider(model.output);
  for (const Layer& layer : model.layers) {
    for (const Matrix* matrix :
         {&layer.qkv, &layer.attention_out, &layer.gate_up, &layer.down, &layer.experts.router})
      consider(*matrix);
    for (const auto* matrices : {&layer.experts.gate_up, &layer.experts.down})
      for (const Matrix& matrix : *matrices) consider(matrix);
  }
  const std::size_t padded = (rows_max + row_padding - 1) / row_padding * row_padding;
  levels_ = AlignedBytes(padded * widest);
  rounded_ = AlignedBytes(padded * whole_blocks(widest_bf16) * sizeof(std::uint16_t));
  blocks_.resize(padded * widest / input_block);
  const AttentionShape shape = {config.heads, config.kv_heads, config.head_width, 0, 0, 0, 0};
  scratch_.resize(pool.size() * attention_scratch(shape));
}

// Work that is too little to be worth waking anyone stays on this thread.
template <class Work>
void CpuBackend::each_row(std::size_t rows, const Work& work) {
  const std::size_t share = rows < 8 ? rows : std::max<std::size_t>(rows / (pool_.size() * 4), 1);
  pool_.each(rows, share, [&](std::size_t first, std::size_t last, std::size_t) {
    for (std::size_t i = first; i < last; ++i) work(i);
  });
}

void CpuBackend::multiply(const Matrix& matrix, Values in_values, Values out_values) {
  const std::size_t rows = out_values == Values::logits ? logits_rows_ : rows_.size();
  std::vector<float>& out = values(out_values);
  if (out.size() < rows * matrix.outputs) out.resize(rows * matrix.outputs);
  product(matrix, values(in_values).data(), rows, out.data());
}

// Panels go to whoever is free, a few at a time; which thread does one changes nothing in it.
void CpuBackend::product(const Matrix& matrix, const float* in, std::size_t rows, float* out) {
  const std::size_t in_stride = matrix.inputs;
  auto* const levels = levels_.as<std::int8_t>();
  if (matrix.is_quantized())
    each_row(rows, [&](std::size_t i) {
      kernels_.quantize_row(&in[i * in_stride], matrix.inputs, levels + levels_at(i, matrix.inputs),
                            &blocks_[block_at(i, matrix.inputs)]);
    });
  auto* const rounded = rounded_.as<std::uint16_t>();
  if (matrix.has(DType::bf16))
    each_row(rows, [&](std::size_t i) {
      kernels_.round_row(&in[i * in_stride], matrix.inputs,
                         rounded + levels_at(i, whole_blocks(matrix.inputs)));
    });
  const auto multiply = [&](const Segment& segment, std::size_t first, std::size_t last) {
    const MatmulJob job = {segment.type,
                           segment.panels.data(),
                           segment.panel_bytes,
                           matrix.inputs,
                           in,
                           in_stride,
                           levels,
                           blocks_.data(),
                           rounded,
                           out + segment.first_output,
                           matrix.outputs,
                           rows};
    kernels_.matmul(job, first, last);
  };
  const std::size_t panels = matrix.outputs / panel_outputs;
  // Shares are small enough that nobody waits long for the last one, and even: kernels take pairs.
  const std::size_t share = std::clamp<std::size_t>(panels / (pool_.size() * 8) / 4 * 4, 4, 64);
  pool_.each(panels, share, [&](std::size_t start, std::size_t end, std::size_t) {
    for (const Segment& segment : matrix.segments) {
      const std::size_t before = segment.first_output / panel_outputs;
      const std::size_t first = std::max(start, before);
      const std::size_t last = std::min(end, before + segment.panel_count);
      if (first < last) multiply(segment, first - before, last - before);
    }
  });
}

std::size_t CpuBackend::select(const std::vector<float>& weight) {
  std::size_t wanted = 0;
  const std::size_t width = model_.config.width;
  const auto take = [&](bool StepRow::* wants) {
    for (std::size_t i = 0; i < rows_.size(); ++i) {
      if (!(rows_[i].*wants)) continue;
      kernels_.rms_norm(&x_[i * width], weight.data(), model_.config.norm_epsilon, width,
                        &normed_[wanted++ * width]);
    }
  };
  take(&StepRow::wants_logits);
  logits_rows_ = wanted;
  take(&StepRow::wants_state);
  return logits_rows_;
}

void CpuBackend::finish() {
  const std::size_t outputs = model_.output.outputs;
  if (model_.config.logit_cap > 0)
    each_row(logits_rows_, [&](std::size_t i) {
      kernels_.soft_cap(&logits_[i * outputs], outputs, model_.config.logit_cap);
    });
}

std::vector<float>& CpuBackend::values(Values which) {
  switch (which) {
    case Values::normed:
      return normed_;
    case Values::qkv:
      return qkv_;
    case Values::attended:
      return attended_;
    case Values::projected:
      return projected_;
    case Values::gate_up:
      return gate_up_;
    case Values::hidden:
      return hidden_;
    case Values::logits:
      break;
  }
  return logits_;
}

void CpuBackend::begin(std::span<const StepRow> rows) {
  rows_ = rows;
  traffic_.add(rows);
  const Config& config = model_.config;
  const TensorView& table = *model_.embedding;
  const std::size_t pairs = config.rope_width / 2;
  const float factor = config.rope_scaling.attention_factor;
  each_row(rows.size(), [&](std::size_t i) {
    INVARIANT(rows[i].token >= 0 && static_cast<std::size_t>(rows[i].token) < config.vocabulary);
    float* x = &x_[i * config.width];
    to_floats(table.type, table.row(static_cast<std::size_t>(rows[i].token)), config.width, x);
    if (config.embedding_scale != 1.0F)
      for (std::size_t d = 0; d < config.width; ++d) x[d] *= config.embedding_scale;
    const auto position = static_cast<double>(rows[i].position);
    for (std::size_t p = 0; p < pairs; ++p) {
      const double angle = position * static_cast<double>(model_.rope_frequencies[p]);
      cosines_[i * pairs + p] = static_cast<float>(std::cos(angle)) * factor;
      sines_[i * pairs + p] = static_cast<float>(std::sin(angle)) * factor;
    }
    for (std::size_t p = 0; p < model_.window_rope_frequencies.size(); ++p) {
      const double angle = position * static_cast<double>(model_.window_rope_frequencies[p]);
      window_cosines_[i * pairs + p] = static_cast<float>(std::cos(angle));
      window_sines_[i * pairs + p] = static_cast<float>(std::sin(angle));
    }
  });
}

void CpuBackend::norm(const std::vector<float>& weight) {
  const std::size_t width = model_.config.width;
  each_row(rows_.size(), [&](std::size_t i) {
    kernels_.rms_norm(&x_[i * width], weight.data(), model_.config.norm_epsilon, width,
                      &normed_[i * width]);
  });
}

// The likeliest of each row, by number, with their shares of what they have together.
void CpuBackend::choose_experts(const Experts& experts) {
  const std::size_t used = model_.config.experts_used;
  each_row(rows_.size(), [&](std::size_t i) {
    const float* likes = &likes_[i * experts.router.outputs];
    Choice* choices = &choices_[i * used];
    for (std::size_t k = 0; k < used; ++k) {
      std::size_t best = model_.config.experts;
      for (std::size_t expert = 0; expert < model_.config.experts; ++expert) {
        const bool taken = std::any_of(choices, choices + k,
                                       [&](const Choice& one) { return one.expert == expert; });
        if (!taken && (best == model_.config.experts || likes[expert] > likes[best])) best = expert;
      }
      choices[k] = {best, 0};
    }
    const float most = likes[choices[0].expert];
    float sum = 0;
    for (std::size_t k = 0; k < used; ++k)
      sum += choices[k].share = std::exp(likes[choices[k].expert] - most);
    for (std::size_t k = 0; k < used; ++k) choices[k].share /= sum;
    std::sort(choices, choices + used,
              [](const Choice& one, const Choice& other) { return one.expert < other.expert; });
  });
}

// answered = what the expert makes of the gathered rows.
void CpuBackend::ask_expert(const Experts& experts, std::size_t expert, std::size_t rows) {
  const Config& config = model_.config;
  const Matrix& gate_up = experts.gate_up[expert];
  product(gate_up, gathered_.data(), rows, gate_up_.data());
  const auto gated = config.gelu ? kernels_.geglu : kernels_.swiglu;
  each_row(rows, [&](std::size_t i) {
    const float* gate = &gate_up_[i * gate_up.outputs];
    gated(gate, gate + gate_up.parts[1], config.hidden, &hidden_[i * config.hidden]);
  });
  product(experts.down[expert], hidden_.data(), rows, answered_.data());
}

void CpuBackend::mix(std::size_t index) {
  const Experts& experts = model_.layers[index].experts;
  const std::size_t width = model_.config.width;
  const std::size_t padded = whole_panels(width);
  const std::size_t used = model_.config.experts_used;
  product(experts.router, normed_.data(), rows_.size(), likes_.data());
  choose_experts(experts);
  each_row(rows_.size(),
           [&](std::size_t i) { std::fill_n(&projected_[i * padded], padded, 0.0F); });
  for (std::size_t expert = 0; expert < model_.config.experts; ++expert) {
    chosen_by_.clear();
    shares_.clear();
    for (std::size_t i = 0; i < rows_.size() * used; ++i) {
      if (choices_[i].expert != expert) continue;
      chosen_by_.push_back(i / used);
      shares_.push_back(choices_[i].share);
    }
    if (chosen_by_.empty()) continue;
    each_row(chosen_by_.size(), [&](std::size_t i) {
      std::copy_n(&normed_[chosen_by_[i] * width], width, &gathered_[i * width]);
    });
    ask_expert(experts, expert, chosen_by_.size());
    each_row(chosen_by_.size(), [&](std::size_t i) {
      const float* said = &answered_[i * padded];
      float* into = &projected_[chosen_by_[i] * padded];
      for (std::size_t d = 0; d < width; ++d) into[d] += shares_[i] * said[d];
    });
  }
}

void CpuBackend::gate(std::size_t index) {
  const Config& config = model_.config;
  const Matrix& matrix = model_.layers[index].gate_up;
  const auto gated = config.gelu ? kernels_.geglu : kernels_.swiglu;
  each_row(rows_.size(), [&](std::size_t i) {
    const float* gate = &gate_up_[i * matrix.outputs];
    gated(gate, gate + matrix.parts[1], config.hidden, &hidden_[i * config.hidden]);
  });
}

void CpuBackend::add_block(const std::vector<float>& after, const std::vector<float>* next) {
  const Config& config = model_.config;
  const std::size_t width = config.width;
  each_row(rows_.size(), [&](std::size_t i) {
    float* made = &projected_[i * whole_panels(width)];
    float* x = &x_[i * width];
    if (!after.empty()) kernels_.rms_norm(made, after.data(), config.norm_epsilon, width, made);
    add(made, width, x);
    if (next != nullptr)
      kernels_.rms_norm(x, next->data(), config.norm_epsilon, width, &normed_[i * width]);
  });
}

void CpuBackend::prepare(std::size_t index) {
  each_row(rows_.size(), [&](std::size_t i) { prepare_row(index, i); });
}

// Bias, norms and turns of one row's queries and keys; keys and values go to their page.
void CpuBackend::prepare_row(std::size_t index, std::size_t i) {
  const Config& config = model_.config;
  const Layer& layer = model_.layers[index];
  const std::size_t width = config.head_width;
  const std::size_t pairs = config.rope_width / 2;
  const bool windowed = config.is_windowed(index) && !window_cosines_.empty();
  const float* cosines = (windowed ? window_cosines_ : cosines_).data() + i * pairs;
  const float* sines = (windowed ? window_sines_ : sines_).data() + i * pairs;
  float* qkv = &qkv_[i * layer.qkv.outputs];
  if (!layer.qkv_bias.empty()) add(layer.qkv_bias.data(), layer.qkv_bias.size(), qkv);
  const auto turn = [&](float* head, const std::vector<float>& norm) {
    if (!norm.empty()) kernels_.rms_norm(head, norm.data(), config.norm_epsilon, width, head);
    if (config.turns(index))
      rotate(config.rope_interleaved, cosines, sines, config.rope_width, head);
  };
  for (std::size_t h = 0; h < config.heads; ++h) turn(qkv + h * width, layer.query_norm);
  for (std::size_t h = 0; h < config.kv_heads; ++h)
    turn(qkv + layer.qkv.parts[1] + h * width, layer.key_norm);
  store_row(index, i);
}

void CpuBackend::store_row(std::size_t index, std::size_t i) {
  const StepRow& row = rows_[i];
  const Config& config = model_.config;
  const Layer& layer = model_.layers[index];
  const std::size_t width = config.head_width;
  const float* qkv = &qkv_[i * layer.qkv.outputs];
  std::byte* page = row.pages[row.position / page_tokens] + index * layer_bytes_;
  const std::size_t slot = row.position % page_tokens;
  for (std::size_t h = 0; h < config.kv_heads; ++h) {
    const float* key = qkv + layer.qkv.parts[1] + h * width;
    const float* value = qkv + layer.qkv.parts[2] + h * width;
    std::byte* head = page + h * kv_head_bytes(kv_type_, width);
    switch (kv_type_) {
      case KvType::f16: {
        std::uint16_t* halves = &halves_[i * width];
        auto* keys = reinterpret_cast<std::uint16_t*>(head);
        kernels_.to_f16(key, width, halves);
        for (std::size_t d = 0; d < width; ++d) keys[d * page_tokens + slot] = halves[d];
        kernels_.to_f16(value, width, keys + (page_tokens + slot) * width);
        break;
      }
      case KvType::q8: {
        auto* keys = reinterpret_cast<std::int8_t*>(head);
        auto* scales = reinterpret_cast<float*>(head + 2 * width * page_tokens);
        scales[slot] = to_levels(key, width, page_tokens, keys + slot);
        scales[page_tokens + slot] =
            to_levels(value, width, 1, keys + (page_tokens + slot) * width);
        break;
      }
      case KvType::f32:
      case KvType::fp8: {
        auto* keys = reinterpret_cast<float*>(head);
        for (std::size_t d = 0; d < width; ++d) keys[d * page_tokens + slot] = key[d];
        std::memcpy(keys + (page_tokens + slot) * width, value, width * sizeof(float));
      }
    }
  }
}

void CpuBackend::attend(std::size_t layer) {
  const std::span<const StepRow> rows = rows_;
  const Config& config = model_.config;
  const AttentionShape shape = {config.heads,
                                config.kv_heads,
                                config.head_width,
                                layer * layer_bytes_,
                                kv_head_bytes(kv_type_, config.head_width),
                                config.attention_scale,
                                config.attention_cap};
  const std::size_t window = config.is_windowed(layer) ? config.window : 0;
  const std::size_t stride = model_.layers[layer].qkv.outputs;
  const std::size_t units = rows.size() * config.kv_heads;
  const auto one = [&](std::size_t unit, float* scratch) {
    const std::size_t i = unit / config.kv_heads;
    const std::size_t seen = rows[i].position + 1;
    const AttentionRow row = {rows[i].pages, rows[i].position,
                              window > 0 && seen > window ? seen - window : 0, &qkv_[i * stride],
                              &attended_[i * query_width_]};
    kernels_.attend(shape, kv_type_, row, unit % config.kv_heads, scratch);
  };
  // Rows differ in length: whoever is free takes the next.
  pool_.each(units, 1, [&](std::size_t first, std::size_t last, std::size_t worker) {
    for (std::size_t unit = first; unit < last; ++unit)
      one(unit, &scratch_[worker * attention_scratch(shape)]);
  });
}

}  // namespace ambit::inference
