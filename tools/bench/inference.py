#!/usr/bin/env python3
"""Samples and evaluates with `monge` and with PyTorch, in turn, and compares their speed.

    python3 tools/bench/inference.py                # 0.8M parameters, context 1024, float32
    python3 tools/bench/inference.py --threads 1

Needs PyTorch 2 and a built program (bash tools/build.sh). Both have the same weights, which Monge trains for 20 steps.
Sampling is one sequence with a cache of keys and values; the most probable tokens of both must be the same. Evaluation
is the loss of validation windows, eight at a time, without gradients. PyTorch runs eagerly. A figure of Monge is the
difference of two runs of the program, so that its start does not count; all are medians of the rounds.
"""

import argparse
import json
import os
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import torch
from torch.nn import functional as F

from pytorch_gpt import Gpt

ROOT = Path(__file__).resolve().parents[2]
LAYERS, HEADS, WIDTH, CONTEXT, SYMBOLS, BATCH = 4, 4, 128, 1024, 65, 8


def load(model, path):
    """The weights of a checkpoint of Monge (safetensors)."""
    data = path.read_bytes()
    begin = 8 + int.from_bytes(data[:8], "little")
    entries = json.loads(data[8:begin])
    entries.pop("__metadata__", None)
    weights = {}
    for name, entry in entries.items():
        first, last = entry["data_offsets"]
        values = torch.frombuffer(bytearray(data[begin + first:begin + last]), dtype=torch.float32)
        name = name.replace(".attention.", ".").replace(".mlp.", ".").replace(".gain", ".weight")
        weights[{"position.weight": "wpe.weight"}.get(name, name)] = values.view(entry["shape"])
    model.load_state_dict(weights)


def next_logits(model, token, position, caches):
    """The logits after one more token (1, 1); caches: keys and values (1, H, T, D) of each block, which grow."""
    x = model.wte(token) + model.wpe.weight[position]
    for i, block in enumerate(model.blocks):
        q, k, v = (y.view(1, 1, HEADS, -1).transpose(1, 2) for y in block.qkv(block.norm1(x)).split(WIDTH, dim=2))
        keys, values = caches[i]
        keys[:, :, position:position + 1], values[:, :, position:position + 1] = k, v
        y = F.scaled_dot_product_attention(q, keys[:, :, :position + 1], values[:, :, :position + 1])
        x = x + block.out(y.transpose(1, 2).reshape(1, 1, WIDTH))
        x = x + block.down(block.gelu(block.up(block.norm2(x))))
    return F.linear(model.norm(x), model.wte.weight)


@torch.inference_mode()
def pytorch_sample(model, tokens):
    """Ids of the most probable continuation of token 0, and seconds."""
    begin = time.perf_counter()
    room = (1, HEADS, CONTEXT, WIDTH // HEADS)
    caches = [(torch.empty(room), torch.empty(room)) for _ in range(LAYERS)]
    ids = [0]
    for position in range(tokens):
        ids.append(int(next_logits(model, torch.tensor([[ids[-1]]]), position, caches).argmax()))
    return ids[1:], time.perf_counter() - begin


@torch.inference_mode()
def pytorch_evaluate(model, windows):
    tokens = torch.randint(SYMBOLS, (windows, CONTEXT + 1))
    begin = time.perf_counter()
    sum(float(model(batch[:, :-1], batch[:, 1:].contiguous())) for batch in tokens.split(BATCH))
    return time.perf_counter() - begin


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=1000, help="to sample")
    parser.add_argument("--windows", type=int, default=64, help="to evaluate, beside the first eight")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--program", type=Path, default=ROOT / "build/monge")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    program = arguments.program.resolve()

    with tempfile.TemporaryDirectory() as folder:
        def monge(*words):
            """What the program says, and its seconds."""
            begin = time.perf_counter()
            done = subprocess.run([program, *map(str, words)], cwd=folder, capture_output=True, text=True)
            if done.returncode != 0:
                raise SystemExit(f"monge {' '.join(map(str, words))} failed:\n{done.stderr}")
            return done.stdout, time.perf_counter() - begin

        threads = f"train.threads={arguments.threads}"
        monge("train", ROOT / "configs/bench/0.8m.yaml", f"model.context={CONTEXT}", "train.steps=20", "train.batch=1",
              f"train.eval_batches={BATCH}", threads)
        run = next(Path(folder, "runs").iterdir())
        model = Gpt(LAYERS, HEADS, WIDTH, CONTEXT, SYMBOLS).eval()
        load(model, next(run.glob("checkpoints/step_*/model.safetensors")))

        def monge_sample(tokens):
            return monge("sample", run, "--tokens", tokens, "--temperature", 0, threads)

        def monge_evaluate(windows):
            return monge("eval", run, f"data.validation_windows={windows}", f"train.batch={BATCH}", threads)[1]

        ids, _ = pytorch_sample(model, arguments.tokens)
        text = monge_sample(arguments.tokens)[0]
        ours = [ord(c) - ord("!") for c in text[1:1 + arguments.tokens]]
        if ours != ids:
            at = next(i for i, (a, b) in enumerate(zip(ours, ids)) if a != b)
            raise SystemExit(f"the samples differ from token {at} on: {ours[at:at + 5]} and {ids[at:at + 5]}")

        rates = {name: {"Monge": [], "PyTorch": []} for name in ("sampling", "evaluation")}
        for _ in range(arguments.rounds):
            seconds = monge_sample(arguments.tokens)[1] - monge_sample(1)[1]
            rates["sampling"]["Monge"].append((arguments.tokens - 1) / seconds)
            rates["sampling"]["PyTorch"].append(arguments.tokens / pytorch_sample(model, arguments.tokens)[1])
            seconds = monge_evaluate(BATCH + arguments.windows) - monge_evaluate(BATCH)
            rates["evaluation"]["Monge"].append(arguments.windows * CONTEXT / seconds)
            rates["evaluation"]["PyTorch"].append(
                arguments.windows * CONTEXT / pytorch_evaluate(model, arguments.windows))
    for name, rate in rates.items():
        monge_rate, pytorch_rate = (statistics.median(rate[side]) for side in ("Monge", "PyTorch"))
        print(f"{name:10}  Monge {monge_rate:9,.0f} tokens/s, PyTorch {pytorch_rate:9,.0f} tokens/s: "
              f"{monge_rate / pytorch_rate:.1f} times")


if __name__ == "__main__":
    main()
