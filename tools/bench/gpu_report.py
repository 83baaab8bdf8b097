#!/usr/bin/env python3
"""Gathers what the parts of tools/gpu_check.sh have left into gpu_<name>_<date>.json, .md and .log.

    python3 tools/bench/gpu_report.py --kept build_gpu/check --results docs/results --parts machine build test

Reads, in the folder --kept, of every part PART.status (name, outcome, seconds; separated by tabs), PART.log, of whose last
lines the reason of a failure is taken and whose Markdown tables are copied, and the figures in *.json.
"""

import argparse
import datetime
import json
import re
import subprocess
from pathlib import Path


def gpu():
    """{"name": ..., "driver": ..., ...} of the first GPU; empty without one."""
    keys = ["name", "driver_version", "memory.total", "compute_cap"]
    try:
        done = subprocess.run(["nvidia-smi", f"--query-gpu={','.join(keys)}", "--format=csv,noheader"],
                              capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return {}
    lines = done.stdout.strip().splitlines()
    return dict(zip(keys, (cell.strip() for cell in lines[0].split(",")))) if done.returncode == 0 and lines else {}


def read_parts(kept, names):
    parts = []
    for name in names:
        status = kept / f"{name}.status"
        if not status.exists():
            parts.append({"part": name, "outcome": "not asked for", "seconds": 0, "log": ""})
            continue
        _, outcome, seconds = status.read_text().strip().split("\t")
        parts.append({"part": name, "outcome": outcome, "seconds": int(seconds),
                      "log": (kept / f"{name}.log").read_text(errors="replace")})
    return parts


def reason(part):
    """What a part that did not pass said of it: its own messages, else its last line."""
    if part["outcome"] == "passed":
        return ""
    lines = [line.strip() for line in part["log"].splitlines() if line.strip()]
    own = [line for line in lines if line.startswith(("gpu_check: ", "monge: "))]
    return "; ".join(own or lines[-1:]).replace("|", "/")


def read_figures(kept):
    figures = {}
    for file in sorted(kept.glob("*.json")):
        try:
            figures[file.stem] = json.loads(file.read_text())
        except ValueError:
            figures[file.stem] = f"{file.name} is not JSON"
    metrics = kept / "shakespeare.jsonl"
    if metrics.exists():
        lines = [json.loads(line) for line in metrics.read_text().splitlines()]
        measured = [line for line in lines if "val_loss" in line]
        if measured:
            best = min(measured, key=lambda line: line["val_loss"])
            figures["shakespeare_monge"] = {
                "best_val_loss": best["val_loss"], "best_step": best["step"], "seconds": lines[-1]["seconds"],
                "val_losses": {line["step"]: line["val_loss"] for line in measured}}
    return figures


def table(head, rows):
    return [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"] + [f"| {' | '.join(map(str, row))} |" for row in rows] + [""]


def step_tables(figures):
    rows, ops = [], []
    for name in ("step_124m", "step_1558m"):
        result = figures.get(name)
        if not isinstance(result, dict) or "step" not in result:
            continue
        step, sheet = result["step"], result["step"].get("mfu_of_data_sheet")
        rows.append([name.removeprefix("step_"), f"{step['milliseconds']:.2f}", f"{step['tokens_per_second']:,.0f}",
                     f"{step['mfu']:.1%}", f"{sheet:.1%}" if sheet else "n/a", f"{result['peak_bytes'] / 2**30:.1f}",
                     f"{result['matmul_peak_bf16'] / 1e12:.0f}", f"{result['memory_bandwidth'] / 1e12:.2f}"])
        ops += [f"Ops of {rows[-1][0]}:", ""]
        ops += table(["op", "shape", "calls", "ms", "of peak"],
                     [[op["name"], op["shape"], op["calls"], f"{op['milliseconds']:.3f}", f"{op['share_of_peak']:.0%}"]
                      for op in result["ops"]])
        ops += [f"- {note}" for note in result["notes"]] + [""] * bool(result["notes"])
    if not rows:
        return []
    head = ["model", "ms per step", "tokens/s", "MFU of the matmul peak", "MFU of the data sheet", "peak memory, GiB",
            "matmul peak, TFLOP/s", "copy, TB/s"]
    return ["## Training steps of GPT-2, bfloat16 (MFU: 6 N + 6 L C T per token)", ""] + table(head, rows) + ops


def shakespeare_table(figures):
    rows = [[program, f"{figures[name]['best_val_loss']:.4f}", figures[name]["best_step"], f"{figures[name]['seconds']:.1f}"]
            for program, name in (("Monge", "shakespeare_monge"), ("PyTorch", "shakespeare_pytorch")) if name in figures]
    if not rows:
        return []
    head = ["program", "best validation loss, nats per character", "at step", "seconds"]
    return ["## Shakespeare, nanoGPT's recipe for a GPU", ""] + table(head, rows)


def copied_tables(parts):
    titles = {"attention": "Attention alone", "pytorch_124m": "GPT-2 124M against PyTorch",
              "pytorch_1558m": "GPT-2 1558M against PyTorch", "updates": "Updates of attention, GPT-2 124M"}
    out = []
    for part in parts:
        lines = part["log"].splitlines()
        kept = [line for i, line in enumerate(lines)
                if line.startswith("|") or (not line and i > 0 and lines[i - 1].startswith("|"))]
        if part["part"] in titles and kept:
            out += [f"## {titles[part['part']]}", "", *"\n".join(kept).strip().splitlines(), ""]
    return out


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kept", type=Path, required=True)
    parser.add_argument("--results", type=Path, required=True)
    parser.add_argument("--parts", nargs="+", required=True)
    arguments = parser.parse_args()

    device, date = gpu(), datetime.date.today().isoformat()
    parts, figures = read_parts(arguments.kept, arguments.parts), read_figures(arguments.kept)
    name = re.sub(r"[^a-z0-9]+", "_", device.get("name", "none").lower().removeprefix("nvidia ")).strip("_")
    base = arguments.results / f"gpu_{name}_{date}"

    summary = [{**{key: part[key] for key in ("part", "outcome", "seconds")}, "reason": reason(part)} for part in parts]
    base.with_suffix(".json").write_text(
        json.dumps({"date": date, "gpu": device, "parts": summary, "figures": figures}, indent=1) + "\n")
    base.with_suffix(".log").write_text("".join(f"=== {p['part']}: {p['outcome']}\n{p['log']}\n" for p in parts))
    text = [f"# {device.get('name', 'No GPU')}, {date}", "",
            f"Driver {device.get('driver_version', 'none')}. Written by `tools/gpu_check.sh`.", ""]
    text += table(["part", "outcome", "seconds", "reason"],
                  [[p["part"], p["outcome"], p["seconds"], p["reason"]] for p in summary])
    text += step_tables(figures) + copied_tables(parts) + shakespeare_table(figures)
    base.with_suffix(".md").write_text("\n".join(text).rstrip() + "\n")

    width = max(len(p["part"]) for p in summary)
    for p in summary:
        print(f"{p['part']:<{width}}  {p['outcome']:<20} {p['seconds']:>4} s  {p['reason'][:160]}")
    print(f"written: {base.with_suffix('.json')}, .md, .log")


if __name__ == "__main__":
    main()
