#!/bin/sh
# tests/bench/gpu.sh: everything that is to be measured on a GPU, in one unattended run. Builds with the CUDA back end, checks
# it on the device (./check gpu), then measures and writes tests/bench/results/gpu-DATE-COMMIT.json, one JSON line a figure.
# Where there is no GPU it says so and ends well.
#   AMBIT_GPU_SHAPES="llama-3.2-1b ..."  other shapes; AMBIT_GPU_QUICK=1 only the smallest figures
#   LLAMA_CPP=FOLDER                     of llama-bench built with CUDA: measured beside ours (nothing of it is built here)
#   AMBIT_GPU_SKIP_CHECK=1               measure alone
set -eu
cd "$(dirname "$0")/../.."
say() { printf 'gpu: %s\n' "$*"; }

if ! command -v nvidia-smi >/dev/null 2>&1 || ! nvidia-smi -L >/dev/null 2>&1; then
  say "skipped: this machine has no GPU that its driver can use"
  exit 0
fi
PATH=$PATH:/usr/local/cuda/bin
if ! command -v nvcc >/dev/null 2>&1; then
  say "skipped: there is a GPU, but no CUDA Toolkit (nvcc) to build for it"
  exit 0
fi

[ -n "${AMBIT_GPU_SKIP_CHECK:-}" ] || ./check gpu
mkdir -p build
cmake --preset cuda -DBUILD_TESTING=ON >build/configure-cuda.log 2>&1 || { cat build/configure-cuda.log; exit 1; }
cmake --build --preset cuda --parallel "$(nproc)" --target ambit bench_parked cuda_test
ambit=build/cuda/ambit

commit=$(git rev-parse --short HEAD 2>/dev/null || echo unknown)
mkdir -p tests/bench/results build/models
out=tests/bench/results/gpu-$(date -u +%Y%m%d-%H%M)-$commit.json
name=$(nvidia-smi --query-gpu=name --format=csv,noheader | head -1)
driver=$(nvidia-smi --query-gpu=driver_version --format=csv,noheader | head -1)
printf '{"date":"%s","commit":"%s","device":"%s","driver":"%s"}\n' \
  "$(date -u +%Y-%m-%dT%H:%M:%SZ)" "$commit" "$name" "$driver" >"$out"

# The peak of one large product, by cuBLAS where it is; 0: it is not, and no part of a peak is said.
peak=0
if cmake --build --preset cuda --target gemm_peak >/dev/null 2>&1; then
  peak=$(build/cuda/tests/bench/gemm_peak) || peak=0
  printf '{"bench":"gpu","case":"a product of BF16 by cuBLAS","unit":"tflops","ours":%s}\n' "$peak" >>"$out"
  tail -1 "$out"
else
  say "skipped: the peak of a large product (there is no cuBLAS to link)"
fi

# The same bits in every batch, chunk, cache, schedule and draft: the tests of whole models, on the device.
say "determinism"
if AMBIT_GPU=1 build/cuda/tests/cuda/cuda_test '[multiply],[attention],[backend],[scheduler]' >build/gpu-bits.txt 2>&1; then same=true; else same=false; fi
printf '{"bench":"gpu","case":"the same bits in every batch, chunk, cache, schedule and draft","met":%s,"said":"%s"}\n' \
  "$same" "$(tail -2 build/gpu-bits.txt | tr -d '\n"')" >>"$out"
tail -1 "$out"

model() { # SHAPE TYPE: its file, made once
  file=build/models/$1-$2.gguf
  [ -f "$file" ] || { "$ambit" model synth "$1" "$file.part" --type "$2" >/dev/null && mv "$file.part" "$file"; }
  echo "$file"
}

# measure CASE GOAL FIELD FILE OPTION...: one run of the bench; FIELD is what the goal is about. "> N" is to be reached, "< N"
# not to be passed, "-" is no goal.
# With gflop set, figures say their TFLOP/s, too.
gflop=
measure() {
  label=$1 goal=$2 field=$3 file=$4
  shift 4
  say "$label"
  if ! "$ambit" model bench "$file" --device cuda --json "$@" >build/gpu-figure.json 2>build/gpu-error.txt; then
    say "  failed: $(head -1 build/gpu-error.txt)"
    printf '{"bench":"gpu","case":"%s","failed":true}\n' "$label" >>"$out"
    return 0
  fi
  python3 tests/bench/gpu_figure.py "$label" "$goal" "$field" build/gpu-figure.json ${gflop:+"$gflop" "$peak"} >>"$out"
  tail -1 "$out"
}
# quotient CASE GOAL A B: of two figures above
quotient() {
  python3 tests/bench/gpu_figure.py "$1" "$2" of "$3" "$4" "$out" >>"$out.part" && cat "$out.part" >>"$out"
  rm -f "$out.part"
  tail -1 "$out"
}
rate=tokensPerSecond

shapes=${AMBIT_GPU_SHAPES:-llama-3.2-1b qwen3-0.6b qwen3-1.7b llama-3.1-8b}
for shape in $shapes; do
  file=$(model "$shape" BF16) || { say "there is no shape $shape"; continue; }
  alone=- alone8=- many=- agents=- joules=- prefill=- per_token=
  case $shape in
  # per_token: GFLOP of the products with the layers' weights for one token of a prompt.
  llama-3.2-1b) alone='> 1060' alone8='> 1800' many='> 50000' agents='> 100000' per_token=1.946 ;;
  qwen3-0.6b) alone='> 2000' per_token=0.881 ;;
  qwen3-1.7b) per_token=2.819 ;;
  llama-3.1-8b) joules='< 0.12' prefill='> 0.6' per_token=13.959 ;;
  esac
  measure "$shape BF16, batch 1" "$alone" $rate "$file" --prompt 0 --decode 256
  measure "$shape, 8-bit weights and pages, batch 1" "$alone8" $rate "$file" --prompt 0 --decode 256 --weights fp8 --kv fp8
  if [ -z "${AMBIT_GPU_QUICK:-}" ]; then
    for batch in 8 32 64; do
      measure "$shape BF16, batch $batch" - $rate "$file" --prompt 0 --decode 128 --batch "$batch"
    done
    measure "$shape BF16, batch 256 at 1k context" "$many" $rate "$file" --prompt 0 --decode 64 --batch 256 --own 1024
    measure "$shape BF16, 256 agents, 2k shared and 256 own" "$agents" $rate "$file" \
      --prompt 0 --decode 64 --batch 256 --shared 2048 --own 256
    measure "$shape BF16, the same without sharing" - $rate "$file" \
      --prompt 0 --decode 64 --batch 256 --shared 2048 --own 256 --apart
    quotient "$shape BF16, sharing pays" '> 3' "$shape BF16, 256 agents, 2k shared and 256 own" "$shape BF16, the same without sharing"
    gflop=$per_token
    if [ "$peak" = 0 ] || [ -z "$per_token" ]; then
      measure "$shape BF16, prefill" - $rate "$file" --prompt 4096 --step 2048 --decode 0
    else
      measure "$shape BF16, prefill" "$prefill" ofPeak "$file" --prompt 4096 --step 2048 --decode 0
    fi
    gflop=
    measure "$shape BF16, batch 64 alone" - stepP99Ms "$file" --prompt 0 --decode 128 --batch 64 --own 512
    measure "$shape BF16, batch 64 while 8k prompts come in" '< 1.3' stepJitter "$file" \
      --prompt 0 --decode 256 --batch 64 --own 512 --arriving 32
    measure "$shape BF16, the same in one queue" - stepP99Ms "$file" \
      --prompt 0 --decode 256 --batch 64 --own 512 --arriving 32 --one-queue
    measure "$shape BF16, energy at batch 64" "$joules" joulesPerToken "$file" \
      --prompt 0 --decode 256 --batch 64 --own 512 --repeats 8
    for type in Q8_0 Q4_0 Q4_K; do
      quantised=$(model "$shape" $type)
      measure "$shape $type, batch 1" - $rate "$quantised" --prompt 0 --decode 128
      rm -f "$quantised"
    done
  fi
  if [ -n "${LLAMA_CPP:-}" ] && [ -x "$LLAMA_CPP/llama-bench" ]; then
    say "$shape: llama.cpp"
    "$LLAMA_CPP/llama-bench" -m "$file" -ngl 99 -p 4096 -n 256 -r 3 -o jsonl 2>/dev/null |
      sed 's/^{/{"bench":"gpu","peer":"llama.cpp",/' >>"$out" || say "  llama-bench failed"
  else
    say "skipped: llama.cpp (LLAMA_CPP names the folder of its binaries)"
  fi
  rm -f "$file"
done
if [ -z "${AMBIT_GPU_QUICK:-}" ]; then
  say "2,000 sessions that wait for a call"
  AMBIT_BENCH_DEVICE=cuda AMBIT_BENCH_SHAPES=llama-3.2-1b AMBIT_BENCH_TYPES=BF16 build/cuda/tests/bench/bench_parked >>"$out" ||
    say "  failed"
fi
say "written: $out"
