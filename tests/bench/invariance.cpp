// Runs the same sessions again and again with random batches, step sizes, thread counts, memory,
// disk, moves between the two, orders of arrival, cancellations and drafts, and compares every
// logit vector that was asked for with that of the session alone, bit by bit. Ends with "N
// comparisons, N different"; exit status 1 if any differs.
//   bench_invariance [ROUNDS [SEED]]

#include "inference/decoder.h"
#include "inference/synth.h"

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

// A session is a conversation of three turns; sessions of one family fork from the same beginning.
constexpr std::size_t sessions = 12;
constexpr std::size_t turns = 3;

agents::TurnRequest request_of(std::size_t session, std::size_t turn) {
  agents::TurnRequest request;
  request.session = "s" + std::to_string(session);
  const std::string family(60 + session % 3 * 37, static_cast<char>('a' + session % 3));
  request.messages.push_back({agents::Role::system, "You are an agent. " + family, {}, "", ""});
  for (std::size_t i = 0; i <= turn; ++i) {
    if (i > 0) request.messages.push_back({agents::Role::assistant, "done " + family, {}, "", ""});
    request.messages.push_back({agents::Role::user,
                                "report " + std::to_string(session / 3) + " part " +
                                    std::to_string(i) + std::string(session * 3, 'e'),
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
using Logits = std::map<Key, std::vector<float>>;

struct Count {
  std::size_t compared = 0;
  std::size_t different = 0;
  std::size_t moved = 0;  // pages that came back from disk
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

Count compare(const SynthShape& shape, KvType kv, std::size_t rounds, Dice& dice) {
  const std::string path =
      (std::filesystem::temp_directory_path() / ("ambit_invariance." + std::to_string(getpid())))
          .string();
  const auto written = synthesize(shape).write(path);
  if (!written) die(written.error().message);
  const auto file = ModelFile::open(path);
  std::filesystem::remove(path);
  if (!file) die(file.error().message);
  EngineOptions options;
  options.kv_type = kv;
  options.batch_max = 1;
  options.step_tokens_max = 1;
  options.draft_max = 0;
  Logits reference;
  const auto alone = decoder_for(*file, options);
  play(*alone, dice, true, [&](Key key, std::span<const float> logits) {
    reference[key].assign(logits.begin(), logits.end());
  });
  Count count;
  const std::size_t page = Forward::page_bytes((*file)->model().config, kv);
  for (std::size_t round = 0; round < rounds; ++round) {
    options.batch_max = dice.roll(1, 16);
    options.step_tokens_max = dice.roll(1, 2) == 1 ? dice.roll(1, 40) : dice.roll(41, 600);
    options.threads = dice.roll(1, 3);
    options.draft_max = dice.roll(0, 8);
    options.kv_bytes = page * (dice.roll(0, 1) == 0 ? dice.roll(40, 80) : 4096);
    options.kv_disk_folder = std::filesystem::temp_directory_path().string();
    options.kv_disk_bytes = page * (dice.roll(0, 2) == 0 ? 0 : dice.roll(20, 2000));
    options.kv_disk_pays = true;
    const auto decoder = decoder_for(*file, options);
    play(*decoder, dice, false, [&](Key key, std::span<const float> logits) {
      const auto known = reference.find(key);
      ++count.compared;
      if (known == reference.end() ||
          std::memcmp(known->second.data(), logits.data(), logits.size_bytes()) != 0)
        ++count.different;
    });
    count.moved += decoder->stats().kv.disk.read;
  }
  std::printf("%-7s %-5s %-4s %6zu comparisons, %zu different, %zu pages came from disk\n",
              shape.architecture.c_str(), std::string(to_string(shape.type)).c_str(),
              kv == KvType::f16  ? "F16"
              : kv == KvType::q8 ? "Q8"
                                 : "F32",
              count.compared, count.different, count.moved);
  std::fflush(stdout);
  return count;
}

}  // namespace

int main(int argc, char** argv) {
  const std::size_t rounds = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 4;
  Dice dice(argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 1);
  Count all;
  const auto add = [&all](const Count& of) {
    all.compared += of.compared;
    all.different += of.different;
    all.moved += of.moved;
  };
  for (const DType type :
       {DType::f16, DType::bf16, DType::q8_0, DType::q4_0, DType::q4_k, DType::q6_k}) {
    SynthShape shape;
    shape.type = type;
    if (block_elements(type) == 256) {
      shape.width = shape.hidden = 256;
      shape.head_width = 64;
    }
    add(compare(shape, KvType::f16, rounds, dice));
    if (type == DType::q8_0) add(compare(shape, KvType::q8, rounds, dice));
  }
  SynthShape gemma;
  gemma.architecture = "gemma2";
  gemma.window = 48;
  gemma.type = DType::q8_0;
  add(compare(gemma, KvType::f32, rounds, dice));
  std::printf("%zu comparisons, %zu different\n", all.compared, all.different);
  return all.different == 0 && all.compared > 0 && all.moved > 0 ? 0 : 1;
}
