// Mixtures of experts through the GPU's back end, run by the shim: the CPU's experts and states
// close to its, and the same bits as itself whatever the schedule.

#include "inference/cpu/backend.h"
#include "inference/cuda/simt.h"
#include "inference/wrapped_backend.h"
#include "texts.h"

#include <catch2/catch.hpp>

#include <algorithm>
#include <cmath>
#include <numeric>

namespace ambit::inference::cuda {

namespace {

SynthShape mixture(const std::string& architecture, DType type, std::size_t experts = 5) {
  SynthShape shape = small(architecture, type);
  shape.experts = experts;
  return shape;
}

// What a layer's router says of a row.
struct Likes {
  std::vector<float> of;            // each expert
  std::vector<std::uint32_t> best;  // two, by number
  double margin = 1;                // between the last one taken and the next, of the largest like
};
Likes likes_of(const Matrix& router, std::size_t experts, const std::vector<float>& row) {
  const Segment& segment = router.segments[0];
  REQUIRE(segment.type == DType::f32);
  Likes likes;
  for (std::size_t expert = 0; expert < experts; ++expert) {
    const auto* panel = reinterpret_cast<const float*>(segment.panels.data() +
                                                       expert / panel_rows * segment.panel_bytes);
    double sum = 0;
    for (std::size_t d = 0; d < row.size(); ++d)
      sum += double{panel[d * panel_rows + expert % panel_rows]} * double{row[d]};
    likes.of.push_back(static_cast<float>(sum));
  }
  std::vector<std::uint32_t> order(experts);
  std::iota(order.begin(), order.end(), 0U);
  std::sort(order.begin(), order.end(),
            [&](std::uint32_t a, std::uint32_t b) { return likes.of[a] > likes.of[b]; });
  likes.best = {std::min(order[0], order[1]), std::max(order[0], order[1])};
  if (experts > 2) {
    const float most = std::max(std::fabs(likes.of[order[0]]), std::fabs(likes.of[order.back()]));
    likes.margin = double{likes.of[order[1]] - likes.of[order[2]]} / double{most};
  }
  return likes;
}

// A back end, and what the router of each layer reads: the residual's norm, once more as a state.
class RoutedBackend final : public WrappedBackend {
 public:
  RoutedBackend(const Model& model, std::unique_ptr<Backend> wrapped)
      : WrappedBackend(std::move(wrapped)), model_(model) {}
  void begin(std::span<const StepRow> rows) override {
    routed.assign(rows.size(), {});
    inner().begin(rows);
  }
  void mix(std::size_t layer) override {
    inner().select(model_.layers[layer].feed_forward_norm);
    inner().wait();
    for (std::size_t i = 0; i < routed.size(); ++i) {
      const auto read = inner().state(i);
      routed[i].emplace_back(read.begin(), read.end());
    }
    inner().mix(layer);
  }

  std::vector<std::vector<std::vector<float>>> routed;  // [row of the step][layer]

 private:
  const Model& model_;
};

// Reads a text and keeps, of each position, what each layer's router read and the state.
struct Reader {
  const Model& model;
  RoutedBackend& on;
  Forward forward;
  std::vector<std::byte*> pages;
  std::vector<std::vector<std::vector<float>>> routed;
  std::vector<std::vector<float>> states;

  Reader(const Model& of, std::unique_ptr<Backend> backend)
      : Reader(of, std::make_unique<RoutedBackend>(of, std::move(backend))) {}
  Reader(const Model& of, std::unique_ptr<RoutedBackend> backend)
      : model(of), on(*backend), forward(of, std::move(backend), 128) {
    pages.push_back(on.pages().make_page(forward.page_bytes()));
  }
  void read(std::span<const TokenId> tokens) {
    std::vector<StepRow> rows;
    for (const TokenId token : tokens)
      rows.push_back({token, states.size() + rows.size(), pages.data(), false, true});
    REQUIRE(states.size() + rows.size() <= page_tokens);
    forward.run(rows);
    INFO(on.failure());
    REQUIRE(on.failure().empty());
    for (std::size_t i = 0; i < rows.size(); ++i) {
      routed.push_back(on.routed[i]);
      const auto state = forward.state(i);
      states.emplace_back(state.begin(), state.end());
    }
  }
  [[nodiscard]] Likes likes(std::size_t position, std::size_t layer) const {
    return likes_of(model.layers[layer].experts.router, model.config.experts,
                    routed[position][layer]);
  }
};

// Tokens by chance, but none that some layer would send to other experts if its likes were off by
// half of this part of the largest.
std::vector<TokenId> clear_text(Reader& reader, std::size_t count, double margin) {
  std::vector<TokenId> text;
  for (std::size_t drawn = 0; text.size() < count; ++drawn) {
    REQUIRE(drawn < 100 * count);
    const auto token = static_cast<TokenId>(uniform(9, drawn, 1) * 300);
    reader.read({&token, 1});
    double least = 1;
    for (std::size_t layer = 0; layer < reader.model.layers.size(); ++layer)
      least = std::min(least, reader.likes(text.size(), layer).margin);
    if (least > margin) {
      text.push_back(token);
    } else {
      reader.routed.pop_back();
      reader.states.pop_back();
    }
  }
  return text;
}

// Makes the weights what E4M3 with a channel's scale holds: each channel 448 times a power of two
// at most, and that once. So the CPU computes with what the device makes of them.
void round_to_fp8(Matrix& matrix) {
  for (Segment& segment : matrix.segments) {
    REQUIRE(segment.type == DType::bf16);
    for (std::size_t i = 0; i < segment.panel_count * panel_rows; ++i) {
      auto* panel = reinterpret_cast<std::uint16_t*>(segment.panels.data() +
                                                     i / panel_rows * segment.panel_bytes);
      const auto weight = [&](std::size_t input) -> std::uint16_t& {
        return panel[input / 32 * 512 + input % 32 / 2 * 32 + i % panel_rows * 2 + input % 2];
      };
      std::size_t largest = 0;
      for (std::size_t input = 0; input < matrix.inputs; ++input)
        if (std::fabs(bf16_to_float(weight(input))) > std::fabs(bf16_to_float(weight(largest))))
          largest = input;
      const float most = bf16_to_float(weight(largest));
      if (most == 0) continue;
      const float step = std::exp2(std::ceil(std::log2(std::fabs(most) / 448.0F)));
      for (std::size_t input = 0; input < matrix.inputs; ++input)
        weight(input) =
            float_to_bf16(fp8_to_float(float_to_fp8(bf16_to_float(weight(input)) / step)) * step);
      weight(largest) = float_to_bf16(std::copysign(448.0F * step, most));
    }
  }
}

}  // namespace

TEST_CASE("a mixture's rows take the CPU's experts and come to states close to its", "[backend]") {
  // Of whole numbers both architectures have the same products. Inputs that are rounded to levels
  // take a row of so small a model further off.
  struct Case {
    DType type;
    bool fp8;
    unsigned architecture;
    double near;
  };
  const auto [type, fp8, architecture, near] =
      GENERATE(Case{DType::f32, false, 80, 0.04}, Case{DType::bf16, false, 80, 0.04},
               Case{DType::bf16, false, 90, 0.04}, Case{DType::bf16, true, 80, 0.04},
               Case{DType::bf16, true, 90, 0.04}, Case{DType::q8_0, false, 80, 0.1},
               Case{DType::q4_k, false, 80, 0.1});
  const bool chooses = GENERATE(false, true);  // each row takes two experts
  SynthShape shape = mixture(chooses ? "qwen3moe" : "llama", type, chooses ? 5 : 2);
  shape.tied = !chooses;
  const auto file = model_of(shape);
  const Model& model = file->model();
  if (fp8) {
    // Nobody has used them yet.
    for (const Layer& layer : model.layers) {
      for (const Matrix* matrix : {&layer.qkv, &layer.attention_out})
        round_to_fp8(const_cast<Matrix&>(*matrix));
      for (const auto* matrices : {&layer.experts.gate_up, &layer.experts.down})
        for (const Matrix& matrix : *matrices) round_to_fp8(const_cast<Matrix&>(matrix));
    }
  }
  INFO(to_string(type) << (fp8 ? " as fp8" : "") << " on " << architecture << ", " << shape.experts
                       << " experts");
  Pool pool(1);
  Reader cpu(model, std::make_unique<CpuBackend>(model, *usable_kernels().back(), pool, KvType::f32,
                                                 std::size_t{1}));
  // What rounding adds may turn a close choice: no token of the text has one.
  const std::vector<TokenId> tokens = clear_text(cpu, 13, 2 * near);
  ShimOptions shim = schedule(71);
  shim.architecture = architecture;
  BackendOptions options;
  options.rows_max = 128;
  options.fp8_weights = fp8;
  options.records = false;  // so that what a layer reads can be looked at
  auto backend = CudaBackend::make(model, test_device(shim), options);
  REQUIRE(backend);
  Reader gpu(model, std::move(*backend));
  gpu.read({tokens.data(), 11});
  gpu.read({tokens.data() + 11, 2});
  double worst_likes = 0;
  double worst_state = 0;
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    for (std::size_t layer = 0; layer < model.layers.size(); ++layer) {
      const Likes ours = gpu.likes(i, layer);
      const Likes theirs = cpu.likes(i, layer);
      worst_likes = std::max(worst_likes, worst_error(ours.of, theirs.of));
      CHECK(ours.best == theirs.best);
    }
    worst_state = std::max(worst_state, worst_error(gpu.states[i], cpu.states[i]));
  }
  CHECK(worst_likes < near);
  CHECK(worst_state < near);
}

TEST_CASE("a mixture's session has the same bits alone, in a batch, in chunks and recorded",
          "[backend]") {
  const DType type = GENERATE(DType::bf16, DType::q8_0);
  const unsigned architecture = GENERATE(80U, 90U);
  const auto file = model_of(mixture("qwen3moe", type));
  const auto a = some_tokens(35, 10);
  const auto b = some_tokens(60, 11);
  const auto device = [&](std::uint64_t seed) {
    ShimOptions shim = schedule(seed);
    shim.architecture = architecture;
    return shim;
  };
  BackendOptions options;
  const auto plain = on_shim(*file, device(0), options);
  const Logits expected = whole_text(*plain, a, 1);
  CHECK(plain->backend().traffic().totals().replayed_steps == 34);
  INFO(to_string(type) << " on " << architecture);
  const auto same = [&](const Logits& other) {
    for (std::size_t i = 0; i < expected.size(); ++i) CHECK(same_bits(other[i], expected[i]));
  };
  // In chunks that fill no tile evenly, rows of an expert in items of every size.
  const std::vector<std::size_t> sizes =
      type == DType::bf16 ? std::vector<std::size_t>{8, 128} : std::vector<std::size_t>{32, 64};
  for (const std::size_t rows : sizes) {
    INFO("items of " << rows);
    options.expert_rows = rows;
    const auto forward = on_shim(*file, device(72), options);
    Text text(*forward, a);
    for (const std::size_t count : {3U, 25U, 1U, 6U}) step(*forward, {{&text, count}});
    same(text.logits);
  }
  options.expert_rows = 0;
  // Beside another, which takes the experts' rows before its own or after them.
  for (const bool records : {false, true}) {
    INFO((records ? "recorded" : "not recorded"));
    options.records = records;
    const auto forward = on_shim(*file, device(73), options);
    Text text(*forward, a);
    Text beside(*forward, b);
    step(*forward, {{&beside, 40}, {&text, 28}});
    step(*forward, {{&text, 5}, {&beside, 9}});
    step(*forward, {{&beside, 1}, {&text, 1}});
    step(*forward, {{&text, 1}, {&beside, 1}});
    same(text.logits);
  }
}

TEST_CASE("a step of a mixture reads the experts that its rows find, as far as chance tells",
          "[backend]") {
  const auto file = model_of(mixture("qwen3moe", DType::f32));
  const auto forward = on_shim(*file);
  const auto tokens = some_tokens(61, 12);
  const auto& backend = static_cast<CudaBackend&>(forward->backend());
  const auto all = static_cast<double>(backend.weight_bytes());
  const double experts = weight_bytes(file->model()).experts;
  REQUIRE(experts > all / 4);
  Text text(*forward, tokens);
  step(*forward, {{&text, 1}});
  const double one = backend.traffic().totals().weight_bytes;
  CHECK(one == Approx(all - 0.6 * experts));
  step(*forward, {{&text, 60}});
  CHECK(backend.traffic().totals().weight_bytes - one == Approx(all));
}

}  // namespace ambit::inference::cuda
