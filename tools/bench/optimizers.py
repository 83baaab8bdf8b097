#!/usr/bin/env python3
"""Times what a step of each optimizer costs beyond the same step with AdamW, and prints a table in Markdown.

    python3 tools/bench/optimizers.py                          # all rules, on the processor
    python3 tools/bench/optimizers.py --rules muon,soap --set optimizer.max_dim=4096 --rounds 5
    python3 tools/bench/optimizers.py --whole --rules muon     # whole steps in turn, instead of updates alone

The model is that of configs/bench/10.7m.yaml. Each round runs `monge bench` once for every rule, in turn, with its
defaults; 20 steps, in which whatever is done every ten steps is done twice; their mean counts, and the median of the
rounds. An update costs the same for any batch, so it is timed on a batch of 16 tokens, which costs next to nothing
beside it, and set against the step of 4096 tokens with AdamW. --whole times that step for every rule.

--shared is for a processor that other programs use as well: it counts the processor time of the steps, over the
threads, and not the time that passes.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / "configs/bench/10.7m.yaml"
UPDATE_ALONE = ["model.context=16", "train.batch=1"]


def bench(arguments, rule, overrides, steps):
    """(mean milliseconds of a step, processor seconds of the whole process)"""
    command = [arguments.monge, "bench", CONFIG, f"device={arguments.device}", f"optimizer.name={rule}"]
    environment = dict(os.environ, OMP_WAIT_POLICY="passive") if arguments.shared else None
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    output = subprocess.run([*command, *overrides, "--no-ops", "--json", "--steps", str(steps)], check=True,
                            stdout=subprocess.PIPE, env=environment).stdout
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return json.loads(output)["step"]["mean_milliseconds"], used


def step_time(arguments, rule, overrides):
    """Milliseconds."""
    if not arguments.shared:
        return bench(arguments, rule, overrides, arguments.steps)[0]
    # What is not a step is in both.
    used = bench(arguments, rule, overrides, arguments.steps + 1)[1] - bench(arguments, rule, overrides, 1)[1]
    return 1e3 * used / arguments.steps / arguments.threads


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--monge", type=Path, default=ROOT / "build/monge")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rules", default="sgd,signum,lion,nadamw,ademamix,adafactor,lamb,schedule_free,muon,normuon,"
                        "shampoo,soap,psgd_kron")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="for all rules but adamw")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--whole", action="store_true")
    parser.add_argument("--shared", action="store_true")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    arguments = parser.parse_args()

    rules = arguments.rules.split(",")
    whole, beyond = [], {rule: [] for rule in rules}
    for _ in range(arguments.rounds):
        whole.append(step_time(arguments, "adamw", []))
        base = whole[-1] if arguments.whole else step_time(arguments, "adamw", UPDATE_ALONE)
        for rule in rules:
            overrides = arguments.set + ([] if arguments.whole else UPDATE_ALONE)
            beyond[rule].append(step_time(arguments, rule, overrides) - base)
    step = statistics.median(whole)
    print(f"AdamW: {step:.0f} ms a step, rounds from {min(whole):.0f} to {max(whole):.0f}\n")
    print("| rule | ms beyond AdamW | rounds from, to | step / AdamW's |\n|---|---|---|---|")
    for rule in rules:
        median = statistics.median(beyond[rule])
        span = f"{min(beyond[rule]):.0f}, {max(beyond[rule]):.0f}"
        print(f"| `{rule}` | {median:.0f} | {span} | {1 + median / step:.2f} |")


if __name__ == "__main__":
    main()
