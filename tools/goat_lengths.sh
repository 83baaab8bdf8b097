#!/usr/bin/env bash
# Loss against length: models trained at 128 tokens with each kind of position, three seeds each, evaluated at 128 to
# 1024. Prints the table of docs/results/goat.md: mean excess over the best predictor, in nats per token, and its
# standard deviation over seeds. Runs that are there already are not trained again.
# Usage: [MONGE=build/monge] [OUT=runs/goat-lengths] tools/goat_lengths.sh [key.path=value ...]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

overrides=("$@")
monge="${MONGE-build/monge}"
out="${OUT-runs/goat-lengths}"
positions=(goat rope alibi none "{kind: goat, start: flat}")
names=(goat rope alibi none goat-flat)
seeds=(1 2 3)
lengths=(128 256 512 1024)
[[ -x "$monge" ]] || { echo "goat_lengths: there is no '$monge'; build it (tools/build.sh), or name another one by MONGE=..." >&2; exit 1; }

mkdir -p "$out"
results="$out/losses.txt"  # name, seed, length, loss, best possible loss
: >"$results"
for i in "${!names[@]}"; do
  for seed in "${seeds[@]}"; do
    run="$out/${names[i]}-$seed"
    [[ -e "$run/summary.json" ]] ||
      "$monge" train configs/goat_lengths.yaml "model.position=${positions[i]}" "train.seed=$seed" "${overrides[@]}" --out "$run" >/dev/null
    for length in "${lengths[@]}"; do
      "$monge" eval "$run" "model.context=$length" --json |
        python3 -c 'import json, sys; e = json.load(sys.stdin); print(*sys.argv[1:], e["val_loss"], e["optimum"])' \
          "${names[i]}" "$seed" "$length" >>"$results"
    done
  done
done

python3 - "$results" <<'EOF'
import collections, statistics, sys
excess, best = collections.defaultdict(list), {}
for line in open(sys.argv[1]):
    name, _, length, loss, optimum = line.split()
    excess[name, length].append(float(loss) - float(optimum))
    best[length] = float(optimum)
print("| position | " + " | ".join(f"{length} tokens" for length in best) + " |")
print("|---|" + "---|" * len(best))
for name in dict.fromkeys(name for name, _ in excess):
    cells = [f"{statistics.mean(e):.4f} ± {statistics.stdev(e):.4f}" for e in (excess[name, n] for n in best)]
    print(f"| {name} | " + " | ".join(cells) + " |")
print("| best predictor, nats per token | " + " | ".join(f"{x:.4f}" for x in best.values()) + " |")
EOF
