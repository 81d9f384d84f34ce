#include "inference/traffic.h"

#include <algorithm>
#include <cmath>

namespace ambit::inference {

namespace {

// A multiplication and an addition for each weight.
double operations_of(const Matrix& matrix) {
  return 2 * static_cast<double>(matrix.inputs) * static_cast<double>(matrix.outputs);
}

}  // namespace

WeightBytes weight_bytes(const Model& model) {
  WeightBytes sum;
  for (const Layer& layer : model.layers) {
    for (const Matrix* matrix :
         {&layer.qkv, &layer.attention_out, &layer.gate_up, &layer.down, &layer.experts.router})
      sum.layers += static_cast<double>(matrix->bytes());
    for (const auto* matrices : {&layer.experts.gate_up, &layer.experts.down})
      for (const Matrix& matrix : *matrices) sum.experts += static_cast<double>(matrix.bytes());
  }
  sum.output = static_cast<double>(model.output.bytes());
  return sum;
}

Traffic& Traffic::operator+=(const Traffic& other) {
  steps += other.steps;
  replayed_steps += other.replayed_steps;
  rows += other.rows;
  weight_bytes += other.weight_bytes;
  kv_bytes += other.kv_bytes;
  kv_bytes_unshared += other.kv_bytes_unshared;
  operations += other.operations;
  return *this;
}

TrafficCount::TrafficCount(const Model& model, const WeightBytes& weights, double kv_bytes,
                           std::size_t rows_max)
    : window_(model.config.window), weights_(weights), kv_bytes_(kv_bytes) {
  const Config& config = model.config;
  for (std::size_t i = 0; i < model.layers.size(); ++i) {
    const Layer& layer = model.layers[i];
    (config.is_windowed(i) ? windowed_layers_ : full_layers_) += 1;
    for (const Matrix* matrix :
         {&layer.qkv, &layer.attention_out, &layer.gate_up, &layer.down, &layer.experts.router})
      row_operations_ += operations_of(*matrix);
    if (layer.experts.empty()) continue;
    row_operations_ +=
        static_cast<double>(config.experts_used) *
        (operations_of(layer.experts.gate_up[0]) + operations_of(layer.experts.down[0]));
  }
  output_operations_ = operations_of(model.output);
  // Scores and the sum of values.
  seen_operations_ = 4 * static_cast<double>(config.heads) * static_cast<double>(config.head_width);
  if (config.experts > 0)
    experts_missed_ =
        1 - static_cast<double>(config.experts_used) / static_cast<double>(config.experts);
  full_.rows.reserve(rows_max);
  windowed_.rows.reserve(rows_max);
  rows_.reserve(rows_max);
}

void TrafficCount::read_alone(std::span<const StepRow> rows, std::size_t window,
                              Reads& reads) const {
  reads.rows.clear();
  reads.unshared = 0;
  for (std::size_t first = 0; first < rows.size();) {
    std::size_t end = first + 1;
    while (end < rows.size() && rows[end].pages == rows[first].pages) ++end;
    const std::size_t seen = rows[first].position + 1;  // by the row that looks back furthest
    const std::size_t begin = window > 0 && seen > window ? seen - window : 0;
    const auto read = static_cast<double>(rows[end - 1].position + 1 - begin);
    reads.rows.insert(reads.rows.end(), end - first,
                      static_cast<float>(read / static_cast<double>(end - first)));
    reads.unshared += read;
    first = end;
  }
}

void TrafficCount::add(std::span<const StepRow> rows) {
  read_alone(rows, 0, full_);
  if (windowed_layers_ > 0) read_alone(rows, window_, windowed_);
  add(rows, full_, windowed_);
}

void TrafficCount::add(std::span<const StepRow> rows, const Reads& full, const Reads& windowed) {
  const bool has_windows = windowed_layers_ > 0;
  const auto count = static_cast<double>(rows.size());
  const double layers = full_layers_ + windowed_layers_;
  const double experts = weights_.experts > 0 ? 1 - std::pow(experts_missed_, count) : 0;
  const double weights = weights_.layers + weights_.experts * experts;
  const auto wanting = static_cast<double>(
      std::count_if(rows.begin(), rows.end(), [](const StepRow& row) { return row.wants_logits; }));
  rows_.clear();
  double positions = 0;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const std::size_t seen = rows[i].position + 1;
    const std::size_t in_window = std::min(seen, window_);
    const double read =
        full_layers_ * static_cast<double>(full.rows[i]) +
        (has_windows ? windowed_layers_ * static_cast<double>(windowed.rows[i]) : 0) +
        layers;  // its own are written
    RowWork work;
    work.bytes = weights / count + read * kv_bytes_;
    work.operations =
        row_operations_ + seen_operations_ * (full_layers_ * static_cast<double>(seen) +
                                              windowed_layers_ * static_cast<double>(in_window));
    if (rows[i].wants_logits) {
      work.bytes += weights_.output / wanting;
      work.operations += output_operations_;
    }
    positions += read;
    totals_.operations += work.operations;
    rows_.push_back(work);
  }
  ++totals_.steps;
  totals_.rows += rows.size();
  totals_.weight_bytes += weights + (wanting > 0 ? weights_.output : 0);
  totals_.kv_bytes += positions * kv_bytes_;
  totals_.kv_bytes_unshared +=
      (full_layers_ * full.unshared + (has_windows ? windowed_layers_ * windowed.unshared : 0) +
       layers * count) *
      kv_bytes_;
}

}  // namespace ambit::inference
