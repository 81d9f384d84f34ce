#include "sandbox/image.h"

#include <sys/mman.h>

#include <cerrno>
#include <cstddef>
#include <cstring>
#include <fcntl.h>
#include <unistd.h>
#include <utility>

// clang-format off
__asm__(".section .rodata\n"
        ".global ambit_zygote_image_begin\n"
        ".global ambit_zygote_image_end\n"
        ".balign 16\n"
        "ambit_zygote_image_begin:\n"
        ".incbin \"" ZYGOTE_IMAGE "\"\n"
        "ambit_zygote_image_end:\n"
        ".byte 0\n"
        ".previous\n");
// clang-format on
extern "C" const char ambit_zygote_image_begin[];
extern "C" const char ambit_zygote_image_end[];

namespace ambit::sandbox {
namespace {

// Far above what a spawned child gets as 3, 4, ..., so that it is still there when the child
// executes it.
constexpr int descriptor_min = 200;

Error broken(const char* what) {
  return {Code::unavailable,
          std::string("prepare the jail's helper program: ") + what + ": " + std::strerror(errno)};
}

}  // namespace

Result<ZygoteImage> ZygoteImage::open() {
  const int made = memfd_create("ambit-zygote", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (made < 0) return Err(broken("memfd_create"));
  ZygoteImage image(fcntl(made, F_DUPFD_CLOEXEC, descriptor_min));
  ::close(made);
  if (image.descriptor_ < 0) return Err(broken("no free descriptor"));
  const char* at = ambit_zygote_image_begin;
  while (at < ambit_zygote_image_end) {
    const ssize_t written =
        ::write(image.descriptor_, at, static_cast<std::size_t>(ambit_zygote_image_end - at));
    if (written <= 0) return Err(broken("write"));
    at += written;
  }
  const int seals = F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL;
  if (fcntl(image.descriptor_, F_ADD_SEALS, seals) != 0) return Err(broken("seal"));
  return image;
}

ZygoteImage::ZygoteImage(ZygoteImage&& other) noexcept
    : descriptor_(std::exchange(other.descriptor_, -1)) {}

ZygoteImage::~ZygoteImage() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

}  // namespace ambit::sandbox
