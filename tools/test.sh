#!/usr/bin/env bash
# From a fresh Debian or Ubuntu machine to a green test run: installs what is missing, builds all, runs the tests.
# Usage: tools/test.sh [CTEST ARGUMENT ...]     for example: tools/test.sh -L fast, tools/test.sh -R matmul
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

bash tools/install_dependencies.sh
bash tools/build.sh --with-tests

# Two tests run side by side with threads of their own: waiting threads must sleep, not spin.
export OMP_WAIT_POLICY="${OMP_WAIT_POLICY:-passive}"
ctest --test-dir build --output-on-failure --no-tests=error --parallel 2 "$@"
