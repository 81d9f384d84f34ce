#include "inference/bench.h"

#include "inference/cpu/pool.h"
#include "inference/forward.h"

#include <algorithm>
#include <chrono>

namespace ambit::inference {

namespace {

// One model on one pool; each measurement makes its own pages.
class Bench {
 public:
  Bench(const Model& model, const Kernels& kernels, const BenchOptions& options)
      : model_(model),
        kernels_(kernels),
        options_(options),
        pool_(options.threads, options.pin_threads),
        forward_(model, kernels, pool_, options.kv_type, rows_max(options)) {
    for (const Layer& layer : model.layers)
      weight_bytes_ += static_cast<double>(layer.qkv.bytes() + layer.attention_out.bytes() +
                                           layer.gate_up.bytes() + layer.down.bytes());
    weight_bytes_ += static_cast<double>(model.output.bytes());
  }

  BenchReport run() {
    BenchReport report;
    report.instruction_set = kernels_.name;
    report.read_gigabytes_per_s = read_bandwidth();
    const auto add = [&](BenchFigure figure) {
      figure.of_bandwidth = figure.gigabytes_per_s / report.read_gigabytes_per_s;
      report.figures.push_back(std::move(figure));
    };
    if (options_.prompt_tokens > 0) add(prefill());
    if (options_.decode_tokens > 0)
      for (const std::size_t batch : options_.batches) add(decode(batch));
    return report;
  }

 private:
  static std::size_t rows_max(const BenchOptions& options) {
    std::size_t most = std::min<std::size_t>(options.prompt_tokens, 512);
    for (const std::size_t batch : options.batches) most = std::max(most, batch);
    return std::max<std::size_t>(most, 1);
  }

  struct Pages {
    std::vector<AlignedBytes> storage;
    std::vector<std::byte*> pages;
  };
  [[nodiscard]] Pages pages_for(std::size_t tokens) const {
    Pages made;
    for (std::size_t at = 0; at < tokens; at += page_tokens) {
      made.storage.emplace_back(forward_.page_bytes());
      made.pages.push_back(made.storage.back().data());
    }
    return made;
  }
  [[nodiscard]] TokenId token(std::size_t i) const {
    return static_cast<TokenId>((i * 2654435761U >> 7U) % model_.config.vocabulary);
  }

  template <class Work>
  double best_seconds(const Work& work) const {
    using Clock = std::chrono::steady_clock;
    double best = 0;
    for (std::size_t i = 0; i < options_.repeats; ++i) {
      const auto start = Clock::now();
      work();
      const double took =
          std::max(std::chrono::duration<double>(Clock::now() - start).count(), 1e-9);
      best = i == 0 ? took : std::min(best, took);
    }
    return best;
  }

  BenchFigure prefill() {
    const std::size_t tokens = options_.prompt_tokens;
    Pages pages = pages_for(tokens);
    std::size_t steps = 0;
    std::vector<StepRow> rows;
    const double seconds = best_seconds([&] {
      steps = 0;
      for (std::size_t start = 0; start < tokens; start += forward_.rows_max(), ++steps) {
        rows.clear();
        for (std::size_t i = start; i < std::min(start + forward_.rows_max(), tokens); ++i)
          rows.push_back({token(i), i, pages.pages.data(), i + 1 == tokens});
        forward_.run(rows);
      }
    });
    return {"prefill", 1, static_cast<double>(tokens) / seconds,
            weight_bytes_ * static_cast<double>(steps) / seconds * 1e-9, 0};
  }

  BenchFigure decode(std::size_t batch) {
    const std::size_t tokens = options_.decode_tokens;
    std::vector<Pages> pages;
    for (std::size_t i = 0; i < batch; ++i) pages.push_back(pages_for(tokens));
    std::vector<StepRow> rows(batch);
    const double seconds = best_seconds([&] {
      for (std::size_t position = 0; position < tokens; ++position) {
        for (std::size_t i = 0; i < batch; ++i)
          rows[i] = {token(position * batch + i), position, pages[i].pages.data(), true};
        forward_.run(rows);
      }
    });
    const double page_bytes = static_cast<double>(forward_.page_bytes()) / page_tokens *
                              static_cast<double>(tokens + 1) / 2;
    const double moved =
        (weight_bytes_ + page_bytes * static_cast<double>(batch)) * static_cast<double>(tokens);
    return {"decode", batch, static_cast<double>(tokens * batch) / seconds, moved / seconds * 1e-9,
            0};
  }

  // All threads read half a gigabyte through 2 MiB pages, a few pages at a time.
  double read_bandwidth() {
    AlignedBytes memory(std::size_t{512} << 20U);
    const std::size_t lines = memory.size() / 64;
    std::vector<std::uint64_t> sums(pool_.size() * 8);
    const double seconds = best_seconds([&] {
      pool_.each(lines, lines / 64, [&](std::size_t first, std::size_t last, std::size_t worker) {
        const auto* words = memory.as<std::uint64_t>();
        std::uint64_t sum[8] = {};
        for (std::size_t line = first; line < last; ++line)
          for (std::size_t i = 0; i < 8; ++i) sum[i] += words[line * 8 + i];
        for (std::size_t i = 0; i < 8; ++i) sums[worker * 8] += sum[i];
      });
    });
    return static_cast<double>(memory.size()) / seconds * 1e-9;
  }

  const Model& model_;
  const Kernels& kernels_;
  const BenchOptions& options_;
  Pool pool_;
  Forward forward_;
  double weight_bytes_ = 0;
};

}  // namespace

Result<BenchReport> bench(const ModelFile& file, const BenchOptions& options) {
  if (options.threads < 1 || options.threads > 256)
    return Err(Code::invalid, "threads must be from 1 to 256");
  const std::size_t context = file.model().config.context;
  if (options.prompt_tokens > context || options.decode_tokens > context)
    return Err(Code::invalid, "the model was made for " + std::to_string(context) + " tokens");
  for (const std::size_t batch : options.batches)
    if (batch < 1 || batch > 4096) return Err(Code::invalid, "a batch must be from 1 to 4096");
  for (const Kernels* kernels : usable_kernels())
    if (options.instruction_set.empty() || kernels->name == options.instruction_set)
      return Bench(file.model(), *kernels, options).run();
  return Err(Code::unsupported, "this machine has no " + options.instruction_set + " kernels");
}

}  // namespace ambit::inference
