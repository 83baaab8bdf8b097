#!/usr/bin/env python3
"""Trains the same GPT in PyTorch and in Monge, in turn, and prints tokens per second and their ratio.

    python3 tools/bench/versus_pytorch.py                    # four sizes, float32
    python3 tools/bench/versus_pytorch.py --sizes 10.7M --precision bfloat16
    python3 tools/bench/versus_pytorch.py --only pytorch     # without Monge
    python3 tools/bench/versus_pytorch.py --device cuda      # GPT-2 124M and 1558M, bfloat16

Needs PyTorch 2 and a built program (bash tools/build.sh). Both sides run whole training steps: forward, backward,
clipping of the global norm, AdamW. Every round runs each contender once, so that a slow spell of the machine hits all
of them; the figures are medians over rounds. When the rounds of a contender lie more than 10 % apart the machine was
not quiet: its figures are left out and the exit code is 1, unless --allow-noise is given.

Memory is the most that a process holds in RAM while it trains, its libraries included, on a processor: Monge against
PyTorch eager, each in a process of its own.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, replace
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
    gpt2: bool = False  # with biases and the tanh approximation of GELU
    recipe: str = ""  # the file in configs/, where it is not called like the size

    def config(self):
        folder, prefix = ("gpu", "gpt2_") if self.gpt2 else ("bench", "")
        return ROOT / f"configs/{folder}/{prefix}{self.recipe or self.name.lower()}.yaml"

    def tokens(self):
        """Tokens of one step."""
        return self.batch * self.context

    def flops_per_token(self):
        """Forward and backward: 6 N for the N parameters that are multiplied, 6 L C T for causal attention."""
        multiplied = 12 * self.layers * self.width**2 + (2 * self.layers + 1) * self.width + self.vocab * self.width
        if self.gpt2:
            multiplied += (11 * self.layers + 1) * self.width
        return 6 * multiplied + 6 * self.layers * self.width * self.context


SIZES = {
    "cpu": [
        Size("0.8M", layers=4, heads=4, width=128, context=64, batch=12, vocab=65),
        Size("10.7M", layers=6, heads=6, width=384, context=256, batch=16, vocab=65),
        Size("124M", layers=12, heads=12, width=768, context=64, batch=4, vocab=50257),
        Size("124M-long", layers=12, heads=12, width=768, context=1024, batch=1, vocab=50257, recipe="124m"),
    ],
    "cuda": [
        Size("124M", layers=12, heads=12, width=768, context=1024, batch=64, vocab=50304, gpt2=True),
        Size("1558M", layers=48, heads=25, width=1600, context=1024, batch=16, vocab=50304, gpt2=True),
    ],
}


def pytorch_step(size, arguments, compiled):
    """A function that trains one step of a GPT."""
    import torch
    from pytorch_gpt import Gpt, adamw

    torch.manual_seed(1337)
    with torch.device(arguments.device):
        model = Gpt(size.layers, size.heads, size.width, size.context, size.vocab, bias=size.gpt2, tanh=size.gpt2)
        tokens = torch.randint(size.vocab, (size.batch, size.context))
        targets = torch.randint(size.vocab, (size.batch, size.context))
    optimizer = adamw(model, lr=1e-3, betas=(0.9, 0.99))
    run = torch.compile(model, dynamic=False) if compiled else model

    def step():
        with torch.autocast(arguments.device, dtype=torch.bfloat16, enabled=arguments.precision == "bfloat16"):
            loss = run(tokens, targets)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    return step


def pytorch_contender(size, arguments, compiled):
    """A function that gives the tokens per second of one round."""
    import torch

    step = pytorch_step(size, arguments, compiled)
    gpu = arguments.device == "cuda"

    def seconds_of(steps):
        begin = time.perf_counter()
        for _ in range(steps):
            step()
        if gpu:
            torch.cuda.synchronize()
        return time.perf_counter() - begin

    seconds_of(3)  # compiles, and fills caches
    steps = max(3, round(arguments.seconds / seconds_of(1)))

    def one_round():
        seconds_of(3 if gpu else 1)
        seconds = seconds_of(steps)
        if gpu:  # the memory of activations, for the others
            torch.cuda.empty_cache()
        return steps * size.tokens() / seconds

    return one_round


def peak_resident():
    """Bytes of RAM at the peak of this process since restart_peak_resident()."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024


def restart_peak_resident():
    Path("/proc/self/clear_refs").write_text("5")


def pytorch_memory(size, arguments):
    """Bytes that a process of PyTorch eager holds at the peak of its steps."""
    command = [sys.executable, __file__, "--memory-of", size.name, "--precision", arguments.precision]
    command += ["--batch", str(size.batch), "--threads", str(arguments.threads)]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def print_pytorch_memory(size, arguments):
    step = pytorch_step(size, arguments, compiled=False)
    restart_peak_resident()
    for _ in range(3):
        step()
    print(peak_resident())


def monge_contender(size, arguments, peaks, memory):
    """The same for Monge. Each round also measures the machine's matmul peak (FLOP/s), which goes to `peaks`, and the
    peak memory of the process (bytes), which goes to `memory`."""
    command = [str(arguments.program), "bench", str(size.config()), "--json", "--no-ops"]
    command += [f"device={arguments.device}", f"train.precision={arguments.precision}", f"train.batch={size.batch}"]
    command += [f"model.{key}={getattr(size, key)}" for key in ("layers", "heads", "width", "context")]
    if arguments.device == "cpu":
        command += [f"train.threads={arguments.threads}"]

    def measure(steps):
        done = subprocess.run(command + ["--steps", str(steps)], capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(f"{' '.join(command)}\nended with exit code {done.returncode}:\n{done.stderr}")
        return json.loads(done.stdout)

    steps = max(3, round(arguments.seconds * 1000 / measure(3)["step"]["milliseconds"]))

    def one_round():
        result = measure(steps)
        peaks.append(result["matmul_peak_f32" if arguments.precision == "float32" else "matmul_peak_bf16"])
        memory.append(result["peak_resident_bytes"])
        return result["step"]["tokens_per_second"]

    return one_round


def processor(device):
    if device == "cuda":
        done = subprocess.run(["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"],
                              capture_output=True, text=True)
        return done.stdout.strip()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor()


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=list(SIZES), default="cpu")
    parser.add_argument("--sizes", nargs="+", help="by default all of the device")
    parser.add_argument("--batch", type=int, help="sequences of a step, instead of what the size has")
    parser.add_argument("--precision", choices=["float32", "bfloat16"], help="by default bfloat16 on a GPU")
    parser.add_argument("--only", choices=["pytorch", "monge"], help="leave the other out")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0, help="length of one round of one contender")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--program", type=Path, default=ROOT / "build/monge", help="the monge program")
    parser.add_argument("--allow-noise", action="store_true", help="report although the rounds scatter, and say so")
    parser.add_argument("--json", type=Path, help="write the figures to this file too")
    parser.add_argument("--memory-of", metavar="SIZE", help="only print the bytes PyTorch needs for this size")
    arguments = parser.parse_args()
    names = [size.name for size in SIZES[arguments.device]]
    arguments.sizes = [arguments.memory_of] if arguments.memory_of else arguments.sizes or names
    for name in arguments.sizes:
        if name not in names:
            parser.error(f"--sizes: {name} is not among those for {arguments.device}: {', '.join(names)}")
    arguments.precision = arguments.precision or ("bfloat16" if arguments.device == "cuda" else "float32")
    return arguments


def contenders_of(size, arguments, peaks, memory):
    """{name: a function that gives the tokens per second of one round}"""
    contenders = {}
    if arguments.only != "monge":
        if arguments.device == "cpu":
            contenders["PyTorch eager"] = pytorch_contender(size, arguments, compiled=False)
        contenders["PyTorch compiled"] = pytorch_contender(size, arguments, compiled=True)
    if arguments.only != "pytorch":
        contenders["Monge"] = monge_contender(size, arguments, peaks, memory)
    return contenders


def race(size, arguments):
    """The figures of every contender, a dictionary each."""
    peaks, monge_memory = [], []
    contenders = contenders_of(size, arguments, peaks, monge_memory)
    rounds = {name: [] for name in contenders}
    for _ in range(arguments.rounds):
        for name, one_round in contenders.items():
            rounds[name].append(one_round())

    memory = {}
    if arguments.device == "cpu":
        if monge_memory:
            memory["Monge"] = max(monge_memory)
        if "PyTorch eager" in contenders:
            memory["PyTorch eager"] = pytorch_memory(size, arguments)

    figures = []
    median = {name: statistics.median(values) for name, values in rounds.items()}
    for name, values in rounds.items():
        flops = median[name] * size.flops_per_token()
        figures.append({
            "model": size.name,
            "batch": size.batch,
            "program": name,
            "tokens_per_second": median[name],
            "flops_per_second": flops,
            "share_of_matmul_peak": flops / statistics.median(peaks) if peaks else None,
            "scatter": (max(values) - min(values)) / median[name],
            "monge_over_it": median["Monge"] / median[name] if "Monge" in median and name != "Monge" else None,
            "peak_memory": memory.get(name),
        })
    return figures


def row(figure, allow_noise):
    noisy = figure["scatter"] > 0.1
    memory = f"{figure['peak_memory'] / 2**20:,.0f} MiB" if figure["peak_memory"] else ""
    cells = [figure["model"], str(figure["batch"]), figure["program"]]
    if noisy and not allow_noise:
        cells += ["too noisy", "", "", f"{figure['scatter']:.0%}", "", memory]
        return cells
    share, ratio = figure["share_of_matmul_peak"], figure["monge_over_it"]
    cells += [f"{figure['tokens_per_second']:,.0f}{' (noisy)' if noisy else ''}",
              f"{figure['flops_per_second'] / 1e9:,.1f}", f"{share:.2f}" if share else "",
              f"{figure['scatter']:.0%}", f"{ratio:.2f}" if ratio else "", memory]
    return cells


def main():
    arguments = parse_arguments()
    if arguments.memory_of:
        import torch

        torch.set_num_threads(arguments.threads)
        [size] = [s for s in SIZES["cpu"] if s.name == arguments.memory_of]
        return print_pytorch_memory(replace(size, batch=arguments.batch or size.batch), arguments)
    threads = f", {arguments.threads} threads" if arguments.device == "cpu" else ""
    print(f"{processor(arguments.device)}{threads}, {arguments.precision}, {arguments.rounds} rounds")
    if arguments.only != "monge":
        import torch

        torch.set_num_threads(arguments.threads)
        print(f"PyTorch {torch.__version__}")
    print("\n| model | batch | program | tokens/s | GFLOP/s | of matmul peak | scatter | Monge / it | peak memory |")
    print("|---|---|---|---|---|---|---|---|---|", flush=True)

    figures = []
    for size in (size for size in SIZES[arguments.device] if size.name in arguments.sizes):
        figures += race(replace(size, batch=arguments.batch or size.batch), arguments)
        for figure in (f for f in figures if f["model"] == size.name):
            print(f"| {' | '.join(row(figure, arguments.allow_noise))} |", flush=True)
        if arguments.json:
            arguments.json.write_text(json.dumps(figures, indent=2) + "\n")

    if any(figure["scatter"] > 0.1 for figure in figures) and not arguments.allow_noise:
        sys.exit("The rounds scatter by more than 10 %: the machine was not quiet. Try again, or give --allow-noise.")


if __name__ == "__main__":
    main()
