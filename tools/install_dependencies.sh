#!/usr/bin/env bash
# Installs the Debian packages that Monge needs and that are missing; says so and does nothing when all are there.
# Debian 12 or newer, Ubuntu 24.04 or newer; as root or through sudo. Usage: tools/install_dependencies.sh
set -euo pipefail

packages=(
  g++ cmake ninja-build            # the compiler (12 or newer) and the build system (CMake 3.25 or newer)
  libdnnl-dev ocl-icd-opencl-dev   # oneDNN, and the OpenCL loader that its CMake package asks for
  libhwy-dev                       # Highway: SIMD with run-time dispatch
  libfmt-dev libyaml-cpp-dev nlohmann-json3-dev libcli11-dev
  libopenblas-pthread-dev          # OpenBLAS: LAPACK's factorisations (its flavour without threads is not thread-safe)
  libeigen3-dev                    # Eigen: small dense algebra of reports and tests
  libboost-math-dev                # Boost.Math: the distributions of reports
  libxxhash-dev                    # xxHash: checksums of checkpoints and caches
  libpcre2-dev libutf8proc-dev     # PCRE2, utf8proc: regular expressions and normal forms of tokenizers
  libgtest-dev python3-numpy       # for the tests
  gnuplot-nox                      # draws every plot: monge report, monge verify --figure
)

fail() { printf 'install_dependencies: %s\n' "$*" >&2; exit 1; }

if ! command -v apt-get >/dev/null; then
  fail "this is not Debian or Ubuntu. Install your system's counterparts of these packages:
  ${packages[*]}
then build with: bash tools/build.sh"
fi

installed() { [[ "$(dpkg-query --show --showformat='${Status}' "$1" 2>/dev/null)" == "install ok installed" ]]; }

missing=()
for package in "${packages[@]}"; do
  installed "$package" || missing+=("$package")
done
if ((${#missing[@]} == 0)); then
  echo "All packages that Monge needs are installed."
  exit 0
fi

as_root=()
if ((EUID != 0)); then
  command -v sudo >/dev/null || fail "root is needed to install packages and there is no sudo here. As root, run:
  apt-get install ${missing[*]}"
  as_root=(sudo)
fi

echo "Installing: ${missing[*]}"
"${as_root[@]}" apt-get update -qq
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install --yes -qq --no-install-recommends "${missing[@]}" ||
  fail "apt-get could not install these packages; Debian 12, Ubuntu 24.04 (in 'universe') and newer have them."
