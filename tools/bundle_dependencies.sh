#!/usr/bin/env bash
# Packs the libraries that Monge needs into one archive, for a machine without a package registry. Run it on a Debian or
# Ubuntu machine where tools/install_dependencies.sh has run; the other machine has the same processor architecture, a
# glibc that is not older, and brings compiler, CMake and CUDA itself.
# Usage: tools/bundle_dependencies.sh [ARCHIVE]                  default: build_dependencies/monge-dependencies.tar.gz
#
# There:   tar xf monge-dependencies.tar.gz && source monge-dependencies/activate && bash tools/build.sh
# The folder may lie anywhere. `activate` names it to CMake and to the loader, for the shell that sources it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

archive="${1-build_dependencies/monge-dependencies.tar.gz}"
# What is not packed: what comes with any compiler, and gnuplot, which draws plots where it is there.
system='^(gnuplot|libc6|libc6-dev|libgcc|libstdc\+\+|libgomp|g\+\+|gcc|cpp|cmake|ninja-build|pkg-config|pkgconf|debconf|dpkg)'

fail() { printf 'bundle_dependencies: %s\n' "$*" >&2; exit 1; }
command -v dpkg-query >/dev/null || fail "this is not Debian or Ubuntu: there is no dpkg-query"

packages=()
eval "$(sed -n '/^packages=(/,/^)/p' tools/install_dependencies.sh)"
((${#packages[@]} > 0)) || fail "found no list of packages in tools/install_dependencies.sh"

installed() { [[ "$(dpkg-query --show --showformat='${Status}' "$1" 2>/dev/null)" == "install ok installed" ]]; }

# What a package depends on, one name a line; of alternatives all, of which some are not installed.
dependencies() {
  dpkg-query --show --showformat='${Depends}\n' "$1" | sed 's/[,|]/\n/g' | sed -E 's/^ +//; s/[ (:].*//; /^$/d'
}

declare -A chosen=()
waiting=("${packages[@]}")
while ((${#waiting[@]} > 0)); do
  package="${waiting[0]}"
  waiting=("${waiting[@]:1}")
  if [[ -n "${chosen[$package]-}" || "$package" =~ $system ]]; then continue; fi
  if ! installed "$package"; then
    for wanted in "${packages[@]}"; do
      [[ "$package" != "$wanted" ]] || fail "$package is not installed; first run: bash tools/install_dependencies.sh"
    done
    continue
  fi
  chosen[$package]=1
  mapfile -t -O "${#waiting[@]}" waiting < <(dependencies "$package")
done

work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT
prefix="$work/monge-dependencies"
mkdir "$prefix"
for package in "${!chosen[@]}"; do
  while read -r file; do
    case "$file" in
      */libopenblas*.a) continue ;;  # as large as all else, and the shared library is linked
      /usr/include/* | /usr/lib/* | /usr/share/cmake/* | /usr/share/eigen3/* | /usr/share/doc/*/copyright) ;;
      *) continue ;;
    esac
    if [[ -d "$file" && ! -L "$file" ]]; then continue; fi
    mkdir -p "$prefix$(dirname "${file#/usr}")"
    cp --no-dereference --preserve=mode,timestamps "$file" "$prefix${file#/usr}"
  done < <(dpkg --listfiles "$package")
done

libraries="lib/$(gcc -print-multiarch)"
# OpenBLAS lies in a folder of its flavour, and a link of the system's, which no package lists, leads there.
for library in "$prefix/$libraries"/openblas-*/libopenblas.so*; do
  if [[ -e "$library" ]]; then ln -s "${library#"$prefix/$libraries/"}" "$prefix/$libraries/"; fi
done
compgen -G "$prefix/$libraries/*.so" >/dev/null || fail "none of the packages brought a library to /usr/$libraries"
find "$prefix/$libraries" -type f -name '*.so.*' -exec strip --strip-unneeded {} +
cat >"$prefix/activate" <<END
# For bash: source .../monge-dependencies/activate
monge_dependencies="\$(cd "\$(dirname "\${BASH_SOURCE[0]}")" && pwd)"
export CMAKE_PREFIX_PATH="\$monge_dependencies\${CMAKE_PREFIX_PATH:+:\$CMAKE_PREFIX_PATH}"
export CMAKE_LIBRARY_PATH="\$monge_dependencies/$libraries\${CMAKE_LIBRARY_PATH:+:\$CMAKE_LIBRARY_PATH}"
export LD_LIBRARY_PATH="\$monge_dependencies/$libraries\${LD_LIBRARY_PATH:+:\$LD_LIBRARY_PATH}"
END

mkdir -p "$(dirname "$archive")"
tar --create --gzip --file "$archive" --directory "$work" --owner=0 --group=0 --sort=name monge-dependencies
printf '%s\n' "${!chosen[@]}" | sort | paste -sd' ' | sed 's/^/packed: /'
echo "$archive: $(du --bytes "$archive" | cut -f1) bytes, unpacked $(du --summarize --bytes "$prefix" | cut -f1)"
