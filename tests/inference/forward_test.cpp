#include "inference/forward.h"

#include "engine_logits.h"
#include "inference/loader.h"
#include "naive_forward.h"
#include "support.h"

#include <catch2/catch.hpp>
#include <nlohmann/json.hpp>

#include <cmath>

namespace ambit::inference {

namespace {

std::vector<TokenId> some_tokens(std::size_t count, std::size_t vocabulary) {
  std::vector<TokenId> tokens;
  for (std::size_t i = 0; i < count; ++i)
    tokens.push_back(static_cast<TokenId>(uniform(9, i, 1) * static_cast<double>(vocabulary)));
  return tokens;
}

double relative_error(const std::vector<float>& ours, const std::vector<double>& theirs) {
  double worst = 0;
  double largest = 0;
  for (std::size_t i = 0; i < ours.size(); ++i) {
    worst = std::max(worst, std::fabs(static_cast<double>(ours[i]) - theirs[i]));
    largest = std::max(largest, std::fabs(theirs[i]));
  }
  return worst / largest;
}

}  // namespace

TEST_CASE("logits agree with the definition in double precision", "[forward]") {
  SynthShape shape;
  shape.vocabulary = 300;
  shape.architecture = GENERATE("llama", "qwen2", "qwen3");
  shape.type = GENERATE(DType::f32, DType::f16);
  shape.tied = shape.architecture != "qwen2";
  shape.rope_factors = shape.architecture == "llama";
  const auto file = synthetic(shape);
  const auto tokens = some_tokens(12, shape.vocabulary);
  const auto ours = engine_logits(file->model(), *usable_kernels()[0], KvType::f32, tokens, 5);
  const auto theirs = naive_logits(file->file(), tokens);
  INFO(shape.architecture << " " << to_string(shape.type));
  for (std::size_t i = 0; i < tokens.size(); ++i) CHECK(relative_error(ours[i], theirs[i]) < 2e-5);
}

TEST_CASE("every family gives the logits of its definition", "[forward]") {
  SynthShape shape;
  shape.vocabulary = 300;
  shape.layers = 6;  // Gemma 3's and SmolLM3's patterns come round
  shape.width = 48;
  shape.hidden = 80;
  shape.architecture = GENERATE("llama", "smollm3", "phi3", "gemma", "gemma2", "gemma3");
  shape.window = 5;
  const auto file = synthetic(shape);
  REQUIRE(file != nullptr);
  const auto tokens = some_tokens(14, shape.vocabulary);
  const auto ours = engine_logits(file->model(), *usable_kernels()[0], KvType::f32, tokens, 4);
  const auto theirs = naive_logits(file->file(), tokens);
  INFO(shape.architecture);
  for (std::size_t i = 0; i < tokens.size(); ++i) CHECK(relative_error(ours[i], theirs[i]) < 5e-5);
}

TEST_CASE("experts give the logits of their definition, however many rows share them",
          "[forward]") {
  SynthShape shape;
  shape.vocabulary = 300;
  shape.width = 256;
  shape.heads = 8;
  shape.head_width = 32;
  shape.hidden = 64;
  shape.experts = 5;
  shape.architecture = GENERATE("llama", "qwen3moe");
  shape.type = GENERATE(DType::f32, DType::q8_0);
  const auto file = synthetic(shape);
  REQUIRE(file != nullptr);
  const auto tokens = some_tokens(30, shape.vocabulary);
  const auto alone = engine_logits(file->model(), *usable_kernels()[0], KvType::f32, tokens, 1);
  const auto theirs = naive_logits(file->file(), tokens);
  INFO(shape.architecture << " " << to_string(shape.type));
  // Rounded inputs may turn a close choice between two experts.
  const bool exact = shape.type == DType::f32;
  int far = 0;
  for (std::size_t i = 0; i < tokens.size(); ++i)
    far += relative_error(alone[i], theirs[i]) < (exact ? 5e-5 : 0.05) ? 0 : 1;
  CHECK(far <= (exact ? 0 : 3));
  for (const std::size_t chunk : {7U, 30U})
    for (const std::size_t threads : {1U, 3U})
      CHECK(engine_logits(file->model(), *usable_kernels()[0], KvType::f32, tokens, chunk,
                          threads) == alone);
}

TEST_CASE("a window reaches back across chunks of attention", "[forward]") {
  SynthShape shape;
  shape.layers = 2;
  shape.vocabulary = 300;
  shape.architecture = GENERATE("gemma2", "phi3");
  shape.window = 40;
  const auto file = synthetic(shape);
  const auto tokens = some_tokens(300, shape.vocabulary);
  const auto ours = engine_logits(file->model(), *usable_kernels()[0], KvType::f32, tokens, 64);
  CHECK(engine_logits(file->model(), *usable_kernels()[0], KvType::f32, tokens, 1) == ours);
  const auto theirs = naive_logits(file->file(), tokens);
  for (const std::size_t i : {39U, 40U, 255U, 256U, 270U, 295U, 296U, 299U})
    CHECK(relative_error(ours[i], theirs[i]) < 5e-5);
}

TEST_CASE("positions are scaled as the file says", "[forward]") {
  SynthShape shape;
  shape.vocabulary = 300;
  shape.rope_scaling = GENERATE("linear", "yarn", "longrope");
  shape.architecture = shape.rope_scaling == "longrope" ? "phi3" : "qwen2";
  shape.context = 256;
  const auto file = synthetic(shape);
  REQUIRE(file != nullptr);
  const auto tokens = some_tokens(24, shape.vocabulary);
  const auto ours = engine_logits(file->model(), *usable_kernels()[0], KvType::f32, tokens, 24);
  const auto theirs = naive_logits(file->file(), tokens);
  INFO(shape.rope_scaling);
  for (std::size_t i = 0; i < tokens.size(); ++i) CHECK(relative_error(ours[i], theirs[i]) < 5e-5);
}

TEST_CASE("sessions that stay within the first training's context have its short factors",
          "[forward]") {
  SynthShape shape;
  shape.vocabulary = 300;
  shape.rope_scaling = "longrope";
  shape.architecture = "phi3";
  shape.context = 256;  // of 64 at first
  const auto whole = synthetic(shape);
  const auto beyond = synthetic(shape, 65);
  const auto within = synthetic(shape, 64);
  REQUIRE(whole != nullptr);
  REQUIRE(beyond != nullptr);
  REQUIRE(within != nullptr);
  CHECK(within->model().config.context == 64);
  const auto tokens = some_tokens(24, shape.vocabulary);
  const auto logits = [&](const ModelFile& file) {
    return engine_logits(file.model(), *usable_kernels()[0], KvType::f32, tokens, 24);
  };
  CHECK(logits(*beyond) == logits(*whole));
  const auto ours = logits(*within);
  const auto theirs = naive_logits(within->file(), tokens, true);
  for (std::size_t i = 0; i < tokens.size(); ++i) CHECK(relative_error(ours[i], theirs[i]) < 5e-5);
  // What computes other bits is another model to whoever replays.
  CHECK(beyond->identity() == whole->identity());
  CHECK(within->identity() == whole->identity() + "+short-rope");
}

TEST_CASE("rounded weights give logits close to those of the same weights in double precision",
          "[forward]") {
  SynthShape shape;
  shape.vocabulary = 300;
  shape.width = 256;
  shape.hidden = 256;
  shape.heads = 8;
  shape.head_width = 32;
  shape.type =
      GENERATE(DType::bf16, DType::q8_0, DType::q4_0, DType::q4_k, DType::q5_k, DType::q6_k);
  const auto file = synthetic(shape);
  REQUIRE(file != nullptr);
  const auto tokens = some_tokens(6, shape.vocabulary);
  const auto ours = engine_logits(file->model(), *usable_kernels()[0], KvType::f32, tokens, 6);
  const auto theirs = naive_logits(file->file(), tokens);
  INFO(to_string(shape.type));
  // The inputs are rounded, too: that is all the difference.
  for (std::size_t i = 0; i < tokens.size(); ++i) CHECK(relative_error(ours[i], theirs[i]) < 0.03);
}

TEST_CASE("logits agree beyond one chunk of attention, with odd shapes", "[forward]") {
  SynthShape shape;
  shape.layers = 1;
  shape.width = 48;
  shape.heads = 6;
  shape.kv_heads = 2;
  shape.hidden = 80;
  shape.vocabulary = 309;
  const auto file = synthetic(shape);
  const auto tokens = some_tokens(300, shape.vocabulary);
  const auto ours = engine_logits(file->model(), *usable_kernels()[0], KvType::f32, tokens, 64);
  const auto halves = engine_logits(file->model(), *usable_kernels()[0], KvType::f16, tokens, 64);
  const auto levels = engine_logits(file->model(), *usable_kernels()[0], KvType::q8, tokens, 64);
  const auto theirs = naive_logits(file->file(), tokens);
  for (const std::size_t i : {0U, 15U, 31U, 32U, 255U, 256U, 299U}) {
    CHECK(relative_error(ours[i], theirs[i]) < 2e-5);
    CHECK(relative_error(halves[i], theirs[i]) < 5e-3);
    CHECK(relative_error(levels[i], theirs[i]) < 2e-2);
  }
}

TEST_CASE("all instruction sets give the same bits", "[forward][invariance]") {
  SynthShape shape;
  shape.type = GENERATE(DType::f32, DType::f16, DType::bf16, DType::q8_0, DType::q4_k);
  if (block_elements(shape.type) == 256) {
    shape.width = shape.hidden = 256;
    shape.head_width = 64;
  }
  shape.kv_heads = 1;
  const KvType kv = shape.type == DType::f16 ? KvType::f32 : KvType::f16;
  const auto file = synthetic(shape);
  const auto tokens = some_tokens(40, shape.vocabulary);
  const auto sets = usable_kernels();
  const auto plain = engine_logits(file->model(), *sets.back(), kv, tokens, 9);
  for (const Kernels* other : sets) {
    if (other->name == "amx" && shape.type == DType::bf16) continue;  // adds in its own order
    INFO(other->name << " against plain, " << to_string(shape.type));
    CHECK(engine_logits(file->model(), *other, kv, tokens, 9) == plain);
  }
}

TEST_CASE("chunks and threads change no bit of the logits", "[forward][invariance]") {
  SynthShape shape;
  shape.type = GENERATE(DType::f16, DType::bf16, DType::q4_0);
  shape.kv_heads = 4;
  const KvType kv = shape.type == DType::f16 ? KvType::f16 : KvType::q8;
  const auto file = synthetic(shape);
  const auto tokens = some_tokens(280, shape.vocabulary);
  const auto alone = engine_logits(file->model(), *usable_kernels()[0], kv, tokens, 1);
  for (const std::size_t chunk : {7U, 64U, 280U})
    for (const std::size_t threads : {1U, 3U})
      CHECK(engine_logits(file->model(), *usable_kernels()[0], kv, tokens, chunk, threads) ==
            alone);
}

TEST_CASE("the project's own model gives the logits of its trainer", "[forward]") {
  const std::string folder = PROJECT_ROOT "/examples/model/";
  const auto text = read_text(folder + "reference.json");
  const auto file = ModelFile::open(folder + "ambit-desk.gguf");
  if (!text || !file) {
    WARN("skipped: " + folder + " has no ambit-desk.gguf with reference.json");
    return;
  }
  for (const auto& each : nlohmann::ordered_json::parse(*text)) {
    const auto tokens = each["tokens"].get<std::vector<TokenId>>();
    CHECK((*file)->tokenizer().encode(each["text"].get<std::string>()) == tokens);
    const auto logits =
        engine_logits((*file)->model(), *usable_kernels()[0], KvType::f32, tokens, 64);
    CHECK(relative_error(logits.back(), each["logits"].get<std::vector<double>>()) < 1e-3);
    std::vector<TokenId> all = tokens;
    for (const TokenId expected : each["greedy"].get<std::vector<TokenId>>()) {
      const auto last =
          engine_logits((*file)->model(), *usable_kernels()[0], KvType::f32, all, 64).back();
      CHECK(Sampler().sample(last, nullptr, all, {}) == expected);
      all.push_back(expected);
    }
  }
}

}  // namespace ambit::inference
