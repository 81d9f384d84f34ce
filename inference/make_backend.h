#pragma once

// Finds the device that a model shall run on and makes its back end: "cpu", "cuda" or "cuda:1" (the
// second GPU), or "auto": a GPU where this build and this machine have one, else the CPU. A GPU has
// a lane for prompts beside it, of its own or on another GPU.

#include "async/result.h"
#include "inference/backend.h"
#include "inference/cpu/pool.h"
#include "inference/cuda/residency.h"
#include "inference/lane.h"

#include <cstddef>
#include <functional>
#include <memory>
#include <string>

namespace ambit::inference {

namespace cuda {
class Device;
}
// The GPU of a number.
using OpenDevice = std::function<Result<std::unique_ptr<cuda::Device>>(unsigned index)>;

struct BackendChoice {
  std::string device = "cpu";
  std::size_t rows_max = 256;
  std::size_t context_max = 0;  // positions of one sequence; 0: what the model was made for
  KvType kv_type = KvType::f16;
  // Of the CPU.
  std::size_t threads = 1;
  bool pin_threads = false;
  std::string instruction_set;  // empty: the best
  // Of a GPU.
  bool fp8_weights = false;
  bool shares_prefixes = true;      // false: for measuring what sharing is worth
  std::string schedule;             // not empty: for measuring alone (cuda/schedule.h)
  std::size_t prompt_rows_max = 0;  // of a pass of the prompts' lane; 0: there shall be none
  std::string prefill_device;       // that the lane is on; empty: the same
  std::size_t kv_bytes = 0;         // of pages; 0: nobody says; there: for one whole context
  OpenDevice open_device;           // empty: CUDA's
  // Of this process, where models share a device; null: this one has its device alone.
  std::shared_ptr<cuda::Residencies> residencies;
  bool parks = true;  // with these: its weights may leave the device
};

struct MadeBackend {
  std::unique_ptr<Pool> pool;  // of the CPU's threads; outlives the back end
  std::unique_ptr<Backend> backend;
  std::unique_ptr<Lane> prompts;            // null: none; the back end outlives it
  cuda::Residency::Place* place = nullptr;  // of the back end; null: its weights are always there
  bool takes_turns = false;  // since it is there not all models of its device fit at once
};

// `model` outlives what is made. invalid: no such name. unsupported or unavailable: what was asked
// for is not there; the message says why.
Result<MadeBackend> make_backend(const Model& model, const BackendChoice& choice);

}  // namespace ambit::inference
