#include "inference/bench.h"

#include "inference/cpu/pool.h"
#include "inference/forward.h"
#include "inference/make_backend.h"
#include "inference/traffic.h"

#include <algorithm>
#include <chrono>
#include <numeric>

namespace ambit::inference {

namespace {

constexpr std::size_t runs_max = 1000;

// One model on one pool; each measurement makes its own pages.
class Bench {
 public:
  Bench(const Model& model, MadeBackend made, const BenchOptions& options)
      : model_(model),
        options_(options),
        pool_(std::move(made.pool)),
        forward_(model, std::move(made.backend), rows_max(options)),
        prompts_(std::move(made.prompts)) {}

  Result<BenchReport> run() {
    BenchReport report;
    report.instruction_set = forward_.backend().name();
    const double told = forward_.backend().read_bandwidth();
    report.read_gigabytes_per_s = told > 0 ? told * 1e-9 : read_bandwidth();
    const auto add = [&](BenchFigure figure) {
      figure.of_bandwidth = figure.gigabytes_per_s / report.read_gigabytes_per_s;
      report.figures.push_back(std::move(figure));
    };
    if (options_.warms_up && options_.prompt_tokens > 0) prefill();
    if (options_.prompt_tokens > 0) add(prefill());
    if (options_.decode_tokens > 0)
      for (const std::size_t batch : options_.batches) add(decode(batch));
    if (const std::string failure = forward_.backend().failure(); !failure.empty())
      return Err(Code::unavailable, failure);
    if (is_out_of_memory_)
      return Err(Code::exhausted, "the device has no memory for so many pages");
    return report;
  }

  static std::size_t rows_max(const BenchOptions& options) {
    std::size_t most = std::min(options.prompt_tokens, options.step_tokens);
    for (const std::size_t batch : options.batches)
      most = std::max(most, batch + options.arriving_tokens);
    return std::max<std::size_t>(most, 1);
  }

 private:
  using Pages = std::vector<std::byte*>;
  // The first `shared` tokens are in the pages of `trunk`. Pages that an earlier measurement had
  // are taken again.
  Pages pages_for(std::size_t tokens, const Pages& trunk = {}) {
    Pages made = trunk;
    while (made.size() * page_tokens < tokens) {
      if (free_.empty()) {
        std::byte* page = forward_.backend().pages().make_page(forward_.page_bytes());
        if (page == nullptr) {
          is_out_of_memory_ = true;
          return {};
        }
        free_.push_back(page);
      }
      made.push_back(free_.back());
      used_.push_back(free_.back());
      free_.pop_back();
    }
    return made;
  }
  void free_pages() {
    free_.insert(free_.end(), used_.begin(), used_.end());
    used_.clear();
  }
  [[nodiscard]] TokenId token(std::size_t i) const {
    return static_cast<TokenId>((i * 2654435761U >> 7U) % model_.config.vocabulary);
  }

  struct Measured {
    double seconds = 0;  // of the run in the middle
    // Of one run, on average.
    double bytes = 0;
    double operations = 0;
    double joules = 0;
  };
  // The device's and the processors'; 0: nobody counts.
  [[nodiscard]] double joules() const {
    return forward_.backend().joules() +
           (options_.processor_joules ? options_.processor_joules() : 0);
  }
  // Runs again until the counters of energy, where there are any, have something to say.
  template <class Work>
  Measured measure(const Work& work) {
    using Clock = std::chrono::steady_clock;
    const Traffic before = forward_.backend().traffic().totals();
    const double joules_before = joules();
    const double least = joules_before > 0 ? options_.counted_seconds : 0;
    std::vector<double> took;
    double all = 0;
    while (took.size() < options_.repeats || (all < least && took.size() < runs_max)) {
      const auto start = Clock::now();
      work();
      took.push_back(std::max(std::chrono::duration<double>(Clock::now() - start).count(), 1e-9));
      all += took.back();
    }
    const auto runs = static_cast<double>(took.size());
    const Traffic& after = forward_.backend().traffic().totals();
    Measured measured;
    measured.bytes = (after.bytes() - before.bytes()) / runs;
    measured.operations = (after.operations - before.operations) / runs;
    if (joules_before > 0) measured.joules = std::max(joules() - joules_before, 0.0) / runs;
    std::sort(took.begin(), took.end());
    measured.seconds = took[took.size() / 2];
    return measured;
  }
  static BenchFigure figure_of(const Measured& measured, const char* what, std::size_t batch,
                               std::size_t tokens) {
    const auto count = static_cast<double>(tokens);
    BenchFigure figure;
    figure.what = what;
    figure.batch = batch;
    figure.tokens_per_s = count / measured.seconds;
    figure.gigabytes_per_s = measured.bytes / measured.seconds * 1e-9;
    figure.joules_per_token = measured.joules / count;
    figure.bytes_per_token = measured.bytes / count;
    figure.operations_per_s = measured.operations / measured.seconds;
    return figure;
  }

  // The median of the runs.
  template <class Work>
  double seconds_of(const Work& work) const {
    using Clock = std::chrono::steady_clock;
    std::vector<double> took;
    for (std::size_t i = 0; i < options_.repeats; ++i) {
      const auto start = Clock::now();
      work();
      took.push_back(std::max(std::chrono::duration<double>(Clock::now() - start).count(), 1e-9));
    }
    std::sort(took.begin(), took.end());
    return took[took.size() / 2];
  }

  BenchFigure prefill() {
    const std::size_t tokens = options_.prompt_tokens;
    free_pages();
    Pages pages = pages_for(tokens);
    if (is_out_of_memory_) return {};
    std::vector<StepRow> rows;
    const Measured measured = measure([&] {
      for (std::size_t start = 0; start < tokens; start += forward_.rows_max()) {
        rows.clear();
        for (std::size_t i = start; i < std::min(start + forward_.rows_max(), tokens); ++i)
          rows.push_back({token(i), i, pages.data(), i + 1 == tokens});
        forward_.start(rows);
      }
      forward_.backend().wait();
    });
    return figure_of(measured, "prefill", 1, tokens);
  }

  BenchFigure decode(std::size_t batch) {
    using Clock = std::chrono::steady_clock;
    const std::size_t tokens = options_.decode_tokens;
    const std::size_t before = options_.shared_tokens + options_.own_tokens;
    free_pages();
    const Pages trunk = pages_for(options_.shared_tokens);
    std::vector<Pages> pages;
    for (std::size_t i = 0; i < batch; ++i) pages.push_back(pages_for(before + tokens, trunk));
    const std::size_t prompt = options_.arriving_tokens * tokens;
    Pages arriving = pages_for(prompt);
    if (is_out_of_memory_) return {};
    const RowChoice greedy;
    const bool chooses = forward_.backend().chooses();
    std::vector<StepRow> rows;
    std::vector<double> took_ms;
    Arrival arrival{prompt, std::move(arriving), {}, 0, 0, 0};
    const Measured measured = measure([&] {
      for (std::size_t position = 0; position < tokens; ++position) {
        const auto start = Clock::now();
        if (prompts_ != nullptr) go_on(arrival);
        rows.clear();
        for (std::size_t i = 0; i < batch; ++i)
          rows.push_back({token(position * batch + i), before + position, pages[i].data(), true,
                          false, chooses ? &greedy : nullptr});
        for (std::size_t i = 0; prompts_ == nullptr && i < options_.arriving_tokens; ++i)
          rows.push_back({token(i), position * options_.arriving_tokens + i, arrival.pages.data()});
        forward_.start(rows);
        if (chooses) forward_.backend().chosen(0);  // as a decoder must, before its next step
        forward_.backend().wait();
        took_ms.push_back(std::chrono::duration<double, std::milli>(Clock::now() - start).count());
      }
    });
    if (prompts_ != nullptr) prompts_->wait();
    const double all_s = std::accumulate(took_ms.begin(), took_ms.end(), 0.0) * 1e-3;
    std::sort(took_ms.begin(), took_ms.end());
    BenchFigure figure = figure_of(measured, "decode", batch, tokens * batch);
    figure.step_p50_ms = took_ms[took_ms.size() / 2];
    figure.step_p99_ms = took_ms[took_ms.size() * 99 / 100];
    figure.arriving_tokens_per_s = prompts_ != nullptr
                                       ? static_cast<double>(arrival.computed) / all_s
                                       : static_cast<double>(prompt) / measured.seconds;
    return figure;
  }

  // A long prompt that goes through the lane for prompts, and then once more.
  struct Arrival {
    std::size_t tokens;
    Pages pages;
    std::vector<StepRow> rows;  // under way
    std::size_t begun;          // tokens
    std::size_t computed;       // in all
    std::uint64_t sequence;
  };
  void go_on(Arrival& arrival) {
    if (arrival.tokens == 0 || (!arrival.rows.empty() && !prompts_->is_done())) return;
    arrival.computed += arrival.rows.size();
    arrival.rows.clear();
    if (arrival.begun == arrival.tokens || arrival.begun == 0) {
      arrival.begun = 0;
      ++arrival.sequence;
    }
    const std::size_t count = std::min(prompts_->rows_max(), arrival.tokens - arrival.begun);
    for (std::size_t i = 0; i < count; ++i, ++arrival.begun)
      arrival.rows.push_back({token(arrival.begun), arrival.begun, arrival.pages.data(), false,
                              false, nullptr, arrival.sequence});
    prompts_->start(arrival.rows);
  }

  // All threads read half a gigabyte through 2 MiB pages, a few pages at a time.
  double read_bandwidth() {
    AlignedBytes memory(std::size_t{512} << 20U);
    const std::size_t lines = memory.size() / 64;
    std::vector<std::uint64_t> sums(pool_->size() * 8);
    const double seconds = seconds_of([&] {
      pool_->each(lines, lines / 64, [&](std::size_t first, std::size_t last, std::size_t worker) {
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
  const BenchOptions& options_;
  std::unique_ptr<Pool> pool_;
  Forward forward_;
  std::unique_ptr<Lane> prompts_;  // for what arrives; null: it goes along with decoding
  Pages free_, used_;
  bool is_out_of_memory_ = false;
};

}  // namespace

std::optional<double> cost_per_million(const BenchFigure& figure, const Prices& prices) {
  constexpr double joules_per_kwh = 3.6e6;
  constexpr double seconds_per_hour = 3600;
  if (!prices.per_kwh && !prices.per_machine_hour) return std::nullopt;
  if (prices.per_kwh && !(figure.joules_per_token > 0)) return std::nullopt;
  if (!(figure.tokens_per_s > 0)) return std::nullopt;
  const double energy = prices.per_kwh.value_or(0) * figure.joules_per_token / joules_per_kwh;
  const double machine =
      prices.per_machine_hour.value_or(0) / (figure.tokens_per_s * seconds_per_hour);
  return (energy + machine) * 1e6;
}

Result<BenchReport> bench(const ModelFile& file, const BenchOptions& options) {
  if (options.threads < 1 || options.threads > 256)
    return Err(Code::invalid, "threads must be from 1 to 256");
  const std::size_t context = file.model().config.context;
  if (options.prompt_tokens > context || options.decode_tokens > context)
    return Err(Code::invalid, "the model was made for " + std::to_string(context) + " tokens");
  for (const std::size_t batch : options.batches)
    if (batch < 1 || batch > 4096) return Err(Code::invalid, "a batch must be from 1 to 4096");
  if (options.shared_tokens % page_tokens != 0)
    return Err(Code::invalid,
               "shared tokens come in whole pages of " + std::to_string(page_tokens));
  if (options.step_tokens < 1 || options.step_tokens > 65'536)
    return Err(Code::invalid, "a step must take from 1 to 65536 tokens");
  if (options.shared_tokens + options.own_tokens + options.decode_tokens > context ||
      options.arriving_tokens * options.decode_tokens > context)
    return Err(Code::invalid, "the model was made for " + std::to_string(context) + " tokens");
  BackendChoice choice;
  choice.device = options.device;
  choice.rows_max = Bench::rows_max(options);
  choice.kv_type = options.kv_type;
  choice.threads = options.threads;
  choice.pin_threads = options.pin_threads;
  choice.instruction_set = options.instruction_set;
  choice.fp8_weights = options.fp8_weights;
  choice.shares_prefixes = options.shares_prefixes;
  choice.schedule = options.schedule;
  if (options.arriving_tokens > 0 && !options.one_queue) {
    choice.prompt_rows_max = options.step_tokens;
    choice.prefill_device = options.prefill_device;
  }
  return Bench(file.model(), TRY(make_backend(file.model(), choice)), options).run();
}

}  // namespace ambit::inference
