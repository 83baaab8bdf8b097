#!/usr/bin/env python3
"""Measures Monge's optimizers against published packages and prints a table in Markdown.

    cmake --install build --prefix ~/monge
    python3 tools/peers/optimizer_peers.py --monge ~/monge
    python3 tools/peers/optimizer_peers.py --only soap     # some of the rows
    python3 tools/peers/optimizer_peers.py --write         # replaces the table in docs/results/optimizers.md

Needs cmake, ninja, a C++ compiler, and

    pip install numpy pyyaml safetensors torch==2.15.0 timm==1.0.31 pytorch_optimizer==4.1.0 heavyball==3.2.1 \\
        schedulefree==1.4.1 torch-ema==0.3 curvlinops-for-pytorch==3.0.1

which are for this script alone: nothing of the build or of its tests needs them.

Both sides read the same 40 gradients of four matrices (square, tall, wide, and one whose gradients have rank 2) and a
vector, and follow the same schedule of rates. Monge walks through them twice, in double precision on the reference
device and in f32 on the processor (replay.cpp, built here); the peer goes in double precision. A difference is

    max over steps and parameters of |p_monge - p_peer| / |p_peer - p_0|

with Frobenius norms and p_0 the parameter before the first step, so that 1e-3 is a thousandth of the way. The cases
(*_cases.py) have the options with which the two say the same, and bounds on the two differences. The script ends with 1
when one is exceeded, or when a rule or transform of Monge stands nowhere there.
"""

import argparse
import importlib
import importlib.metadata
import re
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np
import torch
import yaml
from cases import CASES, WITHOUT_PEER
from recorded import Data
from safetensors.numpy import load_file

for module in ("rule_cases", "matrix_cases", "transform_cases"):
    importlib.import_module(module)  # fills CASES

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PAGE = ROOT / "docs/results/optimizers.md"
BEGIN, END = "<!-- begin: tools/peers/optimizer_peers.py -->", "<!-- end: tools/peers/optimizer_peers.py -->"


def walk(case, data, rates):
    """The peer's parameters after each step, as in replay's files."""
    p = {name: torch.from_numpy(value.copy()).requires_grad_() for name, value in data.start.items()}
    optimizers = case.peer(p, data)
    trained, evaluated = [], []
    for t, rate in enumerate(rates):
        for name, v in p.items():
            v.grad = torch.from_numpy(data.gradients[name][t].copy())
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = float(rate) * group.get("times", 1.0)
            optimizer.step()
        trained.append({name: v.detach().clone() for name, v in p.items()})
        averages = [o for o in optimizers if hasattr(o, "evaluate")]
        evaluated.append(averages[0].evaluate(p) if averages else trained[-1])
    out = {}
    for kind, path in [("trained", trained), ("evaluated", evaluated)]:
        out.update({f"{kind}/{name}": np.stack([at[name].numpy() for at in path]) for name in p})
    return out


def difference(ours, theirs, case, data):
    found = []
    for kind in ("trained", "evaluated"):
        for name in case.names:
            for a, b in zip(ours[f"{kind}/{name}"], theirs[f"{kind}/{name}"]):
                apart, way = np.linalg.norm(a - b), np.linalg.norm(b - data.start[name])
                found.append(0.0 if apart == 0.0 else apart / way)  # 0 / 0 where neither has moved yet
    return float(np.max(found))  # NaN, which no bound allows, if one of them is


def build(prefix, folder):
    subprocess.run(["cmake", "--fresh", "-G", "Ninja", "-S", HERE, "-B", folder, f"-DCMAKE_PREFIX_PATH={prefix}"],
                   check=True, stdout=subprocess.DEVNULL)
    subprocess.run(["cmake", "--build", folder], check=True, stdout=subprocess.DEVNULL)
    return folder / "replay"


def replay(program, folder, case, device):
    out = folder / "out.safetensors"
    subprocess.run([program, folder / "data.safetensors", out, device, yaml.safe_dump(case.options)], check=True)
    return load_file(out)


def number(x):
    return f"{x:.0e}".replace("e-0", "e-").replace("e+00", "")


def measure(case, program, folder, data):
    """A line of the table, and what is wrong with it."""
    exact = replay(program, folder, case, "reference")
    theirs = walk(case, data, exact["lr"])
    double = difference(exact, theirs, case, data)
    single = difference(replay(program, folder, case, "cpu"), theirs, case, data)
    label = f"{case.package} {importlib.metadata.version(case.package)}"
    line = f"| `{case.rule}` | {label}: {case.what} | {number(double)} | {number(single)} | {case.why} |"
    faults = [f"{case.rule} ({label}, {case.what}): {what} differs by {number(x)}, more than {number(bound)}"
              for what, x, bound in [("double", double, case.bound), ("f32", single, case.bound_f32)] if not x <= bound]
    return line, faults


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--monge", type=Path, default=Path.home() / "monge", help="where Monge is installed")
    parser.add_argument("--build", type=Path, default=ROOT / "build_peers", help="folder for the build of replay")
    parser.add_argument("--only", metavar="RULE", help="the rows of one rule or transform")
    parser.add_argument("--write", action="store_true", help=f"replace the table in {PAGE.relative_to(ROOT)}")
    arguments = parser.parse_args()
    if arguments.write and arguments.only:
        parser.error("--write needs all rows: leave out --only")

    try:
        program = build(arguments.monge, arguments.build)
    except subprocess.CalledProcessError:
        sys.exit(f"replay was not built: --monge must name a folder into which Monge is installed (cmake --install "
                 f"build --prefix FOLDER), and {arguments.monge} was given")
    names = subprocess.run([program], check=True, capture_output=True, text=True).stdout.split()
    covered = {c.rule for c in CASES} | set(WITHOUT_PEER)
    faults = [f"{name} stands neither among the cases nor in WITHOUT_PEER" for name in names if name not in covered]
    if arguments.only and arguments.only not in names:
        parser.error(f"there is no rule or transform {arguments.only}; there are: {', '.join(names)}")

    warnings.filterwarnings("ignore", category=FutureWarning)  # what the packages use of PyTorch is not ours to mend
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)  # of scalars that optimizers keep, too
    data = Data()
    lines = ["| rule | peer | double | f32 | what the difference comes from, or what checks it instead |",
             "|---|---|---|---|---|"]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data.save(folder / "data.safetensors")
        for rule in [arguments.only] if arguments.only else names:
            for c in [c for c in CASES if c.rule == rule]:
                line, wrong = measure(c, program, folder, data)
                lines.append(line)
                faults += wrong
            if rule in WITHOUT_PEER:
                lines.append(f"| `{rule}` | none | | | {WITHOUT_PEER[rule]} |")
    table = "\n".join(lines)
    print(table)
    for fault in faults:
        print(fault, file=sys.stderr)
    if faults:
        sys.exit(1)
    if arguments.write:
        page = PAGE.read_text()
        pattern = re.compile(re.escape(BEGIN) + ".*?" + re.escape(END), re.DOTALL)
        if len(pattern.findall(page)) != 1:
            sys.exit(f"{PAGE} must have the lines '{BEGIN}' and '{END}' once")
        PAGE.write_text(pattern.sub(lambda _: f"{BEGIN}\n{table}\n{END}", page))


if __name__ == "__main__":
    main()
