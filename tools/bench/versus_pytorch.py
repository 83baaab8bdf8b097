#!/usr/bin/env python3
"""Trains the same GPT in PyTorch and in Monge, in turn, and prints tokens per second and their ratio.

    python3 tools/bench/versus_pytorch.py                    # three sizes, float32
    python3 tools/bench/versus_pytorch.py --sizes 10.7M --precision bfloat16
    python3 tools/bench/versus_pytorch.py --only pytorch     # without Monge

Needs PyTorch 2 and a built program (bash tools/build.sh). Both sides run whole training steps: forward, backward,
clipping of the global norm, AdamW. Every round runs each contender once, so that a slow spell of the machine hits all
of them; the figures are medians over rounds. When the rounds of a contender lie more than 10 % apart the machine was
not quiet: its figures are left out and the exit code is 1, unless --allow-noise is given.
"""

import argparse
import json
import math
import os
import platform
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Size:
    name: str
    layers: int
    heads: int
    width: int
    context: int
    batch: int
    vocab: int

    def tokens(self):
        """Tokens of one step."""
        return self.batch * self.context

    def flops_per_token(self):
        """Forward and backward: 6 N for the N parameters that are multiplied, 6 L C T for causal attention."""
        multiplied = 12 * self.layers * self.width**2 + (2 * self.layers + 1) * self.width + self.vocab * self.width
        return 6 * multiplied + 6 * self.layers * self.width * self.context


SIZES = [
    Size("0.8M", layers=4, heads=4, width=128, context=64, batch=12, vocab=65),
    Size("10.7M", layers=6, heads=6, width=384, context=256, batch=16, vocab=65),
    Size("124M", layers=12, heads=12, width=768, context=64, batch=4, vocab=50257),
]


def pytorch_step(size, precision, compiled):
    """A function that trains one step of a pre-norm GPT-2: no biases, tied head, learned positions, exact GELU."""
    import torch
    from torch import nn
    from torch.nn import functional as F

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            c = size.width
            self.norm1, self.norm2 = nn.LayerNorm(c, bias=False), nn.LayerNorm(c, bias=False)
            self.qkv, self.out = nn.Linear(c, 3 * c, bias=False), nn.Linear(c, c, bias=False)
            self.up, self.down = nn.Linear(c, 4 * c, bias=False), nn.Linear(4 * c, c, bias=False)

        def forward(self, x):
            b, t, c = x.shape
            q, k, v = (y.view(b, t, size.heads, -1).transpose(1, 2) for y in self.qkv(self.norm1(x)).split(c, dim=2))
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = x + self.out(y.transpose(1, 2).reshape(b, t, c))
            return x + self.down(F.gelu(self.up(self.norm2(x))))

    class Gpt(nn.Module):
        def __init__(self):
            super().__init__()
            self.wte, self.wpe = nn.Embedding(size.vocab, size.width), nn.Embedding(size.context, size.width)
            self.blocks = nn.ModuleList(Block() for _ in range(size.layers))
            self.norm = nn.LayerNorm(size.width, bias=False)
            for name, p in self.named_parameters():
                if p.dim() == 2:
                    residual = name.endswith(("out.weight", "down.weight"))
                    nn.init.normal_(p, std=0.02 / math.sqrt(2 * size.layers) if residual else 0.02)

        def forward(self, tokens, targets):
            x = self.wte(tokens) + self.wpe.weight[: tokens.shape[1]]
            for block in self.blocks:
                x = block(x)
            logits = F.linear(self.norm(x), self.wte.weight)
            return F.cross_entropy(logits.view(-1, size.vocab), targets.view(-1))

    torch.manual_seed(1337)
    model = Gpt()
    groups = [
        {"params": [p for p in model.parameters() if p.dim() == 2], "weight_decay": 0.1},
        {"params": [p for p in model.parameters() if p.dim() == 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=1e-3, betas=(0.9, 0.99), fused=True)
    run = torch.compile(model) if compiled else model
    tokens = torch.randint(size.vocab, (size.batch, size.context))
    targets = torch.randint(size.vocab, (size.batch, size.context))

    def step():
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bfloat16"):
            loss = run(tokens, targets)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    return step


def pytorch_contender(size, arguments, compiled):
    """A function that gives the tokens per second of one round."""
    step = pytorch_step(size, arguments.precision, compiled)
    for _ in range(3):  # compiles, and fills caches
        step()
    begin = time.perf_counter()
    step()
    steps = max(3, round(arguments.seconds / (time.perf_counter() - begin)))

    def one_round():
        step()
        begin = time.perf_counter()
        for _ in range(steps):
            step()
        return steps * size.tokens() / (time.perf_counter() - begin)

    return one_round


def monge_contender(size, arguments, peaks):
    """The same for Monge. Each round also measures the machine's matmul peak (FLOP/s), which goes to `peaks`."""
    command = [str(arguments.program), "bench", str(ROOT / f"configs/bench/{size.name.lower()}.yaml"), "--json"]
    command += [f"train.precision={arguments.precision}", f"train.threads={arguments.threads}"]
    command += [f"train.batch={size.batch}"]
    command += [f"model.{key}={getattr(size, key)}" for key in ("layers", "heads", "width", "context")]

    def measure(steps):
        done = subprocess.run(command + ["--steps", str(steps)], capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(f"{' '.join(command)}\nended with exit code {done.returncode}:\n{done.stderr}")
        return json.loads(done.stdout)

    steps = max(3, round(arguments.seconds * 1000 / measure(3)["step"]["milliseconds"]))

    def one_round():
        result = measure(steps)
        peaks.append(result["matmul_peak_f32" if arguments.precision == "float32" else "matmul_peak_bf16"])
        return result["step"]["tokens_per_second"]

    return one_round


def processor():
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [size.name for size in SIZES]
    parser.add_argument("--sizes", nargs="+", choices=names, default=names)
    parser.add_argument("--precision", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--only", choices=["pytorch", "monge"], help="leave the other out")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0, help="length of one round of one contender")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--program", type=Path, default=ROOT / "build/monge", help="the monge program")
    parser.add_argument("--allow-noise", action="store_true", help="report although the rounds scatter, and say so")
    return parser.parse_args()


def main():
    arguments = parse_arguments()
    print(f"{processor()}, {arguments.threads} threads, {arguments.precision}, {arguments.rounds} rounds")
    if arguments.only != "monge":
        import torch

        torch.set_num_threads(arguments.threads)
        print(f"PyTorch {torch.__version__}")
    print("\n| model | program | tokens/s | GFLOP/s | of matmul peak | scatter | Monge / it |")
    print("|---|---|---|---|---|---|---|", flush=True)

    noisy = False
    for size in (size for size in SIZES if size.name in arguments.sizes):
        contenders, peaks = {}, []
        if arguments.only != "monge":
            contenders["PyTorch eager"] = pytorch_contender(size, arguments, compiled=False)
            contenders["PyTorch compiled"] = pytorch_contender(size, arguments, compiled=True)
        if arguments.only != "pytorch":
            contenders["Monge"] = monge_contender(size, arguments, peaks)

        rounds = {name: [] for name in contenders}
        for _ in range(arguments.rounds):
            for name, one_round in contenders.items():
                rounds[name].append(one_round())

        median = {name: statistics.median(values) for name, values in rounds.items()}
        for name, values in rounds.items():
            scatter = (max(values) - min(values)) / median[name]
            noisy |= scatter > 0.1
            if scatter > 0.1 and not arguments.allow_noise:
                print(f"| {size.name} | {name} | too noisy | | | {scatter:.0%} | |", flush=True)
                continue
            mark = " (noisy)" if scatter > 0.1 else ""
            flops = median[name] * size.flops_per_token()
            share = f"{flops / statistics.median(peaks):.2f}" if peaks else ""
            ratio = f"{median['Monge'] / median[name]:.2f}" if "Monge" in median and name != "Monge" else ""
            row = [size.name, name, f"{median[name]:,.0f}{mark}", f"{flops / 1e9:.1f}", share, f"{scatter:.0%}", ratio]
            print(f"| {' | '.join(row)} |", flush=True)

    if noisy and not arguments.allow_noise:
        sys.exit("The rounds scatter by more than 10 %: the machine was not quiet. Try again, or give --allow-noise.")


if __name__ == "__main__":
    main()
