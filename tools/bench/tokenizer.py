#!/usr/bin/env python3
"""Encodes a text with `monge tokenize` and with tiktoken under the same merges, in turn, and compares ids and speed.

    pip install tiktoken
    python3 tools/bench/tokenizer.py data/shakespeare.txt --vocab 4096

The merges are those that Monge learns from the text. tiktoken gets them with a pattern that cuts a text into the same
words; a difference in ids is an error. Times are of one thread, the fastest of the rounds.
"""

import argparse
import json
import subprocess
import tempfile
import time
from pathlib import Path

import tiktoken

ROOT = Path(__file__).resolve().parents[2]
WORDS = r" ?[\p{L}\p{M}]+| ?\p{N}+| ?[^\s\p{L}\p{M}\p{N}]+|\s+?(?= \S)|\s+"


def encoding_of(merges):
    pieces = [bytes([byte]) for byte in range(256)]
    for left, right in merges:
        pieces.append(pieces[left] + pieces[right])
    ranks = {piece: rank for rank, piece in enumerate(pieces)}
    return tiktoken.Encoding("same", pat_str=WORDS, mergeable_ranks=ranks, special_tokens={})


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("text", type=Path)
    parser.add_argument("--vocab", type=int, default=4096)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--monge", type=Path, default=ROOT / "build/monge")
    arguments = parser.parse_args()

    text = arguments.text.read_text(encoding="utf-8")
    ours, theirs = [], []
    with tempfile.TemporaryDirectory() as folder:
        kept = Path(folder) / "kept.json"
        for _ in range(arguments.rounds):
            command = [arguments.monge, "tokenize", arguments.text, f"tokenizer.vocab={arguments.vocab}", "--json",
                       "--save", kept]
            report = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
            ours.append(report["encoding_seconds"])
            saved = json.loads(kept.read_text())
            encoding = encoding_of(saved["tokenizer"]["merges"])
            start = time.perf_counter()
            ids = encoding.encode_ordinary(text)
            theirs.append(time.perf_counter() - start)
            if ids != saved["ids"]:
                at = next(i for i, (a, b) in enumerate(zip(ids, saved["ids"])) if a != b)
                raise SystemExit(f"the ids differ from token {at} on: {ids[at:at + 5]} and {saved['ids'][at:at + 5]}")
    size = len(text.encode()) / 1e6
    print(f"{size:.2f} MB, {len(ids)} tokens of a vocabulary of {report['vocab']}, the same ids from both")
    print(f"learning {report['learning_seconds']:.2f} s")
    print(f"Monge {size / min(ours):.1f} MB/s, tiktoken {size / min(theirs):.1f} MB/s: {min(theirs) / min(ours):.1f} times")


if __name__ == "__main__":
    main()
