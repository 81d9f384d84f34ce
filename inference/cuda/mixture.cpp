// A layer's experts: the router's product, the choice of each row, rows brought together by expert,
// the experts' products over just these rows, and their answers back in the order of their numbers.
// The grids follow from the step's extent alone; how many rows an expert has stays on the device.

#include "inference/cuda/backend.h"

#include <algorithm>
#include <bit>

namespace ambit::inference::cuda {

namespace {

constexpr std::size_t item_rows_max = 128;

// Rows of an expert that go together: twice as many as it has on average, so that most have one
// item; whoever has more has several, and nobody's bits change.
std::size_t rows_of_items(std::size_t slots, std::size_t experts) {
  const std::size_t average = (slots + experts - 1) / experts;
  return std::clamp(std::bit_ceil(2 * average), std::size_t{token_tile}, item_rows_max);
}

}  // namespace

void CudaBackend::multiply_by_expert(const Matrix& first, const FormView& in, float* out,
                                     const ExpertItems& by_expert) {
  MultiplyJob job{};
  job.in = in;
  job.out = out;
  job.out_stride = narrow(first.outputs);
  job.by_expert = by_expert;
  for (const WeightView& weight : matrices_.at(&first)) {
    job.weight = weight;
    device_->run(job);
  }
}

void CudaBackend::mix(std::size_t layer) {
  if (is_idle()) return;
  const Config& config = model_.config;
  const Experts& experts = model_.layers[layer].experts;
  const Mixture& mixture = mixture_;
  const auto used = narrow(config.experts_used);
  const std::size_t slots = rows_ * used;
  ExpertItems by_expert;
  by_expert.items = mixture.items;
  by_expert.count = mixture.item_count;
  by_expert.rows = narrow(options_.expert_rows > 0 ? options_.expert_rows
                                                   : rows_of_items(slots, config.experts));
  by_expert.items_max = narrow(expert_items_max(slots, config.experts, by_expert.rows));

  MultiplyJob route{};
  route.in = normed_;
  route.out = mixture.likes;
  route.out_stride = narrow(experts.router.outputs);
  route.rows = narrow(rows_);
  for (const WeightView& weight : matrices_.at(&experts.router)) {
    route.weight = weight;
    device_->run(route);
  }
  device_->run(ChooseExpertsJob{mixture.likes, mixture.row_count.device, mixture.chosen,
                                mixture.shares, narrow(config.experts), used, route.out_stride,
                                narrow(rows_)});
  device_->run(GroupJob{mixture.chosen, mixture.places, mixture.items, mixture.item_count,
                        narrow(config.experts), used, narrow(rows_), by_expert.rows});
  device_->run(GatherJob{normed_, mixture.gathered, mixture.places, used, narrow(slots)});

  const Matrix& gate_up = experts.gate_up[0];
  const Matrix& down = experts.down[0];
  multiply_by_expert(gate_up, mixture.gathered, gate_up_, by_expert);
  device_->run(GateJob{gate_up_, narrow(gate_up.parts[1]), narrow(gate_up.outputs), narrow(slots),
                       config.gelu, hidden_, mixture.places});
  multiply_by_expert(down, hidden_, mixture.answers, by_expert);
  device_->run(MixJob{mixture.answers, mixture.places, mixture.shares, projected_,
                      narrow(config.width), narrow(down.outputs), used, narrow(rows_)});
}

}  // namespace ambit::inference::cuda
