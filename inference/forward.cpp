#include "inference/forward.h"

#include "async/check.h"
#include "inference/cpu/backend.h"

namespace ambit::inference {

std::size_t Forward::page_bytes(const Config& config, KvType type) {
  return cpu_page_bytes(config, type);
}

Forward::Forward(const Model& model, const Kernels& kernels, Pool& pool, KvType kv_type,
                 std::size_t rows_max)
    : Forward(model, std::make_unique<CpuBackend>(model, kernels, pool, kv_type, rows_max),
              rows_max) {}

Forward::Forward(const Model& model, std::unique_ptr<Backend> backend, std::size_t rows_max)
    : model_(model), backend_(std::move(backend)), rows_max_(rows_max) {}

void Forward::start(std::span<const StepRow> rows) {
  INVARIANT(rows.size() <= rows_max_);
  if (rows.empty()) return;
  Backend& on = *backend_;
  on.begin(rows);
  on.norm(model_.layers[0].attention_norm);
  for (std::size_t i = 0; i < model_.layers.size(); ++i) {
    const Layer& layer = model_.layers[i];
    const bool is_last = i + 1 == model_.layers.size();
    on.multiply(layer.qkv, Values::normed, Values::qkv);
    on.prepare(i);
    on.attend(i);
    on.multiply(layer.attention_out, Values::attended, Values::projected);
    on.add_block(layer.attention_after, &layer.feed_forward_norm);
    if (layer.experts.empty()) {
      on.multiply(layer.gate_up, Values::normed, Values::gate_up);
      on.gate(i);
      on.multiply(layer.down, Values::hidden, Values::projected);
    } else {
      on.mix(i);
    }
    on.add_block(layer.feed_forward_after,
                 is_last ? nullptr : &model_.layers[i + 1].attention_norm);
  }
  if (on.select(model_.output_norm) > 0) on.multiply(model_.output, Values::normed, Values::logits);
  on.finish();
}

}  // namespace ambit::inference
