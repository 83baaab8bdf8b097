#!/usr/bin/env bash
# Installs Monge into a scratch prefix, builds examples/custom_layer against it as a user would, and trains a few steps.
# Usage: custom_layer.sh SOURCE_DIR BINARY_DIR CXX_COMPILER GENERATOR
set -euo pipefail
source_dir=$1
binary_dir=$2
compiler=$3
generator=$4

scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
fail() { echo "FAILED: $*" >&2; exit 1; }

cmake --install "$binary_dir" --prefix "$scratch/prefix" >"$scratch/install.log"
"$scratch/prefix/bin/monge" --help >/dev/null || fail "the installed program does not start"

# A copy, so that nothing is found through the checkout.
cp -r "$source_dir/examples/custom_layer" "$scratch/example"
cmake -G "$generator" -S "$scratch/example" -B "$scratch/build" -DCMAKE_PREFIX_PATH="$scratch/prefix" \
  -DCMAKE_CXX_COMPILER="$compiler" >"$scratch/configure.log" 2>&1 ||
  fail "the example does not configure: $(cat "$scratch/configure.log")"
cmake --build "$scratch/build"

program="$scratch/build/custom_layer"
run="$scratch/run"
"$program" train "$scratch/example/squared_gelu.yaml" train.steps=20 train.eval_every=10 --out "$run"

"$program" train "$scratch/example/squared_relu.yaml" train.steps=20 train.eval_every=10 --out "$scratch/attention" >/dev/null
grep -q '"step": *20[,}]' "$scratch/attention/metrics.jsonl" || fail "the attention of the example does not train"

grep -q 'squared_gelu' "$run/config.yaml" || fail "the resolved config does not name the new kind"
grep -q '"step": *20[,}]' "$run/metrics.jsonl" || fail "metrics.jsonl has no line for step 20"

# The built-in program must not know it, and the option of the new kind is checked like any other.
if "$scratch/prefix/bin/monge" train "$scratch/example/squared_gelu.yaml" --out "$scratch/other" 2>"$scratch/error.log"; then
  fail "the plain program accepted the kind"
fi
grep -q "squared_gelu" "$scratch/error.log" || fail "the error does not name the kind: $(cat "$scratch/error.log")"
[[ ! -e "$scratch/other" ]] || fail "a refused config left a run folder"
if "$program" train "$scratch/example/squared_gelu.yaml" model.mlp.ratio=0.5 --out "$scratch/other" 2>"$scratch/error.log"; then
  fail "a ratio out of range was accepted"
fi
grep -q "ratio" "$scratch/error.log" || fail "the error does not name the key: $(cat "$scratch/error.log")"
