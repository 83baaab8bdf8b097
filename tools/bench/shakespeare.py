#!/usr/bin/env python3
"""Trains the recipe of configs/gpu/shakespeare.yaml in PyTorch and prints its best validation loss and wall time.

    python3 tools/bench/shakespeare.py               # 5000 steps on a GPU
    python3 tools/bench/shakespeare.py --device cpu --steps 20 --no-compile   # a look that it works

torch.compile, scaled_dot_product_attention, bfloat16 autocast and fused AdamW. Losses are nats per character over the
whole validation split (the last tenth) in consecutive windows, every 250 steps, as Monge measures them; the best one
counts. Batches are windows at random places. The wall time runs from the first step to the last evaluation and has the
compilation in it, which is also given alone.
"""

import argparse
import json
import math
import time
from pathlib import Path

import torch
from pytorch_gpt import Gpt, adamw

ROOT = Path(__file__).resolve().parents[2]
CONTEXT, BATCH, WARMUP, LR, FINAL_LR = 256, 64, 100, 1e-3, 1e-4


def rate(step, steps):
    """A linear warm-up, then half a cosine; `step` from 1."""
    if step <= WARMUP:
        return LR * step / WARMUP
    progress = (step - WARMUP) / (steps - WARMUP)
    return FINAL_LR + 0.5 * (1 + math.cos(math.pi * progress)) * (LR - FINAL_LR)


def windows(tokens, starts):
    """(inputs, targets) of the windows that begin at `starts`."""
    index = starts[:, None] + torch.arange(CONTEXT, device=tokens.device)
    return tokens[index], tokens[index + 1]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--text", type=Path, default=ROOT / "data/shakespeare.txt")
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--steps", type=int, default=5000)
    parser.add_argument("--eval-every", type=int, default=250)
    parser.add_argument("--seed", type=int, default=1337)
    parser.add_argument("--no-compile", action="store_true", help="without torch.compile")
    parser.add_argument("--json", type=Path, help="write the figures to this file too")
    arguments = parser.parse_args()
    if not arguments.text.exists():
        parser.error(f"{arguments.text} is not there; get it with: bash tools/get_data.sh")

    text = arguments.text.read_text()
    ids = {character: i for i, character in enumerate(sorted(set(text)))}
    tokens = torch.tensor([ids[character] for character in text], device=arguments.device)
    split = int(0.9 * len(tokens))
    train, validation = tokens[:split], tokens[split:]

    torch.manual_seed(arguments.seed)
    with torch.device(arguments.device):
        model = Gpt(layers=6, heads=6, width=384, context=CONTEXT, vocab=len(ids), dropout=0.2)
    optimizer = adamw(model, lr=LR, betas=(0.9, 0.99))
    run = model if arguments.no_compile else torch.compile(model, dynamic=False)
    autocast = torch.autocast(arguments.device, dtype=torch.bfloat16)

    def train_step(step):
        inputs, targets = windows(train, torch.randint(len(train) - CONTEXT, (BATCH,), device=arguments.device))
        with autocast:
            loss = run(inputs, targets)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for group in optimizer.param_groups:
            group["lr"] = rate(step, arguments.steps)
        optimizer.step()

    @torch.no_grad()
    def evaluate():
        model.eval()
        starts = torch.arange(0, len(validation) - CONTEXT, CONTEXT, device=arguments.device)
        total = 0.0
        for part in starts.split(BATCH):
            with autocast:  # the last part is smaller: not compiled, which would compile it anew
                total += model(*windows(validation, part)).item() * len(part)
        model.train()
        return total / len(starts)

    losses, compiling = {}, 0.0
    begin = time.perf_counter()
    for step in range(1, arguments.steps + 1):
        train_step(step)
        if step == 3:
            if arguments.device == "cuda":
                torch.cuda.synchronize()
            compiling = time.perf_counter() - begin
        if step % arguments.eval_every == 0 or step == arguments.steps:
            losses[step] = evaluate()
            print(f"step {step}  validation loss {losses[step]:.4f}  {time.perf_counter() - begin:.1f} s", flush=True)
    seconds = time.perf_counter() - begin

    best = min(losses, key=losses.get)
    print(f"best validation loss {losses[best]:.4f} at step {best}; {seconds:.1f} s, of which {compiling:.1f} s for the "
          f"first three steps; PyTorch {torch.__version__}")
    if arguments.json:
        figures = {"best_val_loss": losses[best], "best_step": best, "seconds": seconds, "first_steps": compiling,
                   "val_losses": losses, "torch": torch.__version__}
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
