#!/bin/sh
# compile_gates.sh NVCC SOURCE_ROOT INCLUDE_ROOT WORK_FOLDER
# What the compiler for GPUs must say of the kernels, without a GPU: no warning, no spilled register in any kernel, and
# no atomic addition of floating-point numbers in the PTX (sums must have one order). The tensor products that the
# kernels are built on must be there. Prints one line of figures for each architecture.
set -eu
nvcc=$1
root=$2
include=$3
work=$4
mkdir -p "$work"
fail() { echo "compile_gates: $*" >&2; exit 1; }

for architecture in 80 90a; do
  log=$work/ptxas_$architecture.log
  rm -rf "$work/kept"
  mkdir "$work/kept"
  "$nvcc" -std=c++20 -O3 -fmad=false -gencode "arch=compute_$architecture,code=sm_$architecture" -Xptxas -v,--warn-on-spills \
    -Werror all-warnings -Xcompiler=-Wall,-Wextra -I"$include/inference" -I"$include/async" \
    --keep --keep-dir "$work/kept" -c "$root/inference/cuda/device.cu" -o "$work/device_$architecture.o" \
    >"$log" 2>&1 || { grep -v '^ptxas info\|bytes stack frame' "$log"; fail "nvcc does not compile the kernels for sm_$architecture"; }
  ptx=$(find "$work/kept" -name '*.ptx')
  ! grep -i warning "$log" || fail "the compiler warns"

  kernels=$(grep -c 'Compiling entry function' "$log")
  [ "$kernels" -ge 50 ] || fail "only $kernels kernels were compiled for sm_$architecture"
  spilled=$(grep 'spill stores' "$log" | grep -vc ' 0 bytes spill stores, 0 bytes spill loads' || true)
  [ "$spilled" -eq 0 ] || { grep -B2 'spill stores' "$log"; fail "$spilled kernels spill registers on sm_$architecture"; }
  ! grep -E 'C75[0-9][0-9]|serialized' "$log" || fail "the products of warpgroups wait for each other"
  framed=$(grep 'bytes stack frame' "$log" | grep -vc ' 0 bytes stack frame' || true)
  most=$(sed -n 's/.*Used \([0-9]*\) registers.*/\1/p' "$log" | sort -n | tail -1)

  if grep -nE '(^|[^a-z])(red|atom)\.[a-z0-9_.:]*\.(f16|bf16|f32|f64|f16x2|bf16x2)' "$ptx"; then
    fail "floating-point numbers are added atomically on sm_$architecture"
  fi
  hopper=
  [ "$architecture" = 80 ] || hopper="wgmma.mma_async.sync.aligned.m64n256k16.f32.bf16.bf16 wgmma.mma_async.sync.aligned.m64n256k16.f32.f16.f16
    wgmma.mma_async.sync.aligned.m64n32k16.f32.bf16.bf16 cp.async.bulk.shared::cluster.global.mbarrier mbarrier.try_wait griddepcontrol.wait"
  for instruction in $hopper 'mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32' 'mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32' \
    'mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32' 'cp.async.cg.shared.global' 'ldmatrix.sync'; do
    grep -q "$instruction" "$ptx" || fail "the PTX for sm_$architecture has no $instruction"
  done
  echo "sm_$architecture: $kernels kernels, 0 spills, $framed with a stack frame, at most $most registers," \
    "0 floating-point atomics, $(grep -c 'mma.sync' "$ptx") tensor products of warps, $(grep -c 'wgmma.mma_async' "$ptx") of warpgroups"
  # What each kernel takes: which instance, registers of a thread. (Shared memory is asked for at the launch: launches.h.)
  sed -n "s/.*Compiling entry function '\([^']*\)'.*/\1/p; s/.*Used \([0-9]*\) registers.*/\1/p" "$log" | paste - - |
    sed 's/^_ZN5ambit9inference4cuda[0-9]*_GLOBAL__N__[0-9a-z_]*//; s/^_ZN5ambit9inference4cuda//' |
    awk '{printf "  %-60s %s registers\n", $1, $2}' | sort >"$work/registers_$architecture.txt"
  [ "$architecture" = 80 ] || grep 'multiply_' "$work/registers_$architecture.txt"
done

# What later architectures compile for themselves when the program starts has none of sm_90a's own instructions.
"$nvcc" -std=c++20 -O3 -fmad=false -gencode arch=compute_90,code=compute_90 -Werror all-warnings -I"$include/inference" -I"$include/async" \
  -ptx "$root/inference/cuda/device.cu" -o "$work/later.ptx" || fail "nvcc does not compile the kernels for later architectures"
! grep -q 'wgmma' "$work/later.ptx" || fail "the PTX for later architectures has products of warpgroups"
echo "compute_90: $(grep -c '\.entry' "$work/later.ptx") kernels, $(grep -c 'mma.sync' "$work/later.ptx") tensor products of warps"
