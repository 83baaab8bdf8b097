#!/usr/bin/env python3
"""Holds `monge tokenize` against the `tokenizers` of Hugging Face: ids, decoded texts and speed, in many styles.

    pip install tokenizers==0.23.3
    python3 tools/interop/compare_tokenizers.py data/shakespeare.txt            # all checks; --fuzz-mb 1 for a quick look
    python3 tools/interop/compare_tokenizers.py data/shakespeare.txt --speed    # a table of MB/s
    python3 tools/interop/compare_tokenizers.py data/shakespeare.txt --learning # seconds to learn from Chinese

For each style a tokenizer is trained on the spot on the text and made-up text in many scripts. Both programs encode
random valid UTF-8 and texts of hard pieces (see tokenizers_styles.py); any difference is printed and ends in exit code 1.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from tokenizers_styles import STYLES, chinese_text, make, mixed_text, random_text

ROOT = Path(__file__).resolve().parents[2]


def run_monge(program, folder, tokenizer_file, text):
    """Ids, decoded bytes and seconds."""
    (folder / "text").write_bytes(text.encode())
    report = subprocess.run([program, "tokenize", folder / "text", "tokenizer.kind=hf", f"tokenizer.path={tokenizer_file}",
                             "--json", "--save", folder / "ids", "--decoded", folder / "decoded"], stdout=subprocess.PIPE)
    if report.returncode:
        raise SystemExit(f"monge tokenize: exit code {report.returncode}")
    return (json.loads((folder / "ids").read_text())["ids"], (folder / "decoded").read_bytes(),
            json.loads(report.stdout)["encoding_seconds"])


def compare(program, folder, style, name, tokenizer, text):
    theirs = tokenizer.encode(text, add_special_tokens=False).ids
    ours, decoded, _ = run_monge(program, folder, folder / f"{style}.json", text)
    problem = ""
    if ours != theirs:
        at = next((i for i, (a, b) in enumerate(zip(ours, theirs)) if a != b), min(len(ours), len(theirs)))
        begin = max(0, at - 3)
        problem = (f"ids differ from {at} on: ours {[tokenizer.id_to_token(i) for i in ours[begin:at + 5]]}, "
                   f"theirs {[tokenizer.id_to_token(i) for i in theirs[begin:at + 5]]}")
    else:
        text_back = tokenizer.decode(theirs, skip_special_tokens=False)
        if decoded.decode("utf-8", "replace") != text_back:
            at = next((i for i, (a, b) in enumerate(zip(decoded.decode("utf-8", "replace"), text_back)) if a != b), -1)
            problem = f"decoded texts differ at {at}"
    print(f"{style:16} {name:24} {len(text.encode()) / 1e6:6.2f} MB {len(theirs):9} ids  {problem or 'same'}", flush=True)
    return not problem


def seconds(call, rounds=3):
    best = None
    for _ in range(rounds):
        start = time.perf_counter()
        call()
        took = time.perf_counter() - start
        best = took if best is None else min(best, took)
    return best


def speed(program, folder, style, tokenizer, text):
    """One text on one thread, and cut into 1000 texts, which is what `tokenizers` has threads for."""
    size = len(text.encode()) / 1e6
    parts = [text[i:i + len(text) // 1000 + 1] for i in range(0, len(text), len(text) // 1000 + 1)]
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    one = seconds(lambda: tokenizer.encode_batch_fast(parts, add_special_tokens=False))
    os.environ["TOKENIZERS_PARALLELISM"] = "true"
    two = seconds(lambda: tokenizer.encode_batch_fast(parts, add_special_tokens=False))
    rates = [size / one, size / two]
    for threads in ("1", "2"):
        os.environ["OMP_NUM_THREADS"] = threads
        rates.append(size / run_monge(program, folder, folder / f"{style}.json", text)[2])
    print(f"| {style} | {rates[0]:.1f} | {rates[2]:.1f} | **{rates[2] / rates[0]:.1f}** | {rates[1]:.1f} | {rates[3]:.1f} | "
          f"**{rates[3] / rates[1]:.1f}** |", flush=True)


def learning(program, folder, vocab):
    """300 kB of Chinese, as sentences and as one word."""
    for name, marks in (("sentences", "，。，、"), ("one word", "")):
        text = chinese_text(300_000, marks)
        (folder / "text").write_bytes(text.encode())
        report = subprocess.run([program, "tokenize", folder / "text", f"tokenizer.vocab={vocab}", "--json"],
                                stdout=subprocess.PIPE, check=True)
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        trainer = trainers.BpeTrainer(vocab_size=vocab, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
                                      show_progress=False)
        theirs = seconds(lambda: tokenizer.train_from_iterator([text], trainer), rounds=1)
        print(f"{name}: Monge {json.loads(report.stdout)['learning_seconds']:.2f} s, tokenizers {theirs:.2f} s")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("text", type=Path)
    parser.add_argument("--fuzz-mb", type=float, default=10.0)
    parser.add_argument("--vocab", type=int, default=4000)
    parser.add_argument("--styles", nargs="*", default=STYLES)
    parser.add_argument("--speed", action="store_true")
    parser.add_argument("--learning", action="store_true")
    parser.add_argument("--monge", type=Path, default=ROOT / "build/monge")
    arguments = parser.parse_args()

    english = arguments.text.read_text(encoding="utf-8")
    learned = english[:300_000] + "".join(random_text(i, 20_000, low, high) + mixed_text(i, 40_000) for i, (low, high) in
                                          enumerate([(0x20, 0x250), (0x370, 0x700), (0x4E00, 0x5200), (0xAC00, 0xB000)]))
    same = True
    if arguments.speed:
        print("| style | tokenizers, 1 thread | Monge, 1 thread | Monge / it | tokenizers, 2 threads | Monge, 2 threads | "
              "Monge / it |\n|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        if arguments.learning:
            learning(arguments.monge, folder, 4096)
            return
        for style in arguments.styles:
            tokenizer = make(style, learned, arguments.vocab)
            tokenizer.save(str(folder / f"{style}.json"))
            if arguments.speed:
                text = english * (1 + int(arguments.fuzz_mb * 1e6) // len(english))
                speed(arguments.monge, folder, style, tokenizer, text[:int(arguments.fuzz_mb * 1e6)])
                continue
            size = int(arguments.fuzz_mb * 1e6)
            texts = {"text": english, "hard pieces": mixed_text(7, size // 10),
                     "all characters": "".join(map(chr, (*range(0xD800), *range(0xE000, 0x110000)))),
                     "random, to U+05FF": random_text(1, size // 10, 0, 0x600),
                     "random, to U+2FFF": random_text(2, size // 10, 0, 0x3000),
                     "random, to U+FFFF": random_text(3, size // 10, 0, 0x10000),
                     "random": random_text(4, size)}
            for name, text in texts.items():
                same &= compare(arguments.monge, folder, style, name, tokenizer, text)
    sys.exit(0 if same else 1)


main()
