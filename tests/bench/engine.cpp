// Prefill of 512 tokens and decoding of 128 at several batch sizes, on files with random weights in
// real shapes, beside llama.cpp on the same files. LLAMA_CPP names the folder of its binaries
// (llama-bench, llama-batched-bench), built by whoever runs this; without it the figures stand
// alone, and the bench says so. AMBIT_BENCH_SHAPES and AMBIT_BENCH_TYPES choose others (comma
// lists).

#include "bench/figure.h"
#include "inference/bench.h"
#include "inference/requantize.h"
#include "inference/synth.h"

#include <nlohmann/json.hpp>

#include <cstdlib>
#include <filesystem>
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

std::vector<std::string> list(const char* variable, const char* fallback) {
  const char* given = std::getenv(variable);
  std::stringstream text(given != nullptr ? given : fallback);
  std::vector<std::string> parts;
  for (std::string part; std::getline(text, part, ',');)
    if (!part.empty()) parts.push_back(part);
  return parts;
}

std::string output_of(const std::string& command) {
  std::string text;
  std::FILE* pipe = popen((command + " 2>/dev/null").c_str(), "r");
  if (pipe == nullptr) return text;
  char buffer[4096];
  for (std::size_t n = 0; (n = std::fread(buffer, 1, sizeof buffer, pipe)) > 0;)
    text.append(buffer, n);
  pclose(pipe);
  return text;
}

// What llama.cpp says of the same file: tokens/s by "prefill" and "decode N".
std::map<std::string, double> peer_figures(const std::string& folder, const std::string& file,
                                           std::size_t threads,
                                           const std::vector<std::size_t>& batches) {
  std::map<std::string, double> found;
  const std::string common = " -m '" + file + "' -t " + std::to_string(threads);
  const auto simple = nlohmann::json::parse(
      output_of("'" + folder + "/llama-bench'" + common + " -p " + std::to_string(prompt) + " -n " +
                std::to_string(decode) + " -r 3 -o json"),
      nullptr, false);
  if (simple.is_array())
    for (const auto& each : simple)
      found[each.value("n_gen", 0) == 0 ? "prefill" : "decode 1"] = each.value("avg_ts", 0.0);
  std::string many;
  for (const std::size_t batch : batches)
    if (batch > 1) many += (many.empty() ? "" : ",") + std::to_string(batch);
  if (many.empty()) return found;
  std::stringstream lines(output_of("'" + folder + "/llama-batched-bench'" + common +
                                    " -c 16384 -npp 1 -ntg " + std::to_string(decode) + " -npl " +
                                    many + " --output-format jsonl"));
  for (std::string line; std::getline(lines, line);) {
    const auto each = nlohmann::json::parse(line, nullptr, false);
    if (each.is_object() && each.contains("speed_tg"))
      found["decode " + std::to_string(each.value("pl", 0))] = each.value("speed_tg", 0.0);
  }
  return found;
}

// The file of a shape and a type, made once in the build folder.
std::string model_file(const std::string& folder, const std::string& shape_name,
                       const std::string& type) {
  const std::string path = folder + "/" + shape_name + "-" + type + ".gguf";
  if (std::filesystem::exists(path)) return path;
  const auto shape = named_shape(shape_name);
  if (!shape) return "";
  const std::string source = folder + "/" + shape_name + "-BF16.gguf";
  if (!std::filesystem::exists(source)) {
    SynthShape whole = *shape;
    whole.type = DType::bf16;
    if (!synthesize(whole).write(source)) return "";
  }
  if (type == "BF16") return source;
  const auto file = Gguf::open(source);
  const auto recipe = recipe_named(type);
  if (!file || !recipe || !requantize(*file, *recipe, path)) return "";
  return path;
}

}  // namespace

int main() {
  const char* peer = std::getenv("LLAMA_CPP");
  if (peer == nullptr)
    std::fprintf(stderr,
                 "skipped: llama.cpp (LLAMA_CPP does not name the folder of its binaries)\n");
  const std::string folder = "build/bench-models";
  std::filesystem::create_directories(folder);
  BenchOptions options;
  options.threads = std::max(1U, std::thread::hardware_concurrency());
  options.prompt_tokens = prompt;
  options.decode_tokens = decode;
  options.batches.clear();
  for (const std::string& batch : list("AMBIT_BENCH_BATCHES", "1,2,4,8,16,32,64"))
    options.batches.push_back(std::strtoull(batch.c_str(), nullptr, 10));
  for (const std::string& shape :
       list("AMBIT_BENCH_SHAPES", "llama-15m,qwen2.5-0.5b,qwen3-0.6b,llama-3.2-1b")) {
    for (const std::string& type : list("AMBIT_BENCH_TYPES", "BF16,Q8_0,Q4_0,Q4_K_M")) {
      const std::string path = model_file(folder, shape, type);
      const auto file = ModelFile::open(path);
      if (!file) {
        std::fprintf(stderr, "skipped: %s %s: %s\n", shape.c_str(), type.c_str(),
                     path.empty() ? "cannot be made" : file.error().message.c_str());
        continue;
      }
      const auto report = inference::bench(**file, options);
      if (!report) {
        std::fprintf(stderr, "%s\n", report.error().message.c_str());
        return 1;
      }
      std::map<std::string, double> theirs;
      if (peer != nullptr) theirs = peer_figures(peer, path, options.threads, options.batches);
      for (const BenchFigure& figure : report->figures) {
        const std::string what =
            figure.what == "prefill" ? "prefill" : "decode " + std::to_string(figure.batch);
        bench::Figure line;
        line.bench = "engine";
        line.what = shape + " " + type + " " + what;
        line.unit = "tokens/s";
        line.better = Better::more;
        line.ours = figure.tokens_per_s;
        if (const auto at = theirs.find(what); at != theirs.end() && at->second > 0) {
          line.peer = "llama.cpp";
          line.theirs = at->second;
        }
        line.goal_on = Goal::ratio;
        line.goal = type == "Q8_0" && what == "prefill" ? 3 : 1;
        bench::print(line);
        if (what != "decode 1") continue;
        line = {"engine",
                shape + " " + type + " decode 1, part of the read bandwidth",
                "part",
                Better::more,
                figure.of_bandwidth,
                "",
                0,
                Goal::ours,
                0.9};
        bench::print(line);
      }
    }
  }
}
