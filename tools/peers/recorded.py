"""What both sides read: where the parameters start, and their gradients in each step."""

import math

import numpy as np
import torch
from safetensors.numpy import save_file

STEPS = 40
SHAPES = {"square": (24, 24), "tall": (40, 12), "wide": (12, 40), "singular": (20, 16), "gain": (16,)}
MATRICES = [name for name, shape in SHAPES.items() if len(shape) == 2]


class Data:
    """Initial parameters, gradients, and for curvature what passed a layer whose outputs are logits. float32 holds each
    value that Monge reads in it."""

    ROWS = 32

    def __init__(self):
        source = np.random.RandomState(1)  # frozen: the same numbers everywhere

        def normal(*shape):
            return source.standard_normal(shape).astype(np.float32).astype(np.float64)

        self.start, self.gradients, self.inputs, self.outputs, self.batches = {}, {}, {}, {}, {}
        for name, shape in SHAPES.items():
            self.start[name] = 0.125 * normal(*shape)
            # Noise around a drift, larger in some columns than in others, of a size that changes from step to step.
            drift = normal(*shape)
            spread = np.geomspace(0.125, 1.0, shape[-1])
            gradients = []
            for t in range(1, STEPS + 1):
                noise = normal(20, 2) @ normal(2, 16) if name == "singular" else drift + normal(*shape)
                gradients.append(0.125 * math.exp(math.sin(t + 3)) * noise * spread)
            self.gradients[name] = np.stack(gradients).astype(np.float32).astype(np.float64)
        for name in MATRICES:
            rows, cols = SHAPES[name]
            batches = [(normal(self.ROWS, cols), 0.5 * normal(rows, cols), source.randint(rows, size=self.ROWS))
                       for _ in range((STEPS + 1) // 2)]
            # Two steps in a row see the same batch, as the comparison of ekfac needs.
            self.batches[name] = [batches[t // 2] for t in range(STEPS)]
            self.inputs[name] = np.stack([x for x, _, _ in self.batches[name]])
            self.outputs[name] = np.stack([self.logit_gradients(*batch) for batch in self.batches[name]])

    def logit_gradients(self, x, w, y):
        """Of the mean cross entropy of x w^T with the targets y."""
        logits = torch.from_numpy(x @ w.T).requires_grad_()
        torch.nn.functional.cross_entropy(logits, torch.from_numpy(y)).backward()
        return logits.grad.numpy()

    def save(self, file):
        tensors = {}
        for prefix, values in [("param", self.start), ("grad", self.gradients), ("input", self.inputs),
                               ("output", self.outputs)]:
            tensors.update({f"{prefix}/{name}": np.ascontiguousarray(value) for name, value in values.items()})
        save_file(tensors, file)
