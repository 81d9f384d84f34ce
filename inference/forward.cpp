#include "inference/forward.h"

#include "async/check.h"

#include <cmath>
#include <cstring>

namespace ambit::inference {

namespace {

std::size_t whole_panels(std::size_t outputs) {
  return (outputs + panel_outputs - 1) / panel_outputs * panel_outputs;
}

std::size_t layer_bytes(const Config& config, KvType type) {
  return 2 * config.kv_heads * config.head_width * page_tokens * kv_element_bytes(type);
}

}  // namespace

std::size_t Forward::page_bytes(const Config& config, KvType type) {
  return config.layers * layer_bytes(config, type);
}

Forward::Forward(const Model& model, const Kernels& kernels, Pool& pool, KvType kv_type,
                 std::size_t rows_max)
    : model_(model),
      kernels_(kernels),
      pool_(pool),
      kv_type_(kv_type),
      rows_max_(rows_max),
      layer_bytes_(layer_bytes(model.config, kv_type)),
      page_bytes_(page_bytes(model.config, kv_type)),
      query_width_(model.config.heads * model.config.head_width) {
  const Config& config = model.config;
  x_.resize(rows_max * config.width);
  normed_.resize(rows_max * config.width);
  qkv_.resize(rows_max * model.layers[0].qkv.outputs);
  attended_.resize(rows_max * query_width_);
  projected_.resize(rows_max * whole_panels(config.width));
  gate_up_.resize(rows_max * model.layers[0].gate_up.outputs);
  hidden_.resize(rows_max * config.hidden);
  cosines_.resize(rows_max * config.rope_width / 2);
  sines_.resize(rows_max * config.rope_width / 2);
  halves_.resize(rows_max * config.head_width);
  const AttentionShape shape = {config.heads, config.kv_heads, config.head_width, 0, 0};
  scratch_.resize(pool.size() * attention_scratch(shape));
}

// Work that is too little to be worth waking anyone stays on this thread.
template <class Work>
void Forward::each_row(std::size_t rows, const Work& work) {
  if (pool_.size() == 1 || rows < 8) {
    for (std::size_t i = 0; i < rows; ++i) work(i);
    return;
  }
  pool_.run([&](std::size_t worker) {
    const auto [first, last] = pool_.share(rows, worker);
    for (std::size_t i = first; i < last; ++i) work(i);
  });
}

void Forward::matmul(const Matrix& matrix, const std::vector<float>& in, std::size_t in_stride,
                     std::vector<float>& out, std::size_t rows) {
  const MatmulJob job = {
      matrix.type, matrix.panels.data(), matrix.panel_bytes, matrix.inputs, in.data(),
      in_stride,   out.data(),           matrix.outputs,     rows};
  if (pool_.size() == 1) {
    kernels_.matmul(job, 0, matrix.panel_count());
    return;
  }
  pool_.run([&](std::size_t worker) {
    const auto [first, last] = pool_.share(matrix.panel_count(), worker);
    kernels_.matmul(job, first, last);
  });
}

void Forward::run(std::span<const StepRow> rows) {
  CHECK(rows.size() <= rows_max_);
  if (rows.empty()) return;
  embed(rows);
  for (std::size_t i = 0; i < model_.layers.size(); ++i) layer(model_.layers[i], i, rows);
  std::size_t wanted = 0;
  const std::size_t width = model_.config.width;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (!rows[i].wants_logits) continue;
    kernels_.rms_norm(&x_[i * width], model_.output_norm.data(), model_.config.norm_epsilon, width,
                      &normed_[wanted++ * width]);
  }
  if (wanted == 0) return;
  if (logits_.size() < wanted * model_.output.outputs)
    logits_.resize(wanted * model_.output.outputs);
  matmul(model_.output, normed_, width, logits_, wanted);
}

void Forward::embed(std::span<const StepRow> rows) {
  const Config& config = model_.config;
  const TensorView& table = *model_.embedding;
  const std::size_t bytes = row_bytes(table.type, config.width);
  const std::size_t pairs = config.rope_width / 2;
  each_row(rows.size(), [&](std::size_t i) {
    CHECK(rows[i].token >= 0 && static_cast<std::size_t>(rows[i].token) < config.vocabulary);
    to_floats(table.type, table.data + static_cast<std::size_t>(rows[i].token) * bytes,
              config.width, &x_[i * config.width]);
    for (std::size_t p = 0; p < pairs; ++p) {
      const double angle =
          static_cast<double>(rows[i].position) * static_cast<double>(model_.rope_frequencies[p]);
      cosines_[i * pairs + p] = static_cast<float>(std::cos(angle));
      sines_[i * pairs + p] = static_cast<float>(std::sin(angle));
    }
  });
}

void Forward::layer(const Layer& layer, std::size_t index, std::span<const StepRow> rows) {
  const Config& config = model_.config;
  const std::size_t width = config.width;
  const std::size_t count = rows.size();
  const std::size_t offset = index * layer_bytes_;
  each_row(count, [&](std::size_t i) {
    kernels_.rms_norm(&x_[i * width], layer.attention_norm.data(), config.norm_epsilon, width,
                      &normed_[i * width]);
  });
  matmul(layer.qkv, normed_, width, qkv_, count);
  each_row(count, [&](std::size_t i) { prepare_row(layer, offset, rows[i], i); });
  attend(rows, offset);
  matmul(layer.attention_out, attended_, query_width_, projected_, count);
  each_row(count, [&](std::size_t i) {
    add(&projected_[i * layer.attention_out.outputs], width, &x_[i * width]);
    kernels_.rms_norm(&x_[i * width], layer.feed_forward_norm.data(), config.norm_epsilon, width,
                      &normed_[i * width]);
  });
  matmul(layer.gate_up, normed_, width, gate_up_, count);
  each_row(count, [&](std::size_t i) {
    const float* gate = &gate_up_[i * layer.gate_up.outputs];
    kernels_.swiglu(gate, gate + layer.gate_up.parts[1], config.hidden,
                    &hidden_[i * config.hidden]);
  });
  matmul(layer.down, hidden_, config.hidden, projected_, count);
  each_row(count,
           [&](std::size_t i) { add(&projected_[i * layer.down.outputs], width, &x_[i * width]); });
}

// Bias, norms and turns of one row's queries and keys; keys and values go to their page.
void Forward::prepare_row(const Layer& layer, std::size_t layer_offset, const StepRow& row,
                          std::size_t index) {
  const Config& config = model_.config;
  const std::size_t width = config.head_width;
  const std::size_t pairs = config.rope_width / 2;
  float* qkv = &qkv_[index * layer.qkv.outputs];
  if (!layer.qkv_bias.empty()) add(layer.qkv_bias.data(), layer.qkv_bias.size(), qkv);
  const auto turn = [&](float* head, const std::vector<float>& norm) {
    if (!norm.empty()) kernels_.rms_norm(head, norm.data(), config.norm_epsilon, width, head);
    rotate(config.rope_interleaved, &cosines_[index * pairs], &sines_[index * pairs],
           config.rope_width, head);
  };
  for (std::size_t h = 0; h < config.heads; ++h) turn(qkv + h * width, layer.query_norm);
  std::byte* page = row.pages[row.position / page_tokens] + layer_offset;
  const std::size_t slot = row.position % page_tokens;
  const std::size_t element = kv_element_bytes(kv_type_);
  for (std::size_t h = 0; h < config.kv_heads; ++h) {
    float* key = qkv + layer.qkv.parts[1] + h * width;
    const float* value = qkv + layer.qkv.parts[2] + h * width;
    turn(key, layer.key_norm);
    std::byte* head = page + h * 2 * width * page_tokens * element;
    std::byte* values = head + (width * page_tokens + slot * width) * element;
    if (kv_type_ == KvType::f32) {
      auto* keys = reinterpret_cast<float*>(head) + slot;
      for (std::size_t d = 0; d < width; ++d) keys[d * page_tokens] = key[d];
      std::memcpy(values, value, width * sizeof(float));
    } else {
      std::uint16_t* halves = &halves_[index * width];
      kernels_.to_f16(key, width, halves);
      auto* keys = reinterpret_cast<std::uint16_t*>(head) + slot;
      for (std::size_t d = 0; d < width; ++d) keys[d * page_tokens] = halves[d];
      kernels_.to_f16(value, width, reinterpret_cast<std::uint16_t*>(values));
    }
  }
}

void Forward::attend(std::span<const StepRow> rows, std::size_t layer_offset) {
  const Config& config = model_.config;
  const AttentionShape shape = {config.heads, config.kv_heads, config.head_width, layer_offset,
                                1.0F / std::sqrt(static_cast<float>(config.head_width))};
  const std::size_t units = rows.size() * config.kv_heads;
  const auto one = [&](std::size_t unit, float* scratch) {
    const std::size_t i = unit / config.kv_heads;
    const AttentionRow row = {rows[i].pages, rows[i].position,
                              &qkv_[i * model_.layers[0].qkv.outputs],
                              &attended_[i * query_width_]};
    kernels_.attend(shape, kv_type_, row, unit % config.kv_heads, scratch);
  };
  if (pool_.size() == 1) {
    for (std::size_t unit = 0; unit < units; ++unit) one(unit, scratch_.data());
    return;
  }
  std::atomic<std::size_t> next = 0;  // rows differ in length: whoever is free takes the next
  pool_.run([&](std::size_t worker) {
    float* scratch = &scratch_[worker * attention_scratch(shape)];
    for (std::size_t unit = 0; (unit = next.fetch_add(1, std::memory_order_relaxed)) < units;)
      one(unit, scratch);
  });
}

}  // namespace ambit::inference
