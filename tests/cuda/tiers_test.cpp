// Whole conversations on the shim's device while pages move between its memory, the host's and the
// disk: what is said, and every logit, is what it is with memory for everything.

#include "cuda/shim.h"
#include "inference/cuda/backend.h"
#include "inference/decoder.h"
#include "support.h"

#include <catch2/catch.hpp>

#include <algorithm>
#include <filesystem>
#include <map>

namespace ambit::inference::cuda {

namespace {

struct Conversation {
  std::map<std::pair<std::string, std::size_t>, std::vector<float>> logits;
  std::map<std::string, std::string> texts;  // by session and round
  KvCache::Stats kv;
};

// Five sessions say three things each. `order` draws who speaks beside whom, who is parked, and
// when kernels and copies come; 0: one after the other.
Conversation talk_all(const std::shared_ptr<const ModelFile>& file, EngineOptions how,
                      std::uint64_t order) {
  constexpr std::size_t sessions = 5;
  Conversation all;
  auto chance = [&, drawn = order](std::size_t below) mutable {
    drawn = drawn * 6364136223846793005U + 1442695040888963407U;
    return order == 0 ? 0 : static_cast<std::size_t>(drawn >> 33U) % below;
  };
  how.device = "cuda";
  how.step_tokens_max = order == 0 ? 64 : 20 + chance(44);
  how.batch_max = 4;
  how.open_device = [order](unsigned) -> Result<std::unique_ptr<Device>> {
    ShimOptions shim;
    shim.seed = order;
    shim.copy_us = 10;
    return make_shim(shim);
  };
  auto made = Decoder::make(file, how);
  REQUIRE(made);
  Decoder& decoder = **made;
  std::vector<agents::TurnRequest> talks(sessions);
  for (std::size_t i = 0; i < sessions; ++i) {
    talks[i].session = "s" + std::to_string(i);
    talks[i].tokens_max = 6;
    talks[i].sampling.temperature = i % 2 == 0 ? 0.0 : 0.9;
    talks[i].sampling.seed = i;
    talks[i].messages = {{agents::Role::user,
                          "the rules are the same for all of us, look at report " +
                              std::string(i * 9 + 1, static_cast<char>('a' + i)),
                          {},
                          "",
                          ""}};
  }
  for (std::size_t round = 0; round < 3; ++round) {
    std::vector<std::size_t> turns(sessions);
    for (std::size_t i = 0; i < sessions; ++i) turns[i] = i;
    for (std::size_t i = sessions; i > 1; --i) std::swap(turns[i - 1], turns[chance(i)]);
    for (std::size_t at = 0; at < sessions;) {
      const std::size_t end = std::min(sessions, at + 1 + chance(3));
      std::map<std::uint64_t, std::size_t> open;
      for (; at < end; ++at) {
        decoder.observe(talks[turns[at]].session, agents::SessionEvent::call_ends_soon);
        const auto id = decoder.submit(talks[turns[at]]);
        REQUIRE(id);
        open[*id] = turns[at];
      }
      const auto name = [&](std::uint64_t id) {
        return talks[open.at(id)].session + "/" + std::to_string(round);
      };
      decoder.scheduler().set_observer(
          [&](std::uint64_t id, std::size_t position, std::span<const float> logits) {
            all.logits[{name(id), position}].assign(logits.begin(), logits.end());
          });
      Decoder::Progress progress;
      while (!decoder.idle()) decoder.step(progress);
      for (auto& [id, turn] : progress.ended) {
        REQUIRE(turn);
        agents::TurnRequest& of = talks[open.at(id)];
        all.texts[name(id)] = turn->message.content;
        of.messages.push_back(turn->message);
        of.messages.push_back({agents::Role::user, "and then?", {}, "", ""});
        decoder.observe(of.session, chance(3) == 0 ? agents::SessionEvent::call_begins
                                                   : agents::SessionEvent::parked);
      }
    }
  }
  all.kv = decoder.stats().kv;
  return all;
}

bool same_conversation(const Conversation& one, const Conversation& other) {
  const bool same = one.texts == other.texts && one.logits == other.logits;
  for (const auto& [key, logits] : one.logits)
    shim_tally().equal_values += same ? logits.size() : 0;
  return same;
}

}  // namespace

TEST_CASE("a session's logits and tokens are the same bits wherever its pages have been",
          "[tiers]") {
  const auto file = talking_model();
  const std::size_t page = CudaBackend::page_bytes(file->model().config, PageType::bf16);
  EngineOptions all;
  all.kv_bytes = 128 * page;
  const Conversation expected = talk_all(file, all, 0);
  REQUIRE(expected.texts.size() == 15);
  REQUIRE(expected.logits.size() >= 15);
  EngineOptions short_of;
  short_of.kv_bytes = 16 * page;
  short_of.kv_host_bytes = 100 * page;
  short_of.kv_host_pays = true;
  std::size_t host_read = 0;
  for (std::uint64_t order = 1; order <= 2; ++order) {
    const Conversation moved = talk_all(file, short_of, order);
    CHECK(same_conversation(moved, expected));
    CHECK(moved.kv.evicted == 0);
    host_read += moved.kv.host.read;
  }
  CHECK(host_read > 10);
  short_of.kv_host_bytes = 8 * page;
  short_of.kv_disk_folder = std::filesystem::temp_directory_path().string();
  short_of.kv_disk_bytes = 200 * page;
  short_of.kv_disk_pays = true;
  std::size_t disk_read = 0;
  for (std::uint64_t order = 4; order <= 5; ++order) {
    const Conversation moved = talk_all(file, short_of, order);
    CHECK(same_conversation(moved, expected));
    disk_read += moved.kv.disk.read;
  }
  CHECK(disk_read > 10);
}

TEST_CASE("a GPU's tier is chosen by what copies and prompts are measured to take", "[tiers]") {
  const auto file = talking_model();
  const std::size_t page = CudaBackend::page_bytes(file->model().config, PageType::bf16);
  EngineOptions how;
  how.kv_bytes = 16 * page;
  how.kv_host_bytes = 100 * page;
  // Each look at the clock is so much later; a copy takes 10.
  const auto clock = [](std::int64_t passes_us) {
    return [passes_us, now_us = std::int64_t{0}]() mutable { return now_us += passes_us; };
  };
  how.clock_us = clock(1'000'000);
  CHECK(talk_all(file, how, 7).kv.host.read > 5);
  how.clock_us = clock(1);
  const Conversation slow = talk_all(file, how, 7);
  CHECK(slow.kv.host.read < 5);
  CHECK(slow.kv.evicted > 0);
}

TEST_CASE("a GPU's pages go to disk by way of host memory alone, and the CPU's need none of it",
          "[tiers]") {
  const auto file = talking_model();
  EngineOptions how;
  how.kv_disk_folder = std::filesystem::temp_directory_path().string();
  how.kv_disk_bytes = 1U << 20U;
  how.device = "cuda";
  how.open_device = [](unsigned) -> Result<std::unique_ptr<Device>> { return make_shim(); };
  auto made = Decoder::make(file, how);
  REQUIRE_FALSE(made);
  CHECK_THAT(made.error().message, Catch::Contains("by way of host memory"));
  how.device = "cpu";
  how.kv_host_bytes = 1U << 20U;
  made = Decoder::make(file, how);
  REQUIRE_FALSE(made);
  CHECK_THAT(made.error().message, Catch::Contains("in host memory already"));
}

}  // namespace ambit::inference::cuda
