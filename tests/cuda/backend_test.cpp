// The whole forward pass through the GPU's back end, run by the shim: logits close to the CPU's,
// and the same bits as itself whatever the schedule.

#include "texts.h"

#include <catch2/catch.hpp>

#include <algorithm>

namespace ambit::inference::cuda {

namespace {

Logits on_cpu(const ModelFile& file, const std::vector<TokenId>& tokens) {
  Pool pool(1);
  Forward forward(file.model(), *usable_kernels().back(), pool, KvType::f32, tokens.size());
  return whole_text(forward, tokens, tokens.size());
}

double worst(const Logits& ours, const Logits& theirs) {
  double worst = 0;
  for (std::size_t i = 0; i < ours.size(); ++i)
    worst = std::max(worst, worst_error(ours[i], theirs[i]));
  return worst;
}

}  // namespace

TEST_CASE("every family's logits are close to the CPU's", "[backend]") {
  const std::string family =
      GENERATE("llama", "qwen2", "qwen3", "smollm3", "phi3", "gemma", "gemma2", "gemma3");
  // Weights without rounding: what is left is the rounding of queries, keys, values and weights of
  // attention to bfloat16.
  SynthShape shape = small(family, DType::f32);
  shape.layers = family == "gemma3" || family == "smollm3" ? 6 : 2;
  shape.window = family.starts_with("gemma") ? 5 : 0;
  shape.tied = family != "qwen2";
  const auto file = model_of(shape);
  const auto tokens = some_tokens(14, 2);
  const auto forward = on_shim(*file, schedule(51));
  INFO(family);
  CHECK(worst(whole_text(*forward, tokens, 9), on_cpu(*file, tokens)) < 0.03);
}

TEST_CASE("every type of weight gives logits close to the CPU's", "[backend]") {
  const DType type = GENERATE(DType::f32, DType::f16, DType::q8_0, DType::q4_0, DType::q4_k);
  const auto file = model_of(small("llama", type));
  const auto tokens = some_tokens(6, 3);
  const auto forward = on_shim(*file);
  INFO(to_string(type));
  CHECK(worst(whole_text(*forward, tokens, 6), on_cpu(*file, tokens)) < 0.03);
}

TEST_CASE("8-bit weights and 8-bit pages give logits near those of what they were made of",
          "[backend]") {
  const auto file = model_of(small("llama", DType::bf16));
  const auto tokens = some_tokens(12, 4);
  BackendOptions options;
  options.fp8_weights = true;
  options.page_type = PageType::fp8;
  ShimOptions shim;
  shim.architecture = GENERATE(80U, 90U);
  const auto forward = on_shim(*file, shim, options);
  CHECK(worst(whole_text(*forward, tokens, 12), on_cpu(*file, tokens)) < 0.25);
}

TEST_CASE("a session has the same bits alone, in a batch, in chunks, cached and permuted",
          "[backend]") {
  const DType type = GENERATE(DType::bf16, DType::q8_0);
  const bool fp8 = type == DType::bf16 && GENERATE(false, true);
  const unsigned architecture = type == DType::bf16 ? GENERATE(80U, 90U) : 80U;
  const auto device = [&](ShimOptions shim) {
    shim.architecture = architecture;
    shim.processors = 3;
    return shim;
  };
  SynthShape shape = small("qwen3", type);
  shape.layers = 1;
  const auto file = model_of(shape);
  BackendOptions options;
  options.fp8_weights = fp8;
  options.page_type = fp8 ? PageType::fp8 : PageType::bf16;
  const auto trunk = some_tokens(288, 5);  // one whole chunk of pages and a part
  auto a = trunk;
  auto b = trunk;
  for (const TokenId token : some_tokens(9, 6)) a.push_back(token);
  for (const TokenId token : some_tokens(11, 7)) b.push_back(token);
  const auto plain = on_shim(*file, device({}), options);
  Text first(*plain, a);
  while (first.done < 290) step(*plain, {{&first, 128}});
  const Logits expected = first.logits;
  INFO(to_string(type) << (fp8 ? " with 8-bit weights and pages" : "") << " on " << architecture);
  const auto same = [&](const Logits& other) {
    std::size_t equal = 0;
    for (std::size_t i = 0; i < std::min(expected.size(), other.size()); ++i)
      if (!expected[i].empty() && !other[i].empty()) {
        CHECK(same_bits(other[i], expected[i]));
        ++equal;
      }
    return equal;
  };
  SECTION("in other chunks, with another schedule of products and an order drawn by chance") {
    const auto forward = on_shim(*file, device(schedule(61, 0)), options);
    Text text(*forward, a);
    for (const std::size_t count : {37U, 100U, 1U, 63U, 87U, 5U, 4U})
      step(*forward, {{&text, count}});
    CHECK(same(text.logits) == 297);
  }
  SECTION("in a batch that shares the pages of the beginning, one token at a time") {
    const auto forward = on_shim(*file, device(schedule(62)), options);
    Text text(*forward, trunk);
    while (text.done < trunk.size()) step(*forward, {{&text, 96}});
    Text one(*forward, a, &text, trunk.size());
    Text other(*forward, b, &text, trunk.size());
    for (int i = 0; i < 9; ++i) step(*forward, {{&other, 1}, {&one, 1}});
    CHECK(same(one.logits) == 9);
    CHECK(same(text.logits) == 288);
    const Traffic& traffic = forward->backend().traffic().totals();
    CHECK(traffic.kv_bytes < traffic.kv_bytes_unshared);
    CHECK(traffic.replayed_steps > 5);
  }
  SECTION("as a draft of several tokens, without recording, with pages that nobody shares") {
    options.records = false;
    options.shares_prefixes = false;
    options.walk_rows = 3;
    const auto forward = on_shim(*file, device({}), options);
    Text text(*forward, a);
    Text beside(*forward, b);
    for (int i = 0; i < 4; ++i) step(*forward, {{&beside, 20}, {&text, 72}});
    step(*forward, {{&text, 4}, {&beside, 1}});
    step(*forward, {{&text, 5}});
    CHECK(same(text.logits) == 297);
  }
}

TEST_CASE("states are read as logits are", "[backend]") {
  const auto file = model_of(small("llama", DType::bf16));
  const auto forward = on_shim(*file);
  const auto tokens = some_tokens(3, 8);
  Text text(*forward, tokens);
  std::vector<StepRow> rows;
  for (std::size_t i = 0; i < 3; ++i)
    rows.push_back({tokens[i], i, text.pages.data(), i == 1, i != 1});
  forward->run(rows);
  Pool pool(1);
  Forward cpu(file->model(), *usable_kernels().back(), pool, KvType::f32, 3);
  Text same(cpu, tokens);
  for (StepRow& row : rows) row.pages = same.pages.data();
  cpu.run(rows);
  const auto copy = [](std::span<const float> values) {
    return std::vector<float>(values.begin(), values.end());
  };
  CHECK(worst_error(copy(forward->logits(0)), copy(cpu.logits(0))) < 0.03);
  for (const std::size_t i : {0U, 1U})
    CHECK(worst_error(copy(forward->state(i)), copy(cpu.state(i))) < 0.03);
}

TEST_CASE("a model that does not fit is refused with the reason", "[backend]") {
  const auto file = model_of(small("llama", DType::bf16));
  ShimOptions shim;
  shim.memory_bytes = 100'000;
  const auto made = CudaBackend::make(file->model(), make_shim(shim), {});
  REQUIRE_FALSE(made);
  CHECK(made.error().code == Code::exhausted);
  CHECK(made.error().message.find("the GPU has no room for") == 0);
}

}  // namespace ambit::inference::cuda
