#!/usr/bin/env bash
# Everything there is to check and to measure on a machine with a GPU, in one command: builds, runs the GPU tests and the
# sanitizers, measures, and writes gpu_<name>_<date>.json and .md, with all output in gpu_<name>_<date>.log.
# Usage: tools/gpu_check.sh [--only PART,...] [--minutes N] [--build DIR] [--results DIR] [--dependencies ARCHIVE]
#                           [--python PROGRAM]
#   --only          these parts alone, in their usual order; the results of earlier calls stay in the tables
#   --minutes       stop after so long, 9 by default; what has no time left is reported as not run
#   --build         the build folder, build_gpu by default; it is kept, so that a second call does what the first left
#   --results       where the files go, docs/results by default
#   --dependencies  what tools/bundle_dependencies.sh packed, for a machine without the packages; by default
#                   build_dependencies/monge-dependencies.tar.gz where that is there
#   --python        which has PyTorch, for the comparisons; python3 by default
# A part that fails is reported and the next one begins. Exit code: 0 when all parts that were asked for passed, else 1.
# shellcheck disable=SC2317  # the parts are called by name
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1

parts=(machine configure build test sanitize step attention pytorch_124m updates pytorch_1558m shakespeare)
# Seconds at most: half as much again as expected on 16 cores and an H200.
declare -A limits=([machine]=20 [configure]=90 [build]=330 [test]=150 [sanitize]=100 [step]=75 [attention]=90
                   [pytorch_124m]=110 [updates]=90 [pytorch_1558m]=240 [shakespeare]=300)

fail() { printf 'gpu_check: %s\n' "$*" >&2; exit 1; }
usage() { printf 'gpu_check: %s\n' "$*" >&2; exit 2; }

only="" minutes=9 results=docs/results archive="" run_part=""
export MONGE_BUILD="${MONGE_BUILD-build_gpu}" MONGE_PYTHON="${MONGE_PYTHON-python3}"
while (($# > 0)); do
  case "$1" in
    --only | --minutes | --build | --results | --dependencies | --python | --part) ;;
    --help) sed -n '2,/^# shellcheck/{/^# shellcheck/d; s/^# \{0,1\}//; p}' "$0"; exit 0 ;;
    *) usage "unknown argument '$1'; see tools/gpu_check.sh --help" ;;
  esac
  (($# > 1)) || usage "$1 wants a value"
  case "$1" in
    --only) only="$2" ;;
    --minutes) minutes="$2" ;;
    --build) MONGE_BUILD="$2" ;;
    --results) results="$2" ;;
    --dependencies) archive="$2" ;;
    --python) MONGE_PYTHON="$2" ;;
    --part) run_part="$2" ;;  # how this script starts a part, which may then be stopped
  esac
  shift 2
done
[[ "$minutes" =~ ^[1-9][0-9]*$ ]] || usage "--minutes $minutes: a whole number of minutes is wanted"
program="$MONGE_BUILD/monge"
kept="$MONGE_BUILD/check"

# --- what the parts share ---

need() { command -v "$1" >/dev/null || fail "$1 is not on the PATH${2+; $2}"; }

need_gpu() {
  need nvidia-smi "it comes with NVIDIA's driver: is there a GPU in this machine, and its driver?"
  nvidia-smi --list-gpus | grep -q '^GPU' || fail "nvidia-smi shows no GPU"
}

need_program() {
  need_gpu
  [[ -x "$program" ]] || fail "$program is not built; parts configure and build come first"
  local why
  why="$("$program" info 2>&1 | sed -n 's/^  cuda  *not available: //p')"
  [[ -z "$why" ]] || fail "$program does not see the GPU: $why"
}

need_torch() {
  need "$MONGE_PYTHON"
  "$MONGE_PYTHON" -c 'import torch; assert torch.cuda.is_available()' || fail "$MONGE_PYTHON has no PyTorch that sees the GPU"
}

# Where pip has put a library of NVIDIA's: pip_folder nvidia.cudnn; nothing when it is not there.
pip_folder() { "$MONGE_PYTHON" -c "import $1 as package; print(list(package.__path__)[0])" 2>/dev/null; }

toolkit() {
  local nvcc
  nvcc="$(command -v nvcc || echo /usr/local/cuda/bin/nvcc)"
  dirname "$(dirname "$(realpath "$nvcc")")"
}

# Whether the toolkit's folder has cuDNN and cuBLASLt. Where it lacks one, those that pip has brought are taken.
toolkit_has_cudnn() { compgen -G "$(toolkit)/include/cudnn_backend.h" >/dev/null; }
toolkit_has_cublaslt() {
  compgen -G "$(toolkit)/lib*/libcublasLt.so*" >/dev/null || compgen -G "$(toolkit)/targets/*/lib/libcublasLt.so*" >/dev/null
}

# --- the parts ---

part_machine() {
  local bad=0
  grep -m1 'model name' /proc/cpuinfo
  printf '%s processor cores, %s\n' "$(nproc)" "$(uname -sr)"
  for tool in g++ cmake ninja nvcc compute-sanitizer ncu "$MONGE_PYTHON"; do
    if command -v "$tool" >/dev/null; then
      printf '%-18s %s\n' "$tool" "$("$tool" --version 2>&1 | grep -iE 'release|version|[0-9]+\.[0-9]+' | tail -1)"
    else
      printf '%-18s missing\n' "$tool"
    fi
  done
  printf '%-18s %s\n' "toolkit" "$(toolkit)"
  printf '%-18s %s\n' "cuDNN of pip" "$(pip_folder nvidia.cudnn || echo none)"
  "$MONGE_PYTHON" -c 'import torch; print("PyTorch           ", torch.__version__)' 2>/dev/null || echo "PyTorch            missing"
  for tool in g++ cmake; do command -v "$tool" >/dev/null || { echo "gpu_check: $tool is missing" >&2; bad=1; }; done
  [[ -x "$(toolkit)/bin/nvcc" ]] || { echo "gpu_check: nvcc is missing: install the CUDA toolkit" >&2; bad=1; }
  need_gpu
  nvidia-smi || fail "nvidia-smi ended with an error"
  nvidia-smi --query-gpu=name,driver_version,memory.total,compute_cap,clocks.sm,clocks.mem,clocks.max.sm,power.limit \
    --format=csv
  return "$bad"
}

part_configure() {
  need cmake
  local options=(-DCMAKE_BUILD_TYPE=Release -DMONGE_CUDA=ON -DMONGE_TESTS=ON) folder
  if command -v ninja >/dev/null; then options+=(-G Ninja); fi
  if command -v ccache >/dev/null; then
    options+=(-DCMAKE_CXX_COMPILER_LAUNCHER=ccache -DCMAKE_CUDA_COMPILER_LAUNCHER=ccache)
  fi
  folder="$(pip_folder nvidia.cudnn)"
  if [[ -n "$folder" ]] && ! toolkit_has_cudnn; then export CUDNN_ROOT="$folder"; fi
  folder="$(pip_folder nvidia.cu13)"
  if [[ -n "$folder" ]] && ! toolkit_has_cublaslt; then
    options+=("-DCUDA_cublasLt_LIBRARY=$(compgen -G "$folder/lib/libcublasLt.so*" | head -1)")
    options+=("-DCMAKE_CXX_FLAGS=-isystem $folder/include" "-DCMAKE_CUDA_FLAGS=-isystem $folder/include")
  fi
  cmake -S . -B "$MONGE_BUILD" "${options[@]}" ||
    fail "the build could not be configured. Are the packages of tools/install_dependencies.sh missing? Without a registry,
bring what tools/bundle_dependencies.sh packs on another machine, as --dependencies ARCHIVE"
}

part_build() {
  [[ -f "$MONGE_BUILD/CMakeCache.txt" ]] || fail "$MONGE_BUILD is not configured; part configure comes first"
  local targets=(monge core_gpu_runtime_test core_gpu_products_test) file folder goes_on=()
  for file in tests/*/backend_*_test.cpp; do
    folder="$(basename "$(dirname "$file")")"
    targets+=("${folder}_$(basename "$file" .cpp)")
  done
  if grep -q '^CMAKE_GENERATOR:INTERNAL=Ninja' "$MONGE_BUILD/CMakeCache.txt"; then goes_on=(-- -k 0); fi
  cmake --build "$MONGE_BUILD" --parallel "$(nproc)" --target "${targets[@]}" "${goes_on[@]}"
}

part_test() {
  need_program
  local code=0
  OMP_WAIT_POLICY=passive ctest --test-dir "$MONGE_BUILD" -L gpu --output-on-failure --no-tests=error --timeout 90 \
    --parallel 4 | tee "$kept/test.out" || code=1
  if grep -qF '***Skipped' "$kept/test.out"; then fail "tests were skipped although there is a GPU"; fi
  return "$code"
}

# A few steps of a tiny model, through our attention kernels and through cuDNN's; only our own kernels are watched.
part_sanitize() {
  need_program
  local sanitizer bad=0 way tool
  sanitizer="$(command -v compute-sanitizer || compgen -G "$(toolkit)/bin/compute-sanitizer")" ||
    fail "compute-sanitizer is not there; it comes with the CUDA toolkit"
  local tiny=(configs/quickstart.yaml device=cuda train.precision=bfloat16 train.steps=4 train.batch=2 train.eval_every=0
    data.validation_windows=2 model.layers=1 model.heads=2 model.width=128 train.sample_tokens=0
    optimizer.schedule.warmup=2)
  for way in "cuda.attention=fused optimizer.attention=row" "cuda.attention=cudnn"; do
    for tool in memcheck racecheck; do
      rm -rf "$kept/sanitized"
      echo "--- $tool, $way"
      # shellcheck disable=SC2086  # two words
      "$sanitizer" --tool "$tool" --kernel-name kns=monge --error-exitcode 9 "$program" train "${tiny[@]}" $way \
        --out "$kept/sanitized" || { echo "gpu_check: $tool found something, or did not run ($way)" >&2; bad=1; }
    done
  done
  return "$bad"
}

part_step() {
  need_program
  local size bad=0
  for size in 124m:40 1558m:10; do
    "$program" bench "configs/gpu/gpt2_${size%:*}.yaml" --steps "${size#*:}" --json >"$kept/step_${size%:*}.json" ||
      { rm -f "$kept/step_${size%:*}.json"; bad=1; }
  done
  return "$bad"
}

part_attention() {
  need_program
  local tables=(kinds)
  if (need_torch); then tables+=(pytorch); fi
  "$MONGE_PYTHON" tools/bench/attention.py --device cuda --program "$program" --rounds 1 --only "${tables[@]}" \
    --json "$kept/attention.json"
}

race() {
  need_program
  need_torch
  "$MONGE_PYTHON" tools/bench/versus_pytorch.py --device cuda --program "$program" --sizes "$1" --rounds 3 --seconds 2 \
    --json "$kept/pytorch_${1,,}.json"
}
part_pytorch_124m() { race 124M; }
part_pytorch_1558m() { race 1558M; }

part_updates() {
  need_program
  "$MONGE_PYTHON" tools/bench/attention.py --device cuda --program "$program" --rounds 2 --steps 20 --only updates \
    --json "$kept/updates.json"
}

part_shakespeare() {
  need_program
  [[ -f data/shakespeare.txt ]] || fail "data/shakespeare.txt is not there; get it with: bash tools/get_data.sh"
  local bad=0 run="$kept/shakespeare"
  rm -rf "$run"
  "$program" train configs/gpu/shakespeare.yaml --out "$run" || bad=1
  cp "$run/metrics.jsonl" "$kept/shakespeare.jsonl" || bad=1
  need_torch
  "$MONGE_PYTHON" tools/bench/shakespeare.py --json "$kept/shakespeare_pytorch.json" || bad=1
  return "$bad"
}

# --- running them ---

if [[ -n "$run_part" ]]; then
  "part_$run_part"
  exit
fi

chosen=()
for part in "${parts[@]}"; do
  if [[ -z "$only" || ",$only," == *",$part,"* ]]; then chosen+=("$part"); fi
done
for part in ${only//,/ }; do
  [[ " ${parts[*]} " == *" $part "* ]] || usage "--only $part: the parts are ${parts[*]}"
done

mkdir -p "$kept" "$results" || exit 1
results="$(realpath "$results")"
begin=$SECONDS
prefix=build_dependencies/monge-dependencies
if [[ -z "$archive" && -f "$prefix.tar.gz" ]]; then archive="$prefix.tar.gz"; fi
if [[ -n "$archive" && ! -f "$prefix/activate" ]]; then
  mkdir -p build_dependencies
  tar --extract --gzip --file "$archive" --directory build_dependencies || fail "--dependencies $archive: cannot be unpacked"
fi
if [[ -f "$prefix/activate" ]]; then
  # shellcheck disable=SC1091
  source "$prefix/activate"
fi
if ! toolkit_has_cudnn || ! toolkit_has_cublaslt; then
  for folder in "$(pip_folder nvidia.cudnn)" "$(pip_folder nvidia.cu13)"; do
    if [[ -n "$folder" ]]; then export LD_LIBRARY_PATH="${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}$folder/lib"; fi
  done
fi

bad=0
for part in "${chosen[@]}"; do
  left=$((60 * minutes - 10 - (SECONDS - begin)))
  limit=$((left < limits[$part] ? left : limits[$part]))
  log="$kept/$part.log"
  if ((limit < 10)); then
    status="not run" seconds=0
    printf 'The time is up; run it with: tools/gpu_check.sh --only %s\n' "$part" >"$log"
  else
    printf '=== %s (at most %d s)\n' "$part" "$limit"
    start=$SECONDS
    timeout --kill-after=5 "$limit" bash "$0" --part "$part" 2>&1 | tee "$log"
    code=${PIPESTATUS[0]}
    seconds=$((SECONDS - start))
    case "$code" in
      0) status=passed ;;
      124 | 137) status="stopped after $seconds s" ;;
      *) status=failed ;;
    esac
  fi
  if [[ "$status" != passed ]]; then bad=1; fi
  printf '%s\t%s\t%d\n' "$part" "$status" "$seconds" >"$kept/$part.status"
  printf '=== %s: %s, %d s\n\n' "$part" "$status" "$seconds"
done

"$MONGE_PYTHON" tools/bench/gpu_report.py --kept "$kept" --results "$results" --parts "${parts[@]}" || bad=1
exit "$bad"
