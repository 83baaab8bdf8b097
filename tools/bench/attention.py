#!/usr/bin/env python3
"""Prints the tables of docs/results/attention.md: every kind and update of attention, beside PyTorch's for softmax.

    python3 tools/bench/attention.py                 # all three tables
    python3 tools/bench/attention.py --only updates  # kinds | pytorch | updates

Needs a built program (bash tools/build.sh) and, for its table, PyTorch 2. Attention is timed alone on 4096 tokens in
sequences of T, 6 heads of 64, causal, float32. The updates are timed on whole training steps of configs/bench/10.7m.yaml;
the mean over steps counts, because `fisher` measures and inverts its factors in one step of ten. Every round runs each
contender once; the figures are medians over rounds, and `scatter` is the widest gap between rounds over the median.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TOKENS, HEADS, HEAD_DIM = 4096, 6, 64
UPDATES = {
    "backprop": "backprop",
    "row": "row",
    "fisher, every 10 steps": "{update: fisher, every: 10}",
    "fisher, every step": "{update: fisher, every: 1}",
}


def monge(arguments, *args):
    command = [str(arguments.program), "bench", *args, "--json"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}\nended with exit code {done.returncode}:\n{done.stderr}")
    return json.loads(done.stdout)


def scatter(values):
    return (max(values) - min(values)) / statistics.median(values)


def attention_rounds(arguments):
    """Results of `monge bench --attention` as {(kind, T): [entry of each round]}, and those of PyTorch."""
    ours, theirs = {}, {}
    for _ in range(arguments.rounds):
        for entry in monge(arguments, "--attention"):
            ours.setdefault((entry["kind"], entry["tokens"]), []).append(entry)
        if arguments.only != "kinds":
            for tokens in sorted({tokens for _, tokens in ours}):
                theirs.setdefault(tokens, []).append(pytorch_attention(arguments, tokens))
    return ours, theirs


def pytorch_attention(arguments, tokens):
    """Milliseconds of forward and of backward of scaled_dot_product_attention, each the best of several."""
    import torch
    from torch.nn import functional as F

    torch.set_num_threads(arguments.threads)
    shape = (TOKENS // tokens, HEADS, tokens, HEAD_DIM)
    q, k, v = (torch.randn(shape, requires_grad=True) for _ in range(3))
    dout = torch.randn(shape)

    def best(work):
        work()
        times, begin = [], time.perf_counter()
        while time.perf_counter() - begin < 0.3 or len(times) < 3:
            start = time.perf_counter()
            work()
            times.append(time.perf_counter() - start)
        return 1e3 * min(times)

    def forward():
        return F.scaled_dot_product_attention(q, k, v, is_causal=True)

    def step():
        forward().backward(dout)
        q.grad = k.grad = v.grad = None

    inference = best(forward)
    return inference, best(step) - inference


def print_kinds(ours):
    print("| kind | T | forward, ms | backward, ms | with the row solve | ratio | work space, MiB | scatter |")
    print("|---|---|---|---|---|---|---|---|")
    for (kind, tokens), rounds in ours.items():
        middle = {key: statistics.median(r[key] for r in rounds) for key in rounds[0] if key != "kind"}
        ratios = [r["row_backward_milliseconds"] / r["backward_milliseconds"] for r in rounds if len(r) == 6]
        solved = f"{middle['row_backward_milliseconds']:.1f}" if ratios else "none"
        ratio = f"{statistics.median(ratios):.2f}" if ratios else ""
        spread = scatter([r["backward_milliseconds"] for r in rounds])
        print(f"| {kind} | {tokens} | {middle['forward_milliseconds']:.1f} | {middle['backward_milliseconds']:.1f} | {solved} "
              f"| {ratio} | {middle['scratch_bytes'] / 2**20:.1f} | {spread:.0%} |")


def print_pytorch(ours, theirs):
    print("| T | Monge forward, ms | PyTorch | ratio | Monge backward, ms | PyTorch | ratio |")
    print("|---|---|---|---|---|---|---|")
    for tokens, rounds in theirs.items():
        mine = ours["softmax", tokens]
        cells = []
        for i, key in enumerate(("forward_milliseconds", "backward_milliseconds")):
            us, them = statistics.median(r[key] for r in mine), statistics.median(r[i] for r in rounds)
            cells += [f"{us:.1f}", f"{them:.1f}", f"{them / us:.2f}"]
        print(f"| {tokens} | {' | '.join(cells)} |")


def print_updates(arguments):
    rounds = {name: [] for name in UPDATES}
    for _ in range(arguments.rounds):
        for name, update in UPDATES.items():
            result = monge(arguments, str(ROOT / "configs/bench/10.7m.yaml"), f"optimizer.attention={update}",
                           "--steps", str(arguments.steps))
            rounds[name].append((result["step"]["mean_milliseconds"], result["peak_bytes"] / 2**20))
    print("| update | step, ms | over backprop | peak memory, MiB | scatter |")
    print("|---|---|---|---|---|")
    for name, values in rounds.items():
        times = [t for t, _ in values]
        ratio = statistics.median(t / b for t, (b, _) in zip(times, rounds["backprop"]))
        print(f"| {name} | {statistics.median(times):.0f} | {ratio:.3f} | {values[0][1]:.0f} | {scatter(times):.0%} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=["kinds", "pytorch", "updates"], help="one table alone")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=10, help="training steps of a round, whole tens for fisher")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--program", type=Path, default=ROOT / "build/monge", help="the monge program")
    arguments = parser.parse_args()
    if arguments.only != "updates":
        ours, theirs = attention_rounds(arguments)
        if arguments.only != "pytorch":
            print_kinds(ours)
            print()
        if theirs:
            print_pytorch(ours, theirs)
            print()
    if arguments.only in (None, "updates"):
        print_updates(arguments)


if __name__ == "__main__":
    main()
