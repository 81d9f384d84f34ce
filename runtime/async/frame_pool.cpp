#include "async/frame_pool.h"

#include <array>
#include <new>
#include <utility>

#ifndef __has_feature
#define __has_feature(x) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || \
    __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define AMBIT_FRAMES_FROM_HEAP 1
#else
#define AMBIT_FRAMES_FROM_HEAP 0
#endif

namespace ambit::detail {
namespace {

constexpr std::size_t step_bytes = 32;
constexpr std::size_t frame_bytes_max = 2048;  // a greater frame is the heap's
constexpr std::size_t kept_bytes_max = 4U << 20;

struct Free {
  Free* next;
};

class Frames {
 public:
  Frames() = default;
  Frames(const Frames&) = delete;
  Frames& operator=(const Frames&) = delete;
  ~Frames() {
    ended_ = true;
    for (Free* list : lists_) {
      while (list != nullptr) ::operator delete(std::exchange(list, list->next));
    }
  }
  void* take(std::size_t size) {
    Free*& list = lists_[size];
    if (list == nullptr) return ::operator new(size * step_bytes);
    kept_bytes_ -= size * step_bytes;
    return std::exchange(list, list->next);
  }
  void give(void* frame, std::size_t size) noexcept {
    if (ended_ || kept_bytes_ >= kept_bytes_max) {
      ::operator delete(frame);
      return;
    }
    kept_bytes_ += size * step_bytes;
    lists_[size] = new (frame) Free{lists_[size]};
  }

 private:
  std::array<Free*, frame_bytes_max / step_bytes + 1> lists_{};
  std::size_t kept_bytes_ = 0;
  bool ended_ = false;
};

thread_local Frames frames;

constexpr std::size_t size_of(std::size_t bytes) {
  return (bytes + step_bytes - 1) / step_bytes;
}

}  // namespace

void* FramePool::take(std::size_t bytes) {
  if (AMBIT_FRAMES_FROM_HEAP != 0 || bytes > frame_bytes_max) return ::operator new(bytes);
  return frames.take(size_of(bytes));
}

void FramePool::give(void* frame, std::size_t bytes) noexcept {
  if (AMBIT_FRAMES_FROM_HEAP != 0 || bytes > frame_bytes_max) {
    ::operator delete(frame);
  } else {
    frames.give(frame, size_of(bytes));
  }
}

}  // namespace ambit::detail
