#include "cuda/fibers.h"

#include <sys/mman.h>

#include <cstdint>
#include <cstdlib>

#if defined(__SANITIZE_ADDRESS__)
#define SHIM_ADDRESS_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SHIM_ADDRESS_SANITIZER 1
#endif
#endif

#ifdef SHIM_ADDRESS_SANITIZER
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

#if defined(__x86_64__)
// Saves what a call must keep, swaps the stacks, and returns on the other one. Twenty times as fast
// as swapcontext, which asks the kernel about signals.
extern "C" void ambit_shim_switch(void** save, void* to);
asm(R"(
.text
.globl ambit_shim_switch
.type ambit_shim_switch, @function
ambit_shim_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size ambit_shim_switch, .-ambit_shim_switch
)");
#else
#include <ucontext.h>
#endif

namespace ambit::inference::cuda {

namespace {

constexpr std::size_t stack_bytes = std::size_t{256} << 10U;
constexpr std::size_t guard_bytes = std::size_t{64} << 10U;

}  // namespace

struct Fiber::State {
  std::byte* stack = nullptr;
  std::function<void()> work;
  bool done = true;
#if defined(__x86_64__)
  void* own = nullptr;
  void* resumer = nullptr;
#else
  ucontext_t own{};
  ucontext_t resumer{};
#endif
  void* own_fake = nullptr;
  void* resumer_fake = nullptr;
  const void* resumer_stack = nullptr;
  std::size_t resumer_size = 0;

  static thread_local State* running;

  void to_fiber() {
#ifdef SHIM_ADDRESS_SANITIZER
    __sanitizer_start_switch_fiber(&resumer_fake, stack + guard_bytes, stack_bytes);
#endif
#if defined(__x86_64__)
    ambit_shim_switch(&resumer, own);
#else
    swapcontext(&resumer, &own);
#endif
#ifdef SHIM_ADDRESS_SANITIZER
    __sanitizer_finish_switch_fiber(resumer_fake, nullptr, nullptr);
#endif
  }
  void arrived() {
#ifdef SHIM_ADDRESS_SANITIZER
    __sanitizer_finish_switch_fiber(own_fake, &resumer_stack, &resumer_size);
#endif
  }
  void to_resumer(bool for_good) {
    static_cast<void>(for_good);
#ifdef SHIM_ADDRESS_SANITIZER
    __sanitizer_start_switch_fiber(for_good ? nullptr : &own_fake, resumer_stack, resumer_size);
#endif
#if defined(__x86_64__)
    ambit_shim_switch(&own, resumer);
#else
    swapcontext(&own, &resumer);
#endif
  }
  static void enter() {
    State* self = running;
    self->own_fake = nullptr;
    self->arrived();
    self->work();
    self->done = true;
    self->to_resumer(true);
    std::abort();  // a fiber that has ended is not resumed
  }
};

thread_local Fiber::State* Fiber::State::running = nullptr;

Fiber::Fiber() : state_(std::make_unique<State>()) {
  void* memory = mmap(nullptr, guard_bytes + stack_bytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) std::abort();
  mprotect(memory, guard_bytes, PROT_NONE);
  state_->stack = static_cast<std::byte*>(memory);
}

Fiber::~Fiber() {
  munmap(state_->stack, guard_bytes + stack_bytes);
}

void Fiber::start(std::function<void()> work) {
  if (!state_->done) std::abort();
  state_->work = std::move(work);
  state_->done = false;
#ifdef SHIM_ADDRESS_SANITIZER
  // The frame that ended the last work was left, not returned from.
  __asan_unpoison_memory_region(state_->stack + guard_bytes, stack_bytes);
#endif
  std::byte* top = state_->stack + guard_bytes + stack_bytes;
#if defined(__x86_64__)
  auto* at = reinterpret_cast<void**>(top);
  *--at = nullptr;  // as if enter() had been called from nowhere: the stack is 8 off a border of 16
  *--at = reinterpret_cast<void*>(&State::enter);
  for (int i = 0; i < 6; ++i) *--at = nullptr;
  state_->own = at;
#else
  getcontext(&state_->own);
  state_->own.uc_stack.ss_sp = state_->stack + guard_bytes;
  state_->own.uc_stack.ss_size = stack_bytes;
  state_->own.uc_link = nullptr;
  makecontext(&state_->own, &State::enter, 0);
  static_cast<void>(top);
#endif
}

void Fiber::resume() {
  State* before = State::running;
  State::running = state_.get();
  state_->to_fiber();
  State::running = before;
}

bool Fiber::is_done() const {
  return state_->done;
}

void Fiber::give_way() {
  State* self = State::running;
  self->to_resumer(false);
  self->arrived();
}

}  // namespace ambit::inference::cuda
