#!/usr/bin/env bash
# Fetches Tiny Shakespeare (1.1 MB; A. Karpathy, char-rnn, 2015), the text of configs/shakespeare_char_cpu.yaml, to
# data/shakespeare.txt and checks it. Usage: tools/get_data.sh
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

address=https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt
sha256=86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed
file=data/shakespeare.txt

intact() { sha256sum --check --status <<<"$sha256  $1"; }

if [[ -f "$file" ]] && intact "$file"; then
  echo "$file is there."
  exit 0
fi
mkdir -p data
if command -v curl >/dev/null; then
  curl --fail --location --silent --show-error --output "$file.part" "$address"
elif command -v wget >/dev/null; then
  wget --quiet --output-document="$file.part" "$address"
else
  echo "get_data: needs curl or wget (apt-get install curl), or fetch $address to $file by hand" >&2
  exit 1
fi
if ! intact "$file.part"; then
  rm -f "$file.part"
  echo "get_data: what came from $address is not the expected text (sha256 differs); nothing was kept" >&2
  exit 1
fi
mv "$file.part" "$file"
echo "$file: $(wc -c <"$file") bytes"
