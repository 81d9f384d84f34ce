// Runs the same sessions again and again with random batches, step sizes, thread counts, memory,
// disk, moves between the two, orders of arrival, cancellations and drafts, and compares every
// logit vector that was asked for with that of the session alone, bit by bit. Ends with "N
// comparisons, N different"; exit status 1 if any differs.
//   bench_invariance [ROUNDS [SEED]]
// AMBIT_BENCH_DEVICE: what computes (cpu); on a GPU pages move to the host's memory and from there
// to disk. AMBIT_BENCH_MINUTES: rounds go on for so long, however many there are. AMBIT_BENCH_FILE:
// a model, instead of small ones of all types. AMBIT_BENCH_SESSIONS (12): how many talk.

#include "inference/decoder.h"
#include "inference/synth.h"

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <map>
#include <unistd.h>

using namespace ambit;
using namespace ambit::inference;

namespace {

class Dice {
 public:
  explicit Dice(std::uint64_t seed) : seed_(seed) {}
  std::size_t roll(std::size_t least, std::size_t most) {
    const double u = uniform(seed_, ++count_, 0);
    return least + static_cast<std::size_t>(u * static_cast<double>(most - least + 1));
  }

 private:
  std::uint64_t seed_;
  std::uint64_t count_ = 0;
};

using Clock = std::chrono::steady_clock;

const char* setting(const char* variable, const char* fallback) {
  const char* given = std::getenv(variable);
  return given != nullptr ? given : fallback;
}
std::size_t number(const char* variable, const char* fallback) {
  return std::strtoull(setting(variable, fallback), nullptr, 10);
}
bool on_gpu() {
  return std::strcmp(setting("AMBIT_BENCH_DEVICE", "cpu"), "cpu") != 0;
}

// A session is a conversation of three turns; sessions of one family fork from the same beginning.
// On a GPU that is longer than a chunk of attention and than a pass of prompts.
const std::size_t sessions = std::max<std::size_t>(number("AMBIT_BENCH_SESSIONS", "12"), 1);
constexpr std::size_t turns = 3;

agents::TurnRequest request_of(std::size_t session, std::size_t turn) {
  agents::TurnRequest request;
  request.session = "s" + std::to_string(session);
  const std::string family(60 + session % 3 * 37, static_cast<char>('a' + session % 3));
  std::string rules = "You are an agent. " + family;
  if (on_gpu())
    for (std::size_t i = 0; i < 160; ++i) rules += " " + std::to_string(i * (session % 3 + 7));
  request.messages.push_back({agents::Role::system, rules, {}, "", ""});
  for (std::size_t i = 0; i <= turn; ++i) {
    if (i > 0) request.messages.push_back({agents::Role::assistant, "done " + family, {}, "", ""});
    request.messages.push_back({agents::Role::user,
                                "report " + std::to_string(session / 3) + " part " +
                                    std::to_string(i) + std::string(session % 32 * 3, 'e'),
                                {},
                                "",
                                ""});
  }
  request.sampling.temperature = session % 2 == 0 ? 0.0 : 0.8;
  request.sampling.repeat_penalty = session % 4 == 1 ? 1.1 : 1.0;
  request.sampling.seed = session;
  request.tokens_max = 16;
  if (session % 4 == 2)
    request.output_schema = R"({"type":"object","properties":{"at":{"enum":["tea","sea","lea"]},)"
                            R"("n":{"type":"integer"}},"required":["at","n"]})";
  return request;
}

struct Key {
  std::size_t session, turn, position;
  auto operator<=>(const Key&) const = default;
};
// The vectors' bits, in so few that those of many sessions of a real vocabulary can be kept.
struct Digest {
  std::uint64_t a = 0x9E3779B97F4A7C15U, b = 0xCBF29CE484222325U;
  bool operator==(const Digest&) const = default;
};
using Logits = std::map<Key, Digest>;

Digest digest(std::span<const float> logits) {
  Digest made;
  for (const float value : logits) {
    std::uint32_t bits = 0;
    std::memcpy(&bits, &value, sizeof bits);
    made.a = (made.a ^ bits) * 0xFF51AFD7ED558CCDU;
    made.a ^= made.a >> 29U;
    made.b = (made.b ^ bits) * 0x100000001B3U;
  }
  return made;
}

struct Count {
  std::size_t compared = 0;
  std::size_t different = 0;
  std::size_t moved = 0;  // pages that came back from disk or from the host
  std::size_t rounds = 0;
};

void die(const std::string& what) {
  std::fprintf(stderr, "invariance: %s\n", what.c_str());
  std::exit(2);
}

// Runs turn after turn of all sessions in random order; `see` gets every logit vector.
template <class See>
void play(Decoder& decoder, Dice& dice, bool alone, const See& see) {
  for (std::size_t turn = 0; turn < turns; ++turn) {
    std::vector<std::size_t> order;
    for (std::size_t i = 0; i < sessions; ++i)
      order.insert(order.begin() + static_cast<std::ptrdiff_t>(dice.roll(0, order.size())), i);
    std::map<std::uint64_t, std::size_t> open;
    decoder.scheduler().set_observer(
        [&](std::uint64_t id, std::size_t position, std::span<const float> logits) {
          if (const auto at = open.find(id); at != open.end())
            see(Key{at->second, turn, position}, logits);
        });
    Decoder::Progress progress;
    for (const std::size_t session : order) {
      const auto id = decoder.submit(request_of(session, turn));
      if (!id) die(id.error().message);
      open[*id] = session;
      if (!alone && dice.roll(0, 5) == 0) {  // somebody who gives up half way
        const auto gone = decoder.submit(request_of(dice.roll(0, sessions - 1), turn));
        for (std::size_t i = dice.roll(0, 3); i > 0; --i) decoder.step(progress);
        if (gone) decoder.cancel(*gone);
      }
      for (std::size_t i = alone ? ~std::size_t{0} : dice.roll(0, 4); i > 0 && !decoder.idle(); --i)
        decoder.step(progress);
      if (!alone && dice.roll(0, 7) == 0)
        decoder.observe("s" + std::to_string(dice.roll(0, sessions - 1)),
                        agents::SessionEvent::gone);
      constexpr agents::SessionEvent events[] = {agents::SessionEvent::call_begins,
                                                 agents::SessionEvent::parked,
                                                 agents::SessionEvent::call_ends_soon};
      if (!alone && dice.roll(0, 1) == 0)
        decoder.observe("s" + std::to_string(dice.roll(0, sessions - 1)), events[dice.roll(0, 2)]);
    }
    while (!decoder.idle()) decoder.step(progress);
    for (const auto& each : progress.ended)
      if (!each.second) die(each.second.error().message);
  }
}

std::unique_ptr<Decoder> decoder_for(const std::shared_ptr<const ModelFile>& file,
                                     EngineOptions options) {
  auto made = Decoder::make(file, std::move(options));
  if (!made) die(made.error().message);
  return std::move(*made);
}

struct Kind {
  std::string name;
  KvType kv = KvType::f16;
  bool fp8_weights = false;
};

Count compare(const std::shared_ptr<const ModelFile>& file, const Kind& kind, std::size_t rounds,
              Clock::time_point until, Dice& dice) {
  EngineOptions options;
  options.device = setting("AMBIT_BENCH_DEVICE", "cpu");
  options.kv_type = kind.kv;
  options.fp8_weights = kind.fp8_weights;
  options.batch_max = 1;
  options.step_tokens_max = 1;
  options.draft_max = 0;
  Logits reference;
  std::size_t page = 0;
  {
    const auto alone = decoder_for(file, options);
    page = alone->stats().page_bytes;
    play(*alone, dice, true,
         [&](Key key, std::span<const float> logits) { reference[key] = digest(logits); });
  }
  Count count;
  while (count.rounds < rounds || Clock::now() < until) {
    ++count.rounds;
    options.batch_max = dice.roll(1, std::max<std::size_t>(sessions, 16));
    options.step_tokens_max = dice.roll(1, 2) == 1 ? dice.roll(1, 40) : dice.roll(41, 600);
    options.threads = dice.roll(1, 3);
    options.draft_max = dice.roll(0, 8);
    // Each can have a session to itself.
    const std::size_t least = on_gpu() ? 80 : 40;
    options.kv_bytes = page * (dice.roll(0, 1) == 0 ? dice.roll(least, 2 * least) : 4096);
    options.kv_disk_folder = std::filesystem::temp_directory_path().string();
    options.kv_disk_bytes = page * (dice.roll(0, 2) == 0 ? 0 : dice.roll(20, 2000));
    options.kv_disk_pays = true;
    if (on_gpu()) {
      options.kv_host_bytes = page * dice.roll(20, 400);
      options.kv_host_pays = true;
    }
    const auto decoder = decoder_for(file, options);
    play(*decoder, dice, false, [&](Key key, std::span<const float> logits) {
      const auto known = reference.find(key);
      ++count.compared;
      if (known == reference.end() || known->second != digest(logits)) ++count.different;
    });
    const KvCache::Stats kv = decoder->stats().kv;
    count.moved += kv.disk.read + kv.host.read;
  }
  std::printf("%-18s %3zu rounds %8zu comparisons, %zu different, %zu pages came back from below\n",
              kind.name.c_str(), count.rounds, count.compared, count.different, count.moved);
  std::fflush(stdout);
  return count;
}

std::shared_ptr<const ModelFile> file_at(const std::string& path) {
  auto file = ModelFile::open(path);
  if (!file) die(file.error().message);
  return *file;
}

std::shared_ptr<const ModelFile> synthetic(const SynthShape& shape) {
  const std::string path =
      (std::filesystem::temp_directory_path() / ("ambit_invariance." + std::to_string(getpid())))
          .string();
  const auto written = synthesize(shape).write(path);
  if (!written) die(written.error().message);
  auto file = file_at(path);
  std::filesystem::remove(path);
  return file;
}

struct Case {
  SynthShape shape;
  Kind kind;
};

// Small models of all types, in the pages that the device has.
std::vector<Case> small_cases() {
  std::vector<Case> cases;
  for (const DType type :
       {DType::f16, DType::bf16, DType::q8_0, DType::q4_0, DType::q4_k, DType::q6_k}) {
    SynthShape shape;
    shape.type = type;
    if (block_elements(type) == 256) {
      shape.width = shape.hidden = 256;
      shape.head_width = 64;
    }
    const std::string name = "llama " + std::string(to_string(type));
    cases.push_back({shape, {name}});
    if (type == DType::q8_0 && !on_gpu()) cases.push_back({shape, {name + " q8", KvType::q8}});
    if (type == DType::bf16 && on_gpu())
      cases.push_back({shape, {name + " fp8", KvType::fp8, true}});
  }
  SynthShape gemma;
  gemma.architecture = "gemma2";
  gemma.window = 48;
  gemma.type = DType::q8_0;
  cases.push_back({gemma, {"gemma2 Q8_0", on_gpu() ? KvType::f16 : KvType::f32}});
  return cases;
}

}  // namespace

int main(int argc, char** argv) {
  const std::size_t rounds = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 4;
  Dice dice(argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 1);
  const Clock::time_point began = Clock::now();
  const double seconds = 60 * std::strtod(setting("AMBIT_BENCH_MINUTES", "0"), nullptr);
  // Each of so many has an equal part of the time.
  const auto until = [&](std::size_t done, std::size_t all) {
    return began + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(
                       seconds * static_cast<double>(done) / static_cast<double>(all)));
  };
  Count all;
  const auto add = [&all](const Count& of) {
    all.rounds += of.rounds;
    all.compared += of.compared;
    all.different += of.different;
    all.moved += of.moved;
  };
  if (const std::string path = setting("AMBIT_BENCH_FILE", ""); !path.empty()) {
    const auto file = file_at(path);
    std::vector<Kind> kinds = {{file->model().config.name}};
    if (on_gpu()) kinds.push_back({"the same, fp8", KvType::fp8, true});
    for (std::size_t i = 0; i < kinds.size(); ++i)
      add(compare(file, kinds[i], rounds, until(i + 1, kinds.size()), dice));
  } else {
    const std::vector<Case> cases = small_cases();
    for (std::size_t i = 0; i < cases.size(); ++i)
      add(compare(synthetic(cases[i].shape), cases[i].kind, rounds, until(i + 1, cases.size()),
                  dice));
  }
  std::printf("%zu rounds, %zu comparisons, %zu different\n", all.rounds, all.compared,
              all.different);
  return all.different == 0 && all.compared > 0 && all.moved > 0 ? 0 : 1;
}
