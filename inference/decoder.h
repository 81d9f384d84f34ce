#pragma once

// Turns in, turns out, step by step on one thread: renders the prompt, compiles the grammar of the
// offered tools, lets the scheduler run, reads the calls back out of the text. The engine runs one
// of these on its own thread; `ambit model eval` and tests drive one by hand.

#include "agents/ports.h"
#include "async/result.h"
#include "inference/energy.h"
#include "inference/forward.h"
#include "inference/kv_cache.h"
#include "inference/make_backend.h"
#include "inference/model_file.h"
#include "inference/page_file.h"
#include "inference/scheduler.h"
#include "inference/tier_choice.h"
#include "inference/traffic.h"

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace ambit::inference {

struct EngineOptions {
  std::size_t threads = 1;
  std::size_t batch_max = 64;         // sessions decoding at once
  std::size_t step_tokens_max = 256;  // tokens in one forward pass
  std::size_t kv_bytes = std::size_t{1} << 30U;
  // Of a GPU: keys and values that its memory cannot hold go to so many bytes of the host's (0:
  // they do not). Those that this cannot hold go to a file in this folder, of at most so many bytes
  // (0: nowhere). Nothing: each while that pays (tier_choice.h).
  std::size_t kv_host_bytes = 0;
  std::optional<bool> kv_host_pays;
  std::string kv_disk_folder;
  std::size_t kv_disk_bytes = 0;
  std::optional<bool> kv_disk_pays;
  std::size_t context_max = 0;  // tokens of one session; 0: what the model was made for
  KvType kv_type = KvType::f16;
  std::size_t draft_max = 6;  // tokens that a session may guess ahead in a step; 0: none
  bool pin_threads =
      false;            // each to a processor of its own; for a machine with nothing else to do
  bool grammar = true;  // constrain turns that offer tools
  std::string instruction_set;  // a name of usable_kernels(); empty: the best
  std::string device = "cpu";   // or "cuda", "cuda:1", "auto" (make_backend.h)
  bool fp8_weights = false;     // of a GPU: weights that are floats become 8-bit floats
  std::string prefill_device;   // another GPU for prompts; empty: a queue on the same
  OpenDevice open_device;       // of a GPU; empty: CUDA's
  // Of this process, where several models may be on one GPU; null: this one has its own.
  std::shared_ptr<cuda::Residencies> residencies;
  bool parks = true;                       // with these: its weights may leave the GPU
  std::function<std::int64_t()> clock_us;  // monotonic, any thread; for usage and disk times only
  // Of this process; null: nobody measures. Turns say their part of it, for which there must be a
  // clock.
  std::shared_ptr<EnergyMeters> energy;
  std::string processor;  // "cpu: NAME", for turns that the processors compute
  // Told what whoever runs this should know of, in one line, on the decoder's thread; may be empty.
  std::function<void(const std::string&)> warn;
};

struct EngineStats {
  Scheduler::Stats scheduler;
  KvCache::Stats kv;
  Grammar::Stats grammar;
  Traffic traffic;
  cuda::Residency::Stats residency;
  std::size_t page_bytes = 0;
  std::string_view instruction_set;
};

class Decoder {
 public:
  using Ended = std::pair<std::uint64_t, Result<agents::Turn>>;
  using Embedded = std::pair<std::uint64_t, Result<agents::Embedding>>;
  using Said = std::pair<std::uint64_t, std::string>;
  // What a step has brought, each in the order in which it happened. Of one request, what was said
  // comes before its end.
  struct Progress {
    std::vector<Said> said;  // pieces of the content, of requests that are streamed
    std::vector<Ended> ended;
    std::vector<Embedded> embedded;
    void clear();
  };

  static Result<std::unique_ptr<Decoder>> make(std::shared_ptr<const ModelFile> file,
                                               EngineOptions options);
  Decoder(const Decoder&) = delete;
  Decoder& operator=(const Decoder&) = delete;

  // Errors: invalid (it can never work), exhausted (it can never fit).
  // `streams`: pieces of the content are wanted as they are decoded.
  Result<std::uint64_t> submit(const agents::TurnRequest& request, bool streams = false);
  Result<std::uint64_t> submit(const agents::EmbeddingRequest& request);
  void cancel(std::uint64_t id);
  void observe(const std::string& session, agents::SessionEvent event);
  // Computes what is certain of the next prompt of a session whose call runs and whose result
  // begins like this; while it does so already, afterwards, and then the latest alone. What that
  // cost is counted to the turn that needs it, as if it had been computed then.
  void foresee(agents::TurnRequest request, std::string result = "");
  [[nodiscard]] bool idle() const { return scheduler_.idle(); }
  // Whether a step would do anything now. Not while the weights wait for their place on a device
  // that models share: whoever is told here (on any thread) steps again then.
  [[nodiscard]] bool can_step() const { return !idle() && !awaits_place_; }
  void set_wake(std::function<void()> wake);
  void step(Progress& progress);
  // Submits one turn and steps until it has ended; other requests go on beside it.
  Result<agents::Turn> complete(const agents::TurnRequest& request);
  [[nodiscard]] EngineStats stats() const;
  [[nodiscard]] Scheduler& scheduler() { return scheduler_; }

 private:
  // Tokens of a prompt: the first, and the one after the last.
  struct Stretch {
    std::size_t begin = 0;
    std::size_t end = 0;
    std::int64_t moved_bytes = 0;  // for that
    std::int64_t energy_uj = 0;
    void add(const Scheduler::Computed& computed);
    // How many of the first `count` tokens it has.
    [[nodiscard]] std::size_t within(std::size_t count) const;
  };
  struct Open {
    std::string session;
    std::size_t calls_before = 0;  // tool calls that the conversation holds: ids go on from there
    bool reads_calls = false;
    std::vector<std::string> stop;
    bool is_embedding = false;
    bool is_ahead = false;                   // nobody waits for it
    Stretch computed_ahead;                  // of its prompt
    std::optional<Detokenizer> detokenizer;  // of a request that is streamed
    std::string text;
    std::size_t told = 0;  // bytes of it
  };
  // What was computed for a session while its calls ran.
  struct Ahead {
    std::optional<std::uint64_t> id;  // while it goes on
    Stretch computed;
    // What has become certain since it began: the conversation, and how its next result begins.
    std::optional<std::pair<agents::TurnRequest, std::string>> next{};
  };
  Decoder(std::shared_ptr<const ModelFile> file, EngineOptions options, MadeBackend made,
          std::size_t pages, std::unique_ptr<PageTier> tier);
  Result<ExpressionId> language(const agents::TurnRequest& request);
  Result<std::uint64_t> submit(Generation generation, Open open);
  void hear(std::uint64_t id, TokenId token);
  // The beginning of the next prompt, however the result of the call goes on.
  Result<std::vector<TokenId>> certain_tokens(const agents::TurnRequest& request,
                                              std::string result) const;
  void stop_ahead(Ahead& ahead);
  void end_ahead(const std::string& session, const Generated& generated);
  void open_energy();
  // Runs the scheduler's step, while its weights are on the device.
  void step_scheduler();
  void tell_of_tiers();
  void choose_tiers();
  agents::Turn read(const Open& open, const Generated& generated) const;

  std::shared_ptr<const ModelFile> file_;
  EngineOptions options_;
  std::unique_ptr<Pool> pool_;
  Forward forward_;
  cuda::Residency::Place* place_;  // of the back end; null: its weights are always there
  bool awaits_place_ = false;
  std::unique_ptr<Lane> prompts_;  // null: in the steps of those who decode
  KvCache cache_;
  Scheduler scheduler_;
  std::shared_ptr<Grammar> grammar_;
  std::unordered_map<std::string, ExpressionId> languages_;  // by what a turn offers
  std::unordered_map<std::uint64_t, Open> open_;
  std::unordered_map<std::string, Ahead> ahead_;  // by session
  std::vector<Generated> generated_;
  std::vector<Said> said_;  // in this step
  TierChoice host_choice_, disk_choice_;
  Scheduler::Stats ran_before_;
  KvCache::Stats kv_before_;
  KvCache::TierStats host_told_, disk_told_;
};

}  // namespace ambit::inference
