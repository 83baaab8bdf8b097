#!/usr/bin/env bash
# Installs Monge into a scratch prefix, builds the programs of examples/ against it as a user would, and runs them.
# Usage: examples.sh SOURCE_DIR BINARY_DIR CXX_COMPILER GENERATOR
set -euo pipefail
source_dir=$1
binary_dir=$2
compiler=$3
generator=$4

scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT
fail() { echo "FAILED: $*" >&2; exit 1; }
has() { grep -q -- "$1" "$2" || fail "$2 has no '$1': $(cat "$2")"; }
# A configuration that a program must refuse, with this text in its message and no folder left behind.
refuses() {
  local text=$1
  shift
  if "$@" --out "$scratch/refused" 2>"$scratch/error.log"; then fail "accepted: $*"; fi
  has "$text" "$scratch/error.log"
  [[ ! -e "$scratch/refused" ]] || fail "a refused configuration left a run folder: $*"
}

cmake --install "$binary_dir" --prefix "$scratch/prefix" >"$scratch/install.log"
monge="$scratch/prefix/bin/monge"
"$monge" --help >/dev/null || fail "the installed program does not start"

# Copies, so that nothing is found through the checkout.
cp -r "$source_dir/examples" "$scratch/examples"
for example in custom_attention custom_data custom_layer custom_model custom_rule; do
  cmake -G "$generator" -S "$scratch/examples/$example" -B "$scratch/$example" -DCMAKE_PREFIX_PATH="$scratch/prefix" \
    -DCMAKE_CXX_COMPILER="$compiler" >"$scratch/configure.log" 2>&1 ||
    fail "$example does not configure: $(cat "$scratch/configure.log")"
  cmake --build "$scratch/$example"
done

# Monge's side of the comparison with published optimizers, which is built in the same way.
cmake -G "$generator" -S "$source_dir/tools/peers" -B "$scratch/peers" -DCMAKE_PREFIX_PATH="$scratch/prefix" \
  -DCMAKE_CXX_COMPILER="$compiler" >"$scratch/configure.log" 2>&1 ||
  fail "tools/peers does not configure: $(cat "$scratch/configure.log")"
cmake --build "$scratch/peers"
"$scratch/peers/replay" >"$scratch/rules.txt"
has '^psgd_kron$' "$scratch/rules.txt"
has '^hyperball$' "$scratch/rules.txt"

# Layers: an mlp and an attention, whose options are checked like any other; the built-in program does not know them.
program="$scratch/custom_layer/custom_layer"
recipes="$scratch/examples/custom_layer"
"$program" train "$recipes/squared_gelu.yaml" train.steps=20 train.eval_every=10 --out "$scratch/mlp"
"$program" train "$recipes/squared_relu.yaml" train.steps=20 train.eval_every=10 --out "$scratch/attention" >/dev/null
for run in mlp attention; do has '"step": *20[,}]' "$scratch/$run/metrics.jsonl"; done
has 'squared_gelu' "$scratch/mlp/config.yaml"
refuses squared_gelu "$monge" train "$recipes/squared_gelu.yaml"
refuses ratio "$program" train "$recipes/squared_gelu.yaml" model.mlp.ratio=0.5

# An attention layer: sampled through its cache, and refused for what it does not do.
program="$scratch/custom_attention/custom_attention"
recipe="$scratch/examples/custom_attention/plain.yaml"
"$program" train "$recipe" train.steps=40 train.eval_every=20 --out "$scratch/plain" >/dev/null
"$program" sample "$scratch/plain" --tokens 100 >"$scratch/sample.txt"
refuses "does not apply model.position 'alibi'" "$program" train "$recipe" model.position=alibi
refuses kv_heads "$program" train "$recipe" model.kv_heads=2

# A dataset learned to its optimum, and a text read by a tokenizer that the checkpoint gives back.
program="$scratch/custom_data/custom_data"
recipe="$scratch/examples/custom_data/stutter.yaml"
"$program" train "$recipe" --out "$scratch/stutter" >/dev/null
last() { grep -o "\"$1\": *[0-9.e+-]*" "$2" | tail -n 1 | sed 's/.*: *//'; }
awk -v excess="$(last excess_loss "$scratch/stutter/metrics.jsonl")" 'BEGIN { exit !(excess > 0 && excess < 0.02) }' ||
  fail "stutter was not learned to its optimum: $(cat "$scratch/stutter/metrics.jsonl")"
"$program" train "$recipe" "data={kind: text, path: $scratch/examples/custom_data/custom_data.h, tokenizer: letters}" \
  train.steps=10 --out "$scratch/letters" >/dev/null
"$program" sample "$scratch/letters" --prompt "Hello, World" --tokens 20 >"$scratch/sample.txt"
"$program" eval "$scratch/letters" >/dev/null
has '^[A-Za-z ,]*$' "$scratch/sample.txt"
refuses stutter "$monge" train "$recipe"
refuses repeat "$program" train "$recipe" data.repeat=2

# A model: trained, stopped and resumed, evaluated, sampled beyond its context, measured.
program="$scratch/custom_model/custom_model"
recipe="$scratch/examples/custom_model/averages.yaml"
run="$scratch/model"
"$program" train "$recipe" train.steps=40 train.eval_every=20 --out "$run"
has 'kind: averages' "$run/config.yaml"
"$program" train "$recipe" train.steps=60 --out "$run" --resume >/dev/null
awk -v excess="$(last excess_loss "$run/metrics.jsonl")" 'BEGIN { exit !(excess < 0.1) }' ||
  fail "the model has not learned the language: $(cat "$run/metrics.jsonl")"
"$program" eval "$run" --json >"$scratch/eval.json"
[[ "$(last val_loss "$scratch/eval.json")" == "$(last val_loss "$run/metrics.jsonl")" ]] ||
  fail "eval gives another loss than the run: $(cat "$scratch/eval.json")"
"$program" sample "$run" --tokens 300 --seed 1 >"$scratch/sample.txt"
[[ "$(tr -d '\n' <"$scratch/sample.txt" | wc -c)" -ge 300 ]] || fail "a short sample: $(cat "$scratch/sample.txt")"
"$program" info "$recipe" >"$scratch/info.txt"
has 'layers.2: ' "$scratch/info.txt"
has 'forward and backward (6 N)' "$scratch/info.txt"
"$program" bench "$recipe" --steps 2 >"$scratch/bench.txt"
has '^value forward ' "$scratch/bench.txt"
refuses averages "$monge" train "$recipe"
refuses heads "$program" train "$recipe" model.heads=2

# A rule: its state is kept, so that a resumed run ends with the same bits.
program="$scratch/custom_rule/custom_rule"
recipe="$scratch/examples/custom_rule/row_momentum.yaml"
"$program" train "$recipe" train.steps=20 train.checkpoint_every=10 train.eval_every=20 --out "$scratch/rule" >/dev/null
cp -r "$scratch/rule" "$scratch/resumed"
last_checkpoint() { find "$1/checkpoints" -name model.safetensors | sort | tail -n 1; }
rm -r "$(dirname "$(last_checkpoint "$scratch/resumed")")"
[[ -n "$(last_checkpoint "$scratch/resumed")" ]] || fail "there is no checkpoint to resume from"
"$program" train "$recipe" train.steps=20 train.checkpoint_every=10 train.eval_every=20 --out "$scratch/resumed" --resume >/dev/null
cmp "$(last_checkpoint "$scratch/rule")" "$(last_checkpoint "$scratch/resumed")" || fail "a resumed rule gives other weights"
refuses row_momentum "$monge" train "$recipe"
