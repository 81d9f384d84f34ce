// Prompts in a queue of their own on the GPU's back end, run by a shim that carries both queues out
// late and in orders drawn by chance: beside those who decode, or on a second device with a memory
// of its own.

#include "inference/cuda/backend.h"
#include "inference/cuda/far_lane.h"
#include "inference/lane_mix.h"
#include "inference/model_file.h"
#include "inference/synth.h"
#include "support.h"

#include <catch2/catch.hpp>

namespace ambit::inference::cuda {

namespace {

enum class Where { one_queue, beside, far };

struct QueueRig {
  std::shared_ptr<ShimQueues> queues;
  PageWatch watch;
  CudaBackend* home = nullptr;  // of forward
  std::unique_ptr<Forward> forward;
  std::unique_ptr<Lane> lane;
  std::unique_ptr<WatchedLane> watched;
  std::unique_ptr<KvCache> cache;
  std::unique_ptr<Scheduler> scheduler;

  QueueRig(const ModelFile& file, Where where, std::uint64_t seed, std::size_t pages = 64,
           std::size_t chunk = 40) {
    ShimOptions shim;
    shim.seed = seed;
    if (where != Where::one_queue) queues = std::make_shared<ShimQueues>(seed);
    shim.queues = queues;
    BackendOptions how;
    how.rows_max = 64;
    auto backend = CudaBackend::make(file.model(), test_device(shim), how);
    REQUIRE(backend);
    home = backend->get();
    forward = std::make_unique<Forward>(
        file.model(), std::make_unique<WatchedBackend>(std::move(*backend), watch), 64);
    if (where == Where::beside) {
      auto made = CudaBackend::make_lane(*home, chunk);
      REQUIRE(made);
      lane = std::make_unique<Forward>(file.model(), std::move(*made), chunk);
    } else if (where == Where::far) {
      auto made = FarLane::make(file.model(), *home, test_device(shim), chunk, pages);
      REQUIRE(made);
      lane = std::move(*made);
    }
    if (lane != nullptr) watched = std::make_unique<WatchedLane>(*lane, watch, false, seed);
    cache = std::make_unique<KvCache>(forward->page_bytes(), pages, &forward->backend().pages());
    SchedulerOptions options;
    options.batch_max = 5;
    options.step_tokens_max = 64;
    scheduler = std::make_unique<Scheduler>(file.tokenizer(), file.model().config, *forward, *cache,
                                            options, watched.get());
  }
};

constexpr MixShape few = {9, 100, 50, 7, 2};

}  // namespace

TEST_CASE("a random mix says the same with prompts in a queue of their own, here or far away",
          "[lanes]") {
  const auto file = talking_model();
  std::size_t beside = 0;
  std::uint64_t switches = 0;
  for (std::uint64_t seed = 1; seed <= 4; ++seed) {
    const auto mix = random_mix(seed, few);
    QueueRig plain(*file, Where::one_queue, seed);
    const MixOutcome one = play(mix, *plain.scheduler, *plain.cache);
    for (const Where where : {Where::beside, Where::far}) {
      // A far device that holds no more than one sequence has to let others go.
      QueueRig rig(*file, where, seed + 70, seed % 2 == 0 ? 64 : 20);
      const MixOutcome two = play(mix, *rig.scheduler, *rig.cache);
      INFO("seed " << seed << (where == Where::far ? ", far: " : ": ") << rig.watch.fault);
      CHECK(rig.watch.fault.empty());
      const auto equal = equal_outcomes(mix, one, two);
      REQUIRE(equal);
      CHECK(*equal > 1000);
      shim_tally().equal_values += *equal;
      CHECK(two.failed.empty());
      CHECK(two.kv.pages_pinned == 0);
      CHECK(two.stats.prompt_passes > 0);
      CHECK(rig.watch.longest_stretch <= 16);
      beside += rig.watch.steps_beside;
      switches += rig.queues->switches();
    }
  }
  CHECK(beside > 20);
  CHECK(switches > 500);
}

TEST_CASE("a prompt that goes on in a copied page comes after the copy", "[lanes]") {
  const auto file = talking_model();
  Generation first;
  for (std::size_t i = 0; i < 100; ++i)
    first.prompt.push_back(static_cast<TokenId>(uniform(3, i, 0) * 250));
  first.tokens_max = 1;
  Generation second = first;
  second.prompt.resize(80);  // two pages and a half
  for (std::size_t i = 0; i < 50; ++i)
    second.prompt.push_back(static_cast<TokenId>(uniform(4, i, 0) * 250));
  const auto logits_of_second = [&](QueueRig& rig) {
    std::vector<Generated> ended;
    std::vector<float> seen;
    REQUIRE(rig.scheduler->submit(first));
    while (!rig.scheduler->idle()) rig.scheduler->step(ended);
    rig.scheduler->set_observer([&](std::uint64_t, std::size_t, std::span<const float> logits) {
      seen.assign(logits.begin(), logits.end());
    });
    REQUIRE(rig.scheduler->submit(second));
    while (!rig.scheduler->idle()) rig.scheduler->step(ended);
    CHECK(rig.watch.copies == 1);
    return seen;
  };
  QueueRig plain(*file, Where::one_queue, 0);
  const std::vector<float> expected = logits_of_second(plain);
  for (std::uint64_t seed = 1; seed <= 6; ++seed) {
    for (const Where where : {Where::beside, Where::far}) {
      QueueRig rig(*file, where, seed, 64, 64);
      INFO("seed " << seed << (where == Where::far ? ", far" : ""));
      CHECK(same_bits(logits_of_second(rig), expected));
    }
  }
}

TEST_CASE("another GPU is brought each page of a prompt once and sends each home", "[lanes]") {
  const auto file = talking_model();
  QueueRig rig(*file, Where::far, 5, 64, 32);
  auto& far = dynamic_cast<FarLane&>(*rig.lane);
  std::vector<Generated> ended;
  Generation first;
  for (std::size_t i = 0; i < 160; ++i)
    first.prompt.push_back(static_cast<TokenId>(uniform(3, i, 0) * 250));
  first.tokens_max = 1;
  REQUIRE(rig.scheduler->submit(first));
  while (!rig.scheduler->idle()) rig.scheduler->step(ended);
  CHECK(far.moved().pages_here == 0);
  CHECK(far.moved().pages_home == 5);
  // Its beginning is in the cache, and not there any more for another sequence.
  Generation second = first;
  second.prompt.resize(128);
  for (std::size_t i = 0; i < 100; ++i)
    second.prompt.push_back(static_cast<TokenId>(uniform(4, i, 0) * 250));
  REQUIRE(rig.scheduler->submit(second));
  while (!rig.scheduler->idle()) rig.scheduler->step(ended);
  CHECK(ended.size() == 2);
  CHECK(far.moved().pages_here == 4);
  CHECK(far.moved().pages_home <= 5 + 4);
}

TEST_CASE("prompts go to no GPU of another architecture, and to none without room", "[lanes]") {
  const auto file = talking_model();
  auto home = CudaBackend::make(file->model(), make_shim(), {});
  REQUIRE(home);
  ShimOptions newer;
  newer.architecture = 90;
  const auto refused = FarLane::make(file->model(), **home, make_shim(newer), 32, 64);
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == Code::unsupported);
  CHECK(refused.error().message ==
        "prompts cannot go to the tests' shim (sm_90): beside the tests' shim (sm_80) they would "
        "have other bits");
  ShimOptions small;
  small.memory_bytes = 50'000;
  const auto full = FarLane::make(file->model(), **home, make_shim(small), 32, 64);
  REQUIRE_FALSE(full);
  CHECK(full.error().code == Code::exhausted);
}

TEST_CASE("a queue that fails under a prompt ends every turn with the reason", "[lanes]") {
  const auto file = talking_model();
  ShimOptions failing;
  failing.launches_max = 40;
  auto home = CudaBackend::make(file->model(), make_shim(), {});
  REQUIRE(home);
  auto far = FarLane::make(file->model(), **home, make_shim(failing), 32, 64);
  REQUIRE(far);
  Forward forward(file->model(), std::move(*home), 64);
  KvCache cache(forward.page_bytes(), 64, &forward.backend().pages());
  SchedulerOptions options;
  options.step_tokens_max = 64;
  Scheduler scheduler(file->tokenizer(), file->model().config, forward, cache, options, far->get());
  std::vector<Generated> ended;
  for (std::uint64_t seed = 1; seed <= 2; ++seed) {
    Generation prompt;
    for (std::size_t i = 0; i < 200; ++i)
      prompt.prompt.push_back(static_cast<TokenId>(uniform(seed, i, 0) * 250));
    REQUIRE(scheduler.submit(std::move(prompt)));
  }
  while (!scheduler.idle()) scheduler.step(ended);
  REQUIRE(ended.size() == 2);
  for (const Generated& each : ended) {
    REQUIRE(each.error);
    CHECK(each.error->message == "the device was told to fail");
  }
  CHECK(cache.stats().pages_pinned == 0);
}

TEST_CASE("the shim's queues keep their order, and who does not follow is found out", "[shim]") {
  std::size_t early = 0;
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    for (const bool follows : {true, false}) {
      ShimQueues queues(seed);
      const std::size_t one = queues.add();
      const std::size_t other = queues.add();
      std::vector<int> done;
      int written = 0;
      for (int i = 0; i < 12; ++i)
        queues.put(one, [&, i] {
          done.push_back(i);
          written = i + 1;
        });
      if (follows) queues.follow(other, one);
      int seen = -1;
      queues.put(other, [&] { seen = written; });
      queues.drain(other);
      if (follows) CHECK(seen == 12);
      early += seen < 12 ? 1U : 0U;
      while (!queues.is_done(one)) continue;
      for (int i = 0; i < 12; ++i) CHECK(done.at(static_cast<std::size_t>(i)) == i);
    }
  }
  CHECK(early > 0);
}

}  // namespace ambit::inference::cuda
