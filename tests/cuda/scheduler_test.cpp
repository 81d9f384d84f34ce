// Whole turns on the GPU's back end, run by the shim: prompts in chunks, batches, drafts, grammar
// masks and chance on the device. Who shares the batch changes no token.

#include "inference/scheduler.h"

#include "inference/cuda/backend.h"
#include "inference/model_file.h"
#include "inference/pattern_language.h"
#include "inference/synth.h"
#include "support.h"

#include <catch2/catch.hpp>

#include <map>

namespace ambit::inference::cuda {

namespace {

struct Told {
  std::map<std::string, std::vector<TokenId>> tokens;  // by session
  Scheduler::Stats stats;
  Traffic moved;
  EnergyMeter::Totals taken;
  double told_bytes = 0;   // of all turns
  double told_joules = 0;  // by a counter that is made up
};

const std::vector<std::string> prompts = {"the rain the rain the rain the", "look at the report",
                                          "look at the report again", "abcabcabcabcabcabc"};

// Every prompt once, `together` at a time.
Told run(const ModelFile& file, std::size_t together, std::size_t step_rows, std::size_t draft_max,
         BackendOptions how = {}, std::uint64_t order = 0) {
  how.rows_max = 64;
  auto backend = CudaBackend::make(file.model(), test_device(schedule(order)), how);
  REQUIRE(backend);
  Forward forward(file.model(), std::move(*backend), 64);
  KvCache cache(forward.page_bytes(), 64, &forward.backend().pages());
  SchedulerOptions options;
  options.batch_max = together;
  options.step_tokens_max = step_rows;
  options.draft_max = draft_max;
  // Each look at the clock is a millisecond later, and a millisecond takes a tenth of a joule.
  std::int64_t now_us = 0;
  options.clock_us = [&now_us] { return now_us += 1000; };
  EnergyMeter meter;
  Scheduler scheduler(file.tokenizer(), file.model().config, forward, cache, options);
  scheduler.energy().open(meter, 1, now_us,
                          [&now_us] { return 1 + static_cast<double>(now_us) * 1e-4; });
  const auto grammar = std::make_shared<Grammar>(file.tokenizer());
  const auto language = pattern_language(grammar->automaton(), "(rain|look|[a-f]{2,9}){3,40}",
                                         Match::whole, Spelling::plain);
  REQUIRE(language);
  Told told;
  for (std::size_t start = 0; start < prompts.size(); start += together) {
    std::map<std::uint64_t, std::string> open;
    for (std::size_t i = start; i < std::min(start + together, prompts.size()); ++i) {
      Generation request;
      request.session = prompts[i];
      request.prompt = file.tokenizer().encode_whole(prompts[i]);
      request.tokens_max = 14;
      request.sampling.temperature = i % 2 == 0 ? 0.0 : 0.8;
      request.sampling.seed = i;
      if (i >= 2) {
        request.grammar = grammar;
        request.start = *language;
      }
      const auto id = scheduler.submit(std::move(request));
      REQUIRE(id);
      open[*id] = prompts[i];
    }
    std::vector<Generated> ended;
    while (!scheduler.idle()) scheduler.step(ended);
    for (Generated& each : ended) {
      INFO((each.error ? each.error->message : ""));
      REQUIRE_FALSE(each.error);
      told.tokens[open.at(each.id)] = each.tokens;
      told.told_bytes += static_cast<double>(each.usage.moved_bytes);
      told.told_joules += static_cast<double>(each.usage.energy_uj) * 1e-6;
    }
  }
  told.stats = scheduler.stats();
  told.moved = forward.backend().traffic().totals();
  told.taken = meter.totals();
  return told;
}

}  // namespace

TEST_CASE("a turn has the same tokens alone, in a batch, guessed ahead, in tiny steps",
          "[scheduler]") {
  const auto file = talking_model();
  const Told alone = run(*file, 1, 64, 0);
  REQUIRE(alone.tokens.size() == prompts.size());
  const auto same = [&](const Told& other) {
    CHECK(other.tokens == alone.tokens);
    // All that was moved and taken is somebody's, whoever shared the steps.
    CHECK(other.told_bytes == Approx(other.moved.bytes()).margin(4));
    CHECK(other.told_joules + other.taken.idle_joules == Approx(other.taken.joules));
    CHECK(other.told_joules > other.taken.idle_joules);
    for (const auto& [session, tokens] : other.tokens) shim_tally().equal_values += tokens.size();
  };
  same(run(*file, 4, 64, 0));
  same(run(*file, 4, 7, 0, {}, 91));
  const Told guessed = run(*file, 4, 64, 6, {}, 92);
  same(guessed);
  CHECK(guessed.stats.drafted_tokens > 0);
  BackendOptions plain;
  plain.records = false;
  plain.shares_prefixes = false;
  same(run(*file, 2, 64, 6, plain));
}

TEST_CASE("the likeliest tokens are the same chosen on the device and on the host", "[scheduler]") {
  const auto file = talking_model();
  BackendOptions on_host;
  on_host.chooses = false;
  const Told there = run(*file, 4, 64, 6);
  const Told here = run(*file, 4, 64, 6, on_host);
  CHECK(there.tokens.at(prompts[0]) == here.tokens.at(prompts[0]));
  CHECK(there.tokens.at(prompts[2]) == here.tokens.at(prompts[2]));
}

TEST_CASE("what a grammar forbids is not chosen on the device", "[scheduler]") {
  const auto file = talking_model();
  const Told told = run(*file, 4, 64, 6);
  for (const std::size_t i : {2U, 3U}) {
    std::string text;
    for (const TokenId token : told.tokens.at(prompts[i])) text += file->tokenizer().bytes(token);
    CHECK_FALSE(text.empty());
    CHECK(text.find_first_not_of("rainlokabcdef") == std::string::npos);
  }
}

TEST_CASE("a device that fails ends every turn with the reason", "[scheduler]") {
  const auto file = talking_model();
  ShimOptions shim;
  shim.launches_max = 30;  // then it fails
  BackendOptions how;
  how.rows_max = 64;
  auto backend = CudaBackend::make(file->model(), make_shim(shim), how);
  REQUIRE(backend);
  Forward forward(file->model(), std::move(*backend), 64);
  KvCache cache(forward.page_bytes(), 64, &forward.backend().pages());
  Scheduler scheduler(file->tokenizer(), file->model().config, forward, cache, {});
  for (const std::string& prompt : prompts) {
    Generation request;
    request.prompt = file->tokenizer().encode_whole(prompt);
    REQUIRE(scheduler.submit(std::move(request)));
  }
  std::vector<Generated> ended;
  while (!scheduler.idle()) scheduler.step(ended);
  REQUIRE(ended.size() == prompts.size());
  for (const Generated& each : ended) {
    REQUIRE(each.error);
    CHECK(each.error->code == Code::unavailable);
  }
  Generation late;
  late.prompt = {1};
  CHECK_FALSE(scheduler.submit(std::move(late)));
}

}  // namespace ambit::inference::cuda
