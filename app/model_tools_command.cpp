// ambit model synth | quantize | bench: makes model files and says how fast one runs here.

#include "app/command.h"
#include "app/energy.h"
#include "inference/bench.h"
#include "inference/model_file.h"
#include "inference/requantize.h"
#include "inference/synth.h"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <charconv>
#include <optional>

namespace ambit::app {
namespace {

using Json = nlohmann::ordered_json;

template <class Names>
std::string listed(const Names& names) {
  std::string text;
  for (const std::string_view name : names) text += (text.empty() ? "" : ", ") + std::string(name);
  return text;
}

std::string with_decimals(double value, int decimals) {
  char text[64];
  std::snprintf(text, sizeof text, "%.*f", decimals, value);
  return text;
}

Result<void> synth(const Options& options, const Context& context) {
  const std::string& name = options.positional()[0];
  auto shape = inference::named_shape(name);
  if (!shape)
    return Err(Code::invalid, "there is no shape \"" + name +
                                  "\"; there are: " + listed(inference::shape_names()));
  const std::string type_name = options.text("type", "BF16");
  const auto type = inference::type_named(type_name);
  if (!type) {
    std::vector<std::string_view> types;
    for (const auto each : inference::all_types) types.push_back(inference::to_string(each));
    return Err(Code::invalid, "--type " + type_name + " is not known; there are: " + listed(types));
  }
  shape->type = *type;
  shape->seed = static_cast<std::uint64_t>(TRY(options.integer("seed", 1, 0, 1LL << 62U)));
  if (shape->width % inference::block_elements(*type) != 0 ||
      shape->hidden % inference::block_elements(*type) != 0)
    return Err(Code::invalid, name + " has rows that do not divide into the blocks of " +
                                  std::string(inference::to_string(*type)) +
                                  ": write BF16 and quantise that file");
  TRY(inference::synthesize(*shape).write(absolute(context, options.positional()[1])));
  return {};
}

Result<void> quantize(const Options& options, const Context& context) {
  const std::string to_name = options.text("to", "Q4_K_M");
  const auto recipe = inference::recipe_named(to_name);
  if (!recipe)
    return Err(Code::invalid, "--to " + to_name +
                                  " is not known; there are: " + listed(inference::recipe_names()));
  const std::string from = absolute(context, options.positional()[0]);
  const std::string to = absolute(context, options.positional()[1]);
  if (from == to) return Err(Code::invalid, "the new file must not replace the old one");
  const auto file = TRY(inference::open_weights(from));
  const auto done = TRY(inference::requantize(file, *recipe, to));
  std::string counts;
  for (const auto& [type, count] : done.tensors)
    counts += ", " + std::to_string(count) + " tensors " + type;
  print(with_decimals(static_cast<double>(done.bytes_before) * 1e-6, 1) + " MB of weights became " +
        with_decimals(static_cast<double>(done.bytes_after) * 1e-6, 1) + " MB" + counts + "\n");
  return {};
}

Result<std::vector<std::size_t>> read_batches(const std::string& text) {
  std::vector<std::size_t> batches;
  for (std::size_t at = 0; at <= text.size();) {
    const std::size_t end = std::min(text.find(',', at), text.size());
    std::size_t value = 0;
    const auto read = std::from_chars(text.data() + at, text.data() + end, value);
    if (read.ec != std::errc() || read.ptr != text.data() + end || value < 1 || value > 4096)
      return Err(Code::invalid, "--batch needs numbers from 1 to 4096 with commas between: 1,8,32");
    batches.push_back(value);
    at = end + 1;
  }
  return batches;
}

// 0 is a price, too.
Result<std::optional<double>> read_price(const Options& options, const char* name) {
  const std::string text = options.text(name);
  if (text.empty() && !options.flag(name)) return std::optional<double>();
  double price = 0;
  const auto read = std::from_chars(text.data(), text.data() + text.size(), price);
  if (read.ec != std::errc() || read.ptr != text.data() + text.size() ||
      !(price >= 0 && price <= 1e9))
    return Err(Code::invalid,
               "--" + std::string(name) + " must be a price such as 0.25, not \"" + text + "\"");
  return std::optional<double>(price);
}

// A line beneath the speed: what a token moves, takes and costs, as far as anybody knows.
std::string expense_of(const inference::BenchFigure& figure, const inference::Prices& prices) {
  std::string line = bytes_text(figure.bytes_per_token) + " a token, " +
                     with_decimals(figure.operations_per_s * 1e-9, 1) + " billion operations/s";
  if (figure.joules_per_token > 0)
    line += ", " + energy_text(figure.joules_per_token) + " a token, " +
            with_decimals(1 / figure.joules_per_token, 2) + " tokens a joule";
  if (const auto cost = inference::cost_per_million(figure, prices))
    line += ", " + with_decimals(*cost, 4) + " for a million tokens";
  return line;
}

Result<void> bench(const Options& options, const Context& context) {
  inference::BenchOptions how;
  const auto size = [&](const char* name, std::int64_t fallback, std::int64_t most) {
    return options.integer(name, fallback, 0, most);
  };
  how.threads = static_cast<std::size_t>(TRY(size("threads", 0, 256)));
  if (how.threads == 0) how.threads = processors();
  how.prompt_tokens = static_cast<std::size_t>(TRY(size("prompt", 512, 1 << 20)));
  how.decode_tokens = static_cast<std::size_t>(TRY(size("decode", 128, 1 << 20)));
  how.repeats = static_cast<std::size_t>(TRY(options.integer("repeats", 3, 1, 100)));
  how.batches = TRY(read_batches(options.text("batch", "1")));
  how.instruction_set = options.text("instructions");
  how.device = options.text("device", "cpu");
  const std::string weights = options.text("weights", "file");
  const std::string pages = options.text("kv", "16");
  if ((weights != "file" && weights != "fp8") || (pages != "16" && pages != "q8" && pages != "fp8"))
    return Err(Code::invalid, "--weights is file or fp8, --kv is 16, q8 or fp8");
  how.fp8_weights = weights == "fp8";
  if (pages == "q8") how.kv_type = inference::KvType::q8;
  if (pages == "fp8") how.kv_type = inference::KvType::fp8;
  how.shared_tokens = static_cast<std::size_t>(TRY(size("shared", 0, 1 << 20)));
  how.own_tokens = static_cast<std::size_t>(TRY(size("own", 0, 1 << 20)));
  how.step_tokens = static_cast<std::size_t>(TRY(options.integer("step", 512, 1, 65'536)));
  how.arriving_tokens = static_cast<std::size_t>(TRY(size("arriving", 0, 65'536)));
  how.one_queue = options.flag("one-queue");
  how.prefill_device = options.text("prefill-device");
  how.shares_prefixes = !options.flag("apart");
  how.schedule = options.text("schedule");
  const inference::Prices prices = {TRY(read_price(options, "kwh-price")),
                                    TRY(read_price(options, "hour-price"))};
  PackageCounter packages;
  how.processor_joules = [&packages] { return packages.joules(); };
  const auto file = TRY(inference::ModelFile::open(absolute(context, options.positional()[0])));
  const inference::BenchReport report = TRY(inference::bench(*file, how));
  if (options.flag("json")) {
    for (const auto& figure : report.figures) {
      Json out = {
          {"model", file->model().config.name},
          {"instructions", report.instruction_set},
          {"threads", how.threads},
          {"what", figure.what},
          {"batch", figure.batch},
          {"tokensPerSecond", figure.tokens_per_s},
          {"gigabytesPerSecond", figure.gigabytes_per_s},
          {"ofReadBandwidth", figure.of_bandwidth},
          {"stepP50Ms", figure.step_p50_ms},
          {"stepP99Ms", figure.step_p99_ms},
          {"stepJitter", figure.step_p50_ms > 0 ? figure.step_p99_ms / figure.step_p50_ms : 0},
          {"arrivingTokensPerSecond", figure.arriving_tokens_per_s},
          {"bytesPerToken", figure.bytes_per_token},
          {"operationsPerSecond", figure.operations_per_s},
          {"readGigabytesPerSecond", report.read_gigabytes_per_s}};
      if (figure.joules_per_token > 0) {
        out["joulesPerToken"] = figure.joules_per_token;
        out["tokensPerJoule"] = 1 / figure.joules_per_token;
      }
      if (const auto cost = inference::cost_per_million(figure, prices))
        out["costPerMillionTokens"] = *cost;
      print(out.dump() + "\n");
    }
    return {};
  }
  print(report.instruction_set + " kernels, " + std::to_string(how.threads) +
        " threads, plain reading gives " + with_decimals(report.read_gigabytes_per_s, 1) +
        " GB/s\n");
  for (const auto& figure : report.figures) {
    std::string line = figure.what == "prefill" ? "prefill of " + std::to_string(how.prompt_tokens)
                                                : "decode, batch " + std::to_string(figure.batch);
    line.resize(std::max<std::size_t>(line.size() + 1, 20), ' ');
    print(line + with_decimals(figure.tokens_per_s, 1) + " tokens/s, " +
          with_decimals(figure.gigabytes_per_s, 1) + " GB/s (" +
          with_decimals(100 * figure.of_bandwidth, 0) + " % of reading)\n" + std::string(20, ' ') +
          expense_of(figure, prices) + "\n");
  }
  const bool counts = std::any_of(report.figures.begin(), report.figures.end(),
                                  [](const auto& figure) { return figure.joules_per_token > 0; });
  if (prices.per_kwh && !counts)
    print("no cost: no counter of energy can be read here; leave --kwh-price out\n");
  return {};
}

Command make(Command command, Result<void> (*work)(const Options&, const Context&)) {
  command.run = [work](const Options& options, const Context& context) {
    const auto done = work(options, context);
    return done ? 0 : fail(done.error());
  };
  return command;
}

}  // namespace

Command model_synth_command() {
  return make(
      {"model synth",
       "SHAPE GGUF",
       "write a model file with random weights in a public model's shape",
       {{"type", "TYPE", "of the matrices: F32, F16, BF16 (default), Q8_0, Q4_0, Q4_K, ..."},
        {"seed", "N", "other weights (default 1)"}},
       2,
       2,
       {}},
      synth);
}

Command model_quantize_command() {
  return make({"model quantize",
               "FROM TO",
               "write a model file anew in fewer bits",
               {{"to", "TYPE", "Q8_0, Q4_0, Q4_K_M (default), Q5_K_M, Q6_K, BF16, F16 or F32"}},
               2,
               2,
               {}},
              quantize);
}

Command model_bench_command() {
  return make(
      {"model bench",
       "MODEL",
       "say how fast a model runs here, beside what the memory can give, and what a token takes",
       {{"prompt", "N", "tokens of the prompt (default 512, 0: none)"},
        {"decode", "N", "tokens that each sequence decodes (default 128, 0: none)"},
        {"batch", "N,N", "sequences that decode at once (default 1)"},
        {"threads", "N", "threads of the engine (default: all processors)"},
        {"repeats", "N", "the median of so many counts (default 3)"},
        {"device", "NAME", "cpu (default), cuda, cuda:1 or auto"},
        {"weights", "TYPE", "on a GPU: file (default), or fp8 made of the file's floats"},
        {"kv", "TYPE", "keys and values in 16 bits (default), q8 or, on a GPU, fp8"},
        {"shared", "N", "tokens that all sequences begin with (default 0)"},
        {"own", "N", "tokens that each has after them (default 0)"},
        {"apart", "", "on a GPU: read shared tokens once for each sequence"},
        {"schedule", "NAME",
         "on a GPU, to measure what equal bits cost: free, free-4, free-sync, ... (default: none)"},
        {"step", "N", "tokens of a prompt in one step (default 512)"},
        {"arriving", "N", "tokens of another prompt in each step of decoding (default 0)"},
        {"prefill-device", "NAME", "another GPU for that prompt: cuda:1"},
        {"one-queue", "", "on a GPU: that prompt in the steps, not in a queue of its own"},
        {"kwh-price", "PRICE", "of energy: then a million tokens have a cost"},
        {"hour-price", "PRICE", "of this machine for an hour, the same"},
        {"instructions", "NAME",
         "amx, avx512_bf16, avx512, avx2, neon or plain (default: the best)"},
        {"json", "", "one JSON object a figure"}},
       1,
       1,
       {}},
      bench);
}

}  // namespace ambit::app
