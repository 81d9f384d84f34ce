// The tier of host memory below a GPU's pages, by itself and under the cache: copies that are
// carried out late and in chance order, a disk behind it, and what fails.

#include "inference/cuda/host_pages.h"

#include "cuda/shim.h"
#include "inference/kv_cache.h"
#include "inference/page_file.h"

#include <catch2/catch.hpp>

#include <cstring>
#include <filesystem>
#include <numeric>
#include <optional>
#include <set>
#include <unistd.h>

namespace ambit::inference::cuda {

namespace {

using Talk = std::vector<TokenId>;

constexpr std::size_t bytes_of_page = page_tokens * sizeof(TokenId);

std::unique_ptr<PageFile> file_of(std::size_t pages) {
  if (pages == 0) return nullptr;
  auto made = PageFile::open(std::filesystem::temp_directory_path().string(), bytes_of_page,
                             pages * bytes_of_page);
  REQUIRE(made);
  return std::move(*made);
}

std::unique_ptr<HostPages> host_pages(Device& device, std::size_t frames,
                                      std::unique_ptr<PageTier> disk = nullptr) {
  auto made = HostPages::open(device, bytes_of_page, frames * bytes_of_page, std::move(disk));
  REQUIRE(made);
  return std::move(*made);
}

// The device's pages, as its back end has them.
class DevicePages final : public PageMemory {
 public:
  explicit DevicePages(Device& device) : device_(device) {}
  ~DevicePages() override {
    for (std::byte* page : made_) device_.release(page);
  }
  std::byte* make_page(std::size_t bytes) override {
    made_.push_back(device_.allocate(bytes));
    return made_.back();
  }
  void copy_page(std::byte* to, const std::byte* from, std::size_t bytes) override {
    device_.copy(to, from, bytes);
  }

 private:
  Device& device_;
  std::vector<std::byte*> made_;
};

Talk talk(std::size_t who, std::size_t length) {
  Talk tokens(length);
  std::iota(tokens.begin(), tokens.end(), static_cast<TokenId>(who * 10'000));
  return tokens;
}

std::string name_of(std::size_t who) {
  return "s" + std::to_string(who);
}

bool is_right(const KvCache::Sequence& sequence, const Talk& tokens) {
  for (std::size_t i = 0; i < sequence.length; ++i)
    if (std::memcmp(sequence.pages[i / page_tokens] + i % page_tokens * sizeof(TokenId), &tokens[i],
                    sizeof(TokenId)) != 0)
      return false;
  return true;
}

void compute(KvCache& cache, KvCache::Sequence& sequence, const Talk& tokens, std::size_t length) {
  cache.extend(sequence, length - sequence.length);
  for (std::size_t i = sequence.length; i < length; ++i)
    std::memcpy(sequence.pages[i / page_tokens] + i % page_tokens * sizeof(TokenId), &tokens[i],
                sizeof(TokenId));
  cache.commit(sequence, tokens, length);
}

// One turn; gives how much was found, and nothing if that was wrong.
std::optional<std::size_t> turn(KvCache& cache, const Talk& tokens, const std::string& session) {
  auto sequence = cache.open(tokens, tokens.size());
  while (!sequence && cache.awaits_pages()) {
    cache.wait_for_pages();
    sequence = cache.open(tokens, tokens.size());
  }
  if (!sequence || !is_right(*sequence, tokens)) return std::nullopt;
  const std::size_t cached = sequence->cached;
  compute(cache, *sequence, tokens, tokens.size());
  cache.close(std::move(*sequence), tokens, session);
  cache.tend();
  return cached;
}

class Chance {
 public:
  explicit Chance(std::uint64_t seed) : state_(seed) {}
  std::size_t operator()(std::size_t below) {
    state_ = state_ * 6364136223846793005U + 1442695040888963407U;
    return static_cast<std::size_t>(state_ >> 33U) % below;
  }

 private:
  std::uint64_t state_;
};

std::vector<PageTier::Done> wait_for_one(PageTier& tier) {
  for (int i = 0; i < 1000; ++i)
    if (auto done = tier.take_done(true); !done.empty()) return done;
  return {};
}

}  // namespace

TEST_CASE("a page goes to host memory and comes back beside the kernels", "[tiers]") {
  const auto device = make_shim();
  DevicePages pages(*device);
  std::byte* page = pages.make_page(bytes_of_page);
  std::byte* other = pages.make_page(bytes_of_page);
  std::memset(page, 'k', bytes_of_page);
  const auto tier = host_pages(*device, 8);
  const PageTier::Slot slot = tier->take_slot();
  tier->write(slot, page, 7);
  CHECK(tier->under_way() == 1);
  auto done = wait_for_one(*tier);
  REQUIRE(done.size() == 1);
  CHECK(done[0].ticket == 7);
  CHECK(done[0].ok);
  CHECK(done[0].what == PageTier::Done::What::write);
  CHECK(tier->level(Tier::host).pages == 1);
  CHECK(tier->level(Tier::host).written == 1);
  tier->read(slot, 8);
  done = wait_for_one(*tier);
  REQUIRE(done.size() == 1);
  REQUIRE(done[0].ok);
  CHECK_FALSE(tier->place(done[0], other));
  // Nothing is there before it is said to be.
  CHECK(std::memcmp(other, page, bytes_of_page) != 0);
  done = wait_for_one(*tier);
  REQUIRE(done.size() == 1);
  CHECK(done[0].ticket == 8);
  CHECK(done[0].ok);
  CHECK(std::memcmp(other, page, bytes_of_page) == 0);
  tier->give_back(slot);
  CHECK(tier->level(Tier::host).pages == 0);
}

TEST_CASE("a slot that is given back while its page is copied is not used before that has ended",
          "[tiers]") {
  const auto device = make_shim();
  DevicePages pages(*device);
  std::byte* page = pages.make_page(bytes_of_page);
  const auto tier = host_pages(*device, 2);
  tier->write(tier->take_slot(), page, 1);
  const PageTier::Slot second = tier->take_slot();
  tier->write(second, page, 2);
  CHECK_FALSE(tier->has_slot());
  tier->give_back(second);
  CHECK_FALSE(tier->has_slot());
  while (tier->under_way() > 0) wait_for_one(*tier);
  CHECK(tier->has_slot());
  CHECK(tier->level(Tier::host).pages == 1);
}

TEST_CASE("host memory that is not to be had is said at once", "[tiers]") {
  ShimOptions small;
  small.host_bytes = bytes_of_page;
  const auto device = make_shim(small);
  const auto made = HostPages::open(*device, bytes_of_page, 8 * bytes_of_page, nullptr);
  REQUIRE_FALSE(made);
  CHECK(made.error().code == Code::exhausted);
  CHECK_THAT(made.error().message, Catch::Contains("pinned memory"));
  CHECK(HostPages::open(*device, bytes_of_page, bytes_of_page, nullptr).error().code ==
        Code::invalid);
}

TEST_CASE("what a GPU cannot hold lies in host memory, and nothing is computed twice", "[tiers]") {
  ShimOptions how;
  how.seed = 5;
  how.copy_us = 20;
  const auto device = make_shim(how);
  DevicePages pages(*device);
  KvCache cache(bytes_of_page, 40, &pages, host_pages(*device, 1200));
  constexpr std::size_t sessions = 200;
  for (std::size_t who = 0; who < sessions; ++who) {
    REQUIRE(turn(cache, talk(who, 150), name_of(who)) == std::size_t{0});
    cache.park(name_of(who), false);
  }
  for (std::size_t i = 0; i < sessions; ++i) {
    const std::size_t who = i * 77 % sessions;
    cache.expect(name_of(who));
    Talk longer = talk(who, 150);
    longer.push_back(-1);
    REQUIRE(turn(cache, longer, name_of(who)) == std::size_t{150});
  }
  const KvCache::Stats stats = cache.stats();
  CHECK(stats.evicted == 0);
  CHECK(stats.pages_peak <= 40);
  CHECK(stats.host.read >= 4 * (sessions - 8));
  CHECK(stats.host.timed >= stats.host.read - 40);
  CHECK(stats.host.read_us == static_cast<std::int64_t>(20 * stats.host.timed));
  CHECK(stats.host.pages >= 4 * sessions);
  CHECK(stats.disk.pages_max == 0);
  for (std::size_t who = 0; who < sessions; ++who) cache.forget(name_of(who));
  for (int i = 0; i < 10'000 && cache.stats().host.pages > 0; ++i) cache.wait_for_pages();
  CHECK(cache.stats().host.pages == 0);
  CHECK(cache.stats().pages_used == 0);
}

TEST_CASE("what host memory cannot hold goes on to disk, the oldest first, and comes back",
          "[tiers]") {
  const auto device = make_shim();
  DevicePages pages(*device);
  KvCache cache(bytes_of_page, 40, &pages, host_pages(*device, 64, file_of(2000)));
  constexpr std::size_t sessions = 100;
  for (std::size_t who = 0; who < sessions; ++who) {
    REQUIRE(turn(cache, talk(who, 150), name_of(who)) == std::size_t{0});
    cache.park(name_of(who), false);
  }
  CHECK(cache.stats().host.pages <= 64);
  CHECK(cache.stats().disk.pages >= 4 * sessions - 64 - 40);
  for (std::size_t i = 0; i < sessions; ++i) {
    Talk longer = talk(i * 37 % sessions, 150);
    longer.push_back(-1);
    cache.expect(name_of(i * 37 % sessions));
    REQUIRE(turn(cache, longer, name_of(i * 37 % sessions)) == std::size_t{150});
  }
  const KvCache::Stats stats = cache.stats();
  CHECK(stats.evicted == 0);
  CHECK(stats.disk.read > 100);
  CHECK(stats.disk.damaged == 0);
  for (std::size_t who = 0; who < sessions; ++who) cache.forget(name_of(who));
  for (int i = 0; i < 10'000 && cache.stats().disk.pages + cache.stats().host.pages > 0; ++i)
    cache.wait_for_pages();
  CHECK(cache.stats().disk.pages == 0);
  CHECK(cache.stats().host.pages == 0);
}

TEST_CASE("host memory stays within its bound, and the oldest is lost first", "[tiers]") {
  const auto device = make_shim();
  DevicePages pages(*device);
  KvCache cache(bytes_of_page, 12, &pages, host_pages(*device, 30));
  for (std::size_t who = 0; who < 40; ++who) {
    REQUIRE(turn(cache, talk(who, 100), name_of(who)));
    cache.park(name_of(who), false);
    REQUIRE(cache.stats().host.pages <= 30);
  }
  CHECK(cache.stats().evicted > 0);
  CHECK(turn(cache, talk(39, 100), name_of(39)) == std::size_t{99});
  CHECK(turn(cache, talk(36, 100), name_of(36)) == std::size_t{99});
  CHECK(turn(cache, talk(0, 100), name_of(0)) == std::size_t{0});
}

TEST_CASE("memory that the machine does not give makes the host tier smaller, not wrong",
          "[tiers]") {
  ShimOptions how;
  // One slab of 64 MiB, and no second one.
  how.host_bytes = std::size_t{65} << 20U;
  const auto device = make_shim(how);
  constexpr std::size_t large_page = std::size_t{8} << 20U;
  auto tier = HostPages::open(*device, large_page, 32 * large_page, nullptr);
  REQUIRE(tier);
  DevicePages pages(*device);
  std::byte* page = pages.make_page(large_page);
  std::size_t written = 0;
  for (std::uint64_t ticket = 1; ticket <= 12 && (*tier)->has_slot(); ++ticket) {
    const PageTier::Slot slot = (*tier)->take_slot();
    (*tier)->write(slot, page, ticket);
    for (const PageTier::Done& done : wait_for_one(**tier)) {
      written += done.ok ? 1 : 0;
      if (!done.ok) (*tier)->give_back(done.slot);
    }
  }
  CHECK(written == 8);
  CHECK((*tier)->level(Tier::host).pages_max == 8);
  CHECK_FALSE((*tier)->level(Tier::host).failed);
}

TEST_CASE("a copy that fails ends the host tier, and everything goes on without it", "[tiers]") {
  ShimOptions how;
  how.copies_max = 20;
  const auto device = make_shim(how);
  DevicePages pages(*device);
  KvCache cache(bytes_of_page, 8, &pages, host_pages(*device, 200));
  for (std::size_t round = 0; round < 3; ++round)
    for (std::size_t who = 0; who < 10; ++who) REQUIRE(turn(cache, talk(who, 100), name_of(who)));
  const KvCache::Stats stats = cache.stats();
  // Whichever way the copy went: it is asked no more, or the page was computed again.
  CHECK(stats.host.failed + stats.host.damaged == 1);
}

TEST_CASE("a page that is damaged on the disk behind host memory is computed again", "[tiers]") {
  const auto open_files = [] {
    std::set<int> found;
    for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
      std::error_code none;
      if (std::filesystem::read_symlink(entry.path(), none).string().ends_with("(deleted)"))
        found.insert(std::stoi(entry.path().filename()));
    }
    return found;
  };
  const std::set<int> before = open_files();
  auto file = file_of(400);
  int descriptor = -1;
  for (const int each : open_files())
    if (!before.contains(each)) descriptor = each;
  REQUIRE(descriptor >= 0);
  const auto device = make_shim();
  DevicePages pages(*device);
  KvCache cache(bytes_of_page, 8, &pages, host_pages(*device, 8, std::move(file)));
  for (std::size_t who = 0; who < 12; ++who)
    REQUIRE(turn(cache, talk(who, 130), name_of(who)) == std::size_t{0});
  const std::string noise(400 * bytes_of_page, 'x');
  REQUIRE(pwrite(descriptor, noise.data(), noise.size(), 0) == static_cast<ssize_t>(noise.size()));
  for (std::size_t who = 0; who < 12; ++who) REQUIRE(turn(cache, talk(who, 130), name_of(who)));
  CHECK(cache.stats().disk.damaged > 0);
  CHECK_FALSE(cache.stats().disk.failed);
}

TEST_CASE("a disk behind host memory is tried again by one page of many, and found when it is well",
          "[tiers]") {
  const auto device = make_shim();
  DevicePages pages(*device);
  KvCache cache(bytes_of_page, 12, &pages, host_pages(*device, 16, file_of(400)));
  cache.use(Tier::disk, false);
  for (std::size_t who = 0; who < 200; ++who)
    REQUIRE(turn(cache, talk(who, 100), name_of(who)) == std::size_t{0});
  CHECK(cache.stats().disk.written == 0);
  CHECK(cache.stats().disk.pages <= 1);
  cache.use(Tier::disk, true);
  for (std::size_t who = 200; who < 240; ++who)
    REQUIRE(turn(cache, talk(who, 100), name_of(who)) == std::size_t{0});
  CHECK(cache.stats().disk.written > 20);
}

TEST_CASE("a host tier that does not pay is neither written nor read until it does", "[tiers]") {
  ShimOptions how;
  how.copy_us = 9;
  const auto device = make_shim(how);
  DevicePages pages(*device);
  KvCache cache(bytes_of_page, 40, &pages, host_pages(*device, 400));
  REQUIRE(turn(cache, talk(0, 150), "s0") == std::size_t{0});
  cache.park("s0", false);
  for (std::size_t who = 1; who < 20; ++who)
    REQUIRE(turn(cache, talk(who, 150), name_of(who)) == std::size_t{0});
  for (int i = 0; i < 300; ++i) cache.wait_for_pages();
  cache.use(Tier::host, false);
  const KvCache::Stats before = cache.stats();
  Talk longer = talk(0, 150);
  longer.push_back(-1);
  cache.expect("s0");
  CHECK(turn(cache, longer, "s0") == std::size_t{0});
  for (std::size_t who = 100; who < 200; ++who)
    REQUIRE(turn(cache, talk(who, 150), "") == std::size_t{0});
  const KvCache::Stats after = cache.stats();
  CHECK(after.host.read == before.host.read);
  CHECK(after.host.written == before.host.written);
  CHECK(after.host.probes > 0);  // one page of many tried it
  CHECK(after.host.probes <= after.evicted / 64 + 1);
  CHECK(after.host.probe_us == static_cast<std::int64_t>(9 * after.host.probes));
}

namespace {

// Sessions that run at once, a few tokens a step each, as the scheduler has them.
class Hall {
 public:
  Hall(std::uint64_t seed, std::size_t pages, std::size_t frames, std::size_t disk_pages)
      : random_(seed),
        device_(make_shim(options(seed))),
        memory_(*device_),
        cache_(bytes_of_page, pages, &memory_, host_pages(*device_, frames, file_of(disk_pages))),
        talks_(24) {}

  // False: a page was not what it should be.
  bool step() {
    if (running_.size() < 6 && !open_one()) return false;
    for (std::size_t at = 0; at < running_.size();)
      if (!grow(running_[at]))
        return false;
      else if (running_[at].sequence.length < running_[at].tokens.size())
        ++at;
      else
        end(at);
    if (random_(4) == 0) cache_.park(name_of(random_(talks_.size())), random_(2) == 0);
    if (random_(3) == 0) cache_.expect(name_of(random_(talks_.size())));
    if (random_(2) == 0) cache_.tend();
    if (random_(40) == 0) cache_.use(Tier::host, random_(4) > 0);
    if (random_(40) == 0) cache_.use(Tier::disk, random_(4) > 0);
    if (running_.empty() && cache_.awaits_pages()) cache_.wait_for_pages();
    return true;
  }
  void end_all() {
    while (!running_.empty()) end(0);
  }
  [[nodiscard]] KvCache::Stats stats() const { return cache_.stats(); }

 private:
  struct Running {
    std::size_t who;
    Talk tokens;
    KvCache::Sequence sequence;
  };
  static ShimOptions options(std::uint64_t seed) {
    ShimOptions how;
    how.seed = seed + 1;
    return how;
  }

  bool open_one() {
    const std::size_t who = random_(talks_.size());
    Talk tokens = talks_[who];
    if (tokens.size() > 250) {
      cache_.forget(name_of(who));
      tokens.clear();
    }
    if (tokens.empty()) tokens = Talk(random_(90) + 1, static_cast<TokenId>(random_(3)));
    for (std::size_t i = random_(60); i > 0; --i)
      tokens.push_back(static_cast<TokenId>(random_(2)));
    auto sequence = cache_.open(tokens, tokens.size() + random_(80));
    if (!sequence) return true;
    const bool right = is_right(*sequence, tokens);
    running_.push_back({who, std::move(tokens), std::move(*sequence)});
    return right;
  }
  bool grow(Running& each) {
    if (each.sequence.length % page_tokens == 0 &&
        each.sequence.pages.size() == each.sequence.nodes.size())
      cache_.adopt(each.sequence, each.tokens);
    const std::size_t left = each.tokens.size() - each.sequence.length;
    compute(cache_, each.sequence, each.tokens,
            each.sequence.length + std::min(left, random_(40) + 1));
    return is_right(each.sequence, each.tokens);
  }
  void end(std::size_t at) {
    Running ended = std::move(running_[at]);
    running_.erase(running_.begin() + static_cast<std::ptrdiff_t>(at));
    cache_.close(std::move(ended.sequence), ended.tokens, name_of(ended.who));
    talks_[ended.who] = std::move(ended.tokens);
  }

  Chance random_;
  std::unique_ptr<Device> device_;
  DevicePages memory_;
  KvCache cache_;
  std::vector<Talk> talks_;
  std::vector<Running> running_;
};

}  // namespace

TEST_CASE("random sessions on a GPU never lose or mix up a page between three tiers", "[tiers]") {
  const std::size_t frames = GENERATE(std::size_t{2}, std::size_t{20}, std::size_t{300});
  const std::size_t disk_pages = GENERATE(std::size_t{0}, std::size_t{20}, std::size_t{2000});
  std::size_t host_read = 0;
  std::size_t disk_read = 0;
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    INFO("seed " << seed);
    Hall hall(seed, seed % 2 == 0 ? 13 : 24, frames, disk_pages);
    for (int step = 0; step < 150; ++step) {
      REQUIRE(hall.step());
      REQUIRE(hall.stats().host.pages <= frames);
      REQUIRE(hall.stats().disk.pages <= disk_pages);
    }
    host_read += hall.stats().host.read;
    disk_read += hall.stats().disk.read;
    hall.end_all();
    const KvCache::Stats stats = hall.stats();
    REQUIRE(stats.pages_pinned == 0);
    REQUIRE(stats.host.damaged + stats.disk.damaged == 0);
  }
  CHECK(host_read > 10);
  if (disk_pages > 20 && frames <= 20) CHECK(disk_read > 20);
}

}  // namespace ambit::inference::cuda
