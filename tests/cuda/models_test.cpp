// Several models on one device that does not hold them all: whole turns on the shim, whose memory
// is poisoned where a model's weights are away. What is said, and every logit, is what each model
// says alone.

#include "async/loop.h"
#include "async/scope.h"
#include "inference/cuda/backend.h"
#include "inference/cuda/far_lane.h"
#include "inference/decoder.h"
#include "inference/engine.h"
#include "inference/waiting_poller.h"
#include "support.h"

#include <catch2/catch.hpp>

#include <algorithm>
#include <atomic>
#include <limits>
#include <map>

namespace ambit::inference::cuda {

namespace {

using Said = std::map<std::pair<std::size_t, std::size_t>, std::vector<float>>;  // turn, position

struct Outcome {
  std::map<std::size_t, std::string> texts;
  Said logits;
  std::vector<std::string> errors;
};

std::shared_ptr<const ModelFile> model_number(std::size_t i) {
  SynthShape shape;
  shape.type = i == 1 ? DType::q8_0 : DType::bf16;
  shape.layers = 1 + i;
  shape.width = 32;
  shape.hidden = i == 2 ? 96 : 64;
  shape.heads = 2;
  shape.kv_heads = 1;
  shape.vocabulary = 300;
  shape.context = 512;
  shape.seed = 10 + i;
  shape.tied = i != 1;
  return model_of(shape);
}

// Where several models are.
struct SharedGpu {
  std::shared_ptr<ShimMemory> memory = std::make_shared<ShimMemory>();
  std::atomic<std::int64_t> now_us = 0;
  std::shared_ptr<Residencies> residencies =
      std::make_shared<Residencies>([this] { return now_us += 10; });
  std::size_t memory_bytes = std::size_t{1} << 30U;
  std::size_t host_bytes = std::size_t{1} << 30U;
  std::uint64_t seed = 0;  // 0: everything at once, in order
  std::vector<std::string> warnings;

  EngineOptions options() {
    EngineOptions how;
    how.device = "cuda";
    how.batch_max = 4;
    how.step_tokens_max = 24;
    how.kv_bytes = 200'000;
    how.open_device = [this](unsigned) -> Result<std::unique_ptr<Device>> {
      ShimOptions shim;  // threads in their order: what is looked at is the order of whole kernels
      shim.memory = memory;
      shim.memory_bytes = memory_bytes;
      shim.host_bytes = host_bytes;
      if (seed != 0) shim.queues = std::make_shared<ShimQueues>(seed);
      return make_shim(shim);
    };
    how.residencies = residencies;
    how.warn = [this](const std::string& what) { warnings.push_back(what); };
    return how;
  }
  // So that models can have exactly so much.
  void hold(std::size_t bytes) {
    memory_bytes = bytes;
    while (memory_bytes - memory_bytes / 32 < bytes) ++memory_bytes;
  }
};

struct Sizes {
  std::size_t booked = 0;
  std::vector<std::size_t> weights;
  [[nodiscard]] std::size_t largest() const {
    return *std::max_element(weights.begin(), weights.end());
  }
  [[nodiscard]] std::size_t all() const {
    std::size_t sum = 0;
    for (const std::size_t each : weights) sum += each;
    return sum;
  }
};

Sizes sizes_of(const std::vector<std::shared_ptr<const ModelFile>>& files) {
  SharedGpu ground;
  Sizes sizes;
  for (const auto& file : files) {
    const auto decoder = Decoder::make(file, ground.options());
    REQUIRE(decoder);
    const Residency::Stats stats = (*decoder)->stats().residency;
    sizes.booked += stats.booked_bytes;
    sizes.weights.push_back(stats.weight_bytes);
    CHECK(stats.weight_bytes > 1000);
  }
  CHECK(ground.memory->used == 0);
  return sizes;
}

agents::TurnRequest turn_number(std::size_t i) {
  agents::TurnRequest request;
  request.session = "s" + std::to_string(i % 3);
  request.tokens_max = 5;
  request.sampling.temperature = i % 2 == 0 ? 0.0 : 0.9;
  request.sampling.seed = i;
  request.priority = static_cast<int>(i % 2);
  request.messages = {{agents::Role::user,
                       "look at report " + std::string(i * 11 % 60 + 1, static_cast<char>('a' + i)),
                       {},
                       "",
                       ""}};
  return request;
}

// A model's decoder, and what it has said.
struct Speaker {
  std::unique_ptr<Decoder> decoder;
  Outcome outcome;
  std::map<std::uint64_t, std::size_t> open;

  void start(const std::shared_ptr<const ModelFile>& file, EngineOptions options) {
    auto made = Decoder::make(file, std::move(options));
    INFO((made ? "" : made.error().message));
    REQUIRE(made);
    decoder = std::move(*made);
    decoder->scheduler().set_observer(
        [this](std::uint64_t id, std::size_t position, std::span<const float> logits) {
          outcome.logits[{open.at(id), position}].assign(logits.begin(), logits.end());
        });
  }
  void ask(std::size_t turn) {
    const auto id = decoder->submit(turn_number(turn));
    REQUIRE(id);
    open[*id] = turn;
  }
  // Whether it did anything.
  bool step() {
    Decoder::Progress progress;
    decoder->step(progress);
    for (auto& [id, turn] : progress.ended) {
      if (turn)
        outcome.texts[open.at(id)] = turn->message.content;
      else
        outcome.errors.push_back(turn.error().message);
    }
    return decoder->idle() || decoder->can_step();
  }
  // All that it was asked; nobody keeps it from that.
  void finish() {
    while (!decoder->idle()) REQUIRE(step());
  }
  void answer(std::size_t turn) {
    ask(turn);
    finish();
  }
};

// Two models on a device that has room for the weights of the larger one, or of both.
struct TwoModels {
  std::vector<std::shared_ptr<const ModelFile>> files = {model_number(0), model_number(1)};
  Sizes sizes = sizes_of(files);
  SharedGpu ground;
  Speaker speakers[2];

  explicit TwoModels(bool fit = false) {
    ground.hold(sizes.booked + (fit ? sizes.all() : sizes.largest()));
  }
  void start(std::size_t i) { speakers[i].start(files[i], ground.options()); }
  void start_both() {
    start(0);
    start(1);
  }
};

Outcome said_alone(const std::shared_ptr<const ModelFile>& file, std::size_t turns) {
  SharedGpu ground;
  EngineOptions options = ground.options();
  options.residencies = nullptr;
  Speaker speaker;
  speaker.start(file, options);
  for (std::size_t i = 0; i < turns; ++i) speaker.answer(i);
  REQUIRE(speaker.outcome.texts.size() == turns);
  return std::move(speaker.outcome);
}

bool same_outcome(const Outcome& one, const Outcome& other) {
  const bool same = one.texts == other.texts && one.logits == other.logits;
  for (const auto& [key, logits] : one.logits)
    shim_tally().equal_values += same ? logits.size() : 0;
  return same && other.errors.empty();
}

}  // namespace

TEST_CASE("models that take turns on a device say what each says alone", "[models]") {
  constexpr std::size_t turns = 6;
  std::uint64_t swaps = 0;
  std::uint64_t yields = 0;
  std::vector<std::shared_ptr<const ModelFile>> files;
  std::vector<Outcome> expected;
  for (const std::size_t count : {2U, 3U}) {
    for (std::size_t i = files.size(); i < count; ++i) {
      files.push_back(model_number(i));
      expected.push_back(said_alone(files.back(), turns));
    }
    const Sizes sizes = sizes_of(files);
    for (std::uint64_t seed = 1; seed <= (count == 2 ? 4U : 2U); ++seed) {
      SharedGpu ground;
      ground.seed = seed;
      // Room for one, or for all but a byte.
      ground.hold(sizes.booked + (seed % 2 == 0 ? sizes.all() - 1 : sizes.largest()));
      std::vector<Speaker> speakers(count);
      for (std::size_t i = 0; i < count; ++i) speakers[i].start(files[i], ground.options());
      REQUIRE(ground.warnings.size() == 1);
      CHECK_THAT(ground.warnings[0], Catch::Contains("do not fit there at once"));
      std::uint64_t drawn = 0;
      const auto chance = [&](std::size_t below) {
        const double u = uniform(seed + 50, ++drawn, 1);
        return std::min(below - 1, static_cast<std::size_t>(u * static_cast<double>(below)));
      };
      std::vector<std::size_t> asked(count, 0);
      std::size_t blocked = 0;
      for (std::size_t rounds = 0;; ++rounds) {
        REQUIRE(rounds < 20'000);  // nobody starves
        const std::size_t i = chance(count);
        Speaker& one = speakers[i];
        if (asked[i] < turns && chance(4) == 0) one.ask(asked[i]++);
        if (!one.decoder->idle() && !one.step()) ++blocked;
        CHECK(ground.memory->used <= ground.memory_bytes - ground.memory_bytes / 32);
        bool is_over = true;
        for (std::size_t k = 0; k < count; ++k)
          is_over = is_over && asked[k] == turns && speakers[k].decoder->idle();
        if (is_over) break;
      }
      INFO(count << " models, seed " << seed);
      CHECK(blocked > 0);
      for (std::size_t i = 0; i < count; ++i) {
        CHECK(same_outcome(expected[i], speakers[i].outcome));
        const EngineStats stats = speakers[i].decoder->stats();
        CHECK(stats.residency.is_shared);
        CHECK(stats.residency.swapped_bytes == stats.residency.swaps * sizes.weights[i]);
        // It comes no more often than it begins to have something to do, or its slices end.
        CHECK(stats.residency.swaps <= turns + stats.residency.yields);
        CHECK(stats.residency.yields <= stats.scheduler.steps);
        CHECK(stats.scheduler.prompt_passes > 0);
        swaps += stats.residency.swaps;
        yields += stats.residency.yields;
      }
    }
  }
  CHECK(swaps > 16);
  CHECK(yields > 3);
}

TEST_CASE("models that fit together on a device are never moved", "[models]") {
  TwoModels two(true);
  two.start_both();
  CHECK(two.ground.warnings.empty());
  CHECK(two.ground.memory->host_used == 0);
  for (std::size_t turn = 0; turn < 4; ++turn) two.speakers[turn % 2].answer(turn);
  for (const Speaker& speaker : two.speakers) {
    CHECK(speaker.decoder->stats().residency.swaps == 0);
    CHECK_FALSE(speaker.decoder->stats().residency.is_shared);
    CHECK(speaker.outcome.texts.size() == 2);
  }
}

TEST_CASE("a model that does not fit beside what the others have for good is refused", "[models]") {
  TwoModels two;
  auto& [files, sizes, ground, speakers] = two;
  two.start(0);
  const std::size_t used = ground.memory->used;
  EngineOptions greedy = ground.options();
  greedy.kv_bytes += sizes.largest();
  const auto refused = Decoder::make(files[1], greedy);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == Code::exhausted);
  CHECK_THAT(refused.error().message, Catch::Contains("kvCache.memory of all models"));
  // So is one that would fit, where the host has no memory for those that wait.
  ground.host_bytes = sizes.all() - 1;
  const auto copyless = Decoder::make(files[1], ground.options());
  REQUIRE_FALSE(copyless);
  CHECK_THAT(copyless.error().message, Catch::Contains("no pinned memory"));
  speakers[0].answer(0);
  CHECK(speakers[0].outcome.texts.size() == 1);
  CHECK(ground.memory->used >= used);
  ground.host_bytes = sizes.all();
  two.start(1);
  CHECK(ground.warnings.size() == 1);
}

TEST_CASE("weights that cannot come end their model's turns alone, and are asked for again",
          "[models]") {
  TwoModels two;
  two.start_both();
  auto& [one, other] = two.speakers;
  ShimMemory& memory = *two.ground.memory;
  one.answer(0);
  CHECK(one.outcome.errors.empty());
  memory.comings_fail_from = memory.comings + 1;
  memory.comings_fail_to = memory.comings + 2;
  other.ask(1);
  other.answer(2);
  CHECK(other.outcome.errors == std::vector<std::string>(2, "the shim did not copy the weights"));
  one.answer(3);
  other.answer(4);
  memory.is_full = true;
  one.answer(5);
  CHECK(one.outcome.errors == std::vector<std::string>(1, "the shim has no room for the weights"));
  memory.is_full = false;
  other.answer(5);
  one.answer(1);
  CHECK(one.outcome.texts.size() == 3);
  CHECK(other.outcome.texts.size() == 2);
}

TEST_CASE("a model is closed while its weights are away, or while others wait", "[models]") {
  TwoModels two;
  Speaker& first = two.speakers[0];
  two.start(0);
  for (const bool waits : {false, true}) {
    Speaker second;
    second.start(two.files[1], two.ground.options());
    Speaker& runs = waits ? second : first;
    runs.ask(3);
    REQUIRE(runs.step());
    if (waits) {
      first.ask(4);
      CHECK_FALSE(first.step());
    }
    second.decoder.reset();
    first.finish();
  }
  CHECK(first.outcome.texts.size() == 2);
  CHECK(first.outcome.errors.empty());
  first.decoder.reset();
  CHECK(two.ground.memory->used == 0);
  CHECK(two.ground.memory->host_used == 0);
}

TEST_CASE("weights for prompts on another GPU stay there beside models that move", "[models]") {
  const std::vector files = {model_number(0), model_number(1)};
  const Sizes sizes = sizes_of(files);
  SharedGpu there;
  BackendOptions how;
  how.rows_max = 24;
  auto home = CudaBackend::make(files[0]->model(), make_shim(), how);
  REQUIRE(home);
  const auto open = [&] { return *there.options().open_device(1); };
  const auto far =
      FarLane::make(files[0]->model(), **home, open(), 24, 10, there.residencies->of(1));
  REQUIRE(far);
  const std::size_t used = there.memory->used;
  CHECK(used > sizes.weights[0]);
  // Whoever comes now finds the rest; and may be parked, which the lane's weights are not.
  how.residency = there.residencies->of(1);
  auto second = CudaBackend::make(files[1]->model(), open(), how);
  REQUIRE(second);
  REQUIRE((*second)->settle());
  const auto entered = (*second)->place()->enter(0);
  REQUIRE(entered);
  CHECK(*entered);
  CHECK(there.memory->used > used);
}

namespace {

Task<void> generate_into(Engine& engine, std::size_t turn, Outcome& outcome) {
  Result<agents::Turn> said = co_await engine.generate(turn_number(turn));
  if (said)
    outcome.texts[turn] = said->message.content;
  else
    outcome.errors.push_back(said.error().message);
}

}  // namespace

TEST_CASE("engines on their own threads share a device", "[models]") {
  constexpr std::size_t turns = 4;
  std::vector<std::shared_ptr<const ModelFile>> files;
  std::vector<Outcome> expected;
  for (std::size_t i = 0; i < 3; ++i) {
    files.push_back(model_number(i));
    expected.push_back(said_alone(files.back(), turns));
  }
  const Sizes sizes = sizes_of(files);
  SharedGpu ground;
  ground.hold(sizes.booked + sizes.largest());
  WaitingPoller poller;
  Loop loop{poller};
  std::vector<Outcome> outcomes(3);
  std::vector<std::unique_ptr<Engine>> engines;
  for (const auto& file : files) {
    auto started = Engine::start(file, ground.options(), loop);
    REQUIRE(started);
    engines.push_back(std::move(*started));
  }
  Scope scope;
  for (std::size_t turn = 0; turn < turns; ++turn)
    for (std::size_t i = 0; i < 3; ++i) scope.spawn(generate_into(*engines[i], turn, outcomes[i]));
  REQUIRE(loop.run_until([&] {
    return std::all_of(outcomes.begin(), outcomes.end(), [](const Outcome& each) {
      return each.texts.size() + each.errors.size() == turns;
    });
  }));
  std::uint64_t swaps = 0;
  for (std::size_t i = 0; i < 3; ++i) {
    CHECK(outcomes[i].errors.empty());
    CHECK(outcomes[i].texts == expected[i].texts);
    swaps += engines[i]->stats().residency.swaps;
  }
  CHECK(swaps >= 2);
  engines.clear();
  CHECK(ground.memory->used == 0);
}

}  // namespace ambit::inference::cuda
