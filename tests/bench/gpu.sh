#!/bin/sh
# tests/bench/gpu.sh: everything that is to be measured on a GPU, in one unattended run or in several. Builds with the CUDA
# back end, checks it on the device, then measures; appends a JSON line a figure to tests/bench/results/gpu-DATE-COMMIT.json
# as it comes. A run goes on with the newest such file of its commit and device: what has a figure is not measured again, what
# failed is tried again. Where there is no GPU it says so and ends well; it ends badly when a check has failed.
#   AMBIT_GPU_PART="check load ..."  these parts alone: check (the tests, compute-sanitizer), load (random load), bits (equal
#                                    bits on a real shape), peak, parked, and the names of shapes
#   AMBIT_GPU_SECONDS=540            no row is begun that would end later; what is left out is said at the end
#   AMBIT_GPU_SHAPES="llama-3.2-1b"  other shapes (ambit model synth); ambit-desk is our own small model
#   AMBIT_GPU_QUICK=1                of each shape one sequence alone
#   AMBIT_GPU_LOAD_MINUTES=10        of random load, two minutes a row
#   AMBIT_GPU_BUILD=FOLDER           of what is built already (build/cuda): nothing is compiled
#   AMBIT_GPU_OUT=FILE               where figures go
#   LLAMA_CPP=FOLDER                 of llama-bench built with CUDA: measured beside ours (nothing of it is built here)
set -eu
cd "$(dirname "$0")/../.."
say() { printf 'gpu: %s\n' "$*"; }

if ! command -v nvidia-smi >/dev/null 2>&1 || ! nvidia-smi -L >/dev/null 2>&1; then
  say "skipped: this machine has no GPU that its driver can use"
  exit 0
fi
PATH=$PATH:/usr/local/cuda/bin
started=$(date +%s)
seconds_left() { echo $((${AMBIT_GPU_SECONDS:-1000000} + started - $(date +%s))); }
shapes=${AMBIT_GPU_SHAPES:-llama-3.2-1b qwen3-0.6b qwen3-1.7b llama-3.1-8b ambit-desk}
parts=${AMBIT_GPU_PART:-check peak bits $shapes parked load}
wants() { case " $parts " in *" $1 "*) true ;; *) false ;; esac }

mkdir -p tests/bench/results build/models
if [ -n "${AMBIT_GPU_BUILD:-}" ]; then
  build=$AMBIT_GPU_BUILD
else
  build=build/cuda
  if ! command -v nvcc >/dev/null 2>&1; then
    say "skipped: there is a GPU, but no CUDA Toolkit (nvcc) to build for it"
    exit 0
  fi
  cmake --preset cuda -DBUILD_TESTING=ON >build/configure-cuda.log 2>&1 || { cat build/configure-cuda.log; exit 1; }
  cmake --build --preset cuda --parallel "$(nproc)" --target ambit cuda_test bench_parked bench_bound bench_invariance
  cmake --build --preset cuda --target gemm_peak >/dev/null 2>&1 || say "skipped: the peak of a large product (there is no cuBLAS to link)"
fi
ambit=$build/ambit
benches=$build/tests/bench

commit=$(git rev-parse --short HEAD 2>/dev/null || echo unknown)
name=$(nvidia-smi --query-gpu=name --format=csv,noheader | head -1)
driver=$(nvidia-smi --query-gpu=driver_version --format=csv,noheader | head -1)
out=${AMBIT_GPU_OUT:-}
if [ -z "$out" ]; then
  for file in tests/bench/results/gpu-*-"$commit".json; do
    [ ! -f "$file" ] || ! head -1 "$file" | grep -qF "\"device\":\"$name\"" || out=$file
  done
fi
[ -n "$out" ] || out=tests/bench/results/gpu-$(date -u +%Y%m%d-%H%M)-$commit.json
[ -s "$out" ] || printf '{"date":"%s","commit":"%s","device":"%s","driver":"%s"}\n' \
  "$(date -u +%Y-%m-%dT%H:%M:%SZ)" "$commit" "$name" "$driver" >"$out"
say "figures go to $out"

figures=build/gpu-figures.json # of one row
errors=build/gpu-errors.txt
left_out=
has_failed=
is_known() { grep -F "\"case\":\"$1\"" "$out" | grep -qvF '"failed":true'; }

# row CASE SECONDS COMMAND...: what the command prints goes to the figures. SECONDS: what it takes, at most about.
row() {
  label=$1 takes=$2
  shift 2
  is_known "$label" && return 0
  if [ "$(seconds_left)" -lt "$takes" ]; then
    left_out="$left_out
  $label"
    return 1
  fi
  say "$label"
  : >"$figures"
  code=0
  "$@" >"$figures" 2>"$errors" || code=$?
  if [ "$code" -ne 0 ]; then
    say "  failed ($code): $(tail -1 "$errors")"
    printf '{"bench":"gpu","case":"%s","failed":true}\n' "$label" >>"$out"
    return 1
  fi
  cat "$figures" >>"$out"
  is_known "$label" || printf '{"bench":"gpu","case":"%s","done":true}\n' "$label" >>"$out"
  sed 's/^/  /' "$figures"
}
# bounded COMMAND...: several times what the row should take is a failure, too.
bounded() {
  most=$((takes * 4))
  [ "$(seconds_left)" -gt "$most" ] || most=$(seconds_left)
  timeout -k 10 "$most" "$@"
}
# bench_on SHAPE TYPE COMMAND...: a bench of ours on the device.
bench_on() {
  file=$(model "$1" "$2") || return
  shift 2
  bounded env AMBIT_BENCH_DEVICE=cuda AMBIT_BENCH_FILE="$file" "$@"
}

# verdict CASE COMMAND...: whether it ends well, and its last line.
verdict() {
  label=$1
  shift
  if "$@" >build/gpu-said.txt 2>&1; then
    printf '{"bench":"gpu","case":"%s","met":true,"said":"%s"}\n' "$label" "$(tail -1 build/gpu-said.txt | tr -d '\n\\"')"
  else
    tail -3 build/gpu-said.txt >&2
    return 1
  fi
}
check_row() { # CASE SECONDS COMMAND...
  label=$1 takes=$2
  shift 2
  row "$label" "$takes" verdict "$label" "$@" || is_left_out "$label" || has_failed=yes
}
is_left_out() { printf '%s\n' "$left_out" | grep -qFx "  $1"; }

model() { # SHAPE TYPE: its file, made once
  if [ "$1" = ambit-desk ]; then
    echo examples/model/ambit-desk.gguf
    return 0
  fi
  file=build/models/$1-$2.gguf
  [ -f "$file" ] || { "$ambit" model synth "$1" "$file.part" --type "$2" >/dev/null && mv "$file.part" "$file"; }
  echo "$file"
}

# The peak of one large product, by cuBLAS where it is; 0: it is not known, and no part of a peak is said.
tell_peak() { printf '{"bench":"gpu","case":"a product of BF16 by cuBLAS","unit":"tflops","ours":%s}\n' "$("$benches/gemm_peak")"; }
if wants peak && [ -x "$benches/gemm_peak" ]; then row "a product of BF16 by cuBLAS" 30 tell_peak || true; fi
peak=$(sed -n 's/.*"case":"a product of BF16 by cuBLAS".*"ours":\([0-9.]*\).*/\1/p' "$out" | tail -1)
peak=${peak:-0}

# bench_figures CASE GOAL FIELD SHAPE TYPE OPTION...: of one run of the bench; FIELD is what the goal is about. "> N" is to be
# reached, "< N" not to be passed, "-" is no goal. With gflop set, figures say their TFLOP/s, too.
gflop=
bench_figures() {
  label=$1 goal=$2 field=$3
  file=$(model "$4" "$5") || return
  shift 5
  bounded "$ambit" model bench "$file" --device cuda --json "$@" >build/gpu-bench.json || return
  python3 tests/bench/gpu_figure.py "$label" "$goal" "$field" build/gpu-bench.json ${gflop:+"$gflop" "$peak"}
}
# measure CASE GOAL FIELD SHAPE TYPE OPTION...
measure() {
  case $4 in *8b) slow=100 ;; *) slow=40 ;; esac
  row "$1" "$slow" bench_figures "$@" || true
}
# quotient CASE GOAL A B: of two figures above; with more of them, of the first and the best of the others.
quotient() {
  is_known "$1" && return 0
  label=$1 goal=$2
  shift 2
  for case in "$@"; do ! is_left_out "$case" || return 0; done
  python3 tests/bench/gpu_figure.py "$label" "$goal" of "$out" "$@" >build/gpu-bench.json
  sed 's/^/  /' build/gpu-bench.json
  cat build/gpu-bench.json >>"$out"
}
rate=tokensPerSecond

if wants check; then
  check_row "the tests on the device, beside the CPU and against themselves to the bit" 120 \
    bounded env AMBIT_GPU=1 "$build/tests/cuda/cuda_test" '~[shim]'
  if command -v compute-sanitizer >/dev/null 2>&1; then
    for tool in memcheck racecheck; do
      for tag in multiply rows attention choose backend scheduler lanes tiers; do
        check_row "$tool: $tag" 150 bounded env AMBIT_GPU=1 compute-sanitizer --tool $tool --error-exitcode 1 \
          "$build/tests/cuda/cuda_test" "[$tag]~[shim]"
      done
    done
  else
    say "skipped: compute-sanitizer is not installed"
  fi
fi
if wants bits; then
  check_row "the same bits in batches up to 256, chunks, cold and warm, drafts: llama-3.2-1b" 300 \
    bench_on llama-3.2-1b BF16 env AMBIT_BENCH_SESSIONS=256 "$benches/bench_invariance" 1
fi

# What equal bits cost: the same figure under schedules that do not keep them, of which the best counts.
cost() { # CASE LABEL SHAPE SCHEDULES OPTION...
  what=$1 base=$2 on=$3 tried=$4
  shift 4
  for schedule in $tried; do
    measure "$base, schedule $schedule" - $rate "$on" BF16 "$@" --schedule "$schedule"
  done
  set -- "$base"
  for schedule in $tried; do set -- "$@" "$base, schedule $schedule"; done
  quotient "$what" '> 0.97' "$@"
}

measure_shape() { # SHAPE
  shape=$1 type=BF16 alone=- alone8=- many=- agents=- joules=- prefill=- per_token='' long=yes
  case $shape in
  # per_token: GFLOP of the products with the layers' weights for one token of a prompt.
  llama-3.2-1b) alone='> 1060' alone8='> 1800' many='> 50000' agents='> 100000' per_token=1.946 ;;
  qwen3-0.6b) alone='> 2000' per_token=0.881 ;;
  qwen3-1.7b) per_token=2.819 ;;
  llama-3.1-8b) joules='< 0.12' prefill='> 0.6' per_token=13.959 ;;
  ambit-desk) type=Q4_K long= ;; # as it lies in examples/model, and for 2,048 tokens
  esac
  of="$shape $type"
  measure "$of, batch 1" "$alone" $rate "$shape" $type --prompt 0 --decode 256
  [ $type != BF16 ] || measure "$shape, 8-bit weights and pages, batch 1" "$alone8" $rate "$shape" BF16 \
    --prompt 0 --decode 256 --weights fp8 --kv fp8
  [ -z "${AMBIT_GPU_QUICK:-}" ] || return 0
  for batch in 8 32 64; do
    measure "$of, batch $batch" - $rate "$shape" $type --prompt 0 --decode 128 --batch "$batch"
  done
  measure "$of, batch 256 at 1k context" "$many" $rate "$shape" $type --prompt 0 --decode 64 --batch 256 --own 1024
  if [ -n "$long" ]; then
    measure "$of, 256 agents, 2k shared and 256 own" "$agents" $rate "$shape" $type \
      --prompt 0 --decode 64 --batch 256 --shared 2048 --own 256
    measure "$of, the same without sharing" - $rate "$shape" $type \
      --prompt 0 --decode 64 --batch 256 --shared 2048 --own 256 --apart
    quotient "$of, sharing pays" '> 3' "$of, 256 agents, 2k shared and 256 own" "$of, the same without sharing"
    gflop=$per_token
    if [ "$peak" = 0 ] || [ -z "$per_token" ]; then prefill=- field=$rate gflop=; else field=ofPeak; fi
    measure "$of, prefill" "$prefill" $field "$shape" $type --prompt 4096 --step 2048 --decode 0
    gflop=
  fi
  measure "$of, batch 64 alone" - stepP99Ms "$shape" $type --prompt 0 --decode 128 --batch 64 --own 512
  [ -z "$long" ] || {
    measure "$of, batch 64 while 8k prompts come in" '< 1.3' stepJitter "$shape" $type \
      --prompt 0 --decode 256 --batch 64 --own 512 --arriving 32
    measure "$of, the same in one queue" - stepP99Ms "$shape" $type \
      --prompt 0 --decode 256 --batch 64 --own 512 --arriving 32 --one-queue
  }
  measure "$of, energy at batch 64" "$joules" joulesPerToken "$shape" $type \
    --prompt 0 --decode 256 --batch 64 --own 512 --repeats 8
  if [ $type = BF16 ]; then
    row "$of, 256 agents bound by a schema and not" 150 bench_on "$shape" BF16 "$benches/bench_bound" || true
    few="free free-1 free-2 free-4 free-sync free-8-sync"
    cost "$of, batch 1: equal bits against the best other schedule" "$of, batch 1" "$shape" "$few" --prompt 0 --decode 256
    cost "$of, batch 32: equal bits against the best other schedule" "$of, batch 32" "$shape" "$few" \
      --prompt 0 --decode 128 --batch 32
    cost "$of, batch 256: equal bits against the best other schedule" "$of, batch 256 at 1k context" "$shape" \
      "free free-sync" --prompt 0 --decode 64 --batch 256 --own 1024
    measure "$of, prefill again" - $rate "$shape" BF16 --prompt 4096 --step 2048 --decode 0
    cost "$of, prefill: equal bits against the best other schedule" "$of, prefill again" "$shape" "free free-sync" \
      --prompt 4096 --step 2048 --decode 0
    for quantised in Q8_0 Q4_0 Q4_K; do
      measure "$shape $quantised, batch 1" - $rate "$shape" $quantised --prompt 0 --decode 128
      rm -f "build/models/$shape-$quantised.gguf"
    done
    row "$of, transformers with torch.compile" 300 bounded python3 tests/bench/gpu_transformers.py "$shape" \
      "$of, transformers with torch.compile" || true
  fi
  if [ -n "${LLAMA_CPP:-}" ] && [ -x "$LLAMA_CPP/llama-bench" ]; then
    row "$of, llama.cpp" 120 llama_cpp "$shape" $type || true
  else
    say "skipped: $shape on llama.cpp (LLAMA_CPP names the folder of its binaries)"
  fi
}
llama_cpp() { # SHAPE TYPE
  file=$(model "$1" "$2") || return
  bounded "$LLAMA_CPP/llama-bench" -m "$file" -ngl 99 -p 4096 -n 256 -r 3 -o jsonl >build/gpu-bench.json || return
  sed 's/^{/{"bench":"gpu","peer":"llama.cpp",/' build/gpu-bench.json
}
for shape in $shapes; do
  if wants "$shape"; then
    measure_shape "$shape"
    [ -n "$left_out" ] || [ "$shape" = llama-3.2-1b ] || rm -f "build/models/$shape-BF16.gguf"
  fi
done

if wants parked && [ -z "${AMBIT_GPU_QUICK:-}" ]; then
  row "2,000 sessions that wait for a call" 240 \
    bench_on llama-3.2-1b BF16 env AMBIT_BENCH_BESIDE=64 "$benches/bench_parked" || true
fi
if wants load; then
  pieces=$(((${AMBIT_GPU_LOAD_MINUTES:-10} + 1) / 2))
  piece=0
  while [ "$piece" -lt "$pieces" ]; do
    piece=$((piece + 1))
    check_row "two minutes of random load, $piece of $pieces" 180 bounded env AMBIT_BENCH_DEVICE=cuda AMBIT_BENCH_MINUTES=2 \
      "$benches/bench_invariance" 1 "$piece"
  done
fi
[ -n "$left_out" ] || rm -f build/models/llama-3.2-1b-BF16.gguf
[ -z "$left_out" ] || say "left out, because the time is up (run it again):$left_out"
say "written: $out"
[ -z "$has_failed" ] || { say "a check has failed"; exit 1; }
