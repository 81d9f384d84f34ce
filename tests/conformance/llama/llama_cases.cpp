// Our engine beside llama.cpp on the same files: the probabilities of every architecture and type
// (models with random weights, judged by the definition in double precision), the tokens of public
// vocabularies, the perplexity of the project's own model. Prints a line of JSON a suite.
//
// llama_cases PEER BINARIES FOLDER [OWN_MODEL TEXT [VOCABULARIES]]
// PEER: llama.cpp or ik_llama.cpp. Without a model of our own only the probabilities are compared.

#include "engine_logits.h"
#include "inference/model_file.h"
#include "inference/requantize.h"
#include "inference/synth.h"
#include "naive_forward.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <numeric>
#include <optional>
#include <sstream>
#include <string>

namespace ambit::inference {
namespace {

using Json = nlohmann::ordered_json;

struct Peer {
  std::string name;
  std::string binaries;
  std::string folder;
};

struct Suite {
  explicit Suite(std::string what) : name(std::move(what)) {}

  std::string name;
  int passed = 0;
  int failed = 0;
  int skipped = 0;
  std::vector<std::string> failures;
  Json more = Json::object();

  void count(bool good, const std::string& what) {
    ++(good ? passed : failed);
    if (!good) failures.push_back(what);
  }
  bool print() const {
    Json line = {{"suite", name},
                 {"passed", passed},
                 {"failed", failed},
                 {"skipped", skipped},
                 {"failures", failures}};
    line.update(more);
    std::printf("%s\n", line.dump().c_str());
    std::fflush(stdout);
    return failed == 0;
  }
};

std::string read_whole(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

void write_whole(const std::string& path, const std::string& text) {
  std::ofstream(path, std::ios::binary) << text;
}

int run(const std::string& command) {
  return std::system(command.c_str());  // NOLINT(cert-env33-c): the peer's own programs
}

// What llama-perplexity saves: the tokens of each stretch, and from its middle on the logarithms of
// the probabilities of every token, in 16 bits each.
struct Saved {
  std::size_t context = 0;
  std::vector<std::vector<TokenId>> stretches;
  std::vector<std::vector<double>> rows;  // of each stretch [context/2, context-1)
};

template <typename T>
T take(const std::string& bytes, std::size_t& at) {
  T value{};
  if (at + sizeof value <= bytes.size()) std::memcpy(&value, bytes.data() + at, sizeof value);
  at += sizeof value;
  return value;
}

std::optional<Saved> read_saved(const std::string& path) {
  const std::string bytes = read_whole(path);
  if (!bytes.starts_with("_logits_")) return std::nullopt;
  std::size_t at = 8;
  Saved saved;
  saved.context = static_cast<std::size_t>(take<std::int32_t>(bytes, at));
  const auto vocabulary = static_cast<std::size_t>(take<std::int32_t>(bytes, at));
  const auto stretches = static_cast<std::size_t>(take<std::int32_t>(bytes, at));
  for (std::size_t i = 0; i < stretches; ++i) {
    std::vector<TokenId> tokens;
    for (std::size_t k = 0; k < saved.context; ++k) tokens.push_back(take<std::int32_t>(bytes, at));
    saved.stretches.push_back(std::move(tokens));
  }
  const std::size_t rows = stretches * (saved.context - 1 - saved.context / 2);
  const std::size_t numbers = 2 * ((vocabulary + 1) / 2) + 4;
  if (bytes.size() < at + rows * numbers * 2) return std::nullopt;
  for (std::size_t row = 0; row < rows; ++row) {
    std::size_t place = at + row * numbers * 2;
    const auto scale = take<float>(bytes, place);
    const auto least = take<float>(bytes, place);
    std::vector<double> values(vocabulary);
    for (double& value : values)
      value = static_cast<double>(least) +
              static_cast<double>(scale) * take<std::uint16_t>(bytes, place);
    saved.rows.push_back(std::move(values));
  }
  return saved;
}

template <typename T>
std::vector<double> log_probabilities(const std::vector<T>& logits) {
  const double most = static_cast<double>(*std::max_element(logits.begin(), logits.end()));
  double sum = 0;
  for (const T one : logits) sum += std::exp(static_cast<double>(one) - most);
  std::vector<double> all;
  for (const T one : logits) all.push_back(static_cast<double>(one) - most - std::log(sum));
  return all;
}

// The root of the mean square of what was added.
class Distance {
 public:
  // Of tokens that the peer's form can tell apart: those not too far below the likeliest.
  void add(const std::vector<double>& one, const std::vector<double>& right) {
    constexpr double kept = 15;
    const double most = *std::max_element(right.begin(), right.end());
    for (std::size_t i = 0; i < one.size(); ++i) {
      if (right[i] <= most - kept || one[i] <= most - kept) continue;
      squares_ += (one[i] - right[i]) * (one[i] - right[i]);
      ++count_;
    }
  }
  void add(const Distance& other) {
    squares_ += other.squares_;
    count_ += other.count_;
  }
  [[nodiscard]] double value() const {
    return count_ == 0 ? 0 : std::sqrt(squares_ / static_cast<double>(count_));
  }

 private:
  double squares_ = 0;
  std::size_t count_ = 0;
};

constexpr std::size_t context = 64;
constexpr std::size_t stretches_max = 2;

// Our log-probabilities of what the peer has saved.
std::vector<std::vector<double>> ours_of(const Model& model, const Saved& saved) {
  std::vector<std::vector<double>> rows;
  for (const auto& tokens : saved.stretches) {
    const auto logits = engine_logits(model, *usable_kernels().back(), KvType::f32, tokens, 32, 2);
    for (std::size_t i = saved.context / 2; i + 1 < saved.context; ++i)
      rows.push_back(log_probabilities(logits[i]));
  }
  return rows;
}

std::optional<Saved> ask_peer(const Peer& peer, const std::string& model, const std::string& text,
                              std::size_t tokens, std::size_t stretches, const std::string& cache) {
  const std::string saved = peer.folder + "/saved.kld";
  std::filesystem::remove(saved);
  run("'" + peer.binaries + "/llama-perplexity' -m '" + model + "' -f '" + text +
      "' --kl-divergence-base '" + saved + "' -c " + std::to_string(tokens) + " -b " +
      std::to_string(tokens) + " --chunks " + std::to_string(stretches) + " -t 2 -ctk " + cache +
      (cache == "f32" ? " -ctv f32" : "") + " >'" + model + ".log' 2>&1");
  return read_saved(saved);
}

struct Kind {
  const char* name;
  DType type;
};
constexpr Kind kinds[] = {{"F32", DType::f32},   {"F16", DType::f16},   {"BF16", DType::bf16},
                          {"Q8_0", DType::q8_0}, {"Q4_0", DType::q4_0}, {"Q4_K", DType::q4_k},
                          {"Q5_K", DType::q5_k}, {"Q6_K", DType::q6_k}};
// How far our log-probabilities may lie from the definition's, with the same rounded weights: this,
// or so much further than the peer's. The rest is inputs that are rounded for speed, which random
// weights enlarge from layer to layer: on one model alone chance decides who is nearer, so there
// are several of each family.
constexpr double tolerance = 1e-3;
constexpr std::uint64_t seeds = 4;
constexpr double than_peer = 1.25;
constexpr double than_peer_on_all = 1.1;

std::string some_words() {
  std::string text;
  std::uint32_t state = 7;
  constexpr std::string_view letters = "etaoinshrdlu";
  while (text.size() < 4096) {
    state = state * 1664525 + 1013904223;
    text += letters[(state >> 24U) % letters.size()];
    if ((state >> 16U) % 6 == 0) text += ' ';
  }
  return text;
}

SynthShape shape_of(const std::string& name, const Kind& kind) {
  SynthShape shape;
  shape.architecture = name.substr(0, name.find('-'));
  shape.type = kind.type;
  // The peer scales Gemma 2's attention by how many layers there are.
  shape.layers = shape.architecture == "gemma2" ? 26 : shape.architecture == "gemma3" ? 6 : 4;
  shape.width = 256;
  shape.hidden = 512;
  shape.heads = 4;
  shape.kv_heads = 2;
  shape.head_width = 64;
  shape.tied = shape.architecture != "qwen2" && shape.architecture != "phi3";
  shape.rope_factors = name == "llama-factors";
  shape.window = shape.architecture == "gemma2" || shape.architecture == "gemma3" ? 16 : 0;
  if (name == "phi3-window") shape.window = 16;
  if (name == "phi3-longrope") {
    shape.rope_scaling = "longrope";
    shape.context = 128;  // made longer from 32, and the peer is asked for more than that
  }
  if (name == "qwen2-yarn") shape.rope_scaling = "yarn";
  if (name == "llama-linear") shape.rope_scaling = "linear";
  return shape;
}

// How far both are from the definition on models of one family and type, each with other weights;
// nothing: the peer does not compute them.
struct Apart {
  Distance ours;
  Distance theirs;
};

Result<std::optional<Apart>> apart_on(const Peer& peer, const std::string& name, const Kind& kind,
                                      const std::string& text) {
  Apart apart;
  const std::string path = peer.folder + "/" + name + "-" + kind.name + ".gguf";
  for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
    SynthShape shape = shape_of(name, kind);
    shape.seed = seed;
    TRY(synthesize(shape).write(path));
    const auto file = TRY(ModelFile::open(path));
    // The fused attention of ik_llama.cpp has no 32-bit keys and values.
    const auto saved = ask_peer(peer, path, text, context, stretches_max,
                                peer.name == "ik_llama.cpp" ? "f16" : "f32");
    std::filesystem::remove(path);
    if (!saved) return std::optional<Apart>();
    const auto ours = ours_of(file->model(), *saved);
    std::size_t row = 0;
    for (const auto& tokens : saved->stretches) {
      const auto exact = naive_logits(file->file(), tokens);
      for (std::size_t i = context / 2; i + 1 < context; ++i, ++row) {
        const auto right = log_probabilities(exact[i]);
        apart.ours.add(ours[row], right);
        apart.theirs.add(saved->rows[row], right);
      }
    }
  }
  return apart;
}

bool compare_logits(const Peer& peer) {
  const std::string text = peer.folder + "/words.txt";
  write_whole(text, some_words());
  bool good = true;
  std::size_t types = 0;
  const char* chosen = std::getenv("AMBIT_LLAMA_TYPES");
  for (const Kind& kind : kinds) {
    if (chosen != nullptr &&
        ("," + std::string(chosen) + ",").find("," + std::string(kind.name) + ",") ==
            std::string::npos)
      continue;
    ++types;
    Suite suite("logits " + std::string(kind.name) + " beside " + peer.name);
    Apart all;
    for (const char* name :
         {"llama", "llama-factors", "llama-linear", "qwen2", "qwen2-yarn", "qwen3", "smollm3",
          "phi3", "phi3-window", "phi3-longrope", "gemma", "gemma2", "gemma3"}) {
      const auto apart = apart_on(peer, name, kind, text);
      if (!apart) {
        suite.count(false, std::string(name) + ": " + apart.error().message);
        continue;
      }
      if (!*apart) {
        std::fprintf(stderr, "skipped: %s %s: %s does not compute it\n", name, kind.name,
                     peer.name.c_str());
        ++suite.skipped;
        continue;
      }
      all.ours.add((*apart)->ours);
      all.theirs.add((*apart)->theirs);
      std::ostringstream said;
      said << name << ": ours " << (*apart)->ours.value() << ", " << peer.name << " "
           << (*apart)->theirs.value();
      std::fprintf(stderr, "%s %s\n", kind.name, said.str().c_str());
      suite.count(
          (*apart)->ours.value() <= std::max(tolerance, than_peer * (*apart)->theirs.value()),
          said.str());
    }
    suite.more = {{"distance from the definition, ours", all.ours.value()},
                  {"the peer's", all.theirs.value()}};
    if (suite.passed == 0) suite.count(false, "nothing was compared");
    suite.count(all.ours.value() <= std::max(tolerance, than_peer_on_all * all.theirs.value()),
                "all together: ours " + std::to_string(all.ours.value()) + ", " + peer.name + " " +
                    std::to_string(all.theirs.value()));
    good = suite.print() && good;
  }
  if (types == 0) std::fprintf(stderr, "AMBIT_LLAMA_TYPES: there is no type \"%s\"\n", chosen);
  return good && types > 0;
}

void append_utf8(std::string& text, std::uint32_t point) {
  if (point < 0x80) {
    text += static_cast<char>(point);
    return;
  }
  const int more = point < 0x800 ? 1 : point < 0x10000 ? 2 : 3;
  constexpr std::uint32_t first[] = {0, 0xC0, 0xE0, 0xF0};
  text += static_cast<char>(first[more] | point >> (6 * more));
  for (int i = more - 1; i >= 0; --i) text += static_cast<char>(0x80 | (point >> (6 * i) & 0x3F));
}

// Stretches of one script each, with spaces, digits, marks, emoji and line ends between them.
std::string unicode_text(std::size_t bytes, std::uint32_t seed) {
  struct Range {
    std::uint32_t first, last;
  };
  constexpr Range ranges[] = {
      {'a', 'z'},         {'A', 'Z'},         {'0', '9'},         {'!', '/'},
      {' ', ' '},         {0xC0, 0x17F},      {0x300, 0x36F},     {0x391, 0x3C9},
      {0x410, 0x44F},     {0x5D0, 0x5EA},     {0x621, 0x64A},     {0x660, 0x669},
      {0x904, 0x939},     {0x93E, 0x94D},     {0xE01, 0xE3A},     {0x10D0, 0x10F0},
      {0x1100, 0x1112},   {0x1E00, 0x1EFF},   {0x2000, 0x200A},   {0x2010, 0x2027},
      {0x2070, 0x2079},   {0x2150, 0x218B},   {0x2190, 0x21FF},   {0x3041, 0x3096},
      {0x30A1, 0x30FA},   {0x4E00, 0x9FA5},   {0xAC00, 0xD7A3},   {0xFF10, 0xFF5A},
      {0x1D400, 0x1D433}, {0x1F1E6, 0x1F1FF}, {0x1F600, 0x1F64F}, {0x20000, 0x20FFF}};
  constexpr std::string_view between[] = {" ",    "  ", "\n",  "\n\n", "\t", " \n ",
                                          "\r\n", "'s", "'ll", ".",    ", ", "\u00A0"};
  std::uint32_t state = seed;
  const auto draw = [&](std::size_t below) {
    state = state * 1664525 + 1013904223;
    return static_cast<std::uint32_t>((state >> 8U) % below);
  };
  std::string text;
  while (text.size() < bytes) {
    const Range range = ranges[draw(std::size(ranges))];
    for (std::uint32_t left = 1 + draw(12); left > 0; --left)
      append_utf8(text, range.first + draw(range.last - range.first + 1));
    if (draw(3) != 0) text += between[draw(std::size(between))];
  }
  return text;
}

// The tokens that llama-tokenize gives.
std::optional<std::vector<TokenId>> their_tokens(const Peer& peer, const std::string& vocabulary,
                                                 const std::string& text) {
  const std::string said = peer.folder + "/tokens.json";
  run("'" + peer.binaries + "/llama-tokenize' -m '" + vocabulary + "' -f '" + text +
      "' --ids --no-bos --no-parse-special --no-escape --log-disable >'" + said + "' 2>/dev/null");
  const auto all = Json::parse(read_whole(said), nullptr, false);
  if (!all.is_array()) return std::nullopt;
  return all.get<std::vector<TokenId>>();
}

// Of a text that may be long.
std::string last_of(const std::string& text) {
  constexpr std::size_t shown = 40;
  return text.substr(text.size() - std::min(text.size(), shown));
}

bool compare_tokens(const Peer& peer, const std::string& vocabularies) {
  Suite suite("tokens of llama.cpp, 1 MB of mixed Unicode");
  const std::string text = unicode_text(1 << 20, 11);
  const std::string path = peer.folder + "/unicode.txt";
  write_whole(path, text);
  std::size_t compared = 0;
  for (const auto& entry : std::filesystem::directory_iterator(vocabularies)) {
    if (entry.path().extension() != ".gguf") continue;
    const std::string name = entry.path().filename().string();
    const auto file = Gguf::open(entry.path().string());
    const auto tokenizer = file ? Tokenizer::load(*file) : Result<Tokenizer>(Err(file.error()));
    const auto theirs = their_tokens(peer, entry.path().string(), path);
    if (!tokenizer || !theirs) {
      suite.count(false, name + ": not read by " + (tokenizer ? "llama.cpp" : "us"));
      continue;
    }
    const auto ours = tokenizer->encode(text, false);
    const auto [mine, other] =
        std::mismatch(ours.begin(), ours.end(), theirs->begin(), theirs->end());
    const bool same = mine == ours.end() && other == theirs->end();
    compared += theirs->size();
    suite.count(same, name + ": apart from token " + std::to_string(mine - ours.begin()) + " of " +
                          std::to_string(theirs->size()) + ", after \"" +
                          last_of(tokenizer->decode({ours.begin(), mine})) + "\"");
  }
  suite.more = {{"tokens", compared}};
  return suite.print();
}

double perplexity(const std::vector<std::vector<double>>& rows, const Saved& saved) {
  double sum = 0;
  std::size_t row = 0;
  for (const auto& tokens : saved.stretches)
    for (std::size_t i = saved.context / 2; i + 1 < saved.context; ++i, ++row)
      sum -= rows[row][static_cast<std::size_t>(tokens[i + 1])];
  return std::exp(sum / static_cast<double>(row));
}

// What it says at the end: "Final estimate: PPL = 12.3456 +/- ..."
std::optional<double> said_perplexity(const std::string& log) {
  const std::size_t at = log.find("Final estimate: PPL = ");
  if (at == std::string::npos) return std::nullopt;
  return std::strtod(log.c_str() + at + std::strlen("Final estimate: PPL = "), nullptr);
}

bool compare_perplexity(const Peer& peer, const std::string& own, const std::string& text) {
  Suite suite("perplexity of the project's own model");
  for (const char* type : {"F16", "Q8_0"}) {
    const std::string path = peer.folder + "/own-" + type + ".gguf";
    const auto source = Gguf::open(own);
    const auto recipe = recipe_named(type);
    if (!source || !recipe || !requantize(*source, *recipe, path)) {
      suite.count(false, std::string(type) + ": cannot be made");
      continue;
    }
    const auto file = ModelFile::open(path);
    const auto saved = ask_peer(peer, path, text, 256, 16, "f16");
    const auto theirs = said_perplexity(read_whole(path + ".log"));
    if (!file || !saved || !theirs) {
      suite.count(false, std::string(type) + ": not computed by " + (file ? "llama.cpp" : "us"));
      continue;
    }
    const double ours = perplexity(ours_of((*file)->model(), *saved), *saved);
    suite.more[std::string(type) + " ours"] = ours;
    suite.more[std::string(type) + " llama.cpp"] = *theirs;
    // Three digits.
    suite.count(std::fabs(ours - *theirs) < 0.5e-2 * *theirs,
                std::string(type) + ": " + std::to_string(ours) + ", " + std::to_string(*theirs));
  }
  return suite.print();
}

}  // namespace
}  // namespace ambit::inference

int main(int count, char** words) {
  using namespace ambit::inference;
  if (count < 4 || count == 5 || count > 7) {
    std::fprintf(stderr, "usage: %s PEER BINARIES FOLDER [OWN_MODEL TEXT [VOCABULARIES]]\n",
                 words[0]);
    return 2;
  }
  const Peer peer{words[1], words[2], words[3]};
  std::filesystem::create_directories(peer.folder);
  bool good = compare_logits(peer);
  if (count == 7) good = compare_tokens(peer, words[6]) && good;
  if (count > 5) good = compare_perplexity(peer, words[4], words[5]) && good;
  return good ? 0 : 1;
}
