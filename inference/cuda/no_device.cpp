// What stands in for device.cu where the CUDA Toolkit was not found when this was built.

#include "inference/cuda/device.h"

namespace ambit::inference::cuda {

Result<std::unique_ptr<Device>> open_device(unsigned, bool) {
  return Err(Code::unsupported,
             "this build has no CUDA back end: install the CUDA Toolkit (12.4 or later) and build "
             "again");
}

}  // namespace ambit::inference::cuda
