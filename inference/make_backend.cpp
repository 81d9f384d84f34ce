#include "inference/make_backend.h"

#include "inference/cpu/backend.h"
#include "inference/cuda/backend.h"

#include <charconv>

namespace ambit::inference {

namespace {

Result<MadeBackend> make_cpu(const Model& model, const BackendChoice& choice) {
  if (choice.kv_type == KvType::fp8 || choice.fp8_weights)
    return Err(Code::unsupported, "8-bit floats are for GPUs; the CPU's pages are f16, q8 or f32");
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

Result<MadeBackend> make_cuda(const Model& model, const BackendChoice& choice, unsigned index) {
  if (choice.kv_type == KvType::q8)
    return Err(Code::unsupported, "pages of q8 are for the CPU; a GPU's are bf16 or fp8");
  auto device = TRY(cuda::open_device(index));
  cuda::BackendOptions options;
  options.rows_max = choice.rows_max;
  options.context_max = choice.context_max;
  options.page_type = choice.kv_type == KvType::fp8 ? cuda::PageType::fp8 : cuda::PageType::bf16;
  options.fp8_weights = choice.fp8_weights;
  options.shares_prefixes = choice.shares_prefixes;
  MadeBackend made;
  made.backend = TRY(cuda::CudaBackend::make(model, std::move(device), options));
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
  unsigned index = 0;
  if (name.starts_with("cuda:")) {
    const char* const end = name.data() + name.size();
    const auto read = std::from_chars(name.data() + 5, end, index);
    if (read.ec != std::errc() || read.ptr != end)
      return Err(Code::invalid, "\"" + name + "\" names no GPU: cuda:0 is the first");
  } else if (name != "cuda") {
    return Err(Code::invalid,
               "there is no device \"" + name + "\"; there are cpu, cuda, cuda:1 and auto");
  }
  return make_cuda(model, choice, index);
}

}  // namespace ambit::inference
