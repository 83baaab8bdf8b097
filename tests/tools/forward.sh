#!/usr/bin/env bash
# The layouts that docs/checkpoint.md describes: a program of numpy alone finds the validation loss of `monge eval`.
# Usage: forward.sh SOURCE_DIR BINARY_DIR
set -euo pipefail
source_dir=$1
monge=$2/monge

python=
for candidate in python3 /usr/bin/python3; do
  if "$candidate" -c 'import numpy' 2>/dev/null; then python=$candidate; fi
done
[[ -n "$python" ]] || { echo "SKIPPED: no python3 with numpy; Debian's package is python3-numpy"; exit 77; }

cd "$(mktemp -d)"
trap 'rm -rf "$PWD"' EXIT
export XDG_CACHE_HOME=$PWD/cache
head -c 6000 "$source_dir/docs/extending.md" | tr -cd '[:print:]\n' >text.txt
cat >config.yaml <<'YAML'
data: {kind: text, path: text.txt, tokenizer: char, validation_fraction: 0.2}
model: {layers: 2, heads: 4, width: 32, context: 16}
optimizer: {lr: 5.0e-3}
train: {steps: 60, batch: 8, sample_tokens: 0, threads: 1}
YAML

number() { "$monge" train config.yaml --out "$@" >/dev/null && "$monge" eval "$1" --json | grep -o '"val_loss": *[0-9.]*' | grep -o '[0-9.]*$'; }
agrees() {
  local expected found
  expected=$(number "$@")
  found=$("$python" "$source_dir/tools/fixtures/forward.py" "$1/checkpoints/step_00000060" text.txt)
  echo "$*: eval $expected, numpy $found"
  awk -v a="$expected" -v b="$found" 'BEGIN { exit !(a > 0 && (a - b) ^ 2 < (1e-6 * a) ^ 2) }'
}
agrees plain
agrees like_llama "model.position={kind: rope, base: 500}" model.norm=rmsnorm model.mlp=swiglu model.kv_heads=2 model.tied_head=false
agrees like_gpt2 model.bias=true "model.mlp={kind: gelu, tanh: true}" data.tokenizer=byte
agrees without_positions model.position=none model.bias=true model.kv_heads=1
