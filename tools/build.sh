#!/usr/bin/env bash
# Builds the program into build/monge (Release).
# Usage: tools/build.sh [--with-tests] [-DOPTION=VALUE ...]     what CMake's -D takes; kept for the next build
#
# The tests stay as the build folder has them, so that going back and forth between the program and the tests builds
# nothing twice; a fresh folder starts without them.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

target=monge
options=()
for argument in "$@"; do
  case "$argument" in
    --with-tests) target=all options+=(-DMONGE_TESTS=ON) ;;
    -D*) options+=("$argument") ;;
    *) echo "build: unknown argument '$argument'; allowed: --with-tests, -DOPTION=VALUE" >&2; exit 2 ;;
  esac
done
if [[ ! -f build/CMakeCache.txt ]]; then
  options=(-DCMAKE_BUILD_TYPE=Release -DMONGE_TESTS=OFF "${options[@]}")
  if command -v ninja >/dev/null; then options=(-G Ninja "${options[@]}"); fi
fi

cmake -S . -B build "${options[@]}"
cmake --build build --target "$target" --parallel "$(nproc)"
