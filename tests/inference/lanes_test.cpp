// Prompts in a lane of their own: nobody who decodes waits for them, nobody touches the pages that
// they fill, and not a bit is another one.

#include "inference/cpu/backend.h"
#include "lane_mix.h"
#include "support.h"

#include <catch2/catch.hpp>

namespace ambit::inference {

namespace {

struct LaneRig {
  Pool pool{1};
  Pool pool_beside{1};
  PageWatch watch;
  Forward forward;
  Forward beside;
  WatchedLane prompts;
  KvCache cache;
  Scheduler scheduler;

  LaneRig(const ModelFile& file, std::size_t pages, SchedulerOptions options, bool has_lane,
          std::size_t chunk = 48, std::uint64_t seed = 1)
      : forward(file.model(),
                std::make_unique<WatchedBackend>(
                    std::make_unique<CpuBackend>(file.model(), *usable_kernels().back(), pool,
                                                 KvType::f16, options.step_tokens_max),
                    watch),
                options.step_tokens_max),
        beside(file.model(), *usable_kernels().back(), pool_beside, KvType::f16, chunk),
        prompts(beside, watch, true, seed),
        cache(forward.page_bytes(), pages, &forward.backend().pages()),
        scheduler(file.tokenizer(), file.model().config, forward, cache, options,
                  has_lane ? &prompts : nullptr) {}
};

std::shared_ptr<const ModelFile> lane_model() {
  SynthShape shape;
  shape.layers = 1;
  shape.context = 512;
  return synthetic(shape);
}

SchedulerOptions lane_options(std::size_t batch, std::size_t rows) {
  SchedulerOptions options;
  options.batch_max = batch;
  options.step_tokens_max = rows;
  return options;
}

Generation said(std::size_t prompt, std::size_t answer, std::uint64_t seed,
                const std::string& session = "") {
  Generation made;
  made.session = session;
  for (std::size_t i = 0; i < prompt; ++i)
    made.prompt.push_back(static_cast<TokenId>(uniform(seed, i, 3) * 250));
  made.tokens_max = answer;
  return made;
}

}  // namespace

TEST_CASE("a random mix of requests says the same with prompts in a lane of their own", "[lanes]") {
  const auto file = lane_model();
  REQUIRE(file != nullptr);
  std::size_t steps_beside = 0;
  std::size_t passes = 0;
  std::size_t copies = 0;
  for (std::uint64_t seed = 1; seed <= 24; ++seed) {
    const auto mix = random_mix(seed, {});
    LaneRig plain(*file, 200, lane_options(6, 64), false);
    const MixOutcome one = play(mix, plain.scheduler, plain.cache);
    // Memory for two or three sequences at once, or for all.
    const std::size_t pages = seed % 2 == 0 ? 200 : 34;
    LaneRig rig(*file, pages, lane_options(2 + seed % 7, 24 + seed % 5 * 16), true,
                8 + seed % 4 * 30, seed);
    const MixOutcome two = play(mix, rig.scheduler, rig.cache);
    INFO("seed " << seed << ": " << rig.watch.fault);
    CHECK(rig.watch.fault.empty());
    const auto equal = equal_outcomes(mix, one, two);
    REQUIRE(equal);
    CHECK(*equal > 1000);
    CHECK(one.failed.empty());
    CHECK(two.failed.empty());
    CHECK(two.kv.pages_pinned == 0);
    CHECK(rig.watch.longest_stretch <= 16);
    steps_beside += rig.watch.steps_beside;
    copies += rig.watch.copies;
    passes += two.stats.prompt_passes;
  }
  CHECK(steps_beside > 100);
  CHECK(passes > 200);
  CHECK(copies > 10);
}

TEST_CASE("while a long prompt is computed every step is one of those who decode", "[lanes]") {
  const auto file = lane_model();
  LaneRig rig(*file, 64, lane_options(4, 64), true, 32);
  std::vector<Generated> ended;
  const auto running = rig.scheduler.submit(said(20, 200, 7));
  REQUIRE(running);
  for (int i = 0; i < 3; ++i) rig.scheduler.step(ended);
  REQUIRE(rig.scheduler.stats().output_tokens >= 1);
  REQUIRE(rig.scheduler.submit(said(400, 1, 8)));
  const std::uint64_t said_before = rig.scheduler.stats().output_tokens;
  std::uint64_t steps = 0;
  std::size_t seen = 0;
  while (ended.empty()) {
    rig.scheduler.step(ended);
    ++steps;
    const Scheduler::Stats stats = rig.scheduler.stats();
    CHECK(stats.prompt_rows_under_way <= 32);
    if (stats.prompts > 0) CHECK(stats.prompt_tokens_left <= 400);
    seen = std::max(seen, stats.prompt_rows_under_way);
  }
  CHECK(seen == 32);
  const Scheduler::Stats stats = rig.scheduler.stats();
  CHECK(stats.prompt_passes >= 400 / 32);
  // The long prompt's answer is one token; every step said one of the other's, or more.
  CHECK(stats.output_tokens - said_before >= steps);
  CHECK(rig.watch.longest_stretch <= 16);
  CHECK(rig.watch.fault.empty());
}

TEST_CASE("the short rest of a prompt goes along with a step", "[lanes]") {
  const auto file = lane_model();
  LaneRig rig(*file, 64, lane_options(4, 64), true, 64);
  std::vector<Generated> ended;
  Generation first = said(70, 1, 9, "s");
  REQUIRE(rig.scheduler.submit(first));
  while (!rig.scheduler.idle()) rig.scheduler.step(ended);
  const std::uint64_t passes = rig.scheduler.stats().prompt_passes;
  CHECK(passes >= 1);
  Generation next = first;  // the result of a tool came back
  for (const TokenId token : {11, 12, 13, 14, 15, 16}) next.prompt.push_back(token);
  REQUIRE(rig.scheduler.submit(next));
  rig.scheduler.step(ended);
  CHECK(rig.scheduler.idle());
  CHECK(ended.size() == 2);
  CHECK(rig.scheduler.stats().prompt_passes == passes);
}

TEST_CASE("a prompt that is taken back keeps its pages until its pass is done", "[lanes]") {
  const auto file = lane_model();
  for (const bool is_gone : {false, true}) {
    LaneRig rig(*file, 24, lane_options(4, 64), true, 64, 5);
    std::vector<Generated> ended;
    REQUIRE(rig.scheduler.submit(said(10, 150, 1)));
    rig.scheduler.step(ended);
    const auto long_one = rig.scheduler.submit(said(300, 1, 2, "s"));
    REQUIRE(long_one);
    while (!rig.watch.is_under_way()) rig.scheduler.step(ended);
    const std::size_t pinned = rig.cache.stats().pages_pinned;
    const auto computed = rig.scheduler.cancel(*long_one);
    CHECK(computed.end > computed.begin);
    if (is_gone) rig.scheduler.forget("s");
    CHECK(rig.cache.stats().pages_pinned == pinned);
    // It needs the memory that the other one had.
    REQUIRE(rig.scheduler.submit(said(350, 1, 3)));
    while (!rig.scheduler.idle()) {
      rig.scheduler.step(ended);
      REQUIRE(rig.watch.fault.empty());
    }
    CHECK(ended.size() == 2);
    CHECK(rig.cache.stats().pages_pinned == 0);
  }
}

TEST_CASE("what was forgotten during its pass is free when it is done", "[lanes]") {
  const auto file = lane_model();
  LaneRig rig(*file, 64, lane_options(4, 64), true, 64, 6);
  std::vector<Generated> ended;
  REQUIRE(rig.scheduler.submit(said(10, 60, 1)));
  rig.scheduler.step(ended);
  const auto long_one = rig.scheduler.submit(said(300, 1, 2, "s"));
  REQUIRE(long_one);
  while (!rig.watch.is_under_way()) rig.scheduler.step(ended);
  rig.scheduler.cancel(*long_one);
  rig.scheduler.forget("s");
  while (!rig.scheduler.idle()) rig.scheduler.step(ended);
  CHECK(ended.size() == 1);  // nobody is told of what was taken back
  CHECK(rig.cache.stats().pages_used <= (10 + 60) / page_tokens + 1);
}

TEST_CASE("the same prompt that comes while it is computed waits for the pages", "[lanes]") {
  const auto file = lane_model();
  LaneRig rig(*file, 64, lane_options(4, 64), true, 64, 3);
  std::vector<Generated> ended;
  REQUIRE(rig.scheduler.submit(said(320, 1, 4)));
  REQUIRE(rig.scheduler.submit(said(320, 1, 4)));
  rig.scheduler.step(ended);
  REQUIRE(rig.scheduler.submit(said(320, 1, 4)));
  while (!rig.scheduler.idle()) rig.scheduler.step(ended);
  REQUIRE(ended.size() == 3);
  CHECK(ended[0].tokens == ended[1].tokens);
  CHECK(ended[0].tokens == ended[2].tokens);
  CHECK(rig.scheduler.stats().prompt_tokens <= 320 + 2 * page_tokens);
}

TEST_CASE("a lane that fails ends every turn with the reason", "[lanes]") {
  const auto file = lane_model();
  LaneRig rig(*file, 64, lane_options(4, 64), true, 32);
  std::vector<Generated> ended;
  REQUIRE(rig.scheduler.submit(said(10, 100, 1)));
  REQUIRE(rig.scheduler.submit(said(300, 4, 2)));
  const auto taken_back = rig.scheduler.submit(said(300, 4, 3));
  REQUIRE(taken_back);
  while (!rig.watch.is_under_way()) rig.scheduler.step(ended);
  rig.scheduler.cancel(*taken_back);
  rig.prompts.fail("the other device is gone");
  while (!rig.scheduler.idle()) rig.scheduler.step(ended);
  REQUIRE(ended.size() == 2);
  for (const Generated& each : ended) {
    REQUIRE(each.error);
    CHECK(each.error->message == "the other device is gone");
  }
  CHECK_FALSE(rig.watch.is_under_way());
  CHECK(rig.cache.stats().pages_pinned == 0);
  CHECK_FALSE(rig.scheduler.submit(said(3, 1, 4)));
}

}  // namespace ambit::inference
