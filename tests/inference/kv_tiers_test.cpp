#include "inference/kv_cache.h"
#include "inference/page_file.h"
#include "support.h"

#include <catch2/catch.hpp>
#include <sys/stat.h>

#include <cstring>
#include <fcntl.h>
#include <map>
#include <numeric>
#include <set>

namespace ambit::inference {

namespace {

using Tokens = std::vector<TokenId>;

constexpr std::size_t bytes_of_page = page_tokens * sizeof(TokenId);

// The open files of this process that have no name any more.
std::set<int> nameless_files() {
  std::set<int> found;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd")) {
    std::error_code none;
    const std::string target = std::filesystem::read_symlink(entry.path(), none).string();
    if (target.ends_with("(deleted)")) found.insert(std::stoi(entry.path().filename()));
  }
  return found;
}

std::unique_ptr<PageFile> page_file(std::size_t pages) {
  auto made = PageFile::open(std::filesystem::temp_directory_path().string(), bytes_of_page,
                             pages * bytes_of_page);
  return made ? std::move(*made) : nullptr;
}

// Makes a page file and says which descriptor it is.
std::pair<std::unique_ptr<PageFile>, int> page_file_and_descriptor(std::size_t pages) {
  const std::set<int> before = nameless_files();
  auto made = page_file(pages);
  for (const int descriptor : nameless_files())
    if (!before.contains(descriptor)) return {std::move(made), descriptor};
  return {std::move(made), -1};
}

Tokens talk_of(std::size_t who, std::size_t length) {
  Tokens tokens(length);
  std::iota(tokens.begin(), tokens.end(), static_cast<TokenId>(who * 10'000));
  return tokens;
}

// As the scheduler does when nothing else is to be done.
std::optional<KvCache::Sequence> open_now(KvCache& cache, const Tokens& tokens,
                                          std::size_t capacity) {
  for (;;) {
    auto sequence = cache.open(tokens, capacity);
    if (sequence || !cache.awaits_pages()) return sequence;
    cache.wait_for_pages();
  }
}

// As a forward pass would: each page says which tokens it was made for.
void fill_to(KvCache& cache, KvCache::Sequence& sequence, const Tokens& tokens,
             std::size_t length) {
  cache.extend(sequence, length - sequence.length);
  for (std::size_t i = sequence.length; i < length; ++i)
    std::memcpy(sequence.pages[i / page_tokens] + i % page_tokens * sizeof(TokenId), &tokens[i],
                sizeof(TokenId));
  cache.commit(sequence, tokens, length);
}

void fill(KvCache& cache, KvCache::Sequence& sequence, const Tokens& tokens) {
  fill_to(cache, sequence, tokens, tokens.size());
}

bool holds(const KvCache::Sequence& sequence, const Tokens& tokens) {
  for (std::size_t i = 0; i < sequence.length; ++i)
    if (std::memcmp(sequence.pages[i / page_tokens] + i % page_tokens * sizeof(TokenId), &tokens[i],
                    sizeof(TokenId)) != 0)
      return false;
  return true;
}

// One turn: opens, fills, closes. Gives how much was found; nothing if what was found is wrong.
std::optional<std::size_t> take_turn(KvCache& cache, const Tokens& tokens,
                                     const std::string& session) {
  auto sequence = open_now(cache, tokens, tokens.size());
  if (!sequence || !holds(*sequence, tokens)) return std::nullopt;
  const std::size_t cached = sequence->cached;
  fill(cache, *sequence, tokens);
  cache.close(std::move(*sequence), tokens, session);
  cache.tend();
  return cached;
}

class Dice {
 public:
  explicit Dice(std::uint64_t seed) : state_(seed) {}
  std::size_t operator()(std::size_t below) {
    state_ = state_ * 6364136223846793005U + 1442695040888963407U;
    return static_cast<std::size_t>(state_ >> 33U) % below;
  }

 private:
  std::uint64_t state_;
};

std::string session_name(std::size_t who) {
  return "s" + std::to_string(who);
}

}  // namespace

TEST_CASE("a page comes back from disk as it went there, and nobody can read it there",
          "[kv][disk]") {
  auto [file, descriptor] = page_file_and_descriptor(4);
  REQUIRE(file != nullptr);
  REQUIRE(descriptor >= 0);
  struct stat status{};
  REQUIRE(fstat(descriptor, &status) == 0);
  CHECK((status.st_mode & 0777U) == 0600U);
  CHECK(status.st_nlink == 0);
  std::vector<std::byte> page(bytes_of_page, std::byte{'k'});
  const PageFile::Slot slot = file->take_slot();
  file->write(slot, page.data(), 7);
  const std::vector<std::byte> written = page;
  page.assign(page.size(), std::byte{0});  // the file has a copy
  file->read(slot, 8);
  std::vector<PageFile::Done> done;
  while (done.size() < 2)
    for (PageFile::Done& each : file->take_done(true)) done.push_back(std::move(each));
  CHECK(done[0].ticket == 7);
  CHECK(done[0].ok);
  CHECK(done[1].ticket == 8);
  CHECK(done[1].ok);
  CHECK(done[1].bytes == written);
  std::string raw(bytes_of_page, '\0');
  REQUIRE(pread(descriptor, raw.data(), raw.size(), 0) == static_cast<ssize_t>(raw.size()));
  CHECK(raw.find("kkkk") == std::string::npos);
  CHECK(file->slots_used() == 1);
  file->give_back(slot);
  CHECK(file->slots_used() == 0);
}

TEST_CASE("a page that changed on disk, or was never written, does not come back", "[kv][disk]") {
  auto [file, descriptor] = page_file_and_descriptor(4);
  REQUIRE(descriptor >= 0);
  const std::vector<std::byte> page(bytes_of_page, std::byte{'k'});
  const PageFile::Slot slot = file->take_slot();
  const PageFile::Slot unwritten = file->take_slot();
  file->write(slot, page.data(), 1);
  CHECK(file->take_done(true).size() == 1);
  char byte = 0;
  REQUIRE(pread(descriptor, &byte, 1, 40) == 1);
  byte = static_cast<char>(byte ^ 1);
  REQUIRE(pwrite(descriptor, &byte, 1, 40) == 1);
  for (const PageFile::Slot each : {slot, unwritten}) {
    file->read(each, 2);
    const auto done = file->take_done(true);
    REQUIRE(done.size() == 1);
    CHECK_FALSE(done[0].ok);
    CHECK(done[0].bytes.empty());
  }
}

TEST_CASE("a disk that cannot be had is said at once", "[kv][disk]") {
  CHECK(PageFile::open("/nowhere/at/all", 4096, 1U << 20U).error().code == Code::unavailable);
  CHECK_THAT(PageFile::open("/tmp", 4096, 4095).error().message, Catch::Contains("holds no page"));
}

TEST_CASE("what memory cannot hold lies on disk, and nothing is computed twice", "[kv][disk]") {
  KvCache cache(bytes_of_page, 40, nullptr, page_file(4000));
  constexpr std::size_t sessions = 200;
  for (std::size_t who = 0; who < sessions; ++who) {
    REQUIRE(take_turn(cache, talk_of(who, 150), session_name(who)) == std::size_t{0});
    cache.park(session_name(who), false);
  }
  for (std::size_t i = 0; i < sessions; ++i) {
    const std::size_t who = i * 77 % sessions;
    cache.expect(session_name(who));
    Tokens longer = talk_of(who, 150);
    longer.push_back(-1);
    REQUIRE(take_turn(cache, longer, session_name(who)) == std::size_t{150});
  }
  const KvCache::Stats stats = cache.stats();
  CHECK(stats.evicted == 0);
  CHECK(stats.pages_peak <= 40);
  CHECK(stats.disk.read >= 4 * (sessions - 8));
  CHECK(stats.disk.pages >= 4 * sessions);
  CHECK_FALSE(stats.disk.failed);
  for (std::size_t who = 0; who < sessions; ++who) cache.forget(session_name(who));
  for (int i = 0; i < 10'000 && cache.stats().disk.pages > 0; ++i) cache.wait_for_pages();
  CHECK(cache.stats().disk.pages == 0);
  CHECK(cache.stats().pages_used == 0);
}

TEST_CASE("a disk that is not worth its time is neither written nor read until it is",
          "[kv][disk]") {
  KvCache cache(bytes_of_page, 40, nullptr, page_file(400));
  REQUIRE(take_turn(cache, talk_of(0, 150), "s0") == std::size_t{0});
  cache.park("s0", false);
  for (std::size_t who = 1; who < 20; ++who)  // takes its memory
    REQUIRE(take_turn(cache, talk_of(who, 150), session_name(who)) == std::size_t{0});
  for (int i = 0; i < 300; ++i) cache.wait_for_pages();  // what was begun
  cache.use(Tier::disk, false);
  const KvCache::Stats before = cache.stats();
  Tokens longer = talk_of(0, 150);
  longer.push_back(-1);
  cache.expect("s0");
  CHECK(take_turn(cache, longer, "s0") == std::size_t{0});
  CHECK(take_turn(cache, longer, "s0") >= std::size_t{128});  // from memory
  cache.park("s0", false);
  CHECK(cache.stats().disk.read == before.disk.read);
  CHECK(cache.stats().disk.written == before.disk.written);
  for (std::size_t who = 1; who < 20; ++who)
    REQUIRE(take_turn(cache, talk_of(100 + who, 150), "") == std::size_t{0});
  cache.use(Tier::disk, true);
  CHECK(take_turn(cache, longer, "s0") > std::size_t{0});  // what lay there is good again
  CHECK(cache.stats().disk.read > before.disk.read);
}

TEST_CASE("memory that becomes short is copied to disk without being told", "[kv][disk]") {
  KvCache cache(bytes_of_page, 24, nullptr, page_file(400));
  for (std::size_t who = 0; who < 40; ++who)
    REQUIRE(take_turn(cache, talk_of(who, 100), session_name(who)) == std::size_t{0});
  for (std::size_t who = 0; who < 40; ++who)
    REQUIRE(take_turn(cache, talk_of(who, 100), session_name(who)) == std::size_t{99});
  CHECK(cache.stats().evicted == 0);
}

TEST_CASE("a page that is damaged on disk is computed again", "[kv][disk]") {
  auto [file, descriptor] = page_file_and_descriptor(400);
  REQUIRE(descriptor >= 0);
  KvCache cache(bytes_of_page, 8, nullptr, std::move(file));
  for (std::size_t who = 0; who < 6; ++who)
    REQUIRE(take_turn(cache, talk_of(who, 130), session_name(who)) == std::size_t{0});
  // The second page of everybody: what comes after it hangs below it.
  struct stat status{};
  REQUIRE(fstat(descriptor, &status) == 0);
  const std::string noise(static_cast<std::size_t>(status.st_size), 'x');
  REQUIRE(pwrite(descriptor, noise.data(), noise.size(), 0) == status.st_size);
  std::size_t found = 0;
  for (std::size_t who = 0; who < 6; ++who) {
    const auto cached = take_turn(cache, talk_of(who, 130), session_name(who));
    REQUIRE(cached);
    found += *cached;
  }
  CHECK(cache.stats().disk.damaged > 0);
  CHECK(found < 6 * 129);
  CHECK_FALSE(cache.stats().disk.failed);
}

TEST_CASE("the disk stays within its bound, and the oldest goes first", "[kv][disk]") {
  KvCache cache(bytes_of_page, 12, nullptr, page_file(30));
  for (std::size_t who = 0; who < 40; ++who) {
    REQUIRE(take_turn(cache, talk_of(who, 100), session_name(who)));
    cache.park(session_name(who), false);
    REQUIRE(cache.stats().disk.pages <= 30);
  }
  CHECK(cache.stats().evicted > 0);
  CHECK(take_turn(cache, talk_of(39, 100), session_name(39)) == std::size_t{99});
  CHECK(take_turn(cache, talk_of(36, 100), session_name(36)) == std::size_t{99});
  CHECK(take_turn(cache, talk_of(0, 100), session_name(0)) == std::size_t{0});
}

TEST_CASE("a disk that fails is asked no more, and everything goes on in memory", "[kv][disk]") {
  auto [file, descriptor] = page_file_and_descriptor(400);
  REQUIRE(descriptor >= 0);
  KvCache cache(bytes_of_page, 8, nullptr, std::move(file));
  // The same number now stands for a device that is always full.
  const int full = open("/dev/full", O_RDWR | O_CLOEXEC);
  REQUIRE(full >= 0);
  REQUIRE(dup2(full, descriptor) == descriptor);
  close(full);
  for (std::size_t round = 0; round < 2; ++round)
    for (std::size_t who = 0; who < 6; ++who)
      REQUIRE(take_turn(cache, talk_of(who, 100), session_name(who)));
  CHECK(cache.stats().disk.failed);
  CHECK(cache.stats().disk.pages == 0);
  CHECK(cache.stats().evicted > 0);
}

TEST_CASE("random sessions never lose or mix up a page on their way to disk and back",
          "[kv][disk]") {
  const std::size_t disk_pages = GENERATE(std::size_t{20}, std::size_t{2000});
  KvCache cache(bytes_of_page, 40, nullptr, page_file(disk_pages));
  std::vector<Tokens> talks(24);
  Dice random(11);
  for (int round = 0; round < 3000; ++round) {
    const std::size_t who = random(talks.size());
    const std::string name = session_name(who);
    if (talks[who].size() > 250 || random(20) == 0) {
      cache.forget(name);
      talks[who].clear();
    }
    if (talks[who].empty()) talks[who] = Tokens(random(60) + 1, static_cast<TokenId>(random(2)));
    for (std::size_t i = random(30); i > 0; --i)
      talks[who].push_back(static_cast<TokenId>(random(4)));
    if (random(3) == 0) cache.expect(session_name(random(talks.size())));
    auto sequence = open_now(cache, talks[who], talks[who].size() + random(40));
    REQUIRE(sequence);
    REQUIRE(holds(*sequence, talks[who]));
    if (random(4) == 0) cache.park(session_name(random(talks.size())), random(2) == 0);
    fill(cache, *sequence, talks[who]);
    REQUIRE(holds(*sequence, talks[who]));
    cache.close(std::move(*sequence), talks[who], name);
    if (random(2) == 0) cache.tend();
    const KvCache::Stats stats = cache.stats();
    REQUIRE(stats.pages_used <= 40);
    REQUIRE(stats.pages_pinned == 0);
    REQUIRE(stats.disk.pages <= disk_pages);
  }
  CHECK(cache.stats().disk.read > 100);
  CHECK(cache.stats().disk.damaged == 0);
  if (disk_pages == 2000) CHECK(cache.stats().evicted == 0);
}

namespace {

// Sessions that run at once, a few tokens a step each, as the scheduler has them.
class Crowd {
 public:
  Crowd(std::uint64_t seed, std::size_t pages, std::size_t disk_pages)
      : random_(seed), cache_(bytes_of_page, pages, nullptr, page_file(disk_pages)), talks_(24) {}

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
    if (random_(4) == 0) cache_.park(session_name(random_(talks_.size())), random_(2) == 0);
    if (random_(3) == 0) cache_.expect(session_name(random_(talks_.size())));
    if (random_(2) == 0) cache_.tend();
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
    Tokens tokens;
    KvCache::Sequence sequence;
  };

  bool open_one() {
    const std::size_t who = random_(talks_.size());
    Tokens tokens = talks_[who];
    if (tokens.size() > 250) {
      cache_.forget(session_name(who));
      tokens.clear();
    }
    if (tokens.empty()) tokens = Tokens(random_(90) + 1, static_cast<TokenId>(random_(3)));
    for (std::size_t i = random_(60); i > 0; --i)
      tokens.push_back(static_cast<TokenId>(random_(2)));
    auto sequence = cache_.open(tokens, tokens.size() + random_(80));
    if (!sequence) return true;
    const bool is_right = holds(*sequence, tokens);
    running_.push_back({who, std::move(tokens), std::move(*sequence)});
    return is_right;
  }
  bool grow(Running& each) {
    if (each.sequence.length % page_tokens == 0 &&
        each.sequence.pages.size() == each.sequence.nodes.size())
      cache_.adopt(each.sequence, each.tokens);
    const std::size_t left = each.tokens.size() - each.sequence.length;
    fill_to(cache_, each.sequence, each.tokens,
            each.sequence.length + std::min(left, random_(40) + 1));
    return holds(each.sequence, each.tokens);
  }
  void end(std::size_t at) {
    Running ended = std::move(running_[at]);
    running_.erase(running_.begin() + static_cast<std::ptrdiff_t>(at));
    cache_.close(std::move(ended.sequence), ended.tokens, session_name(ended.who));
    talks_[ended.who] = std::move(ended.tokens);
  }

  Dice random_;
  KvCache cache_;
  std::vector<Tokens> talks_;
  std::vector<Running> running_;
};

}  // namespace

TEST_CASE("sequences that run at once are given every page that they were promised", "[kv][disk]") {
  const std::size_t pages = GENERATE(std::size_t{13}, std::size_t{24});
  const std::size_t disk_pages = GENERATE(std::size_t{0}, std::size_t{20}, std::size_t{2000});
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    Crowd crowd(seed, pages, disk_pages);
    for (int step = 0; step < 150; ++step) {
      REQUIRE(crowd.step());
      REQUIRE(crowd.stats().pages_used <= pages);
      REQUIRE(crowd.stats().pages_pinned <= pages);
    }
    crowd.end_all();
    REQUIRE(crowd.stats().pages_pinned == 0);
    REQUIRE(crowd.stats().disk.damaged == 0);
  }
}

namespace {

// Many sessions say something, are parked, and go on in another order. Gives what each found of its
// conversation.
std::vector<std::int64_t> park_and_resume(Decoder& decoder, std::size_t sessions) {
  std::vector<agents::TurnRequest> talks;
  for (std::size_t i = 0; i < sessions; ++i) {
    talks.push_back(ask("session " + std::to_string(i * 7919) + " asks for the tea " +
                            std::string(60, static_cast<char>('a' + i % 26)),
                        4, session_name(i)));
    const auto turn = decoder.complete(talks[i]);
    if (!turn) return {};
    talks[i].messages.push_back(turn->message);
    talks[i].messages.push_back({agents::Role::user, "and then?", {}, "", ""});
    decoder.observe(talks[i].session, agents::SessionEvent::parked);
  }
  std::vector<std::int64_t> found;
  for (std::size_t i = 0; i < sessions; ++i) {
    const agents::TurnRequest& request = talks[i * 37 % sessions];
    decoder.observe(request.session, agents::SessionEvent::call_ends_soon);
    const auto turn = decoder.complete(request);
    if (!turn) return {};
    found.push_back(turn->usage.cached_tokens);
  }
  return found;
}

}  // namespace

TEST_CASE("parked sessions go on where they were, however many there are", "[engine][disk]") {
  SynthShape shape;
  shape.layers = 1;
  const auto file = synthetic(shape);
  REQUIRE(file != nullptr);
  const auto everything = decoder_for(file);
  REQUIRE(everything != nullptr);
  EngineOptions options;
  options.kv_bytes = 64 * Forward::page_bytes(file->model().config, options.kv_type);
  options.kv_disk_folder = std::filesystem::temp_directory_path().string();
  options.kv_disk_bytes = 256U << 20U;
  options.kv_disk_pays = true;
  const auto decoder = decoder_for(file, options);
  REQUIRE(decoder != nullptr);
  constexpr std::size_t sessions = 100;
  const std::vector<std::int64_t> found = park_and_resume(*decoder, sessions);
  REQUIRE(found.size() == sessions);
  CHECK(found == park_and_resume(*everything, sessions));
  CHECK(decoder->stats().kv.evicted == 0);
  CHECK(decoder->stats().kv.disk.read > sessions);
  CHECK(decoder->stats().kv.pages_peak <= 64);
}

TEST_CASE("a disk that fails is said once, and turns go on", "[engine][disk]") {
  SynthShape shape;
  shape.layers = 1;
  const auto file = synthetic(shape);
  REQUIRE(file != nullptr);
  const std::set<int> before = nameless_files();
  std::vector<std::string> said;
  EngineOptions options;
  options.kv_bytes = 16 * Forward::page_bytes(file->model().config, options.kv_type);
  options.kv_disk_folder = std::filesystem::temp_directory_path().string();
  options.kv_disk_bytes = 64U << 20U;
  options.kv_disk_pays = true;
  options.warn = [&](const std::string& what) { said.push_back(what); };
  const auto decoder = decoder_for(file, options);
  REQUIRE(decoder != nullptr);
  const int full = open("/dev/full", O_RDWR | O_CLOEXEC);
  REQUIRE(full >= 0);
  for (const int descriptor : nameless_files())
    if (!before.contains(descriptor)) REQUIRE(dup2(full, descriptor) == descriptor);
  close(full);
  for (std::size_t i = 0; i < 64; ++i)
    CHECK(decoder->complete(ask("turn " + std::to_string(i * 7919), 2, session_name(i))));
  REQUIRE(said.size() == 1);
  CHECK_THAT(said[0], Catch::Contains("stay in memory from now on"));
}

}  // namespace ambit::inference
