// The device behind CUDA. A stream of the highest priority, one of the lowest for a lane, and one
// for copies beside them; graphs for what was recorded; on sm_90 each kernel may start while the
// one before it ends, and waits where it first reads (await_inputs). The runtime is linked
// statically and finds the driver when it is first used, so a machine without one just has no
// device.

#include "inference/cuda/launches.h"
#include "inference/cuda/schedule.h"
#include "inference/cuda/virtual_memory.h"

#include <cuda_runtime.h>

#include <deque>
#include <dlfcn.h>
#include <map>

namespace ambit::inference::cuda {
namespace {

// The driver's management library, for the meter of energy alone; loaded if it is there.
class EnergyMeter {
 public:
  explicit EnergyMeter(const std::string& bus_id) {
    library_ = dlopen("libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL);
    if (library_ == nullptr) return;
    const auto start = reinterpret_cast<int (*)()>(dlsym(library_, "nvmlInit_v2"));
    const auto find = reinterpret_cast<int (*)(const char*, void**)>(
        dlsym(library_, "nvmlDeviceGetHandleByPciBusId_v2"));
    read_ = reinterpret_cast<Read>(dlsym(library_, "nvmlDeviceGetTotalEnergyConsumption"));
    if (start == nullptr || find == nullptr || start() != 0 || find(bus_id.c_str(), &device_) != 0)
      read_ = nullptr;
  }
  ~EnergyMeter() {
    if (library_ != nullptr) dlclose(library_);
  }
  EnergyMeter(const EnergyMeter&) = delete;
  EnergyMeter& operator=(const EnergyMeter&) = delete;
  double joules() const {
    unsigned long long millijoules = 0;
    if (read_ == nullptr || read_(device_, &millijoules) != 0) return 0;
    return static_cast<double>(millijoules) * 1e-3;
  }

 private:
  using Read = int (*)(void*, unsigned long long*);
  void* library_ = nullptr;
  void* device_ = nullptr;
  Read read_ = nullptr;
};

// Copies between the host's pinned memory and the device's, on a stream of their own; each has an
// event before it and one after it, which say when it has ended and how long it took.
class CopyStream {
 public:
  CopyStream() = default;
  ~CopyStream() {
    if (stream_ == nullptr) return;
    cudaStreamSynchronize(stream_);
    for (const UnderWay& copy : under_way_) unused_.insert(unused_.end(), {copy.begun, copy.over});
    for (cudaEvent_t event : unused_) cudaEventDestroy(event);
    cudaEventDestroy(after_);
    cudaStreamDestroy(stream_);
  }
  CopyStream(const CopyStream&) = delete;
  CopyStream& operator=(const CopyStream&) = delete;

  // After what `compute` has been asked for so far.
  cudaError_t begin(cudaStream_t compute, void* to, const void* from, std::size_t bytes,
                    std::uint64_t number) {
    if (stream_ == nullptr) {
      if (const auto error = cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking);
          error != cudaSuccess)
        return error;
      if (const auto error = cudaEventCreateWithFlags(&after_, cudaEventDisableTiming);
          error != cudaSuccess)
        return error;
    }
    UnderWay copy{number, event(), event(), false};
    cudaEventRecord(after_, compute);
    cudaStreamWaitEvent(stream_, after_, 0);
    cudaEventRecord(copy.begun, stream_);
    const cudaError_t error = cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, stream_);
    cudaEventRecord(copy.over, stream_);
    copy.has_failed = error != cudaSuccess;
    under_way_.push_back(copy);
    return error;
  }
  cudaError_t take_ended(bool waits, std::vector<Device::EndedCopy>& ended) {
    while (!under_way_.empty()) {
      const UnderWay copy = under_way_.front();
      const bool is_wanted = waits && ended.empty();
      const cudaError_t error =
          is_wanted ? cudaEventSynchronize(copy.over) : cudaEventQuery(copy.over);
      if (error == cudaErrorNotReady) return cudaSuccess;
      float took_ms = 0;
      if (error == cudaSuccess) cudaEventElapsedTime(&took_ms, copy.begun, copy.over);
      under_way_.pop_front();
      unused_.insert(unused_.end(), {copy.begun, copy.over});
      ended.push_back({copy.number, error == cudaSuccess && !copy.has_failed,
                       static_cast<std::int64_t>(took_ms * 1e3F)});
      if (error != cudaSuccess) return error;
    }
    return cudaSuccess;
  }

 private:
  struct UnderWay {
    std::uint64_t number;
    cudaEvent_t begun;
    cudaEvent_t over;
    bool has_failed;
  };
  cudaEvent_t event() {
    cudaEvent_t made = nullptr;
    if (unused_.empty()) {
      cudaEventCreate(&made);
      return made;
    }
    made = unused_.back();
    unused_.pop_back();
    return made;
  }

  cudaStream_t stream_ = nullptr;  // made with the first copy
  cudaEvent_t after_ = nullptr;
  std::deque<UnderWay> under_way_;
  std::vector<cudaEvent_t> unused_;
};

class CudaLauncher : public Device {
 public:
  CudaLauncher(DeviceInfo info, int index, const std::string& bus_id, cudaStream_t stream)
      : info_(std::move(info)), index_(index), bus_id_(bus_id), stream_(stream), meter_(bus_id) {
    check(cudaEventCreateWithFlags(&event_, cudaEventDisableTiming), "making an event");
  }
  ~CudaLauncher() override {
    activate();
    if (event_ != nullptr) cudaEventDestroy(event_);
    for (const auto& [key, graph] : graphs_) cudaGraphExecDestroy(graph);
    cudaStreamDestroy(stream_);
  }
  CudaLauncher(const CudaLauncher&) = delete;
  CudaLauncher& operator=(const CudaLauncher&) = delete;

  const DeviceInfo& info() const override { return info_; }
  std::byte* allocate(std::size_t bytes) override {
    void* memory = nullptr;
    activate();
    if (cudaMalloc(&memory, bytes == 0 ? 1 : bytes) != cudaSuccess) {
      cudaGetLastError();  // that there is no more is an answer, not a failure
      return nullptr;
    }
    check(cudaMemsetAsync(memory, 0, bytes, stream_), "zeroing memory");
    return static_cast<std::byte*>(memory);
  }
  void release(std::byte* memory) override {
    activate();
    cudaStreamSynchronize(stream_);
    cudaFree(memory);
  }
  std::unique_ptr<Arena> arena() override { return VirtualArena::open(index_, info_.memory_bytes); }
  void upload(std::byte* to, const void* from, std::size_t bytes) override {
    activate();
    if (bytes > 0)
      check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyHostToDevice, stream_), "copying to it");
  }
  void download(void* to, const std::byte* from, std::size_t bytes) override {
    activate();
    if (bytes > 0)
      check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDeviceToHost, stream_), "copying from it");
    wait();
  }
  void copy(std::byte* to, const std::byte* from, std::size_t bytes) override {
    activate();
    // Addresses say which device's they are; where two do not see each other it goes by the host.
    check(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, stream_), "copying on it");
  }
  void wait() override {
    activate();
    check(cudaStreamSynchronize(stream_), "waiting for it");
  }
  bool is_done() override {
    activate();
    const cudaError_t state = cudaStreamQuery(stream_);
    if (state == cudaErrorNotReady) return false;
    check(state, "asking it");
    return true;
  }

  std::unique_ptr<Device> lane() override {
    activate();
    int least = 0;
    int greatest = 0;
    cudaStream_t stream = nullptr;
    check(cudaDeviceGetStreamPriorityRange(&least, &greatest), "asking for priorities");
    check(cudaStreamCreateWithPriority(&stream, cudaStreamNonBlocking, least),
          "making a second stream");
    if (stream == nullptr) return nullptr;
    return std::make_unique<Operations<CudaLauncher>>(info_, index_, bus_id_, stream);
  }
  // There is one kind of device in a program.
  void follow(Device& other) override {
    auto& them = static_cast<CudaLauncher&>(other);
    if (them.index_ != index_) reach(them);
    them.activate();
    check(cudaEventRecord(them.event_, them.stream_), "marking a place in a stream");
    activate();
    check(cudaStreamWaitEvent(stream_, them.event_, 0), "waiting for another stream");
  }

  std::byte* allocate_host(std::size_t bytes) override {
    void* memory = nullptr;
    activate();
    if (cudaHostAlloc(&memory, bytes, cudaHostAllocDefault) == cudaSuccess)
      return static_cast<std::byte*>(memory);
    cudaGetLastError();  // that there is no more is an answer, not a failure
    return nullptr;
  }
  void release_host(std::byte* memory) override { cudaFreeHost(memory); }
  std::uint64_t begin_copy(std::byte* to, const std::byte* from, std::size_t bytes) override {
    activate();
    check(copies_.begin(stream_, to, from, bytes, ++copies_begun_), "copying beside the kernels");
    return copies_begun_;
  }
  std::vector<EndedCopy> ended_copies(bool waits) override {
    std::vector<EndedCopy> ended;
    activate();
    check(copies_.take_ended(waits, ended), "copying beside the kernels");
    return ended;
  }

  bool replay(std::uint64_t key) override {
    const auto at = graphs_.find(key);
    if (at == graphs_.end()) return false;
    activate();
    check(cudaGraphLaunch(at->second, stream_), "playing a recorded step");
    return true;
  }
  void begin_recording(std::uint64_t key) override {
    recording_ = key;
    activate();
    check(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal), "recording a step");
  }
  void end_recording() override {
    cudaGraph_t graph = nullptr;
    check(cudaStreamEndCapture(stream_, &graph), "recording a step");
    cudaGraphExec_t made = nullptr;
    if (failure_.empty()) check(cudaGraphInstantiate(&made, graph, 0), "making a graph of a step");
    if (graph != nullptr) cudaGraphDestroy(graph);
    if (made == nullptr) return;
    constexpr std::size_t graphs_max = 128;
    if (graphs_.size() >= graphs_max) forget_recordings();
    graphs_.emplace(recording_, made);
    replay(recording_);
  }
  void forget_recordings() override {
    wait();
    for (const auto& [key, graph] : graphs_) cudaGraphExecDestroy(graph);
    graphs_.clear();
  }

  const std::string& failure() const override { return failure_; }
  double joules() override { return meter_.joules(); }

 protected:
  static bool few_rows(unsigned rows) { return rows <= few_rows_most; }

  template <class Kernel, class Job>
  void launch(const char* name, Kernel kernel, unsigned blocks_x, unsigned blocks_y,
              unsigned threads, std::size_t shared_bytes, const Job& job) {
    if (!failure_.empty() || blocks_x == 0 || blocks_y == 0) return;
    activate();
    constexpr std::size_t granted = std::size_t{48} << 10U;
    if (shared_bytes > granted)
      check(cudaFuncSetAttribute(reinterpret_cast<const void*>(kernel),
                                 cudaFuncAttributeMaxDynamicSharedMemorySize,
                                 static_cast<int>(shared_bytes)),
            name);
    cudaLaunchAttribute overlap{};
    overlap.id = cudaLaunchAttributeProgrammaticStreamSerialization;
    overlap.val.programmaticStreamSerializationAllowed = 1;
    cudaLaunchConfig_t how{};
    how.gridDim = dim3(blocks_x, blocks_y);
    how.blockDim = dim3(threads);
    how.dynamicSmemBytes = shared_bytes;
    how.stream = stream_;
    how.attrs = &overlap;
    how.numAttrs = info_.architecture >= 90 ? 1 : 0;
    check(cudaLaunchKernelEx(&how, kernel, job), name);
  }

 private:
  // Streams and memory belong to a device; which one a thread means is the thread's own.
  void activate() { cudaSetDevice(index_); }
  // The memories of two devices without the host between them, where they see each other.
  void reach(const CudaLauncher& them) {
    if (is_reached_) return;
    is_reached_ = true;
    for (const auto& [from, to] :
         {std::pair(index_, them.index_), std::pair(them.index_, index_)}) {
      int sees = 0;
      cudaSetDevice(from);
      if (cudaDeviceCanAccessPeer(&sees, from, to) == cudaSuccess && sees != 0)
        cudaDeviceEnablePeerAccess(to, 0);
      cudaGetLastError();  // it goes by the host then
    }
  }
  void check(cudaError_t error, const char* doing) {
    if (error == cudaSuccess || !failure_.empty()) return;
    failure_ = std::string("the GPU failed (") + doing + "): " + cudaGetErrorString(error);
  }

  DeviceInfo info_;
  int index_;
  std::string bus_id_;
  cudaStream_t stream_;
  cudaEvent_t event_ = nullptr;
  bool is_reached_ = false;
  EnergyMeter meter_;
  CopyStream copies_;
  std::uint64_t copies_begun_ = 0;
  std::map<std::uint64_t, cudaGraphExec_t> graphs_;
  std::uint64_t recording_ = 0;
  std::string failure_;
};

int attribute(cudaDeviceAttr which, int device) {
  int value = 0;
  cudaDeviceGetAttribute(&value, which, device);
  return value;
}

}  // namespace

Result<std::unique_ptr<Device>> open_device(unsigned index, bool warpgroups) {
  int count = 0;
  const cudaError_t found = cudaGetDeviceCount(&count);
  if (found != cudaSuccess || count == 0)
    return Err(Code::unavailable,
               std::string("this machine has no CUDA device that can be used: ") +
                   (found == cudaSuccess ? "none was found" : cudaGetErrorString(found)));
  const int device = static_cast<int>(index);
  if (device >= count)
    return Err(Code::unavailable, "there is no CUDA device " + std::to_string(index) +
                                      "; this machine has " + std::to_string(count));
  cudaDeviceProp properties{};
  cudaStream_t stream = nullptr;
  if (const cudaError_t error = cudaSetDevice(device); error != cudaSuccess)
    return Err(Code::unavailable,
               std::string("the CUDA device cannot be opened: ") + cudaGetErrorString(error));
  cudaGetDeviceProperties(&properties, device);
  DeviceInfo info;
  info.name = properties.name;
  info.architecture = static_cast<unsigned>(properties.major * 10 + properties.minor);
  // The only one that sm_90a's code runs on.
  info.warpgroups = warpgroups && info.architecture == 90;
  info.processors = static_cast<unsigned>(properties.multiProcessorCount);
  info.shared_bytes = properties.sharedMemPerBlockOptin;
  constexpr unsigned oldest = 80;
  if (info.architecture < oldest)
    return Err(Code::unsupported, info.name + " is too old: compute capability 8.0 is needed");
  cudaMemGetInfo(&info.free_bytes, &info.memory_bytes);
  // Both edges of the memory's clock, which is told in kHz.
  info.bandwidth_bytes_per_s = 2e3 * attribute(cudaDevAttrMemoryClockRate, device) *
                               attribute(cudaDevAttrGlobalMemoryBusWidth, device) / 8;
  char bus_id[32] = {};
  cudaDeviceGetPCIBusId(bus_id, sizeof bus_id, device);
  int least = 0;
  int greatest = 0;
  cudaDeviceGetStreamPriorityRange(&least, &greatest);
  if (const cudaError_t error =
          cudaStreamCreateWithPriority(&stream, cudaStreamNonBlocking, greatest);
      error != cudaSuccess)
    return Err(Code::unavailable,
               std::string("the CUDA device cannot be opened: ") + cudaGetErrorString(error));
  return std::unique_ptr<Device>(
      std::make_unique<Operations<CudaLauncher>>(std::move(info), device, bus_id, stream));
}

}  // namespace ambit::inference::cuda
