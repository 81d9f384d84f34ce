// Prefill of 512 tokens and decoding of 128 (32 of more than one sequence: a step costs the same)
// at several batch sizes, alone and after a prompt of 512 tokens that all share, on files with
// random weights in real shapes, beside llama.cpp and ik_llama.cpp on the same files. LLAMA_CPP and
// IK_LLAMA_CPP name the folders of their binaries (llama-bench, llama-batched-bench), built by
// whoever runs this; without them the figures stand alone, and the bench says so.
// AMBIT_BENCH_SHAPES, AMBIT_BENCH_TYPES and AMBIT_BENCH_BATCHES choose others (comma lists; prefill
// comes with 1). What lives off the memory, which is up to 8 sequences, and prefill are medians of
// AMBIT_BENCH_REPEATS (5) runs in which all take turns, so that what else the machine does meets
// all alike; more sequences are one run each. After AMBIT_BENCH_MINUTES (no bound) no other file is
// begun.

#include "bench/figure.h"
#include "bench/models.h"
#include "inference/bench.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdlib>
#include <iterator>
#include <map>
#include <sstream>
#include <thread>

using namespace ambit;
using namespace ambit::inference;
using bench::Better;
using bench::Goal;

namespace {

constexpr std::size_t prompt = 512;
constexpr std::size_t decode = 128;
constexpr std::size_t decode_of_batches = 32;
constexpr std::size_t many = 16;  // sequences
constexpr std::size_t shared = 512;

std::vector<std::string> list(const char* variable, const char* fallback) {
  const char* given = std::getenv(variable);
  std::stringstream text(given != nullptr ? given : fallback);
  std::vector<std::string> parts;
  for (std::string part; std::getline(text, part, ',');)
    if (!part.empty()) parts.push_back(part);
  return parts;
}

std::size_t number(const char* variable, const char* fallback) {
  const char* given = std::getenv(variable);
  return std::strtoull(given != nullptr ? given : fallback, nullptr, 10);
}

std::size_t repeats() {
  return std::max<std::size_t>(1, number("AMBIT_BENCH_REPEATS", "5"));
}

std::string output_of(const std::string& command, bool errors = false) {
  std::string text;
  std::FILE* pipe = popen((command + (errors ? " 2>&1" : " 2>/dev/null")).c_str(), "r");
  if (pipe == nullptr) return text;
  char buffer[4096];
  for (std::size_t n = 0; (n = std::fread(buffer, 1, sizeof buffer, pipe)) > 0;)
    text.append(buffer, n);
  pclose(pipe);
  return text;
}

struct Peer {
  std::string name;
  std::string folder;
  std::string flags;          // of llama-bench
  std::string batched_flags;  // of llama-batched-bench
};

std::vector<Peer> peers() {
  std::vector<Peer> found;
  // ik_llama.cpp is at its best when it repacks the weights for the machine, as we do.
  for (const auto& [name, variable, flags, batched] :
       {std::array{"llama.cpp", "LLAMA_CPP", "", ""},
        std::array{"ik_llama.cpp", "IK_LLAMA_CPP", " -rtr 1", " -rtr"}}) {
    if (const char* folder = std::getenv(variable))
      found.push_back({name, folder, flags, batched});
    else
      std::fprintf(stderr, "skipped: %s (%s does not name the folder of its binaries)\n", name,
                   variable);
  }
  return found;
}

// Tokens/s by "prefill", "decode N" and after_shared + "N", of each run.
using Samples = std::map<std::string, std::vector<double>>;

// Tokens/s of the lines that llama-batched-bench prints:
// | PP | TG | B | N_KV | T_PP s | S_PP t/s | T_TG s | S_TG t/s | T s | S t/s |
void read_batched(const std::string& text, const std::string& what, Samples& samples) {
  std::stringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    std::vector<double> numbers;
    std::stringstream cells(line);
    for (std::string cell; std::getline(cells, cell, '|');) {
      char* end = nullptr;
      const double number = std::strtod(cell.c_str(), &end);
      if (end != cell.c_str()) numbers.push_back(number);
    }
    if (numbers.size() == 10)
      samples[what + std::to_string(static_cast<std::size_t>(numbers[2]))].push_back(numbers[7]);
  }
}

const char* const after_shared = "decode after 512 shared tokens ";

std::string command_of(const Peer& peer, const char* program, const std::string& file,
                       std::size_t threads) {
  return "'" + peer.folder + "/" + program + "' -m '" + file + "' -t " + std::to_string(threads);
}

void run_one(const Peer& peer, const std::string& file, std::size_t threads, Samples& samples) {
  const auto runs = nlohmann::json::parse(
      output_of(command_of(peer, "llama-bench", file, threads) + peer.flags + " -p " +
                std::to_string(prompt) + " -n " + std::to_string(decode) + " -r 1 -o json"),
      nullptr, false);
  if (!runs.is_array()) return;
  for (const auto& each : runs)
    if (const auto found = each.find("samples_ts"); found != each.end())
      for (const double sample : found->get<std::vector<double>>())
        samples[each.value("n_gen", 0) == 0 ? "prefill" : "decode 1"].push_back(sample);
}

void run_batches(const Peer& peer, const std::string& file, const BenchOptions& part,
                 Samples& samples) {
  std::string wanted;
  for (const std::size_t batch : part.batches)
    wanted += (wanted.empty() ? "" : ",") + std::to_string(batch);
  const bool is_shared = part.shared_tokens > 0;
  // One peer prints its table to the standard output, the other to the standard error.
  read_batched(
      output_of(command_of(peer, "llama-batched-bench", file, part.threads) + peer.batched_flags +
                    " -c 16384 -ntg " + std::to_string(part.decode_tokens) + " -npl " + wanted +
                    (is_shared ? " -pps -npp " + std::to_string(shared) : " -npp 1"),
                true),
      is_shared ? after_shared : "decode ", samples);
}

// One figure beside each peer that has it.
void print(const std::string& of, const std::string& what, double ours, double goal,
           const std::vector<std::pair<std::string, std::map<std::string, double>>>& theirs) {
  bench::Figure line;
  line.bench = "engine";
  line.what = of + " " + what;
  line.unit = "tokens/s";
  line.better = Better::more;
  line.ours = ours;
  bool alone = true;
  for (const auto& [name, figures] : theirs) {
    const auto at = figures.find(what);
    if (at == figures.end() || at->second <= 0) continue;
    line.peer = name;
    line.theirs = at->second;
    line.goal_on = Goal::ratio;
    line.goal = name == "llama.cpp" ? goal : 1;
    bench::print(line);
    alone = false;
  }
  if (alone) bench::print(line);
}

double goal_of(const std::string& type, const std::string& cell) {
  if (cell == "prefill") return type == "Q8_0" ? 3 : 1;
  return cell == std::string(after_shared) + "32" ? 2 : 1;
}

std::size_t threads() {
  return std::max(1U, std::thread::hardware_concurrency());
}

// What is measured: prefill and one sequence; few, many; and after a shared prompt.
std::vector<BenchOptions> parts_of(const std::vector<std::size_t>& batches) {
  std::vector<BenchOptions> parts;
  const auto add = [&](std::size_t shared_tokens, std::size_t from, std::size_t to) {
    BenchOptions part;
    part.threads = threads();
    part.prompt_tokens = from == 1 ? prompt : 0;
    part.shared_tokens = shared_tokens;
    part.decode_tokens = from == 1 ? decode : decode_of_batches;
    part.repeats = 1;
    part.warms_up = true;  // as the peers do
    part.batches.clear();
    for (const std::size_t batch : batches)
      if (batch >= from && batch < to) part.batches.push_back(batch);
    if (!part.batches.empty()) parts.push_back(part);
  };
  add(0, 1, 2);
  add(0, 2, many);
  add(0, many, 1000);
  add(shared, 2, many);
  add(shared, many, 1000);
  return parts;
}

struct Measured {
  std::vector<std::string> cells;  // in the order in which they are said
  std::map<std::string, BenchFigure> ours;
  std::vector<std::pair<std::string, std::map<std::string, double>>> theirs;  // by peer
};

std::string cell_of(const BenchFigure& figure, const BenchOptions& part) {
  if (figure.what == "prefill") return figure.what;
  return (part.shared_tokens > 0 ? after_shared : "decode ") + std::to_string(figure.batch);
}

// The run in the middle by its tokens/s; its part of the bandwidth is the one in the middle, too.
BenchFigure median(std::vector<BenchFigure> runs) {
  const std::size_t middle = runs.size() / 2;
  const auto order = [&](auto member) {
    std::sort(runs.begin(), runs.end(), [member](const BenchFigure& a, const BenchFigure& b) {
      return a.*member < b.*member;
    });
    return runs[middle];
  };
  BenchFigure found = order(&BenchFigure::tokens_per_s);
  found.of_bandwidth = order(&BenchFigure::of_bandwidth).of_bandwidth;
  return found;
}

Result<void> measure(const ModelFile& file, const std::string& path,
                     const std::vector<Peer>& peers_beside, const std::vector<std::size_t>& batches,
                     Measured& all) {
  std::map<std::string, std::vector<BenchFigure>> ours;
  std::vector<Samples> theirs(peers_beside.size());
  for (const BenchOptions& part : parts_of(batches)) {
    const std::size_t runs = part.batches[0] < many ? repeats() : 1;
    for (std::size_t run = 0; run < runs; ++run) {
      const BenchReport report = TRY(inference::bench(file, part));
      for (const BenchFigure& figure : report.figures) {
        const std::string cell = cell_of(figure, part);
        if (run == 0) all.cells.push_back(cell);
        ours[cell].push_back(figure);
      }
      for (std::size_t i = 0; i < peers_beside.size(); ++i)
        if (part.batches[0] == 1)
          run_one(peers_beside[i], path, part.threads, theirs[i]);
        else
          run_batches(peers_beside[i], path, part, theirs[i]);
    }
  }
  for (auto& [cell, runs] : ours) all.ours[cell] = median(std::move(runs));
  for (std::size_t i = 0; i < peers_beside.size(); ++i) {
    std::map<std::string, double> found;
    for (const auto& [cell, values] : theirs[i]) found[cell] = bench::quantile(values, 0.5);
    all.theirs.emplace_back(peers_beside[i].name, std::move(found));
  }
  return {};
}

}  // namespace

int main() {
  const std::vector<Peer> beside = peers();
  std::vector<std::size_t> batches;
  for (const std::string& batch : list("AMBIT_BENCH_BATCHES", "1,2,4,8,16,32,64"))
    batches.push_back(std::strtoull(batch.c_str(), nullptr, 10));
  const std::size_t minutes = number("AMBIT_BENCH_MINUTES", "0");
  const auto end = std::chrono::steady_clock::now() + std::chrono::minutes(minutes);
  for (const std::string& shape :
       list("AMBIT_BENCH_SHAPES", "llama-15m,qwen2.5-0.5b,qwen3-0.6b,llama-3.2-1b")) {
    for (const std::string& type : list("AMBIT_BENCH_TYPES", "BF16,Q8_0,Q4_0,Q4_K_M")) {
      if (minutes > 0 && std::chrono::steady_clock::now() > end) {
        std::fprintf(stderr, "skipped: %s %s: the time is up\n", shape.c_str(), type.c_str());
        continue;
      }
      const std::string path = bench::model_file(shape, type);
      const auto file = ModelFile::open(path);
      if (!file) {
        std::fprintf(stderr, "skipped: %s %s: %s\n", shape.c_str(), type.c_str(),
                     path.empty() ? "cannot be made" : file.error().message.c_str());
        continue;
      }
      Measured all;
      const auto measured = measure(**file, path, beside, batches, all);
      if (!measured) {
        std::fprintf(stderr, "%s\n", measured.error().message.c_str());
        return 1;
      }
      const std::string of = shape + " " + type;
      for (const std::string& cell : all.cells) {
        const BenchFigure& figure = all.ours.at(cell);
        print(of, cell, figure.tokens_per_s, goal_of(type, cell), all.theirs);
        if (cell != "decode 1") continue;
        bench::print({"engine", of + " decode 1, part of the read bandwidth", "part", Better::more,
                      figure.of_bandwidth, "", 0, Goal::ours, 0.9});
      }
    }
  }
}
