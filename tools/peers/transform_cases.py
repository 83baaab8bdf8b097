"""Transforms, around AdamW."""

import torch
from cases import case, groups, heavyball


# The first step has no previous gradient: timm, as Monge, takes the gradient itself.
def mars(caution):
    def peer(p, data):
        from timm.optim import Mars
        return [Mars(groups(p), betas=(0.95, 0.99), eps=1e-3, gamma=0.025, optimize_1d=True, caution=caution)]

    return peer


MARS = "name: adamw, betas: [0.95, 0.99], eps: 1.0e-3, chain: [{kind: mars, gamma: 0.025, beta: 0.95}"
case("mars", MARS + "]", "timm", "`Mars(optimize_1d)`, with `adamw`")(mars(False))
case("cautious", MARS + ", {kind: cautious}]", "timm",
     "`Mars(optimize_1d, caution)`, with `mars` and `adamw`")(mars(True))


@case("cautious", "name: adamw, betas: [0.9, 0.99], eps: 1.0e-3, chain: [{kind: cautious}]", "timm",
      "`AdamWLegacy(caution)`, with `adamw`")
def _(p, data):
    from timm.optim import AdamWLegacy
    return [AdamWLegacy(groups(p), betas=(0.9, 0.99), eps=1e-3, caution=True)]


@case("cautious_decay", "name: adamw, betas: [0.9, 0.99], eps: 1.0e-30, chain: [{kind: cautious_decay}]", "heavyball",
      "`AdamW(cautious_weight_decay)`, with `adamw`")
def _(p, data):
    return [heavyball().AdamW(groups(p), betas=(0.9, 0.99), eps=1e-30, cautious_weight_decay=True,
                              storage_dtype="float64")]


# Its directions are those of AdamW without a first moment.
@case("hyperball", "name: adamw, betas: [0, 0.99], eps: 1.0e-30, chain: [{kind: hyperball}]", "heavyball",
      "`HyperBallAdamW`, with `adamw` without momentum", bound=1e-11)
def _(p, data):
    return [heavyball().HyperBallAdamW(groups(p, 0.0), betas=(0.0, 0.99), eps=1e-30, storage_dtype="float64")]


class Averaged:
    def __init__(self, p):
        from torch_ema import ExponentialMovingAverage
        self.optimizer = torch.optim.AdamW(groups(p), betas=(0.9, 0.99), eps=1e-3)
        self.param_groups = self.optimizer.param_groups
        self.average = ExponentialMovingAverage(p.values(), decay=0.7)

    def step(self):
        self.optimizer.step()
        self.average.update()

    def evaluate(self, p):
        return dict(zip(p, (v.clone() for v in self.average.shadow_params)))


@case("ema", "name: adamw, betas: [0.9, 0.99], eps: 1.0e-3, chain: [{kind: ema, decay: 0.7}]", "torch-ema",
      "`ExponentialMovingAverage`, with `adamw`: in training and in evaluation")
def _(p, data):
    return [Averaged(p)]
