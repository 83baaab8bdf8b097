#!/usr/bin/env python3
"""Prints the tables of docs/results: every kind and update of attention, beside PyTorch's for softmax.

    python3 tools/bench/attention.py                 # all three tables
    python3 tools/bench/attention.py --only updates  # kinds | pytorch | updates
    python3 tools/bench/attention.py --device cuda   # the same on a GPU

Needs a built program (bash tools/build.sh) and, for its table, PyTorch 2. On a processor attention is timed alone on 4096
tokens in sequences of T, 6 heads of 64, causal, float32, and the updates on whole training steps of
configs/bench/10.7m.yaml; on a GPU on 16 x 12 heads of 1024 x 64 and 8 x 16 heads of 4096 x 128, causal, bfloat16, and
configs/gpu/gpt2_124m.yaml. The mean over steps counts, because `fisher` measures and inverts its factors in one step of
ten. Every round runs each contender once; the figures are medians over rounds, and `scatter` is the widest gap between
rounds over the median.
"""

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TABLES = ["kinds", "pytorch", "updates"]
CONFIGS = {"cpu": "configs/bench/10.7m.yaml", "cuda": "configs/gpu/gpt2_124m.yaml"}
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


def shape_of(entry):
    return tuple(entry[key] for key in ("batch", "heads", "tokens", "head_dim"))


def attention_rounds(arguments):
    """Results of `monge bench --attention` as {(shape, kind, path): [entry of each round]}, and PyTorch's as {(shape,
    way): [(forward, backward) of each round]}, in milliseconds."""
    ours, theirs = {}, {}
    for _ in range(arguments.rounds):
        for entry in monge(arguments, "--attention", "--device", arguments.device):
            ours.setdefault((shape_of(entry), entry["kind"], entry["path"]), []).append(entry)
        if "pytorch" in arguments.only:
            for shape in sorted({shape for shape, _, _ in ours}):
                for way in ("default",) if arguments.device == "cpu" else ("default", "flash", "cudnn"):
                    theirs.setdefault((shape, way), []).append(pytorch_attention(arguments, shape, way))
    return ours, theirs


def pytorch_attention(arguments, shape, way):
    """Milliseconds of forward and of backward of scaled_dot_product_attention, each the best of several groups; None where
    PyTorch refuses."""
    import torch
    from torch.nn import attention
    from torch.nn import functional as F

    torch.set_num_threads(arguments.threads)
    gpu = arguments.device == "cuda"
    options = {"device": arguments.device, "dtype": torch.bfloat16 if gpu else torch.float32}
    q, k, v = (torch.randn(shape, requires_grad=True, **options) for _ in range(3))
    dout = torch.randn(shape, **options)
    ways = {"flash": attention.SDPBackend.FLASH_ATTENTION, "cudnn": attention.SDPBackend.CUDNN_ATTENTION}

    def group(work, calls):
        start = time.perf_counter()
        for _ in range(calls):
            work()
        if gpu:
            torch.cuda.synchronize()
        return (time.perf_counter() - start) / calls

    def best(work):
        group(work, 1)
        calls = max(1, min(200, int(2e-3 / group(work, 1)))) if gpu else 1
        times, begin = [], time.perf_counter()
        while time.perf_counter() - begin < 0.3 or len(times) < 3:
            times.append(group(work, calls))
        return 1e3 * min(times)

    def forward():
        return F.scaled_dot_product_attention(q, k, v, is_causal=True)

    try:
        with attention.sdpa_kernel(ways[way]) if way in ways else contextlib.nullcontext():
            out = forward()
            inference = best(forward)
            backward = best(lambda: torch.autograd.grad(out, (q, k, v), dout, retain_graph=True))
    except RuntimeError as problem:
        print(f"PyTorch's {way} attention refuses {shape}: {problem}", file=sys.stderr)
        return None
    return inference, backward


def text(shape):
    return " x ".join(map(str, shape))


def middles(rounds):
    """The median of every figure over the rounds."""
    return {key: statistics.median(r[key] for r in rounds) for key, value in rounds[0].items()
            if isinstance(value, (int, float))}


def print_kinds(ours):
    print("| kind | path | B x H x T x D | forward, ms | TFLOP/s | backward, ms | TFLOP/s | with the row solve | ratio "
          "| work space, MiB | scatter |")
    print("|---|---|---|---|---|---|---|---|---|---|---|")
    for (shape, kind, path), rounds in ours.items():
        if any("(not " in note for note in rounds[0]["notes"]):
            path += " (refused)"
        if "forward_milliseconds" not in rounds[0]:
            print(f"| {kind} | {path} | {text(shape)} | {rounds[0]['notes'][0]} | | | | | | | |")
            continue
        middle = middles(rounds)
        forward, backward = middle["forward_milliseconds"], middle["backward_milliseconds"]
        solved, ratio = "", ""
        if "row_backward_milliseconds" in middle:
            solved = f"{middle['row_backward_milliseconds']:.3g}"
            ratio = f"{statistics.median(r['row_backward_milliseconds'] / r['backward_milliseconds'] for r in rounds):.2f}"
        spread = scatter([r["backward_milliseconds"] for r in rounds])
        print(f"| {kind} | {path} | {text(shape)} | {forward:.3g} | {middle['forward_flops_per_second'] / 1e12:.3g} "
              f"| {backward:.3g} | {middle['backward_flops_per_second'] / 1e12:.3g} | {solved} | {ratio} "
              f"| {middle['scratch_bytes'] / 2**20:.1f} | {spread:.0%} |")


def print_pytorch(ours, theirs):
    print("| B x H x T x D | PyTorch | forward, ms | backward, ms | Monge | forward, ms | backward, ms | PyTorch / Monge, "
          "forward | backward |")
    print("|---|---|---|---|---|---|---|---|---|")
    for (shape, way), rounds in theirs.items():
        if None in rounds:
            continue
        them = [statistics.median(r[i] for r in rounds) for i in range(2)]
        for (our_shape, kind, path), mine in ours.items():
            if our_shape != shape or kind != "softmax" or "forward_milliseconds" not in mine[0]:
                continue
            middle = middles(mine)
            us = [middle["forward_milliseconds"], middle["backward_milliseconds"]]
            print(f"| {text(shape)} | {way} | {them[0]:.3g} | {them[1]:.3g} | {path} | {us[0]:.3g} | {us[1]:.3g} "
                  f"| {them[0] / us[0]:.2f} | {them[1] / us[1]:.2f} |")


def update_rounds(arguments):
    """{name: [(milliseconds of a step, peak bytes) of each round]}"""
    rounds = {name: [] for name in UPDATES}
    for _ in range(arguments.rounds):
        for name, update in UPDATES.items():
            result = monge(arguments, str(ROOT / CONFIGS[arguments.device]), f"optimizer.attention={update}",
                           "--no-ops", "--steps", str(arguments.steps))
            rounds[name].append((result["step"]["mean_milliseconds"], result["peak_bytes"]))
    return rounds


def print_updates(rounds):
    print("| update | step, ms | over backprop | peak memory, MiB | scatter |")
    print("|---|---|---|---|---|")
    for name, values in rounds.items():
        times = [t for t, _ in values]
        ratio = statistics.median(t / b for t, (b, _) in zip(times, rounds["backprop"]))
        print(f"| {name} | {statistics.median(times):.3g} | {ratio:.3f} | {values[0][1] / 2**20:.0f} | {scatter(times):.0%} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=list(CONFIGS), default="cpu")
    parser.add_argument("--only", nargs="+", choices=TABLES, default=TABLES, help="these tables alone")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=10, help="training steps of a round, whole tens for fisher")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--program", type=Path, default=ROOT / "build/monge", help="the monge program")
    parser.add_argument("--json", type=Path, help="write the figures of every round to this file too")
    arguments = parser.parse_args()
    figures = {}
    if arguments.only != ["updates"]:
        ours, theirs = attention_rounds(arguments)
        figures["monge"] = [entry for rounds in ours.values() for entry in rounds]
        figures["pytorch"] = [{"shape": shape, "way": way, "milliseconds": rounds}
                              for (shape, way), rounds in theirs.items()]
        if "kinds" in arguments.only:
            print_kinds(ours)
            print()
        if theirs:
            print_pytorch(ours, theirs)
            print()
    if "updates" in arguments.only:
        figures["updates"] = update_rounds(arguments)
        print_updates(figures["updates"])
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
