#!/bin/sh
# neon.sh FOLDER: compiles the kernels for ARM and compares the sets in an emulator; 77 where there is neither.
set -eu
for tool in "$AARCH64_CXX" "$AARCH64_EMULATOR"; do
  [ -x "$tool" ] || { echo "SKIPPED: no aarch64-linux-gnu-g++ or no qemu-aarch64-static"; exit 77; }
done
mkdir -p "$1"
compile() { "$AARCH64_CXX" -std=c++20 -O2 -ffp-contract=off -Wall -Wextra -Werror -I"$INCLUDE/inference" -I"$INCLUDE/async" "$@"; }
cd "$SOURCE"
compile -O3 -march=armv8.2-a+dotprod -c inference/cpu/kernels_neon.cpp -o "$1/kernels_neon.o"
compile -static tests/inference/kernel_sets.cpp inference/cpu/ops.cpp inference/cpu/kernels_plain.cpp \
  inference/quants.cpp inference/repack.cpp inference/tensor.cpp "$1/kernels_neon.o" -o "$1/kernel_sets"
output=$("$AARCH64_EMULATOR" "$1/kernel_sets") || { echo "$output"; exit 1; }
echo "$output"
echo "$output" | grep -q '^neon: [1-9]'
