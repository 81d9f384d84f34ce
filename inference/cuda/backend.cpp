#include "inference/cuda/backend.h"

#include "async/check.h"
#include "inference/cuda/host_pages.h"
#include "inference/sampler.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <utility>

namespace ambit::inference::cuda {

namespace {

// Steps of about the same extent have the same recording.
std::size_t filled_up(std::size_t rows) {
  constexpr std::size_t small = 64;
  if (rows <= small) return std::bit_ceil(rows);
  return (rows + small - 1) / small * small;
}

std::size_t padded_items(std::size_t items) {
  return items == 0 ? 0 : std::max<std::size_t>(std::bit_ceil(items), 16);
}

}  // namespace

void CudaBackend::begin(std::span<const StepRow> rows) {
  INVARIANT(!rows.empty() && rows.size() <= options_.rows_max);
  const Config& config = model_.config;
  if (home_ != nullptr) device_->follow(*home_->device_);
  rows_ = std::min(filled_up(rows.size()), rows_capacity_);
  std::size_t last = 0;
  tokens_.host.assign(rows_, 0);
  positions_.host.assign(rows_, 0);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    INVARIANT(rows[i].token >= 0 && static_cast<std::size_t>(rows[i].token) < config.vocabulary);
    INVARIANT(rows[i].position < options_.context_max);
    tokens_.host[i] = rows[i].token;
    positions_.host[i] = narrow(rows[i].position);
    last = std::max(last, rows[i].position);
  }
  selected_.host.clear();
  for (std::size_t i = 0; i < rows.size(); ++i)
    if (rows[i].wants_logits) selected_.host.push_back(narrow(i));
  logits_rows_ = selected_.host.size();
  for (std::size_t i = 0; i < rows.size(); ++i)
    if (rows[i].wants_state) selected_.host.push_back(narrow(i));
  logits_padded_ = logits_rows_ == 0 ? 0 : std::min(filled_up(logits_rows_), rows_capacity_);
  selected_rows_ =
      selected_.host.empty() ? 0 : std::min(filled_up(selected_.host.size()), rows_capacity_);
  selected_.host.resize(selected_rows_, 0);
  read_count_ = 0;
  chosen_here_.clear();
  learn_turns(last + 1);
  send_choices(rows);
  send_pages(rows);
  make_plan(full_, rows, 0);
  if (config.window > 0) make_plan(windowed_, rows, config.window);
  send(tokens_);
  send(positions_);
  send(tables_);
  send(selected_);
  if (config.experts > 0) {
    mixture_.row_count.host.assign(1, narrow(rows.size()));
    send(mixture_.row_count);
  }
  traffic_->add(rows, full_.plan.reads, windowed_.plan.reads);
  const std::uint64_t key = recording_key();
  replayed_ = options_.records && device_->replay(key);
  if (replayed_) traffic_->add_replayed();
  recording_ = options_.records && !replayed_;
  if (recording_) device_->begin_recording(key);
  if (is_idle()) return;
  device_->run(EmbedJob{embedding_, tokens_.device, residual_, config.embedding_scale,
                        narrow(config.width), narrow(rows_)});
}

// Everything that a job holds and that may differ between steps.
std::uint64_t CudaBackend::recording_key() const {
  const std::size_t parts[] = {rows_,
                               logits_padded_,
                               selected_rows_,
                               chooses_now_ ? std::size_t{1} : std::size_t{0},
                               full_.few_padded,
                               full_.many_padded,
                               windowed_.few_padded,
                               windowed_.many_padded};
  std::uint64_t key = 0xCBF29CE484222325U;
  for (const std::size_t part : parts) {
    key = (key ^ part) * 0x9E3779B97F4A7C15U;
    key ^= key >> 31U;
  }
  return key;
}

// The page tables of all sequences, one after the other; the first entry is the spare page.
void CudaBackend::send_pages(std::span<const StepRow> rows) {
  std::vector<std::byte*>& all = page_table_.host;
  all.assign(1, spare_page_);
  tables_.host.assign(rows_, 0);
  for (std::size_t first = 0; first < rows.size();) {
    std::size_t end = first + 1;
    while (end < rows.size() && rows[end].pages == rows[first].pages) ++end;
    const auto at = narrow(all.size());
    const std::size_t pages = rows[end - 1].position / page_positions + 1;
    all.insert(all.end(), rows[first].pages, rows[first].pages + pages);
    for (std::size_t i = first; i < end; ++i) tables_.host[i] = at;
    first = end;
  }
  INVARIANT(all.size() <= page_table_.capacity);
  if (all == page_table_sent_) return;
  send(page_table_);
  page_table_sent_ = all;
}

// How each row that wants logits chooses; each mask once, whoever has it.
void CudaBackend::send_choices(std::span<const StepRow> rows) {
  choices_.host.assign(logits_padded_, Choice{0, 0, 0, -1, 0});
  masks_.host.clear();
  chooses_now_ = false;
  const std::size_t mask_words = (model_.config.vocabulary + 31) / 32;
  std::size_t at = 0;
  mask_places_.clear();
  for (const StepRow& row : rows) {
    if (!row.wants_logits) continue;
    Choice& choice = choices_.host[at++];
    if (row.choice == nullptr) continue;
    chooses_now_ = true;
    const RowChoice& how = *row.choice;
    choice = {how.seed, how.position, how.temperature, -1, 1};
    if (how.mask == nullptr || how.mask->words().empty()) continue;
    const auto [place, is_new] =
        mask_places_.emplace(how.mask.get(), static_cast<std::int32_t>(mask_places_.size()));
    choice.mask = place->second;
    if (!is_new) continue;
    const std::span<const std::uint64_t> words = how.mask->words();
    const std::size_t first = masks_.host.size();
    masks_.host.resize(first + mask_words);
    for (std::size_t w = 0; w < std::min(mask_words, 2 * words.size()); ++w)
      masks_.host[first + w] = static_cast<std::uint32_t>(words[w / 2] >> (w % 2 * 32));
  }
  if (!chooses_now_) return;
  send(choices_);
  send(masks_);
}

TokenId CudaBackend::chosen(std::size_t i) {
  if (chosen_here_.empty()) {
    chosen_here_.resize(logits_rows_);
    device_->download(chosen_here_.data(), reinterpret_cast<const std::byte*>(chosen_),
                      logits_rows_ * sizeof(std::int32_t));
  }
  return chosen_here_[i];
}

void CudaBackend::make_plan(DevicePlan& of, std::span<const StepRow> rows, std::size_t window) {
  const Config& config = model_.config;
  PlanOptions how;
  how.tile_rows = std::max<std::size_t>(16 / (config.heads / config.kv_heads), 1);
  how.tiles_max = config.head_width <= 128 ? 4 : 1;
  how.walk_rows = options_.walk_rows > 0 ? options_.walk_rows : how.tile_rows * how.tiles_max;
  how.partials_max = partials_max_;
  how.window = window;
  how.shares = options_.shares_prefixes;
  planner_.plan(rows, tables_.host, how, of.plan);
  of.few.host.assign(of.plan.few.begin(), of.plan.few.end());
  of.many.host.assign(of.plan.many.begin(), of.plan.many.end());
  of.rows.host.assign(of.plan.rows.begin(), of.plan.rows.end());
  of.counts.host = {narrow(of.plan.few.size()), narrow(of.plan.many.size())};
  of.first_partial.host.assign(of.plan.first_partial.begin(), of.plan.first_partial.end());
  of.first_partial.host.resize(rows_ + 1, of.plan.first_partial.back());
  of.few_padded = padded_items(of.plan.few.size());
  of.many_padded = padded_items(of.plan.many.size());
  send(of.few);
  send(of.many);
  send(of.rows);
  send(of.counts);
  send(of.first_partial);
}

template <class T>
void CudaBackend::send(Mirror<T>& mirror) {
  INVARIANT(mirror.host.size() <= mirror.capacity);
  device_->upload(reinterpret_cast<std::byte*>(mirror.device), mirror.host.data(),
                  mirror.host.size() * sizeof(T));
}

// Cosines and sines of the positions up to `positions`, in double precision as on the CPU; made
// when a step first comes so far.
void CudaBackend::learn_turns(std::size_t positions) {
  if (positions <= turns_known_) return;
  const std::size_t end =
      std::min(std::max<std::size_t>(std::bit_ceil(positions), 512), options_.context_max);
  const std::size_t pairs = model_.config.rope_width / 2;
  const auto learn = [&](const std::vector<float>& frequencies, float factor, float* to) {
    std::vector<float> made((end - turns_known_) * pairs * 2);
    float* at = made.data();
    for (std::size_t position = turns_known_; position < end; ++position) {
      for (std::size_t p = 0; p < pairs; ++p) {
        const double angle = static_cast<double>(position) * static_cast<double>(frequencies[p]);
        *at++ = static_cast<float>(std::cos(angle)) * factor;
        *at++ = static_cast<float>(std::sin(angle)) * factor;
      }
    }
    device_->upload(reinterpret_cast<std::byte*>(to + turns_known_ * pairs * 2), made.data(),
                    made.size() * sizeof(float));
  };
  learn(model_.rope_frequencies, model_.config.rope_scaling.attention_factor, turns_);
  if (window_turns_ != nullptr) learn(model_.window_rope_frequencies, 1.0F, window_turns_);
  turns_known_ = end;
}

const float* CudaBackend::vector_of(const std::vector<float>& values) const {
  return values.empty() ? nullptr : vectors_.at(&values);
}

void CudaBackend::norm(const std::vector<float>& weight) {
  if (is_idle()) return;
  device_->run(NormJob{residual_, nullptr, nullptr, vector_of(weight), nullptr, normed_,
                       model_.config.norm_epsilon, narrow(model_.config.width), 0, narrow(rows_)});
}

void CudaBackend::add_block(const std::vector<float>& after, const std::vector<float>* next) {
  if (is_idle()) return;
  device_->run(NormJob{residual_, projected_, vector_of(after),
                       next == nullptr ? nullptr : vector_of(*next), nullptr, normed_,
                       model_.config.norm_epsilon, narrow(model_.config.width),
                       narrow(model_.layers[0].attention_out.outputs), narrow(rows_)});
}

void CudaBackend::multiply(const Matrix& matrix, Values in, Values out) {
  if (is_idle()) return;
  MultiplyJob job{};
  job.in = in == Values::normed ? normed_ : in == Values::attended ? attended_ : hidden_;
  job.out = out == Values::qkv       ? qkv_
            : out == Values::gate_up ? gate_up_
            : out == Values::logits  ? logits_
                                     : projected_;
  job.out_stride = narrow(matrix.outputs);
  job.rows = narrow(out == Values::logits ? logits_padded_ : rows_);
  for (const WeightView& weight : matrices_.at(&matrix)) {
    job.weight = cut(options_.schedule, weight, job.rows, device_->info().processors);
    device_->run(job);
  }
}

void CudaBackend::prepare(std::size_t index) {
  if (is_idle()) return;
  const Config& config = model_.config;
  const Layer& layer = model_.layers[index];
  PrepareJob job{};
  job.qkv = qkv_;
  job.bias = vector_of(layer.qkv_bias);
  job.query_norm = vector_of(layer.query_norm);
  job.key_norm = vector_of(layer.key_norm);
  const bool windowed = config.is_windowed(index) && window_turns_ != nullptr;
  job.turns = config.turns(index) ? windowed ? window_turns_ : turns_ : nullptr;
  job.positions = positions_.device;
  job.tables = tables_.device;
  job.pages = page_table_.device;
  job.queries = queries_;
  job.epsilon = config.norm_epsilon;
  job.page_type = options_.page_type;
  job.interleaved = config.rope_interleaved;
  job.heads = narrow(config.heads);
  job.kv_heads = narrow(config.kv_heads);
  job.head_width = narrow(config.head_width);
  job.rope_width = narrow(config.rope_width);
  job.key_at = narrow(layer.qkv.parts[1]);
  job.value_at = narrow(layer.qkv.parts[2]);
  job.stride = narrow(layer.qkv.outputs);
  job.rows = narrow(rows_);
  job.layer_offset = index * layer_bytes_;
  device_->run(job);
}

void CudaBackend::attend(std::size_t index) {
  if (is_idle()) return;
  const Config& config = model_.config;
  const bool windowed = config.is_windowed(index);
  const DevicePlan& plan = windowed ? windowed_ : full_;
  AttendJob job{};
  job.item_rows = plan.rows.device;
  job.positions = positions_.device;
  job.pages = page_table_.device;
  job.queries = queries_;
  job.outputs = partial_outputs_;
  job.peaks = partial_peaks_;
  job.scale = config.attention_scale;
  job.cap = config.attention_cap;
  job.page_type = options_.page_type;
  job.window = windowed ? narrow(config.window) : 0;
  job.heads = narrow(config.heads);
  job.kv_heads = narrow(config.kv_heads);
  job.head_width = narrow(config.head_width);
  job.layer_offset = index * layer_bytes_;
  job.items = plan.few.device;
  job.item_count = plan.counts.device;
  job.items_max = narrow(plan.few_padded);
  device_->run(job, 1);
  job.items = plan.many.device;
  job.item_count = plan.counts.device + 1;
  job.items_max = narrow(plan.many_padded);
  device_->run(job, 4);
  device_->run(FoldJob{plan.first_partial.device, partial_outputs_, partial_peaks_, attended_,
                       narrow(config.heads), narrow(config.head_width), narrow(rows_)});
}

void CudaBackend::gate(std::size_t index) {
  if (is_idle()) return;
  const Matrix& matrix = model_.layers[index].gate_up;
  device_->run(GateJob{gate_up_, narrow(matrix.parts[1]), narrow(matrix.outputs), narrow(rows_),
                       model_.config.gelu, hidden_});
}

std::size_t CudaBackend::select(const std::vector<float>& weight) {
  if (selected_rows_ > 0 && !is_idle())
    device_->run(NormJob{residual_, nullptr, nullptr, vector_of(weight), selected_.device, normed_,
                         model_.config.norm_epsilon, narrow(model_.config.width), 0,
                         narrow(selected_rows_)});
  return logits_rows_;
}

void CudaBackend::finish() {
  const Config& config = model_.config;
  if (config.logit_cap > 0 && logits_padded_ > 0 && !is_idle())
    device_->run(CapJob{logits_, narrow(config.vocabulary), narrow(model_.output.outputs),
                        narrow(logits_padded_), config.logit_cap});
  if (chooses_now_ && !is_idle()) {
    const std::size_t mask_words = (config.vocabulary + 31) / 32;
    device_->run(ChooseJob{logits_, choices_.device, masks_.device, chosen_,
                           narrow(config.vocabulary), narrow(mask_words),
                           narrow(model_.output.outputs), narrow(logits_padded_)});
  }
  if (recording_) device_->end_recording();
  recording_ = false;
}

std::span<const float> CudaBackend::read_row(const float* from, std::size_t count) {
  if (read_count_ == read_.size()) read_.emplace_back();
  std::vector<float>& row = read_[read_count_++];
  row.assign(count, 0);
  device_->download(row.data(), reinterpret_cast<const std::byte*>(from), count * sizeof(float));
  return row;
}

std::span<const float> CudaBackend::logits(std::size_t i) {
  return read_row(logits_ + i * model_.output.outputs, model_.config.vocabulary);
}

std::span<const float> CudaBackend::state(std::size_t i) {
  return read_row(normed_.floats + (logits_rows_ + i) * model_.config.width, model_.config.width);
}

std::byte* CudaBackend::make_page(std::size_t bytes) {
  if (pages_in_slab_ == 0) {
    // As many as fit into some megabytes; near the end of the memory one by one.
    constexpr std::size_t slab_bytes = std::size_t{64} << 20U;
    std::size_t together = std::max<std::size_t>(slab_bytes / bytes, 1);
    // What was not booked may be needed by others.
    if (options_.pages_max > pages_made_)
      together = std::min(together, options_.pages_max - pages_made_);
    for (std::size_t pages = together;; pages = 1) {
      page_slab_ = device_->allocate(pages * bytes);
      pages_in_slab_ = page_slab_ == nullptr ? 0 : pages;
      if (page_slab_ != nullptr || pages == 1) break;
    }
    if (page_slab_ == nullptr) return nullptr;
    owned_.push_back(page_slab_);
    pages_made_ += pages_in_slab_;
  }
  --pages_in_slab_;
  return std::exchange(page_slab_, page_slab_ + bytes);
}

Result<std::unique_ptr<PageTier>> CudaBackend::lower_tier(std::size_t host_bytes,
                                                          std::unique_ptr<PageTier> disk) {
  if (host_bytes == 0 && disk != nullptr)
    return Err(Code::invalid,
               "a GPU's pages go to disk by way of host memory: give kvCache.host some");
  if (host_bytes == 0) return nullptr;
  return TRY(HostPages::open(*device_, page_bytes_, host_bytes, std::move(disk)));
}

void CudaBackend::copy_page(std::byte* to, const std::byte* from, std::size_t bytes) {
  device_->copy(to, from, bytes);
}

}  // namespace ambit::inference::cuda
