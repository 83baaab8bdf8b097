#!/usr/bin/env bash
# Checks the layout of all C++ sources (clang-format) and the shell scripts (shellcheck), with the tools that are there.
# Usage: tools/check_style.sh [--fix]                           --fix lays out the C++ sources anew
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

mode=(--dry-run --Werror)
case "${1-}" in
  "") ;;
  --fix) mode=(-i) ;;
  *) echo "check_style: unknown argument '$1'; allowed: --fix" >&2; exit 2 ;;
esac

folders=(core autograd nn optim train tools tests examples)
if command -v clang-format >/dev/null; then
  find monge.h "${folders[@]}" \( -name '*.h' -o -name '*.cpp' -o -name '*.cu' -o -name '*.cuh' \) -exec clang-format "${mode[@]}" {} +
  echo "check_style: C++ sources done"
else
  echo "check_style: clang-format is not installed, C++ sources not checked"
fi
if command -v shellcheck >/dev/null; then
  shellcheck tools/*.sh .ci/run
  echo "check_style: shell scripts done"
else
  echo "check_style: shellcheck is not installed, shell scripts not checked"
fi
