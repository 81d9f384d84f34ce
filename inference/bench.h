#pragma once

// How fast a model runs here, and at what expense: prefill of one prompt, decoding of so many
// sequences at once, what they move (traffic.h) and what part of the memory's bandwidth that is,
// what they take of energy where somebody counts it, and what a token then costs. Measures the
// forward pass alone, as other engines' benches do: no tokenizer, no sampler.

#include "async/result.h"
#include "inference/model_file.h"
#include "inference/ops.h"

#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace ambit::inference {

struct BenchOptions {
  std::size_t threads = 1;
  std::size_t prompt_tokens = 512;  // 0: no prefill
  std::size_t decode_tokens = 128;  // of each sequence; 0: no decoding
  std::vector<std::size_t> batches = {1};
  std::size_t repeats = 3;  // the median counts
  bool warms_up = false;    // a prompt goes through before anything counts
  KvType kv_type = KvType::f16;
  std::string instruction_set;  // empty: the best
  bool pin_threads = true;
  std::string device = "cpu";  // make_backend.h
  bool fp8_weights = false;
  bool shares_prefixes = true;
  std::string schedule;           // of a GPU; not empty: another than the one that keeps bits alike
  std::size_t shared_tokens = 0;  // that all sequences begin with before they decode
  std::size_t own_tokens = 0;     // that each has after them
  std::size_t step_tokens = 512;  // rows of one step of a prompt
  // Of each step of decoding, of a long prompt that comes in; on a GPU it goes through a queue of
  // its own, a step of a prompt at a time, and again and again.
  std::size_t arriving_tokens = 0;
  bool one_queue = false;      // on a GPU too: in the steps of decoding
  std::string prefill_device;  // of the queue; empty: the same
  // Joules that the processors have taken since some fixed time; 0 or absent: nobody counts.
  std::function<double()> processor_joules;
  // Where energy is counted, runs are repeated for so long: counters tick every millisecond or
  // every tenth of a second, and what they say of less is chance.
  double counted_seconds = 1;
};

struct BenchFigure {
  std::string what;  // "prefill" or "decode"
  std::size_t batch = 1;
  double tokens_per_s = 0;
  double gigabytes_per_s = 0;
  double of_bandwidth = 0;  // part of what plain reading gives
  double step_p50_ms = 0;   // of decoding
  double step_p99_ms = 0;
  double arriving_tokens_per_s = 0;  // of the prompt that comes in meanwhile
  double joules_per_token = 0;       // of the device and of the processors; 0: nobody counts
  double bytes_per_token = 0;
  double operations_per_s = 0;
};

// In whatever currency.
struct Prices {
  std::optional<double> per_kwh;
  std::optional<double> per_machine_hour;
};
// Of a million of the figure's tokens. Nothing: no price was given, or one of energy that nobody
// has counted.
std::optional<double> cost_per_million(const BenchFigure& figure, const Prices& prices);

struct BenchReport {
  std::string instruction_set;
  double read_gigabytes_per_s =
      0;  // of all threads, from memory; of a GPU as its data sheet has it
  std::vector<BenchFigure> figures;
};

// invalid: no such kernels, or more tokens than the model has positions.
Result<BenchReport> bench(const ModelFile& file, const BenchOptions& options);

}  // namespace ambit::inference
