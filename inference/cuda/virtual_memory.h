#pragma once

// The arena behind CUDA: addresses are reserved once, for as much as the device has, and memory is
// mapped to them in pieces while a model is loaded, or in one piece when it comes back. The
// driver's calls for that are looked up when they are first needed. Only device.cu includes this.

#include "inference/cuda/arena.h"

#include <cuda.h>
#include <cuda_runtime.h>

#include <algorithm>
#include <dlfcn.h>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace ambit::inference::cuda {

class VirtualArena final : public Arena {
 public:
  // Null: the driver or the device has no such memory.
  static std::unique_ptr<Arena> open(int device, std::size_t device_bytes) {
    std::unique_ptr<VirtualArena> made(new VirtualArena(device));
    if (!made->find_driver() || !made->reserve(device_bytes)) return nullptr;
    return made;
  }
  ~VirtualArena() override {
    cudaSetDevice(device_);
    if (stream_ != nullptr) cudaStreamDestroy(stream_);
    unmap();
    if (base_ != 0) free_addresses_(base_, reserved_);
    if (copy_ != nullptr) cudaFreeHost(copy_);
    if (library_ != nullptr) dlclose(library_);
  }

  std::size_t growth(std::size_t bytes) const override {
    const std::size_t end = aligned(used_) + bytes;
    if (end <= mapped_) return 0;
    constexpr std::size_t piece = std::size_t{64} << 20U;
    const std::size_t step = std::max(std::min(piece, reserved_ - mapped_), end - mapped_);
    return (step + granularity_ - 1) / granularity_ * granularity_;
  }
  std::byte* add(std::size_t bytes) override {
    const std::size_t more = growth(bytes);
    cudaSetDevice(device_);
    if (mapped_ + more > reserved_ || (more > 0 && !map(mapped_, more))) return nullptr;
    mapped_ += more;
    const std::size_t at = aligned(used_);
    used_ = at + bytes;
    return address(at);
  }

  Result<void> keep_copy() override {
    if (copy_ != nullptr || used_ == 0) return {};
    void* memory = nullptr;
    cudaSetDevice(device_);
    if (cudaHostAlloc(&memory, used_, cudaHostAllocPortable) != cudaSuccess) {
      cudaGetLastError();
      return Err(Code::exhausted,
                 "the machine gives no " + std::to_string(used_) +
                     " bytes of pinned memory for weights that have to leave the GPU: give it more "
                     "memory, raise the limit of locked memory, or name fewer models for this GPU");
    }
    copy_ = static_cast<std::byte*>(memory);
    if (const auto copied = copy(copy_, address(0)); !copied) {
      cudaFreeHost(std::exchange(copy_, nullptr));
      return copied;
    }
    return {};
  }
  void leave() override {
    cudaSetDevice(device_);
    unmap();
  }
  Result<void> come() override {
    cudaSetDevice(device_);
    if (mapped_ > 0 && !map(0, mapped_))
      return Err(Code::exhausted, "the GPU has no " + std::to_string(mapped_) +
                                      " bytes for the weights of this model: others than this "
                                      "process have taken them");
    auto copied = copy(address(0), copy_);
    if (!copied) unmap();
    return copied;
  }

 private:
  // A part of the address range with memory behind it.
  struct Piece {
    CUmemGenericAllocationHandle memory;
    std::size_t at;
    std::size_t bytes;
  };

  explicit VirtualArena(int device) : device_(device) {
    location_.type = CU_MEM_LOCATION_TYPE_DEVICE;
    location_.id = device;
  }
  template <class Call>
  bool find(Call& call, const char* name) {
    call = reinterpret_cast<Call>(dlsym(library_, name));
    return call != nullptr;
  }
  bool find_driver() {
    library_ = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
    return library_ != nullptr && find(ask_granularity_, "cuMemGetAllocationGranularity") &&
           find(reserve_addresses_, "cuMemAddressReserve") &&
           find(free_addresses_, "cuMemAddressFree") && find(create_, "cuMemCreate") &&
           find(release_, "cuMemRelease") && find(map_, "cuMemMap") && find(unmap_, "cuMemUnmap") &&
           find(set_access_, "cuMemSetAccess");
  }
  CUmemAllocationProp properties() const {
    CUmemAllocationProp how{};
    how.type = CU_MEM_ALLOCATION_TYPE_PINNED;
    how.location = location_;
    return how;
  }
  bool reserve(std::size_t device_bytes) {
    const CUmemAllocationProp how = properties();
    cudaSetDevice(device_);
    cudaFree(nullptr);  // the device's context is there from here on
    if (ask_granularity_(&granularity_, &how, CU_MEM_ALLOC_GRANULARITY_MINIMUM) != CUDA_SUCCESS ||
        granularity_ == 0)
      return false;
    reserved_ = (device_bytes + granularity_ - 1) / granularity_ * granularity_;
    return reserve_addresses_(&base_, reserved_, 0, 0, 0) == CUDA_SUCCESS &&
           cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking) == cudaSuccess;
  }
  static std::size_t aligned(std::size_t at) { return (at + 255) / 256 * 256; }
  std::byte* address(std::size_t at) const { return reinterpret_cast<std::byte*>(base_ + at); }

  bool map(std::size_t at, std::size_t bytes) {
    const CUmemAllocationProp how = properties();
    Piece piece{0, at, bytes};
    if (create_(&piece.memory, bytes, &how, 0) != CUDA_SUCCESS) return false;
    if (map_(base_ + at, bytes, 0, piece.memory, 0) != CUDA_SUCCESS) {
      release_(piece.memory);
      return false;
    }
    pieces_.push_back(piece);
    CUmemAccessDesc access{};
    access.location = location_;
    access.flags = CU_MEM_ACCESS_FLAGS_PROT_READWRITE;
    if (set_access_(base_ + at, bytes, &access, 1) == CUDA_SUCCESS) return true;
    unmap_last();
    return false;
  }
  void unmap_last() {
    unmap_(base_ + pieces_.back().at, pieces_.back().bytes);
    release_(pieces_.back().memory);
    pieces_.pop_back();
  }
  void unmap() {
    while (!pieces_.empty()) unmap_last();
  }
  Result<void> copy(void* to, const void* from) {
    cudaError_t error = cudaMemcpyAsync(to, from, used_, cudaMemcpyDefault, stream_);
    if (const cudaError_t end = cudaStreamSynchronize(stream_); error == cudaSuccess) error = end;
    if (error == cudaSuccess) return {};
    return Err(Code::unavailable,
               std::string("the GPU failed (copying weights): ") + cudaGetErrorString(error));
  }

  int device_;
  CUmemLocation location_{};
  void* library_ = nullptr;
  decltype(&cuMemGetAllocationGranularity) ask_granularity_ = nullptr;
  decltype(&cuMemAddressReserve) reserve_addresses_ = nullptr;
  decltype(&cuMemAddressFree) free_addresses_ = nullptr;
  decltype(&cuMemCreate) create_ = nullptr;
  decltype(&cuMemRelease) release_ = nullptr;
  decltype(&cuMemMap) map_ = nullptr;
  decltype(&cuMemUnmap) unmap_ = nullptr;
  decltype(&cuMemSetAccess) set_access_ = nullptr;
  std::size_t granularity_ = 0;
  CUdeviceptr base_ = 0;
  std::size_t reserved_ = 0;  // addresses
  std::size_t mapped_ = 0;    // of these, with memory while it is here
  std::size_t used_ = 0;
  std::vector<Piece> pieces_;
  cudaStream_t stream_ = nullptr;
  std::byte* copy_ = nullptr;  // pinned
};

}  // namespace ambit::inference::cuda
