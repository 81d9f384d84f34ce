#pragma once

// What a device offers to the forward pass: the same list of operations on the CPU (cpu/backend.h)
// and on a GPU (cuda/backend.h). The values that pass between operations stay in the back end's own
// memory and are named here, never copied; forward.cpp says in which order the operations come. The
// pages of keys and values live in the same memory: only the back end may look into one.

#include "async/result.h"
#include "inference/model.h"
#include "inference/ops.h"
#include "inference/page_tier.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace ambit::inference {

class TokenMask;

// How the token after a row is to be chosen, where the back end does that itself.
struct RowChoice {
  std::uint64_t seed = 0;
  std::uint64_t position = 0;  // of the token that is chosen
  double temperature = 0;      // 0: the likeliest
  // Null: every token may come. Rows with equal masks should have the same one: it goes once.
  std::shared_ptr<const TokenMask> mask{};
};

struct StepRow {
  TokenId token = 0;
  std::size_t position = 0;
  std::byte* const* pages = nullptr;  // of its sequence; the page of `position` included
  bool wants_logits = false;
  bool wants_state = false;  // the normed residual after the last layer; not together with logits
  const RowChoice* choice = nullptr;  // with wants_logits: chosen() is asked for, too
  std::uint64_t sequence = 0;         // whose row it is: a number that no other sequence ever has
};

// Values of all rows, one stretch a row.
enum class Values : std::uint8_t {
  normed,     // [width], what a block reads
  qkv,        // [qkv.outputs]
  attended,   // [heads * head_width]
  projected,  // [width, in whole panels], what a block adds to the residual
  gate_up,    // [gate_up.outputs]
  hidden,     // [hidden]
  logits      // [vocabulary, in whole panels], of the rows that want them
};

// Where the pages of keys and values are.
class PageMemory {
 public:
  virtual ~PageMemory() = default;
  // Zeroed; stays until the memory itself is gone. Null: there is no more.
  virtual std::byte* make_page(std::size_t bytes) = 0;
  virtual void copy_page(std::byte* to, const std::byte* from, std::size_t bytes) = 0;
};

class TrafficCount;

class Backend {
 public:
  virtual ~Backend() = default;

  [[nodiscard]] virtual std::string_view name() const = 0;
  [[nodiscard]] virtual std::size_t page_bytes() const = 0;
  virtual PageMemory& pages() = 0;
  // Where its pages can go: `disk`, where they lie in the host's memory anyway, else so many bytes
  // of that and the disk, if there is one, below. Does not outlive the back end. Null: nowhere.
  virtual Result<std::unique_ptr<PageTier>> lower_tier(std::size_t host_bytes,
                                                       std::unique_ptr<PageTier> disk) {
    if (host_bytes > 0)
      return Err(Code::unsupported,
                 "pages of the CPU are in host memory already: kvCache.host is for a GPU");
    return disk;
  }

  // A step begins: the rows' embeddings are the residual, the turns of their positions are known.
  // `rows` stay until the step ends.
  virtual void begin(std::span<const StepRow> rows) = 0;
  // normed = the residual, normed by `weight`.
  virtual void norm(const std::vector<float>& weight) = 0;
  // out = the matrix times in, for every row (of logits: for every row that wants them).
  virtual void multiply(const Matrix& matrix, Values in, Values out) = 0;
  // Bias, norms and turns of queries and keys; keys and values go to their pages.
  virtual void prepare(std::size_t layer) = 0;
  virtual void attend(std::size_t layer) = 0;
  // hidden = the layer's gate of gate_up.
  virtual void gate(std::size_t layer) = 0;
  // projected = what the layer's experts make of normed: of each row the `experts_used` that its
  // router likes best (of equals the first), added in the order of their numbers, each times its
  // probability among them.
  virtual void mix(std::size_t layer) = 0;
  // Adds projected to the residual, by way of the norm `after` where it is not empty; then norms
  // the residual for the next block, where there is one.
  virtual void add_block(const std::vector<float>& after, const std::vector<float>* next) = 0;
  // normed = the residual of the rows that want logits, then of those that want their state.
  // Gives how many want logits.
  virtual std::size_t select(const std::vector<float>& weight) = 0;
  // The step ends: logits, capped where the model caps them, and states can be read.
  virtual void finish() = 0;

  // What the steps so far have moved, and what each row of the latest has of it (traffic.h).
  [[nodiscard]] virtual const TrafficCount& traffic() const = 0;
  // So many operations are taken to need as much energy as moving a byte does: an order of
  // magnitude, by which rows of steps that move and steps that compute are weighed together.
  [[nodiscard]] virtual double operations_per_byte() const { return 16; }
  // What it runs on, for the record: "cuda: NAME"; empty: this machine's processors.
  [[nodiscard]] virtual std::string device() const { return {}; }

  // Until all that was asked for is done; whether it is.
  virtual void wait() {}
  virtual bool is_done() { return true; }
  // What its memory gives at best, in bytes a second; 0: it has to be measured.
  [[nodiscard]] virtual double read_bandwidth() const { return 0; }
  // Joules that the device has taken since some fixed time; 0: it does not say.
  virtual double joules() { return 0; }

  // What went wrong with the device for good; empty: nothing. A step that fails has no results.
  [[nodiscard]] virtual std::string failure() const { return {}; }

  // Whether chosen() can be asked for. A back end draws in its own way, but always by seed,
  // position and token alone.
  [[nodiscard]] virtual bool chooses() const { return false; }
  // The token after the i-th row that wanted logits, if it came with a choice; -1: its mask allows
  // none.
  virtual TokenId chosen(std::size_t) { return -1; }

  // Of the i-th row that wanted them, valid until the next step.
  virtual std::span<const float> logits(std::size_t i) = 0;
  virtual std::span<const float> state(std::size_t i) = 0;
};

}  // namespace ambit::inference
