// What goes to the device once: weights, norms, buffers.

#include "async/check.h"
#include "inference/cuda/backend.h"
#include "inference/repack.h"

#include <algorithm>

namespace ambit::inference::cuda {

namespace {

constexpr std::size_t rows_multiple = 128;  // many rows are multiplied in so large tiles

std::uint8_t form_of(WeightType type) {
  switch (type) {
    case WeightType::f32:
      return as_floats;
    case WeightType::f16:
    case WeightType::fp8:
      return as_halves;
    case WeightType::bf16:
      return as_bf16;
    default:
      return as_levels;
  }
}

// Bytes of one layer in a page: what page_head_bytes() in rows.h says, for all key heads.
std::size_t layer_page_bytes(const Config& config, PageType type) {
  const std::size_t elements = 2 * page_positions * config.head_width;
  const std::size_t head =
      type == PageType::bf16 ? elements * 2 : elements + 2 * page_positions * sizeof(float);
  return config.kv_heads * head;
}

}  // namespace

std::size_t CudaBackend::page_bytes(const Config& config, PageType type) {
  return config.layers * layer_page_bytes(config, type);
}

CudaBackend::CudaBackend(const Model& model, std::unique_ptr<Device> device,
                         const BackendOptions& options)
    : model_(model),
      device_(std::move(device)),
      options_(options),
      rows_capacity_((options.rows_max + rows_multiple - 1) / rows_multiple * rows_multiple),
      page_bytes_(page_bytes(model.config, options.page_type)),
      layer_bytes_(layer_page_bytes(model.config, options.page_type)) {}

CudaBackend::~CudaBackend() {
  if (place_ != nullptr) place_->close();
  device_->wait();
  for (std::byte* memory : owned_) device_->release(memory);
  arena_.reset();
}

Result<bool> CudaBackend::settle() {
  if (place_ == nullptr) return false;
  device_->wait();
  if (!device_->failure().empty()) return Err(Code::internal, device_->failure());
  return place_->settle(arena_.get());
}

Result<std::unique_ptr<CudaBackend>> CudaBackend::make(const Model& model,
                                                       std::unique_ptr<Device> device,
                                                       BackendOptions options) {
  const Config& config = model.config;
  if (config.head_width > 256)
    return Err(Code::unsupported, "heads of " + std::to_string(config.head_width) +
                                      " dimensions are too wide for the GPU's kernels: 256 at "
                                      "most");
  constexpr std::size_t slots_max = std::size_t{1} << 18U;  // of one grid
  if (options.rows_max < 1 || options.rows_max > 65'536)
    return Err(Code::invalid, "a step must take from 1 to 65536 rows");
  if (config.experts > experts_max)
    return Err(Code::unsupported, std::to_string(config.experts) +
                                      " experts are too many for the GPU's kernels: " +
                                      std::to_string(experts_max) + " at most");
  if (options.rows_max * config.experts_used > slots_max)
    return Err(Code::invalid, "a step of " + std::to_string(options.rows_max) + " rows that take " +
                                  std::to_string(config.experts_used) +
                                  " experts each is too large: give it fewer rows");
  if (options.context_max == 0 || options.context_max > config.context)
    options.context_max = config.context;
  auto made = std::unique_ptr<CudaBackend>(new CudaBackend(model, std::move(device), options));
  if (options.residency != nullptr) {
    made->arena_ = made->device_->arena();
    made->place_ = Residency::join(options.residency, made->device_->info().free_bytes,
                                   options.parks && made->arena_ != nullptr);
    TRY(made->place_->book(options.pages_max * made->page_bytes_));
  }
  TRY(made->load());
  if (!made->device_->failure().empty()) return Err(Code::internal, made->device_->failure());
  return made;
}

Result<std::unique_ptr<CudaBackend>> CudaBackend::make_lane(CudaBackend& home,
                                                            std::size_t rows_max) {
  auto device = home.device_->lane();
  if (device == nullptr) return Err(Code::unavailable, home.device_->failure());
  BackendOptions options = home.options_;
  options.rows_max = rows_max;
  auto made =
      std::unique_ptr<CudaBackend>(new CudaBackend(home.model_, std::move(device), options));
  made->home_ = &home;
  made->matrices_ = home.matrices_;
  made->vectors_ = home.vectors_;
  made->embedding_ = home.embedding_;
  made->weight_bytes_ = home.weight_bytes_;
  made->output_bytes_ = home.output_bytes_;
  made->expert_bytes_ = home.expert_bytes_;
  TRY(made->make_buffers());
  return made;
}

Result<void> CudaBackend::load() {
  TRY(load_weights());
  TRY(load_vectors());
  return make_buffers();
}

Error CudaBackend::no_room(std::size_t bytes) const {
  return {Code::exhausted, "the GPU has no room for " + std::to_string(bytes) +
                               " bytes more; it has " +
                               std::to_string(device_->info().memory_bytes) + " in all"};
}

template <class T>
Result<T*> CudaBackend::make(std::size_t count) {
  Residency::Place* const place = home_ != nullptr ? home_->place() : place_.get();
  if (place != nullptr) TRY(place->book(count * sizeof(T)));
  std::byte* memory = device_->allocate(count * sizeof(T));
  if (memory == nullptr) return Err(no_room(count * sizeof(T)));
  owned_.push_back(memory);
  return reinterpret_cast<T*>(memory);
}

template <class T>
Result<T*> CudaBackend::make_weights(std::size_t count) {
  if (arena_ == nullptr) return make<T>(count);
  const std::size_t bytes = count * sizeof(T);
  TRY(place_->book_weights(arena_->growth(bytes)));
  std::byte* memory = arena_->add(bytes);
  if (memory == nullptr) return Err(no_room(bytes));
  return reinterpret_cast<T*>(memory);
}

template <class T>
Result<void> CudaBackend::make(Mirror<T>& mirror, std::size_t capacity) {
  mirror.device = TRY(make<T>(capacity));
  mirror.capacity = capacity;
  return {};
}

// Panels are turned a few at a time, so that no second copy of a weight is ever here.
Result<void> CudaBackend::add_matrices(std::span<const Matrix> alike) {
  const Matrix& matrix = alike.front();
  std::vector<WeightView> views;
  for (std::size_t s = 0; s < matrix.segments.size(); ++s) {
    const Segment& segment = matrix.segments[s];
    WeightView view{};
    view.type = weight_type(segment.type, options_.fp8_weights);
    view.first_output = narrow(segment.first_output);
    view.panel_count = narrow(segment.panel_count);
    const std::size_t bytes = cuda::panel_bytes(view.type, matrix.inputs);
    view.panel_bytes = narrow(bytes);
    view.blocks = narrow(whole_blocks(matrix.inputs));
    view.segment_blocks = narrow(segment_blocks(view.blocks));
    view.segments = (view.blocks + view.segment_blocks - 1) / view.segment_blocks;
    std::byte* panels = TRY(make_weights<std::byte>(bytes * segment.panel_count * alike.size()));
    std::vector<float> scales(
        view.type == WeightType::fp8 ? segment.panel_count * alike.size() * panel_rows : 0);
    const std::size_t together = std::max<std::size_t>((std::size_t{16} << 20U) / bytes, 1);
    std::vector<std::byte> turned(std::min(together, segment.panel_count) * bytes);
    std::size_t before = 0;  // panels of other matrices
    for (const Matrix& one : alike) {
      const Segment& own = one.segments[s];
      INVARIANT(own.type == segment.type && own.panel_count == segment.panel_count);
      for (std::size_t first = 0; first < own.panel_count; first += together) {
        const std::size_t end = std::min(first + together, own.panel_count);
        for (std::size_t i = first; i < end; ++i)
          device_panel(own, i, matrix.inputs, view.type, turned.data() + (i - first) * bytes,
                       scales.empty() ? nullptr : scales.data() + (before + i) * panel_rows);
        device_->upload(panels + (before + first) * bytes, turned.data(), (end - first) * bytes);
      }
      before += own.panel_count;
    }
    view.panels = panels;
    if (!scales.empty()) {
      float* to = TRY(make_weights<float>(scales.size()));
      device_->upload(reinterpret_cast<std::byte*>(to), scales.data(),
                      scales.size() * sizeof(float));
      view.scales = to;
    }
    weight_bytes_ += bytes * segment.panel_count * alike.size();
    views.push_back(view);
  }
  matrices_.emplace(&matrix, std::move(views));
  return {};
}

Result<void> CudaBackend::load_weights() {
  const bool fp8 = options_.fp8_weights;
  for (const Layer& layer : model_.layers) {
    for (const Matrix* matrix : {&layer.qkv, &layer.attention_out, &layer.gate_up, &layer.down})
      TRY(add_matrix(*matrix));
    if (layer.experts.empty()) continue;
    options_.fp8_weights = false;  // rounded, it would send rows to other experts
    TRY(add_matrix(layer.experts.router));
    options_.fp8_weights = fp8;
    const std::size_t others = weight_bytes_;
    TRY(add_matrices(layer.experts.gate_up));
    TRY(add_matrices(layer.experts.down));
    expert_bytes_ += weight_bytes_ - others;
  }
  const std::size_t layers = weight_bytes_;
  TRY(add_matrix(model_.output));
  output_bytes_ = weight_bytes_ - layers;
  // Where the output's weight is the embedding's, tokens are looked up in it.
  const bool tied = model_.file->find("output.weight") == nullptr;
  if (tied && !options_.fp8_weights && model_.output.segments.size() == 1) {
    embedding_ = matrices_.at(&model_.output)[0];
    return {};
  }
  const std::size_t weights = weight_bytes_;
  options_.fp8_weights = false;
  const WeightRows rows[] = {all_rows(*model_.embedding)};
  own_embedding_ = repack(rows);
  TRY(add_matrix(own_embedding_));
  embedding_ = matrices_.at(&own_embedding_)[0];
  own_embedding_ = {};
  options_.fp8_weights = fp8;
  weight_bytes_ = weights;  // a step reads a few rows of it
  return {};
}

Result<void> CudaBackend::add_vector(const std::vector<float>& values) {
  if (values.empty()) return {};
  float* to = TRY(make<float>(values.size()));
  device_->upload(reinterpret_cast<std::byte*>(to), values.data(), values.size() * sizeof(float));
  vectors_.emplace(&values, to);
  return {};
}

Result<void> CudaBackend::load_vectors() {
  for (const Layer& layer : model_.layers)
    for (const auto* values :
         {&layer.attention_norm, &layer.feed_forward_norm, &layer.attention_after,
          &layer.feed_forward_after, &layer.query_norm, &layer.key_norm, &layer.qkv_bias})
      TRY(add_vector(*values));
  return add_vector(model_.output_norm);
}

Result<FormView> CudaBackend::make_forms(std::size_t width, std::uint8_t forms, std::size_t rows) {
  FormView view{};
  const std::size_t blocks = whole_blocks(width);
  view.width = narrow(width);
  view.padded = narrow(blocks * block_inputs);
  view.row_tiles = device_->info().warpgroups ? narrow(rows / token_tile) : 0;
  const std::size_t elements = rows * view.padded;
  if ((forms & as_floats) != 0) view.floats = TRY(make<float>(rows * width));
  if ((forms & as_halves) != 0) view.halves = TRY(make<std::uint16_t>(elements));
  if ((forms & as_bf16) != 0) view.bf16 = TRY(make<std::uint16_t>(elements));
  if ((forms & as_levels) != 0) {
    view.levels = TRY(make<std::int8_t>(elements));
    view.blocks = TRY(make<LevelBlock>(rows * blocks));
  }
  return view;
}

// Each row has a slot for each expert that it takes. An expert's rows begin on a tile's border, and
// products read whole items beyond the last one.
Result<void> CudaBackend::make_mixture(std::uint8_t gathered, std::uint8_t hidden) {
  const Config& config = model_.config;
  const Experts& experts = model_.layers[0].experts;
  const std::size_t slots = rows_capacity_ * config.experts_used;
  const std::size_t filling = std::min(config.experts, slots) * (token_tile - 1);
  const std::size_t places =
      (slots + filling + rows_multiple - 1) / rows_multiple * rows_multiple + rows_multiple;
  TRY(make(mixture_.row_count, 1));
  mixture_.likes = TRY(make<float>(rows_capacity_ * experts.router.outputs));
  mixture_.chosen = TRY(make<std::uint32_t>(slots));
  mixture_.shares = TRY(make<float>(slots));
  mixture_.places = TRY(make<std::uint32_t>(slots));
  mixture_.items = TRY(make<ExpertItem>(expert_items_max(slots, config.experts, token_tile)));
  mixture_.item_count = TRY(make<std::uint32_t>(1));
  mixture_.gathered = TRY(make_forms(config.width, gathered, places));
  gate_up_ = TRY(make<float>(places * experts.gate_up[0].outputs));
  hidden_ = TRY(make_forms(config.hidden, hidden, places));
  mixture_.answers = TRY(make<float>(places * experts.down[0].outputs));
  return {};
}

Result<void> CudaBackend::make_buffers() {
  traffic_.emplace(
      model_,
      WeightBytes{static_cast<double>(weight_bytes_ - output_bytes_ - expert_bytes_),
                  static_cast<double>(expert_bytes_), static_cast<double>(output_bytes_)},
      static_cast<double>(layer_bytes_) / page_positions, options_.rows_max);
  const Config& config = model_.config;
  const std::size_t rows = rows_capacity_;
  std::uint8_t normed = as_floats;  // states are read from it
  std::uint8_t attended = 0;
  std::uint8_t hidden = 0;
  std::uint8_t gathered = 0;
  const auto consider = [&](const Matrix& matrix, std::uint8_t& forms) {
    for (const WeightView& view : matrices_.at(&matrix)) forms |= form_of(view.type);
  };
  for (const Layer& layer : model_.layers) {
    consider(layer.qkv, normed);
    consider(layer.attention_out, attended);
    if (!layer.experts.empty()) {
      consider(layer.experts.router, normed);
      consider(layer.experts.gate_up[0], gathered);
      consider(layer.experts.down[0], hidden);
      continue;
    }
    consider(layer.gate_up, normed);
    consider(layer.down, hidden);
  }
  normed |= gathered;
  consider(model_.output, normed);
  normed_ = TRY(make_forms(config.width, normed, rows));
  attended_ = TRY(make_forms(config.heads * config.head_width, attended, rows));
  residual_ = TRY(make<float>(rows * config.width));
  qkv_ = TRY(make<float>(rows * model_.layers[0].qkv.outputs));
  projected_ = TRY(make<float>(rows * model_.layers[0].attention_out.outputs));
  if (config.experts > 0) {
    TRY(make_mixture(gathered, hidden));
  } else {
    hidden_ = TRY(make_forms(config.hidden, hidden, rows));
    gate_up_ = TRY(make<float>(rows * model_.layers[0].gate_up.outputs));
  }
  logits_ = TRY(make<float>(rows * model_.output.outputs));
  queries_ = TRY(make<std::uint16_t>(rows * config.heads * config.head_width));
  const std::size_t partial = config.heads * config.head_width;
  constexpr std::size_t partial_floats = std::size_t{16} << 20U;
  partials_max_ = std::max(rows, std::min<std::size_t>(partial_floats / partial, 16 * rows));
  partial_outputs_ = TRY(make<float>(partials_max_ * partial));
  partial_peaks_ = TRY(make<float>(partials_max_ * config.heads * 2));
  const std::size_t turns = options_.context_max * config.rope_width;
  turns_ = TRY(make<float>(turns));
  if (!model_.window_rope_frequencies.empty()) window_turns_ = TRY(make<float>(turns));
  TRY(make(tokens_, rows));
  TRY(make(positions_, rows));
  TRY(make(tables_, rows));
  TRY(make(selected_, rows));
  const std::size_t pages = (options_.context_max + page_positions - 1) / page_positions;
  TRY(make(page_table_, 1 + options_.rows_max * pages));
  TRY(make(choices_, rows));
  TRY(make(masks_, rows * ((config.vocabulary + 31) / 32)));
  chosen_ = TRY(make<std::int32_t>(rows));
  spare_page_ = TRY(make<std::byte>(page_bytes_));
  for (DevicePlan* plan : {&full_, &windowed_}) {
    TRY(make(plan->few, partials_max_));
    TRY(make(plan->many, partials_max_));
    TRY(make(plan->rows, partials_max_));
    TRY(make(plan->first_partial, rows + 1));
    TRY(make(plan->counts, 2));
  }
  return {};
}

}  // namespace ambit::inference::cuda
