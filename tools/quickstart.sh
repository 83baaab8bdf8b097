#!/usr/bin/env bash
# From a fresh Debian or Ubuntu machine to a trained model: installs what is missing, builds the program, and trains
# configs/quickstart.yaml on a small language made on the spot. Every call trains into a new folder.
# The GPU backend is built where there is a GPU; before the first call, tools/build.sh -DMONGE_CUDA=ON builds it anywhere.
# Usage: tools/quickstart.sh [key.path=value ...]               for example: tools/quickstart.sh train.steps=100
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

bash tools/install_dependencies.sh
bash tools/build.sh

run=runs/quickstart
for ((n = 2; ; n++)); do
  [[ -e "$run" ]] || break
  run="runs/quickstart_$n"
done
build/monge train configs/quickstart.yaml --out "$run" "$@"

cat <<END

The run is in $run: config.yaml (every setting), metrics.jsonl (the curve), sample.txt, checkpoints/.
Sample more:           build/monge sample $run
Change a setting:      build/monge train configs/quickstart.yaml model.mlp=swiglu --out runs/mine
See every setting:     docs/config.md, or build/monge train --help
END
