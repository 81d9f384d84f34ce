#pragma once

// The part of the thin layer (simt.h) that sm_90a alone has: the product of a warpgroup, 64 outputs
// by 8 to 256 columns, whose columns lie in shared memory; copies of whole tiles by the copy
// engine; and the barriers on which both are waited for. The weights come from registers, a warp's
// 16 outputs exactly as mma.sync takes them, and the sums are laid out as its own are, so panels
// are the same on every architecture. The shim runs all of it on fibers.

#include "inference/cuda/simt.h"

// Kernels built on this have no body where the instructions are not.
#if !defined(__CUDA_ARCH__) || defined(__CUDA_ARCH_FEAT_SM90_ALL)
#define GPU_WARPGROUPS 1
#else
#define GPU_WARPGROUPS 0
#endif

namespace ambit::inference::cuda {

inline constexpr unsigned warpgroup_warps = 4;
// Columns (tokens) lie in shared memory in tiles of 8 by 32 inputs: four core matrices of 8 rows of
// 16 bytes, one after the other; a product of 16 inputs takes two of them.
inline constexpr unsigned core_bytes = 128;
inline constexpr unsigned tile_bytes = 4 * core_bytes;

// In shared memory: a phase ends when so many have arrived and all bytes expected are there.
using Barrier = std::uint64_t;

#if defined(__CUDACC__)

#if GPU_WARPGROUPS

GPU_FUNCTION unsigned shared_address(const void* shared) {
  return static_cast<unsigned>(__cvta_generic_to_shared(shared));
}
GPU_FUNCTION void barrier_init(Barrier* barrier, unsigned arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(shared_address(barrier)),
               "r"(arrivals)
               : "memory");
}
// By whoever made them, before the block's barrier: the copy engine sees them, too.
GPU_FUNCTION void barriers_ready() {
  asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
  asm volatile("fence.proxy.async;" ::: "memory");
}
GPU_FUNCTION void barrier_arrive(Barrier* barrier) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(shared_address(barrier))
               : "memory");
}
// Arrives, and says how many bytes the phase waits for.
GPU_FUNCTION void barrier_expect(Barrier* barrier, unsigned bytes) {
  asm volatile(
      "mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(shared_address(barrier)),
      "r"(bytes)
      : "memory");
}
// Until the phase of this parity has ended; the first one has parity 0.
GPU_FUNCTION void barrier_wait(Barrier* barrier, unsigned parity) {
  std::uint32_t done = 0;
  while (done == 0)
    asm volatile(
        "{.reg .pred p;\n mbarrier.try_wait.parity.shared::cta.b64 p, [%1], %2;\n"
        " selp.b32 %0, 1, 0, p;}"
        : "=r"(done)
        : "r"(shared_address(barrier)), "r"(parity)
        : "memory");
}
// What other kernels wrote as threads do, the copy engine may read.
GPU_FUNCTION void inputs_for_copies() {
  asm volatile("fence.proxy.async;" ::: "memory");
}
GPU_FUNCTION void bulk_copy(void* shared, const void* global, unsigned bytes, Barrier* barrier) {
  asm volatile(
      "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::
          "r"(shared_address(shared)),
      "l"(global), "r"(bytes), "r"(shared_address(barrier))
      : "memory");
}

GPU_FUNCTION void tile_fence() {
  asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}
GPU_FUNCTION void tile_commit() {
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}
// The sums are there; until then neither they nor the weights given may be touched.
template <unsigned tiles>
GPU_FUNCTION void tile_wait(float (&sums)[tiles][4]) {
  asm volatile("wgmma.wait_group.sync.aligned 0;" ::: "memory");
  GPU_UNROLL for (unsigned n = 0; n < tiles; ++n)
      GPU_UNROLL for (unsigned i = 0; i < 4; ++i) asm volatile("" : "+f"(sums[n][i])::"memory");
}

// Core matrices that are neighbours along the inputs lie core_bytes apart, along the columns
// tile_bytes; no swizzle.
GPU_FUNCTION std::uint64_t tile_descriptor(const void* shared) {
  return std::uint64_t{(shared_address(shared) & 0x3FFFFU) >> 4U} |
         std::uint64_t{core_bytes >> 4U} << 16U | std::uint64_t{tile_bytes >> 4U} << 32U;
}

// The operands of an asm statement: the sums of so many columns, then what they are made of.
#define TILE_SUMS(n) "+f"(sums[n][0]), "+f"(sums[n][1]), "+f"(sums[n][2]), "+f"(sums[n][3])
#define TILE_SUMS_4(n) TILE_SUMS(n), TILE_SUMS(n + 1), TILE_SUMS(n + 2), TILE_SUMS(n + 3)
#define TILE_SUMS_16(n) TILE_SUMS_4(n), TILE_SUMS_4(n + 4), TILE_SUMS_4(n + 8), TILE_SUMS_4(n + 12)
#define TILE_OPERANDS "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(columns), "r"(add)
#define TILE_NAMES_32 "%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15"
#define TILE_NAMES_64 \
  TILE_NAMES_32       \
  ",%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31"
#define TILE_NAMES_128                                               \
  TILE_NAMES_64                                                      \
  ",%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47" \
  ",%48,%49,%50,%51,%52,%53,%54,%55,%56,%57,%58,%59,%60,%61,%62,%63"
#define TILE_NAMES_256                                                           \
  TILE_NAMES_128                                                                 \
  ",%64,%65,%66,%67,%68,%69,%70,%71,%72,%73,%74,%75,%76,%77,%78,%79"             \
  ",%80,%81,%82,%83,%84,%85,%86,%87,%88,%89,%90,%91,%92,%93,%94,%95"             \
  ",%96,%97,%98,%99,%100,%101,%102,%103,%104,%105,%106,%107,%108,%109,%110,%111" \
  ",%112,%113,%114,%115,%116,%117,%118,%119,%120,%121,%122,%123,%124,%125,%126,%127"
#define TILE_PRODUCT(n, type, a0, a1, a2, a3, b, p)                                    \
  "{.reg .pred p;\n setp.ne.b32 p, " p                                                 \
  ", 0;\n"                                                                             \
  " wgmma.mma_async.sync.aligned.m64n" #n "k16.f32." type "." type " {" TILE_NAMES_##n \
      "},"                                                                             \
      "{" a0 "," a1 "," a2 "," a3 "}," b ", p, 1, 1, 0;}"

template <bool bf16>
GPU_FUNCTION void multiply_tiles(float (&sums)[4][4], const std::uint32_t (&a)[4],
                                 std::uint64_t columns, std::uint32_t add) {
  if constexpr (bf16)
    asm volatile(TILE_PRODUCT(32, "bf16", "%16", "%17", "%18", "%19", "%20", "%21")
                 : TILE_SUMS_4(0)
                 : TILE_OPERANDS);
  else
    asm volatile(TILE_PRODUCT(32, "f16", "%16", "%17", "%18", "%19", "%20", "%21")
                 : TILE_SUMS_4(0)
                 : TILE_OPERANDS);
}
template <bool bf16>
GPU_FUNCTION void multiply_tiles(float (&sums)[8][4], const std::uint32_t (&a)[4],
                                 std::uint64_t columns, std::uint32_t add) {
  if constexpr (bf16)
    asm volatile(TILE_PRODUCT(64, "bf16", "%32", "%33", "%34", "%35", "%36", "%37")
                 : TILE_SUMS_4(0), TILE_SUMS_4(4)
                 : TILE_OPERANDS);
  else
    asm volatile(TILE_PRODUCT(64, "f16", "%32", "%33", "%34", "%35", "%36", "%37")
                 : TILE_SUMS_4(0), TILE_SUMS_4(4)
                 : TILE_OPERANDS);
}
template <bool bf16>
GPU_FUNCTION void multiply_tiles(float (&sums)[16][4], const std::uint32_t (&a)[4],
                                 std::uint64_t columns, std::uint32_t add) {
  if constexpr (bf16)
    asm volatile(TILE_PRODUCT(128, "bf16", "%64", "%65", "%66", "%67", "%68", "%69")
                 : TILE_SUMS_16(0)
                 : TILE_OPERANDS);
  else
    asm volatile(TILE_PRODUCT(128, "f16", "%64", "%65", "%66", "%67", "%68", "%69")
                 : TILE_SUMS_16(0)
                 : TILE_OPERANDS);
}
template <bool bf16>
GPU_FUNCTION void multiply_tiles(float (&sums)[32][4], const std::uint32_t (&a)[4],
                                 std::uint64_t columns, std::uint32_t add) {
  if constexpr (bf16)
    asm volatile(TILE_PRODUCT(256, "bf16", "%128", "%129", "%130", "%131", "%132", "%133")
                 : TILE_SUMS_16(0), TILE_SUMS_16(16)
                 : TILE_OPERANDS);
  else
    asm volatile(TILE_PRODUCT(256, "f16", "%128", "%129", "%130", "%131", "%132", "%133")
                 : TILE_SUMS_16(0), TILE_SUMS_16(16)
                 : TILE_OPERANDS);
}

#undef TILE_PRODUCT
#undef TILE_OPERANDS
#undef TILE_SUMS_16
#undef TILE_SUMS_4
#undef TILE_SUMS

// sums[64][8 * tiles] += weights[64][16] * columns[16][8 * tiles]; the columns begin at `tile`. Not
// `add`: what was in the sums is nothing.
template <bool bf16, unsigned tiles>
GPU_FUNCTION void multiply_tile(float (&sums)[tiles][4], const std::uint32_t (&a)[4],
                                const std::byte* tile, bool add) {
  multiply_tiles<bf16>(sums, a, tile_descriptor(tile), add ? 1U : 0U);
}

#endif

#else

void barrier_init(Barrier* barrier, unsigned arrivals);
void barriers_ready();
void barrier_arrive(Barrier* barrier);
void barrier_expect(Barrier* barrier, unsigned bytes);
void barrier_wait(Barrier* barrier, unsigned parity);
void bulk_copy(void* shared, const void* global, unsigned bytes, Barrier* barrier);
void tile_fence();
void tile_commit();
void finish_tiles();
void begin_tile(bool bf16, float* sums, unsigned tiles, const std::uint32_t* a,
                const std::byte* tile, bool add);

inline void inputs_for_copies() {}
template <unsigned tiles>
inline void tile_wait(float (&)[tiles][4]) {
  finish_tiles();
}
template <bool bf16, unsigned tiles>
inline void multiply_tile(float (&sums)[tiles][4], const std::uint32_t (&a)[4],
                          const std::byte* tile, bool add) {
  begin_tile(bf16, &sums[0][0], tiles, a, tile, add);
}

#endif

}  // namespace ambit::inference::cuda
