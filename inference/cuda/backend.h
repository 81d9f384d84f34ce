#pragma once

// The operations of the forward pass on a GPU. Weights go to the device once, in the order of its
// lanes; values stay there; a step brings tokens, positions, page tables and a plan of attention,
// and takes away what was asked for. Steps of the same extent are recorded once and played again.
// The same session gives the same bits, alone or in a batch, in any chunks, cached or not, sharing
// pages or not: every sum has one order (multiply.h, attention.h). CPU and GPU may differ from each
// other; each agrees with itself. Owns the device and all that is on it.

#include "async/result.h"
#include "inference/backend.h"
#include "inference/cuda/arena.h"
#include "inference/cuda/device.h"
#include "inference/cuda/panels.h"
#include "inference/cuda/plan.h"
#include "inference/cuda/residency.h"
#include "inference/cuda/schedule.h"
#include "inference/traffic.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <unordered_map>
#include <vector>

namespace ambit::inference::cuda {

// Items that `slots` rows of experts make at most, so many rows each.
constexpr std::size_t expert_items_max(std::size_t slots, std::size_t experts, std::size_t rows) {
  return slots / rows + (slots < experts ? slots : experts);
}

struct BackendOptions {
  std::size_t rows_max = 256;
  std::size_t context_max = 0;          // 0: what the model was made for
  PageType page_type = PageType::bf16;  // of keys and values
  bool fp8_weights = false;             // weights that are floats become 8-bit floats
  bool records = true;
  bool chooses = true;  // tokens are chosen on the device
  bool shares_prefixes = true;
  std::size_t walk_rows = 0;    // 0: as many as fill an item; see plan.h
  std::size_t expert_rows = 0;  // of one expert that go together; 0: by how many it has on average
  Schedule schedule;            // a free one is for measuring alone
  std::size_t pages_max = 0;    // that are ever made; 0: nobody says
  // Of the device, with other models on it; null: it is this model's alone.
  std::shared_ptr<Residency> residency;
  bool parks = true;  // with a residency: the weights may leave the device between steps
};

class CudaBackend final : public Backend, private PageMemory {
 public:
  // exhausted: the model does not fit. unsupported: a shape that the kernels do not have.
  static Result<std::unique_ptr<CudaBackend>> make(const Model& model,
                                                   std::unique_ptr<Device> device,
                                                   BackendOptions options);
  // A second queue of the same device for the same pages: weights are shared, streams and values
  // are its own. `home` outlives it.
  static Result<std::unique_ptr<CudaBackend>> make_lane(CudaBackend& home, std::size_t rows_max);
  ~CudaBackend() override;
  // With a residency, once its lane is there: see Residency::Place. Without one false.
  Result<bool> settle();
  // Where steps begin and end that need the weights; null: they are always there.
  [[nodiscard]] Residency::Place* place() const { return place_.get(); }
  CudaBackend(const CudaBackend&) = delete;
  CudaBackend& operator=(const CudaBackend&) = delete;

  static std::size_t page_bytes(const Config& config, PageType type);

  [[nodiscard]] std::string_view name() const override { return "cuda"; }
  [[nodiscard]] std::size_t page_bytes() const override { return page_bytes_; }
  PageMemory& pages() override { return home_ != nullptr ? home_->pages() : *this; }
  Result<std::unique_ptr<PageTier>> lower_tier(std::size_t host_bytes,
                                               std::unique_ptr<PageTier> disk) override;
  void begin(std::span<const StepRow> rows) override;
  void norm(const std::vector<float>& weight) override;
  void multiply(const Matrix& matrix, Values in, Values out) override;
  void prepare(std::size_t layer) override;
  void attend(std::size_t layer) override;
  void gate(std::size_t layer) override;
  void mix(std::size_t layer) override;
  void add_block(const std::vector<float>& after, const std::vector<float>* next) override;
  std::size_t select(const std::vector<float>& weight) override;
  void finish() override;
  std::span<const float> logits(std::size_t i) override;
  std::span<const float> state(std::size_t i) override;
  [[nodiscard]] std::string failure() const override { return device_->failure(); }
  void wait() override { device_->wait(); }
  bool is_done() override { return device_->is_done(); }
  [[nodiscard]] double read_bandwidth() const override {
    return device_->info().bandwidth_bytes_per_s;
  }
  double joules() override { return device_->joules(); }
  [[nodiscard]] const TrafficCount& traffic() const override { return *traffic_; }
  [[nodiscard]] double operations_per_byte() const override { return 64; }
  [[nodiscard]] std::string device() const override { return "cuda: " + device_->info().name; }
  [[nodiscard]] bool chooses() const override { return options_.chooses; }
  TokenId chosen(std::size_t i) override;

  [[nodiscard]] Device& device() { return *device_; }
  [[nodiscard]] const BackendOptions& options() const { return options_; }
  [[nodiscard]] std::size_t weight_bytes() const { return weight_bytes_; }

 private:
  // An array on the device with a copy here of what it should hold.
  template <class T>
  struct Mirror {
    std::vector<T> host;
    T* device = nullptr;
    std::size_t capacity = 0;
  };
  struct DevicePlan {
    Plan plan;
    Mirror<AttentionItem> few, many;
    Mirror<AttentionRow> rows;
    Mirror<std::uint32_t> first_partial;
    Mirror<std::uint32_t> counts;  // of few, of many
    std::size_t few_padded = 0, many_padded = 0;
  };

  CudaBackend(const Model& model, std::unique_ptr<Device> device, const BackendOptions& options);
  Result<void> load();
  Result<void> load_weights();
  Result<void> load_vectors();
  Result<void> make_buffers();
  Result<void> make_mixture(std::uint8_t gathered, std::uint8_t hidden);
  Result<void> add_matrix(const Matrix& matrix) { return add_matrices({&matrix, 1}); }
  // Of one shape and type, one behind the other; known by the first.
  Result<void> add_matrices(std::span<const Matrix> alike);
  // Of a matrix: in the arena, where there is one.
  template <class T>
  Result<T*> make_weights(std::size_t count);
  [[nodiscard]] Error no_room(std::size_t bytes) const;
  Result<void> add_vector(const std::vector<float>& values);
  template <class T>
  Result<T*> make(std::size_t count);
  template <class T>
  Result<void> make(Mirror<T>& mirror, std::size_t capacity);
  template <class T>
  void send(Mirror<T>& mirror);
  Result<FormView> make_forms(std::size_t width, std::uint8_t forms, std::size_t rows);
  void multiply_by_expert(const Matrix& first, const FormView& in, float* out,
                          const ExpertItems& by_expert);
  void learn_turns(std::size_t positions);
  void send_pages(std::span<const StepRow> rows);
  void send_choices(std::span<const StepRow> rows);
  void make_plan(DevicePlan& of, std::span<const StepRow> rows, std::size_t window);
  [[nodiscard]] const float* vector_of(const std::vector<float>& values) const;
  [[nodiscard]] std::uint64_t recording_key() const;
  [[nodiscard]] bool is_idle() const { return replayed_ || !device_->failure().empty(); }
  std::span<const float> read_row(const float* from, std::size_t count);

  std::byte* make_page(std::size_t bytes) override;
  void copy_page(std::byte* to, const std::byte* from, std::size_t bytes) override;

  const Model& model_;
  std::unique_ptr<Device> device_;
  CudaBackend* home_ = nullptr;  // of a lane: whose weights and pages it uses
  BackendOptions options_;
  std::unique_ptr<Residency::Place> place_;
  std::unique_ptr<Arena> arena_;
  std::vector<std::byte*> owned_;  // on the device
  std::size_t rows_capacity_;
  std::size_t page_bytes_;
  std::size_t layer_bytes_;  // of one layer in a page
  std::size_t weight_bytes_ = 0;
  std::size_t output_bytes_ = 0;  // of these, of the output
  std::size_t expert_bytes_ = 0;  // of these, of experts
  std::unordered_map<const void*, std::vector<WeightView>> matrices_;
  std::unordered_map<const void*, float*> vectors_;
  WeightView embedding_{};
  Matrix own_embedding_;  // while it is loaded

  // Of a mixture of experts. A place is a row of an expert (jobs.h).
  struct Mixture {
    Mirror<std::uint32_t> row_count;  // that are no filling
    float* likes = nullptr;
    std::uint32_t* chosen = nullptr;
    float* shares = nullptr;
    std::uint32_t* places = nullptr;
    ExpertItem* items = nullptr;
    std::uint32_t* item_count = nullptr;
    FormView gathered{};  // [places][width]
    float* answers = nullptr;
  } mixture_;
  float* residual_ = nullptr;
  FormView normed_{}, attended_{}, hidden_{};
  float* qkv_ = nullptr;
  float* projected_ = nullptr;
  float* gate_up_ = nullptr;
  float* logits_ = nullptr;
  std::uint16_t* queries_ = nullptr;
  float* partial_outputs_ = nullptr;
  float* partial_peaks_ = nullptr;
  std::size_t partials_max_ = 0;
  float* turns_ = nullptr;
  float* window_turns_ = nullptr;
  std::size_t turns_known_ = 0;

  Mirror<std::int32_t> tokens_;
  Mirror<std::uint32_t> positions_, tables_, selected_;
  Mirror<std::byte*> page_table_;
  std::vector<std::byte*> page_table_sent_;
  Mirror<Choice> choices_;
  Mirror<std::uint32_t> masks_;
  std::unordered_map<const TokenMask*, std::int32_t> mask_places_;  // of this step, among masks_
  std::int32_t* chosen_ = nullptr;
  std::vector<std::int32_t> chosen_here_;  // of this step, once it was asked for
  bool chooses_now_ = false;
  std::byte* page_slab_ = nullptr;   // pages are made many at a time
  std::size_t pages_in_slab_ = 0;    // that are left
  std::size_t pages_made_ = 0;       // with those that are left
  std::byte* spare_page_ = nullptr;  // of rows that only fill a step up
  Planner planner_;
  DevicePlan full_, windowed_;

  std::size_t rows_ = 0;         // of this step, filled up
  std::size_t logits_rows_ = 0;  // that want logits
  std::size_t logits_padded_ = 0;
  std::size_t selected_rows_ = 0;  // with those that want their state
  bool replayed_ = false;
  bool recording_ = false;
  std::vector<std::vector<float>> read_;  // rows that were asked for in this step
  std::size_t read_count_ = 0;
  std::optional<TrafficCount> traffic_;  // once the weights are there
};

}  // namespace ambit::inference::cuda
