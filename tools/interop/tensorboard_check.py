#!/usr/bin/env python3
"""Reads the events of a run with TensorBoard's own reader and holds them against metrics.jsonl.

  pip install tensorboard
  build/monge train configs/quickstart.yaml train.tensorboard=true --out runs/events
  python3 tools/interop/tensorboard_check.py runs/events
"""

import json
import pathlib
import struct
import sys

from tensorboard import version
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

run = pathlib.Path(sys.argv[1])
events = EventAccumulator(str(run), size_guidance={"scalars": 0, "tensors": 0}).Reload()
single = lambda x: struct.unpack("f", struct.pack("f", x))[0]
expected = {}
for line in map(json.loads, (run / "metrics.jsonl").read_text().splitlines()):
    for name, value in line.items():
        if name != "step":
            expected.setdefault(name, []).append((line["step"], single(value)))
got = {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
texts = {tag: events.Tensors(tag)[-1].tensor_proto.string_val[0].decode() for tag in events.Tags()["tensors"]}
assert got == expected, "the scalars differ"
assert "model:" in texts["config/text_summary" if "config/text_summary" in texts else "config"]
print(f"TensorBoard {version.VERSION}: {sum(map(len, got.values()))} scalars of {len(got)} tags as in metrics.jsonl, texts: {', '.join(texts)}")
