"""What a case is: an optimizer of Monge and a published one, with the options with which they say the same, and bounds
on how far they may be apart. And what several cases need."""

import warnings
from dataclasses import dataclass
from typing import Callable

import torch
import yaml
from recorded import SHAPES

DECAY = 0.3  # of the matrices; large, so that a difference in it shows
SETTINGS = {"lr": 0.01, "weight_decay": DECAY, "clip_norm": 0, "schedule": {"kind": "cosine", "warmup": 5}}


@dataclass
class Case:
    rule: str  # as `monge info` lists it
    options: dict  # under `optimizer:`, over SETTINGS
    package: str
    what: str  # the peer, and how it is set where that is no matter of course
    peer: Callable  # (parameters by name, Data) -> optimizers
    bound: float  # on the difference in double precision
    bound_f32: float
    why: str  # what the difference comes from
    names: list  # of the parameters that are compared


CASES = []


def case(rule, options, package, what, bound=1e-12, bound_f32=3e-4, why="rounding", names=tuple(SHAPES)):
    settings = {**SETTINGS, **yaml.safe_load("{" + options + "}")}

    def add(peer):
        CASES.append(Case(rule, settings, package, what, peer, bound, bound_f32, why, list(names)))
        return peer

    return add


def groups(p, decay=DECAY):
    """All parameters, of which vectors do not decay, as is Monge's default."""
    return [{"params": [v for v in p.values() if v.ndim == 2], "weight_decay": decay},
            {"params": [v for v in p.values() if v.ndim == 1], "weight_decay": 0.0}]


def matrices(p):
    return [v for v in p.values() if v.ndim == 2]


BASE = "base: {lr: 0.02, betas: [0.9, 0.99]}"  # at twice the rate of the matrices


def base(p):
    """What Monge's matrix rules do to vectors."""
    optimizer = torch.optim.AdamW([v for v in p.values() if v.ndim == 1], betas=(0.9, 0.99), weight_decay=0.0)
    optimizer.param_groups[0]["times"] = 2.0
    return optimizer


class Instead:
    """A module in the place of `torch` inside a package, with another type under a name: the package's casts to a short
    float become casts to double."""

    def __init__(self, short):
        self.short = short

    def __getattr__(self, name):
        return torch.float64 if name == self.short else getattr(torch, name)


class Patched:
    """An optimizer whose module sees another value of a name while it steps."""

    def __init__(self, optimizer, module, name, value):
        self.optimizer, self.module, self.name, self.value = optimizer, module, name, value
        self.param_groups = optimizer.param_groups

    def step(self):
        before = getattr(self.module, self.name)
        setattr(self.module, self.name, self.value)
        try:
            self.optimizer.step()
        finally:
            setattr(self.module, self.name, before)


def heavyball():
    """Without torch.compile. Its eps is a lower bound on the divisor, hence almost none on either side."""
    import heavyball as package
    package.utils.compile_mode = None
    package.utils.compile_mode_recommended_to_none = None
    warnings.filterwarnings("ignore", "Learning rate changed", UserWarning)
    return package


# What no published package has, and what checks it instead.
WITHOUT_PEER = {
    "compositional_muon": "all: `tests/optim/compositional_muon_test.cpp`",
    "ekfac": "`graft`, `decay`, `kl_clip`: `tests/optim/kfac_test.cpp`",
    "kfac": "`graft`, `kl_clip`, `factors: output`: `tests/optim/kfac_test.cpp`",
    "newton_muon": "all: `tests/optim/newton_muon_test.cpp`",
    "psgd_kron": "the fits by their formula, and that they whiten: `tests/optim/psgd_kron_test.cpp`",
    "qk_clip": "all: `tests/optim/qk_clip_test.cpp`",
    "shampoo": "the average before the roots, `graft`, `eps`, long sides: `tests/optim/matrix_rules_test.cpp`",
    "soap_muon": "all: `tests/optim/matrix_rules_test.cpp`",
}
