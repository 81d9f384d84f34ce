#include "inference/make_backend.h"

#include "inference/cpu/backend.h"
#include "inference/cuda/backend.h"
#include "inference/cuda/far_lane.h"
#include "inference/forward.h"

#include <charconv>

namespace ambit::inference {

namespace {

Result<MadeBackend> make_cpu(const Model& model, const BackendChoice& choice) {
  if (choice.kv_type == KvType::fp8 || choice.fp8_weights)
    return Err(Code::unsupported, "8-bit floats are for GPUs; the CPU's pages are f16, q8 or f32");
  if (!choice.prefill_device.empty())
    return Err(Code::unsupported, "prompts can go to " + choice.prefill_device +
                                      " only if a GPU of the same architecture decodes");
  if (!choice.schedule.empty())
    return Err(Code::unsupported, "the CPU has one schedule of its products; others are for a GPU");
  for (const Kernels* kernels : usable_kernels()) {
    if (!choice.instruction_set.empty() && kernels->name != choice.instruction_set) continue;
    MadeBackend made;
    made.pool = std::make_unique<Pool>(choice.threads, choice.pin_threads);
    made.backend =
        std::make_unique<CpuBackend>(model, *kernels, *made.pool, choice.kv_type, choice.rows_max);
    return made;
  }
  return Err(Code::unsupported, "this machine has no " + choice.instruction_set + " kernels");
}

// "cuda" is the first.
Result<unsigned> gpu_index(const std::string& name) {
  unsigned index = 0;
  if (name == "cuda") return index;
  const char* const end = name.data() + name.size();
  if (!name.starts_with("cuda:"))
    return Err(Code::invalid,
               "there is no device \"" + name + "\"; there are cpu, cuda, cuda:1 and auto");
  const auto read = std::from_chars(name.data() + 5, end, index);
  if (read.ec != std::errc() || read.ptr != end)
    return Err(Code::invalid, "\"" + name + "\" names no GPU: cuda:0 is the first");
  return index;
}

Result<std::unique_ptr<Lane>> make_prompts(const Model& model, cuda::CudaBackend& home,
                                           const BackendChoice& choice, unsigned index) {
  const std::size_t rows = choice.prompt_rows_max;
  if (choice.prefill_device.empty())
    return std::make_unique<Forward>(model, TRY(cuda::CudaBackend::make_lane(home, rows)), rows);
  const unsigned other = TRY(gpu_index(choice.prefill_device));
  if (other == index)
    return Err(Code::invalid, "prompts go to " + choice.prefill_device +
                                  " anyway: name another GPU for them, or none");
  const std::size_t pages = choice.kv_bytes > 0
                                ? choice.kv_bytes / home.page_bytes()
                                : (home.options().context_max + page_tokens - 1) / page_tokens;
  auto device = TRY(cuda::open_device(other, home.options().schedule.warpgroups));
  auto residency = choice.residencies == nullptr ? nullptr : choice.residencies->of(other);
  return TRY(
      cuda::FarLane::make(model, home, std::move(device), rows, pages, std::move(residency)));
}

Result<MadeBackend> make_cuda(const Model& model, const BackendChoice& choice, unsigned index) {
  if (choice.kv_type == KvType::q8)
    return Err(Code::unsupported, "pages of q8 are for the CPU; a GPU's are bf16 or fp8");
  cuda::BackendOptions options;
  options.schedule = TRY(cuda::schedule_named(choice.schedule));
  auto device = TRY(choice.open_device ? choice.open_device(index)
                                       : cuda::open_device(index, options.schedule.warpgroups));
  options.rows_max = choice.rows_max;
  options.context_max = choice.context_max;
  options.page_type = choice.kv_type == KvType::fp8 ? cuda::PageType::fp8 : cuda::PageType::bf16;
  options.fp8_weights = choice.fp8_weights;
  options.shares_prefixes = choice.shares_prefixes;
  options.pages_max =
      choice.kv_bytes / cuda::CudaBackend::page_bytes(model.config, options.page_type);
  if (choice.residencies != nullptr) options.residency = choice.residencies->of(index);
  options.parks = choice.parks;
  MadeBackend made;
  auto backend = TRY(cuda::CudaBackend::make(model, std::move(device), options));
  if (choice.prompt_rows_max > 0) made.prompts = TRY(make_prompts(model, *backend, choice, index));
  made.takes_turns = TRY(backend->settle());
  made.place = backend->place();
  made.backend = std::move(backend);
  return made;
}

}  // namespace

Result<MadeBackend> make_backend(const Model& model, const BackendChoice& choice) {
  const std::string& name = choice.device;
  if (name == "cpu" || name.empty()) return make_cpu(model, choice);
  if (name == "auto") {
    auto made = make_cuda(model, choice, 0);
    const bool is_absent =
        !made && (made.error().code == Code::unsupported || made.error().code == Code::unavailable);
    return is_absent ? make_cpu(model, choice) : std::move(made);
  }
  return make_cuda(model, choice, TRY(gpu_index(name)));
}

}  // namespace ambit::inference
